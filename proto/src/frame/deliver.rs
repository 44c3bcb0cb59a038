//! Messages on their way out. A message is encoded once for all its recipients; frames are put together from such bytes.

use bytes::Bytes;
use chat::{Message, Order, Overlay, Seq, Timestamp};
use prost::Message as _;

use crate::{Addressee, DecodeError, frames, read, wire};

/// The bytes of a [`frames::Message`] over which nothing lies: the same for every recipient, so that they are made once and
/// shared.
pub fn message_bytes(message: &Message, to: Addressee<'_>) -> Bytes {
    let mut out = Vec::with_capacity(wire::body_room(&message.body));
    wire::bytes(&mut out, 1, message.conversation.as_bytes());
    wire::uint64(&mut out, 2, message.seq.0);
    wire::string(&mut out, 3, message.sender.as_str());
    wire::fixed64(&mut out, 4, message.device.0);
    match to {
        Addressee::Receiver(receiver) => wire::string(&mut out, 5, receiver),
        Addressee::Group(group) => wire::string(&mut out, 6, group),
    }
    wire::uint64(&mut out, 7, message.order.0);
    wire::string(&mut out, 8, message.message_id.as_str());
    wire::uint64(&mut out, 9, message.at.0);
    wire::nested(&mut out, 10, |out| wire::body(out, &message.body));
    wire::bytes(&mut out, 11, &message.chain.0);
    out.into()
}

/// The bytes of a [`frames::Message`] as it reads with what lies over it.
pub fn changed_message_bytes(message: &Message, to: Addressee<'_>, overlay: &Overlay) -> Bytes {
    frames::Message::of(message, to, Some(overlay)).encode_to_vec().into()
}

/// The bytes of a whole [`frames::ServerFrame`] that delivers these messages, each made by [`message_bytes`].
pub fn deliver_frame(messages: &[Bytes], catching_up: bool) -> Bytes {
    let room: usize = messages.iter().map(|message| message.len() + 6).sum();
    let mut out = Vec::with_capacity(room + 16);
    wire::nested(&mut out, 3, |out| {
        for message in messages {
            wire::bytes_always(out, 1, message);
        }
        wire::boolean(out, 2, catching_up);
    });
    out.into()
}

impl frames::Message {
    /// A message in its outside form, as it reads with what lies over it.
    pub fn of(message: &Message, to: Addressee<'_>, overlay: Option<&Overlay>) -> frames::Message {
        let mut body = frames::MessageBody::from(message.body.clone());
        if let Some(text) = overlay.and_then(|overlay| overlay.text.as_ref()) {
            body.text.clone_from(text);
        }
        let (receiver, group) = match to {
            Addressee::Receiver(receiver) => (receiver.to_owned(), String::new()),
            Addressee::Group(group) => (String::new(), group.to_owned()),
        };
        frames::Message {
            conversation: read::conversation_bytes(message.conversation),
            seq: message.seq.0,
            sender: message.sender.as_str().to_owned(),
            device: message.device.0,
            receiver,
            group,
            order: message.order.0,
            message_id: message.message_id.as_str().to_owned(),
            at_ms: message.at.0,
            body: Some(body),
            chain: Bytes::copy_from_slice(&message.chain.0),
            state: overlay.map(|overlay| frames::MessageState::of(message, overlay)),
        }
    }
}

/// A delivered message, checked. Whom it was for is in the frame, and what became of it. Where the body is no longer what
/// was first said, `erased` has the digest of that.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn chat_message(message: frames::Message) -> Result<Message, DecodeError> {
    if message.receiver.is_empty() == message.group.is_empty() {
        return Err(DecodeError::new("message.receiver", "exactly one of receiver and group"));
    }
    if message.seq == 0 {
        return Err(DecodeError::missing("message.seq"));
    }
    Ok(Message {
        conversation: read::conversation("message.conversation", &message.conversation)?,
        seq: Seq(message.seq),
        sender: read::user("message.sender", &message.sender)?,
        device: read::device("message.device", message.device)?,
        order: Order(message.order),
        message_id: read::message_id("message.message_id", &message.message_id)?,
        at: Timestamp(message.at_ms),
        body: read::body("message.body", message.body)?,
        chain: read::chain("message.chain", &message.chain)?,
        erased: match message.state {
            Some(state) => read::optional_digest("message.state.digest", &state.digest)?,
            None => None,
        },
    })
}
