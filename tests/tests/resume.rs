//! One token for all conversations: a link that comes back with it is sent what one without it would be, on any node.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Cluster, Shape, Shared, Stranger, in_time, items};
use tokio::time::Instant;

/// Conversations of the user whose return is measured.
const MANY: usize = 200;
/// How long to wait before a list is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Returns of which the median is told.
const RETURNS: usize = 15;

fn texts(frames: &[Value]) -> Vec<String> {
    let items = frames.iter().flat_map(items);
    let text = |item: Value| item["messageText"].as_str().map(str::to_owned);
    let mut texts: Vec<String> = items.filter_map(text).collect();
    texts.sort();
    texts
}

/// Waits until so many conversations are in the user's list: it follows them with a delay.
async fn listed(who: &Stranger, count: usize) {
    let listed = async {
        loop {
            let list = who.granted("GET", "/v1/conversations", None).await;
            if list["conversations"].as_array().is_some_and(|all| all.len() == count) {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    in_time(listed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_and_what_was_not_confirmed_comes_on_any_node() {
    let cluster = Shared::cluster().await;
    let ben = cluster.user(1, "rsm-ben").await;
    let mut peers = Vec::new();
    for (node, name) in [(1, "rsm-anna"), (2, "rsm-cara"), (3, "rsm-dora")] {
        peers.push(cluster.user(node, name).await.chat().await);
    }
    let first = peers[0].stored("rsm-ben", "a1", "a1").await;
    peers[1].stored("rsm-ben", "c1", "c1").await;
    listed(&ben, 2).await;
    let mut his = ben.chat_resuming("").await;
    assert!(!his.was_reset());
    let (_, sent) = his.given().await;
    assert_eq!(texts(&sent), ["a1", "c1"]);
    his.confirm(&first, "delivered").await;
    let body = json!({ "messageText": "a1" });
    let path = format!("/v1/messages/{}", first["canonicalId"].as_str().expect("a name"));
    // It is confirmed once the node has taken what came after it.
    let (status, _) = ben.refused("PATCH", &path, Some(&body)).await;
    assert_eq!(status, 403);
    his.leave().await;
    let mut token = ben.chat_resuming("").await.given().await.0;
    for (round, node) in [2, 3, 1, 2].into_iter().enumerate() {
        let said = format!("d{round}");
        peers[2].stored("rsm-ben", &said, &said).await;
        let mut his = ben.at(cluster.plain_address(node)).chat_resuming(&token).await;
        assert!(!his.was_reset(), "node {node} remembers");
        let (next, sent) = his.given().await;
        let mut wanted: Vec<String> = (0..=round).map(|round| format!("d{round}")).collect();
        wanted.insert(0, "c1".to_owned());
        assert_eq!(texts(&sent), wanted, "nothing of it was confirmed");
        token = next;
        his.leave().await;
    }
    let mut live = ben.at(cluster.plain_address(3)).chat_resuming(&token).await;
    live.given().await;
    peers[0].stored("rsm-ben", "a2", "a2").await;
    assert_eq!(live.messages(1).await[0]["messageText"], "a2", "where nothing was new, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_says_nothing_is_a_reset_and_all_is_sent() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "rst-anna").await;
    let ben = cluster.user(2, "rst-ben").await;
    anna.chat().await.stored("rst-ben", "m1", "m1").await;
    let hers = anna.chat_resuming("").await.given().await.0;
    let his = ben.chat_resuming("").await;
    let early = his.resume().to_owned();
    his.leave().await;
    for given in [hers.as_str(), early.as_str(), "x", &"A".repeat(30_000)] {
        let mut his = ben.chat_resuming(given).await;
        assert!(his.was_reset(), "{given}");
        assert_eq!(texts(&his.given().await.1), ["m1"]);
    }
    let other = ben.another("phone").await;
    let token = ben.chat_resuming("").await.given().await.0;
    assert!(other.chat_resuming(&token).await.was_reset(), "it is another device's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_gives_what_the_next_one_takes() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "stp-anna").await;
    let ben = Stranger::arrive(cluster.plain_address(3), "stp-ben").await;
    let mut his = ben.chat().await;
    let mut hers = anna.chat().await;
    let first = hers.stored("stp-ben", "m1", "m1").await;
    his.messages(1).await;
    his.confirm(&first, "delivered").await;
    hers.until(|item| item["delivered"] == true).await;
    // The last frame before the end: `goAway`, with what holds at that moment.
    let (away, ()) = tokio::join!(his.given(), cluster.stop_node(3));
    hers.stored("stp-ben", "m2", "m2").await;
    let mut his = ben.at(cluster.plain_address(2)).chat_resuming(&away.0).await;
    assert!(!his.was_reset());
    assert_eq!(texts(&his.given().await.1), ["m2"]);
    // A node that begins anew gives the same, whether it remembers so far back or not.
    cluster.start_node(3);
    cluster.wait_ready(3).await;
    let mut his = ben.at(cluster.plain_address(3)).chat_resuming(&away.0).await;
    assert_eq!(texts(&his.given().await.1), ["m2"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_back_with_nothing_new_looks_at_nothing() {
    let cluster = Shared::cluster().await;
    let ben = cluster.user(1, "many-ben").await;
    for number in 0..MANY {
        let body = json!({ "groupId": format!("many-{number}") });
        ben.granted("POST", "/v1/groups", Some(&body)).await;
    }
    let mut token = String::new();
    let mut took = [Vec::new(), Vec::new()];
    for number in 0..2 * RETURNS {
        let with = number % 2;
        let since = Instant::now();
        let mut his = ben.chat_resuming(["", &token][with]).await;
        let (next, sent) = his.given().await;
        took[with].push(since.elapsed());
        assert!(!his.was_reset() && sent.is_empty(), "{sent:?}");
        token = next;
        his.leave().await;
    }
    // Told, not judged: this is a debug build on whatever machine.
    let [anew, resumed] = took.map(|mut all| {
        all.sort();
        all[all.len() / 2]
    });
    println!("{MANY} conversations, nothing new: {anew:?} without a token, {resumed:?} with one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shows_headers_comes_back_with_a_header() {
    let cluster = Shared::cluster().await;
    let mut hers = cluster.user(1, "hdr-anna").await.chat().await;
    let ben = cluster.user(2, "hdr-ben").await;
    let first = hers.stored("hdr-ben", "m1", "m1").await;
    listed(&ben, 1).await;
    let mut his = ben.chat_resuming_by_headers("").await;
    assert!(!his.was_reset());
    assert_eq!(texts(&his.given().await.1), ["m1"]);
    his.confirm(&first, "delivered").await;
    hers.stored("hdr-ben", "m2", "m2").await;
    assert_eq!(his.messages(1).await[0]["messageText"], "m2");
    his.leave().await;
    let token = ben.chat_resuming_by_headers("").await.given().await.0;
    let mut his = ben.at(cluster.plain_address(3)).chat_resuming_by_headers(&token).await;
    assert!(!his.was_reset(), "the token was taken");
    assert_eq!(texts(&his.given().await.1), ["m2"]);
    his.leave().await;
    assert!(
        ben.chat_resuming_by_headers("x").await.was_reset(),
        "and one that says nothing is not"
    );
}
