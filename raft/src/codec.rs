//! Our own encodings of what the consensus engine says, on the wire (`proto::peer`) and on disk.
//! Law: bytes from outside never panic here, and nothing leaves here that could make the engine
//! panic: indexes are far from overflow, entries are consecutive, leaderships are in order.

use bytes::Bytes;
use cluster_config::GroupId;
use openraft::EmptyNode;
use prost::Message as _;
use proto::peer as wire;
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Error, Position,
    types::{
        AppendRequest, AppendResponse, Data, Entry, EntryPayload, LogId, Membership, SnapshotMeta,
        StoredMembership, TransferRequest, Vote, VoteRequest, VoteResponse, leader_id, log_id,
        position,
    },
};

mod disk;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use disk::{decode_record, encode_record, weight};
pub(crate) use rows::{Chunk, decode_chunk, encode_end, encode_rows, frame};

/// Terms and indexes beyond this are nonsense: at a million a second it takes 146 thousand years.
const NUMBER_MAX: u64 = 1 << 62;
/// Voter sets of one membership: one, or two while it changes.
const VOTER_SETS_MAX: usize = 2;

/// A call on the raft lane.
#[derive(Debug)]
pub(crate) enum Call {
    /// Entries, or a sign of life.
    Append(AppendRequest),
    /// A candidate asks for a vote.
    Vote(VoteRequest),
    /// Somebody asks whether it would get a vote.
    PreVote(VoteRequest),
    /// The leader hands over.
    Transfer(TransferRequest),
    /// A follower asks how far a linearizable read must have applied.
    ReadIndex,
    /// Somebody has lost its machine's state and asks for one at this index or beyond.
    Fetch { at_least: u64 },
}

/// The answer to a [`Call`].
#[derive(Debug)]
pub(crate) enum Answer {
    /// To `Append`.
    Append(AppendResponse),
    /// To `Vote` and `PreVote`.
    Vote(VoteResponse),
    /// To `Transfer`: it was taken note of.
    Transfer,
    /// To `ReadIndex`.
    ReadIndex(Position),
    /// To `Fetch`: the state follows on the bulk lane.
    Fetch,
    /// The group is not here or cannot answer; a stable code.
    Failure(String),
}

/// A malformed message of the given kind.
fn malformed(what: &'static str, reason: impl ToString) -> Error {
    Error::Malformed { what, reason: reason.to_string() }
}

pub(crate) fn encode_call(group: GroupId, call: Call) -> Bytes {
    use wire::raft_request::Request;
    let request = match call {
        Call::Append(append) => Request::Append(append_to_wire(append)),
        Call::Vote(vote) => Request::Vote(vote_request_to_wire(&vote)),
        Call::PreVote(vote) => Request::PreVote(vote_request_to_wire(&vote)),
        Call::Transfer(transfer) => Request::Transfer(wire::TransferLeader {
            from: Some(vote_to_wire(transfer.from_leader())),
            to: *transfer.to_node_id(),
            last: transfer.last_log_id().map(position_to_wire),
        }),
        Call::ReadIndex => Request::ReadIndex(wire::ReadIndexRequest {}),
        Call::Fetch { at_least } => Request::Fetch(wire::FetchState { at_least }),
    };
    let request = wire::RaftRequest { group: group.0, request: Some(request) };
    request.encode_to_vec().into()
}

pub(crate) fn decode_call(bytes: Bytes) -> Result<(GroupId, Call), Error> {
    use wire::raft_request::Request;
    const WHAT: &str = "raft request";
    let request = wire::RaftRequest::decode(bytes).map_err(|e| malformed(WHAT, e))?;
    let group = GroupId(request.group);
    let call = match request.request.ok_or_else(|| malformed(WHAT, "empty"))? {
        Request::Append(append) => Call::Append(append_from_wire(append)?),
        Request::Vote(vote) => Call::Vote(vote_request_from_wire(vote)?),
        Request::PreVote(vote) => Call::PreVote(vote_request_from_wire(vote)?),
        Request::Transfer(transfer) => Call::Transfer(TransferRequest::new(
            vote_from_wire(transfer.from)?,
            transfer.to,
            transfer.last.map(position_from_wire).transpose()?,
        )),
        Request::ReadIndex(_) => Call::ReadIndex,
        Request::Fetch(wire::FetchState { at_least }) => Call::Fetch { at_least },
    };
    Ok((group, call))
}

