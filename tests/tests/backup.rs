//! Backups of a cluster that is in use, and new clusters that begin with them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use node::backup::{self, Error, Source, Verified};
use serde_json::{Value, json};
use tests::{Chat, Cluster, Shape, Stranger, http, in_time};
use tokio::task::JoinHandle;

/// So slow that much happens while a backup is made.
const SLOWLY: &str = "[backup]\nevery_seconds = 0\nkeep = 2\nbytes_per_second = 150000\n";
/// Conversations of two; more than there are shards.
const PAIRS: usize = 6;
/// Messages that each says before anything else happens.
const SAID_BEFORE: usize = 30;

async fn cluster(name: &str, shape: Shape, more: &str) -> Cluster {
    let mut cluster = Cluster::prepare_as(name, shape, more);
    for node in 1..=shape.nodes {
        cluster.start_node(node);
    }
    for node in 1..=shape.nodes {
        cluster.wait_ready(node).await;
    }
    cluster
}

/// Has a node make a backup and waits for it; what the node lists of it.
async fn back_up(cluster: &Cluster, node: u64) -> Value {
    let id = begin(cluster, node).await;
    finished(cluster, node, &id).await
}

async fn begin(cluster: &Cluster, node: u64) -> String {
    let address = cluster.operations_address(node);
    let (status, begun) = http::json(address, "POST", "/backup", None, None).await;
    assert_eq!(status, 202, "{begun}");
    begun["id"].as_str().expect("a name").to_owned()
}

