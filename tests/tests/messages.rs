//! Contract section 5: what a client says on `/chat`, and what it is told about it.

use std::time::Duration;

use prost::Message as _;
use proto::frames::{
    ClientFrame, MessageBody, Send, ServerFrame, client_frame, send, sent, server_frame,
};
use serde_json::{Value, json};
use tests::{Shared, Stranger, in_time, items};
use transport::{ClientTls, Encoding};

/// How long a client may take to say who it is.
const GREETING: Duration = Duration::from_secs(5);
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(3);

/// Everything that an answer about a stored message says.
fn assert_stored(answer: &Value, sequence: u64) {
    let conversation = answer["conversationId"].as_str().expect("an id");
    assert_eq!(answer["receivedServer"], json!(true), "{answer}");
    assert_eq!((&answer["delivered"], &answer["read"]), (&json!(false), &json!(false)), "{answer}");
    assert_eq!(answer["sequence"], json!(sequence), "{answer}");
    assert_eq!(answer["canonicalId"], format!("{conversation}-{sequence}"), "{answer}");
    assert!(answer["orderNumber"].is_u64(), "{answer}");
    let at = answer["timestamp"].as_str().expect("the server's time");
    assert!(at.len() >= 20 && at.as_bytes()[10] == b'T' && at.ends_with('Z'), "RFC 3339: {at}");
    assert!(answer["error"].is_null(), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_set_headers_names_the_token_in_the_first_message() {
    let cluster = Shared::cluster().await;
    let who = cluster.user(1, "headerless").await;
    for (node, query) in [(1, ""), (2, "?encoding=text"), (3, "?encoding=text&v=1")] {
        let mut chat = who.at(cluster.plain_address(node)).chat_unnamed(query).await;
        chat.raw(&json!({ "token": who.token }).to_string()).await;
        chat.welcomed().await;
        chat.stored("headerless", &format!("m{node}"), "it works").await;
    }
    for first in [
        json!({ "token": "no token" }),
        json!({ "token": 5 }),
        json!({ "connection_id": "x", "payload": [{ "receiverId": "headerless", "messageId": "m", "messageText": "x" }] }),
        json!("hello"),
    ] {
        let mut chat = who.chat_unnamed("").await;
        chat.raw(&first.to_string()).await;
        let (error, _) = chat.end_within(SLACK).await;
        assert!(error["code"].is_string(), "{first}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_says_nothing_for_five_seconds_is_closed_and_not_before() {
    let cluster = Shared::cluster().await;
    let who = cluster.user(2, "silent").await;
    let mut slow = who.chat_unnamed("?encoding=text").await;
    let mut never = who.chat_unnamed("?encoding=text").await;
    tokio::time::sleep(GREETING - Duration::from_secs(1)).await;
    slow.raw(&json!({ "token": who.token }).to_string()).await;
    slow.welcomed().await;
    let (error, _) = never.end_within(Duration::from_secs(1) + SLACK).await;
    assert_eq!(error["code"], "unauthenticated", "{error}");
    slow.stored("silent", "m1", "in time").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_over_http_2_speaks_the_same() {
    let cluster = Shared::cluster().await;
    let who = cluster.user(1, "modern").await;
    let peer = cluster.user(2, "modern-peer").await;
    let mut his = peer.chat().await;
    let mut chat = who.chat_http_2(cluster.client_address(3), &cluster.ca_pem()).await;
    let answer = chat.stored("modern-peer", "m1", "over one stream").await;
    assert_stored(&answer, 1);
    let got = his.messages(1).await;
    assert_eq!(got[0]["canonicalId"], answer["canonicalId"]);
    his.stored("modern", "m2", "and back").await;
    assert_eq!(chat.messages(1).await[0]["messageText"], "and back");
    chat.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_carries_native_frames_of_the_same_conversation() {
    let cluster = Shared::cluster().await;
    let native = cluster.user(1, "native").await;
    let peer = cluster.user(2, "native-peer").await;
    let mut his = peer.chat().await;
    let tls = ClientTls::from_ca_pem(&cluster.ca_pem()).expect("the cluster's own authority");
    let address = cluster.client_address(1);
    let dialled = transport::dial::websocket(&tls, address, Encoding::Binary, Some(&native.token));
    let mut link = dialled.await.expect("the link opens");
    let body = MessageBody { text: "in frames".to_owned(), ..MessageBody::default() };
    let to = Some(send::To::Receiver("native-peer".to_owned()));
    let message = Send { tag: 7, to, order: 1, message_id: "m1".to_owned(), body: Some(body) };
    let frame = ClientFrame { frame: Some(client_frame::Frame::Send(message)) };
    link.writer.send(&mut [frame.encode_to_vec().into()].into()).await.expect("the link takes it");
    let stored = in_time(async {
        loop {
            let frame = link.reader.next().await.expect("the link stands").expect("and goes on");
            let frame = ServerFrame::decode(frame).expect("the node speaks its own frames");
            if let Some(server_frame::Frame::Sent(sent)) = frame.frame {
                break sent;
            }
        }
    });
    let stored = stored.await;
    assert_eq!(stored.tag, 7);
    assert!(
        matches!(stored.result, Some(sent::Result::Stored(place)) if place.seq == 1),
        "{stored:?}"
    );
    let got = his.messages(1).await;
    assert_eq!(
        (&got[0]["messageText"], &got[0]["senderId"]),
        (&json!("in frames"), &json!("native"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_repeats_the_message_and_the_recipient_gets_the_full_entity() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "ent-anna").await;
    let ben = cluster.user(2, "ent-ben").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    assert_ne!(hers.connection(), his.connection());
    let item = json!({
        "senderId": "ent-anna", "receiverId": "ent-ben", "messageId": "8c1e/+=", "timestamp": "9:47PM 12-1-2023",
        "attachment": true, "attachmentURI": ["https://example.org/a", "https://example.org/b"],
        "messageText": "Grüße 🙂\u{0}\n\"", "unknown": { "ignored": true },
    });
    let answer = hers.accepted(item.clone()).await;
    assert_stored(&answer, 1);
    for field in ["senderId", "receiverId", "messageId"] {
        assert_eq!(answer[field], item[field], "{field}");
    }
    let got = his.messages(1).await.remove(0);
    for field in [
        "senderId",
        "receiverId",
        "messageId",
        "timestamp",
        "attachment",
        "attachmentURI",
        "messageText",
    ] {
        assert_eq!(got[field], item[field], "{field}");
    }
    for field in ["conversationId", "sequence", "canonicalId"] {
        assert_eq!(got[field], answer[field], "{field}");
    }
    assert_eq!(
        items(&anna.granted("GET", "/messages/ent-ben", None).await)[0]["messageText"],
        item["messageText"]
    );

    let lone = json!({
        "senderId": "ent-anna", "receiverId": "ent-ben", "messageId": "m2",
        "attachment": true, "attachmentURI": "https://example.org/c", "messageText": "",
    });
    hers.accepted(lone).await;
    let got = his.messages(1).await.remove(0);
    assert_eq!(got["attachmentURI"], json!(["https://example.org/c"]), "a string is a list of one");
    let spare = json!({ "receiverId": "ent-ben", "messageId": "m3", "messageText": "who else" });
    assert_eq!(hers.accepted(spare).await["senderId"], "ent-anna", "answers repeat the sender");
    assert_eq!(his.messages(1).await[0]["senderId"], "ent-anna");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_messages_in_one_frame_are_answered_one_by_one_in_one_frame() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(3, "many-anna").await;
    let ben = cluster.user(2, "many-ben").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    let mut frame: Vec<Value> = (1..=20)
        .map(|n| hers.message("many-ben", &format!("m{n}"), &format!("text {n}")))
        .collect();
    frame.insert(5, json!({ "senderId": "many-anna", "receiverId": "many-ben", "messageId": "bad", "messageText": 5 }));
    frame.insert(9, json!({ "senderId": "many-anna", "receiverId": "many-nobody", "messageId": "lost", "messageText": "x" }));
    hers.say_all(&frame).await;
    let mut answers = Vec::new();
    while answers.len() < frame.len() {
        answers.extend(items(&hers.next().await));
    }
    assert_eq!(answers.len(), frame.len(), "one item for each message");
    for asked in &frame {
        let of = |answer: &&Value| answer["messageId"] == asked["messageId"];
        let answer = answers.iter().find(of).expect("each is answered");
        let good = !["bad", "lost"].contains(&asked["messageId"].as_str().expect("an id"));
        assert_eq!(answer["receivedServer"], json!(good), "{answer}");
    }
    let got = his.messages(20).await;
    for (n, message) in (1u64..).zip(&got) {
        assert_eq!(
            (&message["messageId"], &message["sequence"]),
            (&json!(format!("m{n}")), &json!(n))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_leave_no_gap_and_a_used_one_is_never_another_message() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "ord-anna").await;
    cluster.user(2, "ord-ben").await;
    let mut chat = anna.chat().await;
    let with = |id: &str, order: u64, text: &str| json!({ "senderId": "ord-anna", "receiverId": "ord-ben", "messageId": id, "orderNumber": order, "messageText": text });
    let error = chat.failed(with("early", 2, "x")).await;
    assert_eq!(
        (&error["code"], &error["expected"]),
        (&json!("out_of_order"), &json!(1)),
        "{error}"
    );
    let first = chat.accepted(with("m1", 1, "one")).await;
    assert_stored(&first, 1);
    assert_eq!(first["orderNumber"], json!(1));
    let error = chat.failed(with("m3", 3, "three")).await;
    assert_eq!(
        (&error["code"], &error["expected"]),
        (&json!("out_of_order"), &json!(2)),
        "{error}"
    );
    assert_eq!(chat.accepted(with("m2", 2, "two")).await["sequence"], json!(2));
    let third = chat.accepted(with("m3", 3, "three")).await;
    assert_eq!(third["sequence"], json!(3), "a refused gap is not held: {third}");
    // Without an order the server counts on.
    let fourth = chat.stored("ord-ben", "m4", "four").await;
    assert_eq!((&fourth["orderNumber"], &fourth["sequence"]), (&json!(4), &json!(4)));
    assert_eq!(chat.accepted(with("m5", 5, "five")).await["sequence"], json!(5));

    for node in 1..=3 {
        let mut chat = anna.at(cluster.plain_address(node)).chat().await;
        assert_eq!(chat.accepted(with("m1", 1, "one")).await, first, "the original answer");
        assert_eq!(chat.failed(with("m1", 1, "another text")).await["code"], "conflict");
        assert_eq!(chat.failed(with("other", 1, "one")).await["code"], "conflict");
        assert_eq!(chat.failed(with("other", 0, "one")).await["field"], "orderNumber");
    }
    let history = anna.history("ord-ben").await;
    let ids: Vec<&str> =
        history.iter().map(|one| one["messageId"].as_str().expect("an id")).collect();
    assert_eq!(ids, ["m1", "m2", "m3", "m4", "m5"]);
    // Another device counts for itself.
    let mut second = anna.another("second").await.chat().await;
    assert_eq!(second.accepted(with("m1", 1, "one")).await["sequence"], json!(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_id_is_stored_once_however_often_and_wherever_it_is_retried() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "once-anna").await;
    let ben = cluster.user(2, "once-ben").await;
    let mut his = ben.chat().await;
    let mut chat = anna.chat().await;
    let first = chat.stored("once-ben", "m1", "just once").await;
    chat.leave().await;
    for node in [1, 2, 3, 1] {
        let mut chat = anna.at(cluster.plain_address(node)).chat().await;
        assert_eq!(chat.stored("once-ben", "m1", "just once").await, first, "node {node}");
        let mut later = chat.message("once-ben", "m1", "just once");
        later["timestamp"] = json!("stamped anew");
        assert_eq!(chat.accepted(later).await, first, "the text decides, not the client's clock");
        assert_eq!(
            chat.failed(chat.message("once-ben", "m1", "not once")).await["code"],
            "conflict"
        );
        // Twice in one frame.
        let twice = chat.message("once-ben", &format!("t{node}"), "twice");
        chat.say_all(&[twice.clone(), twice]).await;
        let mut answers = Vec::new();
        while answers.len() < 2 {
            answers.extend(
                items(&chat.next().await)
                    .into_iter()
                    .filter(|item| item.get("messageText").is_none()),
            );
        }
        assert_eq!(answers[0]["sequence"], answers[1]["sequence"], "{answers:?}");
        chat.leave().await;
    }
    assert_eq!(anna.history("once-ben").await.len(), 4, "m1, t1, t2 and t3");
    let got = his.messages(4).await;
    assert!(got.iter().map(|one| one["sequence"].as_u64()).eq((1..=4).map(Some)), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_types_and_contradictions_are_refused_with_the_fields_name() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(2, "wrong-anna").await;
    cluster.user(2, "wrong-ben").await;
    let mut chat = anna.chat().await;
    let cases = [
        ("senderId", json!(5)),
        ("senderId", json!("wrong-ben")),
        ("receiverId", json!(["wrong-ben"])),
        ("receiverId", json!("not an id")),
        ("messageId", json!(7)),
        ("messageId", json!("")),
        ("messageId", Value::Null),
        ("timestamp", json!(1_700_000_000)),
        ("orderNumber", json!("1")),
        ("orderNumber", json!(-1)),
        ("orderNumber", json!(1.5)),
        ("attachment", json!("yes")),
        ("attachmentURI", json!(5)),
        ("attachmentURI", json!([5])),
        ("messageText", json!({})),
        ("groupId", json!("both")),
        ("groupId", json!(1)),
    ];
    for (field, value) in cases {
        let mut item = chat.message("wrong-ben", "case", "text");
        item[field] = value.clone();
        chat.say(item).await;
        let answer = chat.until(|item| item["receivedServer"].is_boolean()).await;
        assert_eq!(answer["receivedServer"], json!(false), "{field} {value}: {answer}");
        let error = &answer["error"];
        assert_eq!(error["field"], field, "{value}: {answer}");
        assert!(error["detail"].as_str().expect("text").contains(field), "{answer}");
        assert_eq!(error["retryable"], json!(false));
    }
    let nowhere = json!({ "senderId": "wrong-anna", "messageId": "n", "messageText": "x" });
    assert_eq!(chat.failed(nowhere).await["field"], "receiverId");
    assert_eq!(chat.failed(chat.message("wrong-nobody", "n", "x")).await["code"], "no_such_user");
    assert_eq!(
        chat.failed(chat.to_group("wrong-nobody", "n", "x")).await["code"],
        "no_such_conversation"
    );
    // A frame that is none is an error of its own, and the link stands.
    for (frame, field) in [
        ("{", None),
        ("[]", None),
        ("{}", Some("payload")),
        ("{\"payload\":{}}", Some("payload")),
        ("{\"connection_id\":1,\"payload\":[]}", Some("connection_id")),
    ] {
        chat.raw(frame).await;
        let told = chat.next().await;
        assert_eq!(told["error"]["code"], "invalid_request", "{frame}: {told}");
        assert_eq!(told["error"]["field"].as_str(), field, "{frame}: {told}");
    }
    chat.say(json!("no object")).await;
    assert_eq!(chat.until(|item| item["error"].is_object()).await["error"]["field"], "payload[0]");
    assert_stored(&chat.stored("wrong-ben", "good", "at last").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_for_everybody_whoever_sends_at_once() {
    let cluster = Shared::cluster().await;
    const EACH: usize = 25;
    let anna = cluster.user(1, "same-anna").await;
    let ben = cluster.user(2, "same-ben").await;
    let devices: Vec<Stranger> =
        vec![anna.clone(), ben.clone(), anna.another("two").await, ben.another("two").await];
    // The conversation exists before it is watched, so that nobody is new to it.
    anna.chat().await.stored("same-ben", "first", "first").await;
    let mut watching = Vec::new();
    for (node, who) in [(1, &ben), (2, &ben), (3, &ben)] {
        watching.push(who.at(cluster.plain_address(node)).chat().await);
    }
    let sending = devices.iter().enumerate().map(|(n, who)| {
        let who = who.at(cluster.plain_address(n as u64 % 3 + 1));
        async move {
            let mut chat = who.chat().await;
            let to = if who.user == "same-anna" { "same-ben" } else { "same-anna" };
            let mut last = 0;
            for m in 0..EACH {
                let answer = chat.stored(to, &format!("d{n}-{m}"), "x").await;
                let sequence = answer["sequence"].as_u64().expect("a number");
                assert!(sequence > last, "a device's messages are in the order of their sending");
                last = sequence;
            }
        }
    });
    futures::future::join_all(sending).await;
    let all = devices.len() * EACH + 1;
    let history = anna.history("same-ben").await;
    let sequences = |items: &[Value]| {
        items.iter().map(|one| one["sequence"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(sequences(&history), (1..=all as u64).collect::<Vec<_>>(), "1..n without a gap");
    let ids = |items: &[Value]| {
        items
            .iter()
            .map(|one| one["canonicalId"].clone())
            .zip(items.iter().map(|one| one["messageId"].clone()))
            .collect::<Vec<_>>()
    };
    for chat in &mut watching {
        assert_eq!(ids(&chat.messages(all).await), ids(&history), "the same order everywhere");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_to_themselves_is_heard_on_their_other_devices() {
    let cluster = Shared::cluster().await;
    let me = cluster.user(1, "self").await;
    let mut phone = me.another("phone").await.at(cluster.plain_address(2)).chat().await;
    let mut chat = me.chat().await;
    let note = chat.stored("self", "m1", "remember").await;
    assert_eq!(note["sequence"], json!(1));
    let got = phone.messages(1).await;
    assert_eq!((&got[0]["senderId"], &got[0]["receiverId"]), (&json!("self"), &json!("self")));
    assert_eq!(me.history("self").await.len(), 1);
}
