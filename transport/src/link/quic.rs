//! A link over QUIC: one bidirectional stream, each frame behind its length (u32, big-endian).
//!
//! System calls per message: quinn gathers everything written while its driver sleeps into packets and
//! sends them with one `sendmsg` (segmentation offload); receiving costs one `recvmmsg` per batch of
//! packets of all connections. Frames inside one packet are handed out as slices of it.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    CLOSE_DEADLINE, CloseReason, FRAME_BYTES_MAX, LinkError, WRITE_BATCH_BYTES, stop::Stop,
    write_deadline,
};

/// Length of the length.
const PREFIX_BYTES: usize = 4;
/// Received pieces taken from quinn under one lock; a piece is a packet's worth.
const CHUNKS_READ: usize = 8;
/// Frames from this size on are handed to quinn as they are; smaller ones are copied together, since
/// every piece costs quinn a segment to keep and to retransmit.
const COPY_BYTES_MAX: usize = 16 << 10;
const _: () = assert!(COPY_BYTES_MAX < WRITE_BATCH_BYTES);

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: RecvStream,
    chunks: VecDeque<Bytes>,
    /// The beginning of a frame that spans pieces, prefix included.
    partial: BytesMut,
    connection: Connection,
    /// The stream has ended; until then the connection's own end may tell why.
    reason_until: Option<Instant>,
    stop: Stop,
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: Connection,
    stream: SendStream,
    /// What quinn has not taken yet, when an earlier call was abandoned.
    pending: VecDeque<Bytes>,
    write: Duration,
    closed: bool,
}

pub(crate) fn halves(
    connection: Connection,
    stream: (SendStream, RecvStream),
    write: Duration,
    stop: Stop,
) -> (Reader, Writer) {
    let (send, receive) = stream;
    let reader = Reader {
        stream: receive,
        chunks: VecDeque::new(),
        partial: BytesMut::new(),
        connection: connection.clone(),
        reason_until: None,
        stop,
    };
    (reader, Writer { connection, stream: send, pending: VecDeque::new(), write, closed: false })
}

impl Reader {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        if self.reason_until.is_some() {
            return self.reason().await;
        }
        loop {
            if let Some(frame) = take_frame(&mut self.chunks, &mut self.partial)? {
                return Ok(Some(frame));
            }
            let mut chunks = [const { Bytes::new() }; CHUNKS_READ];
            let read = {
                let mut read = pin!(self.stream.read_chunks(&mut chunks));
                poll_fn(|cx| match read.as_mut().poll(cx) {
                    Poll::Ready(read) => Poll::Ready(Ok(read)),
                    Poll::Pending if self.stop.poll(cx) => Poll::Ready(Err(LinkError::Stopping)),
                    Poll::Pending => Poll::Pending,
                })
                .await?
            };
            match read {
                Ok(Some(count)) => self.chunks.extend(chunks.into_iter().take(count)),
                Ok(None) if self.partial.is_empty() => return self.reason().await,
                Ok(None) => return Err(LinkError::Lost("the stream ended inside a frame".into())),
                Err(ReadError::ConnectionLost(error)) => return lost(error),
                Err(ReadError::Reset(code)) => {
                    return Err(LinkError::Closed { code: code.into_inner() });
                }
                Err(error) => return Err(LinkError::Lost(error.to_string())),
            }
        }
    }
}

impl Reader {
    /// Why the stream has ended: the connection's close follows it, or else it was a plain end.
    async fn reason(&mut self) -> Result<Option<Bytes>, LinkError> {
        let until = *self.reason_until.get_or_insert_with(|| Instant::now() + CLOSE_DEADLINE);
        match timeout_at(until, self.connection.closed()).await {
            Ok(error) => lost(error),
            Err(_) => Ok(None),
        }
    }
}

/// The next whole frame of the received pieces; without a copy if one piece holds all of it.
fn take_frame(
    chunks: &mut VecDeque<Bytes>,
    partial: &mut BytesMut,
) -> Result<Option<Bytes>, LinkError> {
    while let Some(chunk) = chunks.front_mut() {
        if partial.is_empty()
            && let Some(prefix) = chunk.first_chunk::<PREFIX_BYTES>()
        {
            let len = frame_len(*prefix)?;
            if chunk.len() >= PREFIX_BYTES + len {
                chunk.advance(PREFIX_BYTES);
                let frame = chunk.split_to(len);
                if chunk.is_empty() {
                    chunks.pop_front();
                }
                return Ok(Some(frame));
            }
        }
        let wanted = match partial.first_chunk::<PREFIX_BYTES>() {
            Some(prefix) => PREFIX_BYTES + frame_len(*prefix)?,
            None => PREFIX_BYTES,
        };
        let taken = (wanted - partial.len()).min(chunk.len());
        partial.extend_from_slice(&chunk[..taken]);
        chunk.advance(taken);
        if chunk.is_empty() {
            chunks.pop_front();
        }
        if partial.len() == wanted && wanted > PREFIX_BYTES {
            let frame = std::mem::take(partial).freeze().slice(PREFIX_BYTES..);
            return Ok(Some(frame));
        }
        // A frame without content is complete with its prefix.
        if let Some(prefix) = partial.first_chunk::<PREFIX_BYTES>()
            && frame_len(*prefix)? == 0
        {
            partial.clear();
            return Ok(Some(Bytes::new()));
        }
    }
    Ok(None)
}

fn frame_len(prefix: [u8; PREFIX_BYTES]) -> Result<usize, LinkError> {
    let len = u32::from_be_bytes(prefix);
    match usize::try_from(len) {
        Ok(len) if len <= FRAME_BYTES_MAX => Ok(len),
        _ => Err(LinkError::TooLarge { limit: FRAME_BYTES_MAX }),
    }
}

