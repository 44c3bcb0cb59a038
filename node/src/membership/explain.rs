//! Why a group stands as it does: a verdict, what speaks for it, and what to do next. A pure function of a picture that
//! somebody gathered, so that every verdict can be provoked in a test. The gravest truth is told first.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::{ClusterConfig, Command, GroupId, NodeId, NodeState, PlanLimits, plan};

use crate::digest::Divergence;

/// Entries that a replica may be behind without anybody minding: a few busy rounds.
const BEHIND_MAX: u64 = 1024;

/// What was gathered about one group.
#[derive(Clone, Debug)]
pub(crate) struct Picture<'a> {
    pub(crate) group: GroupId,
    /// The map, as the node that was asked has it.
    pub(crate) map: &'a ClusterConfig,
    /// The node that was asked.
    pub(crate) here: NodeId,
    /// The nodes that it hears, itself included.
    pub(crate) heard: BTreeSet<NodeId>,
    /// Who leads, as it knows.
    pub(crate) leader: Option<NodeId>,
    /// Who votes, as its replica knows: both sets while a change goes on.
    pub(crate) voters: BTreeSet<NodeId>,
    /// A joint change of the voters goes on.
    pub(crate) changing: bool,
    /// The last entry in its log, and the last that it has applied.
    pub(crate) last: u64,
    pub(crate) applied: u64,
    /// Entries that others are behind; only the leader knows.
    pub(crate) behind: BTreeMap<NodeId, u64>,
    /// Nodes of which hardly anything of the disk is free, as they say.
    pub(crate) full: BTreeSet<NodeId>,
    /// Nodes whose disk is slow, as they say.
    pub(crate) slow: BTreeSet<NodeId>,
    /// What is damaged on the disk of the node that was asked.
    pub(crate) damaged: Vec<String>,
    /// Replicas of the group that are not the same, as that node was told.
    pub(crate) divergence: Option<Divergence>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing to worry about.
    Good,
    /// It serves, and stands fewer losses or is slower than it should be.
    Degraded,
    /// It does not serve.
    Down,
}

impl Health {
    /// Stable name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Health::Good => "good",
            Health::Degraded => "degraded",
            Health::Down => "down",
        }
    }
}

/// What is the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Most of its voters are silent.
    NoQuorum,
    /// A quorum is there and nobody leads.
    NoLeader,
    /// A quorum is there, and who leads it may be one whom the node that was asked does not hear.
    LeaderUnheard,
    /// The disk of the one who leads is full: new messages are refused.
    DiskFull,
    /// Replicas do not have the same state behind the same entry.
    Diverged,
    /// A joint change waits for somebody who is silent.
    ChangeHeldUp,
    /// A voter is lost, and nobody can take its vote.
    LostVoter,
    /// A voter is silent, and not for long enough to be replaced.
    SilentVoter,
    /// It should move, and an operator froze it.
    Frozen,
    /// It should move, and an operator paused all moves.
    Paused,
    /// A move waits for a node that is silent.
    NewcomerSilent,
    /// A move waits until a node has caught up.
    NewcomerBehind,
    /// A move is under way.
    Moving,
    /// A move is about to begin.
    MovePlanned,
    /// Slots are being split off it.
    Splitting,
    /// Its voters are not those of the map.
    NotAsMapped,
    /// The disk of a voter is slow.
    DiskSlow,
    /// The disk of the node that was asked is damaged.
    Damaged,
    /// The replica on the node that was asked is behind.
    BehindHere,
    /// A replica elsewhere is behind.
    ReplicaBehind,
    /// The cluster has too few nodes for as many voters as it should have.
    TooFewNodes,
    /// Two voters would fail together.
    SharedZone,
    /// Another leads than the one who should.
    LedElsewhere,
    /// As it should be.
    Sound,
}

