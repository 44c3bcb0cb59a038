//! Writes protobuf fields straight from borrowed values. What every message and row passes through is encoded with it, so
//! that no string is copied just to be encoded; the rest goes through the generated types. Both give the same bytes, which
//! the tests hold against each other. Nothing is read here.

use prost::encoding::{WireType, encode_key, encode_varint};

/// A field of text; the empty text is left out, as proto3 does.
pub(crate) fn string(out: &mut Vec<u8>, tag: u32, value: &str) {
    bytes(out, tag, value.as_bytes());
}

/// A field of bytes; no bytes are left out.
pub(crate) fn bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    if !value.is_empty() {
        bytes_always(out, tag, value);
    }
}

/// A field of bytes inside a `oneof` or a list, where empty ones count.
pub(crate) fn bytes_always(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// A `uint64`; 0 is left out.
pub(crate) fn uint64(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        uint64_always(out, tag, value);
    }
}

/// An `optional uint64` that is there, 0 or not.
pub(crate) fn uint64_always(out: &mut Vec<u8>, tag: u32, value: u64) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(value, out);
}

/// A `fixed64`; 0 is left out.
pub(crate) fn fixed64(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        encode_key(tag, WireType::SixtyFourBit, out);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A `bool`; false is left out.
pub(crate) fn boolean(out: &mut Vec<u8>, tag: u32, value: bool) {
    uint64(out, tag, u64::from(value));
}

/// A message inside a message, present even when it is empty.
pub(crate) fn nested(out: &mut Vec<u8>, tag: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, out);
    let at = out.len();
    out.push(0);
    fill(out);
    let length = out.len() - at - 1;
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => out[at] = length,
        _ => {
            let mut prefix = Vec::with_capacity(10);
            encode_varint(length as u64, &mut prefix);
            out.splice(at..=at, prefix);
        }
    }
}

/// The fields of a [`frames::MessageBody`](crate::frames::MessageBody).
pub(crate) fn body(out: &mut Vec<u8>, body: &chat::Body) {
    string(out, 1, &body.text);
    string(out, 2, &body.client_timestamp);
    boolean(out, 3, body.attachment);
    for uri in &body.attachment_uris {
        bytes_always(out, 4, uri.as_bytes());
    }
    uint64(out, 10, body.reply_to.unwrap_or_default().0);
    uint64(out, 11, body.thread.unwrap_or_default().0);
    for mention in &body.mentions {
        bytes_always(out, 12, mention.as_str().as_bytes());
    }
}

/// Room that a body and what stands around it will take, so that the buffer seldom grows.
pub(crate) fn body_room(body: &chat::Body) -> usize {
    let uris: usize = body.attachment_uris.iter().map(|uri| uri.len() + 4).sum();
    body.text.len() + body.client_timestamp.len() + uris + 256
}
