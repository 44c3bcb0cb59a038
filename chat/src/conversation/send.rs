//! Sends: what is said gets the next sequence exactly once, in the sender's order.
//!
//! The order of judgement is part of the contract, because every replica of every version must come
//! to the same answer:
//!
//! 1. A repetition is answered with its original place, even to a sender who has been removed since:
//!    a refusal promises that nothing was written, and here something was.
//! 2. Who is not a member is refused; of a direct conversation nobody else learns that it exists.
//! 3. An order that was used is a conflict, one that leaves a gap is out of order.
//! 4. A message id that was used is a conflict.
//! 5. What is too large, or refers to a message that is not there to see, is refused.
//!
//! A mention of somebody who is no member at that moment is left out of what is stored: whoever is
//! called is there to hear it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Conversation, Head, Kind, Member, Producer, Role, answered, refused};
use crate::chain::Chain;
use crate::command::{Earlier, Known, SendMessage};
use crate::event::{Applied, Changed, Event, LinkTo, Owed};
use crate::id::UserId;
use crate::limits::{
    ATTACHMENTS_MAX, CLIENT_TIMESTAMP_BYTES_MAX, MENTIONS_MAX, TEXT_BYTES_MAX, URI_BYTES_MAX,
};
use crate::message::{Body, Message};
use crate::number::{ChangeNumber, Order, Seq, Timestamp};
use crate::outcome::{Conflict, Outcome, Place, Refusal};
use crate::slot::ConversationId;

pub(super) fn send(
    this: &mut Option<Conversation>,
    id: ConversationId,
    at: Timestamp,
    command: &SendMessage,
    known: &Known,
) -> Applied {
    if let Some(place) = repeated(command, known.earlier.as_ref()) {
        return answered(Outcome::Duplicate(place));
    }
    match this {
        Some(conversation) => match judge(conversation, command, known) {
            Ok(order) => accept(conversation, id, at, command, order),
            Err(outcome) => answered(outcome),
        },
        None => begin(this, id, at, command),
    }
}

/// The original place, if this is the same message once more: the same device and id, the same
/// body, and no other order than the one it was given.
fn repeated(command: &SendMessage, earlier: Option<&Earlier>) -> Option<Place> {
    let earlier = earlier?;
    let same_order = command.order.is_none_or(|order| order == earlier.order);
    let same = same_order && command.body.digest() == earlier.digest;
    same.then(|| Place {
        seq: earlier.seq,
        at: earlier.at,
        order: earlier.order,
        ..Place::default()
    })
}

/// The order the message takes, if it may be said here and now.
fn judge(this: &Conversation, command: &SendMessage, known: &Known) -> Result<Order, Outcome> {
    if !planted::bug(planted::Bug::MembershipNotAtApply) {
        this.unless_member(&command.sender).map_err(Outcome::Refused)?;
    }
    if command.receiver.is_some() && command.receiver.as_ref() != this.peer_of(&command.sender) {
        return Err(Outcome::Refused(Refusal::NotTheReceiver));
    }
    let last = match this.producers.get(&command.device) {
        Some(producer) if producer.user != command.sender => {
            return Err(Outcome::Refused(Refusal::NoSuchDevice));
        }
        Some(producer) => producer.last_order,
        None => Order(0),
    };
    let order = judge_order(last, command.order)?;
    if known.earlier.is_some() {
        return Err(Outcome::Conflict(Conflict::MessageIdUsed));
    }
    judge_size(&command.body).map_err(Outcome::Refused)?;
    for seq in referred(&command.body) {
        this.unless_visible(&command.sender, seq).map_err(Outcome::Refused)?;
    }
    Ok(order)
}

fn judge_order(last: Order, order: Option<Order>) -> Result<Order, Outcome> {
    let expected = last.next();
    match order {
        None => Ok(expected),
        Some(order) if order == expected => Ok(order),
        // Counting begins at 1, so 0 was not used, it is no order at all.
        Some(order) if order == Order(0) || order > expected => {
            Err(Outcome::Refused(Refusal::OutOfOrder { expected }))
        }
        Some(_) => Err(Outcome::Conflict(Conflict::OrderUsed)),
    }
}

/// The messages that a body refers to.
fn referred(body: &Body) -> impl Iterator<Item = Seq> {
    body.reply_to.into_iter().chain(body.thread)
}

fn judge_size(body: &Body) -> Result<(), Refusal> {
    let bounded = |bytes: usize, limit: usize| match bytes {
        bytes if bytes > limit => Err(Refusal::TooLarge { limit: limit as u64 }),
        _ => Ok(()),
    };
    bounded(body.text.len(), TEXT_BYTES_MAX)?;
    bounded(body.client_timestamp.len(), CLIENT_TIMESTAMP_BYTES_MAX)?;
    if body.attachment_uris.len() > ATTACHMENTS_MAX {
        return Err(Refusal::TooManyAttachments { limit: ATTACHMENTS_MAX as u64 });
    }
    if body.mentions.len() > MENTIONS_MAX {
        return Err(Refusal::TooManyMentions { limit: MENTIONS_MAX as u64 });
    }
    body.attachment_uris.iter().try_for_each(|uri| bounded(uri.len(), URI_BYTES_MAX))
}

