//! The fault switch: makes one peer unreachable the way a network partition does, in silence.
//!
//! Every byte to and from a peer passes its gate, below TLS. While the gate is shut nothing moves
//! and nothing is reset: reads and writes wait, new connections wait, and a connection that gives up
//! is kept open out of sight, because its goodbye would have been lost as well. It is for the demo
//! and for tests; it costs one atomic load per read or write otherwise.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Connections kept open during a cut. Their other ends gave up long before this many piled up.
const HELD_MAX: usize = 64;

/// The gate of one peer.
#[derive(Default)]
pub(super) struct Gate {
    shut: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wakers: Vec<Waker>,
    held: VecDeque<TcpStream>,
}

impl Gate {
    /// Shuts or opens the gate. Opening lets everything that waits go on.
    pub(super) fn set(&self, shut: bool) {
        let mut waiting = self.waiting.lock();
        self.shut.store(shut, Ordering::Release);
        if !shut {
            let Waiting { wakers, held } = std::mem::take(&mut *waiting);
            drop(waiting);
            wakers.into_iter().for_each(Waker::wake);
            drop(held);
        }
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Ready while the gate is open.
    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_shut() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock();
        // Asked again under the lock: opening takes the lock before it wakes.
        if !self.is_shut() {
            return Poll::Ready(());
        }
        if !waiting.wakers.iter().any(|w| w.will_wake(cx.waker())) {
            waiting.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until the gate is open.
    pub(super) async fn open(&self) {
        std::future::poll_fn(|cx| self.poll_open(cx)).await;
    }

    fn hold(&self, stream: TcpStream) {
        let mut waiting = self.waiting.lock();
        if !self.is_shut() {
            return;
        }
        if waiting.held.len() == HELD_MAX {
            waiting.held.pop_front();
        }
        waiting.held.push_back(stream);
    }
}

/// A TCP connection behind a gate. The listening end learns whose gate it is after the handshake.
pub(super) struct Gated {
    stream: Option<TcpStream>,
    gate: Option<Arc<Gate>>,
}

impl Gated {
    pub(super) fn new(stream: TcpStream, gate: Option<Arc<Gate>>) -> Gated {
        Gated { stream: Some(stream), gate }
    }

    pub(super) fn attach(&mut self, gate: Arc<Gate>) {
        self.gate = Some(gate);
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.gate.as_ref().map_or(Poll::Ready(()), |gate| gate.poll_open(cx))
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("taken out only when dropped"))
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        if let (Some(stream), Some(gate)) = (self.stream.take(), self.gate.take())
            && gate.is_shut()
        {
            gate.hold(stream);
        }
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_open(cx));
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_open(cx));
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_open(cx));
        self.stream().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_open(cx));
        self.stream().poll_shutdown(cx)
    }
}
