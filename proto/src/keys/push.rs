//! `user -> registered`, `user, registration -> registration`, and what hangs on a registration: notices and dead letters by
//! number, marks by conversation.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, PushId, UserId};

use super::parts::{DEAD_LETTER, Key, MARK, NOTICE, Parts, REGISTERED, REGISTRATION};
use crate::DecodeError;

/// The key that says that a user has registrations.
pub fn registered(user: &UserId) -> Bytes {
    Key::slot(user.slot(), REGISTERED).text(user.as_str()).finish()
}

/// All users of a slot who have registrations, by id.
pub fn registered_range(slot: u16) -> Range<Bytes> {
    Key::slot(slot, REGISTERED).prefix_range()
}

/// The user of whom this key says that they have registrations.
///
/// # Errors
/// When it is no such key.
pub fn decode_registered(key: &[u8]) -> Result<UserId, DecodeError> {
    let mut parts = Parts::of(key, "key.registered");
    let user = parts.user_under(REGISTERED)?;
    parts.end(user)
}

/// The key of a registration.
pub fn registration(user: &UserId, push: PushId) -> Bytes {
    Key::user(user).byte(REGISTRATION).u64(push.0).finish()
}

/// Everything about a user's registrations: themselves, notices, marks, dead letters.
pub fn push_range(user: &UserId) -> Range<Bytes> {
    let start = Key::user(user).byte(REGISTRATION).finish();
    start..Key::user(user).byte(DEAD_LETTER).prefix_range().end
}

/// The registration under this key.
///
/// # Errors
/// When it is no key of a registration.
pub fn decode_registration(key: &[u8]) -> Result<(UserId, PushId), DecodeError> {
    let mut parts = Parts::of(key, "key.registration");
    let (user, push) = of(&mut parts, REGISTRATION)?;
    parts.end((user, push))
}

/// The key of a notice.
pub fn notice(user: &UserId, push: PushId, number: u64) -> Bytes {
    Key::user(user).byte(NOTICE).u64(push.0).u64(number).finish()
}

/// The notice under this key.
///
/// # Errors
/// When it is no key of a notice.
pub fn decode_notice(key: &[u8]) -> Result<(UserId, PushId, u64), DecodeError> {
    numbered(key, "key.notice", NOTICE)
}

/// The key of a mark.
pub fn push_mark(user: &UserId, push: PushId, conversation: ConversationId) -> Bytes {
    Key::user(user).byte(MARK).u64(push.0).bytes(conversation.as_bytes()).finish()
}

/// The mark under this key.
///
/// # Errors
/// When it is no key of a mark.
pub fn decode_push_mark(key: &[u8]) -> Result<(UserId, PushId, ConversationId), DecodeError> {
    let mut parts = Parts::of(key, "key.push_mark");
    let (user, push) = of(&mut parts, MARK)?;
    let conversation = parts.conversation_id()?;
    parts.end((user, push, conversation))
}

/// The key of a dead letter.
pub fn dead_letter(user: &UserId, push: PushId, number: u64) -> Bytes {
    Key::user(user).byte(DEAD_LETTER).u64(push.0).u64(number).finish()
}

/// The dead letter under this key.
///
/// # Errors
/// When it is no key of a dead letter.
pub fn decode_dead_letter(key: &[u8]) -> Result<(UserId, PushId, u64), DecodeError> {
    numbered(key, "key.dead_letter", DEAD_LETTER)
}

fn numbered(
    key: &[u8],
    what: &'static str,
    kind: u8,
) -> Result<(UserId, PushId, u64), DecodeError> {
    let mut parts = Parts::of(key, what);
    let (user, push) = of(&mut parts, kind)?;
    let number = parts.u64()?;
    parts.end((user, push, number))
}

fn of(parts: &mut Parts<'_>, kind: u8) -> Result<(UserId, PushId), DecodeError> {
    let user = parts.user()?;
    parts.expect(kind)?;
    Ok((user, PushId(parts.u64()?)))
}
