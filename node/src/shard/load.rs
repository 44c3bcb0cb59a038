//! From rows to the values that `chat` decides over. One scan for each, so that what is read is of one moment.

use std::collections::BTreeMap;

use bytes::Bytes;
use chat::{Conversation, ConversationId, PushId, Registration, User, UserId};
use proto::DecodeError;
use proto::keys::{self, Key};
use proto::row;
use store::StoreError;
use store::tables::{Direction, KeyRange, Row, Tables};

/// Rows of one conversation or user in one scan. Far above what limits allow for members, cursors and links; it only
/// keeps a damaged table from filling the memory.
const ROWS_MAX: usize = 1 << 20;

const _: () = assert!(ROWS_MAX > 16 * chat::limits::MEMBERS_MAX * chat::limits::DEVICES_MAX);
const _: () = assert!(
    ROWS_MAX > 4 * chat::limits::CONVERSATIONS_MAX * (1 + chat::limits::REGISTRATIONS_MAX),
    "a link, and a mark for each registration"
);

/// Reads everything about a conversation but its messages.
pub(super) fn conversation(
    tables: &dyn Tables,
    id: ConversationId,
) -> Result<Option<Conversation>, StoreError> {
    let rows = all(tables, keys::conversation_range(id))?;
    let mut head = None;
    let (mut members, mut producers, mut cursors) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (key, value) in rows {
        match keys::parse(&key).map_err(damaged)? {
            Key::Head(_) => head = Some(row::decode_head(&value).map_err(damaged)?),
            Key::Member(_, user) => {
                members.insert(user, row::decode_member(&value).map_err(damaged)?);
            }
            Key::Producer(_, device) => {
                producers.insert(device, row::decode_producer(&value).map_err(damaged)?);
            }
            Key::Cursor(_, device) => {
                cursors.insert(device, row::decode_cursor(&value).map_err(damaged)?);
            }
            other => return Err(foreign(&other)),
        }
    }
    match head {
        Some(head) => Ok(Some(Conversation::from_parts(head, members, producers, cursors))),
        None if members.is_empty() && producers.is_empty() && cursors.is_empty() => Ok(None),
        None => Err(damaged(DecodeError::new("head", format!("conversation {id} has none")))),
    }
}

/// Reads everything about a user.
pub(super) fn user(tables: &dyn Tables, id: &UserId) -> Result<Option<User>, StoreError> {
    let rows = all(tables, keys::user_range(id))?;
    let (mut account, mut hide_read) = (None, false);
    let (mut devices, mut conversations) = (BTreeMap::new(), BTreeMap::new());
    let mut registrations = Vec::new();
    for (key, value) in rows {
        match keys::parse(&key).map_err(damaged)? {
            Key::Registration(..) | Key::Notice(..) | Key::PushMark(..) | Key::DeadLetter(..) => {
                registrations.push((key, value));
            }
            Key::User(_) => account = Some(row::decode_account(&value).map_err(damaged)?),
            Key::Settings(_) => hide_read = row::decode_settings(&value).map_err(damaged)?,
            Key::Device(_, device) => {
                devices.insert(device, row::decode_device(&value).map_err(damaged)?);
            }
            Key::Link(_, conversation) => {
                conversations.insert(conversation, row::decode_link(&value).map_err(damaged)?);
            }
            other => return Err(foreign(&other)),
        }
    }
    let Some(account) = account else {
        return Ok(None);
    };
    Ok(Some(User {
        password_hash: account.password_hash,
        created_at: account.created_at,
        last_seen: account.last_seen,
        hide_read,
        display_name: account.display_name,
        signed_out_at: account.signed_out_at,
        seen: account.seen,
        devices,
        conversations,
        pushes: self::pushes(&registrations)?,
    }))
}

/// A user's registrations of their rows, in the order of the keys: each before what hangs on it.
pub(super) fn pushes(rows: &[Row]) -> Result<BTreeMap<PushId, Registration>, StoreError> {
    let mut pushes = BTreeMap::new();
    for (key, value) in rows {
        let key = keys::parse(key).map_err(damaged)?;
        if let Key::Registration(_, push) = key {
            pushes.insert(push, row::decode_registration(value).map_err(damaged)?);
            continue;
        }
        let push = match key {
            Key::Notice(_, push, _) | Key::PushMark(_, push, _) | Key::DeadLetter(_, push, _) => {
                push
            }
            _ => return Err(foreign(&key)),
        };
        let registration = pushes.get_mut(&push).ok_or_else(|| foreign(&key))?;
        match key {
            Key::Notice(_, _, number) => {
                let notice = row::decode_notice(value).map_err(damaged)?;
                registration.notices.insert(number, notice);
            }
            Key::PushMark(_, _, id) => {
                let seq = row::decode_push_mark(value).map_err(damaged)?;
                registration.marks.insert(id, seq);
            }
            Key::DeadLetter(_, _, number) => {
                let letter = row::decode_dead_letter(value).map_err(damaged)?;
                registration.dead.insert(number, letter);
            }
            other => return Err(foreign(&other)),
        }
    }
    Ok(pushes)
}

pub(super) fn all(
    tables: &dyn Tables,
    range: std::ops::Range<Bytes>,
) -> Result<Vec<Row>, StoreError> {
    tables.scan(KeyRange::new(range.start, range.end), Direction::Ascending, ROWS_MAX)
}

/// A row that does not decode was damaged on its way to the disk or back.
pub(super) fn damaged(error: DecodeError) -> StoreError {
    StoreError::Corrupt { file: "tables".to_owned(), offset: 0, what: error.to_string() }
}

fn foreign(key: &Key) -> StoreError {
    damaged(DecodeError::new("key", format!("{key:?} lies where it does not belong")))
}
