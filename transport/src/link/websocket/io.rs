//! The byte streams a WebSocket may run on, without a virtual call per read.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What carries the frames. The TLS states are boxed: they are large, and a link is moved around.
pub(crate) enum Io {
    /// HTTP/1.1 over TLS, at the server.
    Server(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// HTTP/1.1 over TLS, at the client.
    Client(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// HTTP/1.1 without TLS, on loopback.
    Plain(TcpStream),
    /// One stream of an HTTP/2 connection.
    Stream(TokioIo<Upgraded>),
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
            Self::Plain(_) => "Plain",
            Self::Stream(_) => "Stream",
        })
    }
}

macro_rules! each {
    ($self:ident, $io:ident => $body:expr) => {
        match $self.get_mut() {
            Io::Server(io) => {
                let $io = Pin::new(&mut **io);
                $body
            }
            Io::Client(io) => {
                let $io = Pin::new(&mut **io);
                $body
            }
            Io::Plain(io) => {
                let $io = Pin::new(io);
                $body
            }
            Io::Stream(io) => {
                let $io = Pin::new(io);
                $body
            }
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        each!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        each!(self, io => io.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, io => io.poll_shutdown(cx))
    }
}
