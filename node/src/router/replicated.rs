//! The production router: looks up who leads and submits here or there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster_config::{ClusterConfig, Slot};
use futures::future::BoxFuture;
use raft::{Group, GroupId, NodeId, ProposeError, Raft, ReadError};
use tokio::time::Instant;

use super::{Route, RouteError, Routed};
use crate::peers::Peers;

/// How long a command may look for a leader: longer than any failover, shorter than the five seconds
/// in which a minority must have refused (CONTRACT section 6).
const PATIENCE: Duration = Duration::from_millis(2500);
/// The pause after a node that was thought to lead said that it does not, before it is asked again.
const PAUSE: Duration = Duration::from_millis(20);
/// The retry hint when there is no leader: about one failover.
const RETRY_AFTER: Duration = Duration::from_millis(200);

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

    fn group(&self, slot: u16) -> Option<Group> {
        self.raft.group(*self.groups.get(usize::from(slot))?)
    }
}

impl Route for Replicated {
    fn submit(&self, slot: u16, command: Bytes) -> Routed {
        let Some(group) = self.group(slot) else {
            return Box::pin(async { Err(RouteError::Unavailable { retry_after: RETRY_AFTER }) });
        };
        let attempt = Attempt { node: self.node, peers: self.peers.clone(), group, command };
        let first = attempt.offer(None);
        Box::pin(attempt.settle(first))
    }

    fn linearize(&self, slot: u16) -> BoxFuture<'static, Result<(), RouteError>> {
        let group = self.group(slot);
        Box::pin(async move {
            let unavailable = Err(RouteError::Unavailable { retry_after: RETRY_AFTER });
            let Some(group) = group else { return unavailable };
            match tokio::time::timeout(PATIENCE, group.linearize()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(ReadError::Stopped)) => Err(RouteError::Stopped),
                Ok(Err(ReadError::Unavailable)) | Err(_) => unavailable,
            }
        })
    }
}

/// One command on its way to whoever leads its group.
struct Attempt {
    node: NodeId,
    peers: Peers,
    group: Group,
    command: Bytes,
}

type Offered = BoxFuture<'static, Result<Bytes, ProposeError>>;

impl Attempt {
    /// Submits to the leader, or to `hint` when the last one named it. Takes the place in line at once.
    fn offer(&self, hint: Option<NodeId>) -> Offered {
        let leader = hint.or(self.group.status().leader);
        match leader {
            Some(leader) if leader == self.node => match self.group.submit(self.command.clone()) {
                Ok(pending) => Box::pin(pending),
                Err(refused) => Box::pin(async { Err(refused) }),
            },
            Some(leader) => self.peers.forward(leader.0, self.group.id(), self.command.clone()),
            None => Box::pin(async { Err(ProposeError::NotLeader { leader: None }) }),
        }
    }

    /// Waits for the answer; offers again only what certainly was not proposed.
    async fn settle(self, first: Offered) -> Result<chat::Outcome, RouteError> {
        let until = Instant::now() + PATIENCE;
        let mut offered = first;
        loop {
            let hint = match offered.await {
                Ok(outcome) => {
                    return proto::decode_outcome(&outcome).map_err(|error| {
                        tracing::error!(%error, "an outcome could not be decoded");
                        RouteError::Unknown
                    });
                }
                Err(ProposeError::NotLeader { leader }) => leader,
                Err(ProposeError::Unavailable) => {
                    return Err(RouteError::Unavailable { retry_after: RETRY_AFTER });
                }
                Err(ProposeError::Overloaded { retry_after }) => {
                    return Err(RouteError::Overloaded { retry_after });
                }
                Err(ProposeError::Unknown) => return Err(RouteError::Unknown),
                Err(ProposeError::Stopped) => return Err(RouteError::Stopped),
            };
            if !self.quorum_is_alive() || !self.wait_for_leader(hint, until).await {
                return Err(RouteError::Unavailable { retry_after: RETRY_AFTER });
            }
            offered = self.offer(None);
        }
    }

    /// Whether enough voters are alive that a leader can be expected at all.
    fn quorum_is_alive(&self) -> bool {
        let voters = self.group.status().voters;
        let alive =
            voters.iter().filter(|voter| **voter == self.node || self.peers.alive(voter.0)).count();
        voters.is_empty() || alive > voters.len() / 2
    }

    /// Waits until somebody who is alive is known to lead. `false` when the patience is at its end.
    async fn wait_for_leader(&self, hint: Option<NodeId>, until: Instant) -> bool {
        // Whoever was asked may know better than this node does, but a pause keeps two nodes that each
        // take the other for the leader from spinning.
        let pause = if hint.is_some() { PAUSE / 4 } else { PAUSE };
        tokio::time::sleep(pause).await;
        let mut watch = self.group.watch();
        let reachable =
            |leader: NodeId| leader == self.node || self.peers.alive(leader.0);
        let led = watch.wait_for(|status| status.leader.is_some_and(reachable));
        matches!(tokio::time::timeout_at(until, led).await, Ok(Ok(_)))
    }
}
