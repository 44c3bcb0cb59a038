//! Messages that wait or are unanswered: one lane for each conversation, in the order in which the application sent them.
//!
//! A lane counts: its messages carry order numbers 1, 2, 3 … of this device there, so that many can be on their way at once
//! and none can overtake another. A lane that does not know its count (at the beginning, or after the count was broken by a
//! refusal) sends one message without a number, waits for its answer, and counts on from the number the node gave it. A
//! message without a number is recognised by its id, so that nothing is ever stored twice.

mod lane;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chat::{ConversationId, Order, Seq, Timestamp};
use proto::ProblemCode;
use proto::frame::SendRequest;
use proto::frames::{Problem, Stored};

use super::action::{Settled, Ticket};
use super::backoff::Jitter;
use super::limits::OUTBOX_MAX;
use crate::store::{KeptLane, KeptSend, Record};
use crate::{Receipt, SendError};

use lane::{Item, Lane, State};

#[derive(Debug, Default)]
pub(super) struct Outbox {
    lanes: BTreeMap<ConversationId, Lane>,
    /// Where each message waits, and until when; `None` for what is kept until it is answered.
    homes: BTreeMap<Ticket, (ConversationId, Option<Duration>)>,
    /// Lanes that may have something to write.
    dirty: BTreeSet<ConversationId>,
    /// When paused lanes go on.
    wakes: BTreeSet<(Duration, ConversationId)>,
    /// When patience ends.
    deadlines: BTreeSet<(Duration, Ticket)>,
    /// Lanes whose numbers may have changed since they were last noted.
    renumbered: BTreeSet<ConversationId>,
}

impl Outbox {
    /// What an earlier life of this client left behind, in the order of sending, and where it was in its counting.
    pub(super) fn restore(&mut self, sends: Vec<KeptSend>, lanes: &[KeptLane]) {
        for lane in lanes.iter().filter(|lane| lane.highest_order > 0 || lane.next_order.is_some())
        {
            let to = self.lanes.entry(lane.conversation).or_default();
            to.restore_count(lane.next_order, lane.highest_order);
        }
        for KeptSend { ticket, conversation, mut request } in sends {
            let lane = self.lanes.entry(conversation).or_default();
            let order = request.order.take();
            lane.queue.push_back(Item::new(ticket, request));
            lane.restore_order(order);
            let home = self.homes.insert(ticket, (conversation, None));
            assert!(home.is_none(), "the store has each ticket once");
            self.dirty.insert(conversation);
            self.renumbered.insert(conversation);
        }
    }

    /// The numbers that changed since the last call, and where the counting is.
    pub(super) fn numbers(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for conversation in std::mem::take(&mut self.renumbered) {
            if let Some(lane) = self.lanes.get_mut(&conversation) {
                lane.numbers(conversation, &mut records);
            }
        }
        records
    }

