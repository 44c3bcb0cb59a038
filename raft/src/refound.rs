//! A group that begins with a state instead of an empty log: what founds it is as if a snapshot had been installed and
//! the log before it purged. So whoever joins later gets the state, and not a log that would not lead to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

use bytes::Bytes;
use openraft::EmptyNode;
use store::{Journal, LogPosition};

use crate::{
    AppliedState, Error, Fatal, GroupId, NodeId, Position, codec,
    seat::our_state,
    types::{Membership, StoredMembership, log_id},
};

/// The state that a group of these members begins with when its machine has rows already. `index` is where its log begins,
/// above all that the rows' own group ever had; the term is that of nobody, so that every leader comes after it. The same
/// on every founder.
///
/// # Errors
/// When these members make no group.
pub fn founding_state(members: &BTreeSet<NodeId>, index: u64) -> Result<AppliedState, Error> {
    let voters: BTreeSet<u64> = members.iter().map(|node| node.0).collect();
    let nodes: BTreeMap<u64, EmptyNode> = voters.iter().map(|node| (*node, EmptyNode {})).collect();
    if voters.is_empty() {
        return Err(Error::NotNow("a group needs members".into()));
    }
    let membership = Membership::new(vec![voters], nodes)
        .map_err(|e| Error::NotNow(format!("these members make no group: {e}")))?;
    let at = Position { term: 0, node: 0, index };
    Ok(our_state(at, &StoredMembership::new(Some(log_id(at)), membership)))
}

/// The state that a group begins with when it is split off another at `index` of that one's log: the members in force there,
/// `membership` as [`AppliedState::membership`] has it, and a position that nobody wrote. The same on every replica, because
/// the entry is.
///
/// # Errors
/// When these bytes are no membership.
pub fn split_state(membership: &Bytes, index: u64) -> Result<AppliedState, Error> {
    let members = codec::decode_membership(membership.clone())?;
    let at = Position { term: 0, node: 0, index };
    let members = StoredMembership::new(Some(log_id(at)), members.membership().clone());
    Ok(our_state(at, &members))
}

/// Makes the log of a group that has none begin after `state`, and waits until that is durable. The machine must hold `state`
/// durably before. Blocks.
///
/// # Errors
/// When the group has a log already, or the disk fails.
pub fn found_after(journal: &Journal, group: GroupId, state: &AppliedState) -> Result<(), Fatal> {
    let log = journal.group(group.0);
    if log.state() != store::GroupState::default() {
        return Err(Fatal::new(format!("group {group} has a log already")));
    }
    let at = state.position.ok_or_else(|| Fatal::new("a group begins somewhere"))?;
    let upto = LogPosition { term: at.term, node: at.node, index: at.index };
    let (done, durable) = mpsc::channel();
    log.purge(upto, Box::new(move |result| drop(done.send(result))));
    let result = durable.recv().unwrap_or(Err(store::StoreError::Closed));
    Ok(result?)
}
