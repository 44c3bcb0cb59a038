//! Changes, what lies over messages, and the places of change ids.

use bytes::Bytes;
use chat::{
    Change, ChangeNumber, ConversationId, EarlierChange, Overlay, Reaction, Seq, Timestamp,
};
use prost::Message as _;

use crate::{DecodeError, change, frames, read, rows};

/// The bytes of a change's row; conversation and number are in its key.
pub fn encode_change(change: &Change) -> Bytes {
    let row = rows::Change {
        by: change.by.as_str().to_owned(),
        at_ms: change.at.0,
        after: change.after.0,
        what: Some(frames::What::from(&change.what)),
    };
    row.encode_to_vec().into()
}

/// The change that these bytes mean, under the key of `conversation` and `number`.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_change(
    conversation: ConversationId,
    number: ChangeNumber,
    bytes: &[u8],
) -> Result<Change, DecodeError> {
    let row = rows::Change::decode(bytes).map_err(DecodeError::of("change"))?;
    Ok(Change {
        conversation,
        number,
        by: read::user("change.by", &row.by)?,
        at: Timestamp(row.at_ms),
        after: Seq(row.after),
        what: change::what("change.what", row.what)?,
    })
}

/// The bytes of what lies over a message.
pub fn encode_overlay(overlay: &Overlay) -> Bytes {
    let row = rows::Overlay {
        text: overlay.text.clone(),
        edits: overlay.edits.iter().map(|number| number.0).collect(),
        edited_at_ms: overlay.edited_at.0,
        deleted: overlay.deleted.unwrap_or_default().0,
        reactions: change::reactions(overlay),
    };
    row.encode_to_vec().into()
}

/// What lies over a message, of these bytes.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_overlay(bytes: &[u8]) -> Result<Overlay, DecodeError> {
    let row = rows::Overlay::decode(bytes).map_err(DecodeError::of("overlay"))?;
    let reaction = |one: frames::Reaction| {
        let user = read::user("overlay.reactions", &one.user)?;
        Ok((user, Reaction { text: one.text, change: ChangeNumber(one.change) }))
    };
    Ok(Overlay {
        text: row.text,
        edits: row.edits.into_iter().map(ChangeNumber).collect(),
        edited_at: Timestamp(row.edited_at_ms),
        deleted: (row.deleted != 0).then_some(ChangeNumber(row.deleted)),
        reactions: row.reactions.into_iter().map(reaction).collect::<Result<_, DecodeError>>()?,
    })
}

/// The bytes of a change id's place.
pub fn encode_earlier_change(earlier: &EarlierChange) -> Bytes {
    let row = rows::ChangeRef {
        number: earlier.number.0,
        digest: Bytes::copy_from_slice(&earlier.digest.0),
        at_ms: earlier.at.0,
    };
    row.encode_to_vec().into()
}

/// The place that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_earlier_change(bytes: &[u8]) -> Result<EarlierChange, DecodeError> {
    let row = rows::ChangeRef::decode(bytes).map_err(DecodeError::of("change_ref"))?;
    Ok(EarlierChange {
        number: ChangeNumber(row.number),
        at: Timestamp(row.at_ms),
        digest: read::digest("change_ref.digest", &row.digest)?,
    })
}
