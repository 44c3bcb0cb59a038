//! What the index has yet to look at. Told of on the groups' threads: nothing here waits.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat::{ConversationId, SLOTS, Timestamp};
use parking_lot::Mutex;
use raft::GroupId;
use tokio::sync::{Notify, watch};

use super::Search;
use crate::shard::{Publish, ShardEvent};

/// Conversations that are noted one by one, at about 50 bytes each. With more news than that at once, all are looked at.
const NOTED_MAX: usize = 1 << 16;

/// A walk over all conversations, by slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Walk {
    /// Which walk it is: one that begins anew is another.
    turn: u64,
    /// The next slot.
    slot: u16,
}

struct Inner {
    conversations: BTreeSet<ConversationId>,
    walk: Option<Walk>,
    turns: u64,
    /// Counts whatever was noted.
    count: u64,
}

impl Inner {
    fn begin_anew(&mut self) {
        self.turns += 1;
        self.walk = Some(Walk { turn: self.turns, slot: 0 });
    }
}

/// How far the index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Everything that was noted up to this count is found.
    pub(super) count: u64,
    /// Everything that was applied here by then is found; `None` until everything was looked at once.
    pub(super) through: Option<Timestamp>,
}

/// What a round looks at.
pub(super) struct Round {
    pub(super) conversations: BTreeSet<ConversationId>,
    pub(super) slots: Range<u16>,
    walk: Option<Walk>,
    count: u64,
    /// Nothing is left but this.
    whole: bool,
}

/// The notes of one node.
pub(super) struct Notes {
    inner: Mutex<Inner>,
    done: watch::Sender<Done>,
    /// Somebody began to wait for what was noted.
    pub(super) wanted: Notify,
    /// How many wait for it.
    asking: AtomicUsize,
}

/// Somebody who waits for what was noted.
pub(super) struct Asking<'a>(&'a Notes);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Notes {
    /// Everything is still to be looked at.
    fn default() -> Self {
        let mut inner = Inner { conversations: BTreeSet::new(), walk: None, turns: 0, count: 0 };
        inner.begin_anew();
        let done = watch::Sender::new(Done::default());
        Self { inner: Mutex::new(inner), done, wanted: Notify::new(), asking: AtomicUsize::new(0) }
    }
}

impl Notes {
    /// Somebody waits from now on, and the indexing makes haste.
    pub(super) fn ask(&self) -> Asking<'_> {
        self.asking.fetch_add(1, Ordering::Relaxed);
        self.wanted.notify_one();
        Asking(self)
    }

    /// Whether somebody waits.
    pub(super) fn is_asked(&self) -> bool {
        self.asking.load(Ordering::Relaxed) > 0
    }

    pub(super) fn note(&self, conversations: &BTreeSet<ConversationId>) {
        if conversations.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        inner.count += 1;
        inner.conversations.extend(conversations);
        if inner.conversations.len() > NOTED_MAX {
            inner.conversations.clear();
            inner.begin_anew();
        }
    }

    /// Everything is to be looked at again.
    pub(super) fn all(&self) {
        let mut inner = self.inner.lock();
        inner.count += 1;
        inner.begin_anew();
    }

    /// What to look at now: at most so many conversations, and so many slots of the walk.
    pub(super) fn take(&self, most: usize, slots: u16) -> Round {
        let mut inner = self.inner.lock();
        let conversations = match inner.conversations.iter().nth(most).copied() {
            None => std::mem::take(&mut inner.conversations),
            Some(first) => {
                let later = inner.conversations.split_off(&first);
                std::mem::replace(&mut inner.conversations, later)
            }
        };
        let whole = inner.conversations.is_empty() && inner.walk.is_none();
        let slots =
            inner.walk.map_or(0..0, |walk| walk.slot..walk.slot.saturating_add(slots).min(SLOTS));
        Round { conversations, slots, walk: inner.walk, count: inner.count, whole }
    }

    /// A round that began at `at` has ended: these are left of it, and everything below `slot` was walked through.
    pub(super) fn end(
        &self,
        round: &Round,
        at: Timestamp,
        left: BTreeSet<ConversationId>,
        slot: u16,
    ) {
        let whole = round.whole && left.is_empty();
        let mut inner = self.inner.lock();
        inner.conversations.extend(left);
        // It may have begun anew meanwhile.
        if inner.walk == round.walk
            && let Some(walk) = round.walk
        {
            inner.walk = (slot < SLOTS).then_some(Walk { slot, ..walk });
        }
        drop(inner);
        if whole {
            self.done.send_replace(Done { count: round.count, through: Some(at) });
        }
    }

    /// Whether a walk over all conversations goes on.
    pub(super) fn is_walking(&self) -> bool {
        self.inner.lock().walk.is_some()
    }

    /// Counts whatever was noted.
    pub(super) fn count(&self) -> u64 {
        self.inner.lock().count
    }

    /// How far the index is.
    pub(super) fn done(&self) -> watch::Receiver<Done> {
        self.done.subscribe()
    }
}

