//! The same entries leave the same rows, answers and events, however they are cut into batches, whatever is cached, and
//! wherever the machine was closed in between.

use std::collections::BTreeMap;

use chat::{Applied, Conversation, Earlier, EarlierChange, Known, Message, Overlay, Subject};

use super::*;

const ENTRIES: usize = 120;

/// Answers, events and rows after everything was applied.
type Trace = (Vec<Vec<Outcome>>, Vec<String>, Vec<Row>);

/// Cuts the entries into batches of 1 to `longest`; between batches, `between` may do something to the shard.
fn trace(
    entries: &[Bytes],
    dice: &Dice,
    longest: u64,
    mut between: impl FnMut(Shard) -> Shard,
) -> Trace {
    let mut shard = Shard::new();
    let (mut outcomes, mut told) = (Vec::new(), Vec::new());
    let mut rest = entries;
    while !rest.is_empty() {
        let count = (1 + dice.below(longest) as usize).min(rest.len());
        let (batch, after) = rest.split_at(count);
        outcomes.extend(shard.apply(batch).expect("the disk is sound"));
        rest = after;
        told.append(&mut shard.told.0.lock());
        shard = between(shard);
    }
    (outcomes, told, shard.rows())
}

#[test]
fn however_entries_are_cut_into_batches_the_rows_are_the_same() {
    for seed in 0..30 {
        let dice = Dice::new(seed);
        let entries = dice.entries(ENTRIES);
        let one_by_one = trace(&entries, &dice, 1, |shard| shard);
        assert!(one_by_one.2.len() > 30, "seed {seed}: much is written");
        assert_eq!(trace(&entries, &dice, 7, |shard| shard), one_by_one, "seed {seed}: batches");
        let all = trace(&entries, &dice, u64::MAX, |shard| shard);
        assert_eq!(all, one_by_one, "seed {seed}: one batch");
    }
}

#[test]
fn a_restart_equals_a_continuous_run() {
    for seed in 0..30 {
        let dice = Dice::new(seed);
        let entries = dice.entries(ENTRIES);
        let continuous = trace(&entries, &dice, 4, |shard| shard);
        let reopened = trace(&entries, &dice, 4, |shard| match dice.below(3) {
            0 => shard.reopen(),
            _ => shard,
        });
        assert_eq!(reopened, continuous, "seed {seed}");
    }
}

#[test]
fn a_small_cache_decides_like_a_large_one() {
    for seed in 0..30 {
        let dice = Dice::new(seed);
        let entries = dice.entries(ENTRIES);
        let large = trace(&entries, &dice, 6, |shard| shard);
        let small = trace(&entries, &dice, 6, |mut shard| {
            shard.machine.remember_at_most(4);
            shard
        });
        assert_eq!(small, large, "seed {seed}");
    }
}

/// The decisions of `chat` with a memory that forgets nothing and that no row or cache stands in between.
#[test]
fn the_shard_answers_like_the_machine_it_drives() {
    let mut expired = 0;
    for seed in 0..30 {
        let dice = Dice::new(seed);
        let mut shard = Shard::new();
        let mut talks: BTreeMap<ConversationId, Option<Conversation>> = BTreeMap::new();
        let mut memory = Memory::default();
        for at in (0..12_000).step_by(30) {
            let command = dice.command();
            let Command::Conversation { id, command: inner } = &command else { continue };
            let talk = talks.entry(*id).or_default();
            let known = memory.known(*id, inner);
            let expected = chat::apply(talk, *id, Timestamp(at), inner, &known);
            memory.note(*id, inner, &expected);
            let entry = entry(at, std::slice::from_ref(&command));
            let outcomes = shard.apply(&[entry]).expect("the disk is sound");
            assert_eq!(outcomes, [[expected.outcome]], "seed {seed}: {command:?}");
        }
        for (id, talk) in talks {
            assert_eq!(shard.reader().conversation(id).expect("sound"), talk, "seed {seed}");
        }
        let all = |id| shard.reader().messages(id, Seq(0), None, 999, false).expect("sound");
        for (id, up_to) in &memory.expired {
            let old = all(*id).into_iter().filter(|message| message.seq <= *up_to);
            assert!(old.into_iter().all(|message| message.body.text.is_empty()), "seed {seed}");
            let laid = shard.reader().overlays(*id, Seq(1), *up_to).expect("sound");
            assert!(laid.is_empty(), "seed {seed}");
            expired += 1;
        }
        for ((id, seq), overlay) in memory.overlays {
            let read = shard.reader().overlays(id, seq, seq).expect("sound");
            assert_eq!(read.get(&seq), Some(&overlay), "seed {seed}");
        }
    }
    assert!(expired > 10, "only {expired} conversations had something to expire");
}

