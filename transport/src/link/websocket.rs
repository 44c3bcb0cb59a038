//! A link over WebSocket, at either end.
//!
//! Both halves share one socket behind a lock that nobody else takes: TLS keeps reading and writing in
//! one state, so some lock is needed, and a session uses both halves from one task. No task is spawned.
//!
//! System calls per message: receiving costs one `recv` per batch of up to 4 KiB of ciphertext (about
//! twelve messages of 300 bytes), sending one `send` for everything handed to one [`Writer::send`], up
//! to 64 KiB, and no timer is touched unless the peer makes us wait.

mod codec;
mod io;
mod keepalive;
mod thrown;

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::AsyncWrite,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::io::poll_read_buf;

use self::{
    codec::{Decoder, Encoder, Event},
    keepalive::KeepAlive,
};
use super::{
    CLOSE_DEADLINE, CloseReason, Encoding, FRAME_BYTES_MAX, LinkError, Pace, WRITE_BATCH_BYTES,
    stop::Stop, write_deadline,
};

pub(crate) use codec::Role;
pub(crate) use io::Io;
pub use thrown::thrown;

/// Room for a read of a link that says little: a ping, a confirmation, a short message. Most links are idle, and each
/// keeps it.
const QUIET_READ_BYTES: usize = 512;
/// Room for a read of a link whose last read had more to give.
const READ_BYTES: usize = 4 << 10;
/// Less room than this is not worth a system call.
const READ_ROOM_BYTES: usize = 256;
/// A buffer that grew beyond this is given back once it is empty.
const BUFFER_KEPT_BYTES: usize = 8 << 10;
/// Bytes of the other side that are thrown away while a close is under way.
const DRAIN_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
struct Socket {
    io: Io,
    role: Role,
    encoding: Encoding,
    decoder: Decoder,
    encoder: Encoder,
    inbound: BytesMut,
    /// The buffer holds more than one read's worth: not kept once it is empty.
    inbound_grew: bool,
    /// The last read took all there was room for.
    inbound_full: bool,
    out: Vec<u8>,
    /// So much of `out` is written.
    out_written: usize,
    keepalive: KeepAlive,
    /// The writer waits for room: it flushes for both, so the reader must not take over its waker.
    writer_waits: bool,
    close_sent: bool,
    close_heard: bool,
    ended: bool,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Reader {
    socket: Arc<Mutex<Socket>>,
    timer: keepalive::Timer,
    stop: Stop,
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Writer {
    socket: Arc<Mutex<Socket>>,
    write: Duration,
    closed: bool,
}

/// Makes both halves over a stream whose handshake is done. `read` holds what came after the handshake.
pub(crate) fn halves(
    io: Io,
    read: &[u8],
    role: Role,
    encoding: Encoding,
    pace: Pace,
    stop: Stop,
) -> (Reader, Writer) {
    let now = Instant::now();
    let socket = Arc::new(Mutex::new(Socket {
        io,
        role,
        encoding,
        decoder: Decoder::new(role, encoding),
        encoder: Encoder::new(role, encoding),
        inbound: BytesMut::from(read),
        inbound_grew: read.len() > QUIET_READ_BYTES,
        inbound_full: false,
        out: Vec::new(),
        out_written: 0,
        keepalive: KeepAlive::new(role, pace.silence, now),
        writer_waits: false,
        close_sent: false,
        close_heard: false,
        ended: false,
    }));
    let timer = keepalive::Timer::new(socket.lock().keepalive.next_check());
    (
        Reader { socket: Arc::clone(&socket), timer, stop },
        Writer { socket, write: pace.write, closed: false },
    )
}

impl Reader {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        let mut socket = self.socket.lock();
        if socket.ended {
            return Poll::Ready(Err(LinkError::Lost("the link has ended".into())));
        }
        if let Poll::Ready(result) = socket.poll_message(cx) {
            socket.ended = !matches!(result, Ok(Some(_)));
            return Poll::Ready(result);
        }
        while self.timer.poll(cx) {
            if let Err(error) = socket.check_silence() {
                socket.ended = true;
                return Poll::Ready(Err(error));
            }
            self.timer.reset(socket.keepalive.next_check());
        }
        if self.stop.poll(cx) {
            socket.ended = true;
            return Poll::Ready(Err(LinkError::Stopping));
        }
        socket.flush_control(cx);
        Poll::Pending
    }
}

impl Socket {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        loop {
            match self.decoder.decode(&mut self.inbound) {
                Ok(Some(Event::Message(frame))) => return Poll::Ready(Ok(Some(frame))),
                Ok(Some(Event::Pong)) => {}
                Ok(Some(Event::Ping(payload))) => {
                    self.keepalive.pinged()?;
                    self.encoder.pong(&payload, &mut self.out);
                    if self.out.len() > WRITE_BATCH_BYTES {
                        return Poll::Ready(Err(LinkError::Flood("pings")));
                    }
                }
                Ok(Some(Event::Close(code))) => return Poll::Ready(self.closed(cx, code)),
                Ok(None) => ready!(self.poll_fill(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads once into the buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        if self.inbound_grew && self.inbound.is_empty() {
            self.inbound = BytesMut::new();
            self.inbound_grew = false;
        }
        if self.inbound.capacity() - self.inbound.len() < READ_ROOM_BYTES {
            // A large frame gets room as its bytes arrive, not as they are announced.
            let held = self.inbound.len();
            let least = if self.inbound_full { READ_BYTES } else { QUIET_READ_BYTES };
            let room = self.decoder.missing(held).min(held).max(least);
            self.inbound_grew |= room > QUIET_READ_BYTES;
            self.inbound.reserve(room);
        }
        match ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.inbound)) {
            Ok(0) => {
                let what = if self.decoder.between_messages() && self.inbound.is_empty() {
                    "the connection ended without a close frame"
                } else {
                    "the connection ended inside a frame"
                };
                Poll::Ready(Err(LinkError::Lost(what.into())))
            }
            Ok(_) => {
                self.inbound_full = self.inbound.len() == self.inbound.capacity();
                self.keepalive.heard();
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(LinkError::Lost(error.to_string()))),
        }
    }

