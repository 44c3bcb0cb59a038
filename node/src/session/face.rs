//! The two faces of a session: binary frames, and the specification's JSON. Thin: they translate and decide nothing
//! but how much goes into one frame.

mod binary;
mod text;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use chat::UserId;
use proto::{Problem, ProblemCode};
use tokio::time::Instant;
use transport::Encoding;

use super::words::{Ask, Say};
use crate::clock::Clock;
use crate::history::Replica;
use crate::presence::WATCHED_MAX;

/// Bytes of messages that are put into one frame; a single message may be larger. Far below the largest frame, so
/// that a page of the largest messages becomes several frames.
const BATCH_BYTES_MAX: usize = 256 << 10;

const _: () =
    assert!(BATCH_BYTES_MAX + chat::limits::MESSAGE_BYTES_MAX < transport::link::FRAME_BYTES_MAX);

/// Frames on their way to the link.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) frames: VecDeque<Bytes>,
    pub(super) bytes: usize,
}

impl Out {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }
}

/// As many users as one link may watch, or what is wrong with more.
fn not_too_many(users: BTreeSet<UserId>) -> Result<BTreeSet<UserId>, Problem> {
    match users.len() <= WATCHED_MAX {
        true => Ok(users),
        false => {
            let detail = format!("users must be at most {WATCHED_MAX}");
            Err(Problem::new(ProblemCode::InvalidRequest, detail).about("users"))
        }
    }
}

/// How one link reads and writes.
pub(super) enum Face {
    Binary(binary::Binary),
    Text(Box<text::Text>),
}

impl Face {
    /// The face for an encoding.
    pub(super) fn new(
        encoding: Encoding,
        node: u64,
        clock: Arc<dyn Clock>,
        replica: Arc<dyn Replica>,
    ) -> Self {
        match encoding {
            Encoding::Binary => Self::Binary(binary::Binary::new(node, clock)),
            Encoding::Text => Self::Text(Box::new(text::Text::new(replica))),
        }
    }

    /// Turns a frame into asks, in their order.
    ///
    /// # Errors
    /// A problem that ends the link: the bytes are no frame at all.
    pub(super) fn hear(&mut self, frame: Bytes, asks: &mut Vec<Ask>) -> Result<(), Problem> {
        match self {
            Self::Binary(face) => face.hear(frame, asks),
            Self::Text(face) => {
                face.hear(&frame, asks);
                Ok(())
            }
        }
    }

    /// Turns something that is said into frames; some may wait for [`Face::flush`].
    pub(super) fn utter(&mut self, say: Say, now: Instant, out: &mut Out) {
        match self {
            Self::Binary(face) => face.utter(say, out),
            Self::Text(face) => face.utter(say, now, out),
        }
    }

    /// Nothing more is to be said for now: what was gathered goes out.
    pub(super) fn flush(&mut self, now: Instant, out: &mut Out) {
        if let Self::Text(face) = self {
            face.flush(now, out);
        }
    }

    /// When [`Face::flush`] wants to be called though nothing was said.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Binary(_) => None,
            Self::Text(face) => face.poll_timeout(),
        }
    }
}
