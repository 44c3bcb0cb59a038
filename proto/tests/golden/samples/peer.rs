//! Messages between nodes, of which two versions run side by side.

use bytes::Bytes;
use proto::peer;

use super::{Sample, sample};

pub(super) fn samples() -> Vec<Sample> {
    use prost::Message as _;
    let position = |index| peer::Position { term: 3, node: 2, index };
    let membership = peer::Membership {
        voters: vec![peer::VoterSet { nodes: vec![1, 2, 3] }],
        learners: vec![4],
    };
    let vote = peer::Vote { term: 3, node: 2, committed: true };
    let entry = |payload| peer::LogEntry { position: Some(position(999)), payload: Some(payload) };
    let append = peer::RaftRequest {
        group: 7,
        request: Some(peer::raft_request::Request::Append(peer::AppendEntries {
            vote: Some(vote),
            previous: Some(position(998)),
            entries: vec![
                entry(peer::log_entry::Payload::Entry(Bytes::from_static(&[1, 2]))),
                entry(peer::log_entry::Payload::Membership(membership.clone())),
                entry(peer::log_entry::Payload::Blank(peer::Empty {})),
            ],
            commit: Some(position(997)),
        })),
    };
    let header = peer::SnapshotHeader {
        group: 7,
        vote: Some(vote),
        last: Some(position(999)),
        membership_position: Some(position(1)),
        membership: Some(membership),
    };
    let rows = peer::SnapshotRows {
        rows: vec![peer::SnapshotRow { key: vec![1].into(), value: vec![2].into() }],
    };
    let propose = peer::ForwardRequest {
        request: Some(peer::forward_request::Request::Propose(peer::Propose {
            group: 7,
            command: Bytes::from_static(&[9]),
        })),
    };
    let failure = peer::ForwardResponse {
        response: Some(peer::forward_response::Response::Failure(peer::ForwardFailure {
            code: "not_leader".into(),
            leader: 3,
            retry_after_ms: 20,
        })),
    };
    let id = Bytes::from_static(b"0123456789abcdef");
    let file = peer::AssetHeader { asset: id.clone(), size: 300, sha256: vec![3; 32].into() };
    let read = peer::AssetRead { asset: id, offset: 65_536, length: 1 << 20 };
    let read =
        peer::ForwardRequest { request: Some(peer::forward_request::Request::AssetRead(read)) };
    let append_piece = peer::UploadCall {
        upload: Bytes::from_static(b"0123456789abcdef"),
        user: "alice".into(),
        step: Some(peer::upload_call::Step::Append(peer::UploadPiece {
            offset: 300,
            bytes: Bytes::from_static(&[1, 2]),
        })),
    };
    let append_piece = peer::ForwardRequest {
        request: Some(peer::forward_request::Request::Upload(append_piece)),
    };
    let state = peer::UploadState {
        offset: 302,
        size: 400,
        problem: "unavailable".into(),
        detail: "why".into(),
        expected: Some(1),
        retry_after_ms: Some(50),
        expires_at_ms: None,
    };
    let going_on = peer::UploadState {
        offset: 302,
        size: 400,
        expires_at_ms: Some(1_700_000_000_000),
        ..peer::UploadState::default()
    };
    let going_on = peer::ForwardResponse {
        response: Some(peer::forward_response::Response::Upload(going_on)),
    };
    let state =
        peer::ForwardResponse { response: Some(peer::forward_response::Response::Upload(state)) };
    let queries = peer::PresenceQueries { users: vec!["alice".into(), "bob".into()] };
    let queries =
        peer::ForwardRequest { request: Some(peer::forward_request::Request::Presences(queries)) };
    let answers = peer::PresenceAnswers { online: vec![true, false] };
    let answers = peer::ForwardResponse {
        response: Some(peer::forward_response::Response::Presences(answers)),
    };
    let query = peer::DigestQuery { scheme: 1, group: 2, index: 70_000, number: 9, parts: true };
    let query =
        peer::ForwardRequest { request: Some(peer::forward_request::Request::Digest(query)) };
    let digest = peer::DigestAnswer {
        digest: Bytes::from_static(&[7; 32]),
        unsaid: String::new(),
        parts: vec![peer::DigestPart { part: 65_535, digest: 3 }],
    };
    let digest = peer::forward_response::Response::Digest(digest);
    let digest = peer::ForwardResponse { response: Some(digest) };
    let compared = peer::Compared {
        group: 2,
        index: 70_000,
        said: vec![peer::DigestSaid { node: 3, digest: Bytes::from_static(&[8; 32]) }],
        differing: vec![3],
        parts: vec![77, 65_535],
    };
    let compared =
        peer::ForwardRequest { request: Some(peer::forward_request::Request::Compared(compared)) };
    let piece = peer::forward_response::Response::AssetPiece(Bytes::from_static(&[1, 2, 3]));
    let piece = peer::ForwardResponse { response: Some(piece) };
    vec![
        sample("append", append.clone(), append.encode_to_vec(), |b| peer::RaftRequest::decode(b)),
        sample("vote", vote, vote.encode_to_vec(), |b| peer::Vote::decode(b)),
        sample("snapshot_header", header.clone(), header.encode_to_vec(), |b| {
            peer::SnapshotHeader::decode(b)
        }),
        sample("snapshot_rows", rows.clone(), rows.encode_to_vec(), |b| {
            peer::SnapshotRows::decode(b)
        }),
        sample("propose", propose.clone(), propose.encode_to_vec(), |b| {
            peer::ForwardRequest::decode(b)
        }),
        sample("asset_header", file.clone(), file.encode_to_vec(), |b| {
            peer::AssetHeader::decode(b)
        }),
        sample("asset_read", read.clone(), read.encode_to_vec(), |b| {
            peer::ForwardRequest::decode(b)
        }),
        sample("upload_append", append_piece.clone(), append_piece.encode_to_vec(), |b| {
            peer::ForwardRequest::decode(b)
        }),
        sample("upload_state", state.clone(), state.encode_to_vec(), |b| {
            peer::ForwardResponse::decode(b)
        }),
        sample("upload_state_going_on", going_on.clone(), going_on.encode_to_vec(), |b| {
            peer::ForwardResponse::decode(b)
        }),
        sample("presence_queries", queries.clone(), queries.encode_to_vec(), |b| {
            peer::ForwardRequest::decode(b)
        }),
        sample("presence_answers", answers.clone(), answers.encode_to_vec(), |b| {
            peer::ForwardResponse::decode(b)
        }),
        sample("asset_piece", piece.clone(), piece.encode_to_vec(), |b| {
            peer::ForwardResponse::decode(b)
        }),
        sample("digest_query", query.clone(), query.encode_to_vec(), |b| {
            peer::ForwardRequest::decode(b)
        }),
        sample("digest_answer", digest.clone(), digest.encode_to_vec(), |b| {
            peer::ForwardResponse::decode(b)
        }),
        sample("compared", compared.clone(), compared.encode_to_vec(), |b| {
            peer::ForwardRequest::decode(b)
        }),
        sample("forward_failure", failure.clone(), failure.encode_to_vec(), |b| {
            peer::ForwardResponse::decode(b)
        }),
    ]
}