/// A direct conversation comes into being with its first message, or not at all.
fn begin(
    this: &mut Option<Conversation>,
    id: ConversationId,
    at: Timestamp,
    command: &SendMessage,
) -> Applied {
    let Some(receiver) = &command.receiver else {
        return refused(Refusal::NoSuchConversation);
    };
    if id != ConversationId::direct(&command.sender, receiver) {
        return refused(Refusal::NotTheReceiver);
    }
    let order = match judge_order(Order(0), command.order) {
        Ok(order) => order,
        Err(outcome) => return answered(outcome),
    };
    if let Err(refusal) = judge_size(&command.body) {
        return refused(refusal);
    }
    if referred(&command.body).next().is_some() {
        return refused(Refusal::NoSuchMessage);
    }
    let conversation = this.insert(new_direct(&command.sender, receiver, at));
    let mut applied = accept(conversation, id, at, command, order);
    applied.changed.members = conversation.members.keys().cloned().collect();
    applied.owed = links(id, &command.sender, receiver);
    applied
}

fn new_direct(one: &UserId, other: &UserId, at: Timestamp) -> Conversation {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    let member = Member { role: Role::Member, joined_at: Seq(0), joined_change: ChangeNumber(0) };
    let members: BTreeMap<_, _> = [(low.clone(), member), (high.clone(), member)].into();
    let head = Head {
        kind: Kind::Direct { low: low.clone(), high: high.clone() },
        last_seq: Seq(0),
        last_at: at,
        chain: Chain::default(),
        created_at: at,
        last_change: ChangeNumber(0),
        last_change_at: Timestamp(0),
        retention: None,
        expired: Seq(0),
    };
    let mut conversation = Conversation {
        head,
        members,
        producers: BTreeMap::new(),
        cursors: BTreeMap::new(),
        progress: Default::default(),
    };
    conversation.progress.members_changed(&conversation.members);
    conversation
}

/// Both users find the conversation in their lists; a user who writes to themselves finds it once.
fn links(conversation: ConversationId, one: &UserId, other: &UserId) -> Vec<Owed> {
    let link = |user: &UserId, peer: &UserId| Owed::Link {
        user: user.clone(),
        conversation,
        to: LinkTo::Peer(peer.clone()),
    };
    let mut owed = vec![link(one, other)];
    if one != other {
        owed.push(link(other, one));
    }
    owed
}

/// Stores the message at the end. Everything was judged; nothing can be refused any more.
fn accept(
    this: &mut Conversation,
    id: ConversationId,
    at: Timestamp,
    command: &SendMessage,
    order: Order,
) -> Applied {
    let mut message = Message {
        conversation: id,
        seq: this.head.last_seq.next(),
        sender: command.sender.clone(),
        device: command.device,
        order,
        message_id: command.message_id.clone(),
        at: if planted::bug(planted::Bug::TimeNotClamped) { at } else { at.max(this.head.last_at) },
        body: command.body.clone(),
        chain: this.head.chain,
        erased: None,
    };
    // A repetition is compared with what was asked for, the chain covers what is stored.
    let asked = message.body.digest();
    let digest = match heard(this, &mut message.body) {
        true => asked,
        false => message.body.digest(),
    };
    if this.head.last_seq == Seq(0) || !planted::bug(planted::Bug::ChainNotExtended) {
        message.chain = this.head.chain.extend_by(&message, &digest);
    }
    this.head.last_seq = message.seq;
    this.head.last_at = message.at;
    this.head.chain = message.chain;
    match this.producers.get_mut(&command.device) {
        Some(producer) => {
            assert_eq!(order, producer.last_order.next(), "orders are dense");
            producer.last_order = order;
        }
        None => {
            assert_eq!(order, Order(1), "a producer begins at 1");
            let user = command.sender.clone();
            this.producers.insert(command.device, Producer { user, last_order: order });
        }
    }
    let place = Place { seq: message.seq, at: message.at, order, ..Place::default() };
    let earlier = Earlier { seq: message.seq, at: message.at, order, digest: asked };
    let message = Arc::new(message);
    Applied {
        outcome: Outcome::Accepted(place),
        event: Some(Event::MessageSent(message.clone())),
        changed: Changed {
            head: true,
            message: Some(message),
            place: Some(earlier),
            producer: Some(command.device),
            ..Changed::default()
        },
        owed: Vec::new(),
    }
}

/// Leaves out mentions of those who are not there. True if all are.
fn heard(this: &Conversation, body: &mut Body) -> bool {
    let called = body.mentions.len();
    body.mentions.retain(|user| this.is_member(user));
    body.mentions.len() == called
}
