//! How a call between nodes can fail, and what the caller may conclude from it.
//!
//! Station 4 (route) and 6 (record) act on these: an entry or a forwarded command whose call was
//! [`PeerError::Lost`] may have arrived. This file decides nothing about retrying.

pub use crate::error::{Certainty, Retry};

/// Failure codes that the plane itself gives; handlers add their own.
pub mod code {
    /// More calls in flight than the bound allows. Nothing was done.
    pub const OVERLOADED: &str = "overloaded";
    /// A request, answer or chunk above its size bound. Nothing was done.
    pub const TOO_LARGE: &str = "too_large";
    /// The callee could not read the packet, or it does not belong on this stream.
    pub const MALFORMED: &str = "malformed";
}

/// Why a call to a peer has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// There is no live link, or the link ended before the call left: it was definitely not sent.
    #[error("the peer cannot be reached; nothing was sent")]
    Unreachable,
    /// The link ended while the call was under way: the peer may have acted on it.
    #[error("the link was lost; the peer may have received the call")]
    Lost,
    /// No answer within the caller's deadline: the peer may have acted, or may still.
    #[error("no answer within the deadline")]
    Timeout,
    /// The peer, or this end of the plane, refused with a stable code.
    #[error("refused: {0}")]
    Refused(String),
}

impl PeerError {
    pub(super) fn refused(code: &str) -> PeerError {
        PeerError::Refused(code.to_owned())
    }

    /// Whether the peer may have acted. A handler's own refusal is as definite as its code says.
    pub fn certainty(&self) -> Certainty {
        match self {
            PeerError::Unreachable | PeerError::Refused(_) => Certainty::Definite,
            PeerError::Lost | PeerError::Timeout => Certainty::Unknown,
        }
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            PeerError::Refused(code) if code == code::TOO_LARGE || code == code::MALFORMED => {
                Retry::Never
            }
            _ => Retry::Same,
        }
    }
}

/// Why the plane could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listening address could not be taken.
    #[error("cannot listen for peers on {address}: {source}")]
    Listen {
        /// What was asked for.
        address: std::net::SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Certificate, key or authority are not usable.
    #[error("the node's identity is not usable: {0}")]
    Identity(String),
    /// A setting that cannot work.
    #[error("peer plane setting {field}: {reason}")]
    Setting {
        /// Which one.
        field: &'static str,
        /// Why not.
        reason: &'static str,
    },
}

/// Why a link to a peer is not up. The last one is kept for each lane, see
/// [`PeerStatus`](super::PeerStatus).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkFailure {
    /// Nobody listens there, or the name does not resolve.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The certificates do not fit: another authority, another cluster, another node.
    #[error("certificate refused: {0}")]
    Certificate(String),
    /// No answer in time.
    #[error("no answer in time")]
    Hung,
    /// The connection ended.
    #[error("connection lost: {0}")]
    Broken(String),
    /// Nothing was heard for too long.
    #[error("silent for too long")]
    Silent,
}

/// How many links this node has refused to serve, by reason, since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedLinks {
    /// The handshake failed: no certificate, or one of another authority.
    pub handshake: u64,
    /// The certificate is of this authority but names no known peer of this cluster.
    pub not_a_peer: u64,
    /// The peer already has as many connections as it may.
    pub too_many: u64,
}
