//! What a decision must know beside the state: fetched before it, from the batch in the making first and from the tables
//! after. A plain message costs one row at most; the rest is for changes alone.

use std::sync::Arc;

use bytes::Bytes;
use chat::limits::EXPIRE_MAX;
use chat::{
    Change, ChangeMessage, ChangeNumber, Conversation, ConversationId, Known, Message, Overlay,
    SendMessage, Seq, Subject,
};
use proto::{keys, row};
use raft::Fatal;
use store::tables::Tables;

use super::decide::undecodable;
use super::draft::Draft;

/// What was found, and the key under which the command's own id will be found again.
#[derive(Default)]
pub(super) struct Found {
    pub(super) known: Known,
    pub(super) place: Option<Bytes>,
}

/// For a message: whether its id was used.
pub(super) fn send(
    tables: &dyn Tables,
    draft: &Draft,
    id: ConversationId,
    state: Option<&Conversation>,
    message: &SendMessage,
) -> Result<Found, Fatal> {
    let key = keys::message_ref(id, &message.message_id, message.device);
    let mut known = Known::default();
    // A device that never spoke here has used no message id here.
    let spoke = state.is_some_and(|state| state.producers.contains_key(&message.device));
    if spoke && !planted::bug(planted::Bug::DedupeLeftOut) {
        known.earlier = match draft.place(&key) {
            Some(earlier) => Some(earlier),
            None => read(tables, &key, row::decode_earlier)?,
        };
    }
    Ok(Found { known, place: Some(key) })
}

/// For a change of a message: whether its id was used, and the message as it is now.
pub(super) fn change(
    tables: &dyn Tables,
    draft: &Draft,
    id: ConversationId,
    change: &ChangeMessage,
) -> Result<Found, Fatal> {
    let key = keys::change_ref(id, &change.change_id, change.device);
    let earlier = match draft.change_place(&key) {
        Some(earlier) => Some(earlier),
        None => read(tables, &key, row::decode_earlier_change)?,
    };
    let target = match message(tables, draft, id, change.seq)? {
        Some(message) => {
            let overlay = overlay(tables, draft, id, change.seq)?;
            Some(Subject { message, overlay })
        }
        None => None,
    };
    let known = Known { change: earlier, target, ..Known::default() };
    Ok(Found { known, place: Some(key) })
}

/// For an expiry: the messages that are to expire, as they are now. Nothing is looked up for one that is refused anyway.
pub(super) fn expire(
    tables: &dyn Tables,
    draft: &Draft,
    id: ConversationId,
    state: Option<&Conversation>,
    up_to: Seq,
) -> Result<Found, Fatal> {
    let Some(head) = state.map(|state| &state.head) else { return Ok(Found::default()) };
    let due = head.expired.0 + 1..=up_to.0;
    if up_to > head.last_seq || up_to.0.saturating_sub(head.expired.0) > EXPIRE_MAX {
        return Ok(Found::default());
    }
    let mut expiring = Vec::new();
    for seq in due.map(Seq) {
        let message = message(tables, draft, id, seq)?
            .ok_or_else(|| Fatal::new(format!("message {seq} of {id} is gone")))?;
        expiring.push(Subject { message, overlay: overlay(tables, draft, id, seq)? });
    }
    Ok(Found { known: Known { expiring, ..Known::default() }, place: None })
}

fn message(
    tables: &dyn Tables,
    draft: &Draft,
    id: ConversationId,
    seq: Seq,
) -> Result<Option<Arc<Message>>, Fatal> {
    if let Some(erased) = draft.erased(id, seq) {
        return Ok(Some(erased));
    }
    let key = keys::message(id, seq);
    let row = match tables.get(&key)? {
        Some(row) => Some(row),
        None => draft.stored(&key),
    };
    let message = row.map(|row| row::decode_message(id, seq, &row)).transpose();
    Ok(message.map_err(undecodable)?.map(Arc::new))
}

fn overlay(
    tables: &dyn Tables,
    draft: &Draft,
    id: ConversationId,
    seq: Seq,
) -> Result<Overlay, Fatal> {
    if let Some(overlay) = draft.overlay(id, seq) {
        return Ok(overlay);
    }
    let stored = read(tables, &keys::overlay(id, seq), row::decode_overlay)?;
    Ok(stored.unwrap_or_default())
}

/// Takes what was said out of earlier changes, because the message is deleted.
pub(super) fn empty(
    tables: &dyn Tables,
    draft: &mut Draft,
    id: ConversationId,
    numbers: &[ChangeNumber],
) -> Result<(), Fatal> {
    for number in numbers {
        let mut change = match draft.change(id, *number) {
            Some(change) => change,
            None => stored_change(tables, id, *number)?,
        };
        change.what.erase();
        draft.put_change(change);
    }
    Ok(())
}

fn stored_change(
    tables: &dyn Tables,
    id: ConversationId,
    number: ChangeNumber,
) -> Result<Change, Fatal> {
    let decode = |bytes: &[u8]| row::decode_change(id, number, bytes);
    let stored = read(tables, &keys::change(id, number), decode)?;
    stored.ok_or_else(|| Fatal::new(format!("change {number} of {id} is gone")))
}

fn read<T>(
    tables: &dyn Tables,
    key: &Bytes,
    decode: impl FnOnce(&[u8]) -> Result<T, proto::DecodeError>,
) -> Result<Option<T>, Fatal> {
    match tables.get(key)? {
        Some(value) => decode(&value).map(Some).map_err(undecodable),
        None => Ok(None),
    }
}
