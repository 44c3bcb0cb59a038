//! The client without IO: frames and times in, actions out. It owns what must be right when links come and go: which
//! message has which order, what is unanswered, what was received, and when to look for another node.
//!
//! Time is an argument: `now` is the time since the client began. Nothing here waits, dials or draws randomness, so that a
//! test can play any order of events. The laws:
//!
//! 1. A message is sent again under the same message id, and while the counting holds under the same order number.
//! 2. Messages of one conversation are never written out of order, and none is written past one that has to be repeated.
//! 3. Each message comes in once, in the order of its sequence; a gap is closed by reading history.
//! 4. All that is kept is bounded by the constants in [`limits`].

mod action;
mod backoff;
mod changes;
mod compare;
mod confirms;
mod delivery;
mod frames;
mod kept;
mod limits;
mod links;
mod outbox;
mod reads;
mod session;

use std::collections::VecDeque;
use std::time::Duration;

use chat::{ConversationId, UserId};
use proto::frame::SendRequest;

use crate::store::Record;
use crate::{AskError, Config, Credentials, Incoming, SendError};

pub(crate) use action::{Action, Settled, Ticket};
pub(crate) use confirms::Reached;
pub(crate) use limits::{COMMANDS_MAX, WATCHED_MAX};
pub(crate) use links::LinkId;
pub(crate) use reads::Query;

use backoff::Jitter;
use changes::Changes;
use compare::Compare;
use confirms::Confirms;
use delivery::Delivery;
use kept::Keeping;
use links::Links;
use outbox::Outbox;
use reads::Reads;
use session::Session;

/// The state of one client.
#[derive(Debug)]
pub(crate) struct Core {
    send_patience: Duration,
    ask_patience: Duration,
    session: Session,
    links: Links,
    outbox: Outbox,
    confirms: Confirms,
    reads: Reads,
    delivery: Delivery,
    changes: Changes,
    compare: Compare,
    keeping: Keeping,
    /// What the next link begins with: what the newest one was given, or the wish for it.
    resume: String,
    /// Whom the application watches, once it has said so.
    watched: Option<Vec<UserId>>,
    jitter: Jitter,
    actions: VecDeque<Action>,
    incoming: VecDeque<Incoming>,
    /// How many of them, from the front, are recorded.
    recorded: usize,
    tag: u64,
    stopped: bool,
}

impl Core {
    /// A client that has no link yet and will ask for one at its first [`Core::poll`] after [`Core::tick`].
    pub(crate) fn new(config: &Config, credentials: Credentials, seed: u64) -> Core {
        Core {
            send_patience: config.send_patience,
            ask_patience: config.ask_patience,
            delivery: Delivery::new(credentials.device),
            session: Session::new(credentials),
            links: Links::new(config.nodes.clone()),
            outbox: Outbox::default(),
            confirms: Confirms::default(),
            reads: Reads::default(),
            changes: Changes::default(),
            compare: Compare::default(),
            keeping: Keeping::default(),
            resume: String::new(),
            watched: None,
            jitter: Jitter::new(seed),
            actions: VecDeque::new(),
            incoming: VecDeque::new(),
            recorded: 0,
            tag: 0,
            stopped: false,
        }
    }

    /// A message to be sent. Its `tag` and `order` are set here. False: it was not taken, and is settled.
    pub(crate) fn send(
        &mut self,
        now: Duration,
        ticket: Ticket,
        conversation: ConversationId,
        request: SendRequest,
    ) -> bool {
        let refused = match (self.stopped, self.outbox.is_full()) {
            (true, _) => Some(SendError::Stopped),
            (_, true) => Some(SendError::OutboxFull),
            _ => None,
        };
        if let Some(error) = refused {
            self.settle(Settled::Sent(ticket, Err(error)));
            false
        } else {
            let kept = self.keeping.on;
            if kept {
                let request = Box::new(request.clone());
                self.record(Record::Queued { ticket, conversation, request });
                self.keeping.durably = true;
            }
            let deadline = (!kept).then(|| now + self.send_patience);
            self.outbox.push(ticket, conversation, request, deadline);
            self.flush(now);
            true
        }
    }

