//! Why nobody could be reached, or did not answer.

use std::net::SocketAddr;

use crate::{Certainty, Retry, TlsError};

/// Why no link came about. Nothing of the application was sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The trust anchor cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody answered at the address, or the connection broke while it was made.
    #[error("cannot reach {address}: {detail}")]
    Unreachable {
        /// Who was dialled.
        address: SocketAddr,
        /// What the system said.
        detail: String,
    },
    /// The other side's certificate is not one this client trusts.
    #[error("{address} shows a certificate that is not trusted: {detail}")]
    Untrusted {
        /// Who was dialled.
        address: SocketAddr,
        /// What TLS said.
        detail: String,
    },
    /// The connection took longer to make than the deadline.
    #[error("{address} did not answer in time")]
    TimedOut {
        /// Who was dialled.
        address: SocketAddr,
    },
    /// The other side answered, and said no.
    #[error("the other side refused with HTTP status {status}")]
    Refused {
        /// HTTP status of the answer.
        status: u16,
    },
    /// The answer is not what the protocol allows, or is larger than the limit.
    #[error("the answer makes no sense: {0}")]
    Protocol(String),
    /// A request was sent, and its answer did not come in time or not completely.
    #[error("no complete answer: {0}")]
    Interrupted(String),
}

impl DialError {
    /// Whether a request may have had an effect. A link that never stood had none.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        match self {
            Self::Interrupted(_) | Self::Protocol(_) => Certainty::Unknown,
            _ => Certainty::Definite,
        }
    }

    /// What to try next.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Tls(_) | Self::Untrusted { .. } | Self::Protocol(_) => Retry::Never,
            Self::Refused { status } if *status < 500 && *status != 429 => Retry::Never,
            _ => Retry::Elsewhere,
        }
    }
}
