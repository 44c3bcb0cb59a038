//! Every metric of a node: the one list. A name that is not here is not exported by our rooms, and what is here is
//! exported: a test compares both ways, writes `docs/operating/metrics.md` from it, and dashboards and alerts may name
//! nothing else.
//!
//! Base units, `_total` for what only grows. A label has a bound that is known when the node starts: no label names a
//! user, a device, a conversation or an address.

/// What kind of figure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Is what it is now.
    Gauge,
    /// How often values fell into which bucket.
    Histogram,
}

impl Kind {
    /// The word of Prometheus' text form.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What it tells, one sentence.
    pub(crate) help: &'static str,
    /// Its labels: name, and what bounds it.
    pub(crate) labels: &'static [(&'static str, &'static str)],
}

impl Metric {
    const fn by(mut self, labels: &'static [(&'static str, &'static str)]) -> Self {
        self.labels = labels;
        self
    }
}

const fn metric(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, help, labels: &[] }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    metric(name, Kind::Counter, help)
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    metric(name, Kind::Gauge, help)
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    metric(name, Kind::Histogram, help)
}

const LINK: (&str, &str) = ("kind", "`quic`, `websocket`, `webtransport`, `memory`");
const PUSH: (&str, &str) = ("kind", "`webhook`, `web_push`, `apns`, `fcm`");

/// A part of the list, as the pages of the operator have it.
pub(crate) struct Part {
    #[cfg_attr(not(test), expect(dead_code, reason = "the operator's page, written by a test"))]
    pub(crate) title: &'static str,
    pub(crate) metrics: &'static [Metric],
}

/// Along the path of a message, then the node and its process.
pub(crate) const LIST: &[Part] = &[
    Part { title: "Arrive and admit", metrics: ADMIT },
    Part { title: "Converse and deliver", metrics: CONVERSE },
    Part { title: "Propose, drive and agree", metrics: RAFT },
    Part { title: "Record", metrics: STORE },
    Part { title: "Assets, pushes, backups and search", metrics: BESIDE },
    Part { title: "The node", metrics: NODE },
    Part { title: "The process", metrics: PROCESS },
];

const ADMIT: &[Metric] = &[
    gauge("synod_links", "Client links that are open here now.").by(&[LINK]),
    counter("synod_links_total", "Client links that were opened here.").by(&[LINK]),
    counter(
        "synod_connections_refused_total",
        "Connections refused before any cryptography, for want of places.",
    )
    .by(&[("why", "`total`, `address`")]),
    counter("synod_requests_total", "Calls of the REST interface, by the hundreds of the answer.")
        .by(&[
            ("call", "method and pattern of the path, a closed list"),
            ("status", "`1xx` to `5xx`"),
        ]),
    histogram("synod_request_seconds", "From a call's head to its answer's head."),
    counter("synod_problems_total", "Calls answered with a problem.")
        .by(&[("code", "the codes of docs/protocol.md")]),
];

const CONVERSE: &[Metric] = &[
    gauge("synod_sessions", "Sessions of devices on this node."),
    counter("synod_sends_total", "Messages that links of this node sent, by what became of them.").by(&[(
        "outcome",
        "`accepted`, `duplicate`, `refused`, `conflict`, `overloaded`, `unavailable`, `unknown`, `stopped`, `not_proposed`",
    )]),
    counter("synod_messages_sent_total", "Messages from links of this node that were stored."),
    histogram("synod_ack_seconds", "From a message's frame to the outcome that is acknowledged."),
    counter("synod_messages_delivered_total", "Messages written to links of this node."),
    counter("synod_fanout_events_total", "Events that this node's replicas applied and fanned out.")
        .by(&[("kind", "`message`, `change`, `cursors`, `members`, `user`")]),
    counter(
        "synod_hints_dropped_total",
        "Hints that found a session's mailbox full; the session reads history instead.",
    ),
];

const RAFT: &[Metric] = &[
    counter("raft_proposals_total", "Commands proposed on this node, by what was answered.").by(&[
        ("result", "`applied`, `not_leader`, `overloaded`, `unavailable`, `unknown`, `stopped`"),
    ]),
    counter("raft_entries_total", "Entries handed to the engine by leaders here."),
    histogram("raft_entry_commands", "Commands that travelled in one entry."),
    histogram(
        "raft_commit_seconds",
        "From the hand-over of an entry to its outcome: network, a quorum's disks, apply.",
    ),
    histogram("raft_apply_seconds", "One batch of committed entries through the machine."),
    histogram("raft_apply_entries", "Entries in such a batch."),
    histogram("raft_read_round_readers", "Readers that one round of heartbeats served."),
    gauge("raft_groups_led", "Groups that this node leads."),
    counter("raft_role_changes_total", "Times a group here began or ceased to lead."),
    counter("raft_leader_changes_total", "Times a replica here came to know another leader."),
    counter("raft_membership_changes_total", "Steps that groups led here took to other voters."),
    counter("raft_campaigns_total", "Campaigns that this node began."),
    counter("raft_transfers_total", "Leaderships that this node handed over."),
    counter(
        "raft_snapshots_total",
        "Snapshots made: tables flushed so that the log may be purged.",
    ),
    counter("raft_snapshots_sent_total", "Snapshots sent to other nodes, whole or not."),
    counter("raft_snapshots_received_total", "Snapshots received and installed."),
    counter("raft_states_rebuilt_total", "States that were gone here and came from another node."),
    gauge("synod_groups", "Groups that run here, by what this node is in them.")
        .by(&[("role", "`leader`, `follower`, `learner`")]),
    gauge("synod_groups_expected", "Groups that this node should run."),
    gauge(
        "synod_groups_diverged",
        "Groups whose replicas are not the same, as far as this node was told.",
    ),
    gauge("synod_groups_without_leader", "Groups here that know no leader."),
    gauge(
        "synod_apply_lag_entries",
        "Entries in the log and not yet applied, of the group that lags most.",
    ),
];

