//! Claims about the encodings: what is written is read back, bytes once written stay readable, and no
//! bytes at all make the decoders panic.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn log_ids() -> impl Strategy<Value = LogId> {
    (0..1000u64, 0..5u64, 0..1_000_000u64)
        .prop_map(|(term, node, index)| log_id(Position { term, node, index }))
}

fn memberships() -> impl Strategy<Value = Membership> {
    let sets = prop::collection::vec(prop::collection::btree_set(1..9u64, 1..5), 1..=2);
    (sets, prop::collection::btree_set(10..15u64, 0..3)).prop_map(|(sets, learners)| {
        let all = sets.iter().flatten().chain(&learners).map(|node| (*node, EmptyNode {}));
        let nodes: BTreeMap<u64, EmptyNode> = all.collect();
        Membership::new(sets, nodes).expect("no set is empty")
    })
}

fn payloads() -> impl Strategy<Value = EntryPayload> {
    prop_oneof![
        Just(EntryPayload::Blank),
        prop::collection::vec(any::<u8>(), 0..200)
            .prop_map(|bytes| EntryPayload::Normal(Data(bytes.into()))),
        memberships().prop_map(EntryPayload::Membership),
    ]
}

fn appends() -> impl Strategy<Value = AppendRequest> {
    let entries = prop::collection::vec((payloads(), any::<bool>()), 0..8);
    (prop::option::of(log_ids()), entries).prop_map(|(previous, payloads)| {
        let mut at = previous;
        let entries = payloads.into_iter().map(|(payload, new_leader)| {
            let before = at.unwrap_or_else(|| log_id(Position { term: 0, node: 0, index: 0 }));
            let index = at.map_or(0, |id| id.index + 1);
            let term = before.leader_id.term + u64::from(new_leader);
            let node = before.leader_id.node_id;
            let id = log_id(Position { term, node, index });
            at = Some(id);
            Entry { log_id: id, payload }
        });
        let entries = entries.collect();
        let leader_id = leader_id(2000, 3);
        let vote = Vote { leader_id, committed: true };
        AppendRequest { vote, prev_log_id: previous, entries, leader_commit: previous }
    })
}

fn same_append(left: &AppendRequest, right: &AppendRequest) -> bool {
    left.vote == right.vote
        && left.prev_log_id == right.prev_log_id
        && left.entries == right.entries
        && left.leader_commit == right.leader_commit
}

proptest! {
    #[test]
    fn appends_round_trip(append in appends()) {
        let bytes = encode_call(GroupId(7), Call::Append(append.clone()));
        let (group, call) = decode_call(bytes).expect("our own");
        prop_assert_eq!(group, GroupId(7));
        let Call::Append(decoded) = call else { panic!("not an append") };
        prop_assert!(same_append(&append, &decoded));
    }

    #[test]
    fn records_round_trip(id in log_ids(), payload in payloads()) {
        let entry = Entry { log_id: id, payload };
        let decoded = decode_record(encode_record(entry.clone())).expect("our own");
        prop_assert_eq!(entry, decoded);
    }

    #[test]
    fn vote_requests_round_trip(
        term in 0..1000u64, node in 0..9u64, last in prop::option::of(log_ids()), mark: bool,
    ) {
        let vote = Vote { leader_id: leader_id(term, node), committed: false };
        let mut request = VoteRequest::new(vote, last);
        request.leadership_transfer = mark;
        let bytes = encode_call(GroupId(1), Call::Vote(request.clone()));
        let (_, Call::Vote(decoded)) = decode_call(bytes).expect("our own") else {
            panic!("not a vote request")
        };
        prop_assert_eq!(&request, &decoded);
        let bytes = encode_call(GroupId(1), Call::PreVote(request.clone()));
        prop_assert!(matches!(decode_call(bytes), Ok((_, Call::PreVote(d))) if d == request));
        let transfer = TransferRequest::new(vote, node, last);
        let bytes = encode_call(GroupId(1), Call::Transfer(transfer.clone()));
        prop_assert!(matches!(decode_call(bytes), Ok((_, Call::Transfer(d))) if d == transfer));
    }

    #[test]
    fn answers_round_trip(id in log_ids(), granted: bool) {
        let vote = Vote { leader_id: id.leader_id, committed: granted };
        let answers = [
            AppendResponse::Success,
            AppendResponse::PartialSuccess(Some(id)),
            AppendResponse::PartialSuccess(None),
            AppendResponse::Conflict,
            AppendResponse::HigherVote(vote),
        ];
        for answer in answers {
            let bytes = encode_answer(&Answer::Append(answer.clone()));
            let decoded = decode_answer(bytes).expect("our own");
            prop_assert!(matches!(decoded, Answer::Append(decoded) if decoded == answer));
        }
        let answer = VoteResponse::new(vote, Some(id), granted);
        let decoded = decode_answer(encode_answer(&Answer::Vote(answer.clone()))).expect("our own");
        prop_assert!(matches!(decoded, Answer::Vote(decoded) if decoded == answer));
        let at = position(&id);
        let decoded = decode_answer(encode_answer(&Answer::ReadIndex(at))).expect("our own");
        prop_assert!(matches!(decoded, Answer::ReadIndex(decoded) if decoded == at));
        prop_assert_eq!(decode_vote(encode_vote(&vote)).expect("our own"), vote);
        prop_assert_eq!(decode_position(encode_position(&id)).expect("our own"), id);
    }

    #[test]
    fn applied_memberships_round_trip(id in log_ids(), membership in memberships()) {
        let stored = StoredMembership::new(Some(id), membership);
        let decoded = decode_membership(encode_membership(&stored)).expect("our own");
        prop_assert_eq!(stored, decoded);
    }

    #[test]
    fn snapshot_heads_round_trip(id in log_ids(), membership in memberships()) {
        let vote = Vote { leader_id: id.leader_id, committed: true };
        let membership = StoredMembership::new(Some(id), membership);
        let head = SnapshotHead { group: GroupId(3), vote, last: id, membership };
        prop_assert_eq!(decode_head(encode_head(&head)).expect("our own"), head);
    }

    #[test]
    fn chunks_round_trip_and_a_flipped_bit_is_found(
        rows in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..20), bit: usize,
    ) {
        let rows: Vec<(Bytes, Bytes)> =
            rows.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let bytes = encode_rows(rows.clone());
        prop_assert_eq!(decode_chunk(bytes.clone()).expect("our own"), Chunk::Rows(rows));
        let mut flipped = bytes.to_vec();
        let bit = bit % (flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode_chunk(flipped.into()).is_err());
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes: Vec<u8>, kind: u8, index: u64) {
        let bytes = Bytes::from(bytes);
        // Whether these are errors is another question; they must return.
        let _ = decode_call(bytes.clone());
        let _ = decode_answer(bytes.clone());
        let _ = decode_head(bytes.clone());
        let _ = decode_vote(bytes.clone());
        let _ = decode_position(bytes.clone());
        let _ = decode_membership(bytes.clone());
        let _ = decode_chunk(bytes.clone());
        let record = store::LogRecord { index, term: index, node: 1, kind, payload: bytes };
        let _ = decode_record(record);
    }

    #[test]
    fn a_damaged_call_is_an_error_or_another_sound_call(append in appends(), at: usize, byte: u8) {
        let mut bytes = encode_call(GroupId(7), Call::Append(append)).to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok((_, Call::Append(append))) = decode_call(bytes.into()) {
            let mut before = append.prev_log_id;
            for entry in &append.entries {
                assert_eq!(entry.log_id.index, before.map_or(0, |id| id.index + 1));
                assert!(before.is_none_or(|id| id.leader_id <= entry.log_id.leader_id));
                before = Some(entry.log_id);
            }
        }
    }
}

