//! Contract section 5: which device gets which message, when, and once.

use serde_json::{Value, json};
use tests::{Chat, Shared, Stranger, in_time, items};

/// Text and sequence of each message.
fn told(messages: &[Value]) -> Vec<(String, u64)> {
    let one = |message: &Value| {
        let text = message["messageText"].as_str().expect("a message has a text");
        (text.to_owned(), message["sequence"].as_u64().expect("and a place"))
    };
    messages.iter().map(one).collect()
}

/// `prefix 1`, `prefix 2` … at the sequences 1, 2 …
fn numbered(prefix: &str, from: u64, to: u64) -> Vec<(String, u64)> {
    (from..=to).map(|n| (format!("{prefix} {n}"), n)).collect()
}

/// Sends `prefix n` for each n, which becomes the message of sequence n.
async fn send_numbered(chat: &mut Chat, to: &str, prefix: &str, from: u64, until: u64) {
    let message = |n: u64| chat.message(to, &format!("{prefix}-{n}"), &format!("{prefix} {n}"));
    let frame: Vec<Value> = (from..=until).map(message).collect();
    chat.say_all(&frame).await;
    let last = format!("{prefix}-{until}");
    let answer = chat
        .until(|item| item["messageId"] == last.as_str() && item["receivedServer"] == json!(true))
        .await;
    assert_eq!(answer["sequence"], json!(until), "{answer}");
}

