//! The port to the other nodes: calls, bulk transfers and who is alive.
//!
//! The production adapter is the peer plane of `transport`; a simulation brings its own. The port promises what
//! [`PeerPlane`] does: a call takes its place in line when it is made, and only `Unreachable` says that it never left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use raft::Raft;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use transport::peer::{self, DiskState, Lane, Liveness, PeerError, PeerPlane};

/// How soon the others hear that this node's disk became slow or full: as often as it is looked at.
const SAY_DISK_EVERY: Duration = Duration::from_millis(100);

/// What a node needs of whatever connects it to the others.
pub trait Plane: Send + Sync + 'static {
    /// See [`PeerPlane::call`].
    fn call(
        &self,
        to: u64,
        lane: Lane,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>>;

    /// See [`PeerPlane::send_bulk`].
    fn send_bulk(
        &self,
        to: u64,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>>;

    /// See [`PeerPlane::alive`].
    fn alive(&self, node: u64) -> bool;

    /// See [`PeerPlane::disk`].
    fn disk(&self, _node: u64) -> DiskState {
        DiskState::default()
    }

    /// See [`PeerPlane::say_disk`].
    fn say_disk(&self, _disk: DiskState) {}

    /// See [`PeerPlane::renew`].
    ///
    /// # Errors
    /// See there.
    fn renew(&self, _identity: &peer::Identity) -> Result<(), peer::Error> {
        Ok(())
    }

    /// See [`PeerPlane::cut`].
    fn cut(&self, nodes: BTreeSet<u64>);

    /// See [`PeerPlane::add_peer`].
    fn add_peer(&self, node: u64, address: String);

    /// See [`PeerPlane::remove_peer`].
    fn remove_peer(&self, node: u64);

    /// See [`PeerPlane::liveness`].
    fn liveness(&self) -> broadcast::Receiver<Liveness>;
}

impl Plane for PeerPlane {
    fn call(
        &self,
        to: u64,
        lane: Lane,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        Self::call(self, to, lane, request, deadline)
    }

    fn send_bulk(
        &self,
        to: u64,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        Self::send_bulk(self, to, header, chunks)
    }

    fn alive(&self, node: u64) -> bool {
        Self::alive(self, node)
    }

    fn disk(&self, node: u64) -> DiskState {
        Self::disk(self, node)
    }

    fn say_disk(&self, disk: DiskState) {
        Self::say_disk(self, disk);
    }

    fn renew(&self, identity: &peer::Identity) -> Result<(), peer::Error> {
        Self::renew(self, identity)
    }

    fn cut(&self, nodes: BTreeSet<u64>) {
        Self::cut(self, nodes);
    }

    fn add_peer(&self, node: u64, address: String) {
        Self::add_peer(self, node, address);
    }

    fn remove_peer(&self, node: u64) {
        Self::remove_peer(self, node);
    }

    fn liveness(&self) -> broadcast::Receiver<Liveness> {
        Self::liveness(self)
    }
}

/// Tells the others how this node's disk is.
pub(crate) async fn say_disk(plane: Arc<dyn Plane>, raft: Raft, stop: CancellationToken) {
    loop {
        plane.say_disk(DiskState { slow: raft.disk_is_slow(), full: raft.journal_stats().low });
        if stop.run_until_cancelled(tokio::time::sleep(SAY_DISK_EVERY)).await.is_none() {
            return;
        }
    }
}