    /// The other side closes: answer once, as far as the socket takes it without waiting.
    fn closed(
        &mut self,
        cx: &mut Context<'_>,
        code: Option<u16>,
    ) -> Result<Option<Bytes>, LinkError> {
        self.close_heard = true;
        if !self.close_sent {
            self.close_sent = true;
            self.encoder.close(CloseReason::Normal, &mut self.out);
        }
        self.flush_control(cx);
        match code {
            None | Some(1000) => Ok(None),
            // A page that is left says so; to a client it means that the node goes away.
            Some(1001) if self.role == Role::Server => Ok(None),
            Some(code) => Err(LinkError::Closed { code: code.into() }),
        }
    }

    fn check_silence(&mut self) -> Result<(), LinkError> {
        if self.keepalive.check()? && !self.close_sent {
            self.encoder.ping(&mut self.out);
        }
        Ok(())
    }

    /// Sends waiting control frames unless the writer is at it; errors show up on the next read.
    fn flush_control(&mut self, cx: &mut Context<'_>) {
        if !self.writer_waits && !self.out.is_empty() {
            let _ = self.poll_flush(cx);
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        while self.out_written < self.out.len() {
            let rest = &self.out[self.out_written..];
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(LinkError::Lost("nothing can be written".into()))),
                Ok(written) => self.out_written += written,
                Err(error) => return Poll::Ready(Err(LinkError::Lost(error.to_string()))),
            }
        }
        self.out_written = 0;
        self.out.clear();
        if self.out.capacity() > BUFFER_KEPT_BYTES {
            self.out = Vec::new();
        }
        Pin::new(&mut self.io).poll_flush(cx).map_err(|error| LinkError::Lost(error.to_string()))
    }
}

impl Writer {
    pub(crate) async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), LinkError> {
        let bytes = frames.iter().map(Bytes::len).sum();
        let mut deadline = None;
        while !frames.is_empty() {
            self.encode(frames)?;
            let mut turn = Turn { socket: &self.socket };
            // The usual case takes no timer: the socket has room.
            let flushed = poll_fn(|cx| Poll::Ready(turn.poll_flush(cx))).await;
            if let Poll::Ready(result) = flushed {
                result?;
                continue;
            }
            let deadline = *deadline.get_or_insert_with(|| write_deadline(bytes, self.write));
            timeout_at(deadline, poll_fn(|cx| turn.poll_flush(cx)))
                .await
                .map_err(|_| LinkError::Slow)??;
        }
        Ok(())
    }

    /// Moves frames into the socket's buffer until it holds a batch.
    fn encode(&self, frames: &mut VecDeque<Bytes>) -> Result<(), LinkError> {
        let socket = &mut *self.socket.lock();
        if socket.close_sent {
            return Err(LinkError::Lost("the link has ended".into()));
        }
        while socket.out.len() < WRITE_BATCH_BYTES {
            let Some(frame) = frames.pop_front() else {
                break;
            };
            if frame.len() > FRAME_BYTES_MAX {
                return Err(LinkError::TooLarge { limit: FRAME_BYTES_MAX });
            }
            debug_assert!(
                socket.encoding == Encoding::Binary || std::str::from_utf8(&frame).is_ok(),
                "frames of a text link are UTF-8"
            );
            socket.encoder.message(&frame, &mut socket.out);
        }
        Ok(())
    }

    pub(crate) async fn close(&mut self, reason: CloseReason) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        {
            let socket = &mut *self.socket.lock();
            if !socket.close_sent {
                socket.close_sent = true;
                socket.encoder.close(reason, &mut socket.out);
            }
        }
        // What fails here fails because the other side is gone, which is what was asked for.
        let _ = timeout(CLOSE_DEADLINE, self.part()).await;
    }

    /// Flushes, ends the stream, and reads until the other side has ended it too, unless it has already
    /// said goodbye: closing a socket with unread bytes would take back what was just sent.
    async fn part(&mut self) -> Result<(), LinkError> {
        let mut turn = Turn { socket: &self.socket };
        poll_fn(|cx| turn.poll_flush(cx)).await?;
        let lost = |error: std::io::Error| LinkError::Lost(error.to_string());
        poll_fn(|cx| Pin::new(&mut self.socket.lock().io).poll_shutdown(cx)).await.map_err(lost)?;
        let mut drained = if self.socket.lock().close_heard { DRAIN_BYTES_MAX } else { 0 };
        while drained < DRAIN_BYTES_MAX {
            let read = poll_fn(|cx| {
                let socket = &mut *self.socket.lock();
                socket.inbound.clear();
                socket.inbound.reserve(READ_BYTES);
                poll_read_buf(Pin::new(&mut socket.io), cx, &mut socket.inbound)
            });
            match read.await.map_err(lost)? {
                0 => break,
                bytes => drained += bytes,
            }
        }
        Ok(())
    }
}

/// The writer's turn at the socket: gives the flushing back to the reader however it ends.
struct Turn<'a> {
    socket: &'a Mutex<Socket>,
}

impl Turn<'_> {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let mut socket = self.socket.lock();
        let flushed = socket.poll_flush(cx);
        socket.writer_waits = flushed.is_pending();
        flushed
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.socket.lock().writer_waits = false;
    }
}
