//! Contract section 5: assets. Bytes that are on a quorum, served by any node, to those who may have them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::http::Answer;
use tests::{Chat, Cluster, Shape, Shared, Stranger, in_time, problem};

/// A picture as far as anybody looks, of any length.
fn picture(length: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend((bytes.len()..length).map(|at| u8::try_from(at % 251).expect("small")));
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn get(by: &Stranger, path: &str, headers: &[(&str, &str)]) -> Answer {
    by.exchange("GET", path, headers, b"").await
}

/// A message with attachments.
fn with(chat: &Chat, to: &str, id: &str, uris: &[&str]) -> Value {
    let mut item = chat.message(to, id, "look");
    item["attachment"] = json!(true);
    item["attachmentURI"] = json!(uris);
    item
}

/// The code of a refusal, after a look at its form.
fn code(answer: &Answer) -> (u16, String) {
    let problem = problem(answer);
    (answer.status, problem["code"].as_str().expect("a code").to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A cluster whose files say this in addition.
async fn configured(more: &str) -> Cluster {
    let mut cluster = Cluster::prepare(Shape::default());
    for node in 1..=3 {
        let file = cluster.home(node).join("node.toml");
        let text = std::fs::read_to_string(&file).expect("the harness wrote it");
        std::fs::write(&file, text + more).expect("writable");
        cluster.start_node(node);
    }
    for node in 1..=3 {
        cluster.wait_ready(node).await;
    }
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_uploaded_is_served_whole_and_in_parts_by_every_node() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "up-anna").await;
    let content = picture(300_000);
    let answer = anna.try_upload("image/png", &content).await;
    let made = answer.json();
    assert_eq!(answer.status, 201, "{made}");
    let id = made["assetId"].as_str().expect("an id");
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    assert!(id.len() == 32 && id.bytes().all(digit), "{made}");
    assert_eq!(made["uri"], format!("/v1.0/asset/{id}"));
    assert_eq!(answer.header("location"), made["uri"].as_str());
    assert_eq!(made["size"], json!(content.len()));
    assert_eq!(made["sha256"], sha256(&content));

    let tag = format!("\"{}\"", sha256(&content));
    for node in 1..=3 {
        let anna = anna.at(cluster.plain_address(node));
        for path in [format!("/asset/{id}"), format!("/v1.0/asset/{id}")] {
            let whole = get(&anna, &path, &[]).await;
            assert_eq!(whole.status, 200, "node {node}");
            assert!(whole.body == content, "node {node}: every byte");
            for (name, value) in [
                ("content-type", "image/png"),
                ("content-length", "300000"),
                ("accept-ranges", "bytes"),
                ("x-content-type-options", "nosniff"),
                ("content-disposition", "inline"),
                ("etag", &tag),
            ] {
                assert_eq!(whole.header(name), Some(value), "node {node}");
            }
        }
        let path = format!("/asset/{id}");
        for (range, from, to) in [
            ("bytes=0-0", 0, 1),
            ("bytes=65530-65545", 65_530, 65_546),
            ("bytes=299990-", 299_990, 300_000),
            ("bytes=-7", 299_993, 300_000),
            ("bytes=5-999999999", 5, 300_000),
        ] {
            let part = get(&anna, &path, &[("Range", range)]).await;
            assert_eq!(part.status, 206, "{range} at node {node}");
            assert!(part.body == content[from..to], "{range} at node {node}");
            let named = format!("bytes {from}-{}/300000", to - 1);
            assert_eq!(part.header("content-range"), Some(&*named));
        }
        let outside = get(&anna, &path, &[("Range", "bytes=300000-")]).await;
        assert_eq!(code(&outside), refused(416, "range_not_satisfiable"));
        assert_eq!(outside.header("content-range"), Some("bytes */300000"));
        let known = get(&anna, &path, &[("If-None-Match", &tag)]).await;
        assert_eq!((known.status, known.body.len()), (304, 0));
        assert_eq!(known.header("etag"), Some(&*tag));
        let old = get(&anna, &path, &[("Range", "bytes=0-1"), ("If-Range", "\"old\"")]).await;
        assert_eq!((old.status, old.body.len()), (200, 300_000));
        let head = anna.exchange("HEAD", &path, &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some("300000"));
    }
    let missing = get(&anna, &format!("/asset/{}", "0".repeat(32)), &[]).await;
    assert_eq!(code(&missing), refused(404, "not_found"));
    let nonsense = get(&anna, "/v1.0/asset/7", &[]).await;
    assert_eq!(code(&nonsense), refused(404, "not_found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_and_empty_assets_are_assets_and_nothing_is_run_in_a_browser() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(2, "small-anna").await;
    for (media_type, content) in [
        ("application/octet-stream", &b""[..]),
        ("text/html", b"<script>alert(1)</script>"),
        ("image/svg+xml", b"<svg onload='alert(1)'/>"),
    ] {
        let uri = anna.upload(media_type, content).await;
        let answer = get(&anna.at(cluster.plain_address(3)), &uri, &[]).await;
        assert_eq!((answer.status, &*answer.body), (200, content));
        assert_eq!(answer.header("content-type"), Some(media_type));
        assert_eq!(answer.header("content-disposition"), Some("attachment"));
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("sandbox"), "{policy}");
    }
    let untyped = anna.exchange("POST", "/asset", &[], b"x").await;
    let uri = untyped.json()["uri"].as_str().expect("a URI").to_owned();
    let answer = get(&anna, &uri, &[]).await;
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_sent_it_may_read_it_and_nobody_else() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "acc-anna").await;
    let ben = cluster.user(2, "acc-ben").await;
    let cara = cluster.user(3, "acc-cara").await;
    let uri = anna.upload("image/png", &picture(1000)).await;
    let status = async |who: &Stranger| get(who, &uri, &[]).await.status;
    assert_eq!((status(&anna).await, status(&ben).await), (200, 403));
    let told = get(&ben, &uri, &[]).await;
    assert_eq!(code(&told), refused(403, "asset_not_accessible"));

    let mut hers = anna.chat().await;
    let mut his = ben.chat().await;
    // Who may not read it cannot hand it on, not even to themselves.
    for to in ["acc-cara", "acc-ben"] {
        let item = with(&his, to, &format!("steal-{to}"), &[&uri]);
        assert_eq!(his.failed(item).await["code"], "asset_not_accessible");
    }
    for bad in ["/asset/7", &format!("/asset/{}", "f".repeat(32))] {
        let item = with(&hers, "acc-ben", &format!("bad-{}", bad.len()), &[bad]);
        let error = hers.failed(item).await;
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("asset_not_accessible"), &json!("attachmentURI"))
        );
    }
    let item = with(&hers, "acc-ben", "1", &[&uri, "https://example.com/cat.png"]);
    hers.accepted(item).await;
    let got = his.messages(1).await;
    assert_eq!(got[0]["attachmentURI"], json!([uri, "https://example.com/cat.png"]));
    assert_eq!((status(&ben).await, status(&cara).await), (200, 403));
    for node in 1..=3 {
        assert_eq!(status(&ben.at(cluster.plain_address(node))).await, 200, "node {node}");
    }
    // And now he may hand it on.
    let item = with(&his, "acc-cara", "2", &[&uri]);
    his.accepted(item).await;
    assert_eq!(status(&cara).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_refused_the_asset_and_a_new_one_is_not() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "grp-anna").await;
    let ben = cluster.user(2, "grp-ben").await;
    let cara = cluster.user(3, "grp-cara").await;
    let group = json!({ "groupId": "grp-crew", "name": "Crew", "members": ["grp-ben"] });
    anna.granted("POST", "/v1/groups", Some(&group)).await;
    let uri = anna.upload("audio/mpeg", b"ID3 a song").await;
    let mut hers = anna.chat().await;
    let mut item = hers.to_group("grp-crew", "1", "listen");
    item["attachmentURI"] = json!(uri);
    hers.accepted(item).await;
    let everywhere = async |who: &Stranger, expected: u16| {
        for node in 1..=3 {
            let answer = get(&who.at(cluster.plain_address(node)), &uri, &[]).await;
            assert_eq!(answer.status, expected, "{} at node {node}", who.user);
        }
    };
    everywhere(&ben, 200).await;
    everywhere(&cara, 403).await;
    anna.granted("DELETE", "/v1/groups/grp-crew/members/grp-ben", None).await;
    everywhere(&ben, 403).await;
    let members = json!({ "members": ["grp-cara"] });
    anna.granted("POST", "/v1/groups/grp-crew/members", Some(&members)).await;
    everywhere(&cara, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_behind_one_with_an_asset_keep_their_order() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "ord-anna").await;
    let ben = cluster.user(2, "ord-ben").await;
    let mut hers = anna.chat().await;
    let mut his = ben.chat().await;
    let mut items = Vec::new();
    for n in 0..12 {
        let uri = match n % 3 {
            0 => Some(anna.upload("image/png", &picture(100 + n)).await),
            _ => None,
        };
        let uris: Vec<&str> = uri.iter().map(String::as_str).collect();
        let mut item = with(&hers, "ord-ben", &format!("m{n:02}"), &uris);
        item["orderNumber"] = json!(n + 1);
        items.push(item);
    }
    hers.say_all(&items).await;
    let got = his.messages(12).await;
    let ids: Vec<&str> = got.iter().map(|one| one["messageId"].as_str().expect("text")).collect();
    let expected: Vec<String> = (0..12).map(|n| format!("m{n:02}")).collect();
    assert_eq!(ids, expected);
    for message in got.iter().filter(|message| message["attachmentURI"] != json!([])) {
        let uri = message["attachmentURI"][0].as_str().expect("a URI");
        assert_eq!(get(&ben, uri, &[]).await.status, 200, "granted before it was sent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_is_enough_and_less_is_refused() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "quo-anna").await;
    let content = picture(5_000_000);
    for _ in 0..4 {
        let uri = anna.upload("image/png", &content).await;
        let there = (1..=3).filter(|node| file_of(&cluster, *node, &uri).exists()).count();
        assert!(there >= 2, "answered, and on the disks of {there} of three");
    }
    cluster.stop_node(3).await;
    let content = picture(700_000);
    // The leaders that went with the node are replaced first.
    let uri = in_time(async {
        loop {
            let answer = anna.try_upload("image/png", &content).await;
            if answer.status == 201 {
                break answer.json()["uri"].as_str().expect("a URI").to_owned();
            }
            assert_eq!(problem(&answer)["retryable"], json!(true));
        }
    });
    let uri = uri.await;
    cluster.start_node(3);
    cluster.wait_ready(3).await;
    // It was not there, and serves it nevertheless.
    let there = anna.at(cluster.plain_address(3));
    let part = get(&there, &uri, &[("Range", "bytes=600000-600009")]).await;
    assert!(part.body == content[600_000..600_010]);
    assert!(get(&there, &uri, &[]).await.body == content);

    // The node that took the upload is gone; the others have it.
    cluster.stop_node(1).await;
    for node in [2, 3] {
        let anna = anna.at(cluster.plain_address(node));
        let read = in_time(async {
            loop {
                let answer = get(&anna, &uri, &[]).await;
                if answer.status == 200 {
                    break answer.body;
                }
                assert_eq!(problem(&answer)["retryable"], json!(true));
            }
        });
        assert!(read.await == content, "node {node}");
    }
    // Alone, a node takes nothing.
    cluster.stop_node(3).await;
    let alone = anna.at(cluster.plain_address(2));
    let answer = alone.try_upload("image/png", &content).await;
    let problem = problem(&answer);
    assert_eq!(problem["retryable"], json!(true), "{problem}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_beyond_the_quota_or_not_what_it_claims_is_refused() {
    let cluster = configured("[assets]\nbytes_max = 200000\nquota_bytes = 500000\n").await;
    let anna = Stranger::arrive(cluster.plain_address(1), "lim-anna").await;
    let ben = Stranger::arrive(cluster.plain_address(2), "lim-ben").await;
    let answer = anna.try_upload("image/png", &picture(200_001)).await;
    assert_eq!(code(&answer), refused(413, "too_large"));
    assert_eq!(problem(&answer)["expected"], json!(200_000));
    for (media_type, content) in [
        ("image/png", &b"MZ\x90 not a picture"[..]),
        ("video/mp4", b""),
        ("image/of-a-kind", b"x"),
        ("nonsense", b"x"),
    ] {
        let answer = anna.try_upload(media_type, content).await;
        assert_eq!(code(&answer), refused(415, "unsupported_media_type"), "{media_type}");
    }
    anna.upload("image/png", &picture(200_000)).await;
    let second = anna.at(cluster.plain_address(3)).upload("image/png", &picture(200_000)).await;
    let beyond = anna.try_upload("image/png", &picture(150_000)).await;
    assert_eq!(code(&beyond), refused(422, "quota_exceeded"));
    assert_eq!(problem(&beyond)["expected"], json!(500_000));
    // What was refused counts for nothing, here and for others.
    anna.upload("image/png", &picture(100_000)).await;
    ben.upload("image/png", &picture(100_000)).await;
    assert_eq!(get(&anna, &second, &[]).await.status, 200);
    cluster.stop().await;
}

/// Where a node keeps the bytes of an asset.
fn file_of(cluster: &Cluster, node: u64, uri: &str) -> std::path::PathBuf {
    let id = uri.rsplit('/').next().expect("an id");
    cluster.home(node).join("data/assets").join(&id[..2]).join(id)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let seen = async {
        while !holds() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), seen).await;
    assert!(waited.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_missing_or_damaged_is_restored_from_the_others() {
    let mut cluster = configured("[assets]\nsweep_seconds = 1\n").await;
    let anna = Stranger::arrive(cluster.plain_address(1), "rep-anna").await;
    let content = picture(400_000);
    let uri = anna.upload("image/png", &content).await;
    let file = file_of(&cluster, 3, &uri);
    until("every replica gets a copy", || file.exists()).await;
    let sealed = std::fs::read(&file).expect("a file");
    assert!(!sealed.windows(100).any(|part| part == &content[1000..1100]), "sealed at rest");

    // One byte decays: whoever asks gets the right bytes, and the copy is made anew.
    cluster.stop_node(3).await;
    let mut decayed = sealed.clone();
    decayed[100_000] ^= 1;
    std::fs::write(&file, &decayed).expect("writable");
    cluster.start_node(3);
    cluster.wait_ready(3).await;
    let there = anna.at(cluster.plain_address(3));
    assert!(get(&there, &uri, &[]).await.body == content);
    until("what decayed is replaced", || std::fs::read(&file).is_ok_and(|now| now != decayed))
        .await;

    // The folder is emptied: all of it comes back.
    cluster.stop_node(3).await;
    std::fs::remove_dir_all(cluster.home(3).join("data/assets")).expect("removed");
    cluster.start_node(3);
    cluster.wait_ready(3).await;
    until("what was lost is fetched", || file.exists()).await;
    // And this node alone has every byte.
    cluster.stop_node(1).await;
    cluster.stop_node(2).await;
    let local = format!("{uri}?consistency=local");
    let alone = get(&there, &local, &[]).await;
    assert_eq!(alone.status, 200);
    assert!(alone.body == content);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_sent_is_deleted_everywhere_and_counts_no_longer() {
    let cluster = configured(
        "[assets]\nsweep_seconds = 1\nunsent_seconds = 3\nbytes_max = 100000\nquota_bytes = 200000\n",
    )
    .await;
    let anna = Stranger::arrive(cluster.plain_address(1), "gc-anna").await;
    Stranger::arrive(cluster.plain_address(1), "gc-ben").await;
    let mut chat = anna.chat().await;
    let sent = anna.upload("image/png", &picture(100_000)).await;
    let item = with(&chat, "gc-ben", "1", &[&sent]);
    chat.accepted(item).await;
    let unsent = anna.upload("image/png", &picture(100_000)).await;
    let full = anna.try_upload("image/png", &picture(100_000)).await;
    assert_eq!(code(&full), refused(422, "quota_exceeded"));
    let files: Vec<_> = (1..=3).map(|node| file_of(&cluster, node, &unsent)).collect();
    in_time(async {
        while get(&anna, &unsent, &[]).await.status != 404 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let item = with(&chat, "gc-ben", "2", &[&unsent]);
    assert_eq!(chat.failed(item).await["code"], "asset_not_accessible", "it came too late");
    until("no node keeps its bytes", || files.iter().all(|file| !file.exists())).await;
    in_time(async {
        while anna.try_upload("image/png", &picture(100_000)).await.status != 201 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(get(&anna, &sent, &[]).await.status, 200, "what was sent stays");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_form_gives_its_first_file() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "form-anna").await;
    let content = picture(150_000);
    let mut form = b"--XyZ\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--XyZ\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"\r\nContent-Type: image/png\r\n\r\n"
        .to_vec();
    form.extend_from_slice(&content);
    form.extend_from_slice(b"\r\n--XyZ--\r\n");
    let uri = anna.upload("multipart/form-data; boundary=XyZ", &form).await;
    let answer = get(&anna, &uri, &[]).await;
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert!(answer.body == content);
    let without =
        b"--XyZ\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--XyZ--\r\n";
    let answer = anna.try_upload("multipart/form-data; boundary=XyZ", without).await;
    assert_eq!(code(&answer), refused(400, "invalid_request"));
}

const TUS: (&str, &str) = ("Tus-Resumable", "1.0.0");
const PIECE: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

/// Begins an upload in steps and returns where it is.
async fn begin(by: &Stranger, length: usize, body: &[u8]) -> String {
    let length = length.to_string();
    // filetype image/png, filename cat.png
    let metadata = ("Upload-Metadata", "filename Y2F0LnBuZw==,filetype aW1hZ2UvcG5n");
    let headers = [TUS, ("Upload-Length", &length), metadata, PIECE];
    let answer = by.exchange("POST", "/v1/uploads", &headers, body).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert_eq!(answer.header("tus-resumable"), Some("1.0.0"));
    assert_eq!(answer.header("upload-offset"), Some(&*body.len().to_string()));
    answer.header("location").expect("a place").to_owned()
}

async fn patch(by: &Stranger, upload: &str, offset: usize, body: &[u8]) -> Answer {
    let offset = offset.to_string();
    by.exchange("PATCH", upload, &[TUS, PIECE, ("Upload-Offset", &offset)], body).await
}

/// How far an upload is, for the one who asks.
async fn offset(by: &Stranger, upload: &str) -> (u16, Option<String>) {
    let answer = by.exchange("HEAD", upload, &[TUS], b"").await;
    (answer.status, answer.header("upload-offset").map(str::to_owned))
}

fn asset_of(upload: &str) -> String {
    format!("/v1.0/asset/{}", upload.split_once('-').expect("node and id").1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_steps_goes_on_at_any_node_and_becomes_an_asset() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "tus-anna").await;
    let ben = cluster.user(2, "tus-ben").await;
    let spoken = anna.exchange("OPTIONS", "/v1/uploads", &[], b"").await;
    assert_eq!((spoken.status, spoken.header("tus-version")), (204, Some("1.0.0")));
    assert_eq!(spoken.header("tus-max-size"), Some("268435456"));

    let content = picture(2_500_000);
    let upload = begin(&anna, content.len(), &content[..1000]).await;
    let mut at = 1000;
    for (node, to) in [(2, 70_000), (3, 70_001), (1, 1_500_000), (2, 2_500_000)] {
        let anna = anna.at(cluster.plain_address(node));
        assert_eq!(offset(&anna, &upload).await, (200, Some(at.to_string())), "at node {node}");
        let wrong = patch(&anna, &upload, at + 1, b"x").await;
        assert_eq!(code(&wrong), refused(409, "offset_mismatch"));
        assert_eq!(problem(&wrong)["expected"], json!(at));
        let answer = patch(&anna, &upload, at, &content[at..to]).await;
        assert_eq!(answer.status, 204, "{}", answer.json());
        assert_eq!(answer.header("upload-offset"), Some(&*to.to_string()));
        at = to;
    }
    let uri = asset_of(&upload);
    let answer = get(&anna.at(cluster.plain_address(3)), &uri, &[]).await;
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert!(answer.body == content);
    assert_eq!(offset(&anna, &upload).await, (200, Some(content.len().to_string())), "it is done");
    assert_eq!(offset(&ben, &upload).await.0, 404, "and nobody else's business");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_steps_is_its_owners_and_what_is_wrong_is_refused() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(2, "own-tus-anna").await;
    let ben = cluster.user(2, "own-tus-ben").await;
    let upload = begin(&anna, 1000, &picture(100)).await;
    let steal = patch(&ben, &upload, 100, b"x").await;
    assert_eq!(code(&steal), refused(404, "not_found"));
    let kill = ben.exchange("DELETE", &upload, &[TUS], b"").await;
    assert_eq!(code(&kill), refused(404, "not_found"));
    for (headers, status, name) in [
        (vec![PIECE, ("Upload-Offset", "100")], 412, "unsupported_version"),
        (vec![TUS, PIECE], 400, "invalid_request"),
        (vec![TUS, ("Upload-Offset", "100")], 415, "unsupported_media_type"),
    ] {
        let answer = anna.exchange("PATCH", &upload, &headers, b"x").await;
        assert_eq!(code(&answer), refused(status, name));
    }
    let beyond = patch(&anna, &upload, 100, &[0; 901]).await;
    assert_eq!(code(&beyond), refused(413, "too_large"));
    assert_eq!(offset(&anna, &upload).await, (200, Some("100".to_owned())), "as it was");
    let gone = anna.exchange("DELETE", &upload, &[TUS], b"").await;
    assert_eq!(gone.status, 204);
    assert_eq!(offset(&anna, &upload).await.0, 404);
    // It says picture and is none: told at the end, and nothing of it is kept.
    let liar = begin(&anna, 20, b"").await;
    let end = patch(&anna, &liar, 0, b"MZ this is a program").await;
    assert_eq!(code(&end), refused(415, "unsupported_media_type"));
    assert_eq!(offset(&anna, &liar).await.0, 404);
    for (length, status, name) in [("268435457", 413, "too_large"), ("-1", 400, "invalid_request")]
    {
        let headers = [TUS, ("Upload-Length", length)];
        let answer = anna.exchange("POST", "/v1/uploads", &headers, b"").await;
        assert_eq!(code(&answer), refused(status, name));
    }
    let nothing = anna.exchange("POST", "/v1/uploads", &[TUS, ("Upload-Length", "0")], b"").await;
    let upload = nothing.header("location").expect("a place");
    assert_eq!(get(&anna, &asset_of(upload), &[]).await.status, 200, "an empty asset is one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_steps_survives_a_restart_of_its_node() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let anna = Stranger::arrive(cluster.plain_address(2), "tus-rest").await;
    let content = picture(400_000);
    let upload = begin(&anna, content.len(), &content[..150_000]).await;
    cluster.stop_node(2).await;
    let elsewhere = anna.at(cluster.plain_address(1));
    in_time(async {
        // Its node is away: to be asked again, not gone.
        loop {
            let answer = patch(&elsewhere, &upload, 150_000, &content[150_000..]).await;
            let problem = problem(&answer);
            assert_eq!(problem["retryable"], json!(true), "{problem}");
            if problem["code"] == "unavailable" {
                return;
            }
        }
    })
    .await;
    cluster.start_node(2);
    cluster.wait_ready(2).await;
    in_time(async {
        while offset(&elsewhere, &upload).await != (200, Some("150000".to_owned())) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let answer = patch(&elsewhere, &upload, 150_000, &content[150_000..]).await;
    assert_eq!(answer.status, 204, "{}", answer.json());
    assert!(get(&elsewhere, &asset_of(&upload), &[]).await.body == content);
    cluster.stop().await;
}

/// A checksum header over `bytes`.
fn checksum(name: &str, bytes: &[u8]) -> String {
    let algorithm = match name {
        "sha1" => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        _ => &ring::digest::SHA256,
    };
    format!("{name} {}", STANDARD.encode(ring::digest::digest(algorithm, bytes)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_with_a_checksum_is_kept_as_a_whole_or_not_at_all() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "sum-anna").await;
    let spoken = anna.exchange("OPTIONS", "/v1/uploads", &[], b"").await;
    assert_eq!(spoken.header("tus-checksum-algorithm"), Some("sha1,sha256"));
    let extensions = spoken.header("tus-extension").expect("there are some");
    assert!(extensions.contains("checksum") && extensions.contains("expiration"), "{extensions}");

    let content = picture(500_000);
    let upload = begin(&anna, content.len(), b"").await;
    let mut at = 0;
    for (node, name, to) in [(1, "sha1", 200_000), (2, "sha256", 500_000)] {
        let anna = anna.at(cluster.plain_address(node));
        let offset_text = at.to_string();
        let send = async |sum: &str, body: &[u8]| {
            let headers = [TUS, PIECE, ("Upload-Offset", &*offset_text), ("Upload-Checksum", sum)];
            anna.exchange("PATCH", &upload, &headers, body).await
        };
        let good = checksum(name, &content[at..to]);
        let other = send(&good, &content[at..to - 1]).await;
        assert_eq!(code(&other), refused(460, "checksum_mismatch"));
        for unreadable in ["md5 AAAA", "sha1", "sha256 %%%"] {
            let answer = send(unreadable, &content[at..to]).await;
            assert_eq!(code(&answer), refused(400, "invalid_request"), "{unreadable}");
        }
        assert_eq!(offset(&anna, &upload).await, (200, Some(at.to_string())), "nothing was kept");
        let answer = send(&good, &content[at..to]).await;
        assert_eq!(answer.status, 204, "{}", answer.json());
        at = to;
    }
    assert!(get(&anna, &asset_of(&upload), &[]).await.body == content);
    let sum = checksum("sha1", b"something else");
    let headers = [TUS, ("Upload-Length", "3"), PIECE, ("Upload-Checksum", &*sum)];
    let answer = anna.exchange("POST", "/v1/uploads", &headers, b"abc").await;
    assert_eq!(code(&answer), refused(460, "checksum_mismatch"));
    let large = vec![7; (8 << 20) + 1];
    let headers = [TUS, ("Upload-Length", "9000000"), PIECE, ("Upload-Checksum", &*sum)];
    let answer = anna.exchange("POST", "/v1/uploads", &headers, &large).await;
    assert_eq!(code(&answer), refused(413, "too_large"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_says_when_it_is_forgotten_until_it_is_an_asset() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "late-anna").await;
    let upload = begin(&anna, 1000, &picture(1000)[..10]).await;
    let mut said = Vec::new();
    for node in 1..=3 {
        let here = anna.at(cluster.plain_address(node));
        let answer = here.exchange("HEAD", &upload, &[TUS], b"").await;
        said.push(answer.header("upload-expires").expect("it says so").to_owned());
    }
    assert!(said[0].ends_with(" GMT") && said.iter().all(|one| *one == said[0]), "{said:?}");
    let answer = patch(&anna, &upload, 10, &picture(1000)[10..500]).await;
    assert_eq!(answer.header("upload-expires"), Some(&*said[0]));
    let end = patch(&anna, &upload, 500, &picture(1000)[500..]).await;
    assert_eq!((end.status, end.header("upload-expires")), (204, None));
    let looked = anna.exchange("HEAD", &upload, &[TUS], b"").await;
    assert_eq!((looked.status, looked.header("upload-expires")), (200, None));
}
