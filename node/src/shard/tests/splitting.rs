//! A shard that is split: what each half has, what is answered, and what a crash or a snapshot leaves.

use std::ops::Range;

use proto::keys::{self, Key};
use raft::{AppliedState, Rows};

use super::*;

const NEW: GroupId = GroupId(9);

/// A replica of both halves on one node: its rows, and who owns what there.
struct Replica {
    tables: Arc<dyn Tables>,
    owners: Owners,
    old: ShardMachine,
}

fn open(
    group: GroupId,
    at_first: Range<u16>,
    tables: &Arc<dyn Tables>,
    owners: &Owners,
) -> Result<ShardMachine, Fatal> {
    let outbox = Outbox::new(group, Arc::clone(tables), Router::new(Arc::new(Nowhere)));
    let told = Arc::new(Told::default());
    ShardMachine::open(group, at_first, Arc::clone(tables), told, outbox.wake(), owners.clone())
}

fn membership() -> Bytes {
    raft::founding_state(&[1, 2, 3].map(raft::NodeId).into(), 0).expect("three").membership
}

fn step(machine: &mut ShardMachine, commands: &[Command]) -> Vec<Answer> {
    let index = machine.applied().expect("read").position.map_or(0, |at| at.index + 1);
    let entry = CommittedEntry {
        applied_membership: membership(),
        ..committed(index, entry(1000 + index, commands))
    };
    let answers = machine.apply(vec![entry]).expect("the disk is sound");
    answers[0].iter().map(|bytes| proto::decode_answer(bytes).expect("encoded")).collect()
}

impl Replica {
    fn new() -> Self {
        let tables: Arc<dyn Tables> = Arc::new(MemoryTables::new());
        let owners = Owners::default();
        let old = open(GROUP, 0..chat::SLOTS, &tables, &owners).expect("sound");
        Self { tables, owners, old }
    }

    fn old(&mut self, commands: &[Command]) -> Vec<Answer> {
        step(&mut self.old, commands)
    }

    /// The process ends and begins anew.
    fn reopen(self) -> Self {
        let (tables, owners) = (self.tables, Owners::default());
        let old = open(GROUP, 0..chat::SLOTS, &tables, &owners).expect("sound");
        Self { tables, owners, old }
    }

    /// The new half, as it is started where it may be.
    fn new_half(&self, slots: &Range<u16>) -> Result<ShardMachine, Fatal> {
        open(NEW, slots.clone(), &self.tables, &self.owners)
    }
}

/// The slots from a conversation's on; hence those of everything that is not below.
fn from(id: ConversationId) -> Range<u16> {
    id.slot()..chat::SLOTS
}

fn split(slots: &Range<u16>) -> Command {
    Command::Split { to: NEW, slots: slots.clone() }
}

fn all(mut rows: Box<dyn Rows>) -> Vec<Row> {
    let mut all = Vec::new();
    while let Some(some) = rows.next_chunk(1).expect("readable") {
        all.extend(some);
    }
    all
}

/// A conversation of the upper half and one of the lower, if cut between them.
fn cut() -> (&'static str, &'static str, Range<u16>) {
    let (one, other) = (direct("alice", "bob"), direct("alice", "carol"));
    match one.slot() > other.slot() {
        true => ("bob", "carol", from(one)),
        false => ("carol", "bob", from(other)),
    }
}

fn accepted(answer: &Answer) -> chat::Place {
    match answer {
        Answer::Outcome(Outcome::Accepted(place)) => *place,
        other => panic!("accepted, not {other:?}"),
    }
}

