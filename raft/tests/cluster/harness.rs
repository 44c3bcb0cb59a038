//! Three nodes in one process: their network, their machines and their disks, all in memory.

#![allow(dead_code, reason = "the tests and the benchmark each use a part of it")]

// Paths, because the benchmark takes this file from elsewhere.
#[path = "harness/nodes.rs"]
pub(crate) mod nodes;
#[path = "harness/sluggish.rs"]
pub(crate) mod sluggish;
#[path = "harness/table.rs"]
pub(crate) mod table;
#[path = "harness/wire.rs"]
pub(crate) mod wire;

use std::{future::Future, time::Duration};

pub(crate) use nodes::Cluster;

/// How long a condition may take to hold. Far longer than it should: only a broken claim waits so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let begun = tokio::time::Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
