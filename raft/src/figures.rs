//! What this room counts, as metrics. Handles are made once: a macro looks its name up each time it is passed.
//!
//! The names are described in `node`'s one list; no label names a group, a user or a conversation.

use std::sync::LazyLock;

use metrics::{Counter, Histogram, counter, histogram};

/// Entries handed to the engine.
pub(crate) static ENTRIES: LazyLock<Counter> = LazyLock::new(|| counter!("raft_entries_total"));
/// Commands that travelled in one entry.
pub(crate) static ENTRY_COMMANDS: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("raft_entry_commands"));
/// From the hand-over of an entry to its outcome: a quorum's disks, the network and the machine.
pub(crate) static COMMIT_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("raft_commit_seconds"));
/// Committed entries through the machine, one batch.
pub(crate) static APPLY_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("raft_apply_seconds"));
/// Entries in such a batch.
pub(crate) static APPLY_ENTRIES: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("raft_apply_entries"));
/// Commands that were answered.
pub(crate) static APPLIED: LazyLock<Counter> =
    LazyLock::new(|| counter!("raft_proposals_total", "result" => "applied"));
/// Readers that one round of heartbeats served.
pub(crate) static ROUND_READERS: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("raft_read_round_readers"));
/// Leaders that this replica came to know.
pub(crate) static LEADER_CHANGES: LazyLock<Counter> =
    LazyLock::new(|| counter!("raft_leader_changes_total"));
