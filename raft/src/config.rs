//! What an operator, or a test, may choose about this room. Every default says why.

use std::time::Duration;

use crate::{Error, Fatal, NodeId};

/// Entries in one message to a replica that catches up; their bytes are bounded by the log's reads.
const REPLICATED_ENTRIES_MAX: u64 = 512;
/// Messages that may wait for one group's engine. One proposal, a few reads and the replicas' calls.
const ENGINE_QUEUE: u64 = 8192;

/// Settings of all groups of one node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this node is.
    pub node: NodeId,
    /// Single-threaded runtimes, one operating system thread each, to which groups are pinned. 0: all
    /// groups run on the runtime that calls [`crate::Raft::open`].
    pub threads: usize,
    /// A leader that says nothing else says it is alive this often. Slow on purpose: the node-level
    /// detector finds dead leaders, this is the net below.
    pub heartbeat: Duration,
    /// The shortest silence after which a follower campaigns by itself.
    pub election_min: Duration,
    /// The longest such silence.
    pub election_max: Duration,
    /// Commands that may wait or be in flight in one group.
    pub propose_commands_max: usize,
    /// Bytes of commands that may wait or be in flight in one group. A single command must fit.
    pub propose_bytes_max: usize,
    /// Commands in one entry. Measured: 128 loses on a hot group, 512 does not.
    pub entry_commands_max: usize,
    /// Bytes of commands in one entry: larger ones delay what shares the disk and the lane.
    pub entry_bytes_max: usize,
    /// A leader whose entry in flight does not commit within this time refuses further commands.
    pub commit_patience: Duration,
    /// Log bytes since the last snapshot that make a group due.
    pub snapshot_bytes: u64,
    /// Log entries since the last snapshot that make a group due.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot, so that a node that was away for a while catches up by log.
    pub keep_entries: u64,
    /// Bytes kept behind a snapshot at most; whichever bound is reached first holds.
    pub keep_bytes: u64,
    /// Bytes of one chunk of a snapshot in transfer.
    pub chunk_bytes: usize,
    /// How long the preferred leader must have been alive and caught up before it is given its group
    /// back.
    pub balance_after: Duration,
    /// Mixed into every choice that must differ between nodes but not between runs.
    pub seed: u64,
}

impl Config {
    /// The defaults of the product for this node.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            threads: 1,
            heartbeat: Duration::from_millis(1000),
            election_min: Duration::from_millis(4000),
            election_max: Duration::from_millis(6000),
            propose_commands_max: 4096,
            propose_bytes_max: 8 << 20,
            entry_commands_max: 512,
            entry_bytes_max: 256 << 10,
            commit_patience: Duration::from_secs(2),
            snapshot_bytes: 64 << 20,
            snapshot_entries: 200_000,
            keep_entries: 50_000,
            keep_bytes: 64 << 20,
            chunk_bytes: 256 << 10,
            balance_after: Duration::from_secs(3),
            seed: 0,
        }
    }
}

/// One entry goes into one record of the journal and one message of a lane.
const ENTRY_BYTES_LIMIT: usize = 32 << 20;

impl Config {
    /// Relations between settings that other code relies on.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let must = [
            (self.entry_commands_max > 0, "entry_commands_max is 0"),
            (self.propose_commands_max > 0, "propose_commands_max is 0"),
            (self.chunk_bytes > 0, "chunk_bytes is 0"),
            (
                self.entry_bytes_max <= self.propose_bytes_max
                    && self.propose_bytes_max <= ENTRY_BYTES_LIMIT,
                "entry_bytes_max <= propose_bytes_max <= 32 MiB does not hold",
            ),
        ];
        match must.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(Fatal::new(format!("raft settings: {what}")).into()),
            None => Ok(()),
        }
    }

    /// The engine's settings. Its snapshots and purges are all asked for by the steward.
    pub(crate) fn engine(&self) -> Result<openraft::Config, Error> {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = openraft::Config {
            cluster_name: format!("node-{}", self.node),
            heartbeat_interval: ms(self.heartbeat),
            // Appends under load are signs of life enough.
            heartbeat_min_interval: Some(ms(self.heartbeat) / 2),
            election_timeout_min: ms(self.election_min),
            election_timeout_max: ms(self.election_max),
            // A leader that can send but not hear must fall silent, or nobody else is ever elected.
            quorum_loss_probe_interval: Some(2 * ms(self.election_max)),
            enable_pre_vote: Some(true),
            // The committed mark is written lazily, so a restarted leader must be elected again.
            enable_leader_restore: Some(false),
            snapshot_policy: openraft::SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            max_payload_entries: REPLICATED_ENTRIES_MAX,
            replication_lag_threshold: self.keep_entries,
            api_channel_size: Some(ENGINE_QUEUE),
            notification_channel_size: Some(ENGINE_QUEUE),
            ..openraft::Config::default()
        };
        let text = |e: openraft::ConfigError| Fatal::new(format!("raft settings: {e}"));
        Ok(config.validate().map_err(text)?)
    }
}
