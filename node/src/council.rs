//! Group 0 as the rest of the node uses it: what the cluster is, and the way to change it, from any node.
//!
//! What a command means is decided in `cluster-config`; here it is only carried there and back.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::{ClusterConfig, Command, Outcome};
use raft::{GroupId, NodeId, Raft};
use tokio::time::Instant;

use crate::cluster::Configured;
use crate::peers::Peers;
use crate::router::{PATIENCE, Post, RouteError};

/// How long this node may take to apply what the leader of group 0 has accepted.
const CATCH_UP: Duration = Duration::from_secs(2);
/// The retry hint while group 0 does not run here yet.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// A handle on group 0. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Council {
    node: NodeId,
    raft: Raft,
    peers: Peers,
    configured: Configured,
}

impl Council {
    /// The council as `node` reaches it.
    pub(crate) fn new(node: NodeId, raft: Raft, peers: Peers, configured: Configured) -> Self {
        Self { node, raft, peers, configured }
    }

    /// What the cluster is, as this node has applied it.
    pub(crate) fn config(&self) -> Arc<ClusterConfig> {
        let config = self.configured.borrow().clone();
        config.expect("there is a council only in a cluster that was founded")
    }

    /// The same, as it changes.
    pub(crate) fn configured(&self) -> Configured {
        self.configured.clone()
    }

    fn post(&self) -> Result<Post, RouteError> {
        let post = Post::to(self.node, &self.raft, &self.peers, GroupId::CLUSTER);
        post.ok_or(RouteError::Unavailable { retry_after: RETRY_AFTER })
    }

    /// Carries out one command in the name of `actor`. What was accepted is applied here when this returns.
    ///
    /// # Errors
    /// [`RouteError`]; after `Unknown` the same command may be repeated, which changes nothing twice.
    pub(crate) async fn propose(
        &self,
        actor: &str,
        command: &Command,
    ) -> Result<Outcome, RouteError> {
        let command = proto::cluster::encode_cluster_command(actor, command);
        let outcome = self.post()?.submit(command, Instant::now() + PATIENCE).await?;
        let outcome = proto::cluster::decode_cluster_outcome(&outcome).map_err(|error| {
            tracing::error!(%error, "an outcome of group 0 could not be decoded");
            RouteError::Unknown
        })?;
        if let Outcome::Accepted { epoch } | Outcome::Unchanged { epoch } = outcome {
            self.wait_for(epoch).await?;
        }
        Ok(outcome)
    }

    /// Resolves when this node has applied everything that was accepted before the call.
    ///
    /// # Errors
    /// [`RouteError`]: nobody confirmed in time.
    pub(crate) async fn linearize(&self) -> Result<(), RouteError> {
        self.post()?.linearize(Instant::now() + PATIENCE).await
    }

    async fn wait_for(&self, epoch: u64) -> Result<(), RouteError> {
        let mut configured = self.configured.clone();
        let here = configured.wait_for(|config| config.as_ref().is_some_and(|c| c.epoch >= epoch));
        match tokio::time::timeout(CATCH_UP, here).await {
            Ok(Ok(_)) => Ok(()),
            // It is done, but nothing here shows it yet.
            Ok(Err(_)) | Err(_) => Err(RouteError::Unknown),
        }
    }
}
