//! What nodes send each other.

use bytes::Bytes;
use prost::Message;
use proto::peer;

/// What was read is written and read again as the same.
fn twice<M: Message + Default + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(message) = M::decode(data) else { return };
    let again = M::decode(message.encode_to_vec().as_slice()).expect("written by us");
    assert_eq!(message, again, "a message is what it was");
}

/// The first byte says which message follows.
pub(super) fn peer_message(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    match which % 8 {
        0 => twice::<peer::Batch>(data),
        1 => twice::<peer::Chunk>(data),
        2 => twice::<peer::BulkAnswer>(data),
        3 => twice::<peer::ForwardRequest>(data),
        4 => twice::<peer::ForwardResponse>(data),
        5 => twice::<peer::RaftRequest>(data),
        6 => twice::<peer::RaftResponse>(data),
        _ => twice::<peer::SnapshotHeader>(data),
    }
}

pub(super) fn raft_call(data: &[u8]) {
    raft::doors::call(Bytes::copy_from_slice(data));
}

pub(super) fn raft_answer(data: &[u8]) {
    raft::doors::answer(Bytes::copy_from_slice(data));
}

pub(super) fn snapshot_head(data: &[u8]) {
    raft::doors::snapshot_head(Bytes::copy_from_slice(data));
}

pub(super) fn snapshot_chunk(data: &[u8]) {
    raft::doors::snapshot_chunk(data);
}

pub(super) fn raft_disk(data: &[u8]) {
    raft::doors::disk(data);
}
