//! What a message costs in rows read and written, and that nothing is told before it can be read.

use std::sync::atomic::{AtomicUsize, Ordering};

use store::StoreError;
use store::tables::{Batch, RowView};

use super::*;

/// Tables that count.
#[derive(Default)]
struct Counting {
    inner: MemoryTables,
    gets: AtomicUsize,
    scans: AtomicUsize,
    written: Mutex<Vec<Bytes>>,
}

impl Counting {
    /// Single rows read, ranges read, rows written since the last call.
    fn take(&self) -> (usize, usize, Vec<Bytes>) {
        let gets = self.gets.swap(0, Ordering::Relaxed);
        let scans = self.scans.swap(0, Ordering::Relaxed);
        (gets, scans, std::mem::take(&mut *self.written.lock()))
    }
}

impl Tables for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key)
    }
    fn scan(
        &self,
        range: KeyRange,
        direction: Direction,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.inner.scan(range, direction, rows_max)
    }
    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.written.lock().extend(batch.changes().iter().map(|change| change.key.clone()));
        self.inner.write(batch)
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }
    fn view(&self, range: KeyRange) -> Result<Box<dyn RowView>, StoreError> {
        self.inner.view(range)
    }
}

#[test]
fn a_batch_writes_each_row_once() {
    let tables = Arc::new(Counting::default());
    let mut shard = Shard::open(tables.clone());
    let sends: Vec<_> = (0..50).map(|n| say("alice", "bob", 1, &format!("m{n}"), None)).collect();
    shard.run(&sends);
    let (_, _, mut written) = tables.take();
    // A message and its place for each; head, two members, producer, two links owed, applied state.
    assert_eq!(written.len(), 2 * 50 + 7);
    written.sort();
    written.dedup();
    assert_eq!(written.len(), 2 * 50 + 7);
}

#[test]
fn a_message_in_a_known_conversation_reads_one_row_and_writes_five() {
    let tables = Arc::new(Counting::default());
    let mut shard = Shard::open(tables.clone());
    shard.run(&[create("team", "alice", &["bob", "carol", "dave"])]);
    let say = |device, id| {
        let command = chat::Command::Send(message("alice", device, id, None));
        Command::Conversation { id: team(), command }
    };
    tables.take();
    shard.run(&[say(1, "m1")]);
    let (gets, scans, written) = tables.take();
    assert_eq!((gets, scans, written.len()), (0, 0, 5), "a device's first message is new for sure");
    shard.run(&[say(1, "m2")]);
    let (gets, scans, written) = tables.take();
    assert_eq!((gets, scans), (1, 0), "only whether this id was used");
    assert_eq!(written.len(), 5, "message, place, head, producer, applied state");
}

#[test]
fn a_change_costs_the_messages_around_it_nothing() {
    let tables = Arc::new(Counting::default());
    let mut shard = Shard::open(tables.clone());
    let members = ["bob", "carol", "dave"];
    shard.run(&[create("team", "alice", &members), add("alice", "erin")]);
    let in_team = |command| Command::Conversation { id: team(), command };
    let say = |id| in_team(chat::Command::Send(message("alice", 1, id, None)));
    shard.run(&[say("m1")]);
    tables.take();
    let edit = |id: &str, wish| {
        let (by, device, seq) = (user("alice"), DeviceId(1), Seq(1));
        let change_id = MessageId::parse(id).expect("legal");
        in_team(chat::Command::Change(ChangeMessage { by, device, change_id, seq, wish }))
    };
    shard.run(&[edit("c1", Wish::Edit("one".to_owned()))]);
    let (gets, scans, written) = tables.take();
    assert_eq!((gets, scans), (3, 0), "its id, the message, what lies over it");
    assert_eq!(written.len(), 5, "change, place, overlay, head, applied state");
    shard.run(&[say("m2")]);
    let (gets, scans, written) = tables.take();
    assert_eq!((gets, scans, written.len()), (1, 0, 5), "as where nothing was ever changed");
    shard.run(&[edit("c2", Wish::Delete)]);
    let (_, _, written) = tables.take();
    assert_eq!(written.len(), 7, "and the message and its edit without what they said");
}

