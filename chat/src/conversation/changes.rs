//! Changes of what was said: edits, deletions for all, reactions.
//!
//! The order of judgement is part of the contract, as with sends:
//!
//! 1. A repetition is answered with its original number, even to somebody who has been removed since.
//! 2. Who is not a member is refused; of a direct conversation nobody else learns that it exists.
//! 3. A message that is not there, or not theirs to see, or expired, cannot be changed.
//! 4. A message that was deleted stays deleted: another deletion is answered with the first one.
//! 5. Who may: its sender edits; its sender, and admins and owners of a group, delete; whoever sees
//!    it reacts.
//! 6. What is too large or too much is refused.

use std::sync::Arc;

use super::{Conversation, Kind, Role, answered, refused};
use crate::chain::Digest;
use crate::change::{
    Change, ChangeMessage, EarlierChange, Overlay, Reaction, Recorded, Subject, What, Wish,
};
use crate::command::Known;
use crate::event::{Applied, Changed, Event};
use crate::id::UserId;
use crate::limits::{EDITS_MAX, REACTION_BYTES_MAX, REACTIONS_MAX, TEXT_BYTES_MAX};
use crate::message::{Body, Message};
use crate::number::Timestamp;
use crate::outcome::{Conflict, Outcome, Place, Refusal};
use crate::slot::ConversationId;

/// Gives a change the next number.
pub(super) fn record(
    this: &mut Conversation,
    id: ConversationId,
    at: Timestamp,
    by: &UserId,
    what: What,
) -> Arc<Change> {
    let head = &mut this.head;
    let change = Change {
        conversation: id,
        number: head.last_change.next(),
        by: by.clone(),
        at: at.max(head.last_at).max(head.last_change_at),
        after: head.last_seq,
        what,
    };
    head.last_change = change.number;
    head.last_change_at = change.at;
    Arc::new(change)
}

/// The place of a change.
pub(super) fn place_of(change: &Change) -> Place {
    let seq = change.what.seq().unwrap_or(change.after);
    Place { seq, at: change.at, change: change.number, ..Place::default() }
}

pub(super) fn change(
    this: &mut Option<Conversation>,
    id: ConversationId,
    at: Timestamp,
    command: &ChangeMessage,
    known: &Known,
) -> Applied {
    let digest = Digest::of_wish(command.seq, &command.wish);
    if let Some(earlier) = &known.change {
        return answered(repeated(command, earlier, digest));
    }
    let Some(this) = this else {
        return refused(Refusal::NoSuchConversation);
    };
    let target = match find(this, command, known) {
        Ok(target) => target,
        Err(refusal) => return refused(refusal),
    };
    if let (Some(number), Wish::Delete) = (target.overlay.deleted, &command.wish) {
        let (seq, at) = (command.seq, this.head.last_at);
        return answered(Outcome::Duplicate(Place { seq, at, change: number, ..Place::default() }));
    }
    match judge(this, command, target) {
        Ok(()) => accept(this, id, at, command, target, digest),
        Err(refusal) => refused(refusal),
    }
}

fn repeated(command: &ChangeMessage, earlier: &EarlierChange, digest: Digest) -> Outcome {
    if earlier.digest != digest {
        return Outcome::Conflict(Conflict::ChangeIdUsed);
    }
    let (seq, at, change) = (command.seq, earlier.at, earlier.number);
    Outcome::Duplicate(Place { seq, at, change, ..Place::default() })
}

fn find<'a>(
    this: &Conversation,
    command: &ChangeMessage,
    known: &'a Known,
) -> Result<&'a Subject, Refusal> {
    this.unless_member(&command.by)?;
    this.unless_visible(&command.by, command.seq)?;
    let target = known.target.as_ref().expect("every message up to the last is stored");
    assert_eq!(target.message.seq, command.seq, "the target is what was looked up");
    Ok(target)
}

