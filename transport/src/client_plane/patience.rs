//! Deadlines for HTTP where the server library has none: a peer that does not take its answer, and a
//! body that stops arriving.
//!
//! A timer exists only while somebody waits. Links have their own rules and leave this wrapper behind.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Runs while something is pending.
#[derive(Debug)]
struct Patience {
    pause: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(pause: Duration) -> Self {
        Self { pause, waiting: None }
    }

    /// Passes a result on; turns waiting that took too long into an error.
    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let pause = self.pause;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(pause)));
        waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// A byte stream whose writes have to make progress.
#[derive(Debug)]
pub(super) struct PatientStream<S> {
    stream: S,
    patience: Patience,
}

impl<S> PatientStream<S> {
    pub(super) fn new(stream: S, pause: Duration) -> Self {
        Self { stream, patience: Patience::new(pause) }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.patience.judge(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.patience.judge(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.patience.judge(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.patience.judge(cx, result)
    }
}

/// Bytes of a body that have to come within one pause: a byte now and then is no sign of good will.
const BODY_STEP_BYTES: usize = 4 << 10;

/// A request's body that has to keep arriving once somebody reads it.
#[derive(Debug)]
pub(super) struct PatientBody {
    body: Incoming,
    patience: Patience,
    /// Bytes that came since the last wait began.
    step: usize,
}

impl PatientBody {
    pub(super) fn new(body: Incoming, pause: Duration) -> Self {
        Self { body, patience: Patience::new(pause), step: 0 }
    }
}

impl Body for PatientBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(piece))) = &frame {
            self.step += piece.data_ref().map_or(0, Bytes::len);
            if self.step < BODY_STEP_BYTES {
                return frame.map(|frame| frame.map(|piece| piece.map_err(io::Error::other)));
            }
            self.step = 0;
        }
        let result = frame.map(|frame| frame.transpose().map_err(io::Error::other));
        self.patience.judge(cx, result).map(Result::transpose)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
