//! A node's wall clock: the world's time, plus how wrong it is. It may jump.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chat::Timestamp;

/// When every run begins, milliseconds since 1970.
const EPOCH: u64 = 1_790_000_000_000;

/// See the module.
#[derive(Default)]
pub(crate) struct Wall {
    now_ms: AtomicU64,
    wrong_ms: AtomicI64,
}

impl Wall {
    /// The world's time has come here.
    pub(crate) fn tick(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Is wrong by so much from now on.
    pub(crate) fn jump(&self, wrong_ms: i64) {
        self.wrong_ms.store(wrong_ms, Ordering::Relaxed);
    }
}

impl node::Clock for Wall {
    fn now(&self) -> Timestamp {
        let right = EPOCH + self.now_ms.load(Ordering::Relaxed);
        Timestamp(right.saturating_add_signed(self.wrong_ms.load(Ordering::Relaxed)))
    }
}
