//! The one set of types with which the consensus engine is used here, for all groups. Law: these
//! names stay inside this room. What the engine calls node, log id and vote is translated to our own
//! types at the edges (`codec`, `driver`, `log`).

use std::fmt;

use bytes::Bytes;
use openraft::{
    EmptyNode, OptionalSend, RaftTypeConfig,
    impls::{BoxedErrorSource, InlineBatch, TokioRuntime, leader_id_adv},
    raft::responder::Responder,
};

use crate::{Position, driver::Driver};

/// Names a leadership: totally ordered, so that two candidates of one term cannot block each other.
pub(crate) type LeaderId = leader_id_adv::LeaderId<u64, u64>;
pub(crate) type LogId = openraft::LogId<LeaderId>;
pub(crate) type Vote = openraft::Vote<LeaderId>;
pub(crate) type Membership = openraft::Membership<u64, EmptyNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<LeaderId, u64, EmptyNode>;
pub(crate) type EntryPayload = openraft::EntryPayload<Data, u64, EmptyNode>;
pub(crate) type Entry = openraft::Entry<LeaderId, EntryPayload>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, EmptyNode>;
pub(crate) type Snapshot<D> = openraft::Snapshot<LeaderId, u64, EmptyNode, D>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<Types>;
pub(crate) type AppendResponse = openraft::raft::AppendEntriesResponse<Types>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<Types>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<Types>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<Types>;
pub(crate) type WriteResult = openraft::raft::ClientWriteResult<Types>;
pub(crate) type Engine = openraft::Raft<Types, Driver>;

/// The type configuration of every group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Data;
    type R = Outcomes;
    type NodeId = u64;
    type Node = EmptyNode;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = EntryPayload;
    type Entry = Entry;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = Completion<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// The bytes of one `proto::log::Entry`. Shared, not copied, on its way to disk and wire.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Data(pub(crate) Bytes);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// One outcome for each command of an applied entry, in order.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(pub(crate) Vec<Bytes>);

/// What a completion runs: with the result, or with `None` when the engine died before it had one.
type OnDone<T> = Box<dyn FnOnce(Option<T>) + Send>;

/// Calls back exactly once. The engine runs it on the group's own thread.
pub(crate) struct Completion<T>(Option<OnDone<T>>);

impl<T> Completion<T> {
    /// `done` must be short and must not block.
    pub(crate) fn new(done: impl FnOnce(Option<T>) + Send + 'static) -> Self {
        Self(Some(Box::new(done)))
    }
}

impl<T: OptionalSend + 'static> Responder<Types, T> for Completion<T> {
    fn on_complete(mut self, result: T) {
        if let Some(done) = self.0.take() {
            done(Some(result));
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(None);
        }
    }
}

/// Our position of an engine's log id.
pub(crate) fn position(id: &LogId) -> Position {
    Position { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

/// The engine's log id of our position.
pub(crate) fn log_id(position: Position) -> LogId {
    LogId::new(leader_id(position.term, position.node), position.index)
}

/// The engine's name of a leadership.
pub(crate) fn leader_id(term: u64, node: u64) -> LeaderId {
    LeaderId { term, node_id: node }
}
