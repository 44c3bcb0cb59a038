//! The specification's face: JSON text, as contract section 5 fixes it.
//!
//! An answer repeats what the client said about its message, so that is kept until the answer is here. The answers
//! to one frame go out in one frame, as the specification shows it, unless some of them take too long.

mod answers;
mod changes;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chat::{CanonicalId, ChangeNumber, ConversationId, Kind, Message, Overlay, Seq};
use proto::frame::{SendRequest, SendTo};
use proto::spec_json::{self, BadItem, BadJson, Echo, Inbound, Item, MessageItem, Payload, SentTo};
use proto::{Addressee, Problem};
use serde_json::json;
use tokio::time::Instant;

use self::answers::{Answers, Awaited, Ready};
use super::{BATCH_BYTES_MAX, Out, not_too_many};
use crate::fanout::Delivery;
use crate::history::{Direction, Replica, Span, Standings};
use crate::session::words::{Ask, News, Outgoing, Say, Stored};

/// How many messages back a changed status is told for: what is older can be asked for.
const LOOK_BACK: usize = 200;
/// What ends a payload frame.
const TAIL: &[u8] = b"]}";

/// JSON in, JSON out.
pub(in crate::session) struct Text {
    replica: Arc<dyn Replica>,
    connection_id: String,
    /// Who is here: the sender of a message that names none.
    user: String,
    /// Everything of a payload frame that comes before its first item.
    head: Vec<u8>,
    /// Items of messages that were stored just now, in a frame that is not finished.
    live: Vec<u8>,
    /// What was stored before the link began, in a frame that is not finished.
    backlog: Option<(Payload, usize)>,
    answers: Answers,
    /// Wishes to change a message without an answer, by their tags.
    wishes: BTreeMap<u64, changes::Wish>,
    /// Confirmations of changes without an answer, likewise.
    confirming: BTreeMap<u64, (ConversationId, ChangeNumber)>,
}

impl Text {
    pub(super) fn new(replica: Arc<dyn Replica>) -> Self {
        Self {
            replica,
            connection_id: String::new(),
            user: String::new(),
            head: Vec::new(),
            live: Vec::new(),
            backlog: None,
            answers: Answers::default(),
            wishes: BTreeMap::new(),
            confirming: BTreeMap::new(),
        }
    }

    pub(super) fn hear(&mut self, frame: &[u8], asks: &mut Vec<Ask>) {
        let inbound = std::str::from_utf8(frame)
            .map_err(|_| Problem::new(proto::ProblemCode::InvalidRequest, "not UTF-8"))
            .and_then(|text| spec_json::parse(text).map_err(|bad| problem_of(&bad)));
        match inbound {
            Ok(Inbound::Token { token, resume }) => asks.push(Ask::Hello { token, resume }),
            Ok(Inbound::Payload { items, .. }) => self.hear_items(items, asks),
            Ok(Inbound::Changes(items)) => self.hear_changes(items, asks),
            Ok(Inbound::Typing(typing)) => asks.push(changes::ask_typing(typing)),
            Ok(Inbound::Watch(users)) => asks.push(match not_too_many(users) {
                Ok(users) => Ask::Watch(users),
                Err(problem) => Ask::Invalid(Box::new(Say::Failed(problem))),
            }),
            Err(problem) => asks.push(Ask::Invalid(Box::new(Say::Failed(problem)))),
        }
    }

    fn hear_items(&mut self, items: Vec<Result<Item, Box<BadItem>>>, asks: &mut Vec<Ask>) {
        let mut frame = self.answers.begin();
        for item in items {
            asks.push(match item {
                Ok(Item::Message(item)) => {
                    let tag = frame.expect(Awaited::Message {
                        sender: item.sender.as_ref().map(|id| id.as_str().to_owned()),
                        to: item.to.clone(),
                        message_id: item.message_id.clone(),
                    });
                    ask_send(tag, item)
                }
                Ok(Item::Confirm(item)) => {
                    // Nobody waits for this answer with others: only a refusal is told, and alone.
                    let tag = frame.alone(item.conversation, item.seq);
                    let (conversation, seq, read) = (item.conversation, item.seq, item.read);
                    Ask::Confirm { tag, conversation, seq, read }
                }
                Ok(Item::ConfirmChanges(conversation, change)) => {
                    let tag = frame.tag();
                    self.confirming.insert(tag, (conversation, change));
                    Ask::ConfirmChanges { tag, conversation, change }
                }
                Err(bad) => {
                    let problem = problem_of(&bad.error);
                    let message_id = bad.message_id.clone().unwrap_or_default();
                    let tag = frame.expect(Awaited::NotUnderstood(bad));
                    let conversation = None;
                    let result = Err(problem);
                    Ask::Invalid(Box::new(Say::Sent { tag, conversation, message_id, result }))
                }
            });
        }
    }

