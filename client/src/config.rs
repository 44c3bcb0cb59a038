//! What a client must be told: where the cluster is, whom to trust, how patient to be, and who it is.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use chat::{DeviceId, Timestamp, UserId};

/// How long a send is tried by default before its caller is told that it did not come through.
pub const SEND_PATIENCE: Duration = Duration::from_secs(30);
/// How long a confirmation or a page of history is asked for by default.
pub const ASK_PATIENCE: Duration = Duration::from_secs(10);

/// Which transport carries the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// QUIC, ALPN `synod/1`.
    #[default]
    Quic,
    /// A WebSocket with binary frames, where UDP does not pass.
    WebSocket,
}

/// Where the cluster is and how to deal with it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Client-plane addresses of nodes; any of them answers for all. Tried in turn, the first first.
    pub nodes: Vec<SocketAddr>,
    /// The authorities that sign the nodes' certificates, in PEM. Nobody else is trusted.
    pub ca_pem: Vec<u8>,
    /// Which transport carries the link.
    pub transport: Transport,
    /// How long a send is tried before it is given up; see [`SendError`](crate::SendError).
    pub send_patience: Duration,
    /// How long a confirmation, a page of history or a REST call is asked for.
    pub ask_patience: Duration,
    /// Confirm each message as delivered when the application takes the item after it from the
    /// [`Inbox`](crate::Inbox): then the message has been dealt with. Off: the application confirms.
    pub confirm_delivered: bool,
}

impl Config {
    /// The usual settings for a cluster at these addresses.
    pub fn new(nodes: Vec<SocketAddr>, ca_pem: Vec<u8>) -> Config {
        Config {
            nodes,
            ca_pem,
            transport: Transport::default(),
            send_patience: SEND_PATIENCE,
            ask_patience: ASK_PATIENCE,
            confirm_delivered: true,
        }
    }
}

/// One device's session. Whoever holds it is this device. Its `Debug` shows no token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub user: UserId,
    /// On which device.
    pub device: DeviceId,
    /// Opens links and REST calls until it expires.
    pub access: String,
    /// Gets the next pair of tokens, once.
    pub refresh: String,
    /// When the access token expires by the cluster's clock, if the cluster said so.
    pub expires_at: Option<Timestamp>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("device", &self.device)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