async fn finished(cluster: &Cluster, node: u64, id: &str) -> Value {
    let address = cluster.operations_address(node);
    in_time(async {
        loop {
            let (status, told) = http::json(address, "GET", "/backups", None, None).await;
            assert_eq!(status, 200, "{told}");
            assert_eq!(told["failed"], Value::Null, "{told}");
            let backups = told["backups"].as_array().expect("a list");
            if let Some(made) = backups.iter().find(|made| made["id"] == id) {
                return made.clone();
            }
            assert_eq!(told["running"]["id"], id, "it is being made, or it is made: {told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Where a node keeps its backups, and with what key.
fn source(cluster: &Cluster, node: u64) -> Source {
    let data = cluster.home(node).join("data");
    Source { folder: data.join("backups"), key: data.join("backup.key"), backup: None, to_ms: None }
}

async fn verify(source: &Source) -> Result<Verified, Error> {
    let source = source.clone();
    let scratch = tempfile::tempdir().expect("a folder");
    let verified = tokio::task::spawn_blocking(move || backup::verify(&source, scratch.path()));
    verified.await.expect("no panic")
}

async fn restore(source: &Source, cluster: &Cluster, node: u64) -> Result<backup::Restored, Error> {
    let (source, config) = (source.clone(), cluster.config(node));
    let restored = tokio::task::spawn_blocking(move || backup::restore(&source, &config, None));
    restored.await.expect("no panic")
}

/// A new cluster of so many nodes with the state of a backup.
async fn begin_with(source: &Source, name: &str, nodes: u64) -> Cluster {
    let shape = Shape { nodes, ..Shape::default() };
    let mut cluster = Cluster::prepare_as(name, shape, SLOWLY);
    for node in 1..=nodes {
        let restored = restore(source, &cluster, node).await.expect("a sound backup");
        assert_eq!((restored.cluster.as_str(), restored.history_epoch), (name, 1));
        cluster.start_node(node);
    }
    for node in 1..=nodes {
        cluster.wait_ready(node).await;
    }
    cluster
}

/// One who says numbered messages to another.
struct Speaker {
    who: Stranger,
    peer: String,
    chat: Chat,
    said: Vec<Value>,
}

impl Speaker {
    async fn arrive(cluster: &Cluster, node: u64, user: &str, peer: &str) -> Self {
        let who = Stranger::arrive(cluster.plain_address(node), user).await;
        let chat = who.chat().await;
        Self { who, peer: peer.to_owned(), chat, said: Vec::new() }
    }

    async fn say(&mut self) {
        let id = format!("m{}", self.said.len() + 1);
        let text = format!("{} says {id}", self.who.user);
        let stored = self.chat.stored(&self.peer, &id, &text).await;
        self.said.push(stored);
    }

    /// The restored history has all that was acknowledged at that time at its place, and nothing that was never said.
    async fn assert_kept(&self, node: std::net::SocketAddr, said_before: usize) {
        let history = self.who.at(node).history(&self.peer).await;
        let places = history.iter().map(|one| one["sequence"].as_u64());
        assert!(places.eq((1..=history.len() as u64).map(Some)), "1..n without a gap");
        for stored in &self.said[..said_before] {
            let place = stored["sequence"].as_u64().expect("a place");
            let kept = &history[usize::try_from(place).expect("small") - 1];
            assert_eq!(
                (&kept["messageId"], &kept["senderId"]),
                (&stored["messageId"], &json!(self.who.user))
            );
            assert_eq!(
                kept["serverTimestamp"], stored["timestamp"],
                "and so is its time: {kept} {stored}"
            );
        }
    }
}

async fn speakers(cluster: &Cluster) -> Vec<Speaker> {
    let mut all = Vec::new();
    for n in 0..PAIRS {
        let (one, other) = (format!("one-{n}"), format!("other-{n}"));
        all.push(Speaker::arrive(cluster, 1 + n as u64 % 3, &one, &other).await);
        all.push(Speaker::arrive(cluster, 1 + (n + 1) as u64 % 3, &other, &one).await);
    }
    all
}

/// Speaks for as long as nobody says that it is enough, at least a little.
fn keep_speaking(mut speaker: Speaker, enough: Arc<AtomicBool>) -> JoinHandle<Speaker> {
    tokio::spawn(async move {
        while !enough.load(Ordering::Relaxed) {
            speaker.say().await;
        }
        speaker
    })
}

/// New users who found groups with each other, while a backup is made: what refers and what it refers to come to be in
/// between its steps.
fn keep_founding(cluster: &Cluster, enough: Arc<AtomicBool>) -> JoinHandle<u64> {
    let node = cluster.plain_address(2);
    tokio::spawn(async move {
        let mut number = 0;
        while !enough.load(Ordering::Relaxed) {
            let name = |who: &str| format!("late-{who}-{number}");
            let owner = Stranger::arrive(node, &name("owner")).await;
            Stranger::arrive(node, &name("guest")).await;
            let group =
                json!({ "groupId": name("group"), "name": "G", "members": [name("guest")] });
            let (status, made) = owner.ask("POST", "/v1/groups", Some(&group)).await;
            assert_eq!(status, 201, "{made}");
            number += 1;
        }
        number
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backup_is_in_a_new_cluster_of_any_size() {
    let mut old = cluster("old", Shape::default(), SLOWLY).await;
    let mut speakers = speakers(&old).await;
    for _ in 0..SAID_BEFORE {
        futures::future::join_all(speakers.iter_mut().map(Speaker::say)).await;
    }
    let owner = &speakers[0].who;
    let file: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let uri = owner.upload("application/octet-stream", &file).await;
    let crew = json!({ "groupId": "crew", "name": "The crew", "members": ["one-1", "one-2"] });
    assert_eq!(owner.ask("POST", "/v1/groups", Some(&crew)).await.0, 201);
    let mut chat = owner.chat().await;
    let mut item = chat.to_group("crew", "g1", "hello");
    (item["attachment"], item["attachmentURI"]) = (json!(true), json!(uri));
    chat.accepted(item).await;

    // Everybody goes on while the backup is made; nobody is cut off, which would end this test.
    let enough = Arc::new(AtomicBool::new(false));
    let begun = begin(&old, 2).await;
    let speaking: Vec<_> =
        speakers.into_iter().map(|one| keep_speaking(one, Arc::clone(&enough))).collect();
    let founding = keep_founding(&old, Arc::clone(&enough));
    let made = finished(&old, 2, &begun).await;
    enough.store(true, Ordering::Relaxed);
    let speakers = futures::future::join_all(speaking).await;
    let speakers: Vec<Speaker> = speakers.into_iter().map(|one| one.expect("no panic")).collect();
    let founded = founding.await.expect("no panic");
    assert!(founded > 0, "groups came to be meanwhile");
    assert!(speakers.iter().all(|one| one.said.len() > SAID_BEFORE), "all went on");
    assert_eq!((&made["assets"], &made["assets_missing"]), (&json!(1), &json!(0)), "{made}");
    old.stop_all().await;

    let source = source(&old, 2);
    let verified = verify(&source).await.expect("it can be read");
    assert_eq!(verified.found.problems, Vec::<String>::new());
    assert!(verified.found.messages >= (2 * PAIRS * SAID_BEFORE) as u64, "{:?}", verified.found);
    for (name, nodes) in [("new", 3), ("alone", 1)] {
        let mut new = begin_with(&source, name, nodes).await;
        for (n, speaker) in speakers.iter().enumerate() {
            let node = new.plain_address(1 + n as u64 % nodes);
            speaker.assert_kept(node, SAID_BEFORE).await;
        }
        assert_lives_on(&new, nodes, &file, &uri).await;
        assert_lists_are_whole(&new, founded).await;
        new.stop_all().await;
    }
}

/// Passwords open sessions, groups and files are what they were, and what is said next follows.
async fn assert_lives_on(new: &Cluster, nodes: u64, file: &[u8], uri: &str) {
    let node = new.plain_address(nodes);
    let one = Stranger::log_in(node, "one-1", "new").await;
    let group = one.granted("GET", "/v1/groups/crew", None).await;
    assert_eq!(group["members"].as_array().map(Vec::len), Some(3), "{group}");
    let said = one.history("crew").await;
    assert_eq!((said.len(), &said[0]["attachmentURI"][0]), (1, &json!(uri)), "{said:?}");
    let answer = one.exchange("GET", uri, &[], b"").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == file, "the bytes are what they were");
    let mut chat = one.chat().await;
    let item = chat.to_group("crew", "g2", "and on");
    assert_eq!(chat.accepted(item).await["sequence"], json!(2));
}

/// Whoever is in a group has it in the list, and has an account.
async fn assert_lists_are_whole(new: &Cluster, founded: u64) {
    let node = new.plain_address(1);
    let (mut groups, mut accounts) = (0, 0);
    for number in 0..founded {
        let name = |who: &str| format!("late-{who}-{number}");
        let login =
            json!({ "userId": name("owner"), "password": tests::PASSWORD, "deviceName": "d" });
        let (status, session) = http::json(node, "POST", "/v1/sessions", None, Some(&login)).await;
        if status != 201 {
            continue;
        }
        accounts += 1;
        let owner = Stranger::with(node, &session);
        let path = format!("/v1/groups/{}", name("group"));
        if owner.ask("GET", &path, None).await.0 != 200 {
            continue;
        }
        groups += 1;
        for who in ["owner", "guest"] {
            let member = Stranger::log_in(node, &name(who), "e").await;
            // What was still owed when the backup was made is carried out now.
            in_time(async {
                loop {
                    let list = member.granted("GET", "/v1/conversations", None).await;
                    let lines = list["conversations"].as_array().expect("a list");
                    if lines.iter().any(|line| line["groupId"] == name("group")) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
    }
    assert!(accounts > 0 && accounts >= groups, "{accounts} accounts, {groups} groups");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_backup_writes_what_changed_and_old_ones_give_way() {
    let more = "[backup]\nevery_seconds = 0\nkeep = 2\n";
    let shape = Shape { nodes: 1, shards: 2, engine: "fjall" };
    let old = cluster("old", shape, more).await;
    let anna = Stranger::arrive(old.plain_address(1), "anna").await;
    Stranger::arrive(old.plain_address(1), "ben").await;
    let mut chat = anna.chat().await;
    for n in 0..1500 {
        chat.send("ben", &format!("m{n}"), &"so many words ".repeat(40)).await;
    }
    chat.stored("ben", "last", "the last one").await;
    let file: Vec<u8> = (0..2_500_000_u32).map(|n| (n % 251) as u8).collect();
    anna.upload("application/octet-stream", &file).await;
    let first = back_up(&old, 1).await;
    assert_eq!(first["new_bytes"], first["bytes"], "{first}");
    chat.stored("ben", "one more", "one more").await;
    // Names are times in seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let second = back_up(&old, 1).await;
    let share = second["new_bytes"].as_f64().expect("a number")
        / second["bytes"].as_f64().expect("a number");
    assert!(share < 0.5, "{share} of it was written anew: {second}");
    for backup in [&first, &second] {
        let id = backup["id"].as_str().expect("a name").parse().expect("a name");
        let verified = verify(&Source { backup: Some(id), ..source(&old, 1) }).await;
        assert_eq!(verified.expect("readable").found.problems, Vec::<String>::new());
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    back_up(&old, 1).await;
    let left = backup::list(&source(&old, 1).folder).expect("a folder");
    let ids: Vec<&str> = left.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids.len(), 2, "two are kept");
    assert_eq!(ids[0], second["id"].as_str().expect("a name"));
    for backup in &left {
        let verified = verify(&Source { backup: Some(backup.id.clone()), ..source(&old, 1) }).await;
        assert_eq!(
            verified.expect("nothing that they need is gone").found.problems,
            Vec::<String>::new()
        );
    }
    old.stop().await;
}

fn chunks(source: &Source) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(source.folder.join("chunks")).expect("chunks");
    let files = folders
        .flat_map(|folder| std::fs::read_dir(folder.expect("readable").path()).expect("readable"));
    files.map(|file| file.expect("readable").path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_backup_is_told_and_nothing_is_restored_from_it() {
    let shape = Shape { nodes: 1, shards: 2, engine: "fjall" };
    let mut old = cluster("old", shape, "[backup]\nevery_seconds = 0\n").await;
    let anna = Stranger::arrive(old.plain_address(1), "anna").await;
    Stranger::arrive(old.plain_address(1), "ben").await;
    anna.chat().await.stored("ben", "m1", "hello").await;
    let made = back_up(&old, 1).await;
    old.stop_all().await;
    let source = source(&old, 1);
    let new = Cluster::prepare_as("new", shape, "");
    let refused = |error: Result<backup::Restored, Error>| error.expect_err("it must be refused");

    // The same name would let old nodes take part.
    let same = Cluster::prepare_as("old", shape, "");
    assert!(matches!(refused(restore(&source, &same, 1).await), Error::Refused(_)));
    // Another key, however good, does not open it.
    let other = new.home(1).join("other.key");
    std::fs::write(&other, [9; 32]).expect("writable");
    let locked = Source { key: other, ..source.clone() };
    assert!(matches!(verify(&locked).await, Err(Error::WrongKey { .. })));
    assert!(matches!(refused(restore(&locked, &new, 1).await), Error::WrongKey { .. }));
    // A time before the first.
    let early = Source { to_ms: Some(1), ..source.clone() };
    assert!(matches!(refused(restore(&early, &new, 1).await), Error::NoBackup { .. }));
    // Somebody's data.
    std::fs::create_dir_all(new.home(1).join("data")).expect("writable");
    std::fs::write(new.home(1).join("data/theirs"), "x").expect("writable");
    assert!(matches!(refused(restore(&source, &new, 1).await), Error::NotEmpty { .. }));
    std::fs::remove_file(new.home(1).join("data/theirs")).expect("ours");
    // One bit of any chunk, or of the manifest.
    let manifest = source.folder.join(made["id"].as_str().expect("a name")).join("manifest.json");
    let files = chunks(&source);
    assert!(files.len() >= 5, "{files:?}");
    for file in files.iter().chain([&manifest]) {
        let whole = std::fs::read(file).expect("readable");
        let mut rotten = whole.clone();
        let middle = rotten.len() / 2;
        rotten[middle] ^= 0x02;
        std::fs::write(file, &rotten).expect("writable");
        let found = verify(&source).await.expect_err("a bit is not what it was");
        assert!(matches!(found, Error::Damaged { .. }), "{}: {found}", file.display());
        assert!(matches!(refused(restore(&source, &new, 1).await), Error::Damaged { .. }));
        std::fs::remove_file(file).expect("ours");
        assert!(verify(&source).await.is_err(), "{} is missing", file.display());
        std::fs::write(file, &whole).expect("writable");
    }
    assert_eq!(std::fs::read_dir(new.home(1)).expect("readable").count(), 7, "nothing is left");
    assert!(verify(&source).await.expect("whole again").found.problems.is_empty());
    assert!(restore(&source, &new, 1).await.is_ok());
    assert!(matches!(refused(restore(&source, &new, 1).await), Error::NotEmpty { .. }));
}
