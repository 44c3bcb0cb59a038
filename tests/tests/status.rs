//! Contract section 5: what became of a message, and who is there.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::{Chat, Shared, Stranger, in_time, items};

/// Offline no later than this after the last sign of life.
const OFFLINE_WITHIN: Duration = Duration::from_secs(6);
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The message with what became of it, as a node tells it.
async fn detail(who: &Stranger, message: &Value) -> Value {
    let id = message["canonicalId"].as_str().expect("a message is named");
    who.granted("GET", &format!("/v1/messages/{id}"), None).await
}

/// Reads items until `last` accepts one; each item's status must never be behind what was told before.
async fn watch(chat: &mut Chat, last: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut seen: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
    in_time(async {
        loop {
            for item in items(&chat.next().await) {
                let flag = |name: &str| item[name].as_bool().expect("true or false");
                let now = (flag("delivered"), flag("read"));
                assert!(now.0 || !now.1, "read implies delivered: {item}");
                let before = seen.entry(item["sequence"].as_u64().expect("a place")).or_default();
                assert!(
                    now.0 >= before.0 && now.1 >= before.1,
                    "never back: {item} after {before:?}"
                );
                *before = now;
                all.push(item);
            }
            if all.iter().any(&last) {
                return;
            }
        }
    })
    .await;
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_and_read_are_pushed_to_all_devices_of_the_sender_and_never_go_back() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "st-anna").await;
    let ben = cluster.user(3, "st-ben").await;
    let second = anna.another("second").await.at(cluster.plain_address(2));
    let mut devices = [anna.chat().await, second.chat().await];
    let mut his = ben.chat().await;
    for n in 1..=5 {
        devices[0].stored("st-ben", &format!("m{n}"), "text").await;
    }
    let got = his.messages(5).await;
    his.confirm(&got[2], "delivered").await;
    for chat in &mut devices {
        let told =
            watch(chat, |item| item["sequence"] == json!(3) && item["delivered"] == json!(true))
                .await;
        let delivered = told.iter().filter(|item| item["delivered"] == json!(true));
        let mut named: Vec<&str> =
            delivered.map(|item| item["messageId"].as_str().expect("an id")).collect();
        named.sort_unstable();
        assert_eq!(named, ["m1", "m2", "m3"], "one confirmation covers everything up to it");
        let item = told.last().expect("there was one");
        for (field, value) in [("senderId", "st-anna"), ("receiverId", "st-ben")] {
            assert_eq!(item[field], value, "{item}");
        }
        assert_eq!(
            (&item["receivedServer"], &item["read"]),
            (&json!(true), &json!(false)),
            "{item}"
        );
        assert_eq!(item["canonicalId"], got[2]["canonicalId"], "{item}");
    }
    // Reading implies delivery; what is confirmed again, or from before, changes nothing.
    his.confirm(&got[4], "read").await;
    his.confirm(&got[0], "delivered").await;
    his.confirm(&got[1], "read").await;
    for chat in &mut devices {
        let told =
            watch(chat, |item| item["sequence"] == json!(5) && item["read"] == json!(true)).await;
        let read = told.iter().filter(|item| item["read"] == json!(true)).count();
        assert_eq!(read, 5, "{told:?}");
    }
    for node in 1..=3 {
        for message in &got {
            let now = detail(&anna.at(cluster.plain_address(node)), message).await;
            assert_eq!((&now["delivered"], &now["read"]), (&json!(true), &json!(true)), "{now}");
            assert_eq!(now["messageText"], "text");
        }
        let history = ben.at(cluster.plain_address(node)).history("st-anna").await;
        assert!(history.iter().all(|one| one["read"] == json!(true)), "{history:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_was_told_anywhere_is_told_everywhere_from_then_on() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "mono-anna").await;
    let ben = cluster.user(2, "mono-ben").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    let mut elsewhere = [
        anna.at(cluster.plain_address(2)).chat().await,
        anna.at(cluster.plain_address(3)).chat().await,
    ];
    for n in 1..=25 {
        let id = format!("m{n}");
        hers.stored("mono-ben", &id, "text").await;
        let got = his.messages(1).await.remove(0);
        his.confirm(&got, "read").await;
        hers.until(|item| item["messageId"] == id.as_str() && item["read"] == json!(true)).await;
        for (node, chat) in [2, 3].into_iter().zip(&mut elsewhere) {
            let again = chat.stored("mono-ben", &id, "text").await;
            assert_eq!(again["read"], json!(true), "a repetition at node {node} knows: {again}");
            let now = detail(&ben.at(cluster.plain_address(node)), &got).await;
            assert_eq!(now["read"], json!(true), "node {node}: {now}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmations_that_cannot_be_are_refused() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "conf-anna").await;
    let ben = cluster.user(2, "conf-ben").await;
    let eve = cluster.user(3, "conf-eve").await;
    let stored = anna.chat().await.stored("conf-ben", "m1", "text").await;
    let mut his = ben.chat().await;
    let got = his.messages(1).await.remove(0);
    let conversation = got["conversationId"].clone();
    for sequence in [2, 99, u64::MAX] {
        his.say(json!({ "conversationId": conversation, "sequence": sequence, "read": true }))
            .await;
        let told = his.until(|item| item["error"].is_object()).await;
        assert_eq!(
            (&told["conversationId"], &told["sequence"]),
            (&conversation, &json!(sequence)),
            "{told}"
        );
        assert_eq!(
            (&told["error"]["code"], &told["error"]["expected"]),
            (&json!("beyond_end"), &json!(1)),
            "{told}"
        );
    }
    let mut hers = eve.chat().await;
    for (item, code, field) in [
        (
            json!({ "conversationId": conversation, "sequence": 1, "read": true }),
            "no_such_conversation",
            Value::Null,
        ),
        (
            json!({ "conversationId": "00".repeat(16), "sequence": 1, "read": true }),
            "no_such_conversation",
            Value::Null,
        ),
        (
            json!({ "conversationId": "home", "sequence": 1, "read": true }),
            "invalid_request",
            json!("conversationId"),
        ),
        (
            json!({ "conversationId": conversation, "sequence": "1", "read": true }),
            "invalid_request",
            json!("sequence"),
        ),
        (
            json!({ "conversationId": conversation, "sequence": 1, "read": "yes" }),
            "invalid_request",
            json!("read"),
        ),
        (
            json!({ "conversationId": conversation, "sequence": 1, "delivered": 1 }),
            "invalid_request",
            json!("delivered"),
        ),
        (
            json!({ "conversationId": conversation, "sequence": 1 }),
            "invalid_request",
            json!("delivered"),
        ),
        (json!({ "sequence": 1, "read": true }), "invalid_request", json!("conversationId")),
    ] {
        hers.say(item.clone()).await;
        let told = hers.until(|item| item["error"].is_object()).await;
        assert_eq!(
            (&told["error"]["code"], &told["error"]["field"]),
            (&json!(code), &field),
            "{item}: {told}"
        );
    }
    let now = detail(&anna, &stored).await;
    assert_eq!(
        (&now["delivered"], &now["read"]),
        (&json!(false), &json!(false)),
        "nothing was confirmed: {now}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_group_status_turns_when_every_other_member_has_it_and_counts_tell_of_some() {
    let cluster = Shared::cluster().await;
    let mut members = Vec::new();
    for (node, name) in [(1, "gs-anna"), (2, "gs-ben"), (3, "gs-cara"), (1, "gs-dora")] {
        members.push(cluster.user(node, name).await);
    }
    let group = json!({ "groupId": "gs-crew", "name": "Crew", "members": ["gs-ben", "gs-cara", "gs-dora"] });
    members[0].granted("POST", "/v1/groups", Some(&group)).await;
    let mut chats = Vec::new();
    for member in &members {
        chats.push(member.chat().await);
    }
    let item = chats[0].to_group("gs-crew", "m1", "all of you");
    let stored = chats[0].accepted(item).await;
    assert_eq!(
        (&stored["deliveredCount"], &stored["readCount"]),
        (&json!(0), &json!(0)),
        "{stored}"
    );
    let told = |step: usize| (["gs-ben", "gs-cara", "gs-dora"][..step].to_vec(), step as u64);
    let (hers, others) = chats.split_first_mut().expect("four");
    for (n, chat) in others.iter_mut().enumerate() {
        let got = chat.messages(1).await.remove(0);
        assert_eq!((&got["groupId"], got.get("receiverId")), (&json!("gs-crew"), None), "{got}");
        chat.confirm(&got, "delivered").await;
        let (names, count) = told(n + 1);
        let item = hers.until(|item| item["deliveredCount"] == json!(count)).await;
        assert_eq!((&item["delivered"], &item["read"]), (&json!(n == 2), &json!(false)), "{item}");
        assert_eq!(item["groupId"], "gs-crew");
        let now = detail(&members[0], &stored).await;
        assert_eq!((&now["deliveredTo"], &now["readBy"]), (&json!(names), &json!([])), "{now}");
        assert_eq!(
            (&now["delivered"], &now["deliveredCount"]),
            (&json!(n == 2), &json!(count)),
            "{now}"
        );
    }
    for (n, chat) in others.iter_mut().enumerate() {
        chat.confirm(&stored, "read").await;
        let (names, count) = told(n + 1);
        let item = hers.until(|item| item["readCount"] == json!(count)).await;
        assert_eq!((&item["delivered"], &item["read"]), (&json!(true), &json!(n == 2)), "{item}");
        let now = detail(&members[2], &stored).await;
        assert_eq!((&now["readBy"], &now["read"]), (&json!(names), &json!(n == 2)), "{now}");
    }
    let history = members[1].history("gs-crew").await;
    assert_eq!((&history[0]["readCount"], &history[0]["read"]), (&json!(3), &json!(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_told_by_its_canonical_id_to_those_who_may_read_it() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "one-anna").await;
    let ben = cluster.user(2, "one-ben").await;
    let eve = cluster.user(3, "one-eve").await;
    let stored = anna.chat().await.stored("one-ben", "m1", "text").await;
    for node in 1..=3 {
        for who in [&anna, &ben] {
            let now = detail(&who.at(cluster.plain_address(node)), &stored).await;
            for field in [
                "senderId",
                "receiverId",
                "messageId",
                "conversationId",
                "sequence",
                "canonicalId",
                "orderNumber",
            ] {
                assert_eq!(now[field], stored[field], "{field}");
            }
            assert_eq!(now["messageText"], "text");
        }
    }
    let id = stored["canonicalId"].as_str().expect("an id");
    let (status, refused) = eve.refused("GET", &format!("/v1/messages/{id}"), None).await;
    assert!([403, 404].contains(&status), "{refused}");
    let beyond = id.replace("-1", "-2");
    let nowhere = format!("{}-1", "00".repeat(16));
    for id in [beyond.as_str(), nowhere.as_str()] {
        assert_eq!(anna.refused("GET", &format!("/v1/messages/{id}"), None).await.0, 404, "{id}");
    }
}

async fn presence(who: &Stranger, of: &str) -> Value {
    who.granted("GET", &format!("/v1/presence/{of}"), None).await
}

/// Whoever shares a conversation sees when the other is there.
async fn acquaint(who: &Stranger, with: &str) {
    let mut chat = who.chat().await;
    chat.stored(with, "acquaint", "now we know each other").await;
    chat.leave().await;
}

/// Waits until every node says so.
async fn until_online_is(cluster: &Shared, who: &Stranger, of: &str, online: bool) {
    for node in 1..=3 {
        let here = who.at(cluster.plain_address(node));
        while presence(&here, of).await["online"] != json!(online) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Milliseconds since 1970 of a moment in RFC 3339, to the second.
fn seconds_of(text: &Value) -> u64 {
    let at = proto::spec_json::parse_rfc3339(text.as_str().expect("a moment"));
    at.expect("RFC 3339").0 / 1000
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a server says of the wall clock is compared with it"
)]
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_follows_links_on_any_node_and_remembers_the_last() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "pres-anna").await;
    let ben = cluster.user(2, "pres-ben").await;
    let (status, refused) = anna.refused("GET", "/v1/presence/pres-ben", None).await;
    assert_eq!((status, &refused["code"]), (403, &json!("not_allowed")), "a stranger");
    acquaint(&anna, "pres-ben").await;
    let never = presence(&anna, "pres-ben").await;
    assert_eq!((&never["userId"], &never["online"]), (&json!("pres-ben"), &json!(false)));
    assert!(never["lastSeen"].is_null(), "never seen: {never}");
    let began = now_s();
    let one = ben.chat().await;
    let other = ben.at(cluster.plain_address(3)).chat().await;
    in_time(until_online_is(&cluster, &anna, "pres-ben", true)).await;
    one.leave().await;
    assert_eq!(presence(&anna, "pres-ben").await["online"], json!(true), "one link is enough");
    other.leave().await;
    let offline = until_online_is(&cluster, &anna, "pres-ben", false);
    tokio::time::timeout(OFFLINE_WITHIN, offline).await.expect("offline in time");
    for node in 1..=3 {
        let now = presence(&anna.at(cluster.plain_address(node)), "pres-ben").await;
        let seen = seconds_of(&now["lastSeen"]);
        assert!((began..=now_s()).contains(&seen), "{now}");
    }
    let (status, refused) = anna.refused("GET", "/v1/presence/pres-nobody", None).await;
    assert_eq!((status, &refused["code"]), (404, &json!("no_such_user")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_makes_contacts_and_its_end_makes_strangers() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "met-anna").await;
    let ben = cluster.user(2, "met-ben").await;
    let group = json!({ "groupId": "met-crew", "members": ["met-ben"] });
    anna.granted("POST", "/v1/groups", Some(&group)).await;
    for (who, of) in [(&anna, "met-ben"), (&ben, "met-anna")] {
        for node in 1..=3 {
            // The list of one's groups follows the group a moment later.
            let path = format!("/v1/presence/{of}");
            let here = who.at(cluster.plain_address(node));
            in_time(async {
                while here.ask("GET", &path, None).await.0 != 200 {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            })
            .await;
        }
        presence(who, &who.user).await;
    }
    let path = "/v1/groups/met-crew/members/met-ben";
    assert_eq!(anna.ask("DELETE", path, None).await.0, 204);
    for (who, of) in [(&anna, "met-ben"), (&ben, "met-anna")] {
        for node in 1..=3 {
            let path = format!("/v1/presence/{of}");
            let here = who.at(cluster.plain_address(node));
            in_time(async {
                while here.ask("GET", &path, None).await.0 != 403 {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_is_offline_within_six_seconds_and_one_that_is_only_quiet_is_not() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "hang-anna").await;
    let ben = cluster.user(2, "hang-ben").await;
    let quiet = cluster.user(3, "hang-quiet").await;
    acquaint(&anna, "hang-ben").await;
    acquaint(&anna, "hang-quiet").await;
    let (mut hanging, mut kept) = (ben.chat().await, quiet.chat().await);
    in_time(until_online_is(&cluster, &anna, "hang-ben", true)).await;
    hanging.freeze();
    let offline = until_online_is(&cluster, &anna, "hang-ben", false);
    tokio::time::timeout(OFFLINE_WITHIN, offline).await.expect("offline in time");
    in_time(until_online_is(&cluster, &anna, "hang-quiet", true)).await;
    kept.stored("hang-ben", "m1", "still here").await;
    drop(hanging);
}
