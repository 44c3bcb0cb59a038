//! `synod bench`: real, authenticated client connections, as many as asked for, and what they measure.
//!
//! The load shares the machine with the servers it measures, so it is lean: frames go straight over
//! `transport` links without the client's machinery, all connections of a thread run on one
//! single-threaded runtime, and nothing is shared between threads but a stop signal.

mod accounts;
mod arrivals;
mod connect;
mod crew;
mod driver;
mod fanout;
mod history;
mod measure;
mod pacer;
mod seats;
mod sending;
mod site;
mod wire;

pub(crate) use connect::connect;
pub(crate) use fanout::fanout;
pub(crate) use history::history;
pub(crate) use sending::send;
