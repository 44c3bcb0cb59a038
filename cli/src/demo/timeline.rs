//! The one clock of a demo: zero until the bots begin to talk.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

/// Cheap to clone; every clone shows the same time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline(Arc<OnceLock<Instant>>);

impl Timeline {
    /// The bots begin to talk now. Only the first call counts.
    pub(crate) fn begin(&self) {
        self.0.get_or_init(Instant::now);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.get().is_some()
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.get().map_or(Duration::ZERO, Instant::elapsed)
    }
}
