//! Rows of a Raft group: outbox items, applied state.

use std::ops::Range;

use bytes::Bytes;
use chat::Owed;
use prost::Message as _;

use crate::{DecodeError, read, rows};

/// The bytes of an outbox item.
pub fn encode_owed(owed: &Owed) -> Bytes {
    let row = match owed {
        Owed::Link { user, conversation, to } => {
            let (peer, group) = read::link_fields(to);
            rows::OutboxItem {
                user: user.as_str().to_owned(),
                conversation: read::conversation_bytes(*conversation),
                peer,
                group,
                unlink: false,
            }
        }
        Owed::Unlink { user, conversation } => rows::OutboxItem {
            user: user.as_str().to_owned(),
            conversation: read::conversation_bytes(*conversation),
            unlink: true,
            ..rows::OutboxItem::default()
        },
    };
    row.encode_to_vec().into()
}

/// The outbox item that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_owed(bytes: &[u8]) -> Result<Owed, DecodeError> {
    let row = rows::OutboxItem::decode(bytes).map_err(DecodeError::of("outbox"))?;
    let user = read::user("outbox.user", &row.user)?;
    let conversation = read::conversation("outbox.conversation", &row.conversation)?;
    if row.unlink {
        return Ok(Owed::Unlink { user, conversation });
    }
    let to = read::link_to("outbox.to", &row.peer, &row.group)?;
    Ok(Owed::Link { user, conversation, to })
}

/// The bytes of a group's applied state.
pub fn encode_applied(applied: &rows::AppliedState) -> Bytes {
    applied.encode_to_vec().into()
}

/// The applied state that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are none, or name slots that do not exist.
pub fn decode_applied(bytes: &[u8]) -> Result<rows::AppliedState, DecodeError> {
    let row = rows::AppliedState::decode(bytes).map_err(DecodeError::of("applied"))?;
    slots_of(&row)?;
    Ok(row)
}

/// The slots that an applied state names; `None`: those that the group had at first.
///
/// # Errors
/// [`DecodeError`] when they do not exist.
pub fn slots_of(row: &rows::AppliedState) -> Result<Option<Range<u16>>, DecodeError> {
    if (row.slots_from, row.slots_end) == (0, 0) {
        return Ok(None);
    }
    read::slots("applied.slots", row.slots_from, row.slots_end).map(Some)
}