#[test]
fn what_is_said_edited_and_deleted_in_one_batch_is_gone() {
    let mut shard = Shard::new();
    let wish = |id: &str, wish| Command::Conversation {
        id: direct("alice", "bob"),
        command: chat::Command::Change(ChangeMessage {
            by: user("alice"),
            device: DeviceId(1),
            change_id: MessageId::parse(id).expect("legal"),
            seq: Seq(1),
            wish,
        }),
    };
    let outcomes = shard.run(&[
        say("alice", "bob", 1, "m1", None),
        wish("c1", Wish::Edit("secret".to_owned())),
        wish("c2", Wish::Delete),
        wish("c1", Wish::Edit("secret".to_owned())),
        wish("c3", Wish::Delete),
    ]);
    let kinds: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Accepted(place) => ("accepted", place.change.0),
            Outcome::Duplicate(place) => ("duplicate", place.change.0),
            other => panic!("{other:?}"),
        })
        .collect();
    let wanted =
        [("accepted", 0), ("accepted", 1), ("accepted", 2), ("duplicate", 1), ("duplicate", 2)];
    assert_eq!(kinds, wanted);
    let held = |text: &str| {
        let holds = |row: &Row| row.1.windows(text.len()).any(|part| part == text.as_bytes());
        shard.rows().iter().any(holds)
    };
    assert!(!held("secret") && !held("text of m1"), "no row holds what was said");
}

#[test]
fn what_was_said_and_edited_is_gone_from_every_row_when_it_expires() {
    let id = direct("alice", "bob");
    let by = user("alice");
    let edit = chat::Command::Change(ChangeMessage {
        by: by.clone(),
        device: DeviceId(1),
        change_id: MessageId::parse("c1").expect("legal"),
        seq: Seq(1),
        wish: Wish::Edit("the secret, edited".to_owned()),
    });
    let keep = chat::Command::SetRetention { by, retention: Some(chat::Retention(1)) };
    let of = |command| Command::Conversation { id, command };
    let said = [say("alice", "bob", 1, "m1", None), of(edit), of(keep)];
    let expire = [of(chat::Command::Expire { up_to: Seq(1) })];
    for together in [true, false] {
        let mut shard = Shard::new();
        let entries = [entry(1000, &said), entry(9000, &expire)];
        let outcomes = match together {
            true => shard.apply(&entries).expect("the disk is sound"),
            false => entries
                .iter()
                .flat_map(|one| shard.apply(std::slice::from_ref(one)).expect("sound"))
                .collect(),
        };
        assert!(matches!(outcomes[1][..], [Outcome::Accepted(_)]), "{outcomes:?}");
        let held = |text: &str| {
            let holds = |row: &Row| row.1.windows(text.len()).any(|part| part == text.as_bytes());
            shard.rows().iter().any(holds)
        };
        assert!(!held("secret") && !held("text of m1"), "together: {together}");
        assert!(held("m1"), "that it was there is known for ever");
    }
}

#[test]
fn a_device_that_only_catches_up_tells_nobody() {
    let mut shard = Shard::new();
    shard.run(&[say("alice", "bob", 1, "m1", None)]);
    shard.told.0.lock().clear();
    let has = |device| Command::Conversation {
        id: direct("alice", "bob"),
        command: chat::Command::Confirm {
            user: user("bob"),
            device: DeviceId(device),
            seq: Seq(1),
            read: false,
            hidden: false,
        },
    };
    shard.run(&[has(2)]);
    assert_eq!(shard.told.0.lock().len(), 1, "bob has it now");
    shard.run(&[has(3), has(2)]);
    assert_eq!(shard.told.0.lock().len(), 1, "bob had it already");
}

#[test]
fn what_is_told_can_be_read() {
    struct Reading(Reader, AtomicUsize);
    impl Publish for Reading {
        fn publish(&self, events: Vec<ShardEvent>) {
            for event in events {
                if let ShardEvent::Message { message, audience } = event {
                    let id = message.conversation;
                    let read = self.0.messages(id, Seq(message.seq.0 - 1), None, 1, false);
                    assert_eq!(read.expect("sound"), [chat::Message::clone(&message)]);
                    let members =
                        self.0.conversation(id).expect("sound").expect("it exists").members;
                    assert_eq!(audience.members, members);
                    self.1.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    let tables: Arc<dyn Tables> = Arc::new(MemoryTables::new());
    let reading = Arc::new(Reading(Reader::new(Arc::clone(&tables)), AtomicUsize::new(0)));
    let mut shard = Shard::open(Arc::clone(&tables));
    let publish = Arc::clone(&reading) as Arc<dyn Publish>;
    let wake = shard.outbox.wake();
    shard.machine =
        ShardMachine::open(GROUP, 0..chat::SLOTS, tables, publish, wake, Owners::default())
            .expect("sound");
    for entry in Dice::new(7).entries(300) {
        shard.apply(&[entry]).expect("the disk is sound");
    }
    assert!(reading.1.load(Ordering::Relaxed) > 50);
}
