//! Looks at all nodes all the time and notes whom most of them name as the leader of what: for the timeline of a report, and
//! because what a majority has granted may never go back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use checkers::{Conn, F};

use crate::cluster::{Eyes, rest};
use crate::record::Tape;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);

/// A thread that looks.
#[derive(Debug)]
pub(super) struct Witness {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    #[expect(clippy::disallowed_methods, reason = "it looks while this thread breaks things")]
    pub(super) fn start(eyes: Eyes, tape: Arc<Tape>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            let mut known: BTreeMap<u32, (u8, u64)> = BTreeMap::new();
            while !over.load(Ordering::Relaxed) {
                for (shard, (node, term)) in eyes.leaderships() {
                    if known.insert(shard, (node, term)) != Some((node, term)) {
                        tape.saw(node, Conn::None, F::Leader { shard, node, term });
                    }
                }
                rest(EVERY);
            }
        });
        Self { done, thread: Some(thread) }
    }

    pub(super) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A witness that broke has seen what it has seen.
            let _ = thread.join();
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.end();
    }
}
