//! The door for nodes and operators, as a stranger meets it: what is refused, and that nothing of it is written.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Cluster, Shape, http};
use tokio_util::sync::CancellationToken;

/// How long a node may take to hear that it is not who it says; a slow machine included.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// 65 bytes that begin with 4, base64: what looks like a public key.
const PUBLIC_KEY: &str =
    "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

async fn ask(
    cluster: &Cluster,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> (u16, Value) {
    http::json(cluster.plain_address(2), method, path, token, Some(&body)).await
}

fn refused((status, answer): &(u16, Value), with: u16, code: &str) {
    assert_eq!((*status, answer["code"].as_str()), (with, Some(code)), "{answer}");
}

fn joining() -> Value {
    let at = |port: u16| format!("127.0.0.1:{port}");
    json!({
        "secret": SECRET,
        "publicKey": PUBLIC_KEY,
        "names": ["chat.example.org"],
        "node": {
            "addresses": { "client": at(1), "peer": at(2), "operations": at(3) },
            "zone": null, "weight": 1
        },
    })
}

/// Entries in the log of group 0.
async fn decided(cluster: &Cluster) -> u64 {
    let status = cluster.status(1).await;
    let groups = status["shards"].as_array().expect("groups").clone();
    let council = groups.iter().find(|group| group["group"] == 0).expect("group 0 runs here");
    council["last"].as_u64().expect("a number")
}

/// Founders that are all of one release say so to each other, and group 0 decides that by itself: the last thing it does.
async fn raised(cluster: &Cluster) {
    let deadline = tokio::time::Instant::now() + ENDS_WITHIN;
    while cluster.status(1).await["level"] != cluster_config::FeatureLevel::MAX.0 {
        assert!(tokio::time::Instant::now() < deadline, "the feature level is not raised");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_no_secret_is_refused_and_writes_nothing() {
    let cluster = Cluster::start(Shape::default()).await;
    raised(&cluster).await;
    let before = decided(&cluster).await;
    for _ in 0..5 {
        let answer = ask(&cluster, "POST", "/v1/cluster/join", None, joining()).await;
        refused(&answer, 403, "not_allowed");
        let claim = json!({ "secret": SECRET, "name": "eve", "token": SECRET });
        let answer = ask(&cluster, "POST", "/v1/cluster/claim", None, claim).await;
        refused(&answer, 403, "not_allowed");
    }
    for (field, wrong) in [
        ("secret", json!("not base64!")),
        ("publicKey", json!("AAAA")),
        ("publicKey", json!("%")),
        ("names", json!(["node-1.test.synod"])),
        ("names", json!(["a", "b", "c", "d", "e", "f", "g", "h", "i"])),
        ("node", json!({})),
        ("names", json!("one")),
    ] {
        let mut body = joining();
        body[field] = wrong;
        let answer = ask(&cluster, "POST", "/v1/cluster/join", None, body).await;
        refused(&answer, 400, "invalid_request");
    }
    let short = json!({ "secret": SECRET, "name": "eve", "token": "short" });
    let answer = ask(&cluster, "POST", "/v1/cluster/claim", None, short).await;
    refused(&answer, 400, "invalid_request");
    assert_eq!(decided(&cluster).await, before, "a stranger fills no log");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_its_authority_says_so_to_its_operator() {
    let claim = node::identity::fingerprint_of("open sesame");
    let shape = Shape::default();
    let mut cluster = Cluster::prepare_as("claimed", shape, "");
    for node in 1..=shape.nodes {
        let file = cluster.home(node).join("node.toml");
        let text = std::fs::read_to_string(&file).expect("it was written");
        let text =
            text.replace("id = \"claimed\"", &format!("id = \"claimed\"\nclaim = \"{claim}\""));
        std::fs::write(&file, text).expect("writable");
        cluster.start_node(node);
    }
    for node in 1..=shape.nodes {
        cluster.wait_ready(node).await;
    }
    let token = "t".repeat(48);
    let body = json!({ "secret": "open sesame", "name": "ada", "token": token });
    for _ in 0..2 {
        // The answer may be lost: the same claim is told the same.
        let claimed = ask(&cluster, "POST", "/v1/cluster/claim", None, body.clone()).await;
        assert_eq!(claimed, (201, json!({ "name": "ada" })));
    }
    let thief = json!({ "secret": "open sesame", "name": "eve", "token": "e".repeat(48) });
    let answer = ask(&cluster, "POST", "/v1/cluster/claim", None, thief).await;
    refused(&answer, 403, "not_allowed");
    let none = ask(&cluster, "POST", "/v1/cluster/join-tokens", Some(&token), json!({})).await;
    refused(&none, 409, "cluster_refused");
    let shown = ask(&cluster, "GET", "/v1/cluster", Some(&token), json!({})).await;
    assert_eq!((shown.0, &shown.1["operators"]), (200, &json!(["ada"])));
    assert!(!shown.1.to_string().contains(&token), "no secret is in any answer");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_whose_disk_is_gone_is_not_let_back_under_its_name() {
    let mut cluster = Cluster::start(Shape::default()).await;
    cluster.stop_node(3).await;
    std::fs::remove_dir_all(cluster.home(3).join("data")).expect("its folder");
    let node = node::run(cluster.config(3), CancellationToken::new());
    let ended = tokio::time::timeout(ENDS_WITHIN, node).await.expect("it ends by itself");
    let refused = ended.expect_err("refused").to_string();
    assert!(refused.contains("known by another key"), "{refused}");
    cluster.stop().await;
}
