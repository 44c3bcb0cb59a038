//! Watch lists: contacts are told of when they come and go, on whichever node, and nobody else is.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Chat, Cluster, Shape, Shared, Stranger};

async fn acquaint(one: &Stranger, other: &str) {
    let mut chat = one.chat().await;
    chat.stored(other, "hello", "hello").await;
    chat.leave().await;
}

/// The one user of whom there is news: whether they are online, and when they last were.
async fn heard(chat: &mut Chat, user: &str) -> (bool, Value) {
    let news = chat.heard_presence().await;
    assert_eq!(news.len(), 1, "{news:?}");
    assert_eq!(news[0]["userId"], user, "{news:?}");
    (news[0]["online"].as_bool().expect("a flag"), news[0]["lastSeen"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_watched_is_told_of_from_any_node_and_strangers_are_refused() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "wat-anna").await;
    let ben = cluster.user(2, "wat-ben").await;
    cluster.user(3, "wat-cara").await;
    acquaint(&ben, "wat-anna").await;
    let mut hers = anna.chat().await;
    hers.watch(&["wat-ben", "wat-cara", "wat-nobody"]).await;
    let mut first = Vec::new();
    while first.len() < 3 {
        first.extend(hers.heard_presence().await);
    }
    first.sort_by_key(|item| item["userId"].to_string());
    assert_eq!(first[0]["userId"], "wat-ben");
    assert_eq!((&first[0]["online"], first[0]["lastSeen"].is_string()), (&json!(false), true));
    for (item, name) in first[1..].iter().zip(["wat-cara", "wat-nobody"]) {
        let told = (&item["userId"], &item["error"]["code"], item.get("online"));
        assert_eq!(told, (&json!(name), &json!("not_allowed"), None), "who exists is not told");
    }
    for node in [2, 3, 1] {
        let his = ben.at(cluster.plain_address(node)).chat().await;
        assert!(heard(&mut hers, "wat-ben").await.0, "on node {node}");
        his.leave().await;
        let (online, last_seen) = heard(&mut hers, "wat-ben").await;
        assert!(!online && last_seen.is_string());
    }
    let many: Vec<String> = (0..501).map(|number| format!("wat-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    hers.watch(&many).await;
    let refused = hers.next().await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["field"]),
        (&json!("invalid_request"), &json!("users")),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_when_the_last_conversation_of_both_ends() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "end-anna").await;
    let ben = cluster.user(2, "end-ben").await;
    let body = json!({ "groupId": "end-group", "members": ["end-ben"] });
    anna.granted("POST", "/v1/groups", Some(&body)).await;
    let mut his = ben.chat().await;
    let mut hers = anna.chat().await;
    his.watch(&["end-anna"]).await;
    assert!(heard(&mut his, "end-anna").await.0);
    anna.granted("DELETE", "/v1/groups/end-group/members/end-ben", None).await;
    let refused = his.heard_presence().await;
    assert_eq!(refused[0]["error"]["code"], "not_allowed", "{refused:?}");
    hers.leave().await;
    hers = anna.chat().await;
    let body = json!({ "members": ["end-ben"] });
    anna.granted("POST", "/v1/groups/end-group/members", Some(&body)).await;
    his.watch(&["end-anna"]).await;
    assert!(heard(&mut his, "end-anna").await.0, "nothing of what was between");
    drop(hers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_takes_its_own_users_and_nobody_else() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "los-anna").await;
    let ben = Stranger::arrive(cluster.plain_address(2), "los-ben").await;
    let cara = Stranger::arrive(cluster.plain_address(3), "los-cara").await;
    acquaint(&anna, "los-ben").await;
    acquaint(&anna, "los-cara").await;
    let mut hers = anna.chat().await;
    let (his, caras) = (ben.chat().await, cara.chat().await);
    hers.watch(&["los-ben", "los-cara"]).await;
    let mut online = Vec::new();
    while online.len() < 2 {
        online.extend(hers.heard_presence().await.into_iter().filter(|one| one["online"] == true));
    }
    // Whatever this node led has other leaders now.
    cluster.stop_node(3).await;
    let (is_online, _) = heard(&mut hers, "los-cara").await;
    assert!(!is_online, "and not of ben, who stayed");
    drop(caras);
    his.leave().await;
    let (is_online, _) = heard(&mut hers, "los-ben").await;
    assert!(!is_online);
    let asked = anna.granted("GET", "/v1/presence/los-ben", None).await;
    assert_eq!(asked["online"], json!(false));
    tokio::time::timeout(Duration::from_secs(30), cluster.stop()).await.expect("it stops");
}
