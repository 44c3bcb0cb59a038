//! The half of a session that takes: messages, confirmations and questions about history, and their outcomes.

use chat::{Command, ConversationId, Outcome, Place};
use proto::frame::SendTo;
use proto::{Problem, ProblemCode};
use tokio::time::Instant;

use super::{NoOutcome, Session};
use crate::gateway::limits::Bucket;
use crate::gateway::problems;
use crate::gateway::tokens::Identity;
use crate::history::{Page, Query};
use crate::router::Certainty;
use crate::session::confirms::{Confirmation, Round, covers};
use crate::session::sends::Flying;
use crate::session::words::{Action, Marks, Outgoing, Proposal, Say, Stored, Ticket};

/// History pages of one session that may be under way.
const HISTORIES_MAX: usize = 8;

/// What the client sends.
impl Session {
    pub(super) fn send(
        &mut self,
        now: Instant,
        who: &Identity,
        budget: &Bucket,
        outgoing: Outgoing,
    ) {
        let (tag, message_id) = (outgoing.request.tag, outgoing.request.message_id.clone());
        let refuse = |conversation, problem| {
            let message_id = message_id.as_str().to_owned();
            Say::Sent { tag, conversation, message_id, result: Err(problem) }
        };
        if outgoing.sender.as_deref().is_some_and(|sender| sender != who.user.as_str()) {
            let detail = "senderId is not the authenticated user";
            let problem = Problem::new(ProblemCode::NotAllowed, detail).about("senderId");
            return self.say(refuse(None, problem));
        }
        let mut outgoing = outgoing;
        let within = std::mem::take(&mut outgoing.within);
        let proposal = self.proposal(who, outgoing);
        let conversation = proposal.conversation;
        if within.iter().any(|id| *id != conversation) {
            let detail = "a message refers to messages of its own conversation";
            let problem = Problem::new(ProblemCode::NoSuchMessage, detail);
            return self.say(refuse(Some(conversation), problem));
        }
        if let Err(too_fast) = budget.take(now) {
            return self.say(refuse(Some(conversation), too_fast.into()));
        }
        let ticket = self.ticket();
        self.sends.begin(ticket, Flying { tag, conversation, message_id, since: now });
        self.actions.push_back(Action::Propose { ticket, proposal });
    }

    fn proposal(&self, who: &Identity, outgoing: Outgoing) -> Proposal {
        let request = outgoing.request;
        let (conversation, receiver) = match request.to {
            SendTo::Receiver(user) => (ConversationId::direct(&who.user, &user), Some(user)),
            SendTo::Group(group) => (ConversationId::group(&group), None),
            SendTo::Conversation(id) => (id, None),
        };
        // A conversation that exists proves that its users do.
        let known = self.deliveries.kind(conversation).is_some();
        let must_exist = receiver.clone().filter(|user| !known && *user != who.user);
        let message = chat::SendMessage {
            sender: who.user.clone(),
            device: who.device,
            receiver,
            order: request.order.filter(|_| !planted::bug(planted::Bug::DedupeLeftOut)),
            message_id: request.message_id,
            body: request.body,
        };
        Proposal { conversation, command: Command::Send(message), must_exist }
    }

    pub(super) fn confirm(
        &mut self,
        who: &Identity,
        conversation: ConversationId,
        one: Confirmation,
    ) {
        let cursor = self.deliveries.cursor(conversation);
        if covers(cursor, &one) || planted::bug(planted::Bug::ConfirmNotWritten) {
            let conversation = Some(conversation);
            return self.say(Say::Confirmed { tag: one.tag, conversation, result: Ok(cursor) });
        }
        if let Some(round) = self.confirms.offer(conversation, one) {
            self.propose_round(who, round);
        }
    }

    fn propose_round(&mut self, who: &Identity, round: Round) {
        let command = Command::Confirm {
            user: who.user.clone(),
            device: who.device,
            seq: round.seq,
            read: round.read,
            // The driver knows whether the user hides it.
            hidden: false,
        };
        let proposal = Proposal { conversation: round.conversation, command, must_exist: None };
        let ticket = self.ticket();
        self.confirms.begin(ticket, round);
        self.actions.push_back(Action::Propose { ticket, proposal });
    }

