//! The port to servers that are not ours. The production adapter is the outgoing client of `transport`.

use futures::future::BoxFuture;
use transport::outgoing::{Answer, Client, Error, Request};

/// Asks a server somewhere. Sends nothing twice and answers in bounded time.
pub trait Outgoing: Send + Sync + 'static {
    /// See [`Client::send`].
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Answer, Error>>;
}

impl Outgoing for Client {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Answer, Error>> {
        let client = self.clone();
        Box::pin(async move { Client::send(&client, request).await })
    }
}

/// A world without other servers, for simulations.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOutgoing;

impl Outgoing for NoOutgoing {
    fn send(&self, _request: Request) -> BoxFuture<'static, Result<Answer, Error>> {
        Box::pin(async { Err(Error::Unreachable("there is nobody".to_owned())) })
    }
}
