//! Transfers on the bulk lane: a header, chunks under backpressure, one answer.
//!
//! The sender's chunk stream is pulled only when the peer has room, and the receiver's stream is
//! filled only when the handler reads it: h2's window is the one buffer between them. Dropping either
//! end cancels the transfer at the other. Nothing is resumed here; what a header means and where a
//! broken transfer continues is the handler's affair.

use std::{sync::Arc, task::Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use proto::peer::{BulkAnswer, Chunk, chunk::Kind};
use tokio::sync::oneshot;
use tonic::{Streaming, transport::Channel};

use super::{PeerError, PeerHandler, code, limits::CHUNK_BYTES_MAX, peers::Peer, service};

/// Sends one transfer and waits for its answer.
pub(super) async fn send(
    channel: Channel,
    peer: Arc<Peer>,
    header: Bytes,
    chunks: BoxStream<'static, Result<Bytes, String>>,
) -> Result<Bytes, PeerError> {
    if header.len() > CHUNK_BYTES_MAX {
        return Err(PeerError::refused(code::TOO_LARGE));
    }
    let mut deaths = peer.pulse.deaths();
    let (gave_up, reason) = oneshot::channel();
    let chunks = Outgoing { header: Some(header), chunks: Some(chunks), gave_up: Some(gave_up) };
    let sent = tokio::select! {
        sent = service::transfer(channel, chunks) => sent,
        _ = deaths.changed() => return Err(PeerError::Lost),
        () = peer.stop.cancelled() => return Err(PeerError::Lost),
    };
    if let Ok(reason) = { reason }.try_recv() {
        return Err(PeerError::Refused(reason));
    }
    match sent {
        Ok(BulkAnswer { failure, .. }) if !failure.is_empty() => Err(PeerError::Refused(failure)),
        Ok(BulkAnswer { body, .. }) => Ok(body),
        Err(status) => {
            tracing::debug!(peer = peer.node, %status, "transfer ended without an answer");
            Err(PeerError::Lost)
        }
    }
}

/// The chunks as they are sent: header, rows, and the end that tells a whole one from a broken one.
struct Outgoing {
    header: Option<Bytes>,
    chunks: Option<BoxStream<'static, Result<Bytes, String>>>,
    gave_up: Option<oneshot::Sender<String>>,
}

impl Outgoing {
    fn give_up(&mut self, reason: String) -> Option<Chunk> {
        self.chunks = None;
        if let Some(gave_up) = self.gave_up.take() {
            // Nobody waits for the answer any more: then nobody needs the reason.
            let _ = gave_up.send(reason);
        }
        None
    }
}

impl Stream for Outgoing {
    type Item = Chunk;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Chunk>> {
        if let Some(header) = self.header.take() {
            return Poll::Ready(Some(Chunk { kind: Some(Kind::Header(header)) }));
        }
        let Some(chunks) = &mut self.chunks else {
            return Poll::Ready(None);
        };
        Poll::Ready(match std::task::ready!(chunks.poll_next_unpin(cx)) {
            Some(Ok(rows)) if rows.len() > CHUNK_BYTES_MAX => {
                self.give_up(code::TOO_LARGE.to_owned())
            }
            Some(Ok(rows)) => Some(Chunk { kind: Some(Kind::Rows(rows)) }),
            Some(Err(reason)) => self.give_up(reason),
            None => {
                self.chunks = None;
                Some(Chunk { kind: Some(Kind::End(Bytes::new())) })
            }
        })
    }
}

/// Receives one transfer and answers it.
pub(super) async fn receive(
    handler: Arc<dyn PeerHandler>,
    peer: Arc<Peer>,
    mut incoming: Streaming<Chunk>,
) -> BulkAnswer {
    let Ok(_place) = peer.transfers.clone().try_acquire_owned() else {
        return failure(code::OVERLOADED);
    };
    let header = tokio::select! {
        header = incoming.message() => header,
        () = peer.stop.cancelled() => return failure(code::OVERLOADED),
    };
    let Ok(Some(Chunk { kind: Some(Kind::Header(header)) })) = header else {
        return failure(code::MALFORMED);
    };
    let chunks = futures::stream::unfold(Some(incoming), next).boxed();
    let answered = tokio::select! {
        answered = handler.bulk(peer.node, header, chunks) => answered,
        () = peer.stop.cancelled() => return failure(code::OVERLOADED),
    };
    match answered {
        Ok(body) if body.len() <= CHUNK_BYTES_MAX => BulkAnswer { body, failure: String::new() },
        Ok(_) => failure(code::TOO_LARGE),
        Err(code) => BulkAnswer { body: Bytes::new(), failure: code },
    }
}

fn failure(code: &str) -> BulkAnswer {
    BulkAnswer { body: Bytes::new(), failure: code.to_owned() }
}

type Step = Option<(Result<Bytes, PeerError>, Option<Streaming<Chunk>>)>;

/// The next chunk for the handler; after an error or the end there is none.
async fn next(incoming: Option<Streaming<Chunk>>) -> Step {
    let mut incoming = incoming?;
    match incoming.message().await {
        Ok(Some(Chunk { kind: Some(Kind::Rows(rows)) })) => Some((Ok(rows), Some(incoming))),
        Ok(Some(Chunk { kind: Some(Kind::End(_)) })) => None,
        Ok(Some(_)) => Some((Err(PeerError::refused(code::MALFORMED)), None)),
        // Broken off: the sender gave up, or the link is gone.
        Ok(None) | Err(_) => Some((Err(PeerError::Lost), None)),
    }
}
