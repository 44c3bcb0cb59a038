//! The production router: looks up who owns the slot and who leads, and submits here or there.
//!
//! A command that is answered `moved` was not carried out: the shard was split before it was its turn. It is offered to the
//! new owner within the same patience, through the other nodes where it does not run here yet. A read counts only if the group that confirmed it owns the slot here afterwards.

use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use proto::Answer;
use raft::{GroupId, NodeId, ProposeError, Raft};
use tokio::time::{Instant, timeout, timeout_at};

use super::owners::Owners;
use super::post::{PATIENCE, Post, RETRY_AFTER};
use super::{Route, RouteError, Routed};
use crate::peers::Peers;

/// How often is looked again for a group that is about to run here, should nothing tell of it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Routes by the slots' owners and the leaders that raft knows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Replicated {
    node: NodeId,
    raft: Raft,
    peers: Peers,
    owners: Owners,
}

/// How long a group may take to begin here before its commands go to nodes that have it: a replica that lags is slower.
const AWAY_AFTER: Duration = Duration::from_millis(100);
/// Asked in one go: a voter, and whom it names as the leader.
const ASKED_MAX: usize = 2;

/// The way to the owner of a slot.
enum Way {
    Here(GroupId, Post),
    /// It does not run here.
    Away(GroupId),
}

type Offered = BoxFuture<'static, Result<Bytes, RouteError>>;

impl Replicated {
    /// A router over these owners.
    pub(crate) fn new(node: NodeId, raft: Raft, peers: Peers, owners: Owners) -> Self {
        Self { node, raft, peers, owners }
    }

    fn post(&self, group: GroupId) -> Option<Post> {
        Post::to(self.node, &self.raft, &self.peers, group)
    }

    /// The owner of a slot, if it runs here.
    fn owner(&self, slot: u16) -> Option<(GroupId, Post)> {
        let group = self.owners.of(slot)?;
        Some((group, self.post(group)?))
    }

    /// The way to the owner, as soon as that is another than `not`.
    async fn next_owner(
        &self,
        slot: u16,
        not: Option<GroupId>,
        until: Instant,
    ) -> Result<Way, RouteError> {
        let mut news = self.owners.news();
        let away_at = Instant::now() + AWAY_AFTER;
        let found = async {
            loop {
                if let Some(group) = self.owners.of(slot).filter(|group| Some(*group) != not) {
                    if let Some(post) = self.post(group) {
                        return Way::Here(group, post);
                    }
                    if Instant::now() >= away_at {
                        return Way::Away(group);
                    }
                }
                // What is gone ends this with the process.
                let _ = timeout(LOOK_AGAIN, news.changed()).await;
            }
        };
        let unavailable = |_| RouteError::Unavailable { retry_after: RETRY_AFTER };
        timeout_at(until, found).await.map_err(unavailable)
    }

    /// Offers a command to the nodes that have its group. `None`: nobody took it, and nothing was written.
    async fn ask_others(
        &self,
        group: GroupId,
        command: &Bytes,
    ) -> Result<Option<Bytes>, RouteError> {
        let voters = self.owners.voters(group);
        for voter in voters.into_iter().filter(|node| *node != self.node) {
            let mut asked = voter;
            for _ in 0..ASKED_MAX {
                match self.peers.forward(asked.0, group, command.clone()).await {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(ProposeError::NotLeader { leader: Some(leader) })
                        if leader != self.node =>
                    {
                        asked = leader;
                    }
                    Err(ProposeError::Overloaded { retry_after }) => {
                        return Err(RouteError::Overloaded { retry_after });
                    }
                    Err(ProposeError::Unknown) => return Err(RouteError::Unknown),
                    Err(_) => break,
                }
            }
        }
        Ok(None)
    }

    /// Waits for the outcome, and offers the command to the next owner when it was another's turn.
    async fn settle(
        self,
        slot: u16,
        command: Bytes,
        mut offered: Option<(GroupId, Offered)>,
        until: Instant,
    ) -> Result<chat::Outcome, RouteError> {
        let mut moved = None;
        loop {
            if let Some((group, answer)) = offered.take() {
                match proto::decode_answer(&answer.await?) {
                    Ok(Answer::Outcome(outcome)) => return Ok(outcome),
                    Ok(Answer::Moved) => moved = Some(group),
                    Err(error) => {
                        tracing::error!(%error, "an outcome could not be decoded");
                        return Err(RouteError::Unknown);
                    }
                }
            }
            offered = match self.next_owner(slot, moved, until).await? {
                Way::Here(group, post) => {
                    Some((group, Box::pin(post.submit(command.clone(), until))))
                }
                Way::Away(group) => {
                    let answer = self.ask_others(group, &command).await?;
                    answer.map(|answer| -> (_, Offered) { (group, Box::pin(ready(Ok(answer)))) })
                }
            };
        }
    }

    async fn confirm(self, slot: u16, until: Instant) -> Result<(), RouteError> {
        let mut news = self.owners.news();
        loop {
            if let Some((group, post)) = self.owner(slot) {
                post.linearize(until).await?;
                // Otherwise the shard was split before what was read up to.
                let owns = self.owners.holds(group, &(slot..slot + 1));
                if owns && self.owners.of(slot) == Some(group) {
                    return Ok(());
                }
            }
            if Instant::now() >= until {
                return Err(RouteError::Unavailable { retry_after: RETRY_AFTER });
            }
            // What is gone ends this with the process.
            let _ = timeout(LOOK_AGAIN, news.changed()).await;
        }
    }
}

impl Route for Replicated {
    fn submit(&self, slot: u16, command: Bytes) -> Routed {
        let until = Instant::now() + PATIENCE;
        // The place in line is taken by this call.
        let offered = self.owner(slot).map(|(group, post)| {
            let offered: Offered = Box::pin(post.submit(command.clone(), until));
            (group, offered)
        });
        Box::pin(self.clone().settle(slot, command, offered, until))
    }

    fn linearize(&self, slot: u16) -> BoxFuture<'static, Result<(), RouteError>> {
        Box::pin(self.clone().confirm(slot, Instant::now() + PATIENCE))
    }
}
