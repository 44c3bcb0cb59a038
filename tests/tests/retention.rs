//! Messages are kept for as long as their conversation says: what is older is gone from every node and says so, and
//! everything else is as it was.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Chat, Cluster, Shape, Shared, Stranger, in_time, items};

/// How long to wait before a page is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

async fn make(owner: &Stranger, group: &str, members: &[&str]) -> Value {
    let body = json!({ "groupId": group, "members": members, "history": "all" });
    owner.granted("POST", "/v1/groups", Some(&body)).await
}

async fn say(chat: &mut Chat, group: &str, id: &str) -> Value {
    let item = chat.to_group(group, id, &format!("secret {id}"));
    chat.accepted(item).await
}

/// Waits until `who` is told that everything up to `seq` has expired.
async fn expired(who: &Stranger, name: &str, seq: u64) -> Value {
    let page = async {
        loop {
            let page = who.granted("GET", &format!("/messages/{name}"), None).await;
            if page["expiredUpTo"] == json!(seq) {
                return page;
            }
            assert!(page["expiredUpTo"].as_u64().is_none_or(|so_far| so_far < seq), "{page}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    in_time(page).await
}

fn seqs(page: &Value) -> Vec<u64> {
    items(page).iter().filter_map(|one| one["sequence"].as_u64()).collect()
}

fn path_of(message: &Value) -> String {
    format!("/v1/messages/{}", message["canonicalId"].as_str().expect("a message is named"))
}

fn seconds(count: u64) -> Value {
    json!({ "seconds": count })
}

fn for_ever() -> Value {
    json!({ "days": null })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_is_gone_on_every_node_and_the_rest_keeps_its_place() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "ret-anna").await;
    let ben = cluster.user(2, "ret-ben").await;
    let made = make(&anna, "ret-group", &["ret-ben"]).await;
    let conversation = made["conversationId"].as_str().expect("an id");
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    let first = say(&mut hers, "ret-group", "m1").await;
    let wish = json!({
        "changeId": "c1", "canonicalId": first["canonicalId"], "kind": "edit",
        "messageText": "secret, edited",
    });
    assert_eq!(hers.wish(wish).await["change"], json!(1));
    say(&mut hers, "ret-group", "m2").await;
    let path = "/v1/groups/ret-group/retention";
    let set = anna.granted("PUT", path, Some(&seconds(1))).await;
    assert_eq!(set, json!({ "conversationId": conversation, "retention": { "seconds": 1 } }));
    let told = his.change(|item| item["kind"] == "retention").await;
    assert_eq!((&told["by"], &told["retention"]), (&json!("ret-anna"), &json!({ "seconds": 1 })));
    for node in 1..=3 {
        let page = expired(&ben.at(cluster.plain_address(node)), "ret-group", 2).await;
        assert_eq!((seqs(&page), &page["next_after_id"]), (vec![], &Value::Null), "{page}");
    }
    anna.granted("PUT", path, Some(&for_ever())).await;

    let third = say(&mut hers, "ret-group", "m3").await;
    assert_eq!(third["sequence"], json!(3), "sequences are dense");
    let again = hers.to_group("ret-group", "m1", "secret m1");
    assert_eq!(hers.accepted(again).await["sequence"], json!(1), "it is still the same message");
    for node in 1..=3 {
        let here = ben.at(cluster.plain_address(node));
        let page = here.granted("GET", "/messages/ret-group", None).await;
        assert_eq!((seqs(&page), &page["expiredUpTo"]), (vec![3], &json!(2)), "{page}");
        assert_eq!(seqs(&here.granted("GET", "/messages/ret-group?after_id=m1", None).await), [3]);
        let before = here.granted("GET", "/messages/ret-group?before_id=m3", None).await;
        assert_eq!((seqs(&before), &before["next_before_id"]), (vec![], &Value::Null), "{before}");
        let list = here.granted("GET", "/v1/conversations", None).await;
        let line = &list["conversations"][0];
        assert_eq!((&line["unread"], &line["expiredUpTo"]), (&json!(1), &json!(2)), "{line}");
        let changes = format!("/v1/conversations/{conversation}/changes");
        let changes = here.granted("GET", &changes, None).await;
        for answer in [page, list, changes] {
            let text = answer.to_string();
            assert!(!text.contains("secret m1") && !text.contains("edited"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn naming_what_has_expired_is_a_problem_of_its_own() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "gon-anna").await;
    let ben = cluster.user(2, "gon-ben").await;
    let cara = cluster.user(3, "gon-cara").await;
    let mut hers = anna.chat().await;
    let first = hers.stored("gon-ben", "m1", "secret m1").await;
    let conversation = first["conversationId"].as_str().expect("an id");
    // Either of two may say so, nobody else.
    let path = format!("/v1/conversations/{conversation}/retention");
    let (status, problem) = cara.refused("PUT", &path, Some(&seconds(1))).await;
    assert_eq!((status, &problem["code"]), (404, &json!("no_such_conversation")));
    ben.granted("PUT", &path, Some(&seconds(1))).await;
    expired(&anna, "gon-ben", 1).await;
    ben.granted("PUT", &path, Some(&for_ever())).await;
    let reaction = format!("{}/reaction", path_of(&first));
    let calls = [
        ("GET", path_of(&first), None),
        ("PATCH", path_of(&first), Some(json!({ "messageText": "x" }))),
        ("DELETE", path_of(&first), None),
        ("PUT", reaction.clone(), Some(json!({ "reaction": "x" }))),
        ("DELETE", reaction, None),
        ("GET", "/messages/gon-ben?around_id=m1".to_owned(), None),
        ("GET", "/messages/gon-ben?before_id=m1".to_owned(), None),
    ];
    for (method, path, body) in calls {
        let (status, problem) = anna.refused(method, &path, body.as_ref()).await;
        assert_eq!((status, &problem["code"]), (410, &json!("message_expired")), "{method} {path}");
    }
    let mut answer = hers.message("gon-ben", "m2", "what?");
    answer["replyTo"] = first["canonicalId"].clone();
    assert_eq!(hers.failed(answer).await["code"], "message_expired");
    let (status, problem) = cara.refused("GET", &path_of(&first), None).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "not theirs to know");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_owners_say_for_how_long_and_only_what_can_be_said() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "own-anna").await;
    let ben = cluster.user(2, "own-ben").await;
    let cara = cluster.user(3, "own-cara").await;
    make(&anna, "own-group", &["own-ben"]).await;
    let path = "/v1/groups/own-group/retention";
    let week = json!({ "days": 7 });
    for (who, code) in [(&ben, "not_allowed"), (&cara, "not_a_member")] {
        let (status, problem) = who.refused("PUT", path, Some(&week)).await;
        assert_eq!((status, &problem["code"]), (403, &json!(code)));
    }
    for wrong in [
        json!({}),
        json!({ "days": 0 }),
        json!({ "days": 3661 }),
        json!({ "days": "7" }),
        json!({ "days": 7, "seconds": 7 }),
        json!({ "seconds": 0 }),
    ] {
        let (status, problem) = anna.refused("PUT", path, Some(&wrong)).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")), "{wrong}");
    }
    let group =
        async || anna.granted("GET", "/v1/groups/own-group", None).await["retention"].clone();
    assert_eq!(group().await, Value::Null);
    anna.granted("PUT", path, Some(&week)).await;
    assert_eq!(group().await, week);
    let list = ben.granted("GET", "/v1/conversations", None).await;
    assert_eq!(list["conversations"][0]["retention"], week, "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_without_a_node_and_a_device_that_was_away_gets_what_is_left() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "awa-anna").await;
    let ben = Stranger::arrive(cluster.plain_address(2), "awa-ben").await;
    let mut hers = anna.chat().await;
    for number in 1..=150 {
        hers.stored("awa-ben", &format!("m{number}"), "secret").await;
    }
    let first = hers.stored("awa-ben", "last", "secret").await;
    cluster.stop_node(3).await;
    let path =
        format!("/v1/conversations/{}/retention", first["conversationId"].as_str().expect("an id"));
    anna.granted("PUT", &path, Some(&seconds(1))).await;
    for node in 1..=2 {
        expired(&anna.at(cluster.plain_address(node)), "awa-ben", 151).await;
    }
    anna.granted("PUT", &path, Some(&for_ever())).await;
    hers.stored("awa-ben", "kept", "kept").await;
    cluster.start_node(3);
    cluster.wait_ready(3).await;
    let mut his = ben.at(cluster.plain_address(3)).chat().await;
    let got = his.messages(1).await;
    assert_eq!((&got[0]["messageText"], &got[0]["sequence"]), (&json!("kept"), &json!(152)));
    cluster.stop().await;
}