pub(crate) fn encode_answer(answer: &Answer) -> Bytes {
    use wire::append_answer::Answer as Append;
    use wire::raft_response::Response;
    let response = match answer {
        Answer::Append(append) => {
            let answer = match append {
                AppendResponse::Success => Append::Success(wire::Empty {}),
                AppendResponse::PartialSuccess(matching) => Append::Partial(wire::PartialSuccess {
                    matching: matching.as_ref().map(position_to_wire),
                }),
                AppendResponse::Conflict => Append::Conflict(wire::Empty {}),
                AppendResponse::HigherVote(vote) => Append::HigherVote(vote_to_wire(vote)),
            };
            Response::Append(wire::AppendAnswer { answer: Some(answer) })
        }
        Answer::Vote(vote) => Response::Vote(wire::VoteAnswer {
            vote: Some(vote_to_wire(&vote.vote)),
            granted: vote.vote_granted,
            last: vote.last_log_id.as_ref().map(position_to_wire),
        }),
        Answer::Transfer => Response::Transfer(wire::Empty {}),
        Answer::ReadIndex(at) => Response::ReadIndex(wire::ReadIndexAnswer {
            position: Some(position_to_wire(&log_id(*at))),
            failure: String::new(),
        }),
        Answer::Fetch => Response::Fetch(wire::Empty {}),
        Answer::Failure(code) => Response::Failure(code.clone()),
    };
    wire::RaftResponse { response: Some(response) }.encode_to_vec().into()
}

pub(crate) fn decode_answer(bytes: Bytes) -> Result<Answer, Error> {
    use wire::append_answer::Answer as Append;
    use wire::raft_response::Response;
    const WHAT: &str = "raft response";
    let response = wire::RaftResponse::decode(bytes).map_err(|e| malformed(WHAT, e))?;
    Ok(match response.response.ok_or_else(|| malformed(WHAT, "empty"))? {
        Response::Append(append) => {
            Answer::Append(match append.answer.ok_or_else(|| malformed(WHAT, "empty append"))? {
                Append::Success(_) => AppendResponse::Success,
                Append::Partial(partial) => AppendResponse::PartialSuccess(
                    partial.matching.map(position_from_wire).transpose()?,
                ),
                Append::Conflict(_) => AppendResponse::Conflict,
                Append::HigherVote(vote) => AppendResponse::HigherVote(vote_from_wire(Some(vote))?),
            })
        }
        Response::Vote(vote) => Answer::Vote(VoteResponse::new(
            vote_from_wire(vote.vote)?,
            vote.last.map(position_from_wire).transpose()?,
            vote.granted,
        )),
        Response::Transfer(_) => Answer::Transfer,
        Response::ReadIndex(answer) => match answer.position {
            Some(at) => Answer::ReadIndex(position(&position_from_wire(at)?)),
            None => Answer::Failure(answer.failure),
        },
        Response::Fetch(_) => Answer::Fetch,
        Response::Failure(code) => Answer::Failure(code),
    })
}

/// The head of a snapshot: whose, by which leader, and how far it goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SnapshotHead {
    pub(crate) group: GroupId,
    pub(crate) vote: Vote,
    pub(crate) last: LogId,
    pub(crate) membership: StoredMembership,
}

impl SnapshotHead {
    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: Some(self.last), last_membership: self.membership.clone() }
    }
}

pub(crate) fn encode_head(head: &SnapshotHead) -> Bytes {
    wire::SnapshotHeader {
        group: head.group.0,
        vote: Some(vote_to_wire(&head.vote)),
        last: Some(position_to_wire(&head.last)),
        membership_position: head.membership.log_id().as_ref().map(position_to_wire),
        membership: Some(membership_to_wire(head.membership.membership())),
    }
    .encode_to_vec()
    .into()
}

