//! Station 3, converse: a session without IO. Asks, hints and outcomes go in; actions come out.
//!
//! It knows no bytes, no task and no clock but the instants that it is given, so everything that it does can be
//! scripted. Its driver carries out [`Action`]s in their order and hands back what came of them.

mod changing;
mod delivering;
mod sending;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::{Problem, ProblemCode};
use tokio::time::Instant;
use transport::CloseReason;

use super::confirms::{Confirmation, Confirms};
use super::deliveries::{Deliveries, Wanted};
use super::freshness::Freshness;
use super::sends::Sends;
use super::typing::Writers;
use super::words::{Action, Ask, Say, Ticket, Wished};
use crate::fanout::Moved;
use crate::gateway::limits::Bucket;
use crate::gateway::tokens::Identity;
use crate::router::RouteError;

/// How long a link may take to say who it is (contract, section 5).
pub(crate) const GREETING_DEADLINE: Duration = Duration::from_secs(5);

/// Who was admitted, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) who: Identity,
    pub(crate) connection_id: String,
    pub(crate) budget: Arc<Bucket>,
    /// For the next link of this device.
    pub(crate) resume: String,
    /// What this link was to begin with says nothing any more.
    pub(crate) reset: bool,
}

/// Why a command has no outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoOutcome {
    /// The router could not carry it through.
    Route(RouteError),
    /// It was not proposed: this is wrong with it.
    NotProposed(Problem),
}

#[derive(Debug)]
enum Phase {
    /// Nobody has spoken yet.
    Greeting { until: Instant },
    /// A token is being looked at.
    Checking,
    /// Somebody is here.
    Open { who: Identity, budget: Arc<Bucket> },
    /// Nothing more is heard or said.
    Closed,
}

/// An access token, and what an earlier link was given, as the first frame says them.
pub(crate) type Greeting = (String, Option<String>);

/// One link's conversation with this node.
#[derive(Debug)]
pub(crate) struct Session {
    phase: Phase,
    deliveries: Deliveries,
    freshness: Freshness,
    sends: Sends,
    confirms: Confirms,
    histories: BTreeMap<Ticket, u64>,
    /// Wishes to change something, and confirmations of changes, that wait for their outcome.
    wishes: BTreeMap<Ticket, Wished>,
    writers: Writers,
    /// Began with what an earlier link was given.
    resumed: bool,
    next_ticket: Ticket,
    /// Progress of others in conversations that are not known here yet.
    early: VecDeque<Arc<Moved>>,
    actions: VecDeque<Action>,
}

impl Session {
    /// A link that began now, with what its transport said for it, if it did.
    pub(crate) fn new(now: Instant, greeting: Option<Greeting>) -> Self {
        let mut session = Self {
            phase: Phase::Greeting { until: now + GREETING_DEADLINE },
            deliveries: Deliveries::default(),
            freshness: Freshness::default(),
            sends: Sends::default(),
            confirms: Confirms::default(),
            histories: BTreeMap::new(),
            wishes: BTreeMap::new(),
            writers: Writers::default(),
            resumed: false,
            next_ticket: 1,
            early: VecDeque::new(),
            actions: VecDeque::new(),
        };
        if let Some((token, resume)) = greeting {
            session.greet(token, resume);
        }
        session
    }

    /// Whether the driver should read another frame: someone is there to judge it, and there is credit.
    pub(crate) fn wants_frames(&self) -> bool {
        match self.phase {
            Phase::Greeting { .. } => true,
            Phase::Open { .. } => {
                self.sends.has_credit()
                    && self.confirms.has_room()
                    && self.wishes.len() < changing::WISHES_MAX
            }
            Phase::Checking | Phase::Closed => false,
        }
    }

