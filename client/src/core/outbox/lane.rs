//! One conversation's messages on their way out. Decides which may be written next and under which order.

use std::collections::VecDeque;
use std::time::Duration;

use chat::{ConversationId, Order};
use proto::frame::SendRequest;
use proto::frames::{Problem, Stored};

use super::Ticket;
use crate::SendError;
use crate::core::limits::PIPELINE_MAX;
use crate::store::Record;

/// One message.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) ticket: Ticket,
    pub(super) request: SendRequest,
    pub(super) state: State,
    /// Attempts that were written.
    pub(super) attempts: u32,
    /// Of these, those that may have been stored for all that is known.
    pub(super) unresolved: u32,
    /// Why the last attempt did not work.
    pub(super) last: Option<Problem>,
    /// The count of the lane that its order belongs to.
    era: u64,
    /// The order as it was noted last.
    noted: Option<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To be written when its turn comes.
    Ready,
    /// Written to the link that carries everything, and unanswered.
    InFlight,
    /// Refused because one before it is missing: to be written after that one.
    Held,
}

impl Item {
    pub(super) fn new(ticket: Ticket, request: SendRequest) -> Item {
        assert!(request.order.is_none(), "orders are given by the lane");
        let state = State::Ready;
        Item { ticket, request, state, attempts: 0, unresolved: 0, last: None, era: 0, noted: None }
    }
}

/// What to tell about a message whose time is over.
pub(super) fn verdict(item: &Item) -> SendError {
    match &item.last {
        _ if item.unresolved > 0 => SendError::Unknown,
        Some(problem) => SendError::Unavailable(problem.clone()),
        None => SendError::Unreachable,
    }
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// In the order of sending.
    pub(super) queue: VecDeque<Item>,
    /// The order of the next message that has none; `None` when it is not known.
    next_order: Option<u64>,
    /// The highest order that a node was heard to have stored: the next one is above it, whichever message is answered.
    highest: u64,
    /// Rises whenever the count is lost.
    era: u64,
    /// Nothing is written before.
    pub(super) wake_at: Option<Duration>,
    /// The next order and the highest one as they were noted last.
    noted: (Option<u64>, u64),
}

impl Lane {
    /// The counting goes on where an earlier life of this client was.
    pub(super) fn restore_count(&mut self, next_order: Option<u64>, highest: u64) {
        (self.next_order, self.highest) = (next_order, highest);
        self.noted = (next_order, highest);
    }

    /// The cluster's history went back: what was stored then may not be any more.
    pub(super) fn forget_count(&mut self) {
        self.lose_count();
        self.highest = 0;
    }

    /// The message that was put in last had this number, which stays with it while the counting goes on.
    pub(super) fn restore_order(&mut self, order: Option<Order>) {
        let counting = self.next_order.is_some();
        let place = self.queue.len().checked_sub(1).expect("one was put in");
        self.queue[place].noted = order;
        self.queue[place].request.order = order.filter(|_| counting);
        self.assert_counting(place);
    }

    /// What changed since the last call.
    pub(super) fn numbers(&mut self, conversation: ConversationId, records: &mut Vec<Record>) {
        let (next, highest) = (self.next_order, self.highest);
        if self.noted != (next, highest) {
            self.noted = (next, highest);
            records.push(Record::Counting { conversation, next, highest });
        }
        // A number of a count that was given up is not written again, whatever becomes of its attempt.
        let era = self.era;
        let counted = |item: &Item| item.request.order.filter(|_| item.era == era);
        let changed = |item: &&mut Item| item.noted != counted(item);
        // Given up before given anew, so that no two have one number in between.
        for item in self.queue.iter_mut().filter(changed).filter(|item| item.noted.is_some()) {
            item.noted = None;
            records.push(Record::Numbered { ticket: item.ticket, order: None });
        }
        for item in self.queue.iter_mut().filter(changed) {
            item.noted = counted(item);
            records.push(Record::Numbered { ticket: item.ticket, order: item.noted });
        }
    }