/// Waits until the user's own list names the conversation, which follows the conversation with a delay.
async fn listed(who: &Stranger, peer: &str) {
    in_time(async {
        loop {
            let list = who.granted("GET", "/v1/conversations", None).await;
            let all = list["conversations"].as_array().expect("a list").clone();
            if all.iter().any(|one| one["userId"] == peer) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Waits until the message is delivered to its recipient, as the cluster knows it.
async fn delivered(who: &Stranger, message: &Value) {
    let path =
        format!("/v1/messages/{}", message["canonicalId"].as_str().expect("a message is named"));
    in_time(async {
        while who.granted("GET", &path, None).await["delivered"] != json!(true) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_delivered_comes_first_then_what_happens_now_each_once() {
    let cluster = Shared::cluster().await;
    let ben = cluster.user(1, "cu-ben").await;
    let (anna, cara) = (cluster.user(2, "cu-anna").await, cluster.user(3, "cu-cara").await);
    let (mut annas, mut caras) = (anna.chat().await, cara.chat().await);
    send_numbered(&mut annas, "cu-ben", "a", 1, 150).await;
    send_numbered(&mut caras, "cu-ben", "c", 1, 20).await;
    listed(&ben, "cu-cara").await;
    listed(&ben, "cu-anna").await;
    // Twice the same, because nothing was confirmed; and at another node.
    for node in [1, 2] {
        let mut chat = ben.at(cluster.plain_address(node)).chat().await;
        let mut got = Vec::new();
        let missed = 149 + node;
        while (got.len() as u64) < missed + 20 {
            let frame = chat.next().await;
            assert!(frame["messages"].is_array(), "what was missed comes as messages: {frame}");
            assert!(frame.get("payload").is_none(), "{frame}");
            got.extend(items(&frame));
        }
        let of = |sender: &str| -> Vec<Value> {
            got.iter().filter(|one| one["senderId"] == sender).cloned().collect()
        };
        assert_eq!(told(&of("cu-anna")), numbered("a", 1, missed), "oldest first");
        assert_eq!(told(&of("cu-cara")), numbered("c", 1, 20), "in each conversation");
        annas.stored("cu-ben", &format!("a-{}", 150 + node), &format!("a {}", 150 + node)).await;
        let live = chat.next().await;
        assert!(live["payload"].is_array(), "what happens now comes as payload: {live}");
        assert_eq!(told(&items(&live)), numbered("a", 150 + node, 150 + node));
        chat.leave().await;
    }

    let mut chat = ben.at(cluster.plain_address(3)).chat().await;
    let got = chat.messages(172).await;
    let tenth = got.iter().find(|one| one["messageText"] == "a 10").expect("it came").clone();
    let last = got.iter().rfind(|one| one["senderId"] == "cu-cara").expect("it came").clone();
    chat.confirm(&tenth, "delivered").await;
    chat.confirm(&last, "read").await;
    delivered(&anna, &tenth).await;
    delivered(&cara, &last).await;
    chat.leave().await;
    let mut chat = ben.chat().await;
    assert_eq!(
        told(&chat.messages(142).await),
        numbered("a", 11, 152),
        "what was confirmed is not sent again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_begins_in_the_middle_of_a_stream_misses_and_repeats_nothing() {
    let cluster = Shared::cluster().await;
    let ben = cluster.user(1, "mid-ben").await;
    let anna = cluster.user(2, "mid-anna").await;
    let mut chat = anna.chat().await;
    let sending = async {
        for n in 1..=200u64 {
            chat.stored("mid-ben", &format!("a-{n}"), &format!("a {n}")).await;
        }
    };
    let receiving = async {
        for (node, count) in [1, 2, 3].into_iter().cycle().zip([5, 20, 40, 60, 80, 100, 200]) {
            let mut link = ben.at(cluster.plain_address(node)).chat().await;
            let mut next = 1;
            while next <= count {
                for one in items(&link.next().await) {
                    assert_eq!(one["sequence"], json!(next), "in order, no gap, no repeat: {one}");
                    next += 1;
                }
            }
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_device_starts_at_the_end_and_pages_back() {
    let cluster = Shared::cluster().await;
    let ben = cluster.user(1, "new-ben").await;
    let anna = cluster.user(2, "new-anna").await;
    let mut annas = anna.chat().await;
    send_numbered(&mut annas, "new-ben", "a", 1, 30).await;
    listed(&ben, "new-anna").await;
    let second = ben.another("second").await.at(cluster.plain_address(3));
    send_numbered(&mut annas, "new-ben", "a", 31, 33).await;
    let mut chat = second.chat().await;
    assert_eq!(told(&chat.messages(3).await), numbered("a", 31, 33), "from where it was the end");
    assert_eq!(
        told(&second.history("new-anna").await),
        numbered("a", 1, 33),
        "the rest is history"
    );
    let mut first = ben.chat().await;
    assert_eq!(
        told(&first.messages(33).await),
        numbered("a", 1, 33),
        "the first device misses nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_that_begins_later_comes_from_its_first_message() {
    let cluster = Shared::cluster().await;
    let ben = cluster.user(1, "late-ben").await;
    let second = ben.another("second").await;
    let mut live = second.at(cluster.plain_address(2)).chat().await;
    let anna = cluster.user(3, "late-anna").await;
    let mut annas = anna.chat().await;
    send_numbered(&mut annas, "late-ben", "a", 1, 5).await;
    assert_eq!(told(&live.messages(5).await), numbered("a", 1, 5), "a live link hears of it");
    listed(&ben, "late-anna").await;
    let mut chat = ben.chat().await;
    assert_eq!(
        told(&chat.messages(5).await),
        numbered("a", 1, 5),
        "so does a device that was away"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_senders_other_devices_receive_like_any_recipient() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "own-anna").await;
    cluster.user(2, "own-ben").await;
    let second = anna.another("second").await.at(cluster.plain_address(2));
    let away = anna.another("away").await.at(cluster.plain_address(3));
    let (mut first, mut other) = (anna.chat().await, second.chat().await);
    send_numbered(&mut first, "own-ben", "a", 1, 3).await;
    let got = other.messages(3).await;
    assert_eq!(told(&got), numbered("a", 1, 3));
    assert!(got.iter().all(|one| one["senderId"] == "own-anna" && one["receiverId"] == "own-ben"));
    // The sending link has its answers and nothing else: the next message it hears is the other device's.
    other.stored("own-ben", "a-4", "a 4").await;
    assert_eq!(told(&first.messages(1).await), numbered("a", 4, 4));
    listed(&anna, "own-ben").await;
    assert_eq!(told(&away.chat().await.messages(4).await), numbered("a", 1, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_links_of_one_device_are_all_live_and_share_one_cursor() {
    let cluster = Shared::cluster().await;
    let ben = cluster.user(1, "par-ben").await;
    let anna = cluster.user(2, "par-anna").await;
    let mut annas = anna.chat().await;
    let mut links = Vec::new();
    for node in [1, 1, 2, 3] {
        links.push(ben.at(cluster.plain_address(node)).chat().await);
    }
    for n in 1..=10 {
        annas.stored("par-ben", &format!("a-{n}"), &format!("a {n}")).await;
    }
    let mut last = Value::Null;
    for link in &mut links {
        let got = link.messages(10).await;
        assert_eq!(told(&got), numbered("a", 1, 10), "each link, each message once");
        last = got[9].clone();
    }
    links[2].confirm(&last, "delivered").await;
    delivered(&anna, &last).await;
    // What one link says, the device's other links hear; and nothing before it is repeated.
    links[0].stored("par-anna", "a-11", "a 11").await;
    for link in &mut links[1..] {
        assert_eq!(told(&link.messages(1).await), numbered("a", 11, 11));
    }
    annas.stored("par-ben", "a-12", "a 12").await;
    for link in &mut links {
        assert_eq!(told(&link.messages(1).await), numbered("a", 12, 12));
    }
    let mut again = ben.at(cluster.plain_address(2)).chat().await;
    let first = again.next().await;
    let sequences =
        items(&first).iter().map(|one| one["sequence"].as_u64().expect("a place")).min();
    assert!(sequences > Some(10), "the cursor is the device's, not the link's: {first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_devices_and_ending_one_makes_room() {
    let cluster = Shared::cluster().await;
    let first = cluster.user(1, "hoarder").await;
    for n in 1..chat::limits::DEVICES_MAX {
        first.another(&format!("device {n}")).await;
    }
    let login =
        json!({ "userId": "hoarder", "password": tests::PASSWORD, "deviceName": "one more" });
    let (status, refused) = first.refused("POST", "/v1/sessions", Some(&login)).await;
    assert_eq!((status, &refused["code"]), (422, &json!("too_many_devices")), "{refused}");
    first.granted("DELETE", "/v1/sessions/current", None).await;
    first.another("one more").await;
}
