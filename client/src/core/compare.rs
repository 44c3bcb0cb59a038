//! Whether history still says what the store holds. A node that does not know where this device was (`reset`: the resume
//! token is too old, or a new history epoch began) may be of a cluster that was restored or went on with one survivor, and
//! then what was said last may be gone and its place taken. Of each conversation the last chain value that is held is
//! compared with the cluster's: the chain covers everything before. What differs is forgotten and filled again from its end,
//! never mixed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use chat::{ConversationId, Seq};
use proto::frames::{self, Consistency, read_history};

use super::limits::{BACKOFF_MAX, COMPARES_AT_ONCE, PAGE_MESSAGES, REFILL_PAGES};
use crate::store::Head;

#[derive(Debug, Default)]
pub(super) struct Compare {
    /// The store was asked what it holds.
    asked_store: bool,
    waiting: VecDeque<(ConversationId, Step)>,
    in_flight: BTreeMap<u64, (ConversationId, Step)>,
    /// Names the next question: an answer to one that was dropped says nothing.
    next_question: u64,
    /// A node had no answer for now: nothing is asked before.
    wake_at: Option<Duration>,
}

#[derive(Debug, Clone)]
enum Step {
    Look(Head),
    Refill { below: Seq, pages_left: u32 },
}

impl Compare {
    /// What the store holds is to be compared. True: it has to be asked.
    pub(super) fn begin(&mut self) -> bool {
        self.waiting.retain(|(_, step)| matches!(step, Step::Refill { .. }));
        !std::mem::replace(&mut self.asked_store, true)
    }

    /// The store holds this.
    pub(super) fn heads(&mut self, heads: Vec<Head>) {
        self.asked_store = false;
        let looks = heads.into_iter().map(|head| (head.conversation, Step::Look(head)));
        self.waiting.extend(looks);
    }

    /// A conversation was forgotten: it is filled again from its end.
    pub(super) fn refill(&mut self, conversation: ConversationId) {
        self.waiting.retain(|(waiting, _)| *waiting != conversation);
        self.in_flight.retain(|_, (asked, _)| *asked != conversation);
        // Below the highest possible sequence lies everything.
        let step = Step::Refill { below: Seq(u64::MAX), pages_left: REFILL_PAGES };
        self.waiting.push_back((conversation, step));
    }

    /// Whether all that is held is known to be as the cluster has it. Until then nothing is confirmed: a number that was
    /// reached in another history means nothing.
    pub(super) fn is_settled(&self) -> bool {
        let is_look = |step: &Step| matches!(step, Step::Look(_));
        let steps = self.waiting.iter().chain(self.in_flight.values());
        !self.asked_store && !steps.map(|(_, step)| step).any(is_look)
    }

    /// The next page to ask for, with the name of the question, until there is none.
    pub(super) fn next(&mut self, now: Duration) -> Option<(u64, frames::ReadHistory)> {
        if self.wake_at.is_some_and(|at| now < at) || self.in_flight.len() >= COMPARES_AT_ONCE {
            return None;
        }
        self.wake_at = None;
        let (conversation, step) = self.waiting.pop_front()?;
        let (below, limit) = match &step {
            Step::Look(head) => (head.seq.0.saturating_add(1), 1),
            Step::Refill { below, .. } => (below.0, PAGE_MESSAGES),
        };
        let id = Bytes::copy_from_slice(conversation.as_bytes());
        self.next_question += 1;
        self.in_flight.insert(self.next_question, (conversation, step));
        let request = frames::ReadHistory {
            tag: 0,
            of: Some(read_history::Of::Conversation(id)),
            after: 0,
            before: below,
            limit,
            consistency: Consistency::Linearizable.into(),
            at_least: 0,
            around: 0,
        };
        Some((self.next_question, request))
    }

    /// A page came. The store has it already. Returned is the conversation whose history is another one.
    pub(super) fn answered(
        &mut self,
        now: Duration,
        question: u64,
        page: &frames::HistoryPage,
    ) -> Option<ConversationId> {
        let (conversation, step) = self.in_flight.remove(&question)?;
        if page.problem.as_ref().is_some_and(|problem| problem.retryable || problem.unknown) {
            self.wake_at = Some(now + BACKOFF_MAX);
            self.waiting.push_back((conversation, step));
            return None;
        }
        match step {
            // Whoever may not read it any more cannot compare it.
            _ if page.problem.is_some() => None,
            Step::Look(head) => is_other(&head, page).then_some(conversation),
            Step::Refill { pages_left, .. } => {
                let first = page.messages.first().map_or(0, |message| message.seq);
                if pages_left > 1 && first > 1 {
                    let (below, pages_left) = (Seq(first), pages_left - 1);
                    let step = Step::Refill { below, pages_left };
                    self.waiting.push_back((conversation, step));
                }
                None
            }
        }
    }

    /// The link is gone: what was asked for has to be asked for again.
    pub(super) fn unsend(&mut self) {
        self.waiting.extend(std::mem::take(&mut self.in_flight).into_values());
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.wake_at
    }
}

/// Whether the cluster's history is another one than that in which `head` was said.
fn is_other(head: &Head, page: &frames::HistoryPage) -> bool {
    if page.last_seq < head.seq.0 {
        return true;
    }
    let same_place = page.messages.iter().find(|message| message.seq == head.seq.0);
    same_place.is_some_and(|message| message.chain != head.chain)
}