    /// The next message that may be written, with its order.
    pub(super) fn next(&mut self) -> Option<&mut Item> {
        if self.wake_at.is_some() {
            return None;
        }
        self.release_head();
        let era = self.era;
        for place in 0..self.queue.len().min(PIPELINE_MAX) {
            let item = &mut self.queue[place];
            match item.state {
                // From before the count was lost: what comes after it waits for its answer.
                State::InFlight if item.era != era => return None,
                State::InFlight => {}
                State::Held => return None,
                State::Ready => {
                    if item.era != era {
                        // Its number, if it had one, is of a count that was given up.
                        item.request.order = None;
                    }
                    item.era = era;
                    match &mut self.next_order {
                        // A number it had stays with it.
                        Some(_) if item.request.order.is_some() => {}
                        Some(next) => {
                            item.request.order = Some(Order(*next));
                            *next += 1;
                        }
                        None if place > 0 => return None,
                        None => assert!(item.request.order.is_none(), "no count, no number"),
                    }
                    self.assert_counting(place);
                    self.release_after(place);
                    return Some(&mut self.queue[place]);
                }
            }
        }
        None
    }

    /// Numbers rise, or whatever was numbered wrongly would be stored out of order.
    fn assert_counting(&self, place: usize) {
        let Some(before) = place.checked_sub(1) else { return };
        let (before, item) = (&self.queue[before], &self.queue[place]);
        if let (Some(before), Some(order)) = (before.request.order, item.request.order) {
            assert!(before < order, "orders of a lane rise: {before} before {order}");
        }
    }

    /// The oldest message waits for none before it: if it was refused as out of order, the count is wrong.
    fn release_head(&mut self) {
        if self.queue.front().is_some_and(|item| item.state == State::Held) {
            self.queue[0].state = State::Ready;
            self.lose_count();
        }
    }

    /// One is written again: those that were refused for its sake may follow.
    fn release_after(&mut self, place: usize) {
        for item in self.queue.iter_mut().skip(place + 1).filter(|item| item.state == State::Held) {
            item.state = State::Ready;
        }
    }

    /// Refused because an earlier one is missing.
    pub(super) fn out_of_order(&mut self, ticket: Ticket) {
        let place = self.place(ticket).expect("asked for a message that is here");
        let era = self.era;
        let waits = self.queue.iter().take(place).any(|item| item.state == State::InFlight);
        let item = &mut self.queue[place];
        if item.era != era {
            item.state = State::Ready;
        } else if waits {
            item.state = State::Held;
        } else if place == 0 {
            item.state = State::Ready;
            self.lose_count();
        } else {
            // The one before it waits to be written again, and this one after it.
            item.state = State::Ready;
        }
    }

    /// The count is no longer known. Messages on their way keep their numbers until they are answered.
    pub(super) fn lose_count(&mut self) {
        self.next_order = None;
        self.era += 1;
        for item in self.queue.iter_mut().filter(|item| item.state != State::InFlight) {
            item.state = State::Ready;
            item.request.order = None;
        }
    }

    /// All that is unanswered has to be written again.
    pub(super) fn unsend(&mut self) {
        let (era, counting) = (self.era, self.next_order.is_some());
        for item in self.queue.iter_mut() {
            item.state = State::Ready;
            if item.era != era || !counting {
                item.request.order = None;
            }
        }
    }

    /// Stored under this order: the count is known from here on.
    pub(super) fn stored(&mut self, ticket: Ticket, stored: &Stored) -> Item {
        let (item, order) = (self.take(ticket), stored.order);
        if self.next_order.is_none() && item.request.order.is_none() && !stored.duplicate {
            // Just stored, under the number that the cluster chose: it is the last, even if there was a higher one in a
            // history that is gone.
            self.highest = order;
        }
        // Several of an older count may come in after each other, and one that is told again may be older than others that
        // were settled before: the highest counts.
        self.highest = self.highest.max(order);
        self.next_order = self.next_order.max(Some(self.highest + 1));
        self.release_after_settled();
        item
    }

    /// One is settled: whoever was held may have waited for it.
    fn release_after_settled(&mut self) {
        for item in self.queue.iter_mut().filter(|item| item.state == State::Held) {
            item.state = State::Ready;
        }
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Item {
        let place = self.place(ticket).expect("asked for a message that is here");
        self.queue.remove(place).expect("the place was found")
    }

    pub(super) fn item(&mut self, ticket: Ticket) -> Option<&mut Item> {
        self.queue.iter_mut().find(|item| item.ticket == ticket)
    }

    fn place(&self, ticket: Ticket) -> Option<usize> {
        self.queue.iter().position(|item| item.ticket == ticket)
    }
}
