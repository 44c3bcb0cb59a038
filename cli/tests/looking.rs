//! Verbs that look and change nothing, as an operator meets them on a bad day: nodes that hang, folders without a node.

#![allow(
    clippy::disallowed_methods,
    reason = "it plays nodes with threads of its own, and watches in real time"
)]

#[path = "support/synod.rs"]
mod synod;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use synod::{Home, stderr, stdout};

/// `health` must answer within this, whoever hangs; a second, and what a busy machine needs to start a process.
const AT_A_GLANCE: Duration = Duration::from_millis(1000);

/// A node that answers, as long as the test runs.
fn answering(status: Value, metrics: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let body = match request.split(' ').nth(1) {
                Some("/metrics") => metrics.to_owned(),
                _ => status.to_string(),
            };
            let head = format!("HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            // A reader that has gone has seen enough.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

/// A node that takes connections and never says a word: stopped, or its disk hangs.
fn hanging() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

fn alone(leader: Option<u64>) -> Value {
    let other = |id: u64| json!({ "id": id, "alive": id == 1, "client": "" });
    json!({
        "schema": "synod/status/v1", "cluster": "c", "node": 1, "links": 4, "now_ms": 0,
        "nodes": [other(1), other(2), other(3)],
        "shards": [{ "group": 0, "leader": leader, "role": "follower", "term": 3, "applied": 9, "last": 9 }],
    })
}

fn operations(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().flat_map(|address| ["--operations".to_owned(), address.to_string()]).collect()
}

fn run(home: &Home, args: &[&str], addresses: &[SocketAddr]) -> std::process::Output {
    let operations = operations(addresses);
    let args: Vec<&str> =
        args.iter().copied().chain(operations.iter().map(String::as_str)).collect();
    home.run(&args)
}

#[test]
fn health_answers_within_a_second_while_two_of_three_hang() {
    let home = Home::new();
    // The first start of a program reads it from the disk.
    home.run(&["--version"]);
    let ((_first, one), (_second, two)) = (hanging(), hanging());
    let addresses = [one, answering(alone(None), ""), two];
    let begun = Instant::now();
    let output = run(&home, &["health", "--json"], &addresses);
    let took = begun.elapsed();
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    assert!(took <= AT_A_GLANCE, "it took {took:?}");
    let health: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(
        (&health["schema"], &health["health"]),
        (&json!("synod/health/v1"), &json!("unhealthy"))
    );
    let reasons = health["reasons"].as_array().expect("reasons");
    assert!(reasons.iter().all(|reason| reason["next"].is_string()), "{health}");
    assert!(health.to_string().contains("no answer in time"), "{health}");
    assert!(health.to_string().contains("1 of 1 groups have no leader"), "{health}");
}

#[test]
fn top_looks_once_and_tells_rates_and_who_is_away() {
    let home = Home::new();
    let (_hanging, away) = hanging();
    let metrics = "synod_messages_sent_total 7\nsynod_journal_waiting_bytes 2048\n";
    let addresses = [answering(alone(Some(1)), metrics), away];
    let output = run(&home, &["top", "--once", "--json", "--interval", "200ms"], &addresses);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let top: Value = serde_json::from_str(&stdout(&output)).expect("one object");
    assert_eq!((&top["schema"], &top["health"]), (&json!("synod/top/v1"), &json!("degraded")));
    assert_eq!(top["nodes"][0]["journal_waiting_bytes"], json!(2048.0));
    assert_eq!(top["nodes"][0]["sent_per_s"], json!(0.0));
    assert_eq!(top["nodes"][1]["serves"], json!(false));
    assert_eq!(top["groups"][0]["leader"], json!(1));
    let page = stdout(&run(&home, &["top", "--once", "--interval", "200ms"], &addresses));
    assert!(page.contains("cluster c: degraded, 1 groups") && page.contains("2.0K"), "{page}");
    let output = run(&home, &["top", "--once"], &[away]);
    assert_eq!(output.status.code(), Some(6), "nobody answers");
}

/// A node's file that a start would take, with its folder below `home`.
fn node_file(home: &Home, more: &str) -> std::path::PathBuf {
    let port = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").to_string()
    };
    let (client, peer, operations) = (port(), port(), port());
    let text = format!(
        "node = 1\ndata = \"data\"\n\
         [listen]\nclient = \"{client}\"\npeer = \"{peer}\"\noperations = \"{operations}\"\n\
         [tls]\nauthority = \"ca.pem\"\nclient_certificate = \"c.pem\"\nclient_key = \"c.key\"\n\
         peer_certificate = \"p.pem\"\npeer_key = \"p.key\"\n\
         [cluster]\nid = \"c\"\nreplication = 1\n[[cluster.nodes]]\nid = 1\nclient = \"{client}\"\n\
         peer = \"{peer}\"\noperations = \"{operations}\"\n{more}"
    );
    let path = home.folder.path().join("node.toml");
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn doctor_tells_each_check_and_a_fix_for_each_that_failed() {
    let home = Home::new();
    let file = node_file(&home, "");
    let file = file.to_str().expect("a plain path");
    // A certificate that is none, and a clock that is far away.
    std::fs::write(home.folder.path().join("ca.pem"), "nothing").expect("written");
    let mut status = alone(Some(1));
    status["now_ms"] = json!(1_000);
    let other = answering(status, "");
    let output = run(&home, &["doctor", "--config", file, "--json"], &[other]);
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    let found: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(found["schema"], json!("synod/doctor/v1"));
    let checks = found["checks"].as_array().expect("checks");
    let state = |name: &str| {
        let check = checks.iter().find(|check| check["check"] == name);
        check.unwrap_or_else(|| panic!("{name} is told: {found}"))["state"].clone()
    };
    for name in ["files", "udp", "space", "barriers", "ports", "client-cert", "peer-cert"] {
        state(name);
    }
    assert_eq!((state("authority"), state("clock")), (json!("failed"), json!("failed")));
    assert_eq!((state("ports"), state("udp")), (json!("ok"), json!("ok")));
    let without_fix =
        checks.iter().filter(|check| check["state"] == "failed" && check["fix"].is_null());
    assert_eq!(without_fix.count(), 0, "{found}");
    assert_eq!(home.run(&["doctor", "--config", "/nowhere.toml"]).status.code(), Some(3));
}

#[test]
fn a_bundle_has_no_secret_and_tells_what_is_missing() {
    const SECRETS: [&str; 7] = [
        "swordfish",
        "c0ffee5ec4e7c0ffee5ec4e7c0ffee5ec4e7c0ffee5ec4e7",
        "https://hooks.example.org/in?key=letmein",
        "letmein",
        "me:hunter2@",
        "MC4CAQAwBQYDK2VwBCIEIJ",
        "T34MT34MT34",
    ];
    let home = Home::new();
    let file = node_file(
        &home,
        "[push]\ncontact = \"https://me:hunter2@example.org/?key=letmein\"\n\
         [push.apns]\nkey = \"apns.p8\"\nkey_id = \"swordfish\"\nteam = \"T34MT34MT34\"\ntopic = \"org.example\"\n",
    );
    let mut status = alone(Some(1));
    status["nodes"][1]["client"] = json!("https://hooks.example.org/in?key=letmein");
    status["cluster"] = json!("c0ffee5ec4e7c0ffee5ec4e7c0ffee5ec4e7c0ffee5ec4e7");
    let metrics = "synod_ready 1\n-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ\n-----END PRIVATE KEY-----\n";
    let (_hanging, away) = hanging();
    let bundle = home.folder.path().join("bundle.tar");
    let args = ["debug", "bundle", "--config", file.to_str().expect("plain"), "--output"];
    let args = [&args[..], &[bundle.to_str().expect("plain")]].concat();
    let output = run(&home, &args, &[answering(status, metrics), away]);
    assert_eq!(output.status.code(), Some(7), "a node is missing: {}", stderr(&output));
    let bytes = std::fs::read(&bundle).expect("it was written");
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in the bundle");
    }
    let text = String::from_utf8_lossy(&bytes);
    for told in [
        "MANIFEST.json",
        "synod/bundle/v1",
        "nodes/1/status.json",
        "synod_ready 1",
        "nodes/2/status.json",
        "no answer in time",
        "/deadletters",
        "doctor.json",
        "topic = \"org.example\"",
    ] {
        assert!(text.contains(told), "{told} is in the bundle\n{}", stdout(&output));
    }
    let again = run(&home, &args, &[]);
    assert_eq!(again.status.code(), Some(5), "nothing is written over: {}", stderr(&again));
}

/// Every file below `folder`, with its bytes.
fn files(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).expect("readable");
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn inspect_reads_a_stopped_node_changes_nothing_and_refuses_a_running_one() {
    let home = Home::new();
    let folder = home.folder.path().join("demo");
    let data = folder.to_str().expect("a plain path");
    let base = 21_400 + (std::process::id() % 400) * 50;
    let mut demo = synod::Demo::start(
        &home,
        &["--no-chaos", "--data", data, "--port-base", &base.to_string()],
    );
    demo.line_with("alice");
    let node = data_folder(&folder);
    let node = node.to_str().expect("a plain path");
    let refused = home.run(&["inspect", node]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("a node runs here"), "{}", stderr(&refused));
    demo.signal("INT");
    demo.ended();

    let before = files(Path::new(node));
    let output = home.run(&["inspect", node, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(files(Path::new(node)) == before, "nothing was changed");
    assert_eq!(home.left_over(), 0, "the copy is gone");
    let seen: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(seen["schema"], json!("synod/inspect/v1"));
    let groups = seen["journal"]["groups"].as_array().expect("groups");
    assert!(groups.len() > 1 && groups.iter().all(|group| group["last"].is_u64()), "{seen}");
    let rows = &seen["tables"]["rows"];
    // What was applied lately is in the log alone: tables are written behind it.
    assert!(rows["cluster-config"] == 1 && rows["applied"].as_u64() >= Some(1), "{seen}");
    assert!(rows["unknown"].is_null(), "{seen}");
    let table = stdout(&home.run(&["inspect", node]));
    assert!(table.contains("tables: fjall") && table.contains("journal: "), "{table}");
    assert_eq!(home.run(&["inspect", "/nowhere"]).status.code(), Some(3));
}

/// The first data folder of a node below `folder`.
fn data_folder(folder: &Path) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.join("journal").is_dir() {
            return folder;
        }
        let below = std::fs::read_dir(&folder).expect("readable");
        folders.extend(
            below.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()),
        );
    }
    panic!("no node has a folder in {}", folder.display());
}

