//! WebSocket frames (RFC 6455) between byte buffers: pure, no IO, no time.
//!
//! Headers are parsed and written by tungstenite; payloads stay in the buffer they were read into and
//! are handed out without a copy. What is checked here ends the link with a typed error: masking,
//! reserved bits, sizes, fragments without end. Extensions (compression) are never negotiated.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use crate::{
    Encoding, LinkError,
    link::{CloseReason, FRAME_BYTES_MAX},
};

/// Largest WebSocket frame in either direction, bytes; larger messages are sent in fragments. Bounds
/// what one peer can make a node hold before the first check of a message's total.
pub(crate) const WS_FRAME_BYTES_MAX: usize = 256 << 10;
/// Fragments that one message may have: a message of the largest size in pieces of 1 KiB, smaller than
/// any browser or proxy makes them.
const FRAGMENTS_MAX: u32 = 1024;
const _: () = assert!(WS_FRAME_BYTES_MAX <= FRAME_BYTES_MAX);
const _: () = assert!(FRAGMENTS_MAX as usize >= FRAME_BYTES_MAX / WS_FRAME_BYTES_MAX);
/// RFC 6455, 5.5: payload of a control frame.
const CONTROL_BYTES_MAX: usize = 125;
/// RFC 6455, 5.2: a header is never longer.
const HEADER_BYTES_MAX: usize = 14;

/// Which end of the connection this is: clients mask, servers do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// One thing heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Message(Bytes),
    Ping(Bytes),
    Pong,
    Close(Option<u16>),
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    count: u32,
    bytes: BytesMut,
}

/// Takes bytes apart.
#[derive(Debug)]
pub(super) struct Decoder {
    role: Role,
    encoding: Encoding,
    header: Option<(FrameHeader, usize)>,
    fragments: Option<Fragments>,
}

impl Decoder {
    pub(super) fn new(role: Role, encoding: Encoding) -> Self {
        Self { role, encoding, header: None, fragments: None }
    }

    /// Bytes that the frame in progress still needs beyond `held`; 0 when that is not known yet.
    pub(super) fn missing(&self, held: usize) -> usize {
        self.header.as_ref().map_or(0, |(_, len)| len.saturating_sub(held))
    }

    /// Whether the stream may end here without cutting anything in two.
    pub(super) fn between_messages(&self) -> bool {
        self.header.is_none() && self.fragments.is_none()
    }

    /// The next event in `buffer`, or `None` when more bytes are needed.
    pub(super) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Event>, LinkError> {
        loop {
            if self.header.is_none() && !self.decode_header(buffer)? {
                return Ok(None);
            }
            let len = self.header.as_ref().map_or(0, |(_, len)| *len);
            if buffer.len() < len {
                return Ok(None);
            }
            let (header, _) = self.header.take().expect("set above");
            let mut payload = buffer.split_to(len);
            if let Some(mask) = header.mask {
                unmask(&mut payload, mask);
            }
            if let Some(event) = self.accept(&header, payload)? {
                return Ok(Some(event));
            }
        }
    }

    /// Parses and checks a header as soon as it is complete; false when it is not.
    fn decode_header(&mut self, buffer: &mut BytesMut) -> Result<bool, LinkError> {
        let mut cursor = Cursor::new(&buffer[..buffer.len().min(HEADER_BYTES_MAX)]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| LinkError::Protocol("opcode"))?;
        let Some((header, len)) = parsed else {
            return Ok(false);
        };
        let taken = usize::try_from(cursor.position()).expect("at most 14");
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.check(&header, len)?;
        buffer.advance(taken);
        self.header = Some((header, len));
        Ok(true)
    }