#[test]
fn a_conversation_that_comes_into_a_list_is_news() {
    let mut shard = Shard::new();
    shard.run(&[register("bob")]);
    let conversation = direct("alice", "bob");
    let to = LinkTo::Peer(user("alice"));
    let command = UserCommand::Link { conversation, to };
    shard.run(&[Command::User { user: user("bob"), command }]);
    assert_eq!(shard.told.1.lock().iter().collect::<Vec<_>>(), [&conversation]);
}

/// Everything that was ever said or changed.
#[derive(Default)]
struct Memory {
    places: BTreeMap<(ConversationId, DeviceId, MessageId), Earlier>,
    wishes: BTreeMap<(ConversationId, DeviceId, MessageId), EarlierChange>,
    messages: BTreeMap<(ConversationId, Seq), Arc<Message>>,
    overlays: BTreeMap<(ConversationId, Seq), Overlay>,
    expired: BTreeMap<ConversationId, Seq>,
}

impl Memory {
    /// Messages that said something, up to here: what expired before says nothing.
    fn expiring(&self, id: ConversationId, up_to: Seq) -> Vec<Subject> {
        let from = self.expired.get(&id).map_or(Seq(1), |expired| expired.next());
        let due = self.messages.range((id, from)..=(id, up_to.max(from)));
        let subject = |((id, seq), message): (&(ConversationId, Seq), &Arc<Message>)| Subject {
            message: Arc::clone(message),
            overlay: self.overlays.get(&(*id, *seq)).cloned().unwrap_or_default(),
        };
        due.map(subject).filter(|one| one.message.seq <= up_to).collect()
    }

    fn known(&self, id: ConversationId, command: &chat::Command) -> Known {
        let mut known = Known::default();
        match command {
            chat::Command::Send(send) => {
                let key = (id, send.device, send.message_id.clone());
                known.earlier = self.places.get(&key).copied();
            }
            chat::Command::Change(wish) => {
                let key = (id, wish.device, wish.change_id.clone());
                known.change = self.wishes.get(&key).copied();
                let overlay = self.overlays.get(&(id, wish.seq)).cloned().unwrap_or_default();
                let message = self.messages.get(&(id, wish.seq)).cloned();
                known.target = message.map(|message| Subject { message, overlay });
            }
            chat::Command::Expire { up_to } => known.expiring = self.expiring(id, *up_to),
            _ => {}
        }
        known
    }

    fn note(&mut self, id: ConversationId, command: &chat::Command, applied: &Applied) {
        if let (Some(message), Some(place)) = (&applied.changed.message, applied.changed.place) {
            let key = (id, message.device, message.message_id.clone());
            self.places.insert(key, place);
            self.messages.insert((id, message.seq), Arc::clone(message));
        }
        if let Some(expired) = &applied.changed.expired {
            self.expired.insert(id, expired.up_to);
            let erased = expired.messages.iter().cloned();
            self.messages.extend(erased.map(|message| ((id, message.seq), message)));
            expired.laid.iter().for_each(|seq| drop(self.overlays.remove(&(id, *seq))));
        }
        let (chat::Command::Change(wish), Some(recorded)) = (command, &applied.changed.change)
        else {
            return;
        };
        let place = recorded.place.expect("a wish has a place");
        self.wishes.insert((id, wish.device, wish.change_id.clone()), place);
        self.overlays.extend(recorded.overlay.clone().map(|overlay| ((id, wish.seq), overlay)));
        self.messages.extend(recorded.erased.clone().map(|message| ((id, wish.seq), message)));
    }
}

