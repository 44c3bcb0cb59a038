//! Search on the server: what is found is what the asker may read, as it reads now, on every node, and soon.

use serde_json::{Value, json};
use tests::{Cluster, Shape, Shared, Stranger, in_time, items};

fn conversation(message: &Value) -> &str {
    message["conversationId"].as_str().expect("a message is somewhere")
}

/// The texts of what is found everywhere, the newest first.
async fn found(who: &Stranger, question: &str) -> Vec<String> {
    let page = who.granted("GET", &format!("/v1/search?q={question}"), None).await;
    texts(&page)
}

async fn refused(who: &Stranger, path: &str, status: u16, code: &str) {
    let (found, problem) = who.refused("GET", path, None).await;
    assert_eq!((found, &problem["code"]), (status, &json!(code)), "{path}: {problem}");
}

fn texts(page: &Value) -> Vec<String> {
    let texts = items(page).into_iter().map(|one| one["messageText"].as_str().map(str::to_owned));
    texts.collect::<Option<_>>().expect("messages have texts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_found_at_once_on_every_node_as_it_reads_now() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "find-anna").await;
    cluster.user(2, "find-ben").await;
    let mut hers = anna.chat().await;
    let first = hers.stored("find-ben", "m1", "The red fox").await;
    let second = hers.stored("find-ben", "m2", "a RED hen").await;
    for node in 1..=3 {
        let here = anna.at(cluster.plain_address(node));
        assert_eq!(found(&here, "red").await, ["a RED hen", "The red fox"], "node {node}");
    }
    let path = format!("/v1/messages/{}", first["canonicalId"].as_str().expect("a name"));
    anna.granted("PATCH", &path, Some(&json!({ "messageText": "The blue fox" }))).await;
    let path = format!("/v1/messages/{}", second["canonicalId"].as_str().expect("a name"));
    anna.granted("DELETE", &path, None).await;
    for node in 1..=3 {
        let here = anna.at(cluster.plain_address(node));
        assert_eq!(found(&here, "red").await, Vec::<String>::new(), "node {node}");
        assert_eq!(found(&here, "fox%20bl").await, ["The blue fox"], "the last word may be begun");
        let within = format!("/v1/conversations/{}/search?q=blue", conversation(&first));
        let page = here.granted("GET", &within, None).await;
        assert_eq!(texts(&page), ["The blue fox"]);
        assert_eq!((&page["leftOut"], &page["next_before"]), (&json!([]), &Value::Null));
        assert!(page["indexedThrough"].is_string(), "{page}");
        let one = items(&page).remove(0);
        assert_eq!((&one["sequence"], &one["edited"]), (&json!(1), &json!(true)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_finds_what_they_may_not_read() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "may-anna").await;
    let ben = cluster.user(2, "may-ben").await;
    let cara = cluster.user(3, "may-cara").await;
    let body = json!({ "groupId": "may-group", "members": ["may-ben"], "history": "since_join" });
    let made = anna.granted("POST", "/v1/groups", Some(&body)).await;
    let mut hers = anna.chat().await;
    let item = hers.to_group("may-group", "m1", "the walnut tree");
    hers.accepted(item).await;
    assert_eq!(found(&ben, "walnut").await, ["the walnut tree"]);
    assert_eq!(found(&cara, "walnut").await, Vec::<String>::new());
    let within = format!("/v1/conversations/{}/search?q=walnut", conversation(&made));
    refused(&cara, &within, 403, "not_a_member").await;

    let members = "/v1/groups/may-group/members";
    anna.granted("POST", members, Some(&json!({ "members": ["may-cara"] }))).await;
    let item = hers.to_group("may-group", "m2", "a walnut cake");
    hers.accepted(item).await;
    assert_eq!(found(&cara, "walnut").await, ["a walnut cake"], "what was said after she came");
    anna.granted("DELETE", &format!("{members}/may-ben"), None).await;
    assert_eq!(found(&ben, "walnut").await, Vec::<String>::new(), "he was removed");
    refused(&ben, &within, 403, "not_a_member").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_what_is_found_neither_skip_nor_repeat() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "page-anna").await;
    let mut hers = anna.chat().await;
    for friend in ["page-ben", "page-cara"] {
        cluster.user(2, friend).await;
    }
    for number in 0..15 {
        let to = if number % 2 == 0 { "page-ben" } else { "page-cara" };
        hers.stored(to, &format!("m{number}"), &format!("quince {number}")).await;
    }
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/search?q=quince&limit=4{before}");
        let page = anna.granted("GET", &path, None).await;
        seen.extend(texts(&page));
        let Some(next) = page["next_before"].as_str() else { break };
        before = format!("&before={next}");
    }
    let all: Vec<String> = (0..15).rev().map(|number| format!("quince {number}")).collect();
    assert_eq!(seen, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_cannot_be_are_refused() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "bad-anna").await;
    for (path, field) in [
        ("/v1/search", "q"),
        ("/v1/search?q=%21%3F", "q"),
        (&format!("/v1/search?q={}", "a".repeat(257)), "q"),
        (&format!("/v1/search?q={}", "a%20".repeat(17)), "q"),
        ("/v1/search?q=a&before=yesterday", "before"),
        ("/v1/search?q=a&limit=0", "limit"),
        ("/v1/conversations/no/search?q=a", "conversationId"),
    ] {
        let (status, answer) = anna.ask("GET", path, None).await;
        assert_eq!((status, &answer["field"]), (400, &json!(field)), "{path}: {answer}");
    }
    let nowhere = "/v1/conversations/00000000000000000000000000000000/search?q=a";
    refused(&anna, nowhere, 404, "no_such_conversation").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_survives_a_restart_holds_no_plain_text_and_may_be_lost() {
    let shape = Shape { nodes: 1, shards: 2, ..Shape::default() };
    let mut cluster = Cluster::start(shape).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "anna").await;
    let mut hers = anna.chat().await;
    hers.stored("anna", "m1", "persimmon and medlar").await;
    assert_eq!(found(&anna, "medlar").await, ["persimmon and medlar"]);
    cluster.stop_node(1).await;

    let folder = cluster.home(1).join("data/search");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the index was kept at the stop") {
        let below = entry.expect("a readable folder").path();
        let below = std::fs::read_dir(below).expect("a folder of blobs");
        files.extend(below.map(|file| file.expect("a readable folder").path()));
    }
    assert!(files.len() > 3, "{files:?}");
    for file in &files {
        let bytes = std::fs::read(file).expect("a readable file");
        for word in ["persimmon", "medlar"] {
            let plain = bytes.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(!plain, "{word} stands in {}", file.display());
        }
    }
    cluster.start_node(1);
    cluster.wait_ready(1).await;
    assert_eq!(found(&anna, "medlar").await, ["persimmon and medlar"]);
    cluster.stop_node(1).await;
    std::fs::remove_dir_all(&folder).expect("the index can be lost");
    cluster.start_node(1);
    cluster.wait_ready(1).await;
    let again = async {
        while found(&anna, "medlar").await != ["persimmon and medlar"] {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    in_time(again).await;
    cluster.stop().await;
}