    pub(super) fn read_history(&mut self, tag: u64, query: Query) {
        if self.histories.len() >= HISTORIES_MAX {
            let detail = format!("at most {HISTORIES_MAX} pages at a time");
            let problem = Problem::new(ProblemCode::Overloaded, detail);
            return self.say(Say::Page { tag, result: Err(problem) });
        }
        let ticket = self.ticket();
        self.histories.insert(ticket, tag);
        self.actions.push_back(Action::History { ticket, query });
    }

    /// A page of history is ready.
    pub(crate) fn handle_history(&mut self, ticket: Ticket, result: Result<Page, Problem>) {
        let tag = self.histories.remove(&ticket).expect("each question is answered once");
        if !self.is_closed() {
            self.say(Say::Page { tag, result });
        }
    }

    /// A proposal came to this. Returns since when a message waited for it, and where it was sent, if it was one.
    pub(crate) fn handle_outcome(
        &mut self,
        ticket: Ticket,
        result: Result<Outcome, NoOutcome>,
    ) -> Option<(Instant, ConversationId)> {
        if self.is_closed() {
            return None;
        }
        if self.sends.knows(ticket) {
            return self.sent(ticket, result);
        }
        if let Some(wished) = self.wishes.remove(&ticket) {
            self.wish_ended(wished, result);
            return None;
        }
        let round = self.confirms.end(ticket).expect("each proposal is answered once");
        self.round_ended(&round, placed(result));
        None
    }

    fn sent(
        &mut self,
        ticket: Ticket,
        result: Result<Outcome, NoOutcome>,
    ) -> Option<(Instant, ConversationId)> {
        let error = result.as_ref().err();
        let certain = error.is_none_or(|error| error.certainty() == Certainty::Definite);
        let duplicate = matches!(result, Ok(Outcome::Duplicate(_)));
        let flying = self.sends.end(ticket, certain)?;
        let conversation = flying.conversation;
        let result = placed(result).map(|place| {
            self.deliveries.acknowledged(conversation, place.seq);
            if planted::bug(planted::Bug::ReceiptInvented) {
                let read = self.deliveries.floors(conversation).read;
                self.tell_status(conversation, Marks { delivered: place.seq, read }, None);
            }
            let floors = self.deliveries.floors(conversation);
            Stored {
                seq: place.seq,
                at: place.at,
                order: place.order,
                duplicate,
                delivered: place.seq <= floors.delivered,
                read: place.seq <= floors.read,
            }
        });
        let message_id = flying.message_id.as_str().to_owned();
        self.say(Say::Sent {
            tag: flying.tag,
            conversation: Some(conversation),
            message_id,
            result,
        });
        Some((flying.since, conversation))
    }

    fn round_ended(&mut self, round: &Round, result: Result<Place, Problem>) {
        let id = round.conversation;
        let result = result.map(|place| {
            let marks = Marks { delivered: place.delivered, read: place.read };
            self.deliveries.confirmed(id, marks);
            marks
        });
        for tag in &round.tags {
            let result = result.clone();
            self.say(Say::Confirmed { tag: *tag, conversation: Some(id), result });
        }
        let cursor = self.deliveries.cursor(id);
        let (covered, rounds) = self.confirms.next(id, cursor, self.deliveries.known(id));
        for tag in covered {
            self.say(Say::Confirmed { tag, conversation: Some(id), result: Ok(cursor) });
        }
        let Some(who) = self.who().cloned() else { return };
        for round in rounds {
            self.propose_round(&who, round);
        }
    }
}

impl NoOutcome {
    fn certainty(&self) -> Certainty {
        match self {
            Self::Route(error) => error.certainty(),
            Self::NotProposed(_) => Certainty::Definite,
        }
    }
}

/// The place, or what the client is told instead.
pub(super) fn placed(result: Result<Outcome, NoOutcome>) -> Result<Place, Problem> {
    match result {
        Ok(Outcome::Accepted(place) | Outcome::Duplicate(place)) => Ok(place),
        Ok(Outcome::Refused(refusal)) => Err(Problem::from(&refusal)),
        Ok(Outcome::Conflict(conflict)) => Err(Problem::from(&conflict)),
        Err(NoOutcome::Route(error)) => Err(problems::of_route(&error)),
        Err(NoOutcome::NotProposed(problem)) => Err(problem),
    }
}