#[test]
fn the_default_file_is_valid_and_what_holds_is_told_with_its_origin() {
    let home = Home::new();
    let default = stdout(&home.run(&["config", "default"]));
    assert!(default.contains("#engine = \"fjall\""), "{default}");
    let file = home.folder.path().join("node.toml");
    std::fs::write(&file, format!("{default}\n[extra]\n")).expect("written");
    let path = file.to_str().expect("a plain path");
    let refused = home.run(&["config", "show", "--config", path]);
    assert_eq!(refused.status.code(), Some(2), "an unknown key: {}", stderr(&refused));
    std::fs::write(&file, default.replace("#engine = \"fjall\"", "engine = \"sled\""))
        .expect("written");
    assert_eq!(home.run(&["config", "check", "--config", path]).status.code(), Some(0));
    let told = stdout(&home.run(&["config", "show", "--origin", "--config", path]));
    for line in ["file     storage.engine = \"sled\"", "default  storage.segment_bytes = 16777216"]
    {
        assert!(told.lines().any(|told| told == line), "{line}\n{told}");
    }
    let json = stdout(&home.run(&["config", "show", "--json", "--config", path]));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["schema"], json!("synod/config-show/v1"));
    let schema: Value =
        serde_json::from_str(&stdout(&home.run(&["config", "schema"]))).expect("JSON");
    assert_eq!(schema["$id"], json!("synod/config/v1"));
    assert_eq!(home.run(&["config", "show", "--config", "/nowhere.toml"]).status.code(), Some(3));
}
