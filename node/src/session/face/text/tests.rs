//! The specification's JSON through a whole link.

use bytes::Bytes;
use chat::{ConversationId, DeviceId, GroupId, History};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use transport::Encoding;

use crate::gateway::Parts;
use crate::gateway::fake::{Fake, user, world};
use crate::gateway::tokens::Identity;
use crate::session::tests::{Client, link, token};

use std::sync::Arc;

struct Talk {
    client: Client,
    connection_id: String,
}

impl Talk {
    /// Connects with the token in the first message, as where headers cannot be set.
    async fn begin(parts: &Arc<Parts>, who: &Identity) -> Self {
        let client = link(parts, Encoding::Text, None, &CancellationToken::new());
        let mut talk = Self { client, connection_id: String::new() };
        talk.write(&json!({ "token": token(parts, who) })).await;
        let first = talk.next().await;
        let id = first["connection_id"].as_str().expect("a connection id").to_owned();
        assert_eq!(first, json!({ "connection_id": id, "resume": first["resume"] }));
        talk.connection_id = id;
        talk
    }

    async fn write(&mut self, frame: &Value) {
        self.client.write(Bytes::from(frame.to_string())).await;
    }

    async fn payload(&mut self, items: Value) {
        let frame = json!({ "connection_id": self.connection_id, "payload": items });
        self.write(&frame).await;
    }

    async fn next(&mut self) -> Value {
        let frame = self.client.frame().await;
        serde_json::from_slice(&frame).expect("a text frame is JSON")
    }

    /// The items of the next payload frame.
    async fn items(&mut self) -> Vec<Value> {
        let frame = self.next().await;
        assert_eq!(frame["connection_id"], self.connection_id.as_str(), "{frame}");
        frame["payload"].as_array().unwrap_or_else(|| panic!("a payload in {frame}")).clone()
    }
}

fn people() -> (Arc<Fake>, Arc<Parts>, Identity, Identity) {
    let (fake, parts) = world();
    let (alice, bob) = (fake.join("alice", 1), fake.join("bob", 2));
    (fake, parts, alice, bob)
}

fn to_bob(id: &str) -> Value {
    json!({
        "senderId": "alice", "receiverId": "bob", "messageId": id, "timestamp": "9:47PM",
        "attachment": false, "attachmentURI": "", "messageText": format!("text of {id}"),
    })
}

