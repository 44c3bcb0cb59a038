//! The adapter of a node's plane port: calls and transfers over the virtual network.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use node::Plane;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};
use transport::peer::{Lane, Liveness, PeerError};

use crate::wire::Wire;

/// What a chunk of a transfer takes on its way: bulk is slow.
const CHUNK_TIME: Duration = Duration::from_millis(2);
/// A transfer without an answer is over: the product's lanes ping every two seconds and wait two for an answer.
const TRANSFER_MAX: Duration = Duration::from_secs(4);

/// One node's way to the others. Nodes count from 1 outside of the wire, from 0 inside.
pub(crate) struct VirtualPlane {
    pub(crate) node: usize,
    pub(crate) nodes: usize,
    pub(crate) wire: Wire,
}

/// Takes a call back when its caller goes away.
struct Held {
    wire: Wire,
    call: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.wire.finish(self.call, false);
        self.wire.forget(self.call);
    }
}

impl VirtualPlane {
    fn index(&self, node: u64) -> Option<usize> {
        let index = usize::try_from(node).ok()?.checked_sub(1)?;
        (index < self.nodes && index != self.node).then_some(index)
    }
}

impl Plane for VirtualPlane {
    fn call(
        &self,
        to: u64,
        lane: Lane,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let begun = self
            .index(to)
            .ok_or(PeerError::Unreachable)
            .and_then(|to| self.wire.call((self.node, to), lane, request));
        let wire = self.wire.clone();
        Box::pin(async move {
            let (call, answer) = begun?;
            let _held = Held { wire, call };
            match timeout(deadline, answer).await {
                Ok(answer) => answer.unwrap_or(Err(PeerError::Lost)),
                Err(_) => Err(PeerError::Timeout),
            }
        })
    }

    fn send_bulk(
        &self,
        to: u64,
        header: Bytes,
        mut chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let begun = self
            .index(to)
            .ok_or(PeerError::Unreachable)
            .and_then(|to| self.wire.begin((self.node, to), header));
        let wire = self.wire.clone();
        Box::pin(async move {
            let (call, answer) = begun?;
            let _held = Held { wire: wire.clone(), call };
            let send = async {
                while let Some(chunk) = chunks.next().await {
                    let chunk = chunk.map_err(PeerError::Refused)?;
                    sleep(CHUNK_TIME).await;
                    if !wire.chunk(call, chunk) {
                        break;
                    }
                }
                wire.finish(call, true);
                answer.await.unwrap_or(Err(PeerError::Lost))
            };
            timeout(TRANSFER_MAX, send).await.unwrap_or(Err(PeerError::Timeout))
        })
    }

    fn alive(&self, node: u64) -> bool {
        node == self.node as u64 + 1
            || self.index(node).is_some_and(|other| self.wire.alive(self.node, other))
    }

    fn cut(&self, _nodes: BTreeSet<u64>) {}

    // The wire joins all nodes of a run, and their number does not change.
    fn add_peer(&self, _node: u64, _address: String) {}

    fn remove_peer(&self, _node: u64) {}

    fn liveness(&self) -> broadcast::Receiver<Liveness> {
        self.wire.0.lock().tell[self.node].subscribe()
    }
}
