//! The latch for what must end the process: the first fatal reason wins and everybody hears it. It
//! does not end anything by itself.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Fatal;

/// Shared by all groups of a node.
#[derive(Clone)]
pub(crate) struct Stop {
    reason: Arc<watch::Sender<Option<Fatal>>>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self { reason: Arc::new(watch::Sender::new(None)) }
    }

    /// Reports a reason. Later ones are only logged.
    pub(crate) fn report(&self, fatal: Fatal) {
        tracing::error!(%fatal, "a group or the journal cannot go on");
        self.reason.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(fatal);
            }
            first
        });
    }

    /// Waits for a reason.
    pub(crate) async fn wait(&self) -> Fatal {
        let mut reason = self.reason.subscribe();
        loop {
            if let Some(fatal) = reason.borrow_and_update().clone() {
                return fatal;
            }
            if reason.changed().await.is_err() {
                unreachable!("the sender lives as long as this handle");
            }
        }
    }
}