    pub(super) fn utter(&mut self, say: Say, now: Instant, out: &mut Out) {
        match say {
            Say::Live(delivery) => return self.live(&delivery, out),
            Say::Stored { kind, messages, overlays, catching_up: true } => {
                return self.backlog(&kind, (&messages, &overlays), out);
            }
            _ => self.flush_messages(out),
        }
        match say {
            Say::Welcome { connection_id, who, resume, reset } => {
                let empty = Payload::new(&connection_id).finish().into_bytes();
                let head = empty.strip_suffix(TAIL).expect("a payload frame ends like this");
                self.head = head.to_vec();
                out.push(spec_json::connected(&connection_id, &resume, reset).into());
                self.connection_id = connection_id;
                who.user.as_str().clone_into(&mut self.user);
            }
            Say::Stored { kind, messages, overlays, .. } => {
                self.stored(&kind, (&messages, &overlays), out);
            }
            Say::Changed { tag, result, .. } => self.changed(tag, result, out),
            Say::Changes(changes) => self.changes(&changes, out),
            Say::ChangesConfirmed { tag, result, .. } => {
                self.changes_confirmed(tag, result.err(), out);
            }
            Say::Typing(typing) => {
                let (id, user) = (typing.conversation, &typing.user);
                out.push(spec_json::typing(&self.connection_id, id, user, typing.on).into());
            }
            Say::Sent { tag, conversation, result, .. } => {
                let place = result.map(|stored| {
                    let conversation = conversation.expect("a stored message has a conversation");
                    (CanonicalId { conversation, seq: stored.seq }, stored)
                });
                self.answers.take(now, tag, place);
            }
            Say::Presence(news) => {
                let items = news.iter().map(|(user, told)| (user, changes::seen(told)));
                out.push(spec_json::presence(&self.connection_id, items).into());
            }
            Say::Status(news) => self.status(&news, out),
            Say::Confirmed { tag, result, .. } => self.confirmed(tag, result.err(), out),
            Say::Failed(problem) => {
                let frame = json!({
                    "connection_id": self.connection_id, "error": problem.to_error_object(),
                });
                out.push(frame.to_string().into());
            }
            Say::Resume { token, reset } => {
                out.push(spec_json::connected(&self.connection_id, &token, reset).into());
            }
            Say::GoAway { addresses, resume } => {
                let mut frame = json!({
                    "connection_id": self.connection_id, "goAway": { "addresses": addresses },
                });
                if let Some(resume) = resume {
                    frame["resume"] = json!(resume);
                }
                out.push(frame.to_string().into());
            }
            // This face has no such requests, and its catch-up ends with its last frame.
            Say::CaughtUp | Say::Page { .. } | Say::Pong { .. } | Say::NotWatched { .. } => {}
            Say::Live(_) => unreachable!("messages of this moment were taken above"),
        }
    }