const STORE: &[Metric] = &[
    histogram(
        "synod_disk_sync_seconds",
        "One barrier (fdatasync) of the journal or of an asset's file.",
    ),
    counter("synod_journal_batches_total", "Batches of the journal, one barrier each."),
    counter("synod_journal_operations_total", "Operations that these batches made durable."),
    counter("synod_journal_bytes_total", "Bytes of batches written to the journal."),
    gauge("synod_journal_waiting_bytes", "Bytes submitted to the journal and not yet durable."),
    gauge("synod_journal_live_bytes", "Bytes of entries that are still needed."),
    gauge("synod_journal_segments", "Segment files of the journal."),
    gauge("synod_journal_full", "1 while new entries are refused for want of room."),
    gauge("synod_disk_free_bytes", "Free bytes of the disk under the data folder."),
    gauge(
        "synod_disk_low",
        "1 while little of that disk is free (a twentieth, at most 4 GiB): new messages are refused at the door.",
    ),
    gauge(
        "synod_disk_slow",
        "1 while the journal's disk is slow: this node gives up what it leads, until it was quick for half a minute or more.",
    ),
    histogram("synod_tables_drain_seconds", "Waiting rows into the table engine, all at once."),
    histogram("synod_tables_flush_seconds", "One barrier of the tables."),
];

const BESIDE: &[Metric] = &[
    counter("synod_assets_kept_total", "Assets kept on this disk, uploads and copies."),
    counter("synod_asset_bytes_kept_total", "Bytes of them."),
    counter(
        "synod_asset_bytes_read_total",
        "Bytes of assets read from this disk: downloads, copies, scrubs.",
    ),
    counter(
        "synod_assets_mended_total",
        "Assets fetched again because they were missing or damaged here.",
    )
    .by(&[("kept", "`yes`, `no`")]),
    counter("synod_assets_expired_total", "Assets deleted because they were never sent."),
    counter("synod_object_store_failures_total", "Transfers that the object store did not serve.")
        .by(&[("kind", "`put`, `read`")]),
    counter("synod_pushes_total", "Pushes tried.")
        .by(&[PUSH, ("outcome", "`taken`, `gone`, `failed`")]),
    counter("synod_backups_total", "Backups that this node made."),
    counter("synod_backup_failures_total", "Backups that this node began and did not finish."),
    counter("synod_backup_bytes_total", "Bytes of chunks that backups wrote: what was new."),
    gauge("synod_backup_newest_timestamp_seconds", "When the newest one was begun, since 1970."),
    histogram("synod_backup_seconds", "One backup, from its beginning to the last that gave way."),
    counter("synod_scrub_rounds_total", "Times that every row of this node was looked at."),
    counter("synod_scrub_rows_total", "Rows that were looked at for that."),
    counter("synod_scrub_journal_rounds_total", "Times that every record of the journal was read."),
    counter("synod_scrub_journal_bytes_total", "Bytes of the journal that were read for that."),
    counter(
        "synod_scrub_problems_total",
        "Slots and journal segments in which something was not as it should be.",
    ),
    counter("synod_scrub_mended_total", "Damaged journal segments that nothing needs any more."),
    counter(
        "synod_digest_comparisons_total",
        "Comparisons of the replicas of a group that this node leads.",
    )
    .by(&[("outcome", "`same`, `partly`, `unsaid`, `differ`")]),
    counter("synod_digest_bytes_total", "Bytes of rows that were read for that."),
    counter("synod_push_dead_letters_total", "Pushes that were given up.").by(&[PUSH]),
    gauge(
        "synod_search_documents",
        "Documents of the index of words: messages, and one for each conversation.",
    ),
    gauge(
        "synod_search_lag_seconds",
        "For how long something that was applied here has been waiting to be found.",
    ),
];

const NODE: &[Metric] = &[
    gauge("synod_build_info", "Always 1; says what runs.").by(&[("version", "one")]),
    gauge("synod_node_info", "Always 1; says who it is.")
        .by(&[("cluster", "one"), ("node", "one")]),
    gauge("synod_ready", "1 while this node answers /readyz with 200."),
    gauge("synod_uptime_seconds", "Since the operations port opened."),
    gauge(
        "synod_certificate_expires_timestamp_seconds",
        "When that certificate runs out, since 1970.",
    )
    .by(&[("plane", "`authority`, `client`, `peer`")]),
    gauge("synod_peer_up", "1 while that node was heard lately.").by(&[("peer", "the nodes")]),
    gauge("synod_peer_link_up", "1 while the link to that node stands.")
        .by(&[("lane", "three"), ("peer", "the nodes")]),
];

const PROCESS: &[Metric] = &[
    counter("process_cpu_seconds_total", "User and system time."),
    gauge("process_resident_memory_bytes", "Resident memory."),
    gauge("process_open_fds", "Open file descriptors."),
    gauge("process_max_fds", "How many there may be."),
    gauge("process_threads", "Threads."),
    gauge("process_start_time_seconds", "When the process began, since 1970."),
];

/// Every metric, in the order of the list.
pub(crate) fn all() -> impl Iterator<Item = &'static Metric> {
    LIST.iter().flat_map(|part| part.metrics)
}