#[test]
fn each_half_goes_on_where_the_whole_was_and_answers_moved_for_the_other() {
    let mut replica = Replica::new();
    let (goes, stays, slots) = cut();
    let before = [say("alice", goes, 1, "m1", Some(1)), say("alice", stays, 1, "m1", Some(1))];
    replica.old(&before);
    // In the middle of an entry: what comes before it is the whole's, what comes after is not.
    let answers = replica.old(&[
        say("alice", goes, 1, "m2", Some(2)),
        split(&slots),
        say("alice", goes, 1, "m3", Some(3)),
        say("alice", stays, 1, "m2", Some(2)),
    ]);
    assert_eq!(accepted(&answers[0]).seq, Seq(2));
    assert_eq!(answers[2], Answer::Moved);
    assert_eq!(accepted(&answers[3]).seq, Seq(2));

    let mut new = replica.new_half(&slots).expect("nobody else holds them");
    let begins = new.applied().expect("read");
    let at = replica.old.applied().expect("read").position.expect("somewhere").index;
    assert_eq!(begins.position, Some(Position { term: 0, node: 0, index: at }));
    assert_eq!(begins, raft::split_state(&membership(), at).expect("members"));
    let answers = step(
        &mut new,
        &[
            say("alice", goes, 1, "m2", Some(2)),
            say("alice", goes, 1, "m3", Some(3)),
            say("alice", stays, 1, "m3", Some(3)),
        ],
    );
    assert!(matches!(answers[0], Answer::Outcome(Outcome::Duplicate(_))), "{answers:?}");
    assert_eq!(accepted(&answers[1]).seq, Seq(3), "the count goes on");
    assert_eq!(answers[2], Answer::Moved);

    // The same wish again, as another leader would have it.
    let rows = rows(&*replica.tables);
    replica.old(&[split(&slots)]);
    let again = super::rows(&*replica.tables);
    let changed = rows.iter().zip(&again).filter(|(one, other)| one != other).count();
    assert_eq!((changed, rows.len()), (1, again.len()), "only how far the old half is");
}

#[test]
fn what_was_owed_for_a_half_is_owed_by_it_in_the_same_order() {
    let mut replica = Replica::new();
    let (goes, stays, slots) = cut();
    replica.old(&[say("alice", goes, 1, "m1", None)]);
    // Of the same entry as the split, and of others: all of it.
    replica.old(&[say("alice", stays, 1, "m1", None), split(&slots)]);
    let owed = |group: GroupId| -> Vec<(u64, chat::Owed)> {
        let range = keys::outbox_range(group);
        let range = KeyRange::new(range.start, range.end);
        let rows = replica.tables.scan(range, Direction::Ascending, 99).expect("sound");
        let item = |(key, value): &Row| {
            let (_, number) = keys::decode_outbox(key).expect("an item");
            (number, proto::row::decode_owed(value).expect("encoded"))
        };
        rows.iter().map(item).collect()
    };
    let about = |owed: &[(u64, chat::Owed)]| -> Vec<(u64, bool)> {
        let is_new = |owed: &chat::Owed| match owed {
            chat::Owed::Link { conversation, .. } | chat::Owed::Unlink { conversation, .. } => {
                slots.contains(&conversation.slot())
            }
        };
        owed.iter().map(|(number, owed)| (*number, is_new(owed))).collect()
    };
    assert_eq!(about(&owed(NEW)), [(1, true), (2, true)]);
    assert_eq!(about(&owed(GROUP)), [(3, false), (4, false)], "numbers are never used again");
    let mut new = replica.new_half(&slots).expect("free");
    step(&mut new, &[Command::OutboxDone(1)]);
    assert_eq!(about(&owed(NEW)), [(2, true)]);
    assert_eq!(owed(GROUP).len(), 2, "each half does its own");
}

