//! Station 4, route: conversation → slot → shard → leader, with at most one forward.
//!
//! The router never decides and never retries what may have happened: a command that certainly was not proposed is
//! offered again while its deadline lasts; anything else is answered `Unknown`, and the same command may be repeated.

mod owners;
mod post;
mod replicated;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::Outcome;
use futures::future::BoxFuture;
use thiserror::Error;

pub(crate) use owners::Owners;
pub(crate) use post::{PATIENCE, Post};
pub(crate) use replicated::Replicated;

/// How a command ended that could not be answered with an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RouteError {
    /// The shard has more waiting than it may hold. Nothing was written.
    #[error("the shard is busy; repeat in {retry_after:?}")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// No leader with a live quorum could be reached in time. Nothing was written.
    #[error(
        "the shard has no leader with a quorum; repeat in {retry_after:?}, best at another node"
    )]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// The answer was lost: the command may or may not have been written.
    #[error("the answer was lost; repeating the same command is safe")]
    Unknown,
    /// This node is stopping.
    #[error("the node is stopping; go to another")]
    Stopped,
}

/// Whether a failed command can still have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It certainly did not.
    Definite,
    /// It may have.
    Unknown,
}

impl RouteError {
    /// Whether the command can still have taken effect.
    #[must_use]
    pub(crate) fn certainty(&self) -> Certainty {
        match self {
            Self::Overloaded { .. } | Self::Unavailable { .. } | Self::Stopped => {
                Certainty::Definite
            }
            Self::Unknown => Certainty::Unknown,
        }
    }

    /// How long to wait before the same command is worth repeating.
    #[must_use]
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Self::Overloaded { retry_after } | Self::Unavailable { retry_after } => *retry_after,
            Self::Unknown | Self::Stopped => Duration::from_millis(50),
        }
    }
}

/// The outcome of a command, some time later.
pub(crate) type Routed = BoxFuture<'static, Result<Outcome, RouteError>>;

/// What a router does. One production adapter, and scripted ones in tests.
pub(crate) trait Route: Send + Sync + 'static {
    /// Takes a place in line for `command` at the shard of `slot` now: calls for one slot are proposed in the order of the calls.
    fn submit(&self, slot: u16, command: Bytes) -> Routed;

    /// Resolves when this node has applied everything that was acknowledged for `slot` before the call.
    fn linearize(&self, slot: u16) -> BoxFuture<'static, Result<(), RouteError>>;
}

/// A cheap handle on the node's router.
#[derive(Clone)]
pub(crate) struct Router(Arc<dyn Route>);

impl Router {
    /// A handle on `route`.
    pub(crate) fn new(route: Arc<dyn Route>) -> Self {
        Self(route)
    }

    /// See [`Route::submit`].
    pub(crate) fn submit(&self, slot: u16, command: Bytes) -> Routed {
        self.0.submit(slot, command)
    }

    /// See [`Route::linearize`].
    pub(crate) async fn linearize(&self, slot: u16) -> Result<(), RouteError> {
        self.0.linearize(slot).await
    }
}
