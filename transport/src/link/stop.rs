//! How a reader learns that its node stops: a token of its own, polled only when there is nothing to read.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A stop signal that is registered once and costs one uncontended lock per idle poll.
pub(crate) struct Stop(Option<Pin<Box<WaitForCancellationFutureOwned>>>);

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stop")
    }
}

impl Stop {
    /// Stops when `parent` does. Links of one node do not contend: each has a child token.
    pub(crate) fn with(parent: &CancellationToken) -> Self {
        Self(Some(Box::pin(parent.child_token().cancelled_owned())))
    }

    /// Never stops: the dialling side.
    pub(crate) fn never() -> Self {
        Self(None)
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.0 {
            Some(stop) => stop.as_mut().poll(cx) == Poll::Ready(()),
            None => false,
        }
    }
}
