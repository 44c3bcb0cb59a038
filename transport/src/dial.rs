//! Dialling a client plane: how clients, bots and tests get a link.
//!
//! The same link as at the server, with the client's role in each protocol. Retrying, resuming and
//! choosing another node are decided by the caller.

mod error;
mod quic;
mod tcp;
mod websocket;

use std::time::Duration;

pub use self::{error::DialError, quic::quic, websocket::websocket};

pub(crate) use self::{quic::Endpoints, tcp::connect, websocket::bearer_value};

/// How long a connection may take to stand, all handshakes included.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(5);