#[test]
fn outcomes_are_answered_only_to_who_wants_them() {
    let mut shard = Shard::new();
    let mut unwanted = committed(0, entry(1000, &[say("alice", "bob", 1, "m1", None)]));
    unwanted.wants_outcomes = false;
    let wanted = committed(1, entry(1000, &[say("alice", "bob", 1, "m2", None)]));
    let answers = shard.machine.apply(vec![unwanted, wanted]).expect("the disk is sound");
    assert_eq!((answers[0].len(), answers[1].len()), (0, 1));
}

#[test]
fn entries_that_say_nothing_move_the_applied_state() {
    let mut shard = Shard::new();
    let mut blank = committed(0, Bytes::new());
    blank.payload = Payload::Blank;
    let mut membership = committed(1, Bytes::new());
    membership.payload = Payload::Membership(Bytes::from_static(b"new"));
    membership.applied_membership = Bytes::from_static(b"new");
    shard.machine.apply(vec![blank, membership]).expect("the disk is sound");
    let applied = shard.reopen().machine.applied().expect("it was read");
    assert_eq!(applied.position.map(|at| at.index), Some(1));
    assert_eq!(applied.membership, "new");
}

#[test]
fn a_hole_in_the_log_is_fatal() {
    let mut shard = Shard::new();
    shard.run(&[]);
    assert!(shard.machine.apply(vec![committed(2, entry(1000, &[]))]).is_err());
    assert!(shard.machine.apply(vec![committed(0, entry(1000, &[]))]).is_err(), "nor backwards");
}

#[test]
fn a_committed_command_that_cannot_be_understood_is_fatal() {
    for bytes in [&b"\xff\xff"[..], b""] {
        let entry = proto::encode_entry(1000, &[Bytes::from_static(bytes)]);
        let mut shard = Shard::new();
        let before = shard.rows();
        assert!(shard.apply(&[entry]).is_err(), "{bytes:?}");
        assert_eq!(shard.rows(), before, "nothing was written");
    }
}

#[test]
fn a_command_for_another_shards_slot_is_answered_moved_and_does_nothing() {
    let tables: Arc<dyn Tables> = Arc::new(MemoryTables::new());
    let slot = direct("alice", "bob").slot();
    assert_ne!(slot, user("alice").slot(), "the names were chosen for that");
    let mut shard = Shard::open(Arc::clone(&tables));
    let told = Arc::new(Told::default());
    let outbox = Outbox::new(GROUP, Arc::clone(&tables), Router::new(Arc::new(Nowhere)));
    let owners = Owners::default();
    shard.machine = ShardMachine::open(GROUP, slot..slot + 1, tables, told, outbox.wake(), owners)
        .expect("sound");
    let answers = shard.answers(&[
        say("alice", "bob", 1, "m1", None),
        say("alice", "carol", 1, "m1", None),
        register("alice"),
    ]);
    assert!(matches!(answers[0], Answer::Outcome(Outcome::Accepted(_))));
    assert_eq!(answers[1..], [Answer::Moved, Answer::Moved]);
    let mine = proto::keys::slot_range(slot, slot + 1);
    let is_mine = |key: &Bytes| mine.contains(key) || proto::keys::reserved_range().contains(key);
    assert!(shard.rows().iter().all(|(key, _)| is_mine(key)), "nothing was written elsewhere");
}
