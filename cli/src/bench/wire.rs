//! Frames as a benchmark needs them: made with few copies, read for what is measured.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::frames::{
    ClientFrame, Confirm, Hello, MessageBody, ReadHistory, Send, ServerFrame, client_frame,
    read_history, send, server_frame,
};
use tokio::time::Instant;

/// Digits of the time at the beginning of each text.
const STAMP: usize = 16;

/// The clock that all texts of one run are stamped with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamps {
    began: Instant,
}

impl Stamps {
    pub(super) fn new() -> Stamps {
        Stamps { began: Instant::now() }
    }

    /// A text of `size` bytes that says when it was meant to be sent.
    fn text(self, at: Instant, size: usize) -> String {
        let nanos = u64::try_from((at - self.began).as_nanos()).unwrap_or(u64::MAX);
        let mut text = format!("{nanos:0STAMP$x}");
        let filler = "the quick brown fox jumps over the lazy dog and ";
        while text.len() < size {
            let left = size - text.len();
            text.push_str(&filler[..left.min(filler.len())]);
        }
        text
    }

    /// When this text was meant to be sent, if this run wrote it.
    pub(super) fn read(self, text: &str) -> Option<Instant> {
        let nanos = u64::from_str_radix(text.get(..STAMP)?, 16).ok()?;
        Some(self.began + Duration::from_nanos(nanos))
    }
}

fn encode(frame: client_frame::Frame) -> Bytes {
    ClientFrame { frame: Some(frame) }.encode_to_vec().into()
}

pub(super) fn hello(token: &str) -> Bytes {
    encode(client_frame::Frame::Hello(Hello { token: token.to_owned(), version: 1, resume: None }))
}

/// One message on its way: what it takes to send it, and to send it again.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) tag: u64,
    /// Which of its client's conversations.
    pub(super) table: usize,
    pub(super) to: send::To,
    /// 0: in arrival order.
    pub(super) order: u64,
    pub(super) meant_at: Instant,
}

impl Outgoing {
    pub(super) fn frame(&self, stamps: Stamps, size: usize) -> Bytes {
        encode(client_frame::Frame::Send(Send {
            tag: self.tag,
            to: Some(self.to.clone()),
            order: self.order,
            message_id: format!("m{}", self.tag),
            body: Some(MessageBody {
                text: stamps.text(self.meant_at, size),
                ..MessageBody::default()
            }),
        }))
    }
}

pub(super) fn confirm(tag: u64, conversation: Bytes, seq: u64) -> Bytes {
    encode(client_frame::Frame::Confirm(Confirm { tag, conversation, seq, read: false }))
}

pub(super) fn read_page(
    tag: u64,
    conversation: Bytes,
    after: u64,
    limit: u32,
    consistency: proto::frames::Consistency,
) -> Bytes {
    encode(client_frame::Frame::ReadHistory(ReadHistory {
        tag,
        of: Some(read_history::Of::Conversation(conversation)),
        after,
        limit,
        consistency: consistency.into(),
        ..ReadHistory::default()
    }))
}

/// What a node says; `None` for what this version does not know.
pub(super) fn decode(frame: Bytes) -> Result<Option<server_frame::Frame>, prost::DecodeError> {
    Ok(ServerFrame::decode(frame)?.frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_size_and_says_when_it_was_meant() {
        let stamps = Stamps::new();
        let at = stamps.began + Duration::from_nanos(123_456_789);
        for size in [16, 17, 300, 5000] {
            let text = stamps.text(at, size);
            assert_eq!(text.len(), size);
            assert_eq!(stamps.read(&text), Some(at));
        }
        assert_eq!(stamps.text(at, 3).len(), STAMP, "never shorter than its stamp");
        assert_eq!(stamps.read("hello"), None);
        assert_eq!(stamps.read("äääääääääääääääääääääääää"), None);
    }
}
