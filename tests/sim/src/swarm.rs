//! What a seed draws before anything runs: the cluster, its settings, the people and the faults. A run is a function of
//! its [`Plan`], and a plan of its seed; a shrunk plan leaves some of it out.

use std::collections::BTreeSet;
use std::time::Duration;

use node::Mailboxes;
use raft::NodeId;

use crate::dice::Dice;
use crate::faults::{self, Planned};
use crate::wire::{Delays, MS, SECOND, Time};

/// How much of the faults a cluster must survive without pause, and how much only without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// No faults at all.
    Calm,
    /// At any time a minority is hit.
    Minority,
    /// Anybody, at any time, everybody at once: only safety counts until it is healed.
    Anybody,
}

/// What is run. The default leaves nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Faults that are left out, by their number.
    pub without: BTreeSet<usize>,
    /// Devices at most; 0: as drawn.
    pub devices: usize,
    /// Milliseconds of the phase with faults; 0: as drawn.
    pub lasts_ms: u64,
}

/// What a seed has drawn.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) shards: u32,
    pub(crate) mood: Mood,
    pub(crate) tick: Time,
    pub(crate) delays: Delays,
    pub(crate) barrier: (Time, Time),
    pub(crate) segment_bytes: u64,
    pub(crate) segments_max: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) snapshot_entries: u64,
    pub(crate) keep_entries: u64,
    pub(crate) heartbeat: Duration,
    pub(crate) election: (Duration, Duration),
    pub(crate) entry_commands: usize,
    pub(crate) balance_after: Duration,
    pub(crate) users: usize,
    pub(crate) devices: usize,
    pub(crate) groups: usize,
    pub(crate) think: Time,
    pub(crate) window: usize,
    pub(crate) changes_members: bool,
    pub(crate) goes_offline: bool,
    pub(crate) reads: u64,
    pub(crate) text_bytes: u64,
    pub(crate) mailboxes: Option<Mailboxes>,
    /// Users with one device each that has two links at once.
    pub(crate) twins: usize,
    /// Devices may have their first link when conversations have begun.
    pub(crate) latecomers: bool,
    /// Messages are changed: edited, deleted, reacted to.
    pub(crate) changes_messages: bool,
    pub(crate) faults_last: Time,
    pub(crate) faults: Vec<Planned>,
}

fn mailboxes(hints_max: usize, missed_every: Option<u64>) -> Option<Mailboxes> {
    Some(Mailboxes { hints_max, missed_every })
}

impl Settings {
    /// What `plan` comes to.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut dice = Dice::new(plan.seed, "swarm");
        let nodes = *dice.pick(&[1, 3, 3, 3, 3, 5]);
        let mood = *dice.pick(&[Mood::Calm, Mood::Minority, Mood::Minority, Mood::Anybody]);
        let slowest = *dice.pick(&[2, 5, 20, 60]);
        let election = *dice.pick(&[1000, 4000]);
        let users = dice.index(4) + 2;
        let mut settings = Self {
            seed: plan.seed,
            nodes,
            shards: u32::try_from(dice.within(1, 4)).expect("at most 4"),
            mood,
            tick: *dice.pick(&[1, 1, 2]) * MS,
            delays: Delays { min: MS / 4, max: slowest * MS },
            barrier: (MS / 5, *dice.pick(&[1, 4, 15]) * MS),
            segment_bytes: *dice.pick(&[64 << 10, 64 << 10, 256 << 10]),
            segments_max: *dice.pick(&[2, 4, 16]),
            cache_bytes: *dice.pick(&[0, 4 << 10, 1 << 20]),
            snapshot_entries: *dice.pick(&[8, 20, 50, 200_000]),
            keep_entries: *dice.pick(&[0, 4, 30]),
            heartbeat: Duration::from_millis(election / 4),
            election: (Duration::from_millis(election), Duration::from_millis(election * 3 / 2)),
            entry_commands: *dice.pick(&[8, 64, 512]),
            balance_after: Duration::from_millis(*dice.pick(&[500, 3000])),
            users,
            devices: users + dice.index(users + 1),
            groups: dice.index(3),
            think: *dice.pick(&[20, 60, 200]) * MS,
            window: *dice.pick(&[1, 2, 8]),
            changes_members: dice.happens(500),
            goes_offline: dice.happens(600),
            reads: dice.within(20, 300),
            text_bytes: *dice.pick(&[10, 200, 3000]),
            mailboxes: *dice.pick(&[
                None,
                mailboxes(1, None),
                mailboxes(3, None),
                mailboxes(8, Some(5)),
            ]),
            twins: dice.index(3),
            latecomers: dice.happens(250),
            changes_messages: dice.happens(500),
            faults_last: dice.within(5, 14) * SECOND,
            faults: Vec::new(),
        };
        let mut faults = faults::draw(&settings, &mut Dice::new(plan.seed, "faults"));
        faults.extend(faults::halves(&settings, &mut Dice::new(plan.seed, "halves")));
        let kept = |(number, _): &(usize, Planned)| !plan.without.contains(number);
        settings.faults =
            faults.into_iter().enumerate().filter(kept).map(|(_, fault)| fault).collect();
        if plan.devices > 0 {
            settings.devices = settings.devices.min(plan.devices);
        }
        if plan.lasts_ms > 0 {
            settings.faults_last = settings.faults_last.min(plan.lasts_ms * MS);
        }
        settings
    }

    /// How many nodes may be hit at once while the others go on.
    pub(crate) fn minority(&self) -> usize {
        (self.nodes - 1) / 2
    }

    /// The settings of the groups of a node.
    pub(crate) fn raft(&self, index: usize) -> raft::Config {
        raft::Config {
            threads: 0,
            heartbeat: self.heartbeat,
            election_min: self.election.0,
            election_max: self.election.1,
            entry_commands_max: self.entry_commands,
            snapshot_entries: self.snapshot_entries,
            keep_entries: self.keep_entries,
            chunk_bytes: 4 << 10,
            balance_after: self.balance_after,
            seed: self.seed,
            ..raft::Config::new(NodeId(index as u64 + 1))
        }
    }

    /// The file of a node. Addresses and certificates are never used.
    pub(crate) fn node_file(&self, index: usize) -> String {
        let address = |node: usize, port: usize| format!("127.0.0.1:{}", 2000 + node * 10 + port);
        let mut file = format!(
            "node = {}\ndata = \"/nowhere\"\n[listen]\nclient = \"{}\"\npeer = \"{}\"\noperations = \"{}\"\n[tls]\n",
            index + 1,
            address(index, 0),
            address(index, 1),
            address(index, 2),
        );
        for name in
            ["authority", "client_certificate", "client_key", "peer_certificate", "peer_key"]
        {
            file.push_str(&format!("{name} = \"/nowhere\"\n"));
        }
        file.push_str(&format!(
            "[cluster]\nid = \"simulated\"\nshards = {}\nreplication = {}\n",
            self.shards, self.nodes
        ));
        for node in 0..self.nodes {
            file.push_str(&format!(
                "[[cluster.nodes]]\nid = {}\nclient = \"{}\"\npeer = \"{}\"\noperations = \"{}\"\n",
                node + 1,
                address(node, 0),
                address(node, 1),
                address(node, 2),
            ));
        }
        file
    }
}
