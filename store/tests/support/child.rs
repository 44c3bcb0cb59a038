//! A process that writes to a journal until it is stopped, and what its parent can say about it
//! afterwards.
//!
//! The child is this very test program, started again. It reports each acknowledged call on its
//! standard output; the parent draws the same calls from the same seed, so it knows what every one
//! of them was.

#![allow(unreachable_pub, reason = "a module of a test program")]

use super::support::{self, Call, Group, Model, Random};
use bytes::Bytes;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{FsDisk, Journal};

pub const GROUPS: u32 = 6;
const FOLDER: &str = "JOURNAL_CHILD_FOLDER";
const SEED: &str = "JOURNAL_CHILD_SEED";
/// Calls that may be under way. The parent looks no further beyond the last acknowledged one.
pub const UNDER_WAY_MAX: u64 = 64;

/// The state of a journal, taken from itself.
pub fn model_of(journal: &Journal) -> Model {
    let groups = (0..GROUPS).map(|group| {
        let (log, state) = (journal.group(group), support::state(journal, group));
        let entries = log.read(0, u64::MAX, usize::MAX).expect("readable");
        let entries = entries.into_iter().map(|entry| (entry.index, entry)).collect();
        (group, Group { vote: state.vote, purged: state.purged, entries })
    });
    Model { groups: groups.filter(|(_, group)| *group != Group::default()).collect() }
}

/// The body of the child; does nothing in the parent.
pub fn write_if_child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let seed = std::env::var(SEED).expect("the parent sets it").parse().expect("a number");
    let disk = FsDisk::open(folder).expect("opens");
    let journal = Journal::open(Arc::new(disk), support::config()).expect("opens");
    let (mut model, mut random) = (model_of(&journal), Random(seed));
    let acknowledged = Arc::new(AtomicU64::new(0));
    println!("ready");
    for submitted in 1_u64.. {
        while submitted - acknowledged.load(Ordering::Acquire) > UNDER_WAY_MAX {
            std::thread::yield_now();
        }
        let call = model.draw(&mut random, GROUPS);
        model.apply(&call);
        let count = Arc::clone(&acknowledged);
        let done = Box::new(move |result: Result<(), store::StoreError>| {
            if result.is_err() {
                return; // The disk was taken away.
            }
            let line = format!("{submitted}\n");
            // One write, no buffer: what was printed was acknowledged, even if the next instruction
            // is never run.
            if std::io::stdout().lock().write_all(line.as_bytes()).is_ok() {
                count.store(submitted, Ordering::Release);
            }
        });
        let log = journal.group(call.group());
        support::submit(&log, &call, done);
        if submitted % 8 == 0 {
            log.save_committed(Bytes::copy_from_slice(&submitted.to_le_bytes()));
        }
        if journal.fatal().is_some() {
            return;
        }
    }
}

/// Starts the child; it has said that it is ready.
pub fn start(test: &str, folder: &Path, seed: u64) -> (Child, std::io::BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("this program can be started again");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    while !line.ends_with("ready\n") {
        line.clear();
        let read = std::io::BufRead::read_line(&mut lines, &mut line).expect("readable");
        assert!(read > 0, "the child ended before it was ready");
    }
    (child, lines)
}

/// The last call that the child reported as acknowledged; reads to the end.
pub fn acknowledged(lines: impl std::io::BufRead) -> u64 {
    let mut last = 0;
    for line in lines.lines().map_while(Result::ok) {
        let Ok(number) = line.parse::<u64>() else {
            continue;
        };
        assert_eq!(number, last + 1, "completions come in the order of submission");
        last = number;
    }
    last
}

/// Judges a journal that began as `base`, was written with `seed`, and of which `acknowledged`
/// calls were acknowledged.
pub fn judge(
    journal: &Journal,
    base: &Model,
    seed: u64,
    acknowledged: u64,
) -> Result<Model, String> {
    let (found, mut model, mut random) = (model_of(journal), base.clone(), Random(seed));
    for made in 0..=acknowledged + UNDER_WAY_MAX {
        let call = model.draw(&mut random, GROUPS);
        if made >= acknowledged {
            let parts = match &call {
                Call::Append { count, .. } => 0..*count,
                _ => 0..1,
            };
            for part in parts {
                let mut model = model.clone();
                if let Call::Append { group, from, term, .. } = call
                    && part > 0
                {
                    model.apply(&Call::Append { group, from, count: part, term });
                }
                model.groups.retain(|_, group| *group != Group::default());
                if model == found {
                    return Ok(found);
                }
            }
        }
        model.apply(&call);
    }
    Err(format!("no prefix after {acknowledged} acknowledged calls explains what was found"))
}
