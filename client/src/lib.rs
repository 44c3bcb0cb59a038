//! The Rust client of Synod: sends each message once, in order, across lost links and lost nodes, and receives each message
//! once, in order.
//!
//! [`Client::connect`] starts one task that owns the link. What must be right lives in a core without IO (`core`); the
//! task moves its frames and its time. A message that was handed over is tried again at node after node under the same
//! message id until it is stored or patience ends, and then the answer says honestly what is known.
//!
//! A client that is begun on a [`store`] ([`Client::connect_kept`]) survives its own end: what waits to be sent, what was
//! received and how far it got are in the store before anything is promised to anybody. Without one everything is in memory:
//! an application that must survive keeps message ids of its own and sends again.

mod client;
mod config;
mod connect;
mod core;
mod entropy;
mod error;
mod inbox;
mod kept;
mod message;
mod operations;
mod rest;
pub mod store;
mod task;

pub use client::{Client, Sending, login, register};
pub use config::{ASK_PATIENCE, Config, Credentials, SEND_PATIENCE, Transport};
pub use connect::Connect;
pub use error::{AskError, CallError, Certainty, Retry, SendError};
pub use inbox::Inbox;
pub use kept::BeginError;
pub use message::{
    Consistency, Group, HistoryQuery, Incoming, Outgoing, Page, Receipt, Standing, To,
};
pub use operations::Operations;
