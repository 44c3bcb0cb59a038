//! What is overheard for the pusher: who has registrations, and who of them was just written to.
//!
//! Called on the groups' threads: nothing here waits. That somebody was written to is a hint that may be lost; the sweep
//! finds what it was about. Who has registrations is kept on every replica, so that whoever begins to lead knows it; it
//! is found by a walk over the rows at the start, and again from time to time and after a state was replaced.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat::{UserEvent, UserId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::shard::{Publish, ShardEvent};

/// Users who were heard of and not yet looked at; beyond it the sweep finds them.
const HEARD_MAX: usize = 16_384;
/// Users who are known to have registrations, at about 100 bytes each. A node with more is beyond what it was made for.
const KNOWN_MAX: usize = 1 << 20;

#[derive(Default)]
struct Inner {
    known: RwLock<BTreeSet<UserId>>,
    heard: Mutex<BTreeSet<UserId>>,
    wake: Notify,
    replaced: AtomicBool,
}

/// The hints of one node. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Hints(Arc<Inner>);

impl Hints {
    /// Looks at one event.
    fn hear(&self, event: &ShardEvent) {
        match event {
            ShardEvent::Message { message, audience } => {
                let known = self.0.known.read();
                let told = |user: &&UserId| **user != message.sender;
                // At the price of the smaller side.
                if known.len() < audience.members.len() {
                    let members = known.iter().filter(|user| audience.members.contains_key(user));
                    members.filter(told).for_each(|user| self.note(user));
                } else {
                    let known = audience.members.keys().filter(|user| known.contains(*user));
                    known.filter(told).for_each(|user| self.note(user));
                }
            }
            ShardEvent::User { user, event: UserEvent::PushAdded { .. } } => self.know(user),
            _ => {}
        }
    }

    /// Notes that this user has registrations. Whoever has none any more stays until the process ends: looking at
    /// them is cheap.
    pub(super) fn know(&self, user: &UserId) {
        let mut known = self.0.known.write();
        if known.len() < KNOWN_MAX {
            known.insert(user.clone());
        }
    }

    /// Notes that this user should be looked at.
    pub(super) fn note(&self, user: &UserId) {
        let mut heard = self.0.heard.lock();
        if heard.len() < HEARD_MAX && heard.insert(user.clone()) {
            self.0.wake.notify_one();
        }
    }

    /// Waits until somebody was heard of. Cancel-safe.
    pub(super) async fn heard(&self) -> BTreeSet<UserId> {
        loop {
            let heard = std::mem::take(&mut *self.0.heard.lock());
            if !heard.is_empty() {
                return heard;
            }
            self.0.wake.notified().await;
        }
    }

    /// Those who are known to have registrations.
    pub(super) fn known(&self) -> Vec<UserId> {
        self.0.known.read().iter().cloned().collect()
    }

    /// Whether a state was replaced since the last call, and with it perhaps who has registrations.
    pub(super) fn take_replaced(&self) -> bool {
        self.0.replaced.swap(false, Ordering::Relaxed)
    }
}

/// A listener to events that is overheard by the pusher.
pub(crate) struct Overheard<P> {
    listener: P,
    hints: Hints,
}

impl<P: Publish> Overheard<P> {
    /// What `listener` is told is a hint, too.
    pub(crate) fn new(listener: P, hints: Hints) -> Self {
        Self { listener, hints }
    }
}

impl<P: Publish> Publish for Overheard<P> {
    fn publish(&self, events: Vec<ShardEvent>) {
        events.iter().for_each(|event| self.hints.hear(event));
        self.listener.publish(events);
    }

    fn replaced(&self, slots: Range<u16>) {
        self.hints.0.replaced.store(true, Ordering::Relaxed);
        self.listener.replaced(slots);
    }
}