#[tokio::test]
async fn an_outbox_that_was_handed_over_whole_comes_to_rest() {
    let route = Arc::new(Nowhere);
    let tables: Arc<dyn Tables> = Arc::new(MemoryTables::new());
    let outbox = Outbox::new(GROUP, Arc::clone(&tables), Router::new(route));
    let told = Arc::new(Told::default());
    let owners = Owners::default();
    let mut machine =
        ShardMachine::open(GROUP, 0..chat::SLOTS, tables, told, outbox.wake(), owners)
            .expect("sound");
    let (goes, _, slots) = cut();
    step(&mut machine, &[say("alice", goes, 1, "m1", None), split(&slots)]);
    machine.leading(true, 1);
    let machine = Mutex::new(machine);
    let (rested, rests) = tokio::sync::oneshot::channel();
    let rested = Mutex::new(Some(rested));
    let done = |command: Bytes| {
        let command = proto::decode_command(&command).expect("encoded");
        step(&mut machine.lock(), std::slice::from_ref(&command));
        if let Some(rested) = rested.lock().take() {
            let _ = rested.send(command);
        }
        std::future::ready(true)
    };
    tokio::select! {
        ended = outbox.drain(done) => panic!("it never ends: {ended:?}"),
        command = tokio::time::timeout(std::time::Duration::from_secs(20), rests) => {
            assert_eq!(command.expect("in time"), Ok(Command::OutboxDone(2)));
        }
    }
}

#[test]
fn a_crash_leaves_both_halves_or_the_whole() {
    let (goes, stays, slots) = cut();
    let mut replica = Replica::new();
    replica.old(&[say("alice", goes, 1, "m1", None), say("alice", stays, 1, "m1", None)]);
    // Before: the whole.
    let mut replica = replica.reopen();
    assert!(replica.new_half(&slots).is_err(), "the whole holds these slots");
    replica.old(&[split(&slots)]);
    // After, and before the new group was started: both, whatever the map says.
    let mut replica = replica.reopen();
    assert_eq!(
        replica.owners.of(slots.start),
        None,
        "the new one did not begin, the map is not known"
    );
    assert!(!replica.owners.holds(GROUP, &slots));
    assert_eq!(replica.old(&[say("alice", goes, 1, "m2", None)]), [Answer::Moved]);
    let mut new = replica.new_half(&slots).expect("free");
    assert_eq!(accepted(&step(&mut new, &[say("alice", goes, 1, "m2", None)])[0]).seq, Seq(2));
    drop(new);
    let replica = replica.reopen();
    let mut new = replica.new_half(&(0..chat::SLOTS)).expect("its row says which are its own");
    assert_eq!(accepted(&step(&mut new, &[say("alice", goes, 1, "m3", None)])[0]).seq, Seq(3));
}

#[test]
fn a_snapshot_has_exactly_the_slots_of_its_moment() {
    let (goes, stays, slots) = cut();
    let mut replica = Replica::new();
    let said = [say("alice", goes, 1, "m1", None), say("alice", stays, 1, "m1", None)];
    replica.old(&said);
    let before = replica.old.view().expect("readable");
    replica.old(&[split(&slots)]);
    let after = replica.old.view().expect("readable");
    let mut new = replica.new_half(&slots).expect("free");
    step(&mut new, &[say("alice", goes, 1, "m2", None)]);
    let of_new = new.view().expect("readable");
    let slots_of = |rows: Vec<Row>| -> (bool, bool) {
        let is_message = |key: &Bytes| match keys::parse(key) {
            Ok(Key::Message(id, _)) => Some(slots.contains(&id.slot())),
            _ => None,
        };
        let found: Vec<bool> = rows.iter().filter_map(|(key, _)| is_message(key)).collect();
        (found.contains(&true), found.contains(&false))
    };
    assert_eq!(slots_of(all(before)), (true, true));
    assert_eq!(slots_of(all(after)), (false, true));
    assert_eq!(slots_of(all(of_new)), (true, false));
}

fn install(machine: &mut ShardMachine, from: &ShardMachine) {
    machine.begin_install().expect("sound");
    machine.stage(all(from.view().expect("readable"))).expect("its own rows");
    machine.install(from.applied().expect("read")).expect("sound");
}

fn shown(tables: &Arc<dyn Tables>, id: ConversationId) -> Vec<String> {
    let reader = Reader::new(Arc::clone(tables));
    let messages = reader.messages(id, Seq(0), None, 99, false).expect("sound");
    messages.into_iter().map(|message| message.message_id.as_str().to_owned()).collect()
}

