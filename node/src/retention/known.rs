//! Which conversations do not keep their messages for ever, and when to look at each again. Told of on the groups'
//! threads: nothing here waits.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat::{ConversationId, What};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::shard::{Publish, ShardEvent};

/// Conversations that are remembered, at about 50 bytes each. Those beyond it are found by a later walk, when others are
/// kept for ever again.
const KNOWN_MAX: usize = 1 << 20;

#[derive(Default)]
struct Inner {
    /// With when to look again; `None`: now.
    conversations: Mutex<BTreeMap<ConversationId, Option<Instant>>>,
    replaced: AtomicBool,
}

/// The conversations of one node. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Inner>);

impl Known {
    /// Notes that this conversation may have something to erase now.
    pub(super) fn note(&self, id: ConversationId) {
        let mut conversations = self.0.conversations.lock();
        if conversations.len() < KNOWN_MAX || conversations.contains_key(&id) {
            conversations.insert(id, None);
        }
    }

    /// The same for one that a walk found, unless it is known.
    pub(super) fn found(&self, id: ConversationId) {
        let mut conversations = self.0.conversations.lock();
        if conversations.len() < KNOWN_MAX {
            conversations.entry(id).or_insert(None);
        }
    }

    /// Those to look at now, at most `most`.
    pub(super) fn due(&self, now: Instant, most: usize) -> Vec<ConversationId> {
        let conversations = self.0.conversations.lock();
        let due = conversations.iter().filter(|(_, at)| at.is_none_or(|at| at <= now));
        due.map(|(id, _)| *id).take(most).collect()
    }

    /// Is about to be looked at; at the latest again then.
    pub(super) fn begin(&self, id: ConversationId, at: Instant) {
        if let Some(next) = self.0.conversations.lock().get_mut(&id) {
            *next = Some(at);
        }
    }

    /// Was looked at: again then, or never. What was noted meanwhile is looked at now all the same.
    pub(super) fn end(&self, id: ConversationId, again: Option<Instant>) {
        let mut conversations = self.0.conversations.lock();
        if conversations.get(&id).is_none_or(|next| next.is_none()) {
            return;
        }
        match again {
            Some(at) => conversations.insert(id, Some(at)),
            None => conversations.remove(&id),
        };
    }

    /// Whether a state was replaced since the last call, and with it perhaps what is known here.
    pub(super) fn take_replaced(&self) -> bool {
        self.0.replaced.swap(false, Ordering::Relaxed)
    }
}

/// A listener to events of which some are noted here.
pub(crate) struct Heard<P> {
    listener: P,
    known: Known,
}

impl<P: Publish> Heard<P> {
    /// What `listener` is told is looked at.
    pub(crate) fn new(listener: P, known: Known) -> Self {
        Self { listener, known }
    }
}

impl<P: Publish> Publish for Heard<P> {
    fn publish(&self, events: Vec<ShardEvent>) {
        for event in &events {
            if let ShardEvent::Change { change, .. } = event
                && let What::RetentionSet { .. } = change.what
            {
                self.known.note(change.conversation);
            }
        }
        self.listener.publish(events);
    }

    fn replaced(&self, slots: Range<u16>) {
        self.known.0.replaced.store(true, Ordering::Relaxed);
        self.listener.replaced(slots);
    }
}
