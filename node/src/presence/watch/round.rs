//! The rounds: who may be watched, who is where, and what is news of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chat::{ConversationId, Timestamp, UserId};
use futures::future::join_all;
use proto::ProblemCode;
use store::StoreError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{List, Told, Watch, Watches};
use crate::clock::Clock;
use crate::fanout::Directory;
use crate::history::{Replica, contacts};
use crate::presence::{OtherNodes, Seen};
use crate::router::Router;

/// From one round to the next, while anybody watches.
const ROUND: Duration = Duration::from_millis(400);
/// Between two rounds at least, however often lists are set: what is set meanwhile is looked at together.
const PACE: Duration = Duration::from_millis(20);
/// Rounds in a row that must miss somebody before they are away: with the five seconds in which a link notices that its
/// peer is silent, offline is told within six.
const MISSED_MAX: u32 = 2;
/// For how long a node that does not answer keeps its last word. Its links notice that it is gone in five seconds, less
/// what the rounds take to tell.
const SILENT_FOR: Duration = Duration::from_secs(4);
/// Users of one question to another node: some 60 KiB at most.
const QUESTION_MAX: usize = 1024;
/// Users watched on one node in all: a round asks for each of them everywhere. Beyond it lists are refused.
const ALL_WATCHED_MAX: usize = 16_384;
/// Links for which a round finds out who on their lists is a contact; the others have their turn in the next.
const LINKS_PROVEN_MAX: usize = 64;
/// Slots that are made fresh before somebody is told that they share nothing.
const FRESH_SLOTS_MAX: usize = 64;
/// How long that may take.
const FRESH_PATIENCE: Duration = Duration::from_millis(800);

/// The last answer of another node.
struct Word {
    at: Instant,
    online: BTreeSet<UserId>,
}

/// What is known of a user who is watched.
struct State {
    seen: Seen,
    missed: u32,
}

/// The task of one node that looks.
pub(crate) struct Watcher {
    /// Who watches whom.
    pub(crate) watches: Watches,
    /// This node's links.
    pub(crate) directory: Directory,
    /// The other nodes.
    pub(crate) others: Arc<dyn OtherNodes>,
    /// Applied state on this node.
    pub(crate) replica: Arc<dyn Replica>,
    /// The way to the shards.
    pub(crate) router: Router,
    /// Wall time.
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a watcher remembers between rounds.
#[derive(Default)]
pub(super) struct Memory {
    words: BTreeMap<u64, Word>,
    states: BTreeMap<UserId, State>,
}

impl Watcher {
    /// Looks until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.go_on()).await;
    }

    async fn go_on(&self) {
        let mut memory = Memory::default();
        loop {
            if self.watches.is_empty() {
                memory = Memory::default();
                self.watches.0.wake.notified().await;
            } else {
                // Whoever sets a list is answered at once.
                let _ = timeout(ROUND, self.watches.0.wake.notified()).await;
            }
            sleep(PACE).await;
            if let Err(error) = self.round(&mut memory).await {
                // The same tables serve the shard's machine, which stops the process at its next write.
                tracing::error!(%error, "presence cannot be read");
                sleep(ROUND).await;
            }
        }
    }

    pub(super) async fn round(&self, memory: &mut Memory) -> Result<(), StoreError> {
        let links = self.watches.links();
        self.doubt(&links);
        let mut proven = 0;
        for link in &links {
            if proven < LINKS_PROVEN_MAX && self.prove(link).await? {
                proven += 1;
            }
        }
        let users = watched(&links);
        self.ask(memory, &users).await;
        self.update(memory, &users)?;
        for link in &links {
            tell(link, memory);
        }
        Ok(())
    }

    /// Whoever was removed somewhere, and whoever watches them, may be no contacts any more.
    fn doubt(&self, links: &[Arc<Watch>]) {
        let gone = std::mem::take(&mut *self.watches.0.gone.lock());
        if !gone.all && gone.users.is_empty() {
            return;
        }
        for link in links {
            let all = gone.all || gone.users.contains(&link.who);
            let List { contacts, unproven } = &mut *link.list.lock();
            unproven.extend(contacts.extract_if(.., |user, _| all || gone.users.contains(user)));
        }
    }

    /// Finds out which of a link's list are contacts. `false`: there was nothing to find out.
    async fn prove(&self, link: &Watch) -> Result<bool, StoreError> {
        let unproven: Vec<UserId> = link.list.lock().unproven.keys().cloned().collect();
        if unproven.is_empty() {
            return Ok(false);
        }
        let strangers = self.share(link, unproven).await?;
        if !strangers.is_empty() && self.freshen(&link.who, &strangers).await {
            let strangers = self.share(link, strangers).await?;
            for user in strangers {
                if link.list.lock().unproven.remove(&user).is_some() {
                    link.tell(&user, Told::Refused(ProblemCode::NotAllowed));
                }
            }
        }
        Ok(true)
    }

