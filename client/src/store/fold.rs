//! What a message that is kept becomes when a node tells it again, or a change of it. The same for every adapter.

use chat::DeviceId;
use proto::frame::SendTo;
use proto::frames::{self, MessageState, what::What};

use super::{KeptSend, Owner};
use crate::Receipt;

/// An own message, once it has its place. Its chain value comes when a node tells it.
pub(super) fn own(who: &Owner, send: KeptSend, receipt: &Receipt) -> frames::Message {
    let (receiver, group) = match &send.request.to {
        SendTo::Receiver(user) => (user.as_str().to_owned(), String::new()),
        SendTo::Group(group) => (String::new(), group.as_str().to_owned()),
        SendTo::Conversation(_) => (String::new(), String::new()),
    };
    let DeviceId(device) = who.device;
    frames::Message {
        conversation: bytes::Bytes::copy_from_slice(receipt.conversation.as_bytes()),
        seq: receipt.seq.0,
        sender: who.user.as_str().to_owned(),
        device,
        receiver,
        group,
        order: receipt.order.0,
        message_id: receipt.message_id.as_str().to_owned(),
        at_ms: receipt.at.0,
        body: frames::Send::from(send.request).body,
        chain: bytes::Bytes::new(),
        state: None,
    }
}

/// What to keep of two tellings of one place; `None` when they contradict each other.
pub(super) fn merge(kept: frames::Message, told: &frames::Message) -> Option<frames::Message> {
    let same = match (kept.chain.is_empty(), told.chain.is_empty()) {
        (false, false) => kept.chain == told.chain,
        _ => kept.message_id == told.message_id && kept.device == told.device,
    };
    match (same, further(told) < further(&kept)) {
        (false, _) => None,
        (true, true) => Some(kept),
        (true, false) => Some(told.clone()),
    }
}

/// What is known of a message, as something that only grows: replicas and pages that were read before may be behind.
fn further(message: &frames::Message) -> (bool, bool, u32, u64) {
    let whole = !message.chain.is_empty();
    let Some(state) = &message.state else { return (whole, false, 0, 0) };
    let last = state.reactions.iter().map(|reaction| reaction.change).max().unwrap_or(0);
    (whole, state.deleted, state.edits, last)
}

/// The sequence that a change is about, if it is about a message.
pub(super) fn place(change: &frames::Change) -> Option<u64> {
    match change.what.as_ref()?.what.as_ref()? {
        What::Edited(edited) => Some(edited.seq),
        What::Deleted(seq) => Some(*seq),
        What::Reacted(reacted) => Some(reacted.seq),
        What::Renamed(_)
        | What::RoleSet(_)
        | What::Added(_)
        | What::Removed(_)
        | What::RetentionSet(_) => None,
    }
}

/// The message as it reads after the change. What was told with the message already changes nothing.
pub(super) fn apply(message: &mut frames::Message, change: &frames::Change) {
    let Some(what) = change.what.as_ref().and_then(|what| what.what.as_ref()) else { return };
    let state = message.state.get_or_insert_with(MessageState::default);
    match what {
        // Within a conversation time does not run backwards.
        What::Edited(_) if state.deleted || state.edited_at_ms > change.at_ms => {}
        What::Edited(edited) => {
            state.edits += u32::from(state.edited_at_ms < change.at_ms);
            state.edited_at_ms = change.at_ms;
            // Without a text it was deleted since, which a later change says.
            if let (Some(text), Some(body)) = (&edited.text, &mut message.body) {
                body.text.clone_from(text);
            }
        }
        What::Deleted(_) => {
            state.deleted = true;
            state.reactions.clear();
            message.body = Some(frames::MessageBody::default());
        }
        What::Reacted(reacted) => react(state, change, &reacted.reaction),
        What::Renamed(_)
        | What::RoleSet(_)
        | What::Added(_)
        | What::Removed(_)
        | What::RetentionSet(_) => {}
    }
}

fn react(state: &mut MessageState, change: &frames::Change, text: &str) {
    let later = |reaction: &frames::Reaction| {
        reaction.user == change.by && reaction.change >= change.number
    };
    if state.deleted || state.reactions.iter().any(later) {
        return;
    }
    state.reactions.retain(|reaction| reaction.user != change.by);
    if !text.is_empty() {
        let (user, text) = (change.by.clone(), text.to_owned());
        state.reactions.push(frames::Reaction { user, text, change: change.number });
    }
}
