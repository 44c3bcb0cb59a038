//! A device with a store, as a real process that is killed at any moment, against three nodes: what it was told is pending
//! is stored once and in order, and what it received can be read without any node.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tests::{Shared, Stranger, in_time, items};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How often the process is killed.
const ROUNDS: u64 = 24;
/// In every so-manieth round no node can be reached.
const OFFLINE_EVERY: u64 = 5;

/// The device's process, and what it says.
struct Device {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Device {
    fn start(words: &[&str]) -> Device {
        let mut command = Command::new(env!("CARGO_BIN_EXE_device"));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it was built");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Device { child, lines }
    }

    /// The next line; `None` when it has ended.
    async fn line(&mut self) -> Option<String> {
        in_time(self.lines.next_line()).await.expect("a pipe can be read")
    }

    /// Everything it says until it ends, which it must do well.
    async fn all(words: &[&str]) -> Vec<String> {
        let mut device = Device::start(words);
        let mut lines = Vec::new();
        while let Some(line) = device.line().await {
            lines.push(line);
        }
        let ended = in_time(device.child.wait()).await.expect("it can be waited for");
        assert!(ended.success(), "{words:?} after {lines:?}");
        lines
    }
}

struct Story {
    folder: tempfile::TempDir,
    anna: Stranger,
    ca: String,
    nodes: Vec<SocketAddr>,
    promised: Vec<String>,
    sent: BTreeSet<String>,
    /// Sequences that came in, by life.
    got: Vec<Vec<u64>>,
}

impl Story {
    /// What the process is told: where the nodes are, or where nobody is.
    fn file(&self, online: bool) -> PathBuf {
        let path = self.folder.path().join(format!("{online}.json"));
        // Nobody listens at the port that discards.
        let nobody = vec![SocketAddr::from(([127, 0, 0, 1], 9))];
        let nodes: Vec<String> =
            if online { &self.nodes } else { &nobody }.iter().map(SocketAddr::to_string).collect();
        let told = json!({
            "nodes": nodes, "ca": self.ca, "user": self.anna.user, "device": self.anna.device,
            "access": self.anna.token, "refresh": self.anna.refresh, "peer": "off-ben",
            "store": self.folder.path().join("anna.db"),
        });
        std::fs::write(&path, told.to_string()).expect("writable folder");
        path
    }

    /// One life of the process, which is killed after it has said so many lines of this kind.
    async fn live(&mut self, round: u64, online: bool, kind: &str, count: u64) {
        let file = self.file(online);
        let name = format!("r{round:02}");
        let mut device = Device::start(&["say", text(&file), &name]);
        self.got.push(Vec::new());
        let mut left = count;
        while left > 0 {
            let line = device.line().await.expect("it goes on until it is killed");
            left -= u64::from(line.starts_with(kind));
            self.heard(&line);
        }
        device.child.start_kill().expect("it lives");
        // What it had said before it was killed counts as well.
        while let Some(line) = device.line().await {
            self.heard(&line);
        }
        let ended = in_time(device.child.wait()).await.expect("it can be waited for");
        assert!(!ended.success(), "killed");
    }

