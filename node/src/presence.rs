//! Presence: who is online, and when somebody last was.
//!
//! Online means a live session on some node: this one's directory knows its own, the others are asked. Links
//! themselves notice a dead peer within five seconds, so no second timer runs here. `lastSeen` is durable: it is
//! marked in the user's record when the first link of a device on this node begins and when the last one ends.
//! A node that was killed marks nothing; then the mark of the link's beginning is the best that is known.

mod watch;

use std::sync::Arc;
use std::time::Duration;

use chat::{Timestamp, UserCommand, UserId};
use futures::future::BoxFuture;
use lru::LruCache;
use parking_lot::Mutex;
use store::StoreError;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::Clock;
use crate::fanout::{Directory, Typing};
use crate::gateway::tokens::Identity;
use crate::history::Replica;
use crate::router::Router;

pub(crate) use watch::{Departures, Told, WATCHED_MAX, Watcher, Watches, Watching};

/// How long the other nodes may take; one that is silent has no links that count.
const ASK_DEADLINE: Duration = Duration::from_millis(800);
/// Marks of one device on one node are at least this far apart: a flapping client must not write without end.
const MARK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Devices whose last mark is remembered, so that the interval can be kept.
const MARKED_MAX: usize = 65_536;

/// Whether a user is connected to this node. What other nodes ask.
pub(crate) trait LocalPresence: Send + Sync + 'static {
    /// Whether the user has a live session here.
    fn is_online(&self, user: &UserId) -> bool;
}

impl LocalPresence for Directory {
    fn is_online(&self, user: &UserId) -> bool {
        Self::is_online(self, user)
    }
}

/// The other nodes of the cluster.
pub(crate) trait OtherNodes: Send + Sync + 'static {
    /// Whether any of them has a live session of `user`; those that do not answer in time have none.
    fn any_online(&self, user: &UserId) -> BoxFuture<'static, bool>;
    /// Which of `users` have live sessions there, node by node and in their order; `None` of a node that does not answer in
    /// time.
    fn which_online(
        &self,
        users: Arc<[UserId]>,
    ) -> BoxFuture<'static, Vec<(u64, Option<Vec<bool>>)>>;
    /// Tells all of them that somebody is writing. Whoever does not take it in time is not told again.
    fn tell_typing(&self, typing: &Typing) -> BoxFuture<'static, ()>;
}

/// What can be said about a user's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Some device is connected somewhere.
    pub(crate) online: bool,
    /// The last sign of life; now for whoever is online, `None` before the first.
    pub(crate) last_seen: Option<Timestamp>,
}

/// Answers for presence and keeps the durable mark.
#[derive(Clone)]
pub(crate) struct Presence {
    directory: Directory,
    others: Arc<dyn OtherNodes>,
    replica: Arc<dyn Replica>,
    router: Router,
    clock: Arc<dyn Clock>,
    marked: Arc<Mutex<LruCache<Identity, Instant>>>,
}

impl Presence {
    /// Presence over these ports.
    pub(crate) fn new(
        directory: Directory,
        others: Arc<dyn OtherNodes>,
        replica: Arc<dyn Replica>,
        router: Router,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let marked = Arc::new(Mutex::new(LruCache::unbounded()));
        Self { directory, others, replica, router, clock, marked }
    }

    /// Whether any node has a live session of `user`; one that does not answer in time has none.
    pub(crate) async fn is_online(&self, user: &UserId) -> bool {
        self.directory.is_online(user)
            || timeout(ASK_DEADLINE, self.others.any_online(user)).await.unwrap_or(false)
    }

    /// What is known about an existing user.
    ///
    /// # Errors
    /// When the local replica cannot be read.
    pub(crate) async fn of(&self, user: &UserId) -> Result<Seen, StoreError> {
        let online = planted::bug(planted::Bug::AlwaysOnline) || self.is_online(user).await;
        if online {
            return Ok(Seen { online, last_seen: Some(self.clock.now()) });
        }
        // The mark of a link that ended elsewhere a moment ago; without a quorum, what is known here.
        let _ = timeout(ASK_DEADLINE, self.router.linearize(user.slot())).await;
        let account = self.replica.user(user)?;
        let last_seen = account.map(|account| account.last_seen).filter(|at| *at > Timestamp(0));
        Ok(Seen { online, last_seen })
    }

    /// A link of `who` began on this node: writes the mark if none was written just now. The outcome is of no
    /// consequence; the next link writes the next mark.
    pub(crate) async fn began(&self, who: &Identity) {
        if self.take_turn(who).is_ok() {
            self.mark_at(who, self.clock.now()).await;
        }
    }

    /// The last link of `who` on this node ended: writes the mark, after the interval if one was written just now
    /// and nobody came back meanwhile.
    pub(crate) async fn left(&self, who: &Identity) {
        let left_at = self.clock.now();
        while let Err(due) = self.take_turn(who) {
            sleep_until(due).await;
            if self.directory.is_here(who) {
                return;
            }
        }
        self.mark_at(who, left_at).await;
    }

    async fn mark_at(&self, who: &Identity, at: Timestamp) {
        let user = &who.user;
        let mark = UserCommand::MarkSeen { at, device: Some(who.device) };
        let command = proto::encode_user_command(user, &mark);
        if let Err(error) = self.router.submit(user.slot(), command).await {
            tracing::debug!(%user, %error, "last seen was not marked");
        }
    }

    /// Takes the right to write a mark now, or says when it will be there.
    fn take_turn(&self, who: &Identity) -> Result<(), Instant> {
        let now = Instant::now();
        let mut marked = self.marked.lock();
        if let Some(at) = marked.get(who) {
            let due = *at + MARK_INTERVAL_MIN;
            if due > now {
                return Err(due);
            }
        }
        marked.put(who.clone(), now);
        if marked.len() > MARKED_MAX {
            marked.pop_lru();
        }
        Ok(())
    }
}
