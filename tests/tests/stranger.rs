//! The specification's interface as a stranger uses it, against three whole nodes.

use serde_json::json;
use tests::{Cluster, Shape, Stranger};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_strangers_chat_across_nodes_and_both_read_the_same_history() {
    let cluster = Cluster::start(Shape::default()).await;
    let alice = Stranger::arrive(cluster.plain_address(1), "alice").await;
    let bob = Stranger::arrive(cluster.plain_address(2), "bob").await;
    let mut hers = alice.chat().await;
    let mut his = bob.chat().await;

    hers.send("bob", "m1", "Hello, Welcome!").await;
    let answer = hers.until(|item| item["messageId"] == "m1").await;
    assert_eq!(answer["receivedServer"], json!(true), "{answer}");
    assert_eq!(answer["sequence"], json!(1), "{answer}");

    let got = his.until(|item| item["messageId"] == "m1").await;
    assert_eq!(got["messageText"], "Hello, Welcome!", "{got}");
    assert_eq!(got["senderId"], "alice");

    his.say(json!({ "conversationId": got["conversationId"], "sequence": 1, "read": true })).await;
    let read = hers.until(|item| item["read"] == json!(true)).await;
    assert_eq!(read["messageId"], "m1", "{read}");
    assert_eq!(read["delivered"], json!(true));

    for node in 1..=3 {
        let history = bob.at(cluster.plain_address(node)).history("alice").await;
        assert_eq!(history.len(), 1, "node {node}");
        assert_eq!(history[0]["canonicalId"], got["canonicalId"]);
    }
}
