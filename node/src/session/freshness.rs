//! Of what a link may tell how far others have got: only of what it has seen as fresh as the cluster was when it began.
//!
//! A status never goes backwards for a client, also not across its links (specification, status; contract section 6). A node
//! that lags would tell a new link less than another node told the last one. So nothing is told about a slot until this
//! node has once caught up with its shard, after the link began; from then on its own replica only moves forwards. Hints
//! may have been queued before that moment and say what was true before it: so the first status of a conversation is read
//! from the replica, and hints only tell that there is something to read.
//! Messages are not held back by this: their place is their sequence, and a gap shows.

use std::collections::{BTreeMap, BTreeSet};

use chat::{ConversationId, Seq};

/// What one link knows about freshness. Bounded by the number of slots and of the user's conversations.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    fresh: BTreeSet<u16>,
    /// Conversations with something to tell, by the slot that is being waited for.
    waiting: BTreeMap<u16, BTreeSet<ConversationId>>,
    /// Conversations whose floors are about to be read, with what single members' progress has touched meanwhile.
    reading: BTreeMap<ConversationId, Option<(Seq, Seq)>>,
}

impl Freshness {
    /// The local replica has caught up with these slots since the link began. Returns the conversations that waited.
    pub(crate) fn caught_up(&mut self, slots: &BTreeSet<u16>) -> Vec<ConversationId> {
        self.fresh.extend(slots);
        slots.iter().filter_map(|slot| self.waiting.remove(slot)).flatten().collect()
    }

    pub(crate) fn is_fresh(&self, conversation: ConversationId) -> bool {
        self.fresh.contains(&conversation.slot())
    }

    /// A member's progress is told with the floors that are read next. True if nobody has asked for them yet.
    pub(crate) fn hold(
        &mut self,
        conversation: ConversationId,
        progress: Option<(Seq, Seq)>,
    ) -> bool {
        let first = !self.reading.contains_key(&conversation);
        let held = self.reading.entry(conversation).or_default();
        *held = hull(*held, progress);
        first
    }

    /// The floors were read. Returns `progress` with what was held.
    pub(crate) fn release(
        &mut self,
        conversation: ConversationId,
        progress: Option<(Seq, Seq)>,
    ) -> Option<(Seq, Seq)> {
        hull(self.reading.remove(&conversation).flatten(), progress)
    }

    /// There is something to tell once the slot is fresh. True if nobody waits for that slot yet.
    pub(crate) fn wait(&mut self, conversation: ConversationId) -> bool {
        let slot = conversation.slot();
        let first = !self.waiting.contains_key(&slot);
        self.waiting.entry(slot).or_default().insert(conversation);
        first
    }
}

/// The smallest stretch that covers both.
pub(crate) fn hull(one: Option<(Seq, Seq)>, other: Option<(Seq, Seq)>) -> Option<(Seq, Seq)> {
    [one, other].into_iter().flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}