    /// The device has got this far. Without a ticket nobody waits for the answer.
    pub(crate) fn confirm(
        &mut self,
        now: Duration,
        ticket: Option<Ticket>,
        conversation: ConversationId,
        mut reached: Reached,
    ) {
        if !reached.read {
            reached.seq = self.delivery.confirmable(conversation, reached.seq);
        }
        let refused = match (self.stopped, self.confirms.is_full()) {
            (true, _) => Some(AskError::Stopped),
            (_, true) if ticket.is_some() => Some(AskError::Busy),
            _ => None,
        };
        match (refused, ticket) {
            (Some(error), Some(ticket)) => self.settle(Settled::Confirmed(ticket, Err(error))),
            (Some(_), None) => {}
            (None, _) => {
                let ticket = ticket.map(|ticket| (ticket, now + self.ask_patience));
                let done = self.confirms.want(conversation, reached, ticket);
                self.settle_all(done);
                self.flush(now);
            }
        }
    }

    /// The device has all changes up to here.
    pub(crate) fn confirm_changes(
        &mut self,
        now: Duration,
        conversation: ConversationId,
        number: u64,
    ) {
        self.changes.want(conversation, number);
        self.flush(now);
    }

    /// These users are watched from now on, on every link, and no others.
    pub(crate) fn watch(&mut self, users: Vec<UserId>) {
        assert!(users.len() <= WATCHED_MAX, "the handle refuses more");
        self.watched = Some(users);
        if let Some(link) = self.links.main_id() {
            self.say_whom_to_watch(link);
        }
    }

    /// A page of history is asked for.
    pub(crate) fn read(&mut self, now: Duration, ticket: Ticket, query: Query) {
        if self.stopped {
            self.settle(Settled::Page(ticket, Err(AskError::Stopped)));
        } else if self.reads.is_full() {
            self.settle(Settled::Page(ticket, Err(AskError::Busy)));
        } else {
            self.reads.ask(ticket, query, now + self.ask_patience);
            self.flush(now);
        }
    }

    /// What to do next, until there is nothing.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What came in next, for the application.
    pub(crate) fn poll_incoming(&mut self) -> Option<Incoming> {
        self.recorded = self.recorded.saturating_sub(1);
        self.incoming.pop_front()
    }

    /// What came in since the last call, to be recorded before it is handed over.
    pub(crate) fn unrecorded(&mut self) -> impl Iterator<Item = &Incoming> {
        let first = std::mem::replace(&mut self.recorded, self.incoming.len());
        self.incoming.range(first..)
    }

    /// Whether something waits for the application.
    pub(crate) fn has_incoming(&self) -> bool {
        !self.incoming.is_empty()
    }

    /// Whether the application is so far behind that no more may be read from links.
    pub(crate) fn is_congested(&self) -> bool {
        self.incoming.len() >= limits::INCOMING_MAX
    }

    /// Whether nothing will ever happen again.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The tokens of now.
    pub(crate) fn credentials(&self) -> &Credentials {
        self.session.credentials()
    }

    /// When [`Core::tick`] must be called at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        if self.stopped {
            return None;
        }
        let times = [
            self.links.timeout(self.session.may_dial(), self.is_congested()),
            self.outbox.timeout(),
            self.confirms.timeout(),
            self.reads.timeout(),
            self.delivery.timeout(),
            self.compare.timeout(),
            self.confirm_timeout(),
            self.session.timeout(),
        ];
        times.into_iter().flatten().min()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Duration) {
        if self.stopped {
            return;
        }
        if self.session.due(now) {
            self.actions.push_back(Action::Refresh(self.session.credentials().clone()));
        }
        self.tick_links(now);
        let settled = self.outbox.expire(now);
        self.settle_all(settled);
        let settled = self.confirms.expire(now);
        self.settle_all(settled);
        let settled = self.reads.expire(now);
        self.settle_all(settled);
        self.delivery.expire(now);
        self.flush(now);
    }

    /// The application wants no more. What is unanswered is reported as far as it is known.
    pub(crate) fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        for link in self.links.clear() {
            self.actions.push_back(Action::Close(link));
        }
        let settled = self.outbox.stop(self.keeping.on);
        self.settle_all(settled);
        let settled = self.confirms.stop();
        self.settle_all(settled);
        let settled = self.reads.stop();
        self.settle_all(settled);
    }

    fn end_session(&mut self, reason: String) {
        self.incoming.push_back(Incoming::SessionEnded { reason });
        self.stop();
    }

    fn settle(&mut self, settled: Settled) {
        self.actions.push_back(Action::Settle(settled));
    }

    fn settle_all(&mut self, settled: Vec<Settled>) {
        self.actions.extend(settled.into_iter().map(Action::Settle));
    }
}

#[cfg(test)]
mod tests;
