//! Messages and the places of message ids.

use bytes::Bytes;
use chat::{ConversationId, Earlier, Message, Order, Seq, Timestamp};
use prost::Message as _;

use crate::{DecodeError, read, rows, wire};

/// The bytes of a message's row; conversation and sequence are in its key. The text is copied once, into the row.
pub fn encode_message(message: &Message) -> Bytes {
    let mut out = Vec::with_capacity(wire::body_room(&message.body));
    wire::string(&mut out, 1, message.sender.as_str());
    wire::fixed64(&mut out, 2, message.device.0);
    wire::uint64(&mut out, 3, message.order.0);
    wire::string(&mut out, 4, message.message_id.as_str());
    wire::uint64(&mut out, 5, message.at.0);
    wire::nested(&mut out, 6, |out| wire::body(out, &message.body));
    wire::bytes(&mut out, 7, &message.chain.0);
    if let Some(erased) = &message.erased {
        wire::bytes(&mut out, 10, &erased.0);
    }
    out.into()
}

/// The message that these bytes mean, under the key of `conversation` and `seq`.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_message(
    conversation: ConversationId,
    seq: Seq,
    bytes: &[u8],
) -> Result<Message, DecodeError> {
    let row = rows::StoredMessage::decode(bytes).map_err(DecodeError::of("message"))?;
    Ok(Message {
        conversation,
        seq,
        sender: read::user("message.sender", &row.sender)?,
        device: read::device("message.device", row.device)?,
        order: read::order(row.order).ok_or_else(|| DecodeError::missing("message.order"))?,
        message_id: read::message_id("message.message_id", &row.message_id)?,
        at: Timestamp(row.at_ms),
        body: read::body("message.body", row.body)?,
        chain: read::chain("message.chain", &row.chain)?,
        erased: read::optional_digest("message.erased", &row.erased)?,
    })
}

/// The bytes of a message id's place.
pub fn encode_earlier(earlier: &Earlier) -> Bytes {
    let mut out = Vec::with_capacity(80);
    wire::uint64(&mut out, 1, earlier.seq.0);
    wire::uint64(&mut out, 2, earlier.order.0);
    wire::bytes(&mut out, 3, &earlier.digest.0);
    wire::uint64(&mut out, 4, earlier.at.0);
    out.into()
}

/// The place that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_earlier(bytes: &[u8]) -> Result<Earlier, DecodeError> {
    let row = rows::MessageRef::decode(bytes).map_err(DecodeError::of("message_ref"))?;
    Ok(Earlier {
        seq: Seq(row.seq),
        at: Timestamp(row.at_ms),
        order: Order(row.order),
        digest: read::digest("message_ref.digest", &row.digest)?,
    })
}