    fn check(&self, header: &FrameHeader, len: usize) -> Result<(), LinkError> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(LinkError::Protocol("reserved bits"));
        }
        match (self.role, header.mask.is_some()) {
            (Role::Server, false) => return Err(LinkError::Protocol("unmasked frame")),
            (Role::Client, true) => return Err(LinkError::Protocol("masked frame")),
            _ => {}
        }
        match header.opcode {
            OpCode::Control(_) if len > CONTROL_BYTES_MAX || !header.is_final => {
                Err(LinkError::Protocol("control frame"))
            }
            OpCode::Data(_) if len > WS_FRAME_BYTES_MAX => {
                Err(LinkError::TooLarge { limit: WS_FRAME_BYTES_MAX })
            }
            _ => Ok(()),
        }
    }

    fn accept(
        &mut self,
        header: &FrameHeader,
        payload: BytesMut,
    ) -> Result<Option<Event>, LinkError> {
        match header.opcode {
            OpCode::Control(Control::Ping) => Ok(Some(Event::Ping(payload.freeze()))),
            OpCode::Control(Control::Pong) => Ok(Some(Event::Pong)),
            OpCode::Control(_) => match payload.len() {
                0 => Ok(Some(Event::Close(None))),
                1 => Err(LinkError::Protocol("close code")),
                _ => Ok(Some(Event::Close(Some(u16::from_be_bytes([payload[0], payload[1]]))))),
            },
            OpCode::Data(Data::Continue) => self.continue_message(header.is_final, &payload),
            OpCode::Data(data) => {
                if self.fragments.is_some() {
                    return Err(LinkError::Protocol("message inside a message"));
                }
                let text = data == Data::Text;
                if text != (self.encoding == Encoding::Text) {
                    return Err(LinkError::Protocol("message of the other encoding"));
                }
                if header.is_final {
                    return message(text, payload.freeze()).map(Some);
                }
                self.fragments = Some(Fragments { text, count: 1, bytes: payload });
                Ok(None)
            }
        }
    }

    fn continue_message(
        &mut self,
        is_final: bool,
        payload: &BytesMut,
    ) -> Result<Option<Event>, LinkError> {
        let fragments =
            self.fragments.as_mut().ok_or(LinkError::Protocol("continuation of nothing"))?;
        fragments.count += 1;
        if fragments.count > FRAGMENTS_MAX {
            return Err(LinkError::Flood("fragments"));
        }
        if fragments.bytes.len() + payload.len() > FRAME_BYTES_MAX {
            return Err(LinkError::TooLarge { limit: FRAME_BYTES_MAX });
        }
        fragments.bytes.extend_from_slice(payload);
        if !is_final {
            return Ok(None);
        }
        let fragments = self.fragments.take().expect("checked above");
        message(fragments.text, fragments.bytes.freeze()).map(Some)
    }
}

fn message(text: bool, payload: Bytes) -> Result<Event, LinkError> {
    if text && std::str::from_utf8(&payload).is_err() {
        return Err(LinkError::NotText);
    }
    Ok(Event::Message(payload))
}

/// Puts frames together. Holds random masks when this is a client.
#[derive(Debug)]
pub(super) struct Encoder {
    role: Role,
    encoding: Encoding,
    masks: Masks,
}

impl Encoder {
    pub(super) fn new(role: Role, encoding: Encoding) -> Self {
        Self { role, encoding, masks: Masks::default() }
    }

    /// Appends one message, in fragments when it is larger than a frame may be.
    pub(super) fn message(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let mut data = match self.encoding {
            Encoding::Text => Data::Text,
            Encoding::Binary => Data::Binary,
        };
        let mut rest = payload;
        while rest.len() > WS_FRAME_BYTES_MAX {
            let (head, tail) = rest.split_at(WS_FRAME_BYTES_MAX);
            self.frame(OpCode::Data(data), false, head, out);
            data = Data::Continue;
            rest = tail;
        }
        self.frame(OpCode::Data(data), true, rest, out);
    }

    pub(super) fn ping(&mut self, out: &mut Vec<u8>) {
        self.frame(OpCode::Control(Control::Ping), true, &[], out);
    }

    pub(super) fn pong(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(OpCode::Control(Control::Pong), true, payload, out);
    }

    pub(super) fn close(&mut self, reason: CloseReason, out: &mut Vec<u8>) {
        self.frame(OpCode::Control(Control::Close), true, &reason.code().to_be_bytes(), out);
    }

