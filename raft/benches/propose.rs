//! Throughput of proposing: three nodes in this process, over a network and disks in memory, groups on
//! their own threads. It measures this room and the engine alone: no sockets, no barriers, no tables.
//!
//! `cargo bench -p raft --bench propose`; a number as argument sets the seconds of a cell.

#[path = "../tests/cluster/harness.rs"]
mod harness;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use harness::{Cluster, nodes::ALL};
use raft::{Group, GroupId};
use tokio::time::Instant;

/// As long as a short message with its frame.
const COMMAND_BYTES: usize = 512;

/// Few segments: the simulated disk's cost grows with the number of its files.
const SEGMENT_BYTES: u64 = 64 << 20;

fn main() {
    let seconds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(2);
    println!("groups  clients  committed/s    p50 us    p99 us");
    for (groups, clients) in [(1, 1), (1, 64), (1, 512), (16, 64), (16, 512), (64, 512)] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(cell(groups, clients, Duration::from_secs(seconds)));
    }
}

async fn cell(groups: u32, clients: u32, lasting: Duration) {
    let cluster = Cluster::start_with(groups, SEGMENT_BYTES, |config| {
        config.threads = 1;
        // Leaders stay where they are while it is measured.
        config.balance_after = Duration::from_secs(3600);
    })
    .await;
    let mut leaders = Vec::new();
    for number in 1..=groups {
        let group = GroupId(number);
        cluster.write(group, "first").await;
        leaders.push(cluster.group(cluster.leader(group).await, group));
    }
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let group = leaders[client as usize % leaders.len()].clone();
            tokio::spawn(closed_loop(group, stop.clone(), done.clone()))
        })
        .collect();
    tokio::time::sleep(lasting / 4).await;
    let (begun, before) = (Instant::now(), done.load(Ordering::Relaxed));
    tokio::time::sleep(lasting).await;
    let rate = (done.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.expect("a client ends"));
    }
    waits.sort_unstable();
    assert!(!waits.is_empty(), "nothing was committed");
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
    println!("{groups:6}  {clients:7}  {rate:11.0}  {:8}  {:8}", at(0.5), at(0.99));
    assert_eq!(cluster.running(), ALL, "nobody fell over");
    cluster.stop().await;
}

/// Proposes as fast as it is answered; returns all waits in microseconds.
async fn closed_loop(group: Group, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Vec<u64> {
    let command = Bytes::from(vec![b'x'; COMMAND_BYTES]);
    let mut waits = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if group.propose(command.clone()).await.is_err() {
            // A starved machine: the rate will tell.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        waits.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        done.fetch_add(1, Ordering::Relaxed);
    }
    waits
}
