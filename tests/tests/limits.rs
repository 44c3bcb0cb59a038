//! Rate limits at the door: what is told with every answer, what comes of being too fast, and wrong passwords.

use serde_json::{Value, json};
use tests::{Cluster, PASSWORD, Shape, Stranger, http, problem};

/// Attempts at a password before the first wait.
const FREE: usize = 30;

async fn limited(limits: &str) -> Cluster {
    let mut cluster = Cluster::prepare(Shape { nodes: 1, shards: 1, ..Shape::default() });
    let file = cluster.home(1).join("node.toml");
    let mut text = std::fs::read_to_string(&file).expect("the harness wrote it");
    text.push_str(limits);
    std::fs::write(&file, text).expect("a writable folder");
    cluster.start_node(1);
    cluster.wait_ready(1).await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_tells_how_the_caller_stands() {
    let rate = "{ per_second = 1, burst = 1000000 }";
    let cluster = limited(&format!(
        "[limits.read]\naddress = {rate}\nuser = {rate}\ndevice = {{ per_second = 1, burst = 3 }}\n"
    ))
    .await;
    let who = Stranger::arrive(cluster.plain_address(1), "metered").await;
    for left in [2, 1, 0] {
        let answer = who.answer("GET", "/v1/conversations", None).await;
        assert_eq!(answer.status, 200);
        let policy = answer.header("ratelimit-policy").expect("the policies");
        let expected = "\"read-address\";q=1000000;w=1000000, \"read-user\";q=1000000;w=1000000, \
                        \"read-device\";q=3;w=3";
        assert_eq!(policy, expected);
        let standing = answer.header("ratelimit").expect("the standing");
        assert!(standing.starts_with(&format!("\"read-device\";r={left};t=")), "{standing}");
    }
    // Too fast as this device, not as another one, and not for other classes of calls.
    let answer = who.answer("GET", "/v1/conversations", None).await;
    let refused = problem(&answer);
    assert_eq!((answer.status, &refused["code"]), (429, &json!("rate_limited")));
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)));
    assert_eq!(answer.header("ratelimit"), Some("\"read-device\";r=0;t=1"));
    let group = json!({ "name": "g" });
    who.granted("POST", "/v1/groups", Some(&group)).await;
    who.another("second").await.granted("GET", "/v1/conversations", None).await;
    // Those who are not known are counted by their address.
    let node = cluster.plain_address(1);
    let answer = http::request(node, "GET", "/openapi.json", None, "").await;
    let answer = answer.expect("the node answers");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"read-address\";q=1000000;w=1000000"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_guesses_waits_for_the_account_that_it_guesses_at() {
    let cluster = limited("").await;
    let node = cluster.plain_address(1);
    let victim = Stranger::arrive(node, "guessed-at").await;
    for name in ["guessed-at", "nobody-there"] {
        let guess = |password: &str| json!({ "userId": name, "password": password }).to_string();
        let mut codes: Vec<Value> = Vec::new();
        for n in 0..=FREE {
            let body = guess(&format!("guess {n}"));
            let answer = http::request(node, "POST", "/v1/sessions", None, &body).await;
            codes.push(problem(&answer.expect("the node answers"))["code"].clone());
        }
        assert!(codes[..FREE].iter().all(|code| code == "wrong_credentials"), "{codes:?}");
        // The one after is told to wait, unless the machine took as long as the wait.
        assert!(["rate_limited", "wrong_credentials"].map(|c| json!(c)).contains(&codes[FREE]));
        let mut waits = Vec::new();
        while waits.len() < 3 {
            let body = guess("guess");
            let answer = http::request(node, "POST", "/v1/sessions", None, &body).await;
            let answer = answer.expect("the node answers");
            let told = problem(&answer);
            if answer.status == 429 {
                waits.push(told["retry_after_ms"].as_u64().expect("a hint"));
                let wait = std::time::Duration::from_millis(waits[waits.len() - 1]);
                tokio::time::sleep(wait).await;
            }
        }
        assert!(waits.is_sorted(), "{name}: {waits:?}");
    }
    // Whoever has a session goes on, and other accounts are not touched.
    victim.granted("GET", "/v1/conversations", None).await;
    Stranger::arrive(node, "not-guessed-at").await;
    let body = json!({ "userId": "not-guessed-at", "password": PASSWORD });
    assert_eq!(http::json(node, "POST", "/v1/sessions", None, Some(&body)).await.0, 201);
    cluster.stop().await;
}

#[test]
fn a_limit_of_nothing_is_refused_when_the_file_is_read() {
    let cluster = Cluster::prepare(Shape { nodes: 1, shards: 1, ..Shape::default() });
    let file = cluster.home(1).join("node.toml");
    let text = std::fs::read_to_string(&file).expect("the harness wrote it");
    let bad = text + "[limits]\nsign_in = { per_second = 0, burst = 1 }\n";
    std::fs::write(&file, bad).expect("a writable folder");
    let told = node::config::Config::load(&file).expect_err("refused").to_string();
    assert!(told.contains("limits.sign_in"), "{told}");
}