#[test]
fn a_replica_that_gets_the_old_half_by_snapshot_gets_the_new_one_likewise() {
    let (goes, stays, slots) = cut();
    let mut ahead = Replica::new();
    let mut late = Replica::new();
    let said = [say("alice", goes, 1, "m1", None), say("alice", stays, 1, "m1", None)];
    ahead.old(&said);
    late.old(&said);
    ahead.old(&[split(&slots)]);
    let mut new = ahead.new_half(&slots).expect("free");
    step(&mut new, &[say("alice", goes, 1, "m2", None)]);
    ahead.old(&[say("alice", stays, 1, "m2", None)]);

    assert!(late.new_half(&slots).is_err(), "it still holds them: two would write one row");
    install(&mut late.old, &ahead.old);
    assert_eq!(shown(&late.tables, direct("alice", stays)), ["m1", "m2"]);
    assert_eq!(shown(&late.tables, direct("alice", goes)), ["m1"], "an older prefix, until then");
    let mut late = late.reopen();
    assert_eq!(late.old(&[say("alice", goes, 1, "m9", None)]), [Answer::Moved]);
    let mut late_new = late.new_half(&slots).expect("free");
    assert_eq!(late_new.applied().expect("read"), AppliedState::default(), "it has nothing");
    install(&mut late_new, &new);
    assert_eq!(shown(&late.tables, direct("alice", goes)), ["m1", "m2"]);
    let next = say("alice", goes, 1, "m3", None);
    let both =
        [&mut new, &mut late_new].map(|new| accepted(&step(new, std::slice::from_ref(&next))[0]));
    assert_eq!(both[0], both[1]);
}

#[test]
fn an_installation_that_a_crash_cut_short_ends_with_the_slots_of_the_snapshot() {
    let (goes, stays, slots) = cut();
    let (mut ahead, mut late) = (Replica::new(), Replica::new());
    let said = [say("alice", goes, 1, "m1", None), say("alice", stays, 1, "m1", None)];
    ahead.old(&said);
    late.old(&said);
    ahead.old(&[split(&slots)]);
    late.old.begin_install().expect("sound");
    late.old.stage(all(ahead.old.view().expect("readable"))).expect("its own rows");
    // The marker alone was written: what a commit does first.
    let row = ahead.tables.get(&keys::applied(GROUP)).expect("sound").expect("there");
    let mut batch = store::tables::Batch::new();
    batch.put(keys::installing(GROUP), row);
    late.tables.write(batch).expect("sound");
    let mut late = late.reopen();
    assert_eq!(late.old.applied().expect("read"), ahead.old.applied().expect("read"));
    assert_eq!(late.old(&[say("alice", goes, 1, "m2", None)]), [Answer::Moved]);
    assert_eq!(shown(&late.tables, direct("alice", goes)), ["m1"], "another's to replace");
}

#[test]
fn the_same_entries_leave_the_same_halves_however_they_are_cut() {
    let (goes, stays, slots) = cut();
    let entries: Vec<Vec<Command>> = vec![
        vec![say("alice", goes, 1, "m1", None), create("team", "alice", &["bob"])],
        vec![say("alice", stays, 1, "m1", None), split(&slots), add("alice", "dave")],
        vec![say("alice", goes, 1, "m2", None), say("alice", stays, 1, "m2", None)],
    ];
    let leave = |batches: &[usize]| -> Vec<Row> {
        let mut replica = Replica::new();
        let committed = entries.iter().zip(0..).map(|(commands, index)| CommittedEntry {
            applied_membership: membership(),
            ..committed(index, entry(1000, commands))
        });
        let mut left = committed.collect::<Vec<_>>();
        for many in batches {
            let rest = left.split_off(*many);
            replica.old.apply(std::mem::replace(&mut left, rest)).expect("sound");
        }
        rows(&*replica.tables)
    };
    let whole = leave(&[3]);
    for batches in [&[1, 1, 1][..], &[2, 1], &[1, 2]] {
        assert_eq!(leave(batches), whole, "{batches:?}");
    }
}
