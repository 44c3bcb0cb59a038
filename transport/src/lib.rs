//! Bytes between processes: stations 1 (arrive) and 10 (deliver), and everything nodes say to each other.
//!
//! Two planes live here. The **client plane** ([`client_plane`], [`dial`], [`http`]) turns QUIC and
//! WebSocket connections into one thing, a [`Link`]: whole frames in, whole frames out, every phase
//! under a deadline, every size under a cap. The **peer plane** ([`peer`]) carries calls between the
//! nodes of a cluster over mutual TLS. Beside both, [`outgoing`] asks servers that are not ours.
//!
//! This room does not know what a frame means: it never decodes one, never authenticates a user and
//! never decides anything. Bytes from outside end a link with a typed reason; they never panic.
//! It is the only room that names a TLS stack, a QUIC stack or an HTTP server.

pub mod authority;
pub mod client_plane;
pub mod dial;
#[doc(hidden)]
pub mod doors;
pub mod error;
mod expiry;
pub mod http;
pub mod link;
pub mod outgoing;
pub mod peer;
pub mod tls;

pub use client_plane::OnLink;
pub use dial::DialError;
pub use error::{Certainty, Retry};
pub use expiry::expires_at_ms;
pub use link::{
    CloseReason, Encoding, Link, LinkError, LinkKind, LinkReader, LinkWriter, memory_link,
};
pub use tls::{ClientTls, ServerIdentity, TlsError};
