//! Head, member, producer, cursor.

use bytes::Bytes;
use chat::{
    ChangeNumber, Cursor, Head, History, Kind, Member, Order, Producer, Retention, Seq, Timestamp,
};
use prost::Message as _;

use crate::{DecodeError, change, read, rows, wire};

/// The bytes of a head. Written with each entry, hence without a copy.
pub fn encode_head(head: &Head) -> Bytes {
    let mut out = Vec::with_capacity(256);
    match &head.kind {
        Kind::Direct { low, high } => wire::nested(&mut out, 1, |out| {
            wire::string(out, 1, low.as_str());
            wire::string(out, 2, high.as_str());
        }),
        Kind::Group { group, name, history } => wire::nested(&mut out, 2, |out| {
            wire::string(out, 1, group.as_str());
            wire::string(out, 2, name);
            wire::boolean(out, 3, *history == History::All);
        }),
    }
    wire::uint64(&mut out, 3, head.last_seq.0);
    wire::uint64(&mut out, 4, head.last_at.0);
    wire::bytes(&mut out, 5, &head.chain.0);
    wire::uint64(&mut out, 6, head.created_at.0);
    wire::uint64(&mut out, 10, head.last_change.0);
    wire::uint64(&mut out, 11, head.last_change_at.0);
    wire::uint64(&mut out, 20, change::seconds(head.retention));
    wire::uint64(&mut out, 21, head.expired.0);
    out.into()
}

/// The head that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_head(bytes: &[u8]) -> Result<Head, DecodeError> {
    let row = rows::Head::decode(bytes).map_err(DecodeError::of("head"))?;
    let kind = match row.kind.ok_or_else(|| DecodeError::missing("head.kind"))? {
        rows::head::Kind::Direct(direct) => Kind::Direct {
            low: read::user("head.low", &direct.low)?,
            high: read::user("head.high", &direct.high)?,
        },
        rows::head::Kind::Group(group) => Kind::Group {
            group: read::group("head.group", &group.group)?,
            name: group.name,
            history: if group.history_all { History::All } else { History::SinceJoin },
        },
    };
    Ok(Head {
        kind,
        last_seq: Seq(row.last_seq),
        last_at: Timestamp(row.last_at_ms),
        chain: read::chain("head.chain", &row.chain)?,
        created_at: Timestamp(row.created_at_ms),
        last_change: ChangeNumber(row.last_change),
        last_change_at: Timestamp(row.last_change_at_ms),
        retention: change::retention(row.retention_seconds),
        expired: Seq(row.expired),
    })
}

/// The bytes that say that messages are not kept for ever.
pub fn encode_retained(retention: Retention) -> Bytes {
    rows::Retained { seconds: retention.0 }.encode_to_vec().into()
}

/// For how long messages are kept, by these bytes.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_retained(bytes: &[u8]) -> Result<Retention, DecodeError> {
    let row = rows::Retained::decode(bytes).map_err(DecodeError::of("retained"))?;
    change::retention(row.seconds).ok_or_else(|| DecodeError::missing("retained.seconds"))
}

/// The bytes of a membership.
pub fn encode_member(member: &Member) -> Bytes {
    let row = rows::Member {
        role: change::role_number(member.role),
        joined_at_seq: member.joined_at.0,
        joined_change: member.joined_change.0,
    };
    row.encode_to_vec().into()
}

/// The membership that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_member(bytes: &[u8]) -> Result<Member, DecodeError> {
    let row = rows::Member::decode(bytes).map_err(DecodeError::of("member"))?;
    Ok(Member {
        role: change::role("member.role", row.role)?,
        joined_at: Seq(row.joined_at_seq),
        joined_change: ChangeNumber(row.joined_change),
    })
}

/// The bytes of a producer. Written with each message, hence without a copy.
pub fn encode_producer(producer: &Producer) -> Bytes {
    let mut out = Vec::with_capacity(80);
    wire::string(&mut out, 1, producer.user.as_str());
    wire::uint64(&mut out, 2, producer.last_order.0);
    out.into()
}

/// The producer that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_producer(bytes: &[u8]) -> Result<Producer, DecodeError> {
    let row = rows::Producer::decode(bytes).map_err(DecodeError::of("producer"))?;
    let user = read::user("producer.user", &row.user)?;
    Ok(Producer { user, last_order: Order(row.last_order) })
}

/// The bytes of a cursor. Written with each confirmation, hence without a copy.
pub fn encode_cursor(cursor: &Cursor) -> Bytes {
    let mut out = Vec::with_capacity(96);
    wire::string(&mut out, 1, cursor.user.as_str());
    wire::uint64(&mut out, 2, cursor.delivered.0);
    wire::uint64(&mut out, 3, cursor.read.0);
    wire::uint64(&mut out, 10, cursor.changes.0);
    if cursor.shown != cursor.read {
        wire::uint64_always(&mut out, 11, cursor.shown.0);
    }
    out.into()
}

/// The cursor that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_cursor(bytes: &[u8]) -> Result<Cursor, DecodeError> {
    let row = rows::Cursor::decode(bytes).map_err(DecodeError::of("cursor"))?;
    let user = read::user("cursor.user", &row.user)?;
    Ok(Cursor {
        user,
        delivered: Seq(row.delivered),
        read: Seq(row.read),
        shown: Seq(row.shown.unwrap_or(row.read)),
        changes: ChangeNumber(row.changes),
    })
}
