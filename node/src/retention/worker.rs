//! The one task that looks and asks: a bounded number of conversations in each step, one command at a time.

use std::sync::Arc;
use std::time::Duration;

use chat::limits::EXPIRE_MAX;
use chat::{Command, ConversationId, Outcome, SLOTS, Seq, Timestamp};
use store::StoreError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Known;
use crate::clock::Clock;
use crate::history::{Direction, Replica, Span};
use crate::push::Leads;
use crate::router::Router;

/// How often it looks whether something is due: what has expired is gone about that soon.
const STEP: Duration = Duration::from_millis(500);
/// Conversations that are looked at in a step; those beyond it in the next.
const LOOKS_MAX: usize = 1024;
/// Commands for one conversation before others get their turn: 8,192 messages.
const COMMANDS_MAX: usize = 64;
/// Between two commands, so that no message waits behind more than one of them.
const PACE: Duration = Duration::from_millis(10);
/// A conversation is looked at again after that whatever was found, because clocks are set and leaders change.
const AGAIN_MAX: Duration = Duration::from_secs(600);
/// How soon one that another node leads, or that could not be asked for, is looked at again: about a failover.
const ELSEWHERE_AGAIN: Duration = Duration::from_secs(2);
/// Slots of a step of the walk: all of them in sixteen seconds after the start.
const WALK_SLOTS: u16 = 512;
/// How often the rows are read again: events keep what is known, this only makes sure.
const WALK_AGAIN: Duration = Duration::from_secs(3600);

const _: () = assert!(SLOTS.is_multiple_of(WALK_SLOTS), "a walk ends with a step");

/// The worker of one node.
pub(crate) struct Worker {
    /// What was heard of.
    pub(crate) known: Known,
    /// What this node leads.
    pub(crate) leads: Leads,
    /// Applied state on this node.
    pub(crate) replica: Arc<dyn Replica>,
    /// The way to the shards.
    pub(crate) router: Router,
    /// Wall time.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Where the walk over the rows stands.
struct Walk {
    slot: u16,
    at: Instant,
}

/// When to look at a conversation again.
enum Next {
    Never,
    In(Duration),
}

impl Worker {
    /// Erases what has expired until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.go_on()).await;
    }

    async fn go_on(&self) {
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut walk = Walk { slot: 0, at: Instant::now() };
        loop {
            steps.tick().await;
            self.walk_on(&mut walk);
            for id in self.known.due(Instant::now(), LOOKS_MAX) {
                self.known.begin(id, Instant::now() + ELSEWHERE_AGAIN);
                match self.look(id).await {
                    Ok(Next::Never) => self.known.end(id, None),
                    Ok(Next::In(pause)) => self.known.end(id, Some(Instant::now() + pause)),
                    // The same tables serve the shard's machine, which stops the process at its next write.
                    Err(error) => tracing::error!(%error, "what has expired cannot be read"),
                }
            }
        }
    }

    /// Erases what is due in one conversation, if this node leads it.
    async fn look(&self, id: ConversationId) -> Result<Next, StoreError> {
        for _ in 0..COMMANDS_MAX {
            let Some(head) = self.replica.head(id)? else { return Ok(Next::Never) };
            let Some(retention) = head.retention else { return Ok(Next::Never) };
            if !(self.leads)(id.slot()) {
                return Ok(Next::In(ELSEWHERE_AGAIN));
            }
            let now = self.clock.now();
            let has_passed = |at: Timestamp| retention.has_passed(at, now);
            let Some(oldest) = self.messages(id, head.expired, 1)?.pop() else {
                return Ok(next(now, retention.ends(now)));
            };
            if !has_passed(oldest.1) {
                return Ok(next(now, retention.ends(oldest.1)));
            }
            let most = usize::try_from(EXPIRE_MAX).expect("a small constant");
            let messages = self.messages(id, head.expired, most)?;
            let due = messages.into_iter().take_while(|(_, at)| has_passed(*at)).last();
            let (up_to, _) = due.expect("the oldest is due");
            if !self.expire(id, up_to).await {
                return Ok(Next::In(ELSEWHERE_AGAIN));
            }
            sleep(PACE).await;
        }
        Ok(Next::In(STEP))
    }

    /// The first messages after one: where they stand, and when they were said.
    fn messages(
        &self,
        id: ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<(Seq, Timestamp)>, StoreError> {
        let span = Span { after, before: None, limit, direction: Direction::OldestFirst };
        let messages = self.replica.messages(id, span)?;
        Ok(messages.into_iter().map(|message| (message.seq, message.at)).collect())
    }

    /// Asks. Whether it is so is decided where it commits; asking twice does nothing more.
    async fn expire(&self, id: ConversationId, up_to: Seq) -> bool {
        let command = proto::encode_conversation_command(id, &Command::Expire { up_to });
        match self.router.submit(id.slot(), command).await {
            Ok(Outcome::Accepted(_)) => true,
            Ok(outcome) => {
                tracing::debug!(%id, ?outcome, "it has not expired");
                false
            }
            Err(error) => {
                tracing::debug!(%id, %error, "expiry is asked for later");
                false
            }
        }
    }

    /// One step of the walk over the rows that say which conversations there are.
    fn walk_on(&self, walk: &mut Walk) {
        let now = Instant::now();
        if self.known.take_replaced() {
            *walk = Walk { slot: 0, at: now };
        }
        if now < walk.at {
            return;
        }
        let end = (walk.slot + WALK_SLOTS).min(SLOTS);
        for slot in walk.slot..end {
            match self.replica.retained(slot) {
                Ok(found) => found.into_iter().for_each(|id| self.known.found(id)),
                Err(error) => tracing::error!(%error, "what has expired cannot be found"),
            }
        }
        walk.slot = end % SLOTS;
        if end == SLOTS {
            walk.at = now + WALK_AGAIN;
        }
    }
}

/// At `due`, or sooner.
fn next(now: Timestamp, due: Timestamp) -> Next {
    let pause = Duration::from_millis(due.0.saturating_sub(now.0));
    Next::In(pause.clamp(Duration::from_millis(1), AGAIN_MAX))
}

#[cfg(test)]
mod tests;