/// A listener to events, of which the search hears which conversations to look at.
pub(crate) struct Fed<P> {
    listener: P,
    search: Option<Search>,
}

impl<P: Publish> Fed<P> {
    /// What `listener` is told is noted for `search`, if there is one.
    pub(crate) fn new(listener: P, search: Option<Search>) -> Self {
        Self { listener, search }
    }
}

impl<P: Publish> Publish for Fed<P> {
    fn publish(&self, events: Vec<ShardEvent>) {
        self.listener.publish(events);
    }

    fn settled(&self, group: GroupId, index: u64, conversations: &BTreeSet<ConversationId>) {
        self.listener.settled(group, index, conversations);
        if let Some(search) = &self.search {
            search.notes().note(conversations);
        }
    }

    fn stands(&self, group: GroupId, slots: Range<u16>, index: u64) {
        self.listener.stands(group, slots, index);
    }

    fn keeps(&self, group: GroupId, slots: Range<u16>) {
        self.listener.keeps(group, slots);
    }

    fn replaced(&self, slots: Range<u16>) {
        self.listener.replaced(slots);
        if let Some(search) = &self.search {
            search.notes().all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::fake::user;

    fn id(number: usize) -> ConversationId {
        ConversationId::direct(&user("alice"), &user(&format!("u{number}")))
    }

    fn walked() -> Notes {
        let notes = Notes::default();
        let round = notes.take(9, SLOTS);
        assert_eq!(round.slots, 0..SLOTS);
        notes.end(&round, Timestamp(1), BTreeSet::new(), SLOTS);
        notes
    }

    fn done(notes: &Notes) -> (u64, Option<u64>) {
        let done = *notes.done().borrow();
        (done.count, done.through.map(|at| at.0))
    }

    #[test]
    fn nothing_is_called_found_before_everything_was_looked_at_once() {
        let notes = walked();
        assert_eq!(done(&notes), (0, None), "the walk has only just ended");
        let round = notes.take(9, SLOTS);
        assert_eq!(round.slots, 0..0);
        notes.end(&round, Timestamp(2), BTreeSet::new(), 0);
        assert_eq!(done(&notes), (0, Some(2)));
    }

    #[test]
    fn what_is_left_or_was_noted_meanwhile_is_not_called_found() {
        let notes = walked();
        notes.note(&[id(1), id(2)].into());
        let round = notes.take(1, SLOTS);
        assert_eq!(round.conversations.len(), 1);
        notes.end(&round, Timestamp(3), BTreeSet::new(), 0);
        assert_eq!(done(&notes).1, None, "one is still noted");
        let round = notes.take(9, SLOTS);
        notes.note(&[id(3)].into());
        notes.end(&round, Timestamp(4), round.conversations.clone(), 0);
        assert_eq!(done(&notes).1, None, "it could not be finished");
        let round = notes.take(9, SLOTS);
        assert_eq!(round.conversations.len(), 2);
        notes.end(&round, Timestamp(5), BTreeSet::new(), 0);
        assert_eq!(done(&notes), (notes.count(), Some(5)));
    }

    #[test]
    fn a_walk_that_begins_anew_while_one_goes_on_is_walked_from_its_beginning() {
        let notes = Notes::default();
        let round = notes.take(9, 10);
        notes.all();
        notes.end(&round, Timestamp(1), BTreeSet::new(), 10);
        assert_eq!(notes.take(9, 10).slots, 0..10);
    }

    #[test]
    fn too_much_news_makes_a_walk_of_it() {
        let notes = walked();
        for number in 0..=NOTED_MAX {
            notes.note(&[id(number)].into());
        }
        let round = notes.take(9, SLOTS);
        assert_eq!((round.conversations.len(), round.slots), (0, 0..SLOTS));
    }
}
