//! Frames of the client plane (`synod/1`) to bytes and back, and to the types of `chat`. Station 1 hands in the bytes of one
//! frame, whose size it has limited already.

mod change;
mod deliver;
mod request;

use bytes::Bytes;
use prost::Message as _;

use crate::{DecodeError, frames};

pub use change::ChangeRequest;
pub use deliver::{changed_message_bytes, chat_message, deliver_frame, message_bytes};
pub use frames::client_frame::Frame as ClientFrame;
pub use frames::server_frame::Frame as ServerFrame;
pub use request::{HistoryOf, HistoryRequest, SendRequest, SendTo};

/// The version of these frames; [`frames::Hello::version`].
pub const VERSION: u32 = 1;

/// The bytes of a client's frame.
pub fn encode_client_frame(frame: ClientFrame) -> Bytes {
    frames::ClientFrame { frame: Some(frame) }.encode_to_vec().into()
}

/// What a client said. Texts share the frame's bytes where they can.
///
/// # Errors
/// [`DecodeError`] when it is no frame, or of a kind that this version does not know.
pub fn decode_client_frame(bytes: Bytes) -> Result<ClientFrame, DecodeError> {
    let decoded = frames::ClientFrame::decode(bytes).map_err(DecodeError::of("frame"))?;
    decoded.frame.ok_or_else(|| DecodeError::new("frame", "empty, or of an unknown kind"))
}

/// The bytes of a node's frame.
pub fn encode_server_frame(frame: ServerFrame) -> Bytes {
    frames::ServerFrame { frame: Some(frame) }.encode_to_vec().into()
}

/// What a node said. `None` when it is of a kind that this version does not know, which an older client passes over.
///
/// # Errors
/// [`DecodeError`] when it is no frame.
pub fn decode_server_frame(bytes: Bytes) -> Result<Option<ServerFrame>, DecodeError> {
    let decoded = frames::ServerFrame::decode(bytes).map_err(DecodeError::of("frame"))?;
    Ok(decoded.frame)
}

#[cfg(test)]
mod tests;
