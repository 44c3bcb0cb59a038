//! From generated messages to the types of `chat`, field by field: each function names the field it is about when it
//! refuses. Nothing panics on any value.

use std::ops::Range;

use bytes::Bytes;
use chat::{
    AssetId, Body, Chain, ConversationId, DeviceId, Digest, GroupId, LinkTo, MessageId, Order, Seq,
    UserId,
};

use crate::{DecodeError, frames};

pub(crate) fn user(field: &'static str, text: &str) -> Result<UserId, DecodeError> {
    UserId::parse(text).map_err(DecodeError::of(field))
}

pub(crate) fn group(field: &'static str, text: &str) -> Result<GroupId, DecodeError> {
    GroupId::parse(text).map_err(DecodeError::of(field))
}

pub(crate) fn message_id(field: &'static str, text: &str) -> Result<MessageId, DecodeError> {
    MessageId::parse(text).map_err(DecodeError::of(field))
}

pub(crate) fn conversation(
    field: &'static str,
    bytes: &[u8],
) -> Result<ConversationId, DecodeError> {
    ConversationId::from_bytes(bytes).map_err(DecodeError::of(field))
}

pub(crate) fn asset(field: &'static str, bytes: &[u8]) -> Result<AssetId, DecodeError> {
    AssetId::from_bytes(bytes).map_err(DecodeError::of(field))
}

pub(crate) fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, DecodeError> {
    array(field, bytes).map(Digest)
}

/// No bytes are no digest.
pub(crate) fn optional_digest(
    field: &'static str,
    bytes: &[u8],
) -> Result<Option<Digest>, DecodeError> {
    if bytes.is_empty() { Ok(None) } else { digest(field, bytes).map(Some) }
}

pub(crate) fn chain(field: &'static str, bytes: &[u8]) -> Result<Chain, DecodeError> {
    array(field, bytes).map(Chain)
}

/// Some slots, never none, that exist.
pub(crate) fn slots(field: &'static str, from: u32, end: u32) -> Result<Range<u16>, DecodeError> {
    match (u16::try_from(from), u16::try_from(end)) {
        (Ok(from), Ok(end)) if from < end && end <= chat::SLOTS => Ok(from..end),
        _ => Err(DecodeError::new(field, format!("{from}..{end} are no slots"))),
    }
}

/// 0 is no device: an id that was left out reads as 0.
pub(crate) fn device(field: &'static str, number: u64) -> Result<DeviceId, DecodeError> {
    if number == 0 { Err(DecodeError::missing(field)) } else { Ok(DeviceId(number)) }
}

/// 0 means that the sender does not count.
pub(crate) fn order(number: u64) -> Option<Order> {
    (number != 0).then_some(Order(number))
}

pub(crate) fn body(
    field: &'static str,
    body: Option<frames::MessageBody>,
) -> Result<Body, DecodeError> {
    let body = body.ok_or_else(|| DecodeError::missing(field))?;
    let mentions = body.mentions.iter().map(|name| user("body.mentions", name));
    Ok(Body {
        mentions: mentions.collect::<Result<_, _>>()?,
        text: body.text,
        client_timestamp: body.client_timestamp,
        attachment: body.attachment,
        attachment_uris: body.attachment_uris,
        reply_to: seq(body.reply_to),
        thread: seq(body.thread),
    })
}

/// 0 means none.
fn seq(number: u64) -> Option<Seq> {
    (number != 0).then_some(Seq(number))
}

/// Exactly one of a peer and a group, the other being empty.
pub(crate) fn link_to(field: &'static str, peer: &str, of: &str) -> Result<LinkTo, DecodeError> {
    match (peer, of) {
        ("", "") => Err(DecodeError::missing(field)),
        (peer, "") => user(field, peer).map(LinkTo::Peer),
        ("", of) => group(field, of).map(LinkTo::Group),
        _ => Err(DecodeError::new(field, "both a peer and a group")),
    }
}

/// The two fields that [`link_to`] reads: peer, group.
pub(crate) fn link_fields(to: &LinkTo) -> (String, String) {
    match to {
        LinkTo::Peer(peer) => (peer.as_str().to_owned(), String::new()),
        LinkTo::Group(group) => (String::new(), group.as_str().to_owned()),
    }
}

pub(crate) fn conversation_bytes(id: ConversationId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn array(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::new(field, "not 32 bytes"))
}

impl From<Body> for frames::MessageBody {
    fn from(body: Body) -> frames::MessageBody {
        frames::MessageBody {
            text: body.text,
            client_timestamp: body.client_timestamp,
            attachment: body.attachment,
            attachment_uris: body.attachment_uris,
            reply_to: body.reply_to.unwrap_or_default().0,
            thread: body.thread.unwrap_or_default().0,
            mentions: body.mentions.iter().map(|user| user.as_str().to_owned()).collect(),
        }
    }
}
