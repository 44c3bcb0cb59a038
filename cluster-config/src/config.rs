//! The state of group 0: who belongs to the cluster and who carries what. Read by every node, changed by commands alone.
//! It does not know which node leads a group at this moment: that is Raft's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Door, Fingerprint, GroupId, Node, NodeId, PushKey, Raised, SLOTS, Settings, Slot,
    TokenKey,
};

/// Most nodes of one cluster. A planning pass is quadratic in it and everything here is copied to each of them.
pub const NODES_MAX: usize = 256;
/// Most shards: each is a Raft group with timers and a log position of its own.
pub const SHARDS_MAX: u32 = 256;
/// Most replicas of a group: each write waits for a majority of them.
pub const REPLICATION_MAX: u32 = 7;
/// Voters of group 0: five stand two losses, and more only make each decision slower.
pub const CLUSTER_VOTERS_MAX: u32 = 5;
/// Keys kept at once: the newest signs, older ones check until the last token of theirs has expired.
pub const TOKEN_KEYS_MAX: usize = 8;
/// Audit records kept; the oldest gives way. About 100 KiB, small beside a snapshot of any shard.
pub const AUDIT_RECORDS_MAX: usize = 512;

const _: () = assert!(SHARDS_MAX <= SLOTS as u32, "every shard owns at least one slot");
const _: () = assert!(SLOTS.is_power_of_two(), "a slot is a prefix of a hash");
const _: () = assert!(SLOTS <= 1 << 14, "two bits of a key prefix stay free for rows of no slot");
const _: () = assert!(CLUSTER_VOTERS_MAX <= REPLICATION_MAX, "one bound for every group");

/// A contiguous set of slots and the nodes that carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// `start..end`, never empty.
    pub slots: Range<u16>,
    /// The nodes that vote on it; the first is the preferred leader.
    pub replicas: Vec<NodeId>,
    /// The nodes that shall vote on it instead, while it is on its way to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Vec<NodeId>>,
    /// How often its voters have changed. While it is 0, they are those who founded it.
    #[serde(default, skip_serializing_if = "is_never")]
    pub moves: u32,
    /// An operator wants it left where it is.
    #[serde(default, skip_serializing_if = "is_not")]
    pub frozen: bool,
    /// What is being split off it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splitting: Option<Split>,
    /// The group that it was split off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<GroupId>,
}

/// Slots on their way to a group of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The group that they will be.
    pub to: GroupId,
    /// `start..end`, at one end of the shard's.
    pub slots: Range<u16>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_never(moves: &u32) -> bool {
    *moves == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_not(flag: &bool) -> bool {
    !*flag
}

impl Shard {
    /// A shard as it is founded.
    pub(crate) fn new(slots: Range<u16>, replicas: Vec<NodeId>) -> Shard {
        Shard {
            slots,
            replicas,
            moving: None,
            moves: 0,
            frozen: false,
            splitting: None,
            parent: None,
        }
    }

    /// Whether the planner leaves its voters alone.
    pub(crate) fn is_fixed(&self) -> bool {
        self.frozen || self.splitting.is_some()
    }
}

/// One change of the cluster, for whoever asks later who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The epoch that the change began.
    pub epoch: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Who asked for it: an operator or `system`.
    pub actor: String,
    /// What was done, one line, without secrets.
    pub what: String,
}

/// What a cluster is. Exists from its bootstrap on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// Name of the cluster.
    pub cluster: ClusterId,
    /// Rises by one with each accepted command; two nodes with the same epoch hold the same value.
    pub epoch: u64,
    /// How often this cluster's state was taken from a backup, or from one survivor: what was said after the backup is not in it, so that whoever
    /// remembers a later place must ask anew.
    #[serde(default, skip_serializing_if = "is_none")]
    pub history_epoch: u64,
    /// What its nodes may write beyond the first feature level; see [`level`](Self::level).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised: Option<Raised>,
    /// All nodes, by id.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The voters of group 0, preferred leader first.
    pub voters: Vec<NodeId>,
    /// The nodes that shall vote in group 0 instead, while it is on its way to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voters_moving: Option<Vec<NodeId>>,
    /// Shards by their group. Numbers begin at 1 and rise: one that was split off has a higher one than what it came of.
    pub shards: BTreeMap<GroupId, Shard>,
    /// Voters that each shard should have, where there are so many nodes.
    #[serde(default = "replication_before", skip_serializing_if = "is_replication_before")]
    pub replication: u32,
    /// The highest id that was given to a node which came in, or had a node that is gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_node: NodeId,
    /// Replicated settings.
    pub settings: Settings,
    /// Token-signing keys, oldest first; the last one that is not retired signs.
    pub keys: Vec<TokenKey>,
    /// The key by which push services know the cluster; `None` until a node has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_key: Option<PushKey>,
    /// Who may come in.
    #[serde(default, skip_serializing_if = "Door::is_empty")]
    pub door: Door,
    /// The latest changes, oldest first, at most [`AUDIT_RECORDS_MAX`].
    pub audit: Vec<AuditRecord>,
}

