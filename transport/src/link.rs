//! A link: one transport connection seen as whole frames in and whole frames out.
//!
//! Stations 1 (arrive) and 10 (deliver). A session reads frames with [`LinkReader::next`] and hands
//! everything it has to say to [`LinkWriter::send`] at once. Both halves are meant for one task
//! (`select!` over both), but may also live in two.
//!
//! A link does not know what a frame means, who speaks, or what is done when it ends.

mod memory;
pub(crate) mod quic;
pub(crate) mod stop;
pub(crate) mod websocket;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{Certainty, Retry};

pub use memory::memory_link;

/// Largest frame that a link carries in either direction, bytes. The largest message text is 64 KiB;
/// a page of history or a batch of deliveries has to fit too.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Silence after which a peer is taken for dead (the specification's presence rule).
pub const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long a peer may take for each started [`WRITE_BATCH_BYTES`] of what it is sent: 6.4 KB/s, the
/// slowest mobile network that is worth a connection.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes written at once at most; more wait in the caller's queue.
pub(crate) const WRITE_BATCH_BYTES: usize = 64 << 10;
/// How long the last frames and the close reason may take.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// When a peer that is sent `bytes` has to have taken them.
pub(crate) fn write_deadline(bytes: usize, per_batch: Duration) -> Instant {
    let batches = u32::try_from(bytes / WRITE_BATCH_BYTES + 1).unwrap_or(u32::MAX);
    Instant::now() + per_batch.saturating_mul(batches)
}

/// How patient a link is with its peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Silence after which the peer is dead.
    pub(crate) silence: Duration,
    /// For each started batch of what the peer is sent.
    pub(crate) write: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { silence: SILENCE_MAX, write: WRITE_DEADLINE }
    }
}

/// How frames are written: binary protobuf, or text (JSON in UTF-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Binary protobuf frames.
    Binary,
    /// UTF-8 text frames.
    Text,
}

/// Which transport carries a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// QUIC, ALPN `synod/1`, one bidirectional stream.
    Quic,
    /// WebSocket over HTTP/1.1 or HTTP/2.
    WebSocket,
    /// WebTransport over HTTP/3.
    WebTransport,
    /// Two queues inside one process.
    Memory,
}

impl LinkKind {
    /// One word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::WebSocket => "websocket",
            Self::WebTransport => "webtransport",
            Self::Memory => "memory",
        }
    }
}

/// Why a side ends a link. The same numbers are WebSocket close codes and QUIC application codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// 1000: nothing more to say.
    Normal,
    /// 1001: this node stops or drains; another one serves.
    GoingAway,
    /// 1002: the bytes do not follow the protocol.
    Protocol,
    /// 1007: a text frame is not UTF-8.
    NotText,
    /// 1008: not allowed here.
    Policy,
    /// 1009: a frame or message is larger than the limit.
    TooLarge,
    /// 1011: a fault of this node.
    Internal,
    /// 1013: too many connections or too much work; try again later.
    TryAgainLater,
    /// 4401: no valid token, or the session has ended.
    Unauthenticated,
    /// 4408: a deadline of a phase passed, or the peer fell silent.
    TimedOut,
    /// 4409: the peer does not read what it is sent.
    Slow,
    /// 4429: control frames or fragments without end.
    Flood,
    /// 4501: this protocol is recognised but not served by this version.
    NotServed,
}

/// Why a link ended, seen from this side. None of them says that earlier frames arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The other side ended the link with a code of its own (WebSocket or QUIC application code).
    #[error("the other side closed the link with code {code}")]
    Closed {
        /// The code as received; `CloseReason::from_code` knows ours.
        code: u64,
    },
    /// The connection broke: reset, or ended in the middle of a frame.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// Nothing was heard for as long as a living peer would never be quiet.
    #[error("the peer fell silent")]
    Silent,
    /// The peer did not take what it was sent within the deadline.
    #[error("the peer reads too slowly")]
    Slow,
    /// A frame or message is larger than the limit, bytes.
    #[error("a frame exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// The bytes are not what the protocol allows.
    #[error("protocol violation: {0}")]
    Protocol(&'static str),
    /// A text frame is not UTF-8.
    #[error("a text frame is not UTF-8")]
    NotText,
    /// Control frames or fragments beyond any honest use.
    #[error("flood of {0}")]
    Flood(&'static str),
    /// This side stops; close with `GoingAway`.
    #[error("this node is going away")]
    Stopping,
}

impl CloseReason {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::Policy => 1008,
            Self::TooLarge => 1009,
            Self::Internal => 1011,
            Self::TryAgainLater => 1013,
            Self::Unauthenticated => 4401,
            Self::TimedOut => 4408,
            Self::Slow => 4409,
            Self::Flood => 4429,
            Self::NotServed => 4501,
        }
    }

    /// The reason that a received number stands for; `None` for a number this version does not know.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| u64::from(reason.code()) == code)
    }

    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Normal,
        Self::GoingAway,
        Self::Protocol,
        Self::NotText,
        Self::Policy,
        Self::TooLarge,
        Self::Internal,
        Self::TryAgainLater,
        Self::Unauthenticated,
        Self::TimedOut,
        Self::Slow,
        Self::Flood,
        Self::NotServed,
    ];
}

