//! Which conversations had news lately, and at which index of which shard's log: that they were changed, or that they came
//! into somebody's list, which another shard decides. Told of on the groups' threads, after the events of the same batch:
//! nothing here waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use chat::ConversationId;
use parking_lot::Mutex;
use raft::GroupId;

use super::Stand;
use crate::shard::{Publish, ShardEvent};

/// Conversations of one shard that are remembered, at about 100 bytes each: with 16 shards some 25 MB. What changed before
/// them is not known, and whoever was away for that long begins anew.
const REMEMBERED_MAX: usize = 16_384;
/// Conversations that are looked through for one link. With more, beginning anew costs no more than that.
const LOOKED_THROUGH_MAX: usize = 8192;

/// One shard.
struct Shelf {
    slots: Range<u16>,
    /// Everything up to here was told of.
    stands: u64,
    /// Everything that changed after here is remembered.
    floor: u64,
    by_index: BTreeSet<(u64, ConversationId)>,
    by_id: HashMap<ConversationId, u64>,
}

impl Shelf {
    fn note(&mut self, index: u64, id: ConversationId) {
        if let Some(before) = self.by_id.insert(id, index) {
            self.by_index.remove(&(before, id));
        }
        self.by_index.insert((index, id));
        while self.by_index.len() > REMEMBERED_MAX
            && let Some((index, id)) = self.by_index.pop_first()
        {
            self.by_id.remove(&id);
            self.floor = self.floor.max(index);
        }
    }
}

/// The shards of one node. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<BTreeMap<u32, Arc<Mutex<Shelf>>>>>);

impl Recent {
    /// How far every shard is. Whoever asks has, in its mailbox, all hints of what came before.
    pub(crate) fn stand(&self) -> Stand {
        let shelves = self.0.lock();
        shelves.iter().map(|(group, shelf)| (*group, shelf.lock().stands)).collect()
    }

    /// One slot of every shard.
    pub(crate) fn slots(&self) -> BTreeSet<u16> {
        self.0.lock().values().map(|shelf| shelf.lock().slots.start).collect()
    }

    /// The conversations that changed since `stand`; `None` when that is not known here, or they are too many.
    pub(crate) fn since(&self, stand: &Stand) -> Option<BTreeSet<ConversationId>> {
        let shelves: Vec<_> = self.0.lock().iter().map(|(n, one)| (*n, Arc::clone(one))).collect();
        let mut changed = BTreeSet::new();
        for (group, shelf) in shelves {
            let from = *stand.get(&group)?;
            let shelf = shelf.lock();
            if from < shelf.floor {
                return None;
            }
            let newest = shelf.by_index.iter().rev().take_while(|(index, _)| *index > from);
            changed.extend(newest.map(|(_, id)| *id).take(LOOKED_THROUGH_MAX + 1));
            if changed.len() > LOOKED_THROUGH_MAX {
                return None;
            }
        }
        Some(changed)
    }

    fn stands(&self, group: GroupId, slots: Range<u16>, index: u64) {
        let shelf = Shelf {
            slots,
            stands: index,
            floor: index,
            by_index: BTreeSet::new(),
            by_id: HashMap::new(),
        };
        self.0.lock().insert(group.0, Arc::new(Mutex::new(shelf)));
    }

    fn keeps(&self, group: GroupId, slots: Range<u16>) {
        if let Some(shelf) = self.0.lock().get(&group.0) {
            shelf.lock().slots = slots;
        }
    }

    fn settled(&self, group: GroupId, index: u64, conversations: &BTreeSet<ConversationId>) {
        let shelf = self.0.lock().get(&group.0).cloned();
        let shelf = shelf.expect("a shard stands somewhere before it goes on");
        let mut shelf = shelf.lock();
        conversations.iter().for_each(|id| shelf.note(index, *id));
        shelf.stands = shelf.stands.max(index);
    }
}

/// A listener to events of which it is noted where they happened.
pub(crate) struct Noted<P> {
    listener: P,
    recent: Recent,
}

impl<P: Publish> Noted<P> {
    /// What `listener` is told is noted.
    pub(crate) fn new(listener: P, recent: Recent) -> Self {
        Self { listener, recent }
    }
}

impl<P: Publish> Publish for Noted<P> {
    fn publish(&self, events: Vec<ShardEvent>) {
        self.listener.publish(events);
    }

    fn settled(&self, group: GroupId, index: u64, conversations: &BTreeSet<ConversationId>) {
        self.recent.settled(group, index, conversations);
    }

    fn stands(&self, group: GroupId, slots: Range<u16>, index: u64) {
        self.recent.stands(group, slots, index);
    }

    fn keeps(&self, group: GroupId, slots: Range<u16>) {
        self.recent.keeps(group, slots);
    }

    fn replaced(&self, slots: Range<u16>) {
        self.listener.replaced(slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::fake::user;

    const ONE: GroupId = GroupId(1);

    fn id(number: usize) -> ConversationId {
        ConversationId::direct(&user("alice"), &user(&format!("u{number}")))
    }

    fn since(recent: &Recent, index: u64) -> Option<BTreeSet<ConversationId>> {
        recent.since(&[(1, index)].into())
    }

    #[test]
    fn what_changed_since_is_named_once_and_nothing_from_before() {
        let recent = Recent::default();
        recent.stands(ONE, 0..10, 7);
        recent.settled(ONE, 8, &[id(1), id(2)].into());
        recent.settled(ONE, 9, &BTreeSet::new());
        recent.settled(ONE, 10, &[id(1)].into());
        assert_eq!(recent.stand(), [(1, 10)].into());
        assert_eq!(since(&recent, 7), Some([id(1), id(2)].into()));
        assert_eq!(since(&recent, 8), Some([id(1)].into()));
        assert_eq!(since(&recent, 10), Some(BTreeSet::new()));
        assert_eq!(since(&recent, 99), Some(BTreeSet::new()), "this node is behind");
        assert_eq!(since(&recent, 6), None, "before this node began");
        assert_eq!(recent.since(&Stand::new()), None, "a shard that it does not know");
    }

    #[test]
    fn a_split_leaves_a_slot_of_each_half_and_begins_the_new_one_where_it_stands() {
        let recent = Recent::default();
        recent.stands(ONE, 0..10, 7);
        recent.settled(ONE, 8, &[id(1)].into());
        recent.stands(GroupId(2), 0..5, 8);
        recent.keeps(ONE, 5..10);
        assert_eq!(recent.slots(), [0, 5].into());
        assert_eq!(since(&recent, 7), None, "nothing is known of the new one");
        let both = recent.since(&[(1, 7), (2, 8)].into());
        assert_eq!(both, Some([id(1)].into()), "what changed before is remembered");
    }

    #[test]
    fn what_is_forgotten_is_known_to_be() {
        let recent = Recent::default();
        recent.stands(ONE, 0..10, 0);
        for number in 0..=REMEMBERED_MAX {
            recent.settled(ONE, number as u64 + 1, &[id(number)].into());
        }
        assert_eq!(since(&recent, 0), None, "the first one is forgotten");
        assert_eq!(since(&recent, 1), None, "too many to look through");
        let last = REMEMBERED_MAX as u64;
        assert_eq!(since(&recent, last), Some([id(REMEMBERED_MAX)].into()));
        recent.stands(ONE, 0..10, last);
        assert_eq!(since(&recent, last - 1), None, "a state that was replaced");
    }
}
