//! The targets by name.

mod frames;
mod log;
mod nodes;
mod rows;

/// A decoder.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: of its corpus, on the command line.
    pub name: &'static str,
    /// Throws bytes at it; panics when a law is broken.
    pub throw: fn(&[u8]),
    /// The longest input worth trying: what the room's own limits let through would be slow to search.
    pub bytes_max: usize,
}

const fn target_of(name: &'static str, throw: fn(&[u8])) -> Target {
    Target { name, throw, bytes_max: 4096 }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target_of("client_frame", frames::client_frame),
    target_of("server_frame", frames::server_frame),
    target_of("spec_json", frames::spec_json),
    target_of("session_text", frames::session_text),
    target_of("session_binary", frames::session_binary),
    target_of("websocket", frames::websocket),
    target_of("token", frames::token),
    target_of("config", frames::config),
    target_of("peer_message", nodes::peer_message),
    target_of("raft_call", nodes::raft_call),
    target_of("raft_answer", nodes::raft_answer),
    target_of("snapshot_head", nodes::snapshot_head),
    target_of("snapshot_chunk", nodes::snapshot_chunk),
    target_of("raft_disk", nodes::raft_disk),
    target_of("log_entry", log::log_entry),
    target_of("command", log::command),
    target_of("outcome", log::outcome),
    target_of("cluster", log::cluster),
    target_of("backup", rows::backup),
    target_of("key", rows::key),
    target_of("row", rows::row),
    target_of("journal_segment", log::journal_segment),
    target_of("journal_records", log::journal_records),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}
