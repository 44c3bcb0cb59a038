//! The port to other nodes. The adapter over the peer plane lives in `node`.

use std::time::Duration;

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

use crate::{Fatal, NetworkError, NodeId};

/// Calls to the replicas on other nodes.
pub trait Network: Send + Sync + 'static {
    /// One call on the raft lane: the bytes of a `proto::peer::RaftRequest`, answered by those of a
    /// `proto::peer::RaftResponse`. Calls to one node are delivered in the order in which this method
    /// was called. Fails at once with [`NetworkError::Unreachable`] when the node is known to be gone.
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetworkError>>;

    /// A snapshot on the bulk lane: the bytes of a `proto::peer::SnapshotHeader`, then chunks. The
    /// answer is what the other side's [`crate::Raft::receive_snapshot`] returned.
    fn send_snapshot(
        &self,
        to: NodeId,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, Fatal>>,
    ) -> BoxFuture<'static, Result<Bytes, NetworkError>>;

    /// The opinion of the node-level failure detector.
    fn alive(&self, node: NodeId) -> bool;

    /// Whether another node calls its own disk slow. It keeps its votes and should lead nothing.
    fn slow(&self, _node: NodeId) -> bool {
        false
    }
}
