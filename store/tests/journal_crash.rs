//! SIGKILL at random moments, again and again on one growing folder: every acknowledged entry is
//! there.
//!
//! A kill keeps the page cache, so this proves framing, order and recovery, not the barrier (see
//! `journal_plug.rs`).

#![allow(clippy::disallowed_methods, reason = "a process is stopped at a moment of real time")]

#[path = "support/child.rs"]
mod child;
#[path = "support/journal.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;
use store::{FsDisk, Journal};
use support::{Model, Random, config};

const ROUNDS: u64 = 32;

/// The other half of the next test, which starts it in a process of its own; alone it does nothing.
#[test]
fn writes_until_it_is_killed() {
    child::write_if_child();
}

#[test]
fn no_acknowledged_entry_is_lost_by_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut model = Model::default();
    let mut random = Random(2026);
    let mut total = 0;
    for round in 0..ROUNDS {
        let (mut process, lines) = child::start("writes_until_it_is_killed", folder.path(), round);
        std::thread::sleep(Duration::from_micros(random.below(200_000)));
        process.kill().expect("it is our child");
        process.wait().expect("it is our child");
        let acknowledged = child::acknowledged(lines);
        let disk = FsDisk::open(folder.path()).expect("opens");
        let journal = Journal::open(Arc::new(disk), config()).expect("opens after a kill");
        let judged = child::judge(&journal, &model, round, acknowledged);
        model = judged.unwrap_or_else(|why| panic!("round {round}: {why}"));
        total += acknowledged;
    }
    println!("{ROUNDS} kills, {total} acknowledged calls");
    assert!(total > ROUNDS, "the children hardly wrote");
}