    /// Takes those who share a conversation with the link's user for contacts, and returns the others.
    async fn share(&self, link: &Watch, users: Vec<UserId>) -> Result<Vec<UserId>, StoreError> {
        let mut strangers = Vec::new();
        for user in users {
            if user != link.who && !contacts::share(&*self.replica, &link.who, &user).await? {
                strangers.push(user);
                continue;
            }
            let mut list = link.list.lock();
            // Unless the list was set anew meanwhile.
            if let Some(told) = list.unproven.remove(&user) {
                list.contacts.insert(user, told);
            }
        }
        Ok(strangers)
    }

    /// Whether this node has seen everything that could make these its user's contacts.
    async fn freshen(&self, who: &UserId, strangers: &[UserId]) -> bool {
        let direct = strangers.iter().map(|user| ConversationId::direct(who, user).slot());
        let slots: BTreeSet<u16> = direct.take(FRESH_SLOTS_MAX).chain([who.slot()]).collect();
        let all = slots.into_iter().map(|slot| self.router.linearize(slot));
        matches!(timeout(FRESH_PATIENCE, join_all(all)).await, Ok(all) if all.iter().all(Result::is_ok))
    }

    /// Asks the other nodes.
    async fn ask(&self, memory: &mut Memory, users: &BTreeSet<UserId>) {
        let now = Instant::now();
        let mut words: BTreeMap<u64, Option<BTreeSet<UserId>>> = BTreeMap::new();
        let users: Vec<UserId> = users.iter().cloned().collect();
        for part in users.chunks(QUESTION_MAX) {
            let part: Arc<[UserId]> = part.into();
            for (node, answer) in self.others.which_online(Arc::clone(&part)).await {
                let word = words.entry(node).or_insert_with(|| Some(BTreeSet::new()));
                let online = answer.map(|answer| {
                    let both = part.iter().zip(answer).filter(|(_, online)| *online);
                    both.map(|(user, _)| user.clone()).collect::<Vec<_>>()
                });
                match (word.as_mut(), online) {
                    (Some(word), Some(online)) => word.extend(online),
                    _ => *word = None,
                }
            }
        }
        memory.words.retain(|node, word| {
            words.contains_key(node) && now.duration_since(word.at) <= SILENT_FOR
        });
        for (node, word) in words {
            if let Some(online) = word {
                memory.words.insert(node, Word { at: now, online });
            }
        }
    }

    fn update(&self, memory: &mut Memory, users: &BTreeSet<UserId>) -> Result<(), StoreError> {
        let Memory { words, states } = memory;
        let now = self.clock.now();
        states.retain(|user, _| users.contains(user));
        for user in users {
            let online = self.directory.is_online(user)
                || words.values().any(|word| word.online.contains(user));
            match states.get_mut(user) {
                _ if online => {
                    let seen = Seen { online, last_seen: Some(now) };
                    states.insert(user.clone(), State { seen, missed: 0 });
                }
                Some(state) if state.seen.online && state.missed + 1 < MISSED_MAX => {
                    state.missed += 1;
                }
                Some(state) if !state.seen.online => {}
                known => {
                    let last = known.and_then(|state| state.seen.last_seen);
                    let marked = self.replica.user(user)?.map(|account| account.last_seen);
                    let marked = marked.filter(|at| *at > Timestamp(0));
                    let seen = Seen { online, last_seen: last.max(marked) };
                    states.insert(user.clone(), State { seen, missed: 0 });
                }
            }
        }
        Ok(())
    }
}

/// Everybody who is watched, up to the bound. Those beyond it are refused.
fn watched(links: &[Arc<Watch>]) -> BTreeSet<UserId> {
    let mut users = BTreeSet::new();
    for link in links {
        let mut list = link.list.lock();
        let beyond = list.contacts.extract_if(.., |user, _| {
            let room = users.len() < ALL_WATCHED_MAX || users.contains(user);
            room.then(|| users.insert(user.clone()));
            !room
        });
        let beyond: Vec<UserId> = beyond.map(|(user, _)| user).collect();
        drop(list);
        beyond.iter().for_each(|user| link.tell(user, Told::Refused(ProblemCode::Overloaded)));
    }
    users
}

/// Tells a link what is news to it.
fn tell(link: &Watch, memory: &Memory) {
    let mut list = link.list.lock();
    for (user, told) in &mut list.contacts {
        let Some(state) = memory.states.get(user) else { continue };
        if *told != Some(state.seen.online) {
            *told = Some(state.seen.online);
            link.tell(user, Told::Seen(state.seen));
        }
    }
}
