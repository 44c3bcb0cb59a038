//! Any bytes as they could come over a socket, at once and in pieces: for tests that throw bytes.

use bytes::{Bytes, BytesMut};

use super::codec::{Decoder, Event, Role};
use crate::{Encoding, LinkError, link::FRAME_BYTES_MAX};

/// The first byte says whose end hears them and in which encoding, the second how they are cut. Law: the pieces do not
/// matter, and no message is larger than a frame may be.
pub fn thrown(bytes: &[u8]) {
    let [kind, piece, bytes @ ..] = bytes else { return };
    let role = if kind & 1 == 0 { Role::Server } else { Role::Client };
    let encoding = if kind & 2 == 0 { Encoding::Text } else { Encoding::Binary };
    let at_once = heard(Decoder::new(role, encoding), [bytes].into_iter());
    let piece = usize::from(*piece).max(1);
    let in_pieces = heard(Decoder::new(role, encoding), bytes.chunks(piece));
    assert_eq!(at_once, in_pieces, "the pieces do not matter");
    let size = |event: &Event| match event {
        Event::Message(bytes) | Event::Ping(bytes) => bytes.len(),
        Event::Pong | Event::Close(_) => 0,
    };
    assert!(at_once.0.iter().all(|event| size(event) <= FRAME_BYTES_MAX), "no message is larger");
}

fn heard<'a>(
    mut decoder: Decoder,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Event>, Option<LinkError>) {
    let mut buffer = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(event)) => events.push(kept(event)),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

/// The bytes of its own, so that two hearings can be compared.
fn kept(event: Event) -> Event {
    match event {
        Event::Message(bytes) => Event::Message(Bytes::copy_from_slice(&bytes)),
        other => other,
    }
}
