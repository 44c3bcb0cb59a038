//! The port through which a client reaches the world, and its adapter over `transport`. A client that is given another
//! adapter runs without a network.

use std::net::SocketAddr;

use futures::future::BoxFuture;
use transport::{ClientTls, DialError, Encoding, Link};

use crate::rest::Rest;
use crate::{CallError, Config, Credentials, Transport};

/// What a client needs of the world.
pub trait Connect: Send + Sync + 'static {
    /// Opens a link to a node. Nobody has said who they are on it yet.
    fn dial(&self, node: SocketAddr) -> BoxFuture<'static, Result<Link, DialError>>;

    /// Exchanges the refresh token for the next pair of tokens.
    fn refresh(&self, old: Credentials) -> BoxFuture<'static, Result<Credentials, CallError>>;
}

/// The real world.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    tls: ClientTls,
    transport: Transport,
    rest: Rest,
}

impl Network {
    /// # Errors
    /// [`CallError::BadConfig`] when the authorities cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Network, CallError> {
        let rest = Rest::new(config)?;
        Ok(Network { tls: rest.tls().clone(), transport: config.transport, rest })
    }
}

impl Connect for Network {
    fn dial(&self, node: SocketAddr) -> BoxFuture<'static, Result<Link, DialError>> {
        let (tls, transport) = (self.tls.clone(), self.transport);
        Box::pin(async move {
            match transport {
                Transport::Quic => transport::dial::quic(&tls, node).await,
                Transport::WebSocket => {
                    transport::dial::websocket(&tls, node, Encoding::Binary, None).await
                }
            }
        })
    }

    fn refresh(&self, old: Credentials) -> BoxFuture<'static, Result<Credentials, CallError>> {
        let rest = self.rest.clone();
        Box::pin(async move { rest.refresh(&old).await })
    }
}
