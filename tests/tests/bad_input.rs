//! Bad input of every kind meets a typed answer, and nobody else notices.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::frames::{ClientFrame, Hello, Ping, ServerFrame, client_frame, server_frame};
use serde_json::json;
use tests::{Certificates, Cluster, Shape, Stranger, http};
use tokio_util::sync::CancellationToken;
use transport::{ClientTls, Encoding, Link};

const ALONE: Shape = Shape { nodes: 1, shards: 2, engine: "fjall" };

async fn still_serves(cluster: &Cluster, who: &Stranger) {
    let (status, _) = who.at(cluster.plain_address(1)).ask("GET", "/v1/conversations", None).await;
    assert_eq!(status, 200, "the node serves others as before");
}

/// Every frame until the link ends; the last word of the node is in the problems among them.
async fn problems_until_end(mut link: Link) -> Vec<String> {
    let mut codes = Vec::new();
    let read = async {
        while let Ok(Some(frame)) = link.reader.next().await {
            let frame = ServerFrame::decode(frame).expect("the node speaks its own frames");
            if let Some(server_frame::Frame::Problem(problem)) = frame.frame {
                codes.push(problem.code);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("the node ends the link");
    codes
}

/// Says one frame on a link that takes it.
async fn say(link: &mut Link, frame: impl Into<Bytes>) {
    link.writer.send(&mut [frame.into()].into()).await.expect("the link takes it");
}

fn hello(token: &str) -> Bytes {
    let hello = Hello { token: token.to_owned(), version: 1, resume: None };
    ClientFrame { frame: Some(client_frame::Frame::Hello(hello)) }.encode_to_vec().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_truncated_and_premature_frames_end_their_link_with_a_reason() {
    let cluster = Cluster::start(ALONE).await;
    let alice = Stranger::arrive(cluster.plain_address(1), "alice").await;
    let tls = ClientTls::from_ca_pem(&cluster.ca_pem()).expect("the cluster's own authority");
    let address = cluster.client_address(1);

    let whole = hello(&alice.token);
    let ping = ClientFrame { frame: Some(client_frame::Frame::Ping(Ping { tag: 1 })) };
    let cases: [(&str, Bytes, &str); 4] = [
        ("garbage", Bytes::from_static(b"\xff\xff\xff\xff\xff"), "bad_frame"),
        ("truncated", whole.slice(..whole.len() - 3), "bad_frame"),
        ("unauthenticated", ping.encode_to_vec().into(), "unauthenticated"),
        ("forged", hello("eyJhbGciOiJub25lIn0.e30."), "unauthenticated"),
    ];
    for (name, frame, expected) in cases {
        for quic in [true, false] {
            let mut link = if quic {
                transport::dial::quic(&tls, address).await.expect("a link")
            } else {
                let dialled = transport::dial::websocket(&tls, address, Encoding::Binary, None);
                dialled.await.expect("a link")
            };
            say(&mut link, frame.clone()).await;
            let codes = problems_until_end(link).await;
            assert_eq!(
                codes,
                [expected],
                "{name} over {}",
                if quic { "QUIC" } else { "WebSocket" }
            );
        }
    }
    still_serves(&cluster, &alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_frame_ends_its_link_and_an_oversized_text_is_refused_by_name() {
    let cluster = Cluster::start(ALONE).await;
    let alice = Stranger::arrive(cluster.plain_address(1), "alice").await;
    let mut huge = alice.chat().await;
    huge.raw(&"x".repeat((1 << 20) + 1)).await;
    while let Some(frame) = huge.try_next().await {
        assert!(frame["error"].is_object(), "a reason at most, then the end: {frame}");
    }

    let mut chat = alice.chat().await;
    chat.send("alice", "big", &"x".repeat(65 << 10)).await;
    let refused = chat.until(|item| item["messageId"] == "big").await;
    assert_eq!(refused["receivedServer"], json!(false));
    assert_eq!(refused["error"]["code"], "too_large", "{refused}");
    chat.send("alice", "small", "fits").await;
    let stored = chat.until(|item| item["messageId"] == "small").await;
    assert_eq!(stored["sequence"], json!(1), "the refused one took no place: {stored}");
    still_serves(&cluster, &alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_are_refused_everywhere() {
    let cluster = Cluster::start(ALONE).await;
    let node = cluster.plain_address(1);
    let alice = Stranger::arrive(node, "alice").await;
    let mut forged = alice.token.clone();
    forged.replace_range(forged.len() - 4.., "AAAA");
    for token in ["", "x", "a.b.c", forged.as_str()] {
        for path in ["/v1/conversations", "/messages/alice", "/v1/presence/alice"] {
            let (status, body) = http::json(node, "GET", path, Some(token), None).await;
            assert_eq!(
                (status, &body["code"]),
                (401, &json!("unauthenticated")),
                "{path} {token:?}"
            );
        }
    }
    let (status, _) = alice.ask("DELETE", "/v1/sessions/current", None).await;
    assert_eq!(status / 100, 2);
    let (status, body) = alice.ask("GET", "/v1/conversations", None).await;
    assert_eq!(status, 401, "an ended session is refused: {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_conversations_are_neither_read_nor_written_nor_confirmed() {
    let cluster = Cluster::start(ALONE).await;
    let node = cluster.plain_address(1);
    let alice = Stranger::arrive(node, "alice").await;
    let _bob = Stranger::arrive(node, "bob").await;
    let eve = Stranger::arrive(node, "eve").await;
    let group = json!({ "groupId": "crew", "name": "Crew", "members": ["bob"] });
    let (status, made) = alice.ask("POST", "/v1/groups", Some(&group)).await;
    assert_eq!(status, 201, "{made}");
    let mut hers = alice.chat().await;
    let message = |user: &str, id: &str| json!({ "senderId": user, "groupId": "crew", "messageId": id, "messageText": "among us" });
    hers.say(message("alice", "m1")).await;
    let stored = hers.until(|item| item["messageId"] == "m1").await;
    assert_eq!(stored["receivedServer"], json!(true), "{stored}");

    let mut foreign = eve.chat().await;
    foreign.say(message("eve", "e1")).await;
    let refused = foreign.until(|item| item["messageId"] == "e1").await;
    assert_eq!(refused["error"]["code"], "not_a_member", "{refused}");
    foreign.say(message("alice", "e2")).await;
    let refused = foreign.until(|item| item["messageId"] == "e2").await;
    assert_eq!(refused["receivedServer"], json!(false), "nobody speaks for another: {refused}");

    let canonical = stored["canonicalId"].as_str().expect("a stored message is named");
    for path in ["/messages/crew".to_owned(), format!("/v1/messages/{canonical}")] {
        let (status, body) = eve.ask("GET", &path, None).await;
        assert!([403, 404].contains(&status), "{path}: {status} {body}");
    }
    let add = json!({ "members": ["eve"] });
    let (status, body) = eve.ask("POST", "/v1/groups/crew/members", Some(&add)).await;
    assert!([403, 404].contains(&status), "{status} {body}");
    assert_eq!(alice.history("crew").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_folder_is_told_so() {
    let cluster = Cluster::start(ALONE).await;
    let second = node::run(cluster.config(1), CancellationToken::new()).await;
    let told = second.expect_err("the folder is taken").to_string();
    assert!(told.contains("another process") || told.contains("in use"), "{told}");
    cluster.wait_ready(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_gets_no_answer_and_does_no_harm() {
    let mut cluster = Cluster::prepare(Shape { shards: 2, ..Shape::default() });
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    Certificates::create("test", elsewhere.path()).issue(3, &cluster.home(3));
    for node in 1..=3 {
        cluster.start_node(node);
    }
    cluster.wait_ready(1).await;
    cluster.wait_ready(2).await;
    let alice = Stranger::arrive(cluster.plain_address(1), "alice").await;
    assert_eq!(alice.at(cluster.plain_address(2)).history("alice").await.len(), 0);
    let (status, body) =
        http::json(cluster.operations_address(3), "GET", "/readyz", None, None).await;
    assert_eq!(status, 503, "the stranger never becomes ready: {body}");
}

fn segments(cluster: &Cluster) -> Vec<PathBuf> {
    let folder = cluster.home(1).join("data/journal");
    let files =
        fs::read_dir(&folder).expect("a journal").map(|file| file.expect("readable").path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.metadata().expect("a file").len() > 4096).collect();
    files.sort();
    files
}

/// A stopped cluster of one whose journal holds `messages` messages.
async fn written(messages: usize) -> Cluster {
    let mut cluster = Cluster::start(ALONE).await;
    let alice = Stranger::arrive(cluster.plain_address(1), "alice").await;
    let mut chat = alice.chat().await;
    for n in 0..messages {
        chat.send("alice", &format!("m{n}"), &"text ".repeat(40)).await;
        chat.until(|item| item["messageId"] == format!("m{n}")).await;
    }
    cluster.stop_node(1).await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_middle_of_the_journal_refuses_to_open_and_names_the_place() {
    let cluster = written(40).await;
    let segment = segments(&cluster).into_iter().next().expect("a segment");
    let mut bytes = fs::read(&segment).expect("readable");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    bytes[end / 2] ^= 0x40;
    fs::write(&segment, bytes).expect("writable");
    let told = node::run(cluster.config(1), CancellationToken::new())
        .await
        .expect_err("a corrupt journal is not used")
        .to_string();
    let name = segment.file_name().expect("a file").to_string_lossy().into_owned();
    assert!(told.contains(&name), "names the file: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_of_the_journal_is_cut_and_everything_before_it_is_there() {
    let mut cluster = written(20).await;
    let segment = segments(&cluster)
        .into_iter()
        .rev()
        .find(|file| fs::read(file).expect("readable").iter().skip(4096).any(|byte| *byte != 0))
        .expect("a segment with records");
    let mut bytes = fs::read(&segment).expect("readable");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    // What a power loss leaves of a batch that was never synced: a beginning without its end.
    let torn: Vec<u8> = bytes[end - 40..=end - 20].to_vec();
    let at = (end + 1).next_multiple_of(8);
    bytes[at..at + torn.len()].copy_from_slice(&torn);
    fs::write(&segment, bytes).expect("writable");
    cluster.start_node(1);
    cluster.wait_ready(1).await;
    let alice = Stranger::log_in(cluster.plain_address(1), "alice", "second").await;
    assert_eq!(alice.history("alice").await.len(), 20);
}
