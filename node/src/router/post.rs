//! One command on its way to whoever leads its group, here or on another node.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use raft::{Group, GroupId, NodeId, ProposeError, Raft, ReadError};
use tokio::time::Instant;

use super::RouteError;
use crate::peers::Peers;

/// How long a command may look for a leader: longer than any failover, shorter than the five seconds
/// in which a minority must have refused (CONTRACT section 6).
pub(crate) const PATIENCE: Duration = Duration::from_millis(2500);
/// The pause after a node that was thought to lead said that it does not, before it is asked again.
const PAUSE: Duration = Duration::from_millis(20);
/// The retry hint when there is no leader: about one failover.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(200);

/// One command on its way to whoever leads its group.
struct Attempt {
    post: Post,
    command: Bytes,
}

type Offered = BoxFuture<'static, Result<Bytes, ProposeError>>;

impl Attempt {
    /// Submits to the leader, or to `hint` when the last one named it. Takes the place in line at once.
    fn offer(&self, hint: Option<NodeId>) -> Offered {
        let Post { node, peers, group } = &self.post;
        let leader = hint.or(group.status().leader);
        match leader {
            Some(leader) if leader == *node => match group.submit(self.command.clone()) {
                Ok(pending) => Box::pin(pending),
                Err(refused) => Box::pin(async { Err(refused) }),
            },
            Some(leader) => peers.forward(leader.0, group.id(), self.command.clone()),
            None => Box::pin(async { Err(ProposeError::NotLeader { leader: None }) }),
        }
    }

    /// Waits for the answer; offers again only what certainly was not proposed.
    async fn settle(self, first: Offered, until: Instant) -> Result<Bytes, RouteError> {
        let mut offered = first;
        loop {
            let hint = match offered.await {
                Ok(outcome) => return Ok(outcome),
                Err(ProposeError::NotLeader { leader }) => leader,
                Err(ProposeError::Unavailable) => {
                    return Err(RouteError::Unavailable { retry_after: RETRY_AFTER });
                }
                Err(ProposeError::Overloaded { retry_after }) => {
                    return Err(RouteError::Overloaded { retry_after });
                }
                Err(ProposeError::Unknown) if planted::bug(planted::Bug::RefusalForUnknown) => {
                    return Err(RouteError::Unavailable { retry_after: RETRY_AFTER });
                }
                Err(ProposeError::Unknown) => return Err(RouteError::Unknown),
                Err(ProposeError::Stopped) => return Err(RouteError::Stopped),
            };
            let post = &self.post;
            if !post.quorum_is_alive() || !post.wait_for_leader(hint, until).await {
                return Err(RouteError::Unavailable { retry_after: RETRY_AFTER });
            }
            offered = self.offer(None);
        }
    }
}

/// A group as this node sees it.
pub(crate) struct Post {
    node: NodeId,
    peers: Peers,
    group: Group,
}

impl Post {
    /// The way to `group`; `None` while it does not run here.
    pub(crate) fn to(node: NodeId, raft: &Raft, peers: &Peers, group: GroupId) -> Option<Self> {
        Some(Self { node, peers: peers.clone(), group: raft.group(group)? })
    }

    /// Takes a place in line for `command` now; resolves to the bytes of its outcome. Looks for a leader until then.
    pub(crate) fn submit(
        self,
        command: Bytes,
        until: Instant,
    ) -> impl Future<Output = Result<Bytes, RouteError>> + Send + 'static {
        let attempt = Attempt { post: self, command };
        let first = attempt.offer(None);
        attempt.settle(first, until)
    }

    /// Waits until this node has applied what was acknowledged before. A read changes nothing, so it is repeated
    /// while somebody may yet lead.
    pub(crate) async fn linearize(self, until: Instant) -> Result<(), RouteError> {
        loop {
            match tokio::time::timeout_at(until, self.group.linearize()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(ReadError::Stopped)) => return Err(RouteError::Stopped),
                Ok(Err(ReadError::Unavailable))
                    if self.quorum_is_alive() && self.wait_for_leader(None, until).await => {}
                Ok(Err(ReadError::Unavailable)) | Err(_) => {
                    return Err(RouteError::Unavailable { retry_after: RETRY_AFTER });
                }
            }
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
        let reachable = |leader: NodeId| leader == self.node || self.peers.alive(leader.0);
        let led = watch.wait_for(|status| status.leader.is_some_and(reachable));
        matches!(tokio::time::timeout_at(until, led).await, Ok(Ok(_)))
    }
}
