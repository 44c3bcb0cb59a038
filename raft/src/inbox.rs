//! Calls of other replicas. A call takes its place in the engine's queue on the caller's thread, in
//! the order of arrival; only the wait for the answer is asynchronous. A sender may speak only for
//! itself: its identity comes from the connection, not from the message.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};

use crate::{
    Error, NodeId, ReadError,
    codec::{self, Answer, Call},
    core::{Core, View},
    eager,
    types::{Vote, VoteRequest, VoteResponse},
};

/// Answered when the group does not run here (yet).
pub(crate) const NO_SUCH_GROUP: &str = "no_such_group";
/// Answered when the group has stopped.
const STOPPED: &str = "stopped";
/// Answered when no leader could confirm a read.
const UNAVAILABLE: &str = "unavailable";

type Response = BoxFuture<'static, Result<Bytes, Error>>;

fn respond(answer: &Answer) -> Result<Bytes, Error> {
    Ok(codec::encode_answer(answer))
}

fn failure(code: &str) -> Answer {
    Answer::Failure(code.to_owned())
}

/// The answer for a group that is not here.
pub(crate) fn no_such_group() -> Response {
    std::future::ready(respond(&failure(NO_SUCH_GROUP))).boxed()
}

impl Core {
    pub(crate) fn handle(self: &Arc<Self>, from: NodeId, call: Call) -> Response {
        let core = self.clone();
        match call {
            Call::Append(append) => {
                if let Err(error) = speaks_for_itself(from, &append.vote) {
                    return std::future::ready(Err(error)).boxed();
                }
                eager::start(async move {
                    let answer = core.engine.append_entries(append).await;
                    respond(&answer.map_or_else(|_| failure(STOPPED), Answer::Append))
                })
            }
            Call::Vote(request) => {
                if let Err(error) = speaks_for_itself(from, &request.vote) {
                    return std::future::ready(Err(error)).boxed();
                }
                eager::start(async move { respond(&core.vote(from, request).await) })
            }
            Call::PreVote(request) => {
                if let Err(error) = speaks_for_itself(from, &request.vote) {
                    return std::future::ready(Err(error)).boxed();
                }
                eager::start(async move { respond(&core.pre_vote(from, request).await) })
            }
            Call::Transfer(request) => {
                if let Err(error) = speaks_for_itself(from, request.from_leader()) {
                    return std::future::ready(Err(error)).boxed();
                }
                self.expect_take_up(*request.from_leader().leader_id());
                self.detached(async move {
                    let done = core.engine.handle_transfer_leader(request).await;
                    done.map_or_else(|_| failure(STOPPED), |_| Answer::Transfer)
                })
            }
            Call::Fetch { at_least } => {
                std::future::ready(respond(&self.give(from, at_least))).boxed()
            }
            Call::ReadIndex => self.detached(async move {
                match core.read_index().await {
                    Ok(at) => Answer::ReadIndex(at),
                    Err(ReadError::Unavailable) => failure(UNAVAILABLE),
                    Err(ReadError::Stopped) => failure(STOPPED),
                }
            }),
        }
    }

    /// Runs on the group's own runtime: these wait for timers and for other replicas.
    fn detached(&self, answer: impl Future<Output = Answer> + Send + 'static) -> Response {
        let task = self.runtime.spawn(answer);
        async move { respond(&task.await.unwrap_or_else(|_| failure(STOPPED))) }.boxed()
    }

    /// Whether the lease of the leader that this replica follows is void: the leader itself asks to
    /// be elected, so it does not lead; or our own detector holds it for dead.
    fn lease_is_void(&self, from: NodeId, view: &View) -> bool {
        match view.leader {
            Some(leader) if leader == self.node => false,
            Some(leader) => leader == from || !self.alive(leader),
            None => false,
        }
    }

    async fn vote(&self, from: NodeId, mut request: VoteRequest) -> Answer {
        request.leadership_transfer |= self.lease_is_void(from, &self.view());
        match self.engine.vote(request).await {
            Ok(answer) => Answer::Vote(answer),
            Err(_) => failure(STOPPED),
        }
    }

    async fn pre_vote(self: &Arc<Self>, from: NodeId, request: VoteRequest) -> Answer {
        let view = self.view();
        let void = self.lease_is_void(from, &view);
        if void {
            // A pre-vote has no mark for it: the lease itself must go.
            self.release_lease(&view).await;
        }
        let asked = request.clone();
        match self.engine.pre_vote(request).await {
            Ok(answer) => {
                if void && self.knows_more(&asked, &answer) {
                    let core = self.clone();
                    self.runtime.spawn(async move { core.campaign_now(&core.view()).await });
                }
                Answer::Vote(answer)
            }
            Err(_) => failure(STOPPED),
        }
    }

    /// The candidate was refused because its log is shorter than ours: our turn.
    fn knows_more(&self, asked: &VoteRequest, answer: &VoteResponse) -> bool {
        !answer.vote_granted && answer.last_log_id > asked.last_log_id
    }
}

/// A vote in a message must be the sender's own.
fn speaks_for_itself(from: NodeId, vote: &Vote) -> Result<(), Error> {
    if vote.leader_id().node_id == from.0 {
        Ok(())
    } else {
        Err(Error::Refused(format!("node {from} speaks for node {}", vote.leader_id().node_id)))
    }
}