/// What every cluster had before it was written down.
fn replication_before() -> u32 {
    3
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_replication_before(replication: &u32) -> bool {
    *replication == replication_before()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(history_epoch: &u64) -> bool {
    *history_epoch == 0
}

fn is_zero(node: &NodeId) -> bool {
    *node == NodeId::default()
}

/// Whether `part` is some but not all of `whole`, at one of its ends.
pub(crate) fn is_end_of(part: &Range<u16>, whole: &Range<u16>) -> bool {
    let within = part.start < part.end && whole.start <= part.start && part.end <= whole.end;
    within && (part.start == whole.start) != (part.end == whole.end)
}

impl ClusterConfig {
    /// The node that is known by this key.
    pub fn node_of(&self, identity: Fingerprint) -> Option<NodeId> {
        let mut nodes = self.nodes.iter();
        nodes.find(|(_, node)| node.identity == Some(identity)).map(|(id, _)| *id)
    }

    /// The id that the next node gets: above all that were ever given.
    pub(crate) fn next_node(&self) -> NodeId {
        let here = self.nodes.keys().next_back().copied().unwrap_or_default();
        NodeId(self.last_node.max(here).0 + 1)
    }

    /// The group that owns a slot.
    ///
    /// # Panics
    /// When the slot is not below [`SLOTS`].
    pub fn shard_of(&self, slot: Slot) -> GroupId {
        assert!(slot.0 < SLOTS, "slot {slot} does not exist");
        let owner = self.shards.iter().find(|(_, shard)| shard.slots.contains(&slot.0));
        *owner.expect("shards cover all slots: checked by every change").0
    }

    /// Who votes in a group, preferred leader first. Empty for a group that does not exist.
    pub fn replicas(&self, group: GroupId) -> &[NodeId] {
        if group.is_cluster() {
            return &self.voters;
        }
        self.shards.get(&group).map_or(&[], |shard| &shard.replicas)
    }

    /// Whom a group is on its way to, preferred leader first.
    pub fn moving(&self, group: GroupId) -> Option<&[NodeId]> {
        if group.is_cluster() {
            return self.voters_moving.as_deref();
        }
        self.shards.get(&group)?.moving.as_deref()
    }

    /// Who should vote in a group once it stands still, preferred leader first. Empty for a group that does not exist.
    pub fn voters_wished(&self, group: GroupId) -> &[NodeId] {
        self.moving(group).unwrap_or_else(|| self.replicas(group))
    }

    /// The slots that a group has before it has applied anything: its own, and those of all that came of it since.
    pub fn slots_at_first(&self, group: GroupId) -> Option<Range<u16>> {
        let mut slots = self.shards.get(&group)?.slots.clone();
        // Whatever came of a group has a higher number than it.
        let mut line = BTreeSet::from([group]);
        for (id, shard) in &self.shards {
            if shard.parent.is_some_and(|parent| line.contains(&parent)) {
                line.insert(*id);
                slots = slots.start.min(shard.slots.start)..slots.end.max(shard.slots.end);
            }
        }
        Some(slots)
    }

    /// The group off which `group` is being split, and what; `None` where nothing is.
    pub fn split_into(&self, group: GroupId) -> Option<(GroupId, &Split)> {
        let wished = |(id, shard)| {
            let (id, shard): (&GroupId, &Shard) = (id, shard);
            shard.splitting.as_ref().filter(|split| split.to == group).map(|split| (*id, split))
        };
        self.shards.iter().find_map(wished)
    }

    /// The number that the next group gets: above all that were ever given, for none is ever taken away.
    pub(crate) fn next_group(&self) -> GroupId {
        let wished = self.shards.values().filter_map(|shard| Some(shard.splitting.as_ref()?.to));
        let highest = self.shards.keys().copied().chain(wished).max().unwrap_or(GroupId::CLUSTER);
        GroupId(highest.0 + 1)
    }

    /// All groups: 0 and every shard's.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        std::iter::once(GroupId::CLUSTER).chain(self.shards.keys().copied())
    }

    /// The groups in which a node votes or shall vote.
    pub fn votes_of(&self, node: NodeId) -> Vec<GroupId> {
        let votes = |group: &GroupId| {
            self.replicas(*group).contains(&node) || self.voters_wished(*group).contains(&node)
        };
        self.groups().filter(votes).collect()
    }

    /// Of a group that exists.
    pub(crate) fn replicas_mut(&mut self, group: GroupId) -> &mut Vec<NodeId> {
        if group.is_cluster() {
            return &mut self.voters;
        }
        &mut self.shards.get_mut(&group).expect("the group exists: checked").replicas
    }

    /// Of a group that exists.
    pub(crate) fn moving_mut(&mut self, group: GroupId) -> &mut Option<Vec<NodeId>> {
        if group.is_cluster() {
            return &mut self.voters_moving;
        }
        &mut self.shards.get_mut(&group).expect("the group exists: checked").moving
    }

    /// The groups that a node carries, group 0 included.
    pub fn groups_of(&self, node: NodeId) -> Vec<GroupId> {
        let own = self.voters.contains(&node).then_some(GroupId::CLUSTER);
        let shards = self.shards.iter().filter(|(_, shard)| shard.replicas.contains(&node));
        own.into_iter().chain(shards.map(|(group, _)| *group)).collect()
    }

    /// The key that signs new tokens.
    pub fn signing_key(&self) -> &TokenKey {
        let newest = self.keys.iter().rev().find(|key| !key.retired);
        newest.expect("the last key cannot be retired: refused")
    }

    /// The key of this id, if tokens signed with it are still good.
    pub fn verifying_key(&self, id: u64) -> Option<&TokenKey> {
        self.keys.iter().find(|key| key.id == id && !key.retired)
    }

    fn assert_shards(&self) {
        let mut next = 0;
        let mut in_order: Vec<_> = self.shards.iter().collect();
        in_order.sort_by_key(|(_, shard)| shard.slots.start);
        for (group, shard) in in_order {
            assert!(!group.is_cluster(), "group 0 owns no slot");
            assert_eq!(shard.slots.start, next, "no gap and no overlap between shards");
            assert!(shard.slots.start < shard.slots.end, "a shard owns a slot");
            assert!(!shard.replicas.is_empty(), "a shard has replicas");
            assert!(shard.parent.is_none_or(|parent| parent < *group), "numbers rise");
            next = shard.slots.end;
            let Some(Split { to, slots }) = &shard.splitting else { continue };
            assert!(!self.shards.contains_key(to) && to > group, "a split makes a new group");
            assert!(is_end_of(slots, &shard.slots), "a split leaves two shards");
            assert!(shard.moving.is_none(), "what splits stands still");
        }
        assert_eq!(next, SLOTS, "shards cover all slots");
        assert!(self.groups_to_be() <= SHARDS_MAX as usize, "shards are bounded");
    }

    /// Shards, with those that are being split off.
    pub(crate) fn groups_to_be(&self) -> usize {
        let splitting = self.shards.values().filter(|shard| shard.splitting.is_some());
        self.shards.len() + splitting.count()
    }

    /// Breaks the process when a law of this state does not hold.
    pub(crate) fn assert_sound(&self) {
        assert!(!self.nodes.is_empty() && self.nodes.len() <= NODES_MAX, "nodes are bounded");
        assert!(!self.voters.is_empty(), "group 0 has voters");
        self.assert_shards();
        for group in self.groups() {
            for voters in [self.replicas(group), self.voters_wished(group)] {
                let distinct: BTreeSet<&NodeId> = voters.iter().collect();
                assert_eq!(distinct.len(), voters.len(), "nobody votes twice");
                assert!(
                    voters.iter().all(|node| self.nodes.contains_key(node)),
                    "voters are nodes"
                );
            }
            let moving = self.moving(group).map_or(1, <[NodeId]>::len);
            assert!(moving % 2 == 1, "nobody is on the way to an even number of voters");
        }
        assert!(self.door.is_within_bounds(), "rights to come in are bounded");
        assert!(self.keys.iter().any(|key| !key.retired), "one key signs");
        assert!(self.keys.len() <= TOKEN_KEYS_MAX && self.audit.len() <= AUDIT_RECORDS_MAX);
    }
}