impl Writer {
    pub(crate) async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), LinkError> {
        if self.closed {
            return Err(LinkError::Lost("the link has ended".into()));
        }
        let bytes = frames.iter().map(Bytes::len).sum();
        pack(frames, &mut self.pending)?;
        let mut deadline = None;
        while !self.pending.is_empty() {
            let pending = self.pending.make_contiguous();
            let written = {
                let mut writing = pin!(self.stream.write_chunks(pending));
                // The usual case takes no timer: the window has room.
                match poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await {
                    Poll::Ready(written) => written,
                    Poll::Pending => {
                        let deadline =
                            *deadline.get_or_insert_with(|| write_deadline(bytes, self.write));
                        timeout_at(deadline, writing).await.map_err(|_| LinkError::Slow)?
                    }
                }
            };
            let written = written.map_err(not_written)?;
            self.pending.drain(..written.chunks);
        }
        Ok(())
    }

    pub(crate) async fn close(&mut self, reason: CloseReason) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        // Closing a connection throws away what was not acknowledged yet: end the stream first.
        if self.stream.finish().is_ok() {
            let _ = timeout(CLOSE_DEADLINE, self.stream.stopped()).await;
        }
        self.connection.close(VarInt::from_u32(reason.code().into()), &[]);
    }
}

/// Moves frames behind their prefixes into as few pieces as possible.
fn pack(frames: &mut VecDeque<Bytes>, pieces: &mut VecDeque<Bytes>) -> Result<(), LinkError> {
    if let Some(frame) = frames.iter().find(|frame| frame.len() > FRAME_BYTES_MAX) {
        tracing::error!(bytes = frame.len(), "a frame beyond the limit was to be sent");
        return Err(LinkError::TooLarge { limit: FRAME_BYTES_MAX });
    }
    let mut piece = BytesMut::new();
    while let Some(frame) = frames.pop_front() {
        if piece.is_empty() {
            let rest = frames.iter().map(|frame| frame.len() + PREFIX_BYTES).sum::<usize>();
            piece.reserve((PREFIX_BYTES + frame.len() + rest).min(WRITE_BATCH_BYTES));
        }
        piece.put_u32(u32::try_from(frame.len()).expect("at most FRAME_BYTES_MAX"));
        if frame.len() < COPY_BYTES_MAX {
            piece.extend_from_slice(&frame);
        } else {
            pieces.push_back(piece.split().freeze());
            pieces.push_back(frame);
        }
        if piece.len() >= WRITE_BATCH_BYTES - COPY_BYTES_MAX {
            pieces.push_back(piece.split().freeze());
        }
    }
    if !piece.is_empty() {
        pieces.push_back(piece.freeze());
    }
    Ok(())
}

fn not_written(error: WriteError) -> LinkError {
    match error {
        WriteError::ConnectionLost(error) => lost_error(error),
        WriteError::Stopped(code) => LinkError::Closed { code: code.into_inner() },
        other => LinkError::Lost(other.to_string()),
    }
}

fn lost(error: ConnectionError) -> Result<Option<Bytes>, LinkError> {
    match lost_error(error) {
        LinkError::Closed { code } if code == u64::from(CloseReason::Normal.code()) => Ok(None),
        error => Err(error),
    }
}

/// How the end of a connection reads as the end of a link.
pub(crate) fn lost_error(error: ConnectionError) -> LinkError {
    match error {
        ConnectionError::TimedOut => LinkError::Silent,
        ConnectionError::ApplicationClosed(close) => {
            LinkError::Closed { code: close.error_code.into_inner() }
        }
        ConnectionError::LocallyClosed => LinkError::Lost("closed by this side".into()),
        other => LinkError::Lost(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(sizes: &[usize]) -> Vec<Bytes> {
        sizes.iter().enumerate().map(|(n, size)| Bytes::from(vec![n as u8; *size])).collect()
    }

    proptest! {
        // Frames of the largest size make each case slow.
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_packed_is_taken_however_it_arrives(
            sizes in prop::collection::vec(
                prop_oneof![0_usize..600, 15_000_usize..20_000, Just(FRAME_BYTES_MAX)],
                0..12,
            ),
            piece in 1_usize..3_000,
        ) {
            let sent = frames(&sizes);
            let mut pieces = VecDeque::new();
            pack(&mut sent.iter().cloned().collect(), &mut pieces).unwrap();
            let stream: Vec<u8> = pieces.iter().flatten().copied().collect();
            let mut chunks: VecDeque<Bytes> = VecDeque::new();
            let mut partial = BytesMut::new();
            let mut taken = Vec::new();
            for bytes in stream.chunks(piece) {
                chunks.push_back(Bytes::copy_from_slice(bytes));
                while let Some(frame) = take_frame(&mut chunks, &mut partial).unwrap() {
                    taken.push(frame);
                }
            }
            prop_assert!(taken == sent);
            prop_assert!(partial.is_empty() && chunks.is_empty());
        }
    }

    #[test]
    fn frames_that_wait_together_become_one_piece() {
        let mut pieces = VecDeque::new();
        pack(&mut frames(&[300; 100]).into(), &mut pieces).unwrap();
        assert_eq!(pieces.len(), 1);
        pieces.clear();
        pack(&mut frames(&[300, 20_000, 300]).into(), &mut pieces).unwrap();
        let sizes: Vec<usize> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [308, 20_000, 304], "a large frame is not copied");
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        let mut chunks = VecDeque::from([Bytes::from_static(b"\xff\xff\xff\xff")]);
        let taken = take_frame(&mut chunks, &mut BytesMut::new());
        assert_eq!(taken, Err(LinkError::TooLarge { limit: FRAME_BYTES_MAX }));
    }
}