    /// Whether the link is over.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// What to do next, in this order.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.is_closed() {
            return None;
        }
        Some(match self.deliveries.poll_read()? {
            Wanted::Messages(conversation, after) => Action::Read { conversation, after },
            Wanted::Changes(conversation, after) => Action::ReadChanges { conversation, after },
        })
    }

    /// When `handle_timeout` wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Greeting { until } => Some(until),
            Phase::Open { .. } => self.writers.poll_timeout(),
            Phase::Checking | Phase::Closed => None,
        }
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Open { .. }) {
            return self.writers_expired(now);
        }
        if self.poll_timeout().is_some_and(|until| until <= now) {
            let detail = "no token came within the deadline";
            self.fail(
                Problem::new(ProblemCode::Unauthenticated, detail),
                CloseReason::Unauthenticated,
            );
        }
    }

    /// The client asks.
    pub(crate) fn handle_ask(&mut self, now: Instant, ask: Ask) {
        match &self.phase {
            Phase::Greeting { .. } => match ask {
                Ask::Hello { token, resume } => self.greet(token, resume),
                _ => {
                    let detail = "the first frame must name the session's access token";
                    let problem = Problem::new(ProblemCode::Unauthenticated, detail);
                    self.fail(problem, CloseReason::Unauthenticated);
                }
            },
            Phase::Open { who, budget } => {
                let (who, budget) = (who.clone(), Arc::clone(budget));
                self.answer(now, &who, &budget, ask);
            }
            Phase::Checking | Phase::Closed => {}
        }
    }

    fn answer(&mut self, now: Instant, who: &Identity, budget: &Bucket, ask: Ask) {
        match ask {
            Ask::Hello { .. } => {}
            Ask::Send(outgoing) => self.send(now, who, budget, outgoing),
            Ask::Confirm { tag, conversation, seq, read } => {
                self.confirm(who, conversation, Confirmation { tag, seq, read });
            }
            Ask::Change(request) => self.change(now, who, budget, request),
            Ask::ConfirmChanges { tag, conversation, change } => {
                self.confirm_changes(who, Wished { tag, conversation, change_id: None }, change);
            }
            Ask::Typing { conversation, on } => self.typing(now, who, conversation, on),
            Ask::TypingTo { receiver, on } => {
                let conversation = chat::ConversationId::direct(&who.user, &receiver);
                self.typing(now, who, conversation, on);
            }
            Ask::Watch(users) => self.actions.push_back(Action::Watch(users)),
            Ask::ReadHistory { tag, query } => self.read_history(tag, query),
            Ask::Ping { tag } => self.say(Say::Pong { tag }),
            Ask::Invalid(answer) => self.say(*answer),
        }
    }

    fn greet(&mut self, token: String, resume: Option<String>) {
        self.phase = Phase::Checking;
        self.actions.push_back(Action::Authenticate { token, resume });
    }

    /// The token was looked at.
    pub(crate) fn handle_admitted(&mut self, admitted: Result<Admitted, Problem>) {
        if self.is_closed() {
            return;
        }
        match admitted {
            Ok(Admitted { who, connection_id, budget, resume, reset }) => {
                self.phase = Phase::Open { who: who.clone(), budget };
                self.say(Say::Welcome { connection_id, who, resume, reset });
                self.actions.push_back(Action::Open);
            }
            Err(problem) => {
                let reason = match problem.code.retryable() {
                    true => CloseReason::TryAgainLater,
                    false => CloseReason::Unauthenticated,
                };
                self.fail(problem, reason);
            }
        }
    }

    /// The device's session was ended, here or elsewhere.
    pub(crate) fn handle_ended(&mut self) {
        self.fail(Problem::of(ProblemCode::SessionEnded), CloseReason::Unauthenticated);
    }

    /// This node is leaving; others are at `addresses`, and `resume` is for the link to one of them.
    pub(crate) fn handle_stop(&mut self, addresses: Vec<String>, resume: Option<String>) {
        if !self.is_closed() {
            self.say(Say::GoAway { addresses, resume });
            self.close(CloseReason::GoingAway);
        }
    }

    /// This node is to be left: the client is told where to go, and the link goes on until it has gone.
    pub(crate) fn handle_leave(&mut self, addresses: Vec<String>, resume: Option<String>) {
        if matches!(self.phase, Phase::Open { .. }) {
            self.say(Say::GoAway { addresses, resume });
        }
    }

    /// A frame could not be understood at all, or this node cannot go on: the link ends.
    pub(crate) fn fail(&mut self, problem: Problem, reason: CloseReason) {
        if !self.is_closed() {
            self.say(Say::Failed(problem));
            self.close(reason);
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.phase = Phase::Closed;
        self.actions.push_back(Action::Close(reason));
    }

    fn say(&mut self, say: Say) {
        self.actions.push_back(Action::Say(say));
    }

    fn ticket(&mut self) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        ticket
    }

    fn who(&self) -> Option<&Identity> {
        match &self.phase {
            Phase::Open { who, .. } => Some(who),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
