//! Messages whose time has passed are erased, by the leader of their shard, through the log.
//!
//! A replica has no clock of its own in what it decides: the leader looks at the time and asks, and the log judges whether
//! it is so. Which conversations do not keep their messages for ever is known on every replica, from events and from a
//! walk over the rows, so that whoever begins to lead goes on. A conversation is looked at when its oldest message is due.
//!
//! What this does not do: it serves nothing and refuses nothing. What is asked for was judged by then, or is still there;
//! from its time until it is erased a message may be served for some seconds.

mod known;
mod worker;

pub(crate) use known::{Heard, Known};
pub(crate) use worker::Worker;
