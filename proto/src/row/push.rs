//! Registrations for pushes, with what hangs on them.

use bytes::Bytes;
use chat::{DeadLetter, DeviceId, Notice, Registration, Seq, Target, Timestamp};
use prost::Message as _;

use crate::rows::push_target::Target as Wire;
use crate::{DecodeError, read, rows};

/// The bytes that say how many registrations a user has; a row that is there says at least 1.
pub fn encode_registered(count: u32) -> Bytes {
    rows::Registered { count }.encode_to_vec().into()
}

/// How many registrations these bytes say.
///
/// # Errors
/// [`DecodeError`] when they say nothing.
pub fn decode_registered(bytes: &[u8]) -> Result<u32, DecodeError> {
    let row = rows::Registered::decode(bytes).map_err(DecodeError::of("registered"))?;
    Ok(row.count)
}

/// The bytes of a registration without its notices, marks and dead letters, which have rows of their own.
pub fn encode_registration(registration: &Registration) -> Bytes {
    let row = rows::Registration {
        device: registration.device.map_or(0, |device| device.0),
        target: Some(push_target(&registration.target)),
        created_at_ms: registration.created_at.0,
        last: registration.last,
        done: registration.done,
    };
    row.encode_to_vec().into()
}

/// The registration that these bytes mean, without notices, marks and dead letters.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_registration(bytes: &[u8]) -> Result<Registration, DecodeError> {
    let row = rows::Registration::decode(bytes).map_err(DecodeError::of("registration"))?;
    if row.done > row.last {
        return Err(DecodeError::new("registration.done", "more is done than there was"));
    }
    let target = row.target.ok_or_else(|| DecodeError::missing("registration.target"))?;
    let target = read_push_target("registration.target", target)?;
    let device = (row.device != 0).then_some(DeviceId(row.device));
    let created_at = Timestamp(row.created_at_ms);
    let new = Registration::new(device, target, created_at);
    Ok(Registration { last: row.last, done: row.done, ..new })
}

/// The bytes of a notice.
pub fn encode_notice(notice: &Notice) -> Bytes {
    self::notice(notice).encode_to_vec().into()
}

/// The notice that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_notice(bytes: &[u8]) -> Result<Notice, DecodeError> {
    let row = rows::Notice::decode(bytes).map_err(DecodeError::of("notice"))?;
    read_notice("notice.conversation", &row)
}

/// The bytes of a mark.
pub fn encode_push_mark(seq: Seq) -> Bytes {
    rows::PushMark { seq: seq.0 }.encode_to_vec().into()
}

/// The mark that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are none.
pub fn decode_push_mark(bytes: &[u8]) -> Result<Seq, DecodeError> {
    let row = rows::PushMark::decode(bytes).map_err(DecodeError::of("push_mark"))?;
    Ok(Seq(row.seq))
}

/// The bytes of a dead letter.
pub fn encode_dead_letter(letter: &DeadLetter) -> Bytes {
    let row = rows::DeadLetter {
        notice: Some(notice(&letter.notice)),
        at_ms: letter.at.0,
        attempts: letter.attempts,
        reason: letter.reason.clone(),
    };
    row.encode_to_vec().into()
}

/// The dead letter that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_dead_letter(bytes: &[u8]) -> Result<DeadLetter, DecodeError> {
    let row = rows::DeadLetter::decode(bytes).map_err(DecodeError::of("dead_letter"))?;
    let notice = row.notice.ok_or_else(|| DecodeError::missing("dead_letter.notice"))?;
    Ok(DeadLetter {
        notice: read_notice("dead_letter.notice", &notice)?,
        at: Timestamp(row.at_ms),
        attempts: row.attempts,
        reason: row.reason,
    })
}

fn notice(notice: &Notice) -> rows::Notice {
    rows::Notice {
        conversation: read::conversation_bytes(notice.conversation),
        seq: notice.seq.0,
        at_ms: notice.at.0,
    }
}

fn read_notice(field: &'static str, row: &rows::Notice) -> Result<Notice, DecodeError> {
    let conversation = read::conversation(field, &row.conversation)?;
    Ok(Notice { conversation, seq: Seq(row.seq), at: Timestamp(row.at_ms) })
}

pub(crate) fn push_target(target: &Target) -> rows::PushTarget {
    let token = |token: &String| rows::DeviceToken { token: token.clone() };
    let target = match target {
        Target::Webhook { url, secret } => Wire::Webhook(rows::Webhook {
            url: url.clone(),
            secret: Bytes::copy_from_slice(secret),
        }),
        Target::WebPush { endpoint, key, auth } => Wire::WebPush(rows::WebPush {
            endpoint: endpoint.clone(),
            key: Bytes::copy_from_slice(key),
            auth: Bytes::copy_from_slice(auth),
        }),
        Target::Apns { token: it } => Wire::Apns(token(it)),
        Target::Fcm { token: it } => Wire::Fcm(token(it)),
    };
    rows::PushTarget { target: Some(target) }
}

pub(crate) fn read_push_target(
    field: &'static str,
    target: rows::PushTarget,
) -> Result<Target, DecodeError> {
    let length = |_| DecodeError::new(field, "a key is not of its length");
    match target.target.ok_or_else(|| DecodeError::missing(field))? {
        Wire::Webhook(it) => {
            let secret = it.secret[..].try_into().map_err(length)?;
            Ok(Target::Webhook { url: it.url, secret })
        }
        Wire::WebPush(it) => Ok(Target::WebPush {
            endpoint: it.endpoint,
            key: it.key[..].try_into().map_err(length)?,
            auth: it.auth[..].try_into().map_err(length)?,
        }),
        Wire::Apns(it) => Ok(Target::Apns { token: it.token }),
        Wire::Fcm(it) => Ok(Target::Fcm { token: it.token }),
    }
}
