//! The engine's network over our port: one call for one message, in our own encoding. Deadlines are
//! enforced here; a node that is known to be gone fails at once and is tried again with patience,
//! which ends early when the detector hears it.

use std::{future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use openraft::{
    EmptyNode, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2, StorageError,
    errors::{NetworkError as EngineNetworkError, RPCError, ReplicationClosed, StreamingError},
    errors::{Timeout, Unreachable},
    network::{Backoff, RPCOption},
    raft::{SnapshotResponse, TransferLeaderResponse},
};
use tokio::sync::Semaphore;

use crate::{
    Error, Fatal, GroupId, Network, NetworkError, NodeId, Rows,
    codec::{self, Answer, Call, SnapshotHead},
    driver::ShardSnapshot,
    types::{
        AppendRequest, AppendResponse, Snapshot, TransferRequest, Types, Vote, VoteRequest,
        VoteResponse,
    },
};

/// First pause before a node that is gone is tried again.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest such pause; the detector shortens it when it hears the node.
const BACKOFF_MAX: Duration = Duration::from_millis(1000);
/// Snapshots that one node sends at the same time: each reads its whole state from disk.
pub(crate) const SENDING_MAX: usize = 2;

/// Makes the lanes of one group.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) node: NodeId,
    pub(crate) group: GroupId,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) sending: Arc<Semaphore>,
    pub(crate) chunk_bytes: usize,
}

/// The lane to one replica of one group.
pub(crate) struct Peer {
    peers: Peers,
    to: NodeId,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer { peers: self.clone(), to: NodeId(target) }
    }
}

type Rpc<T> = Result<T, RPCError<Types>>;

impl Peer {
    async fn call(&self, call: Call, kind: RPCTypes, option: &RPCOption) -> Rpc<Answer> {
        let deadline = option.soft_ttl();
        let request = codec::encode_call(self.peers.group, call);
        let call = self.peers.network.call(self.to, request, deadline);
        let answer = tokio::time::timeout(deadline, call).await;
        let answer = answer.unwrap_or(Err(NetworkError::Timeout));
        let answer = answer.map_err(|error| self.failed(error, kind, deadline))?;
        match codec::decode_answer(answer) {
            Ok(Answer::Failure(code)) => Err(unreachable(&code).into()),
            Ok(answer) => Ok(answer),
            Err(error) => Err(unreachable(&error).into()),
        }
    }

    fn failed(&self, error: NetworkError, kind: RPCTypes, deadline: Duration) -> RPCError<Types> {
        match error {
            // Tried again with patience.
            NetworkError::Unreachable | NetworkError::Refused(_) => unreachable(&error).into(),
            // Tried again at once.
            NetworkError::Lost => EngineNetworkError::from_string(error).into(),
            NetworkError::Timeout => Timeout {
                action: kind,
                id: self.peers.node.0,
                target: self.to.0,
                timeout: deadline,
            }
            .into(),
        }
    }

    /// An answer that does not fit the question.
    fn confused<T>(&self, answer: &Answer) -> Rpc<T> {
        Err(unreachable(&format!("node {} answered {answer:?}", self.to)).into())
    }
}

fn unreachable(why: &impl ToString) -> Unreachable<Types> {
    Unreachable::from_string(why.to_string())
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = ShardSnapshot;

    async fn append_entries(
        &mut self,
        rpc: AppendRequest,
        option: RPCOption,
    ) -> Rpc<AppendResponse> {
        match self.call(Call::Append(rpc), RPCTypes::AppendEntries, &option).await? {
            Answer::Append(answer) => Ok(answer),
            answer => self.confused(&answer),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Rpc<VoteResponse> {
        match self.call(Call::Vote(rpc), RPCTypes::Vote, &option).await? {
            Answer::Vote(answer) => Ok(answer),
            answer => self.confused(&answer),
        }
    }

    /// The engine's own default would grant every one.
    async fn pre_vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Rpc<VoteResponse> {
        match self.call(Call::PreVote(rpc), RPCTypes::Vote, &option).await? {
            Answer::Vote(answer) => Ok(answer),
            answer => self.confused(&answer),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<ShardSnapshot>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let (ShardSnapshot::View(rows), Some(last)) =
            (snapshot.snapshot, snapshot.meta.last_log_id)
        else {
            let error = io::Error::other("a snapshot without rows cannot be sent");
            return Err(StorageError::read_snapshot(None, to_source(error)).into());
        };
        let membership = snapshot.meta.last_membership;
        let head = SnapshotHead { group: self.peers.group, vote, last, membership };
        let send = async {
            let permit = self.peers.sending.acquire().await;
            let _permit = permit.map_err(|_| ReplicationClosed::new("shutting down"))?;
            let chunks = chunks(rows, self.peers.chunk_bytes).boxed();
            let answer =
                self.peers.network.send_snapshot(self.to, codec::encode_head(&head), chunks).await;
            metrics::counter!("raft_snapshots_sent_total").increment(1);
            let answer = answer.map_err(|error| StreamingError::from(unreachable(&error)))?;
            let vote = codec::decode_vote(answer)
                .map_err(|error: Error| StreamingError::from(unreachable(&error)))?;
            Ok(SnapshotResponse::new(vote))
        };
        tokio::select! {
            sent = send => sent,
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferRequest,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        match self.call(Call::Transfer(req), RPCTypes::TransferLeader, &option).await? {
            Answer::Transfer => Ok(Ok(())),
            answer => self.confused(&answer),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let doubled = |pause: &Duration| Some((*pause * 2).min(BACKOFF_MAX));
        Some(Backoff::new(std::iter::successors(Some(BACKOFF_MIN), doubled)))
    }
}

fn to_source(error: io::Error) -> openraft::impls::BoxedErrorSource {
    use openraft::errors::ErrorSource as _;
    openraft::impls::BoxedErrorSource::from_error(&error)
}

/// The rows of a view as chunks, read as the other side takes them, and an end that counts them.
pub(crate) fn chunks(
    rows: Box<dyn Rows>,
    bytes_max: usize,
) -> impl futures::Stream<Item = Result<Bytes, Fatal>> + Send + 'static {
    stream::try_unfold(Some((rows, 0u64)), move |state| async move {
        let Some((mut rows, sent)) = state else {
            return Ok(None);
        };
        match rows.next_chunk(bytes_max)? {
            Some(some) => {
                let sent = sent + some.len() as u64;
                Ok(Some((codec::encode_rows(some), Some((rows, sent)))))
            }
            None => Ok(Some((codec::encode_end(sent), None))),
        }
    })
}
