//! Who is connected to this node: user → the mailboxes of the user's live sessions.
//!
//! Locked in parts by user, so that groups publish at once. A lock is held for a lookup and some sends that
//! cannot wait, never across anything else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chat::{ConversationId, DeviceId, UserId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Hint;
use crate::figures;
use crate::gateway::tokens::Identity;

/// Hints that may wait for one session. A session that is behind by more reads history instead, which costs less.
pub(crate) const HINTS_MAX: usize = 1024;
/// Conversations noted one by one as lagging; beyond it the session looks at all of its own.
const LAGGING_MAX: usize = 128;
/// Parts of the directory, each behind its own lock: more than there are group threads.
const PARTS: usize = 64;

/// How mailboxes are.
#[derive(Debug, Clone, Copy)]
pub struct Mailboxes {
    /// Hints that may wait for one session.
    pub hints_max: usize,
    /// One of so many finds no room though the next one does: what happens when a session empties a full mailbox while
    /// others post. For simulations, in which nothing happens at once.
    pub missed_every: Option<u64>,
}

/// What a session missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lag {
    /// Hints of these conversations were dropped.
    Some(BTreeSet<ConversationId>),
    /// Hints of more conversations than were noted.
    All,
}

/// One live session as the fan-out sees it.
struct Post {
    number: u64,
    device: DeviceId,
    hints: mpsc::Sender<Hint>,
    posts: AtomicU64,
    missed_every: Option<u64>,
    lag: Mutex<Option<Lag>>,
    ended: CancellationToken,
}

impl Post {
    fn send(&self, hint: &Hint) {
        // That somebody is writing is worth no room that a message may need, and nothing is read up for it.
        let crowded = self.hints.capacity() <= self.hints.max_capacity() / 2;
        if let Hint::Typing(_) = hint {
            let _ = (!crowded).then(|| self.hints.try_send(hint.clone()));
            return;
        }
        let sent = !self.is_missed() && self.hints.try_send(hint.clone()).is_ok();
        if sent || planted::bug(planted::Bug::LagForgotten) {
            return;
        }
        figures::HINTS_DROPPED.increment(1);
        let mut lag = self.lag.lock();
        match (lag.get_or_insert_with(|| Lag::Some(BTreeSet::new())), hint.conversation()) {
            (Lag::Some(conversations), Some(id)) if conversations.len() < LAGGING_MAX => {
                conversations.insert(id);
            }
            (other, _) => *other = Lag::All,
        }
        drop(lag);
        // The session may have drained its mailbox before the lag was noted: this wakes it. If there is still no
        // room, what waits there will wake it, and it finds the note.
        let _ = self.hints.try_send(Hint::Wake);
    }

    /// Whether this one finds no room whatever room there is.
    fn is_missed(&self) -> bool {
        let Some(every) = self.missed_every else { return false };
        self.posts.fetch_add(1, Ordering::Relaxed) % every == every - 1
    }

    /// Everything may have moved.
    fn lag_all(&self) {
        *self.lag.lock() = Some(Lag::All);
        let _ = self.hints.try_send(Hint::Wake);
    }
}

type Part = RwLock<HashMap<UserId, Vec<Arc<Post>>>>;

struct Inner {
    parts: Vec<Part>,
    hasher: RandomState,
    users: AtomicUsize,
    sessions: AtomicUsize,
    numbers: AtomicU64,
    mailboxes: Mailboxes,
}

/// The sessions of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Directory(Arc<Inner>);

impl Default for Directory {
    fn default() -> Self {
        Self::with(Mailboxes { hints_max: HINTS_MAX, missed_every: None })
    }
}

impl Directory {
    /// Nobody yet; sessions will have such mailboxes.
    pub(crate) fn with(mailboxes: Mailboxes) -> Self {
        Self(Arc::new(Inner {
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            hasher: RandomState::new(),
            users: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            numbers: AtomicU64::new(1),
            mailboxes,
        }))
    }

    /// Enters a session. It is in the directory until the mailbox is dropped.
    pub(crate) fn enter(&self, who: &Identity) -> Mailbox {
        self.enter_bounded(who, self.0.mailboxes.hints_max)
    }

