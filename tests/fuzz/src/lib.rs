//! Every decoder that reads bytes from outside or from disk, as a function that any bytes may be thrown at.
//!
//! A target panics when a law is broken: a decoder panicked, or what was read is not what is written and read again.
//! `cargo xtask fuzz` looks for such bytes, guided by coverage; what was ever found and what it grew from is kept in
//! `corpus/` and thrown again by a plain `cargo test`. Nothing here knows how bytes are found.

mod seeds;
mod targets;

pub use seeds::seeds;
pub use targets::{TARGETS, Target, target};
