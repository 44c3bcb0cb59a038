//! What the core wants done.

use std::net::SocketAddr;

use bytes::Bytes;

use super::LinkId;
use crate::{AskError, Credentials, Page, Receipt, SendError, Standing};

/// Names somebody who waits for an answer; chosen by whoever drives the core, never twice.
pub(crate) type Ticket = u64;

/// What the driver must do, in this order.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Open a link to this node.
    Dial(LinkId, SocketAddr),
    /// Write a frame.
    Write(LinkId, Bytes),
    /// End a link, or the dialling of it. Nothing more will be asked of it.
    Close(LinkId),
    /// Tell whoever holds the ticket.
    Settle(Settled),
    /// Say what the store holds: [`Core::compare`](super::Core::compare).
    Heads,
    /// Exchange the refresh token.
    Refresh(Credentials),
}

/// An answer for whoever holds the ticket. Each ticket is settled once.
#[derive(Debug, PartialEq)]
pub(crate) enum Settled {
    /// Of a message.
    Sent(Ticket, Result<Receipt, SendError>),
    /// Of a confirmation.
    Confirmed(Ticket, Result<Standing, AskError>),
    /// Of a read of history.
    Page(Ticket, Result<Page, AskError>),
}