fn judge(this: &Conversation, command: &ChangeMessage, target: &Subject) -> Result<(), Refusal> {
    let overlay = &target.overlay;
    if overlay.deleted.is_some() {
        return Err(Refusal::MessageDeleted);
    }
    let own = target.message.sender == command.by;
    match &command.wish {
        Wish::Edit(_) if !own => Err(Refusal::NotAllowed),
        Wish::Edit(text) if text.len() > TEXT_BYTES_MAX => {
            Err(Refusal::TooLarge { limit: TEXT_BYTES_MAX as u64 })
        }
        Wish::Edit(_) if overlay.edits.len() >= EDITS_MAX => {
            Err(Refusal::TooManyEdits { limit: EDITS_MAX as u64 })
        }
        Wish::Edit(_) => Ok(()),
        Wish::Delete if own || may_delete(this, &command.by) => Ok(()),
        Wish::Delete => Err(Refusal::NotAllowed),
        Wish::React(reaction) if reaction.len() > REACTION_BYTES_MAX => {
            Err(Refusal::TooLarge { limit: REACTION_BYTES_MAX as u64 })
        }
        Wish::React(reaction) => {
            let one_more = !reaction.is_empty() && !overlay.reactions.contains_key(&command.by);
            match one_more && overlay.reactions.len() >= REACTIONS_MAX {
                true => Err(Refusal::TooManyReactions { limit: REACTIONS_MAX as u64 }),
                false => Ok(()),
            }
        }
    }
}

fn may_delete(this: &Conversation, by: &UserId) -> bool {
    let role = this.members.get(by).map(|member| member.role);
    matches!(this.head.kind, Kind::Group { .. }) && role >= Some(Role::Admin)
}

/// Everything was judged; nothing can be refused any more.
fn accept(
    this: &mut Conversation,
    id: ConversationId,
    at: Timestamp,
    command: &ChangeMessage,
    target: &Subject,
    digest: Digest,
) -> Applied {
    let seq = command.seq;
    let what = match &command.wish {
        Wish::Edit(text) => What::Edited { seq, text: Some(text.clone()) },
        Wish::Delete => What::Deleted { seq },
        Wish::React(reaction) => What::Reacted { seq, reaction: reaction.clone() },
    };
    let change = record(this, id, at, &command.by, what);
    let mut overlay = target.overlay.clone();
    let emptied = match &command.wish {
        Wish::Delete => overlay.edits.clone(),
        Wish::Edit(_) | Wish::React(_) => Vec::new(),
    };
    lay(&mut overlay, &change);
    let place = EarlierChange { number: change.number, at: change.at, digest };
    let recorded = Recorded {
        change: Arc::clone(&change),
        place: Some(place),
        erased: overlay.deleted.map(|_| Arc::new(erase(&target.message))),
        overlay: Some(overlay),
        emptied,
    };
    Applied {
        outcome: Outcome::Accepted(place_of(&change)),
        event: Some(Event::Changed(change)),
        changed: Changed { head: true, change: Some(Box::new(recorded)), ..Changed::default() },
        owed: Vec::new(),
    }
}

/// Lays a change over what lies there.
fn lay(overlay: &mut Overlay, change: &Change) {
    match &change.what {
        What::Edited { text, .. } => {
            overlay.text.clone_from(text);
            overlay.edits.push(change.number);
            overlay.edited_at = change.at;
        }
        What::Deleted { .. } => {
            overlay.text = None;
            overlay.reactions.clear();
            overlay.deleted = Some(change.number);
        }
        What::Reacted { reaction, .. } if reaction.is_empty() => {
            overlay.reactions.remove(&change.by);
        }
        What::Reacted { reaction, .. } => {
            let reaction = Reaction { text: reaction.clone(), change: change.number };
            overlay.reactions.insert(change.by.clone(), reaction);
        }
        What::Renamed { .. }
        | What::RoleSet { .. }
        | What::Added { .. }
        | What::Removed { .. }
        | What::RetentionSet { .. } => {
            unreachable!("only changes of messages are laid over messages")
        }
    }
    assert!(overlay.edits.len() <= EDITS_MAX && overlay.reactions.len() <= REACTIONS_MAX);
}

/// The message without what was said. What the chain covers beside it stays, its digest included, so
/// that the chain can be checked for ever.
pub(super) fn erase(message: &Message) -> Message {
    let client_timestamp = message.body.client_timestamp.clone();
    Message {
        erased: Some(message.digest()),
        body: Body { client_timestamp, ..Body::default() },
        ..message.clone()
    }
}
