//! A row that one node's disk has lost without a word: the others have it, and the operator is told which node, which shard
//! and where.

#![allow(clippy::disallowed_methods, reason = "it watches and alters real processes in real time")]

#[path = "support/load.rs"]
mod load;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/synod.rs"]
mod synod;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use client::Config;
use load::Load;
use nodes::Formed;
use proto::keys::{self, Key};
use serde_json::Value;
use store::tables::{Batch, KeyRange, open_as_they_lie};
use synod::{Home, eventually, stdout};

/// A comparison takes about three seconds. Who leads may change, so it is asked for again and again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One call of an operations port.
fn call(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!("{method} {path} HTTP/1.0\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Takes away the place of one message's id, without which a repeated send would be stored twice. The slot that it lay in.
fn lose_a_row(tables: &Path) -> u16 {
    let (_, tables) = open_as_they_lie(tables).expect("nobody has them open");
    let all = keys::slot_range(0, chat::SLOTS);
    let mut rows = tables.view(KeyRange::new(all.start, all.end)).expect("readable");
    let lost = loop {
        let (key, _) = rows.next().expect("readable").expect("messages were stored");
        if let Ok(Key::MessageRef(conversation, ..)) = keys::parse(&key) {
            break (key, conversation.slot());
        }
    };
    drop(rows);
    let mut batch = Batch::new();
    batch.delete(lost.0);
    tables.write(batch).expect("writable");
    tables.flush().expect("writable");
    lost.1
}

/// Comparisons of this node in which all were the same.
fn same(address: &SocketAddr) -> f64 {
    let metrics = call(*address, "GET", "/metrics");
    let is_same = |line: &&str| {
        line.starts_with("synod_digest_comparisons_total") && line.contains("\"same\"")
    };
    let count = |line: &str| line.rsplit(' ').next().and_then(|count| count.parse().ok());
    metrics.lines().find(is_same).and_then(count).unwrap_or_default()
}

/// The group that has this slot.
fn owner(formed: &Formed<'_>, slot: u16) -> u32 {
    let shards: Vec<Value> =
        (1..=4).map(|shard| formed.told(&["shard", "show", &shard.to_string()])).collect();
    let owner = shards.iter().find(|shard| {
        let edge = |at: usize| shard["slots"][at].as_u64().expect("a slot");
        (edge(0)..edge(1)).contains(&u64::from(slot))
    });
    let owner = owner.unwrap_or_else(|| panic!("{slot} has an owner: {shards:?}"));
    u32::try_from(owner["group"].as_u64().expect("a number")).expect("a small one")
}

#[test]
fn a_row_that_a_stopped_node_lost_is_found_when_it_runs_again() {
    let home = Home::new();
    let mut formed = Formed::start(&home, 3);
    let ca = std::fs::read(&formed.ca).expect("the authority");
    let all: Vec<_> = formed.sites.iter().map(|site| site.client).collect();
    let load = Load::begin(&Config::new(all, ca));
    load.goes_on(60);
    drop(load.end());
    let operations: Vec<_> = formed.sites.iter().map(|site| site.operations).collect();
    let compare = || {
        for address in &operations {
            let answer = call(*address, "POST", "/compare");
            assert!(answer.contains(" 202 "), "{answer}");
        }
    };
    let explain = |formed: &Formed<'_>, shard: u32, node: usize| {
        let (shard, node) = (shard.to_string(), node.to_string());
        formed.told(&["shard", "explain", &shard, "--addr", &node])
    };
    eventually("replicas were compared, and are the same", || {
        compare();
        std::thread::sleep(LOOK_AGAIN);
        operations.iter().map(same).sum::<f64>() >= 5.0
    });
    for shard in 0..=4 {
        assert_ne!(explain(&formed, shard, 1)["verdict"], "diverged");
    }

    formed.sites[1].terminate();
    eventually("node 2 has stopped", || formed.sites[1].has_ended());
    formed.kill(2);
    let slot = lose_a_row(&formed.sites[1].data.join("tables"));
    formed.restart(2);
    let group = owner(&formed, slot);
    for node in 1..=3 {
        eventually("it is told through every node", || {
            compare();
            std::thread::sleep(LOOK_AGAIN);
            explain(&formed, group, node)["verdict"] == "diverged"
        });
        let told = explain(&formed, group, node);
        assert_eq!(told["next"], "synod node show 2", "{told}");
        let text = told.to_string();
        for what in ["the state of node 2 is not that of nodes 1, 3", &format!("slots {slot}\"")] {
            assert!(text.contains(what), "{what} is not in {text}");
        }
    }
    for shard in (0..=4).filter(|shard| *shard != group) {
        let told = explain(&formed, shard, 1);
        assert_ne!(told["verdict"], "diverged", "nobody else is blamed: {told}");
    }
    for (node, address) in (1..).zip(&operations) {
        assert!(call(*address, "GET", "/metrics").contains("\nsynod_groups_diverged 1\n"));
        let health = home.run(&["health", "--operations", &address.to_string(), "--json"]);
        let names = stdout(&health).contains("the state of node 2 is not that of nodes 1, 3");
        assert_eq!(names, node == 2, "{}", stdout(&health));
    }
    assert!(formed.sites[0].log().contains("replicas differ"), "{}", formed.sites[0].log());
}