    /// As [`Directory::enter`], with room for `hints_max` hints.
    pub(crate) fn enter_bounded(&self, who: &Identity, hints_max: usize) -> Mailbox {
        let (sender, hints) = mpsc::channel(hints_max);
        let post = Arc::new(Post {
            number: self.0.numbers.fetch_add(1, Ordering::Relaxed),
            device: who.device,
            hints: sender,
            posts: AtomicU64::new(0),
            missed_every: self.0.mailboxes.missed_every,
            lag: Mutex::new(None),
            ended: CancellationToken::new(),
        });
        let mut part = self.part(&who.user).write();
        let posts = part.entry(who.user.clone()).or_default();
        if posts.is_empty() {
            self.0.users.fetch_add(1, Ordering::Relaxed);
        }
        posts.push(Arc::clone(&post));
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
        Mailbox { directory: self.clone(), user: who.user.clone(), post, hints }
    }

    /// Whether the user has a session here.
    pub(crate) fn is_online(&self, user: &UserId) -> bool {
        self.part(user).read().contains_key(user)
    }

    /// Whether this device of the user has a session here.
    pub(crate) fn is_here(&self, who: &Identity) -> bool {
        let part = self.part(&who.user).read();
        part.get(&who.user).is_some_and(|posts| posts.iter().any(|post| post.device == who.device))
    }

    /// Whether nobody is connected.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions() == 0
    }

    /// How many sessions are connected.
    pub(crate) fn sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// Posts to every session of `user` here.
    pub(super) fn post(&self, user: &UserId, hint: &Hint) {
        if let Some(posts) = self.part(user).read().get(user) {
            posts.iter().for_each(|post| post.send(hint));
        }
    }

    /// Posts to every session of everybody in `audience` who is connected here, at the price of the smaller side.
    pub(crate) fn post_all<M>(&self, audience: &BTreeMap<UserId, M>, hint: &Hint) {
        if audience.len() <= self.0.users.load(Ordering::Relaxed) {
            audience.keys().for_each(|user| self.post(user, hint));
            return;
        }
        for part in &self.0.parts {
            // The order in which users are told is of no consequence.
            for (user, posts) in part.read().iter() {
                if audience.contains_key(user) {
                    posts.iter().for_each(|post| post.send(hint));
                }
            }
        }
    }

    /// Every session here looks at all of its conversations again.
    pub(super) fn lag_all(&self) {
        for part in &self.0.parts {
            // The order in which users are told is of no consequence.
            part.read().values().flatten().for_each(|post| post.lag_all());
        }
    }

    /// Ends every session of this device here.
    pub(super) fn end(&self, user: &UserId, device: DeviceId) {
        if let Some(posts) = self.part(user).read().get(user) {
            let of_device = posts.iter().filter(|post| post.device == device);
            of_device.for_each(|post| post.ended.cancel());
        }
    }

    fn part(&self, user: &UserId) -> &Part {
        let hash = self.0.hasher.hash_one(user);
        let part = usize::try_from(hash % PARTS as u64).expect("smaller than the number of parts");
        &self.0.parts[part]
    }

    fn leave(&self, user: &UserId, number: u64) {
        let mut part = self.part(user).write();
        let posts = part.get_mut(user).expect("a session leaves once, and was entered");
        posts.retain(|post| post.number != number);
        if posts.is_empty() {
            part.remove(user);
            self.0.users.fetch_sub(1, Ordering::Relaxed);
        }
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session's end of the fan-out.
pub(crate) struct Mailbox {
    directory: Directory,
    user: UserId,
    post: Arc<Post>,
    hints: mpsc::Receiver<Hint>,
}

impl Mailbox {
    /// Waits for hints and moves up to `most` of them into `into`. Cancel-safe.
    pub(crate) async fn receive(&mut self, into: &mut Vec<Hint>, most: usize) -> usize {
        self.hints.recv_many(into, most).await
    }

    /// Moves every hint that was posted by now into `into`.
    pub(crate) fn take_all(&mut self, into: &mut Vec<Hint>) {
        // What is posted meanwhile comes after those, and is for the next turn.
        for _ in 0..self.hints.max_capacity() {
            let Ok(hint) = self.hints.try_recv() else { return };
            into.push(hint);
        }
    }

    /// The next hint, if one waits.
    #[cfg(test)]
    pub(crate) fn try_receive(&mut self) -> Option<Hint> {
        self.hints.try_recv().ok()
    }

    /// What was dropped since the last call. Ask after every receipt: a full mailbox is never empty, so whoever
    /// drains it learns in time.
    pub(crate) fn take_lag(&self) -> Option<Lag> {
        self.post.lag.lock().take()
    }

    /// Cancelled when the device's session was ended.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.post.ended.clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.directory.leave(&self.user, self.post.number);
    }
}