pub(crate) fn decode_head(bytes: Bytes) -> Result<SnapshotHead, Error> {
    const WHAT: &str = "snapshot header";
    let head = wire::SnapshotHeader::decode(bytes).map_err(|e| malformed(WHAT, e))?;
    let last = position_from_wire(head.last.ok_or_else(|| malformed(WHAT, "no position"))?)?;
    let at = head.membership_position.ok_or_else(|| malformed(WHAT, "no membership position"))?;
    let at = position_from_wire(at)?;
    let vote = vote_from_wire(head.vote)?;
    // What the engine would answer with a panic.
    if !vote.committed || last.leader_id > vote.leader_id || at > last {
        return Err(malformed(WHAT, "out of order"));
    }
    let membership = membership_from_wire(head.membership)?;
    let membership = StoredMembership::new(Some(at), membership);
    Ok(SnapshotHead { group: GroupId(head.group), vote, last, membership })
}

/// A vote alone: on disk, and as the answer to a snapshot.
pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    vote_to_wire(vote).encode_to_vec().into()
}

pub(crate) fn decode_vote(bytes: Bytes) -> Result<Vote, Error> {
    let vote = wire::Vote::decode(bytes).map_err(|e| malformed("vote", e))?;
    vote_from_wire(Some(vote))
}

/// A position alone: the committed mark on disk.
pub(crate) fn encode_position(id: &LogId) -> Bytes {
    position_to_wire(id).encode_to_vec().into()
}

pub(crate) fn decode_position(bytes: Bytes) -> Result<LogId, Error> {
    position_from_wire(wire::Position::decode(bytes).map_err(|e| malformed("position", e))?)
}

/// A membership and the entry that set it; what a machine keeps as `AppliedState::membership`.
pub(crate) fn encode_membership(membership: &StoredMembership) -> Bytes {
    let Some(at) = membership.log_id() else {
        return Bytes::new();
    };
    wire::LogEntry {
        position: Some(position_to_wire(at)),
        payload: Some(wire::log_entry::Payload::Membership(membership_to_wire(
            membership.membership(),
        ))),
    }
    .encode_to_vec()
    .into()
}

pub(crate) fn decode_membership(bytes: Bytes) -> Result<StoredMembership, Error> {
    const WHAT: &str = "membership";
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let entry = wire::LogEntry::decode(bytes).map_err(|e| malformed(WHAT, e))?;
    let at = position_from_wire(entry.position.ok_or_else(|| malformed(WHAT, "no position"))?)?;
    match entry.payload {
        Some(wire::log_entry::Payload::Membership(membership)) => {
            Ok(StoredMembership::new(Some(at), membership_from_wire(Some(membership))?))
        }
        _ => Err(malformed(WHAT, "not a membership")),
    }
}

fn vote_to_wire(vote: &Vote) -> wire::Vote {
    let leader = vote.leader_id();
    wire::Vote { term: leader.term, node: leader.node_id, committed: vote.committed }
}

fn vote_from_wire(vote: Option<wire::Vote>) -> Result<Vote, Error> {
    let vote = vote.ok_or_else(|| malformed("vote", "missing"))?;
    if vote.term > NUMBER_MAX {
        return Err(malformed("vote", "term out of range"));
    }
    Ok(Vote { leader_id: leader_id(vote.term, vote.node), committed: vote.committed })
}

