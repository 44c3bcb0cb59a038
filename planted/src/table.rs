//! The table of planted bugs: what goes wrong, where, which check must catch it, and which faults bring it out.
//!
//! A check is one of the crate `checkers`, or a law that the simulator itself holds (`tests/sim`): `fsync`, a node goes on
//! after a barrier has failed; `adopted`, a start takes over what is not on the platter; `damage`, a start goes on
//! without what a damaged journal held. For these three what clients see would come too late or hardly ever: the next
//! barrier of the same segment covers what was not made durable, and one damaged replica is outvoted.

/// One planted bug, for whoever runs them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// The bug.
    pub bug: Bug,
    /// Its name in [`VARIABLE`], ledgers and reports.
    pub name: &'static str,
    /// Where it is planted.
    pub room: &'static str,
    /// The check that must catch it.
    pub check: &'static str,
    /// Faults that bring it out.
    pub faults: &'static str,
}

macro_rules! canaries {
    ($($bug:ident, $name:literal, $room:literal, $check:literal, $faults:literal, $what:literal;)*) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = concat!($what, ". Caught by `", $check, "`.")] $bug,)*
        }

        /// All of them, with the check that is expected to fire.
        pub const CANARIES: &[Canary] = &[
            $(Canary { bug: Bug::$bug, name: $name, room: $room, check: $check, faults: $faults },)*
        ];
    };
}

canaries! {
    AckBeforeFsync, "ack_before_fsync", "store", "account", "power loss of all nodes",
        "the journal tells completions before the barrier that covers them";
    FailedFsyncIgnored, "failed_fsync_ignored", "store", "fsync", "failing fsync",
        "a barrier that failed is taken for one that was done";
    SegmentWithoutFolderSync, "segment_without_folder_sync", "store", "account", "power loss of all nodes, small segments",
        "the name of a new segment is not made durable";
    RecoveryWithoutBarrier, "recovery_without_barrier", "store", "adopted", "kill in the midst of a write",
        "what a start adopts from the page cache is not made durable before it is reported";
    TruncateAtFirstBad, "truncate_at_first_bad", "store", "damage", "a flipped bit before the last batch",
        "damage before the last batch is taken for a torn tail and everything after it is cut";
    VoteNotSaved, "vote_not_saved", "raft", "leaders", "kill or power loss during elections",
        "a vote is granted without being written down";
    ReadIndexSkipped, "read_index_skipped", "raft", "order", "partition, pause",
        "a strong read is answered from whatever the node has applied";
    ReadIndexWithoutQuorum, "read_index_without_quorum", "raft", "order", "the leader's log lane stands still",
        "a leader answers strong reads without asking its quorum whether it still leads";
    RefusalForUnknown, "refusal_for_unknown", "node", "account", "kill, leader change",
        "what nobody knows is told as certainly not done";
    StateNotFlushed, "state_not_flushed", "node", "account", "snapshot storm, then power loss",
        "a snapshot counts as durable without a flush, and the log below it is purged";
    AppliedApartFromRows, "applied_apart_from_rows", "node", "account", "kill, power loss",
        "how far the log is applied is written before what it brought about";
    FollowerSkipsEntries, "follower_skips_entries", "node", "account", "none",
        "a replica that nobody waits at leaves out an entry now and then";
    FollowerAppliesBackwards, "follower_applies_backwards", "node", "prefix", "none",
        "a replica that nobody waits at applies the commands of an entry in the opposite order";
    DedupeLeftOut, "dedupe_left_out", "node", "account", "kill, lost links, retries",
        "a repeated send is stored once more";
    DedupeNotInSnapshot, "dedupe_not_in_snapshot", "node", "account", "snapshot storm with a lagging follower, retries",
        "the places of message ids are left out of an installed snapshot";
    HalfSnapshotInstalled, "half_snapshot_installed", "node", "account", "snapshot storm with a lagging follower",
        "the messages of an installed snapshot do not get into their places";
    HintWithoutGapCheck, "hint_without_gap_check", "node", "delivery", "full mailboxes",
        "a hint is delivered though the one before it never came";
    LagForgotten, "lag_forgotten", "node", "delivery", "full mailboxes",
        "a full mailbox drops hints without a note";
    OfflineForgotten, "offline_forgotten", "node", "delivery", "client-side partition, kill",
        "a link begins after what was stored while the device was away: pushed counts as delivered";
    RemovedStillFannedOut, "removed_still_fanned_out", "node", "authz", "racing removal",
        "a removed member stays in the audience";
    MembershipNotAtApply, "membership_not_at_apply", "chat", "authz", "racing removal",
        "a message is stored whoever its sender is by then";
    CursorOverwritten, "cursor_overwritten", "chat", "receipts", "duplicates, several links of one device",
        "a confirmation sets a cursor instead of raising it";
    TimeNotClamped, "time_not_clamped", "chat", "clock", "clock jumps",
        "a message takes the proposer's time even when it is earlier than the last one's";
    ChainNotExtended, "chain_not_extended", "chat", "prefix", "none",
        "a message takes over the chain of the one before it";
    ConfirmNotWritten, "confirm_not_written", "node", "receipts", "none",
        "a confirmation is answered without being proposed";
    ReceiptInvented, "receipt_invented", "node", "receipts", "none",
        "a sender is told at once that everybody has the message";
    DebtsForgotten, "debts_forgotten", "node", "inbox", "none",
        "what a conversation owes to its members' lists is never paid";
    AlwaysOnline, "always_online", "node", "presence", "none",
        "whoever is asked about is online";
}