impl Verdict {
    /// Stable name.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Verdict::NoQuorum => "no_quorum",
            Verdict::NoLeader => "no_leader",
            Verdict::LeaderUnheard => "leader_unheard",
            Verdict::DiskFull => "disk_full",
            Verdict::Diverged => "diverged",
            Verdict::DiskSlow => "disk_slow",
            Verdict::Damaged => "damaged",
            Verdict::ChangeHeldUp => "change_held_up",
            Verdict::LostVoter => "lost_voter",
            Verdict::SilentVoter => "silent_voter",
            Verdict::Frozen => "frozen",
            Verdict::Paused => "paused",
            Verdict::NewcomerSilent => "newcomer_silent",
            Verdict::NewcomerBehind => "newcomer_behind",
            Verdict::Moving => "moving",
            Verdict::MovePlanned => "move_planned",
            Verdict::Splitting => "splitting",
            Verdict::NotAsMapped => "not_as_mapped",
            Verdict::BehindHere => "behind_here",
            Verdict::ReplicaBehind => "replica_behind",
            Verdict::TooFewNodes => "too_few_nodes",
            Verdict::SharedZone => "shared_zone",
            Verdict::LedElsewhere => "led_elsewhere",
            Verdict::Sound => "sound",
        }
    }

    /// How bad it is.
    pub(crate) fn health(self) -> Health {
        match self {
            Verdict::NoQuorum | Verdict::NoLeader | Verdict::ChangeHeldUp | Verdict::DiskFull => {
                Health::Down
            }
            Verdict::Moving
            | Verdict::MovePlanned
            | Verdict::Splitting
            | Verdict::NewcomerBehind
            | Verdict::LedElsewhere
            | Verdict::Sound => Health::Good,
            _ => Health::Degraded,
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub(crate) verdict: Verdict,
    /// One sentence each.
    pub(crate) evidence: Vec<String>,
    /// The command to run next; `None`: nothing has to be done.
    pub(crate) next: Option<String>,
}

/// Explains a picture.
pub(crate) fn explain(picture: &Picture<'_>) -> Explanation {
    let found = picture
        .availability()
        .or_else(|| picture.full())
        .or_else(|| picture.diverged())
        .or_else(|| picture.voters_silent())
        .or_else(|| picture.splitting())
        .or_else(|| picture.held())
        .or_else(|| picture.moving())
        .or_else(|| picture.replicas())
        .or_else(|| picture.disks())
        .or_else(|| picture.shape());
    let (verdict, said, next) = found.unwrap_or((Verdict::Sound, Vec::new(), None));
    let mut evidence = vec![picture.standing()];
    evidence.extend(said);
    Explanation { verdict, evidence, next }
}

type Found = Option<(Verdict, Vec<String>, Option<String>)>;

fn list<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    nodes.into_iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

fn show(node: NodeId) -> Option<String> {
    Some(format!("synod node show {node}"))
}

impl Picture<'_> {
    /// What is so in any case.
    fn standing(&self) -> String {
        let leader =
            self.leader.map_or("nobody leads".to_owned(), |node| format!("node {node} leads"));
        format!("nodes {} vote, {leader}; seen from node {}", list(&self.voters), self.here)
    }

    fn silent(&self) -> Vec<NodeId> {
        self.voters.difference(&self.heard).copied().collect()
    }

    fn state(&self, node: NodeId) -> Option<NodeState> {
        self.map.nodes.get(&node).map(|node| node.state)
    }

    /// Whether it serves at all.
    fn availability(&self) -> Found {
        let silent = self.silent();
        if self.voters.is_empty() {
            let said = vec![format!("node {} has nothing of this group yet", self.here)];
            return Some((Verdict::BehindHere, said, None));
        }
        if silent.len() * 2 >= self.voters.len() {
            let said = vec![format!(
                "nodes {} are silent: {} of {} voters are not enough to decide anything",
                list(&silent),
                self.voters.len() - silent.len(),
                self.voters.len()
            )];
            return Some((Verdict::NoQuorum, said, silent.first().copied().and_then(show)));
        }
        if self.changing && !silent.is_empty() {
            let said = vec![format!(
                "a change of voters needs both the old and the new ones, and nodes {} are silent",
                list(&silent)
            )];
            return Some((Verdict::ChangeHeldUp, said, silent.first().copied().and_then(show)));
        }
        if self.leader.is_none() {
            return Some(self.leaderless(&silent));
        }
        None
    }

    /// A quorum is heard, and from here nobody is seen to lead.
    fn leaderless(&self, silent: &[NodeId]) -> (Verdict, Vec<String>, Option<String>) {
        if let Some(first) = silent.first() {
            let said = vec![
                format!("node {} does not hear nodes {}", self.here, list(silent)),
                "one of them may lead, and the others follow it: ask another node; if it is gone, \
                 another leads within a second"
                    .to_owned(),
            ];
            return (Verdict::LeaderUnheard, said, show(*first));
        }
        let said =
            vec!["enough voters are heard: one of them should lead within a second".to_owned()];
        (Verdict::NoLeader, said, Some(format!("synod shard explain {}", self.group)))
    }

    /// Whether the one who leads has room for what is said.
    fn full(&self) -> Found {
        let leader = self.leader.filter(|leader| self.full.contains(leader))?;
        let said = vec![
            format!("hardly anything is free on the disk of node {leader}, which leads"),
            "new messages are refused until there is room, or another leads; reading goes on"
                .to_owned(),
        ];
        let other = self.voters.iter().find(|node| {
            !self.full.contains(node) && !self.slow.contains(node) && self.heard.contains(node)
        });
        let next = match other {
            Some(other) => Some(format!("synod shard transfer {} --to {other}", self.group)),
            None => show(leader),
        };
        Some((Verdict::DiskFull, said, next))
    }

    /// Whether everybody has the same.
    fn diverged(&self) -> Found {
        let divergence = self.divergence.as_ref()?;
        let digests = divergence.said.iter().map(|(node, digest)| format!("node {node}: {digest}"));
        let said = vec![
            divergence.told(),
            format!("the digests are {}", digests.collect::<Vec<_>>().join(", ")),
            "whoever reads or writes through another state is told what is not so; nothing is mended by \
             itself, for most may be wrong: docs/operating/alerts/SynodReplicasDiverged.md"
                .to_owned(),
        ];
        Some((Verdict::Diverged, said, divergence.differing.first().copied().and_then(show)))
    }

    /// Whose disk is not what it should be, without keeping anybody waiting.
    fn disks(&self) -> Found {
        if !self.damaged.is_empty() {
            let said = self.damaged.iter().map(|what| format!("node {}: {what}", self.here));
            return Some((Verdict::Damaged, said.collect(), show(self.here)));
        }
        let slow = self.voters.iter().copied().find(|node| self.slow.contains(node))?;
        let said = vec![format!("the disk of node {slow} is slow: it should lead nothing")];
        Some((Verdict::DiskSlow, said, show(slow)))
    }

    /// Voters that are gone.
    fn voters_silent(&self) -> Found {
        let silent = self.silent();
        let planned = self.planned();
        let lost: Vec<NodeId> = silent
            .iter()
            .copied()
            .filter(|node| self.state(*node) == Some(NodeState::Lost))
            .collect();
        if let (Some(first), None, None) = (lost.first(), &planned, self.map.moving(self.group))
            && !self.is_frozen()
        {
            let said = vec![
                format!("nodes {} are lost", list(&lost)),
                "no other node can take a vote: bring one in, in its place".to_owned(),
            ];
            return Some((Verdict::LostVoter, said, Some(format!("synod node replace {first}"))));
        }
        let waiting: Vec<NodeId> = silent.into_iter().filter(|node| !lost.contains(node)).collect();
        let first = *waiting.first()?;
        let after = self.map.settings.repair_after.as_secs();
        let said = vec![format!(
            "nodes {} are silent; what is silent for {after} s (repair_after) is replaced",
            list(&waiting)
        )];
        Some((Verdict::SilentVoter, said, show(first)))
    }

    fn is_frozen(&self) -> bool {
        self.map.shards.get(&self.group).is_some_and(|shard| shard.frozen)
    }

    /// What the planner would do with the group, if nobody held it.
    fn planned(&self) -> Option<Vec<NodeId>> {
        let mut free = self.map.clone();
        if let Some(shard) = free.shards.get_mut(&self.group) {
            shard.frozen = false;
        }
        plan(&free, PlanLimits { moves_per_node: usize::MAX }).into_iter().find_map(|command| {
            match command {
                Command::MoveShard { group, to, .. } if group == self.group => Some(to),
                _ => None,
            }
        })
    }

    /// What shall be another group's.
    fn splitting(&self) -> Found {
        let split = self.map.shards.get(&self.group)?.splitting.as_ref()?;
        let (first, last) = (split.slots.start, split.slots.end - 1);
        let said = vec![
            format!("slots {first} to {last} become group {}", split.to),
            "its voters stay until that group serves, about a second".to_owned(),
        ];
        Some((Verdict::Splitting, said, None))
    }

    /// What an operator keeps from moving.
    fn held(&self) -> Found {
        let to = self.planned()?;
        let should = format!("nodes {} should vote, the first of them lead", list(&to));
        if self.is_frozen() {
            let said = vec![should, "an operator froze the shard".to_owned()];
            let next = format!("synod shard freeze {} --off", self.group);
            return Some((Verdict::Frozen, said, Some(next)));
        }
        if !self.map.settings.rebalance {
            let said = vec![should, "an operator paused all moves".to_owned()];
            return Some((Verdict::Paused, said, Some("synod rebalance pause --off".to_owned())));
        }
        None
    }

    /// Where it goes.
    fn moving(&self) -> Found {
        let Some(to) = self.map.moving(self.group) else {
            return self.not_yet();
        };
        let way = format!("it is on its way to nodes {}", list(to));
        let newcomers: Vec<NodeId> =
            to.iter().copied().filter(|node| !self.voters.contains(node)).collect();
        if let Some(silent) = newcomers.iter().copied().find(|node| !self.heard.contains(node)) {
            let said = vec![way, format!("node {silent} is silent, so it gets no vote")];
            return Some((Verdict::NewcomerSilent, said, show(silent)));
        }
        let late = newcomers.iter().filter_map(|node| {
            let behind = self.behind.get(node).copied().filter(|behind| *behind > 0)?;
            Some(format!("node {node} is {behind} entries behind"))
        });
        let late: Vec<String> = late.collect();
        if !late.is_empty() {
            let said = std::iter::once(way).chain(late).collect();
            return Some((Verdict::NewcomerBehind, said, None));
        }
        Some((Verdict::Moving, vec![way], None))
    }

    /// It stands still, and should not.
    fn not_yet(&self) -> Found {
        if let Some(to) = self.planned() {
            let mut said = vec![format!("nodes {} will vote, the first of them lead", list(&to))];
            let before = self.map.groups().filter(|group| self.map.moving(*group).is_some());
            let before: Vec<String> = before.map(|group| group.to_string()).collect();
            if !before.is_empty() {
                said.push(format!("its turn comes after shards {}", before.join(", ")));
            }
            return Some((Verdict::MovePlanned, said, None));
        }
        let mapped: BTreeSet<NodeId> = self.map.replicas(self.group).iter().copied().collect();
        if self.voters == mapped {
            return None;
        }
        let said = vec![format!("the map says nodes {}; its leader goes there", list(&mapped))];
        Some((Verdict::NotAsMapped, said, self.leader.and_then(show)))
    }

    /// Who lags.
    fn replicas(&self) -> Found {
        let here = self.last.saturating_sub(self.applied);
        if here > BEHIND_MAX {
            let said = vec![format!("node {} has yet to apply {here} entries", self.here)];
            return Some((Verdict::BehindHere, said, show(self.here)));
        }
        let (node, behind) = self.behind.iter().max_by_key(|(_, behind)| **behind)?;
        if *behind <= BEHIND_MAX {
            return None;
        }
        let said = vec![format!("node {node} is {behind} entries behind its leader")];
        Some((Verdict::ReplicaBehind, said, show(*node)))
    }

    /// Where it stands still, for want of nodes or of a leader.
    fn shape(&self) -> Found {
        let wanted = self.map.replication as usize;
        if !self.group.is_cluster() && self.voters.len() + 1 < wanted {
            let said = vec![format!(
                "{} of {wanted} voters: the cluster has {} nodes",
                self.voters.len(),
                self.map.nodes.len()
            )];
            return Some((Verdict::TooFewNodes, said, Some("synod node join-token".to_owned())));
        }
        let zone = |node: &NodeId| self.map.nodes.get(node).and_then(|node| node.zone.as_deref());
        let zones: Vec<&str> = self.voters.iter().filter_map(zone).collect();
        let distinct: BTreeSet<&str> = zones.iter().copied().collect();
        if distinct.len() < zones.len() {
            let said = vec![format!("{} voters in {} zones", zones.len(), distinct.len())];
            return Some((Verdict::SharedZone, said, Some("synod node join-token".to_owned())));
        }
        let preferred = *self.map.voters_wished(self.group).first()?;
        let leader = self.leader.filter(|leader| *leader != preferred)?;
        let said =
            vec![format!("node {preferred} should lead and not {leader}: it takes over by itself")];
        Some((Verdict::LedElsewhere, said, None))
    }
}

#[cfg(test)]
mod tests;
