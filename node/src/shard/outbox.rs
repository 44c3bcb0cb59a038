//! Carries out what this shard owes others: a conversation belongs into a user's list, or no more, and the list lives in
//! the user's shard.
//!
//! What is owed stands in the shard's state, so it survives whatever happens to this task. While this replica leads, the
//! task proposes the oldest items at their users' shards, waits until each is settled, and only then proposes at its own
//! shard that they are done. A crash or a change of leader in between repeats items from the oldest on; that is harmless,
//! because linking twice is linking once.
//!
//! One weakness is accepted: a link whose answer was lost may take effect after a later unlink of the same conversation.
//! The user's list then names a conversation whose door is closed; membership, which is decided in the conversation's own
//! log, still refuses them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::{Owed, UserCommand};
use futures::future::join_all;
use proto::{keys, row};
use raft::{Fatal, Group, GroupId};
use store::tables::{Direction, KeyRange, Tables};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::applied::Counters;
use crate::router::Router;

/// Items under way at once. Enough to fill one entry of each shard; few enough that a repetition after a crash is cheap.
const ITEMS_MAX: usize = 64;
/// The first pause after a failure: long enough for a new leader to be found, not noticed by a user.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause. What is owed stays owed, so repetitions are bounded in rate and not in number.
const PAUSE_MAX: Duration = Duration::from_secs(2);

const _: () = assert!(ITEMS_MAX > 0 && PAUSE_MIN.as_nanos() <= PAUSE_MAX.as_nanos());

/// What the machine tells its outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ledger {
    leading: bool,
    counters: Counters,
}

impl Ledger {
    /// Whether this replica leads and owes something.
    fn is_due(&self) -> bool {
        self.leading && self.counters.done + 1 < self.counters.next
    }
}

/// The machine's end of the outbox.
#[derive(Clone)]
pub(crate) struct Wake(watch::Sender<Ledger>);

impl Wake {
    /// Tells how the outbox stands; costs nothing when it stands as before.
    pub(super) fn tell(&self, leading: bool, counters: Counters) {
        let ledger = Ledger { leading, counters };
        self.0.send_if_modified(|told| std::mem::replace(told, ledger) != ledger);
    }
}

/// The task that drains one shard's outbox.
pub(crate) struct Outbox {
    group: GroupId,
    tables: Arc<dyn Tables>,
    router: Router,
    ledger: watch::Sender<Ledger>,
}

impl Outbox {
    /// The outbox of `group`, whose rows are in `tables`.
    pub(crate) fn new(group: GroupId, tables: Arc<dyn Tables>, router: Router) -> Self {
        Self { group, tables, router, ledger: watch::Sender::new(Ledger::default()) }
    }

    /// What the shard's machine tells its progress to.
    pub(crate) fn wake(&self) -> Wake {
        Wake(self.ledger.clone())
    }

    /// Runs until `stop`. What is done is proposed to `group`, which is this shard's own.
    pub(crate) async fn run(self, group: Group, stop: CancellationToken) {
        let done = |command| {
            let group = group.clone();
            async move { group.propose(command).await.is_ok() }
        };
        let drained = stop.run_until_cancelled(self.drain(done)).await;
        if let Some(Err(fatal)) = drained {
            // The same tables serve the shard's machine, which stops the process at its next write.
            tracing::error!(%fatal, group = %self.group, "the outbox cannot be read");
        }
    }

    /// Carries out what is owed whenever this replica leads, for ever. `done` proposes a command to this shard and says
    /// whether it was applied.
    pub(super) async fn drain<F: Future<Output = bool>>(
        &self,
        done: impl Fn(Bytes) -> F,
    ) -> Result<Infallible, Fatal> {
        let mut ledger = self.ledger.subscribe();
        let mut pause = PAUSE_MIN;
        loop {
            let due = *ledger.wait_for(Ledger::is_due).await.expect("the sender is a field here");
            let carried_out = self.carry_out(due.counters).await?;
            if match carried_out {
                Some(last) => done(proto::encode_outbox_done(last)).await,
                None => false,
            } {
                pause = PAUSE_MIN;
            } else {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(PAUSE_MAX);
            }
        }
    }

    /// Carries out the oldest items that are due. Answers the last one's number, or `None` when something has to be
    /// repeated.
    async fn carry_out(&self, due: Counters) -> Result<Option<u64>, Fatal> {
        let items = self.oldest(due.done)?;
        let Some((last, _)) = items.last() else {
            // All were carried out by now, or went to a group that was split off: none of these numbers is left.
            return Ok(Some(due.next - 1));
        };
        let last = Some(*last);
        let proposed: Vec<_> = items
            .iter()
            .map(|(_, owed)| self.router.submit(owed.user().slot(), command(owed)))
            .collect();
        // Any outcome settles an item: a user who does not exist has no list to be put on.
        let settled = join_all(proposed).await.iter().all(Result::is_ok);
        Ok(last.filter(|_| settled))
    }

    /// The oldest items after `done`, up to the first that is about the same list and conversation as one before it: those
    /// two must not overtake each other.
    fn oldest(&self, done: u64) -> Result<Vec<(u64, Owed)>, Fatal> {
        let start = keys::outbox(self.group, done + 1);
        let range = KeyRange::new(start, keys::outbox_range(self.group).end);
        let rows = self.tables.scan(range, Direction::Ascending, ITEMS_MAX)?;
        let damaged = |error: proto::DecodeError| Fatal::new(format!("the outbox: {error}"));
        let mut items: Vec<(u64, Owed)> = Vec::with_capacity(rows.len());
        let mut about = BTreeSet::new();
        for (key, value) in rows {
            let (_, number) = keys::decode_outbox(&key).map_err(damaged)?;
            let owed = row::decode_owed(&value).map_err(damaged)?;
            let conversation = match &owed {
                Owed::Link { conversation, .. } | Owed::Unlink { conversation, .. } => {
                    *conversation
                }
            };
            if !about.insert((owed.user().clone(), conversation)) {
                break;
            }
            items.push((number, owed));
        }
        Ok(items)
    }
}

fn command(owed: &Owed) -> Bytes {
    let (user, command) = match owed {
        Owed::Link { user, conversation, to } => {
            (user, UserCommand::Link { conversation: *conversation, to: to.clone() })
        }
        Owed::Unlink { user, conversation } => {
            (user, UserCommand::Unlink { conversation: *conversation })
        }
    };
    proto::encode_user_command(user, &command)
}
