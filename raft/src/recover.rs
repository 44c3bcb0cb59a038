//! A group that lost its quorum for good: shows what a survivor's log holds, and makes the survivor its only member. Works on
//! the journal of a node that does not run.
//!
//! The membership is one more entry of the log, of a term above all that this survivor has seen, so it takes effect as any
//! other: nothing that is in the log is lost or reordered, and what nobody had confirmed yet is kept rather than dropped.
//! Nobody here knows what the others had beyond it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

use bytes::Bytes;
use openraft::{EmptyNode, EntryPayload};
use prost::Message as _;
use store::{GroupLog, Journal, LogPosition, StoreError};

use crate::{
    Fatal, GroupId, NodeId, Position, codec,
    types::{Data, Entry, Membership, Vote, leader_id, log_id},
};

/// Read in one go.
const READ_BYTES_MAX: usize = 1 << 20;

/// How far a survivor's log of a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The last entry, or what was purged when there is none.
    pub last: Option<Position>,
    /// The highest term that it has voted in.
    pub term: u64,
}

/// How far each group's log goes in this journal.
///
/// # Errors
/// When what lies there was written by nobody.
pub fn reach(journal: &Journal) -> Result<BTreeMap<GroupId, Reach>, Fatal> {
    let groups = journal.groups().into_iter();
    groups.map(|id| Ok((GroupId(id), reach_of(&journal.group(id))?))).collect()
}

fn reach_of(log: &GroupLog) -> Result<Reach, Fatal> {
    let state = log.state();
    let vote = state.vote.map(codec::decode_vote).transpose();
    let vote = vote.map_err(|error| Fatal::new(error.to_string()))?;
    let last = state.last.or(state.purged);
    let last = last.map(|LogPosition { term, node, index }| Position { term, node, index });
    let term = vote.map_or(0, |vote| vote.leader_id.term);
    Ok(Reach { last, term: term.max(last.map_or(0, |last| last.term)) })
}

/// Makes `survivor` the only member of a group, and has `commands` follow, stamped with `at_ms`. Durable on return. Doing it
/// again does no harm. Blocks.
///
/// # Errors
/// When the group has no log here, or the disk fails.
pub fn recover(
    journal: &Journal,
    group: GroupId,
    survivor: NodeId,
    (at_ms, commands): (u64, Vec<Bytes>),
) -> Result<(), Fatal> {
    let log = journal.group(group.0);
    let Reach { last, term } = reach_of(&log)?;
    let last = last.ok_or_else(|| Fatal::new(format!("group {group} has no log here")))?;
    let (term, node) = (term + 1, survivor.0);
    let vote = Vote { leader_id: leader_id(term, node), committed: false };
    wait(|done| log.save_vote(codec::encode_vote(&vote), done))?;
    let voters = BTreeSet::from([node]);
    let nodes: BTreeMap<u64, EmptyNode> = [(node, EmptyNode {})].into();
    let membership = Membership::new(vec![voters], nodes);
    let membership = membership.map_err(|error| Fatal::new(error.to_string()))?;
    let at = |index| log_id(Position { term, node, index });
    let payload = EntryPayload::Membership(membership);
    let mut entries = vec![Entry { log_id: at(last.index + 1), payload }];
    if !commands.is_empty() {
        let said = proto::log::Entry { at_ms, commands };
        let payload = EntryPayload::Normal(Data(said.encode_to_vec().into()));
        entries.push(Entry { log_id: at(last.index + 2), payload });
    }
    let records = entries.into_iter().map(codec::encode_record).collect();
    wait(|done| log.append(records, done))
}

/// What the entries from `from` on say, in order: the stamped commands that a machine would be given.
///
/// # Errors
/// When an entry is missing, or was written by nobody.
pub fn said_from(journal: &Journal, group: GroupId, from: u64) -> Result<Vec<Bytes>, Fatal> {
    let log = journal.group(group.0);
    let end = log.state().last.map_or(0, |last| last.index + 1);
    let (mut next, mut said) = (from.max(log.state().first), Vec::new());
    while next < end {
        let records = log.read(next, end, READ_BYTES_MAX)?;
        if records.is_empty() {
            return Err(Fatal::new(format!("group {group}: entry {next} is missing")));
        }
        for record in records {
            next = record.index + 1;
            let entry = codec::decode_record(record);
            let entry = entry.map_err(|error| Fatal::new(error.to_string()))?;
            if let EntryPayload::Normal(Data(bytes)) = entry.payload {
                said.push(bytes);
            }
        }
    }
    Ok(said)
}

fn wait(begin: impl FnOnce(store::Done)) -> Result<(), Fatal> {
    let (done, durable) = mpsc::channel();
    // Nobody waits any more only when this process ends.
    begin(Box::new(move |result| drop(done.send(result))));
    Ok(durable.recv().unwrap_or(Err(StoreError::Closed))?)
}