    fn frame(&mut self, opcode: OpCode, is_final: bool, payload: &[u8], out: &mut Vec<u8>) {
        let mask = match self.role {
            Role::Server => None,
            Role::Client => Some(self.masks.next()),
        };
        let header = FrameHeader { is_final, opcode, mask, ..FrameHeader::default() };
        out.reserve(HEADER_BYTES_MAX + payload.len());
        header.format(payload.len() as u64, out).expect("writing to memory cannot fail");
        let start = out.len();
        out.extend_from_slice(payload);
        if let Some(mask) = mask {
            unmask(&mut out[start..], mask);
        }
    }
}

/// Masks from the system's entropy (RFC 6455, 5.3), drawn for many frames at once.
#[derive(Debug, Default)]
struct Masks {
    pool: Vec<[u8; 4]>,
}

/// Masks drawn by one call.
const MASKS_DRAWN: usize = 64;

impl Masks {
    #[expect(
        clippy::disallowed_methods,
        reason = "masks hide nothing inside TLS and decide nothing; a socket is outside every simulation"
    )]
    fn next(&mut self) -> [u8; 4] {
        if self.pool.is_empty() {
            let mut bytes = [0; 4 * MASKS_DRAWN];
            getrandom::fill(&mut bytes).expect("the system always has entropy once it runs");
            self.pool.extend(bytes.as_chunks::<4>().0);
        }
        self.pool.pop().expect("just filled")
    }
}

/// XORs with the mask, eight bytes at a time. Its own inverse.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn other(role: Role) -> Role {
        if role == Role::Server { Role::Client } else { Role::Server }
    }

    /// Decodes everything that arrives in pieces of this size.
    fn decode_all(
        decoder: &mut Decoder,
        bytes: &[u8],
        piece: usize,
    ) -> Result<Vec<Event>, LinkError> {
        let mut buffer = BytesMut::new();
        let mut events = Vec::new();
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(event) = decoder.decode(&mut buffer)? {
                events.push(event);
            }
        }
        Ok(events)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_it_arrives(
            messages in prop::collection::vec("[a-zäöü🙂]{0,40}", 1..6),
            large in 0_usize..700_000,
            piece in 1_usize..5_000,
            server in any::<bool>(),
            text in any::<bool>(),
        ) {
            let role = if server { Role::Server } else { Role::Client };
            let encoding = if text { Encoding::Text } else { Encoding::Binary };
            let mut messages: Vec<Bytes> = messages.into_iter().map(Bytes::from).collect();
            messages.push(Bytes::from(vec![b'x'; large]));
            let mut encoder = Encoder::new(role, encoding);
            let mut out = Vec::new();
            for message in &messages {
                encoder.message(message, &mut out);
                encoder.ping(&mut out);
            }
            encoder.close(CloseReason::GoingAway, &mut out);
            let mut decoder = Decoder::new(other(role), encoding);
            let mut events = decode_all(&mut decoder, &out, piece).unwrap().into_iter();
            for message in messages {
                prop_assert_eq!(events.next(), Some(Event::Message(message)));
                prop_assert_eq!(events.next(), Some(Event::Ping(Bytes::new())));
            }
            prop_assert_eq!(events.next(), Some(Event::Close(Some(1001))));
            prop_assert!(decoder.between_messages());
        }

        #[test]
        fn any_bytes_give_events_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            piece in 1_usize..50,
        ) {
            for role in [Role::Server, Role::Client] {
                let _ = decode_all(&mut Decoder::new(role, Encoding::Text), &bytes, piece);
            }
        }

        #[test]
        fn masking_twice_changes_nothing(
            payload in prop::collection::vec(any::<u8>(), 0..70),
            mask in any::<[u8; 4]>(),
        ) {
            let mut masked = payload.clone();
            unmask(&mut masked, mask);
            for (n, (masked, byte)) in masked.iter().zip(&payload).enumerate() {
                prop_assert_eq!(*masked, byte ^ mask[n % 4]);
            }
        }
    }

    #[test]
    fn masks_differ_from_frame_to_frame() {
        let mut masks = Masks::default();
        let drawn: std::collections::BTreeSet<_> = (0..1000).map(|_| masks.next()).collect();
        assert!(drawn.len() > 990, "{} different masks of 1000", drawn.len());
    }
}
