//! The memory link: two queues in one process, for tests and the simulation.
//!
//! Behaves like a transport without loss: order is kept, a full queue makes the sender wait, dropping
//! or closing one end ends the other.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{CloseReason, Encoding, Link, LinkError, LinkKind, LinkReader, LinkWriter};

/// Frames that may wait between the two ends; more makes the sender wait, as a socket buffer would.
const QUEUE_FRAMES: usize = 64;

#[derive(Debug)]
enum Item {
    Frame(Bytes),
    Close(CloseReason),
}

#[derive(Debug)]
pub(crate) struct Reader {
    from: mpsc::Receiver<Item>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    to: Option<mpsc::Sender<Item>>,
}

/// Two ends of one link inside this process. Either may be given to a session or to a test.
#[must_use]
pub fn memory_link() -> (Link, Link) {
    let (to_right, from_left) = mpsc::channel(QUEUE_FRAMES);
    let (to_left, from_right) = mpsc::channel(QUEUE_FRAMES);
    (end(from_right, to_right), end(from_left, to_left))
}

fn end(from: mpsc::Receiver<Item>, to: mpsc::Sender<Item>) -> Link {
    Link {
        reader: LinkReader::new(super::ReaderKind::Memory(Reader { from })),
        writer: LinkWriter::new(super::WriterKind::Memory(Writer { to: Some(to) })),
        encoding: Encoding::Binary,
        kind: LinkKind::Memory,
        peer: None,
        bearer: None,
        resume: None,
    }
}

impl Reader {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        match self.from.recv().await {
            Some(Item::Frame(frame)) => Ok(Some(frame)),
            Some(Item::Close(CloseReason::Normal)) => Ok(None),
            Some(Item::Close(reason)) => Err(LinkError::Closed { code: reason.code().into() }),
            None => Err(LinkError::Lost("the other end was dropped".into())),
        }
    }
}

impl Writer {
    pub(super) async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), LinkError> {
        let to = self.to.as_ref().ok_or(LinkError::Lost("this end was closed".into()))?;
        while let Some(frame) = frames.pop_front() {
            to.send(Item::Frame(frame))
                .await
                .map_err(|_| LinkError::Lost("the other end was dropped".into()))?;
        }
        Ok(())
    }

    pub(super) async fn close(&mut self, reason: CloseReason) {
        if let Some(to) = self.to.take() {
            // The other end may be gone, or not reading: closing never waits for it.
            let _ = to.try_send(Item::Close(reason));
        }
    }
}