    /// The cluster's history went back there: where its counting is, only it knows.
    pub(super) fn forget_count(&mut self, conversation: ConversationId) {
        if let Some(lane) = self.lanes.get_mut(&conversation) {
            lane.forget_count();
            self.renumbered.insert(conversation);
            self.touch(conversation);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.homes.len() >= OUTBOX_MAX
    }

    pub(super) fn push(
        &mut self,
        ticket: Ticket,
        conversation: ConversationId,
        request: SendRequest,
        deadline: Option<Duration>,
    ) {
        assert!(self.homes.len() < OUTBOX_MAX, "asked before");
        let home = self.homes.insert(ticket, (conversation, deadline));
        assert!(home.is_none(), "a ticket is used once");
        self.deadlines.extend(deadline.map(|deadline| (deadline, ticket)));
        let lane = self.lanes.entry(conversation).or_default();
        lane.queue.push_back(Item::new(ticket, request));
        self.dirty.insert(conversation);
    }

    /// Where a message that is not settled yet is to go.
    pub(super) fn home(&self, ticket: Ticket) -> Option<ConversationId> {
        self.homes.get(&ticket).map(|(conversation, _)| *conversation)
    }

    /// The next message to write, marked as on its way, until there is none.
    pub(super) fn next(&mut self) -> Option<(Ticket, SendRequest)> {
        while let Some(id) = self.dirty.first().copied() {
            self.renumbered.insert(id);
            let lane = self.lanes.get_mut(&id);
            if let Some(item) = lane.and_then(Lane::next) {
                item.state = State::InFlight;
                item.attempts += 1;
                item.unresolved += 1;
                return Some((item.ticket, item.request.clone()));
            }
            self.dirty.remove(&id);
        }
        None
    }

    /// The link is gone: everything unanswered has to be written again, under the same orders.
    pub(super) fn unsend(&mut self) {
        for (id, lane) in &mut self.lanes {
            lane.unsend();
            self.renumbered.insert(*id);
            if lane.wake_at.is_none() {
                self.dirty.insert(*id);
            }
        }
    }

    /// A node stored the message. `None`: it was settled before.
    pub(super) fn stored(&mut self, ticket: Ticket, stored: &Stored) -> Option<Settled> {
        let conversation = self.leave(ticket)?;
        let lane = self.lanes.get_mut(&conversation).expect("a home has a lane");
        let item = lane.stored(ticket, stored);
        self.touch(conversation);
        let receipt = Receipt {
            conversation,
            seq: Seq(stored.seq),
            at: Timestamp(stored.at_ms),
            message_id: item.request.message_id,
            order: Order(stored.order),
        };
        Some(Settled::Sent(ticket, Ok(receipt)))
    }

    /// The node that carries everything did not store the message.
    pub(super) fn failed(
        &mut self,
        now: Duration,
        ticket: Ticket,
        problem: Problem,
        jitter: &mut Jitter,
    ) -> Option<Settled> {
        let (conversation, _) = *self.homes.get(&ticket)?;
        let lane = self.lanes.get_mut(&conversation).expect("a home has a lane");
        let item = lane.item(ticket).expect("a home holds its message");
        if item.state != State::InFlight {
            // An answer to an attempt before the last link change; the next attempt has its own.
            return None;
        }
        let code = problem.known_code();
        if !problem.unknown {
            item.unresolved -= 1;
        }
        let asked = Duration::from_millis(problem.retry_after_ms);
        let counted = item.request.order.is_some();
        if code == Some(ProblemCode::OutOfOrder) && counted {
            lane.out_of_order(ticket);
        } else if code == Some(ProblemCode::Conflict) && counted {
            // Another process of this device may have used the number. Without one, only the id decides.
            item.state = State::Ready;
            lane.lose_count();
        } else if problem.retryable || problem.unknown {
            item.state = State::Ready;
            item.last = Some(problem);
            let pause = jitter.pause(item.attempts.saturating_sub(1), asked);
            self.pause(conversation, now + pause);
        } else {
            let settled = self.give_up(ticket, |_| SendError::Refused(problem));
            self.touch(conversation);
            return settled;
        }
        self.touch(conversation);
        None
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        let wake = self.wakes.first().map(|(at, _)| *at);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        [wake, deadline].into_iter().flatten().min()
    }

    /// Wakes lanes whose pause is over and gives up what was tried for too long.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Settled> {
        while let Some((at, id)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, id));
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.wake_at = None;
                self.dirty.insert(id);
            }
        }
        let mut settled = Vec::new();
        while let Some((_, ticket)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            settled.extend(self.give_up(ticket, lane::verdict));
        }
        settled
    }

    /// Nothing more is sent in this life. What is kept is sent in the next one.
    pub(super) fn stop(&mut self, kept: bool) -> Vec<Settled> {
        let tickets: Vec<Ticket> = self.homes.keys().copied().collect();
        let verdict = |item: &Item| match item.unresolved {
            _ if kept => SendError::Pending,
            0 => SendError::Stopped,
            _ => SendError::Unknown,
        };
        let settled = tickets.into_iter().filter_map(|ticket| self.give_up(ticket, verdict));
        settled.collect()
    }

    /// Takes a message out unstored. The count of its lane is broken by that.
    fn give_up(
        &mut self,
        ticket: Ticket,
        verdict: impl FnOnce(&Item) -> SendError,
    ) -> Option<Settled> {
        let conversation = self.leave(ticket)?;
        let lane = self.lanes.get_mut(&conversation).expect("a home has a lane");
        let item = lane.take(ticket);
        lane.lose_count();
        self.touch(conversation);
        Some(Settled::Sent(ticket, Err(verdict(&item))))
    }

    fn pause(&mut self, conversation: ConversationId, until: Duration) {
        let lane = self.lanes.get_mut(&conversation).expect("a home has a lane");
        if let Some(before) = lane.wake_at.replace(until) {
            self.wakes.remove(&(before, conversation));
        }
        self.wakes.insert((until, conversation));
    }

    /// The message is settled: nobody waits for it here any more.
    fn leave(&mut self, ticket: Ticket) -> Option<ConversationId> {
        let (conversation, deadline) = self.homes.remove(&ticket)?;
        if let Some(deadline) = deadline {
            let waited = self.deadlines.remove(&(deadline, ticket));
            assert!(waited, "every message that may be given up has a deadline");
        }
        Some(conversation)
    }

    /// The lane may have something to write.
    fn touch(&mut self, conversation: ConversationId) {
        self.renumbered.insert(conversation);
        if self.lanes.get(&conversation).is_some_and(|lane| lane.wake_at.is_none()) {
            self.dirty.insert(conversation);
        }
    }
}
