//! The client plane over real sockets on loopback: links of every kind, REST, abuse, and stopping.
//!
//! Each test starts its own plane on a free port. Tests wait for what has to happen, under one deadline
//! that only a defect reaches; none measures time.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "deadlines of tests are in real time, and a test stops at the first thing that fails"
)]

mod abuse;
mod deadlines;
mod links;
mod rest;
mod stop;
mod support;
