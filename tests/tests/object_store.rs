//! Assets in an object store, on a real server of S3. `cargo xtask s3` gets one and runs this; it is not among
//! `cargo test`, because that needs nothing but Rust.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use node::backup::{self, Source};
use serde_json::json;
use tests::http::{self, Answer};
use tests::{Cluster, Shape, Stranger, in_time, problem};

/// More than one part, and not a whole number of them.
const LENGTH: usize = (17 << 20) + 5;

/// The server's process. Dropping it ends it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or does now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> SocketAddr {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    port.local_addr().expect("bound")
}

async fn serve(address: SocketAddr) -> Server {
    let program = std::env::var("SYNOD_S3_SERVER").expect("`cargo xtask s3` names a server");
    let mut command = Command::new(program);
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.args(["-H", &host, "-p", &port]).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(command.spawn().expect("the server starts"));
    let answers = async || {
        let made = http::exchange(address, ("PUT", "/bucket"), &[], b"").await;
        made.is_some_and(|answer| answer.status == 200)
    };
    in_time(async {
        while !answers().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    server
}

async fn cluster(address: SocketAddr) -> Cluster {
    let mut cluster = Cluster::prepare(Shape::default());
    for node in 1..=3 {
        let home = cluster.home(node);
        let rights = "aws_access_key_id = \"key\"\naws_secret_access_key = \"secret\"\n";
        std::fs::write(home.join("s3.toml"), rights).expect("writable");
        let file = home.join("node.toml");
        let text = std::fs::read_to_string(&file).expect("the harness wrote it");
        let more = format!(
            "[assets]\nstore = \"s3://bucket/some/folder\"\n[object_store]\nendpoint = \"http://{address}\"\n\
             allow_plain = true\ncredentials = \"s3.toml\"\n\
             [backup]\nevery_seconds = 0\ncopy_to = \"s3://bucket/safe\"\n"
        );
        std::fs::write(&file, text + &more).expect("writable");
        cluster.start_node(node);
    }
    for node in 1..=3 {
        cluster.wait_ready(node).await;
    }
    cluster
}

/// What the bucket says to a question.
async fn bucket(address: SocketAddr, question: &str) -> String {
    let path = format!("/bucket?{question}");
    let answer = http::exchange(address, ("GET", &path), &[], b"").await.expect("it answers");
    String::from_utf8(answer.body).expect("XML")
}

fn refused(answer: &Answer) -> (u16, String, bool) {
    let problem = problem(answer);
    let code = problem["code"].as_str().expect("a code").to_owned();
    (answer.status, code, problem["retryable"] == json!(true))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assets_are_in_the_bucket_and_every_node_serves_them_from_there() {
    let address = free();
    let server = serve(address).await;
    let cluster = cluster(address).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "anna").await;
    let content: Vec<u8> =
        (0..LENGTH).map(|at| u8::try_from(at * 7 % 251).expect("small")).collect();
    let uri = anna.upload("application/octet-stream", &content).await;
    let id = uri.rsplit('/').next().expect("an id").to_owned();

    let listed = bucket(address, "list-type=2").await;
    assert!(listed.contains(&format!("<Key>some/folder/test/assets/{id}</Key>")), "{listed}");
    assert!(listed.contains(&format!("<Size>{LENGTH}</Size>")), "{listed}");
    let uploads = bucket(address, "uploads").await;
    assert!(!uploads.contains("<UploadId>"), "no parts are left: {uploads}");
    for node in 1..=3 {
        let blobs = cluster.home(node).join("data").join("assets");
        let here = find(&blobs, &id);
        assert!(here.is_empty(), "node {node} keeps no copy: {here:?}");
        let anna = anna.at(cluster.plain_address(node));
        let whole = anna.exchange("GET", &uri, &[], b"").await;
        assert!(whole.status == 200 && whole.body == content, "node {node} serves all of it");
        let part = anna.exchange("GET", &uri, &[("Range", "bytes=8388600-8388620")], b"").await;
        assert_eq!((part.status, &part.body[..]), (206, &content[8_388_600..=8_388_620]));
    }

    drop(server);
    let answer = anna.try_upload("application/octet-stream", b"more").await;
    assert_eq!(refused(&answer), (503, "unavailable".to_owned(), true));
    let answer = anna.exchange("GET", &uri, &[], b"").await;
    assert_eq!(refused(&answer), (503, "unavailable".to_owned(), true));

    let _server = serve(address).await;
    let uri = anna.upload("application/octet-stream", b"more").await;
    let answer = anna.exchange("GET", &uri, &[], b"").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"more"[..]));
    cluster.stop().await;
}

/// Has the first node make a backup; why it failed, if it did.
async fn back_up(cluster: &Cluster) -> Option<String> {
    let address = cluster.operations_address(1);
    let (status, begun) = http::json(address, "POST", "/backup", None, None).await;
    assert_eq!(status, 202, "{begun}");
    in_time(async {
        loop {
            let (_, told) = http::json(address, "GET", "/backups", None, None).await;
            if told["running"].is_null() {
                return told["failed"]["why"].as_str().map(str::to_owned);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_copied_into_the_bucket_and_can_be_verified_from_there() {
    let address = free();
    let server = serve(address).await;
    let cluster = cluster(address).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "anna").await;
    anna.upload("application/octet-stream", &vec![7; 1 << 20]).await;
    assert_eq!(back_up(&cluster).await, None);

    let folder = tempfile::tempdir().expect("a folder");
    let (back, scratch) = (folder.path().join("backups"), folder.path().join("scratch"));
    std::fs::create_dir(&scratch).expect("writable");
    let url = "s3://bucket/safe/test/backups/n1";
    let settings = cluster.config(1).object_store;
    backup::fetch(url, &settings, &back).await.expect("fetched");
    let key = cluster.home(1).join("data").join("backup.key");
    let source = Source { folder: back, key, backup: None, to_ms: None };
    let verified = tokio::task::spawn_blocking(move || backup::verify(&source, &scratch));
    let verified = verified.await.expect("no panic").expect("it can be read");
    assert_eq!(verified.found.problems, Vec::<String>::new());
    assert_eq!((verified.found.users, verified.manifest.assets.count), (1, 1));
    assert_eq!(verified.manifest.assets.missing, 0, "its bytes came from the bucket");

    drop(server);
    let why = back_up(&cluster).await.expect("it cannot be copied");
    assert!(why.contains("its copy in the object store failed"), "{why}");
    cluster.stop().await;
}

/// Files below a folder whose name begins so.
fn find(folder: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => find(&path, name),
            false => vec![path],
        })
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(name)))
        .collect()
}
