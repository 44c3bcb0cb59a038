//! Of what a link may tell how far others have got: only of what it has seen as fresh as the cluster was when it began.
//!
//! A status never goes backwards for a client, also not across its links (specification, status; contract section 6). A node
//! that lags would tell a new link less than another node told the last one. So nothing is told about a slot until this
//! node has once caught up with its shard, after the link began; from then on its own replica only moves forwards.
//! Messages are not held back by this: their place is their sequence, and a gap shows.

use std::collections::{BTreeMap, BTreeSet};

use chat::ConversationId;

/// What one link knows about freshness. Bounded by the number of slots and of the user's conversations.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    fresh: BTreeSet<u16>,
    /// Conversations with something to tell, by the slot that is being waited for.
    waiting: BTreeMap<u16, BTreeSet<ConversationId>>,
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

    /// There is something to tell once the slot is fresh. True if nobody waits for that slot yet.
    pub(crate) fn wait(&mut self, conversation: ConversationId) -> bool {
        let slot = conversation.slot();
        let first = !self.waiting.contains_key(&slot);
        self.waiting.entry(slot).or_default().insert(conversation);
        first
    }
}
