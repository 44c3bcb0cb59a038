//! Which group owns each slot, as far as this node knows: by the map, and by what its own replicas have applied.
//!
//! Laws: the owner of a slot is the highest group that is known to have it, since slots only ever go from a group to one
//! that came of it, which has a higher number; so nothing that is learned late goes back. And on one disk a slot is written
//! by one group: no two machines here hold the same one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cluster_config::{ClusterConfig, SLOTS};
use parking_lot::Mutex;
use raft::{Fatal, GroupId, NodeId};
use tokio::sync::watch;

/// A handle on the slots' owners. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Owners(Arc<Inner>);

struct Inner {
    /// By slot; 0: not known.
    highest: Box<[AtomicU32]>,
    /// What the machines here apply.
    held: Mutex<BTreeMap<GroupId, Range<u16>>>,
    /// Who votes in each group, by the map.
    voters: Mutex<BTreeMap<GroupId, Vec<NodeId>>>,
    /// Counts what was learned.
    news: watch::Sender<u64>,
}

impl Default for Owners {
    fn default() -> Self {
        let highest = (0..SLOTS).map(|_| AtomicU32::new(0)).collect();
        let (held, voters) = Default::default();
        Self(Arc::new(Inner { highest, held, voters, news: watch::Sender::new(0) }))
    }
}

impl Owners {
    /// Learns the map.
    pub(crate) fn learn(&self, config: &ClusterConfig) {
        config.shards.iter().for_each(|(group, shard)| self.raise(*group, &shard.slots));
        let voters = config.shards.iter().map(|(id, shard)| (*id, shard.replicas.clone()));
        *self.0.voters.lock() = voters.collect();
        self.tell();
    }

    /// The group that owns a slot; `None`: not known, or no such slot.
    pub(crate) fn of(&self, slot: u16) -> Option<GroupId> {
        let group = self.0.highest.get(usize::from(slot))?.load(Ordering::Acquire);
        (group != 0).then_some(GroupId(group))
    }

    /// Who votes in a group, as the map last said; nobody where it does not show the group yet.
    pub(crate) fn voters(&self, group: GroupId) -> Vec<NodeId> {
        self.0.voters.lock().get(&group).cloned().unwrap_or_default()
    }

    /// A machine here owns these slots from now on, and no others.
    ///
    /// # Errors
    /// When another one here has some of them: two would write the same rows.
    pub(crate) fn hold(&self, group: GroupId, slots: Range<u16>) -> Result<(), Fatal> {
        let mut held = self.0.held.lock();
        if let Some(other) = other_holder(&held, group, &slots) {
            return Err(Fatal::new(format!(
                "groups {group} and {other} would both write slots {slots:?}"
            )));
        }
        self.raise(group, &slots);
        held.insert(group, slots);
        drop(held);
        self.tell();
        Ok(())
    }

    /// A machine here gave slots away; it owns `rest` from now on.
    pub(crate) fn split_off(
        &self,
        group: GroupId,
        rest: Range<u16>,
        to: GroupId,
        slots: Range<u16>,
    ) {
        let mut held = self.0.held.lock();
        // Both or neither: whoever finds the new owner does not find the old one holding.
        self.raise(to, &slots);
        held.insert(group, rest);
        drop(held);
        self.tell();
    }

    /// Whether a machine here owns all of these slots.
    pub(crate) fn holds(&self, group: GroupId, slots: &Range<u16>) -> bool {
        let held = self.0.held.lock();
        held.get(&group).is_some_and(|held| held.start <= slots.start && slots.end <= held.end)
    }

    /// Whether no machine of another group here owns any of these slots.
    pub(crate) fn is_free(&self, group: GroupId, slots: &Range<u16>) -> bool {
        other_holder(&self.0.held.lock(), group, slots).is_none()
    }

    /// Changes with whatever is learned.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }

    /// Has everybody look again.
    pub(crate) fn tell(&self) {
        self.0.news.send_modify(|count| *count += 1);
    }

    fn raise(&self, group: GroupId, slots: &Range<u16>) {
        for slot in slots.clone() {
            self.0.highest[usize::from(slot)].fetch_max(group.0, Ordering::AcqRel);
        }
    }
}

fn other_holder(
    held: &BTreeMap<GroupId, Range<u16>>,
    group: GroupId,
    slots: &Range<u16>,
) -> Option<GroupId> {
    let overlaps = |other: &Range<u16>| other.start < slots.end && slots.start < other.end;
    let mut others = held.iter().filter(|(other, _)| **other != group);
    others.find(|(_, other)| overlaps(other)).map(|(other, _)| *other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: GroupId = GroupId(1);
    const NEW: GroupId = GroupId(5);
    const NEWER: GroupId = GroupId(6);

    #[test]
    fn what_is_learned_late_does_not_go_back() {
        let owners = Owners::default();
        assert_eq!(owners.of(7), None);
        owners.hold(OLD, 0..10).expect("nobody has them");
        owners.split_off(OLD, 0..5, NEW, 5..10);
        assert_eq!((owners.of(4), owners.of(7)), (Some(OLD), Some(NEW)));
        assert!(!owners.holds(OLD, &(7..8)) && owners.holds(OLD, &(0..5)));
        assert!(!owners.holds(NEW, &(7..8)), "it has not begun here");
        // A map from before the split, or a replica that was slower.
        owners.raise(OLD, &(0..10));
        assert_eq!(owners.of(7), Some(NEW));
        owners.raise(NEWER, &(8..10));
        owners.raise(NEW, &(5..10));
        assert_eq!((owners.of(7), owners.of(8)), (Some(NEW), Some(NEWER)));
        assert_eq!(owners.of(SLOTS), None);
    }

    #[test]
    fn no_two_groups_here_hold_a_slot() {
        let owners = Owners::default();
        owners.hold(OLD, 0..10).expect("nobody has them");
        assert!(!owners.is_free(NEW, &(9..12)));
        assert!(owners.hold(NEW, 9..12).is_err());
        owners.hold(OLD, 0..9).expect("its own");
        assert!(owners.is_free(NEW, &(9..12)));
        owners.hold(NEW, 9..12).expect("nobody has them any more");
        assert!(owners.hold(OLD, 0..10).is_err());
    }
}