#[tokio::test(start_paused = true)]
async fn a_message_makes_the_round_of_the_specification() {
    let (_fake, parts, alice, bob) = people();
    let mut sender = Talk::begin(&parts, &alice).await;
    let mut receiver = Talk::begin(&parts, &bob).await;
    sender.payload(json!([to_bob("m1")])).await;
    let answer = sender.items().await.remove(0);
    let id = ConversationId::direct(&user("alice"), &user("bob")).to_string();
    for (field, value) in [
        ("senderId", json!("alice")),
        ("receiverId", json!("bob")),
        ("messageId", json!("m1")),
        ("receivedServer", json!(true)),
        ("delivered", json!(false)),
        ("read", json!(false)),
        ("conversationId", json!(id)),
        ("sequence", json!(1)),
        ("canonicalId", json!(format!("{id}-1"))),
        ("orderNumber", json!(1)),
        ("timestamp", json!("2023-11-14T22:13:20.000Z")),
    ] {
        assert_eq!(answer[field], value, "{field} in {answer}");
    }
    let got = receiver.items().await.remove(0);
    assert_eq!((&got["messageText"], &got["senderId"]), (&json!("text of m1"), &json!("alice")));
    assert_eq!((&got["timestamp"], &got["sequence"]), (&json!("9:47PM"), &json!(1)));

    let confirm = |field: &str| json!([{ "conversationId": id, "sequence": 1, field: true }]);
    receiver.payload(confirm("delivered")).await;
    let status = sender.items().await.remove(0);
    assert_eq!((&status["messageId"], &status["receivedServer"]), (&json!("m1"), &json!(true)));
    assert_eq!((&status["delivered"], &status["read"]), (&json!(true), &json!(false)));
    receiver.payload(confirm("read")).await;
    let status = sender.items().await.remove(0);
    assert_eq!((&status["delivered"], &status["read"]), (&json!(true), &json!(true)));

    // The same message again is the same message, and its status does not go back.
    sender.payload(json!([to_bob("m1")])).await;
    let again = sender.items().await.remove(0);
    assert_eq!((&again["sequence"], &again["read"]), (&json!(1), &json!(true)));
    let mut other = to_bob("m1");
    other["messageText"] = json!("something else");
    sender.payload(json!([other])).await;
    let conflict = sender.items().await.remove(0);
    assert_eq!(
        (&conflict["receivedServer"], &conflict["error"]["code"]),
        (&json!(false), &json!("conflict"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_repetition_on_another_link_is_answered_with_the_present_status() {
    let (fake, parts, alice, bob) = people();
    let mut first = Talk::begin(&parts, &alice).await;
    first.payload(json!([to_bob("m1")])).await;
    assert_eq!(first.items().await[0]["delivered"], false);
    drop(first);
    let id = ConversationId::direct(&alice.user, &bob.user);
    let (user, device) = (bob.user, bob.device);
    fake.apply(
        id,
        &chat::Command::Confirm { user, device, seq: chat::Seq(1), read: true, hidden: false },
    );
    let mut second = Talk::begin(&parts, &alice).await;
    let missed = second.next().await;
    assert_eq!(missed["messages"][0]["payload"][0]["read"], true, "{missed}");
    second.payload(json!([to_bob("m1")])).await;
    let again = second.items().await.remove(0);
    assert_eq!((&again["sequence"], &again["delivered"]), (&json!(1), &json!(true)));
    assert_eq!(again["read"], true);
}

#[tokio::test(start_paused = true)]
async fn the_items_of_a_frame_are_answered_in_one_frame_and_a_bad_one_alone_fails() {
    let (_fake, parts, alice, _bob) = people();
    let mut sender = Talk::begin(&parts, &alice).await;
    let mut bad = to_bob("m2");
    bad["messageText"] = json!(7);
    let mut forged = to_bob("m3");
    forged["senderId"] = json!("bob");
    sender.payload(json!([to_bob("m1"), bad, forged, to_bob("m4")])).await;
    let items = sender.items().await;
    let ids: Vec<&Value> = items.iter().map(|item| &item["messageId"]).collect();
    assert_eq!(ids, ["m1", "m2", "m3", "m4"]);
    let received: Vec<&Value> = items.iter().map(|item| &item["receivedServer"]).collect();
    assert_eq!(received, [true, false, false, true]);
    assert_eq!(items[1]["error"]["field"], "messageText");
    assert_eq!(items[2]["error"]["code"], "not_allowed");
    assert_eq!(items[3]["sequence"], 2);
}

#[tokio::test(start_paused = true)]
async fn order_numbers_are_the_devices_own() {
    let (_fake, parts, alice, _bob) = people();
    let mut sender = Talk::begin(&parts, &alice).await;
    let mut ordered = async |id: &str, order: u64| {
        let mut item = to_bob(id);
        item["orderNumber"] = json!(order);
        sender.payload(json!([item])).await;
        sender.items().await.remove(0)
    };
    assert_eq!(ordered("m1", 1).await["orderNumber"], 1);
    let gap = ordered("m3", 3).await;
    assert_eq!(
        (&gap["error"]["code"], &gap["error"]["expected"]),
        (&json!("out_of_order"), &json!(2))
    );
    assert_eq!(ordered("m2", 2).await["sequence"], 2);
    assert_eq!(ordered("m1", 1).await["sequence"], 1);
    assert_eq!(ordered("other", 1).await["error"]["code"], "conflict");
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_comes_first_in_the_specifications_form() {
    let (fake, parts, alice, bob) = people();
    let carol = fake.join("carol", 3);
    for (from, text) in [(&alice, "a1"), (&carol, "c1"), (&alice, "a2")] {
        fake.say(from, "bob", text);
    }
    let mut receiver = Talk::begin(&parts, &bob).await;
    let frame = receiver.next().await;
    let items = frame["messages"][0]["payload"].as_array().expect("a list");
    let of = |sender: &str| -> Vec<&str> {
        let own = items.iter().filter(|item| item["senderId"] == sender);
        own.map(|item| item["messageText"].as_str().expect("text")).collect()
    };
    assert_eq!((of("alice"), of("carol")), (vec!["a1", "a2"], vec!["c1"]));
    fake.say(&alice, "bob", "a3");
    assert_eq!(receiver.items().await[0]["messageText"], "a3");
}

#[tokio::test(start_paused = true)]
async fn a_group_tells_how_many_have_it() {
    let (fake, parts, alice, bob) = people();
    let carol = fake.join("carol", 3);
    let team = GroupId::parse("team").expect("legal");
    let id = ConversationId::group(&team);
    let members = [bob.user.clone(), carol.user.clone()].into();
    let (name, owner, history) = (String::new(), alice.user.clone(), History::SinceJoin);
    fake.apply(id, &chat::Command::CreateGroup { group: team, name, owner, members, history });
    let mut sender = Talk::begin(&parts, &alice).await;
    let mut item = to_bob("g1");
    item["groupId"] = json!("team");
    item["receiverId"] = Value::Null;
    sender.payload(json!([item])).await;
    let answer = sender.items().await.remove(0);
    assert_eq!((&answer["groupId"], &answer["deliveredCount"]), (&json!("team"), &json!(0)));
    let confirm = |who: &Identity| {
        let (user, device) = (who.user.clone(), who.device);
        fake.apply(
            id,
            &chat::Command::Confirm { user, device, seq: chat::Seq(1), read: false, hidden: false },
        );
    };
    confirm(&bob);
    let status = sender.items().await.remove(0);
    assert_eq!((&status["delivered"], &status["deliveredCount"]), (&json!(false), &json!(1)));
    confirm(&carol);
    let status = sender.items().await.remove(0);
    assert_eq!((&status["delivered"], &status["deliveredCount"]), (&json!(true), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_beyond_the_end_is_refused() {
    let (fake, parts, alice, bob) = people();
    let mut receiver = Talk::begin(&parts, &bob).await;
    fake.say(&alice, "bob", "m1");
    receiver.items().await;
    let id = ConversationId::direct(&user("alice"), &user("bob")).to_string();
    receiver.payload(json!([{ "conversationId": id, "sequence": 9, "read": true }])).await;
    let refused = receiver.items().await.remove(0);
    assert_eq!(
        (&refused["sequence"], &refused["error"]["code"]),
        (&json!(9), &json!("beyond_end"))
    );
}

#[tokio::test(start_paused = true)]
async fn malformed_text_is_told_and_the_link_lives() {
    let (_fake, parts, alice, _bob) = people();
    let mut sender = Talk::begin(&parts, &alice).await;
    for frame in ["{", "[]", "{\"payload\":7}", "{}"] {
        sender.client.write(Bytes::from_static(frame.as_bytes())).await;
        let told = sender.next().await;
        assert_eq!(told["error"]["code"], "invalid_request", "{told}");
    }
    sender.payload(json!([to_bob("m1")])).await;
    assert_eq!(sender.items().await[0]["receivedServer"], true);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_told_and_closes() {
    let (_fake, parts, alice, _bob) = people();
    let mut client = link(&parts, Encoding::Text, None, &CancellationToken::new());
    client.write(Bytes::from_static(b"{\"token\":\"nonsense\"}")).await;
    let told: Value = serde_json::from_slice(&client.frame().await).expect("JSON");
    assert_eq!(told["error"]["code"], "unauthenticated");
    assert_eq!(client.closed().await, 4401);

    let stranger = Identity { user: alice.user, device: DeviceId(99) };
    let bearer = Some(token(&parts, &stranger));
    let mut client = link(&parts, Encoding::Text, bearer, &CancellationToken::new());
    assert_eq!(client.closed().await, 4401);
}
