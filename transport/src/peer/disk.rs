//! What nodes tell each other of their disks, with every request of the raft lane.

use std::sync::atomic::{AtomicBool, Ordering};

/// How a node's disk is, in its own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskState {
    /// It takes long: whoever has it keeps its votes and should lead nothing.
    pub slow: bool,
    /// Hardly anything is free: what is led there takes no new messages.
    pub full: bool,
}

/// The same, as it was said last.
#[derive(Debug, Default)]
pub(super) struct SaidDisk {
    slow: AtomicBool,
    full: AtomicBool,
}

impl SaidDisk {
    pub(super) fn get(&self) -> DiskState {
        // The two say nothing about each other.
        let [slow, full] = [&self.slow, &self.full].map(|flag| flag.load(Ordering::Relaxed));
        DiskState { slow, full }
    }

    pub(super) fn set(&self, said: DiskState) {
        self.slow.store(said.slow, Ordering::Relaxed);
        self.full.store(said.full, Ordering::Relaxed);
    }
}
