//! Every byte that outlives a call: client frames, messages between nodes, log entries, rows and their keys, and the
//! specification's own JSON. One place, so that a format is changed in one place, knowingly.
//!
//! [`frames`], [`log`], [`rows`] and [`peer`] are generated from `schema/`; the other modules turn them into the types of
//! `chat` and back. Decoding is strict and never panics: a [`DecodeError`] names the field. What a value means is decided
//! in `chat` and `cluster-config`; how bytes travel or rest is decided in `transport`, `raft` and `store`.
//!
//! The bytes in `golden/` were written once and are read for ever.

mod addressee;
#[cfg(test)]
mod arbitrary;
pub mod backup;
mod change;
pub mod cluster;
mod command;
mod entry;
mod error;
pub mod frame;
pub mod frames;
pub mod keys;
pub mod log;
mod outcome;
pub mod peer;
pub mod problem;
mod read;
pub mod row;
pub mod rows;
pub mod spec_json;
mod wire;

pub use addressee::Addressee;
pub use command::{
    Command, decode_command, encode_asset_command, encode_conversation_command, encode_outbox_done,
    encode_split, encode_storage_command, encode_user_command,
};
pub use entry::{decode_entry, encode_entry};
pub use error::DecodeError;
pub use outcome::{Answer, decode_answer, decode_outcome, encode_moved, encode_outcome};
pub use problem::{Problem, ProblemCode};
