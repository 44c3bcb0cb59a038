//! Starts a future before anybody waits for it. A call that only has to put a message into a queue and
//! then wait for the answer takes its place in that queue at once, on the caller's thread: the order
//! of calls is kept without a task between.

use std::{
    future::Future,
    task::{Context, Poll, Waker},
};

use futures::{FutureExt as _, future::BoxFuture};

/// Polls `future` once. What is left, if anything, waits for whoever awaits the result.
pub(crate) fn start<F>(future: F) -> BoxFuture<'static, F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    // Without a budget: the first poll must get as far as the queue.
    let mut future = tokio::task::unconstrained(future).boxed();
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => std::future::ready(output).boxed(),
        Poll::Pending => future,
    }
}
