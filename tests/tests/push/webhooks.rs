//! Webhooks: told once, signed, in order; again after a crash; given up, revived, replayed.

use ring::hmac;
use serde_json::{Value, json};
use tests::{Shared, Stranger, http, in_time};

use super::processes::Processes;
use super::receiver::{Asked, Receiver, Reply};

/// What nobody but the two may read.
const SECRET: &str = "meet me at the old mill";

/// Registers a webhook and returns what the server said.
async fn hook(user: &Stranger, receiver: &Receiver, path: &str) -> Value {
    let body = json!({ "kind": "webhook", "url": receiver.url(path) });
    let answer = user.answer("POST", "/v1/push", Some(&body)).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()
}

/// The one registration of a user, as the list shows it.
async fn shown(user: &Stranger) -> Value {
    let list = user.granted("GET", "/v1/push", None).await;
    list["registrations"][0].clone()
}

/// Waits until the list shows this of a user's one registration.
async fn until_shown(user: &Stranger, holds: impl Fn(&Value) -> bool) -> Value {
    in_time(async {
        loop {
            let shown = shown(user).await;
            if holds(&shown) {
                return shown;
            }
        }
    })
    .await
}

fn is_signed(asked: &Asked, secret: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [asked.header("x-synod-timestamp").as_bytes(), b".", &asked.body].concat();
    let hex = asked.header("x-synod-signature").strip_prefix("v1=").expect("a version");
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    let signature: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    hmac::verify(&key, &signed, &signature).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_is_told_once_signed_and_without_content() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let (anna, ben) = (cluster.user(1, "once-anna").await, cluster.user(2, "once-ben").await);
    let made = hook(&ben, &receiver, "/once").await;
    let mut chat = anna.chat().await;
    let place = chat.stored("once-ben", "m1", SECRET).await;

    let asked = receiver.next().await;
    assert_eq!(asked.path, "/once");
    assert!(is_signed(&asked, made["secret"].as_str().expect("a secret")));
    assert!(!is_signed(&asked, "another secret"));
    let body = asked.json();
    assert_eq!(body["userId"], "once-ben");
    assert_eq!(body["conversationId"], place["conversationId"]);
    assert_eq!(
        (&body["seq"], &body["sequence"], &body["unread"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert!(!String::from_utf8_lossy(&asked.body).contains("mill"), "{body}");

    // The next request is about the next message under the next number: nothing was told between.
    chat.stored("once-ben", "m2", SECRET).await;
    assert_eq!(receiver.next().await.notice(), (2, 2));
    let shown = until_shown(&ben, |shown| shown["done"] == 2).await;
    assert_eq!((&shown["last"], &shown["deadLetters"]), (&json!(2), &json!(0)), "{shown}");
    assert_eq!(shown.get("secret"), None, "it is told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_connected_is_not_told_until_they_leave() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let anna = cluster.user(1, "there-anna").await;
    let (ben, cara) = (cluster.user(2, "there-ben").await, cluster.user(3, "there-cara").await);
    hook(&ben, &receiver, "/ben").await;
    hook(&cara, &receiver, "/cara").await;
    let mut bens = ben.chat().await;
    let mut chat = anna.chat().await;
    // Ben gets it and does not confirm. Cara, who is away, is written to later and told, three times over.
    chat.stored("there-ben", "m1", "hello").await;
    bens.messages(1).await;
    for n in 1..=3 {
        chat.stored("there-cara", &format!("m{n}"), "hello").await;
        let asked = receiver.next().await;
        assert_eq!((asked.path.as_str(), asked.notice()), ("/cara", (n, n)));
    }
    bens.leave().await;
    let asked = receiver.next().await;
    assert_eq!((asked.path.as_str(), asked.notice()), ("/ben", (1, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_reached_a_device_and_what_one_said_oneself_is_not_told() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let (anna, ben) = (cluster.user(1, "reached-anna").await, cluster.user(2, "reached-ben").await);
    hook(&ben, &receiver, "/").await;
    let mut chat = anna.chat().await;
    let mut bens = ben.chat().await;
    chat.stored("reached-ben", "m1", "one").await;
    let came = bens.messages(1).await;
    bens.confirm(&came[0], "delivered").await;
    chat.until(|item| item["delivered"] == json!(true)).await;
    bens.stored("reached-anna", "m2", "two").await;
    bens.leave().await;
    chat.stored("reached-ben", "m3", "three").await;
    // The first that is told is the third message: the first arrived, the second was his own.
    assert_eq!(receiver.next().await.notice(), (1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_are_few_notices() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let (anna, ben) = (cluster.user(1, "many-anna").await, cluster.user(2, "many-ben").await);
    hook(&ben, &receiver, "/").await;
    let mut chat = anna.chat().await;
    let all: Vec<Value> =
        (1..=100).map(|n| chat.message("many-ben", &format!("m{n}"), "text")).collect();
    chat.say_all(&all).await;
    let mut notices = 0;
    loop {
        let (number, sequence) = receiver.next().await.notice();
        notices += 1;
        assert_eq!(number, notices, "numbers are dense");
        if sequence == 100 {
            break;
        }
    }
    assert!(notices < 50, "{notices} notices of 100 messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_takes_is_given_up_and_an_operator_sees_and_revives_it() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let (anna, ben) = (cluster.user(1, "dead-anna").await, cluster.user(2, "dead-ben").await);
    let id = hook(&ben, &receiver, "/").await["id"].as_str().expect("an id").to_owned();
    receiver.otherwise(Reply::Status(503)).await;
    let mut chat = anna.chat().await;
    chat.stored("dead-ben", "m1", SECRET).await;
    let shown = until_shown(&ben, |shown| shown["deadLetters"] == 1).await;
    assert_eq!((&shown["last"], &shown["done"]), (&json!(1), &json!(1)), "{shown}");
    let attempts = std::iter::from_fn(|| receiver.already()).count();
    assert_eq!(attempts, 4, "as many as the node's file says");

    let mut found = Vec::new();
    for node in 1..=3 {
        let address = cluster.operations_address(node);
        let (status, body) = http::json(address, "GET", "/deadletters", None, None).await;
        assert_eq!(status, 200, "{body}");
        assert!(!body.to_string().contains("dead-ben"), "no user is named: {body}");
        let letters = body["letters"].as_array().expect("a list").clone();
        let ours = |letter: &Value| letter["id"] == json!(format!("{id}-1"));
        found.extend(letters.into_iter().filter(ours).map(|letter| (node, letter)));
    }
    let [(node, letter)] = &found[..] else { panic!("on one node: {found:?}") };
    assert_eq!((&letter["attempts"], &letter["sequence"]), (&json!(4), &json!(1)), "{letter}");
    assert_eq!(letter["reason"], "answered 503");

    receiver.otherwise(Reply::Status(204)).await;
    let address = cluster.operations_address(*node);
    let retry = format!("/deadletters/{id}-1/retry");
    let (status, body) = http::json(address, "POST", &retry, None, None).await;
    assert_eq!((status, &body["number"]), (200, &json!(2)), "{body}");
    assert_eq!(receiver.next().await.notice(), (2, 1));
    until_shown(&ben, |shown| shown["done"] == 2 && shown["deadLetters"] == 0).await;
    let (status, _) = http::json(address, "POST", &retry, None, None).await;
    assert_eq!(status, 404, "it is alive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_attempt_is_repeated_as_it_was() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let (anna, ben) = (cluster.user(1, "again-anna").await, cluster.user(2, "again-ben").await);
    hook(&ben, &receiver, "/").await;
    receiver.script(&[Reply::Status(500), Reply::Status(404)]).await;
    let mut chat = anna.chat().await;
    chat.stored("again-ben", "m1", "text").await;
    for _ in 0..3 {
        assert_eq!(receiver.next().await.notice(), (1, 1));
    }
    until_shown(&ben, |shown| shown["done"] == 1).await;
    chat.stored("again-ben", "m2", "text").await;
    assert_eq!(receiver.next().await.notice(), (2, 2), "and not once more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_tells_the_same_again_from_a_number_on() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let (anna, ben) = (cluster.user(1, "replay-anna").await, cluster.user(2, "replay-ben").await);
    let id = hook(&ben, &receiver, "/").await["id"].as_str().expect("an id").to_owned();
    let mut chat = anna.chat().await;
    let mut told = Vec::new();
    for n in 1..=4 {
        chat.stored("replay-ben", &format!("m{n}"), "text").await;
        told.push(receiver.next().await.notice());
        until_shown(&ben, |shown| shown["done"] == n).await;
    }
    let replay = format!("/v1/push/{id}/replay");
    let answer = ben.granted("POST", &replay, Some(&json!({ "from": 2 }))).await;
    assert_eq!(answer, json!({ "from": 2, "last": 4 }));
    for notice in &told[1..] {
        assert_eq!(receiver.next().await.notice(), *notice);
    }
    until_shown(&ben, |shown| shown["done"] == 4).await;
    let answer = ben.granted("POST", &replay, Some(&json!({ "from": 5 }))).await;
    assert_eq!(answer, json!({ "from": 5, "last": 4 }), "the next to come: nothing to repeat");
    let (status, problem) = ben.refused("POST", &replay, Some(&json!({ "from": 6 }))).await;
    assert_eq!(
        (status, &problem["code"], &problem["expected"]),
        (409, &json!("beyond_end"), &json!(4))
    );
    for from in [json!(0), json!("1"), Value::Null] {
        let (_, problem) = ben.refused("POST", &replay, Some(&json!({ "from": from }))).await;
        assert_eq!(
            (&problem["code"], &problem["field"]),
            (&json!("invalid_request"), &json!("from"))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_says_it_is_gone_is_removed() {
    let cluster = Shared::cluster().await;
    let mut receiver = Receiver::start().await;
    let (anna, ben) = (cluster.user(1, "gone-anna").await, cluster.user(2, "gone-ben").await);
    hook(&ben, &receiver, "/").await;
    receiver.script(&[Reply::Status(410)]).await;
    let mut chat = anna.chat().await;
    chat.stored("gone-ben", "m1", "text").await;
    receiver.next().await;
    until_shown(&ben, Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_are_ones_own_bounded_and_checked() {
    let cluster = Shared::cluster().await;
    let receiver = Receiver::start().await;
    let (anna, ben) =
        (cluster.user(1, "own-push-anna").await, cluster.user(2, "own-push-ben").await);
    let id = hook(&ben, &receiver, "/0").await["id"].as_str().expect("an id").to_owned();
    let one = format!("/v1/push/{id}");
    for path in [one.as_str(), "/v1/push/0000000000000000", "/v1/push/nothing"] {
        let (status, problem) = anna.refused("DELETE", path, None).await;
        assert_eq!((status, &problem["code"]), (404, &json!("no_such_registration")), "{path}");
    }
    for n in 1..10 {
        hook(&ben, &receiver, &format!("/{n}")).await;
    }
    let eleventh = json!({ "kind": "webhook", "url": receiver.url("/10") });
    let (status, problem) = ben.refused("POST", "/v1/push", Some(&eleventh)).await;
    assert_eq!((status, &problem["code"]), (422, &json!("too_many_registrations")));
    assert_eq!(problem["expected"], 10);
    // The same place again takes the place of the first.
    let again = hook(&ben, &receiver, "/3").await;
    let list = ben.granted("GET", "/v1/push", None).await;
    let list = list["registrations"].as_array().expect("a list");
    assert_eq!(list.len(), 10);
    assert!(list.iter().any(|line| line["id"] == again["id"]));
    let answer = ben.answer("DELETE", &one, None).await;
    assert_eq!(answer.status, 204);
    assert_eq!(ben.refused("DELETE", &one, None).await.0, 404);

    let bad = [
        (json!({ "kind": "pigeon" }), "kind", "invalid_request"),
        (json!({ "kind": "webhook" }), "url", "invalid_request"),
        (json!({ "kind": "webhook", "url": "ftp://a.org/" }), "url", "invalid_request"),
        (json!({ "kind": "webhook", "url": "https://u:p@a.org/" }), "url", "invalid_request"),
        (json!({ "kind": "fcm", "token": "x" }), "kind", "target_not_allowed"),
    ];
    for (body, field, code) in bad {
        let (_, problem) = ben.refused("POST", "/v1/push", Some(&body)).await;
        assert_eq!((&problem["code"], &problem["field"]), (&json!(code), &json!(field)), "{body}");
    }
    let long = json!({ "kind": "webhook", "url": receiver.url(&format!("/{}", "x".repeat(1024))) });
    assert_eq!(ben.refused("POST", "/v1/push", Some(&long)).await.1["code"], "too_large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_is_killed_before_it_was_answered_the_next_one_says_the_same() {
    let mut nodes = Processes::start().await;
    let mut receiver = Receiver::start().await;
    let leader = nodes.leader_of("kill-ben").await;
    let other = 1 + leader % 3;
    let anna = Stranger::arrive(nodes.plain(other), "kill-anna").await;
    let ben = Stranger::arrive(nodes.plain(other), "kill-ben").await;
    hook(&ben, &receiver, "/").await;
    receiver.script(&[Reply::Silence]).await;
    let mut chat = anna.chat().await;
    chat.stored("kill-ben", "m1", "text").await;
    let first = receiver.next().await;
    assert_eq!(first.notice(), (1, 1));
    // More arrives, which must not change what the number means.
    chat.stored("kill-ben", "m2", "text").await;
    nodes.kill(leader).await;
    let second = receiver.next().await;
    assert_eq!(second.json()["conversationId"], first.json()["conversationId"]);
    assert_eq!(second.notice(), (1, 1), "the same under the same number");
    assert_eq!(receiver.next().await.notice(), (2, 2));
    until_shown(&ben, |shown| shown["done"] == 2).await;
}
