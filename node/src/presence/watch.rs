//! Watch lists: a link says whose coming and going it wants to be told of, and is told.
//!
//! One task of the node looks, in rounds, at everybody who is watched here: at this node's own links, and by one question
//! to each of the other nodes. So it makes no difference where somebody is connected or who leads what. A node that is
//! silent keeps the last word for as long as its links may still be alive; somebody is away when two rounds in a row
//! found them nowhere, so that whoever goes from one node to another is not away in between.
//!
//! Who may be watched is who may be asked for: contacts, judged when the list is set, and again whenever somebody was
//! removed somewhere. Nothing here waits in front of a message: news lie in a place of the link's own, one for each user,
//! the newest in the place of the one before.

mod round;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chat::UserId;
use parking_lot::Mutex;
use proto::ProblemCode;
use tokio::sync::Notify;

pub(crate) use round::Watcher;

use super::Seen;
use crate::shard::{Publish, ShardEvent};

/// Users on one link's list: more than a screen shows, and a round asks for all of them.
pub(crate) const WATCHED_MAX: usize = 500;
/// Users who were removed somewhere and not looked at yet; beyond it everybody is.
const GONE_MAX: usize = 4096;

/// What a link is told of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// How they are.
    Seen(Seen),
    /// Why the link is not told, or no more.
    Refused(ProblemCode),
}

/// A link's list. What was told of each is with it.
#[derive(Debug, Default)]
struct List {
    contacts: BTreeMap<UserId, Option<bool>>,
    /// Whether they are contacts is to be found out.
    unproven: BTreeMap<UserId, Option<bool>>,
}

struct Watch {
    number: u64,
    who: UserId,
    list: Mutex<List>,
    news: Mutex<BTreeMap<UserId, Told>>,
    tell: Notify,
}

impl Watch {
    fn tell(&self, user: &UserId, told: Told) {
        self.news.lock().insert(user.clone(), told);
        self.tell.notify_one();
    }
}

/// Users who were removed from a group since they were last looked at.
#[derive(Default)]
struct Gone {
    users: BTreeSet<UserId>,
    all: bool,
}

#[derive(Default)]
struct Inner {
    links: Mutex<BTreeMap<u64, Arc<Watch>>>,
    count: AtomicUsize,
    numbers: AtomicU64,
    gone: Mutex<Gone>,
    wake: Notify,
}

/// The lists of all links of a node. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Watches(Arc<Inner>);

impl Watches {
    /// A link of `user` begins to watch. It does until the answer is dropped.
    pub(crate) fn begin(&self, user: &UserId) -> Watching {
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let watch = Arc::new(Watch {
            number,
            who: user.clone(),
            list: Mutex::default(),
            news: Mutex::default(),
            tell: Notify::new(),
        });
        self.0.links.lock().insert(number, Arc::clone(&watch));
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Watching { watches: self.clone(), watch }
    }

    fn links(&self) -> Vec<Arc<Watch>> {
        self.0.links.lock().values().cloned().collect()
    }

    fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) == 0
    }

    /// These users were removed somewhere, or anybody may have been.
    fn gone(&self, users: &[UserId], all: bool) {
        if self.is_empty() {
            return;
        }
        let mut gone = self.0.gone.lock();
        gone.users.extend(users.iter().cloned());
        gone.all |= all || gone.users.len() > GONE_MAX;
        if gone.all {
            gone.users.clear();
        }
        drop(gone);
        self.0.wake.notify_one();
    }
}

/// A link's end of its list.
pub(crate) struct Watching {
    watches: Watches,
    watch: Arc<Watch>,
}

impl Watching {
    /// These users from now on, and no others. Each of them is told of once, and then when it is news.
    pub(crate) fn set(&self, users: BTreeSet<UserId>) {
        assert!(users.len() <= WATCHED_MAX, "the face has counted them");
        let mut list = self.watch.list.lock();
        list.contacts.clear();
        list.unproven = users.into_iter().map(|user| (user, None)).collect();
        self.watch.news.lock().clear();
        drop(list);
        self.watches.0.wake.notify_one();
    }

    /// Waits for news. Cancel-safe.
    pub(crate) async fn news(&self) -> Vec<(UserId, Told)> {
        loop {
            let news = std::mem::take(&mut *self.watch.news.lock());
            if !news.is_empty() {
                return news.into_iter().collect();
            }
            self.watch.tell.notified().await;
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watches.0.links.lock().remove(&self.watch.number);
        self.watches.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A listener to events that is overheard for who was removed.
pub(crate) struct Departures<P> {
    listener: P,
    watches: Watches,
}

impl<P: Publish> Departures<P> {
    /// What `listener` is told is looked at.
    pub(crate) fn new(listener: P, watches: Watches) -> Self {
        Self { listener, watches }
    }
}

impl<P: Publish> Publish for Departures<P> {
    fn publish(&self, events: Vec<ShardEvent>) {
        for event in &events {
            if let ShardEvent::Members { removed, .. } = event
                && !removed.is_empty()
            {
                self.watches.gone(removed, false);
            }
        }
        self.listener.publish(events);
    }

    fn replaced(&self, slots: Range<u16>) {
        self.watches.gone(&[], true);
        self.listener.replaced(slots);
    }
}

#[cfg(test)]
mod tests;