    pub(super) fn flush(&mut self, now: Instant, out: &mut Out) {
        self.flush_messages(out);
        for ready in self.answers.drain(now) {
            self.answer(ready, out);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.answers.poll_timeout()
    }

    fn live(&mut self, delivery: &Delivery, out: &mut Out) {
        let item = delivery.text(item_of);
        if self.live.len() + item.len() > BATCH_BYTES_MAX {
            self.flush_messages(out);
        }
        match self.live.is_empty() {
            true => self.live.extend_from_slice(&self.head),
            false => self.live.push(b','),
        }
        self.live.extend_from_slice(item);
    }

    fn backlog(
        &mut self,
        kind: &Kind,
        (messages, overlays): (&[Message], &BTreeMap<Seq, Overlay>),
        out: &mut Out,
    ) {
        let standings = self.standings(messages.first());
        for message in messages {
            let payload = || (Payload::catching_up(&self.connection_id), 0);
            let (payload, bytes) = self.backlog.get_or_insert_with(payload);
            let (to, overlay) = (Addressee::of(kind, &message.sender), overlays.get(&message.seq));
            payload.message(message, overlay, to, standings.of(message));
            *bytes += message.body.text.len();
            if *bytes > BATCH_BYTES_MAX {
                self.flush_messages(out);
            }
        }
    }

    fn stored(
        &self,
        kind: &Kind,
        (messages, overlays): (&[Message], &BTreeMap<Seq, Overlay>),
        out: &mut Out,
    ) {
        let standings = self.standings(messages.first());
        let mut payload = Payload::new(&self.connection_id);
        let mut bytes = 0;
        for message in messages {
            let (to, overlay) = (Addressee::of(kind, &message.sender), overlays.get(&message.seq));
            payload.message(message, overlay, to, standings.of(message));
            bytes += message.body.text.len();
            if bytes > BATCH_BYTES_MAX {
                let full = std::mem::replace(&mut payload, Payload::new(&self.connection_id));
                push(full, out);
                bytes = 0;
            }
        }
        push(payload, out);
    }

    fn flush_messages(&mut self, out: &mut Out) {
        if let Some((payload, _)) = self.backlog.take() {
            push(payload, out);
        }
        if !self.live.is_empty() {
            self.live.extend_from_slice(TAIL);
            out.push(std::mem::take(&mut self.live).into());
        }
    }

    fn confirmed(&mut self, tag: u64, problem: Option<Problem>, out: &mut Out) {
        let Some((conversation, seq)) = self.answers.take_alone(tag) else { return };
        let Some(problem) = problem else { return };
        let mut payload = Payload::new(&self.connection_id);
        payload.not_confirmed(conversation, seq, &problem);
        push(payload, out);
    }

    fn answer(&self, ready: Vec<Ready>, out: &mut Out) {
        let mut payload = Payload::new(&self.connection_id);
        for Ready { awaited, result, moved } in &ready {
            match (awaited, result) {
                (Awaited::NotUnderstood(bad), _) => payload.not_understood(bad),
                (Awaited::Message { sender, to, message_id }, result) => {
                    let echo = Echo {
                        sender: sender.as_deref().unwrap_or(&self.user),
                        to: addressee(to),
                        message_id: message_id.as_str(),
                    };
                    match result {
                        Ok((place, stored)) => {
                            let standing = self.standing(to, *place, stored, *moved);
                            payload.stored(echo, *place, stored.order, stored.at, standing);
                        }
                        Err(problem) => payload.failed(echo, problem),
                    }
                }
            }
        }
        push(payload, out);
    }

    /// What is true of a message at the moment of its answer. A fresh one has reached nobody, unless this link was told
    /// so already; of one that was stored earlier the replica knows.
    fn standing(
        &self,
        to: &SentTo,
        place: CanonicalId,
        stored: &Stored,
        moved: bool,
    ) -> spec_json::Standing {
        let is_group = matches!(to, SentTo::Group(_));
        let fresh = spec_json::Standing {
            delivered: stored.delivered,
            read: stored.read,
            counts: is_group.then_some((0, 0)),
        };
        if !(stored.duplicate || stored.delivered || moved) {
            return fresh;
        }
        let span = Span {
            after: chat::Seq(place.seq.0 - 1),
            before: Some(place.seq.next()),
            limit: 1,
            direction: Direction::OldestFirst,
        };
        let message = self.replica.messages(place.conversation, span).unwrap_or_default().pop();
        let Some(message) = message else { return fresh };
        let known = self.standings(Some(&message)).of(&message);
        spec_json::Standing {
            delivered: known.delivered || stored.delivered,
            read: known.read || stored.read,
            counts: known.counts,
        }
    }

    /// One item for each own message whose status may read otherwise now.
    fn status(&mut self, news: &News, out: &mut Out) {
        self.answers.moved(news.conversation);
        let span = Span {
            after: news.touched.0,
            before: Some(news.touched.1.next()),
            limit: LOOK_BACK,
            direction: Direction::NewestFirst,
        };
        let messages = match self.replica.messages(news.conversation, span) {
            Ok(messages) => messages,
            Err(error) => return tracing::error!(%error, "the local replica cannot be read"),
        };
        let standings = self.standings(messages.first());
        let mut payload = Payload::new(&self.connection_id);
        for message in messages.iter().rev().filter(|message| message.sender == news.user) {
            let to = Addressee::of(&news.kind, &message.sender);
            let mut standing = standings.of(message);
            standing.delivered |= message.seq <= news.floors.delivered;
            standing.read |= message.seq <= news.floors.read;
            let reached = standing.delivered || standing.counts.is_some_and(|counts| counts.0 > 0);
            if reached {
                let echo = Echo::of(message, to);
                payload.stored(echo, message.canonical_id(), message.order, message.at, standing);
            }
        }
        push(payload, out);
    }

    fn standings(&self, of: Option<&Message>) -> Standings {
        let conversation = of.and_then(|message| {
            self.replica.conversation(message.conversation).unwrap_or_else(|error| {
                tracing::error!(%error, "the local replica cannot be read");
                None
            })
        });
        Standings::new(conversation)
    }
}

fn problem_of(bad: &BadJson) -> Problem {
    Problem::from(bad)
}

fn push(payload: Payload, out: &mut Out) {
    if !payload.is_empty() {
        out.push(payload.finish().into());
    }
}

fn addressee(to: &SentTo) -> Addressee<'_> {
    match to {
        SentTo::Receiver(user) => Addressee::Receiver(user.as_str()),
        SentTo::Group(group) => Addressee::Group(group.as_str()),
    }
}

fn ask_send(tag: u64, item: MessageItem) -> Ask {
    Ask::Send(Outgoing {
        sender: item.sender.map(|id| id.as_str().to_owned()),
        within: item.within,
        request: SendRequest {
            tag,
            to: match item.to {
                SentTo::Receiver(user) => SendTo::Receiver(user),
                SentTo::Group(group) => SendTo::Group(group),
            },
            order: item.order,
            message_id: item.message_id,
            body: item.body,
        },
    })
}

/// The item of a message that was stored just now: the same for all recipients, without any frame around it.
fn item_of(message: &Message, kind: &Kind) -> Bytes {
    let counts = matches!(kind, Kind::Group { .. }).then_some((0, 0));
    let standing = spec_json::Standing { counts, ..Default::default() };
    let empty = Payload::new("").finish();
    let mut payload = Payload::new("");
    payload.message(message, None, Addressee::of(kind, &message.sender), standing);
    let frame = Bytes::from(payload.finish());
    frame.slice(empty.len() - TAIL.len()..frame.len() - TAIL.len())
}

#[cfg(test)]
mod tests;