#[test]
fn an_end_counts_its_rows() {
    assert_eq!(decode_chunk(encode_end(42)).expect("our own"), Chunk::End(42));
}

#[test]
fn entries_with_a_hole_are_refused() {
    let leader = leader_id(1, 1);
    let entry = |index| Entry {
        log_id: log_id(Position { term: 1, node: 1, index }),
        payload: EntryPayload::Blank,
    };
    let append = AppendRequest {
        vote: Vote { leader_id: leader, committed: true },
        prev_log_id: None,
        entries: vec![entry(0), entry(2)],
        leader_commit: None,
    };
    let decoded = decode_call(encode_call(GroupId(1), Call::Append(append)));
    assert!(matches!(decoded, Err(Error::Malformed { .. })));
}

#[test]
fn a_snapshot_beyond_its_leader_is_refused() {
    let last = log_id(Position { term: 5, node: 1, index: 9 });
    let nodes = BTreeSet::from([1u64]);
    let membership = Membership::new(vec![nodes.clone()], nodes).expect("one voter");
    let membership = StoredMembership::new(Some(last), membership);
    let vote = Vote { leader_id: leader_id(4, 1), committed: true };
    let head = SnapshotHead { group: GroupId(1), vote, last, membership };
    assert!(matches!(decode_head(encode_head(&head)), Err(Error::Malformed { .. })));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is on disks for ever. A difference here means that older data can no longer be read.
#[test]
fn bytes_on_disk_are_what_they_always_were() {
    let id = log_id(Position { term: 3, node: 2, index: 300 });
    let voters = BTreeSet::from([1u64, 2, 3]);
    let membership = Membership::new(vec![voters.clone()], voters).expect("three voters");
    let stored = StoredMembership::new(Some(id), membership.clone());
    let vote = Vote { leader_id: id.leader_id, committed: true };
    assert_eq!(hex(&encode_vote(&vote)), "080310021801");
    assert_eq!(hex(&encode_position(&id)), "0803100218ac02");
    assert_eq!(hex(&encode_membership(&stored)), "0a070803100218ac021a070a050a03010203");
    let record = |payload| encode_record(Entry { log_id: id, payload });
    let blank = record(EntryPayload::Blank);
    assert_eq!((blank.kind, hex(&blank.payload)), (0, String::new()));
    let entry = record(EntryPayload::Normal(Data("abc".into())));
    assert_eq!((entry.kind, hex(&entry.payload)), (1, "616263".into()));
    let membership = record(EntryPayload::Membership(membership));
    assert_eq!((membership.kind, hex(&membership.payload)), (2, "0a050a03010203".into()));
    assert_eq!((membership.term, membership.node, membership.index), (3, 2, 300));
}
