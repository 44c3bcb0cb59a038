//! Changes in the specification's style: `{"connection_id","changes":[…]}`. Each wish is answered by itself, because each is
//! decided by itself.

use std::sync::Arc;

use chat::Change;
use proto::Problem;
use proto::frame::ChangeRequest;
use proto::spec_json::{
    BadChange, ChangeItem, Changes, Payload, SeenItem, SentTo, TypingIn, TypingWhere,
};

use super::{Text, problem_of, push};
use crate::presence::Told;
use crate::session::face::{BATCH_BYTES_MAX, Out};
use crate::session::words::{Altered, Ask, Say};

/// A wish without an answer: what of it the answer repeats.
#[derive(Debug)]
pub(super) enum Wish {
    Understood(ChangeItem),
    NotUnderstood(Box<BadChange>),
}

impl Text {
    pub(super) fn hear_changes(
        &mut self,
        items: Vec<Result<ChangeItem, Box<BadChange>>>,
        asks: &mut Vec<Ask>,
    ) {
        let mut frame = self.answers.begin();
        for item in items {
            let tag = frame.tag();
            match item {
                Ok(item) => {
                    asks.push(Ask::Change(ChangeRequest {
                        tag,
                        conversation: item.message.conversation,
                        seq: item.message.seq,
                        change_id: item.change_id.clone(),
                        wish: item.wish.clone(),
                    }));
                    self.wishes.insert(tag, Wish::Understood(item));
                }
                Err(bad) => {
                    let change_id = bad.change_id.clone().unwrap_or_default();
                    let result = Err(problem_of(&bad.error));
                    let conversation = None;
                    let answer = Say::Changed { tag, conversation, change_id, result };
                    asks.push(Ask::Invalid(Box::new(answer)));
                    self.wishes.insert(tag, Wish::NotUnderstood(bad));
                }
            }
        }
    }

    pub(super) fn changed(&mut self, tag: u64, result: Result<Altered, Problem>, out: &mut Out) {
        let Some(wish) = self.wishes.remove(&tag) else { return };
        let mut changes = Changes::new(&self.connection_id);
        match (&wish, result) {
            (Wish::NotUnderstood(bad), _) => changes.not_understood(bad),
            (Wish::Understood(item), Ok(altered)) => {
                changes.stored(item, altered.number, altered.at);
            }
            (Wish::Understood(item), Err(problem)) => changes.failed(item, &problem),
        }
        out.push(changes.finish().into());
    }

    pub(super) fn changes(&self, all: &[Arc<Change>], out: &mut Out) {
        let mut changes = Changes::new(&self.connection_id);
        for change in all {
            changes.happened(change);
            if changes.bytes() > BATCH_BYTES_MAX {
                let full = std::mem::replace(&mut changes, Changes::new(&self.connection_id));
                out.push(full.finish().into());
            }
        }
        if !changes.is_empty() {
            out.push(changes.finish().into());
        }
    }

    pub(super) fn changes_confirmed(&mut self, tag: u64, problem: Option<Problem>, out: &mut Out) {
        let Some((conversation, change)) = self.confirming.remove(&tag) else { return };
        let Some(problem) = problem else { return };
        let mut payload = Payload::new(&self.connection_id);
        payload.changes_not_confirmed(conversation, change, &problem);
        push(payload, out);
    }
}

/// How a user who is watched is, or why that is not told.
pub(super) fn seen(told: &Told) -> SeenItem {
    match told {
        Told::Seen(seen) => SeenItem::Seen(seen.online, seen.last_seen),
        Told::Refused(code) => SeenItem::Refused(Problem::of(*code)),
    }
}

pub(super) fn ask_typing(typing: TypingIn) -> Ask {
    let on = typing.on;
    match typing.to {
        TypingWhere::Conversation(conversation) => Ask::Typing { conversation, on },
        TypingWhere::To(SentTo::Receiver(receiver)) => Ask::TypingTo { receiver, on },
        TypingWhere::To(SentTo::Group(group)) => {
            Ask::Typing { conversation: chat::ConversationId::group(&group), on }
        }
    }
}