    fn heard(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["pending", id] => self.promised.push((*id).to_owned()),
            ["sent", id, _] => drop(self.sent.insert((*id).to_owned())),
            ["got", seq, _] => {
                self.got.last_mut().expect("a life").push(seq.parse().expect("a number"));
            }
            _ => panic!("{line}"),
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

async fn whole_history(who: &Stranger, peer: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/messages/{peer}?limit=100{after}");
        let page = who.granted("GET", &path, None).await;
        all.extend(items(&page));
        match page["next_after_id"].as_str() {
            Some(id) => after = format!("&after_id={}", tests::http::escape(id)),
            None => return all,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_device_loses_repeats_and_reorders_nothing_that_was_pending() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "off-anna").await;
    let ben = cluster.user(2, "off-ben").await;
    let mut chat = ben.chat().await;
    let mut story = Story {
        folder: tempfile::tempdir().expect("a temporary folder"),
        anna: anna.clone(),
        ca: String::from_utf8(cluster.ca_pem()).expect("PEM is text"),
        nodes: cluster.client_addresses(),
        promised: Vec::new(),
        sent: BTreeSet::new(),
        got: Vec::new(),
    };
    for round in 0..ROUNDS {
        for at in 0..3 {
            chat.stored("off-anna", &format!("b{round:02}-{at}"), "from ben").await;
        }
        let online = round % OFFLINE_EVERY != OFFLINE_EVERY - 1;
        // Killed while it writes, while it sends, or while it receives, sooner or later.
        match (online, round % 3) {
            (true, 1) => story.live(round, true, "sent", 1 + round % 7).await,
            (true, 2) => story.live(round, true, "got", 1 + round % 3).await,
            (online, _) => story.live(round, online, "pending", 1 + (round * 7) % 40).await,
        }
        if !online {
            let waiting = Device::all(&["show", text(&story.file(false))]).await;
            let last = story.promised.last().expect("something was promised");
            assert!(waiting.contains(&format!("waiting {last}")), "{last} in {waiting:?}");
        }
    }
    let history = whole_history(&ben, "off-anna").await;
    let last = history.iter().rfind(|one| one["senderId"] == "off-ben").expect("he spoke");
    let last = last["sequence"].to_string();
    story.got.push(Vec::new());
    for line in Device::all(&["finish", text(&story.file(true)), &last]).await {
        story.heard(&line);
    }
    judge(&story, &whole_history(&ben, "off-anna").await);
    let shown = Device::all(&["show", text(&story.file(false))]).await;
    let history = whole_history(&ben, "off-anna").await;
    let line = |one: &Value| {
        format!("kept {} {}", one["sequence"], one["messageId"].as_str().expect("an id"))
    };
    let mut expected: Vec<String> = history.iter().map(line).collect();
    expected.push("whole".to_owned());
    assert_eq!(shown, expected, "without a node it shows what the nodes show, and nothing waits");
}

/// Everything that was promised is there once, in order; everything that was said came in, in order.
fn judge(story: &Story, history: &[Value]) {
    let own = history.iter().filter(|one| one["senderId"] == "off-anna");
    let own: Vec<(String, u64)> = own
        .map(|one| {
            let id = one["messageId"].as_str().expect("an id").to_owned();
            (id, one["orderNumber"].as_u64().expect("a number"))
        })
        .collect();
    let mut sorted: Vec<String> = own.iter().map(|(id, _)| id.clone()).collect();
    sorted.sort();
    sorted.dedup();
    assert_eq!(own.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), sorted, "once, in order");
    let orders: Vec<u64> = own.iter().map(|(_, order)| *order).collect();
    assert_eq!(orders, (1..=own.len() as u64).collect::<Vec<_>>(), "counted without a gap");
    let stored: BTreeSet<&String> = own.iter().map(|(id, _)| id).collect();
    for id in story.promised.iter().chain(&story.sent) {
        assert!(stored.contains(id), "{id} was promised");
    }
    let theirs = history.iter().filter(|one| one["senderId"] == "off-ben");
    let theirs: Vec<u64> = theirs.map(|one| one["sequence"].as_u64().expect("a place")).collect();
    let mut next = 0;
    for life in &story.got {
        let place = |seq: &u64| theirs.iter().position(|at| at == seq).expect("was said");
        let places: Vec<usize> = life.iter().map(place).collect();
        assert!(places.windows(2).all(|pair| pair[0] + 1 == pair[1]), "in order, once: {life:?}");
        if let (Some(first), Some(last)) = (places.first(), places.last()) {
            assert!(*first <= next, "nothing is left out between two lives");
            next = next.max(last + 1);
        }
    }
    assert_eq!(next, theirs.len(), "everything came in");
    let (count, lives) = (story.promised.len(), story.got.len());
    println!("{count} promised in {lives} lives, {} stored, {} came in", own.len(), theirs.len());
}
