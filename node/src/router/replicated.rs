//! The production router: looks up who leads and submits here or there.

use std::sync::Arc;

use bytes::Bytes;
use cluster_config::{ClusterConfig, Slot};
use futures::future::BoxFuture;
use raft::{GroupId, NodeId, Raft};

use super::post::{Post, RETRY_AFTER};
use super::{Route, RouteError, Routed};
use crate::peers::Peers;

/// Routes by the cluster's shard map and the leaders that raft knows.
pub(crate) struct Replicated {
    node: NodeId,
    raft: Raft,
    peers: Peers,
    /// Group by slot, from the shard map.
    groups: Arc<[GroupId]>,
}

impl Replicated {
    /// A router over the shard map of `config`.
    pub(crate) fn new(node: NodeId, raft: Raft, peers: Peers, config: &ClusterConfig) -> Self {
        let groups = (0..cluster_config::SLOTS).map(|slot| config.shard_of(Slot(slot))).collect();
        Self { node, raft, peers, groups }
    }

    fn post(&self, slot: u16) -> Option<Post> {
        let group = *self.groups.get(usize::from(slot))?;
        Post::to(self.node, &self.raft, &self.peers, group)
    }
}

impl Route for Replicated {
    fn submit(&self, slot: u16, command: Bytes) -> Routed {
        let Some(post) = self.post(slot) else {
            return Box::pin(async { Err(RouteError::Unavailable { retry_after: RETRY_AFTER }) });
        };
        let outcome = post.submit(command);
        Box::pin(async move {
            proto::decode_outcome(&outcome.await?).map_err(|error| {
                tracing::error!(%error, "an outcome could not be decoded");
                RouteError::Unknown
            })
        })
    }

    fn linearize(&self, slot: u16) -> BoxFuture<'static, Result<(), RouteError>> {
        let Some(post) = self.post(slot) else {
            return Box::pin(async { Err(RouteError::Unavailable { retry_after: RETRY_AFTER }) });
        };
        Box::pin(post.linearize())
    }
}