impl LinkError {
    /// What the other side should be told when this error ends the link.
    #[must_use]
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Self::Closed { .. } | Self::Lost(_) => CloseReason::Normal,
            Self::Silent => CloseReason::TimedOut,
            Self::Slow => CloseReason::Slow,
            Self::TooLarge { .. } => CloseReason::TooLarge,
            Self::Protocol(_) => CloseReason::Protocol,
            Self::NotText => CloseReason::NotText,
            Self::Flood(_) => CloseReason::Flood,
            Self::Stopping => CloseReason::GoingAway,
        }
    }

    /// Frames handed to `send` before the link ended may or may not have arrived.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        Certainty::Unknown
    }

    /// Where a client whose link ended so should dial next.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Closed { code } => match CloseReason::from_code(*code) {
                Some(
                    CloseReason::Unauthenticated | CloseReason::Policy | CloseReason::NotServed,
                ) => Retry::Never,
                Some(CloseReason::Slow | CloseReason::TimedOut | CloseReason::Normal) => {
                    Retry::Same
                }
                _ => Retry::Elsewhere,
            },
            Self::Lost(_) | Self::Silent | Self::Stopping => Retry::Elsewhere,
            Self::Slow => Retry::Same,
            Self::TooLarge { .. } | Self::Protocol(_) | Self::NotText | Self::Flood(_) => {
                Retry::Never
            }
        }
    }
}

/// One transport connection, authenticated or not.
#[derive(Debug)]
pub struct Link {
    /// Frames from the other side.
    pub reader: LinkReader,
    /// Frames to the other side.
    pub writer: LinkWriter,
    /// How frames are encoded on this link.
    pub encoding: Encoding,
    /// Which transport carries it.
    pub kind: LinkKind,
    /// Address of the other side when the link began; QUIC peers may move.
    pub peer: Option<SocketAddr>,
    /// The token of an `Authorization: Bearer` header, if the transport carried one. Never logged.
    pub bearer: Option<String>,
    /// What a `Synod-Resume` header beside it said: what an earlier link was given, or nothing but the wish for it.
    pub resume: Option<String>,
}

/// The receiving half of a link.
#[derive(Debug)]
pub struct LinkReader {
    kind: ReaderKind,
}

/// The sending half of a link.
#[derive(Debug)]
pub struct LinkWriter {
    kind: WriterKind,
}

#[derive(Debug)]
pub(crate) enum ReaderKind {
    Quic(quic::Reader),
    WebSocket(websocket::Reader),
    Memory(memory::Reader),
}

#[derive(Debug)]
pub(crate) enum WriterKind {
    Quic(quic::Writer),
    WebSocket(websocket::Writer),
    Memory(memory::Writer),
}

impl LinkReader {
    pub(crate) fn new(kind: ReaderKind) -> Self {
        Self { kind }
    }

    /// The next whole frame, or `None` when the other side ended the link properly.
    ///
    /// Cancel-safe: dropping the future loses nothing. Also answers and sends keep-alives, so it has to
    /// be polled for a silent peer to be noticed.
    ///
    /// # Errors
    /// Every [`LinkError`] is final: the link is over.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        match &mut self.kind {
            ReaderKind::Quic(reader) => reader.next().await,
            ReaderKind::WebSocket(reader) => reader.next().await,
            ReaderKind::Memory(reader) => reader.next().await,
        }
    }
}

impl LinkWriter {
    pub(crate) fn new(kind: WriterKind) -> Self {
        Self { kind }
    }

    /// Sends all queued frames, oldest first, in as few writes as the transport allows, and returns
    /// once the transport has taken them. Drains `frames`.
    ///
    /// Cancel-safe in this sense: frames that left the queue are sent by the next call.
    ///
    /// # Errors
    /// [`LinkError::Slow`] when the peer does not take them within the deadline; otherwise as the link
    /// ended. Every error is final.
    pub async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), LinkError> {
        match &mut self.kind {
            WriterKind::Quic(writer) => writer.send(frames).await,
            WriterKind::WebSocket(writer) => writer.send(frames).await,
            WriterKind::Memory(writer) => writer.send(frames).await,
        }
    }

    /// Ends the link with a reason; frames sent before are still delivered if the peer takes them
    /// within a short deadline (1 s). Idempotent. A link that is dropped without it may lose the last
    /// frames, and its peer learns no reason.
    pub async fn close(&mut self, reason: CloseReason) {
        match &mut self.kind {
            WriterKind::Quic(writer) => writer.close(reason).await,
            WriterKind::WebSocket(writer) => writer.close(reason).await,
            WriterKind::Memory(writer) => writer.close(reason).await,
        }
    }
}