fn position_to_wire(id: &LogId) -> wire::Position {
    wire::Position { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

fn position_from_wire(at: wire::Position) -> Result<LogId, Error> {
    if at.term > NUMBER_MAX || at.index > NUMBER_MAX {
        return Err(malformed("position", "out of range"));
    }
    Ok(log_id(Position { term: at.term, node: at.node, index: at.index }))
}

fn membership_to_wire(membership: &Membership) -> wire::Membership {
    let voters = membership.get_joint_config().iter();
    wire::Membership {
        voters: voters.map(|set| wire::VoterSet { nodes: set.iter().copied().collect() }).collect(),
        learners: membership.learner_ids().collect(),
    }
}

fn membership_from_wire(membership: Option<wire::Membership>) -> Result<Membership, Error> {
    const WHAT: &str = "membership";
    let membership = membership.ok_or_else(|| malformed(WHAT, "missing"))?;
    if membership.voters.is_empty() || membership.voters.len() > VOTER_SETS_MAX {
        return Err(malformed(WHAT, "number of voter sets"));
    }
    let sets: Vec<BTreeSet<u64>> =
        membership.voters.into_iter().map(|set| set.nodes.into_iter().collect()).collect();
    if sets.iter().any(BTreeSet::is_empty) {
        return Err(malformed(WHAT, "a voter set is empty"));
    }
    let nodes: BTreeMap<u64, EmptyNode> = sets
        .iter()
        .flatten()
        .chain(&membership.learners)
        .map(|node| (*node, EmptyNode {}))
        .collect();
    Membership::new(sets, nodes).map_err(|e| malformed(WHAT, e))
}

fn vote_request_to_wire(request: &VoteRequest) -> wire::VoteRequest {
    wire::VoteRequest {
        vote: Some(vote_to_wire(&request.vote)),
        last: request.last_log_id.as_ref().map(position_to_wire),
        leadership_transfer: request.leadership_transfer,
    }
}

fn vote_request_from_wire(request: wire::VoteRequest) -> Result<VoteRequest, Error> {
    let vote = vote_from_wire(request.vote)?;
    if vote.committed {
        return Err(malformed("vote request", "the vote is granted already"));
    }
    let mut decoded = VoteRequest::new(vote, request.last.map(position_from_wire).transpose()?);
    decoded.leadership_transfer = request.leadership_transfer;
    Ok(decoded)
}

fn append_to_wire(append: AppendRequest) -> wire::AppendEntries {
    wire::AppendEntries {
        vote: Some(vote_to_wire(&append.vote)),
        previous: append.prev_log_id.as_ref().map(position_to_wire),
        entries: append.entries.into_iter().map(entry_to_wire).collect(),
        commit: append.leader_commit.as_ref().map(position_to_wire),
    }
}

fn append_from_wire(append: wire::AppendEntries) -> Result<AppendRequest, Error> {
    const WHAT: &str = "append";
    let vote = vote_from_wire(append.vote)?;
    let previous = append.previous.map(position_from_wire).transpose()?;
    let commit = append.commit.map(position_from_wire).transpose()?;
    let mut entries = Vec::with_capacity(append.entries.len());
    let mut before = previous;
    for entry in append.entries {
        let entry = entry_from_wire(entry)?;
        let next = before.map_or(0, |id| id.index + 1);
        let in_order = before.is_none_or(|id| id.leader_id <= entry.log_id.leader_id);
        if entry.log_id.index != next || !in_order {
            return Err(malformed(WHAT, "entries are not consecutive"));
        }
        before = Some(entry.log_id);
        entries.push(entry);
    }
    let beyond = |id: Option<LogId>| id.is_some_and(|id| id.leader_id > vote.leader_id);
    if !vote.committed || beyond(before) || beyond(commit) {
        return Err(malformed(WHAT, "the leader cannot have written this"));
    }
    Ok(AppendRequest { vote, prev_log_id: previous, entries, leader_commit: commit })
}

fn entry_to_wire(entry: Entry) -> wire::LogEntry {
    use wire::log_entry::Payload;
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank(wire::Empty {}),
        EntryPayload::Normal(Data(bytes)) => Payload::Entry(bytes),
        EntryPayload::Membership(membership) => {
            Payload::Membership(membership_to_wire(&membership))
        }
    };
    wire::LogEntry { position: Some(position_to_wire(&entry.log_id)), payload: Some(payload) }
}

fn entry_from_wire(entry: wire::LogEntry) -> Result<Entry, Error> {
    use wire::log_entry::Payload;
    const WHAT: &str = "entry";
    let at = position_from_wire(entry.position.ok_or_else(|| malformed(WHAT, "no position"))?)?;
    let payload = match entry.payload.ok_or_else(|| malformed(WHAT, "no payload"))? {
        Payload::Entry(bytes) => EntryPayload::Normal(Data(bytes)),
        Payload::Membership(membership) => {
            EntryPayload::Membership(membership_from_wire(Some(membership))?)
        }
        Payload::Blank(_) => EntryPayload::Blank,
    };
    Ok(Entry { log_id: at, payload })
}
