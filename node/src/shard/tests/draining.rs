//! What is owed is carried out, in order, at least once, by whoever leads, and stands nowhere any more afterwards.

use std::collections::VecDeque;

use chat::{Link, Place};
use proto::keys::{self, Key};

use super::*;

/// Answers what the script says, then always well; remembers what was submitted.
#[derive(Default)]
struct Scripted {
    script: Mutex<VecDeque<RouteError>>,
    submitted: Mutex<Vec<(UserId, UserCommand)>>,
}

impl Route for Scripted {
    fn submit(&self, slot: u16, command: Bytes) -> Routed {
        let Ok(Command::User { user, command }) = proto::decode_command(&command) else {
            panic!("an outbox speaks to users only");
        };
        assert_eq!(slot, user.slot(), "it goes to the user's shard");
        self.submitted.lock().push((user, command));
        let failure = self.script.lock().pop_front();
        Box::pin(async move {
            match failure {
                Some(failure) => Err(failure),
                None => Ok(Outcome::Accepted(Place::default())),
            }
        })
    }

    fn linearize(&self, _slot: u16) -> futures::future::BoxFuture<'static, Result<(), RouteError>> {
        panic!("an outbox does not read")
    }
}

fn shard(route: &Arc<Scripted>) -> Shard {
    let route = Arc::clone(route) as Arc<dyn Route>;
    Shard::try_open(Arc::new(MemoryTables::new()), route).expect("sound")
}

fn owed(shard: &Shard) -> Vec<u64> {
    let rows = shard.rows();
    let number = |(key, _): &Row| match keys::parse(key) {
        Ok(Key::Outbox(GROUP, number)) => Some(number),
        _ => None,
    };
    rows.iter().filter_map(number).collect()
}

/// Drains until nothing is owed; `done` commands are applied to the shard.
async fn drain(shard: Shard) -> Shard {
    let Shard { tables, machine, told, outbox } = shard;
    let machine = Arc::new(Mutex::new(machine));
    let done = |command: Bytes| {
        let mut machine = machine.lock();
        let index = machine.applied().expect("read").position.map_or(0, |at| at.index + 1);
        let entry = proto::encode_entry(1000, &[command]);
        machine.apply(vec![committed(index, entry)]).expect("the disk is sound");
        std::future::ready(true)
    };
    let empty = async {
        let range = keys::outbox_range(GROUP);
        let range = KeyRange::new(range.start, range.end);
        while !tables.scan(range.clone(), Direction::Ascending, 1).expect("sound").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let deadline = std::time::Duration::from_secs(20);
    tokio::select! {
        ended = outbox.drain(done) => panic!("it never ends: {ended:?}"),
        emptied = tokio::time::timeout(deadline, empty) => emptied.expect("it is drained"),
    }
    let machine = Arc::into_inner(machine).expect("nobody else holds it").into_inner();
    Shard { tables, machine, told, outbox }
}

#[test]
fn what_is_owed_appears_once() {
    let mut shard = Shard::new();
    let first = say("alice", "bob", 1, "m1", None);
    shard.run(&[first.clone(), first.clone(), say("alice", "bob", 1, "m2", None)]);
    assert_eq!(owed(&shard), [1, 2], "one for each user, for the first message only");
    let mut shard = shard.reopen();
    shard.run(&[first, create("team", "alice", &["bob"]), remove("alice", "bob")]);
    assert_eq!(owed(&shard), [1, 2, 3, 4, 5], "alice and bob linked, bob unlinked");
}

#[test]
fn what_is_done_goes_once_and_only_what_was_owed() {
    let mut shard = Shard::new();
    shard.run(&[create("team", "alice", &["bob", "carol"])]);
    shard.run(&[Command::OutboxDone(2)]);
    assert_eq!(owed(&shard), [3]);
    shard.run(&[Command::OutboxDone(1), Command::OutboxDone(2)]);
    assert_eq!(owed(&shard), [3], "done is done");
    shard.run(&[Command::OutboxDone(99), add("alice", "dave")]);
    assert_eq!(owed(&shard), [4], "what comes later is not done before it came");
    let mut shard = shard.reopen();
    shard.run(&[Command::OutboxDone(4), add("alice", "erin")]);
    assert_eq!(owed(&shard), [5], "numbers are never used again");
}

#[tokio::test]
async fn a_leader_carries_out_what_is_owed() {
    let route = Arc::new(Scripted::default());
    let mut shard = shard(&route);
    shard.run(&[say("alice", "bob", 1, "m1", None)]);
    shard.machine.leading(true, 1);
    let shard = drain(shard).await;
    assert_eq!(owed(&shard), [0; 0]);
    let conversation = direct("alice", "bob");
    let link = |peer| UserCommand::Link { conversation, to: LinkTo::Peer(user(peer)) };
    let submitted = route.submitted.lock().clone();
    assert_eq!(submitted, [(user("alice"), link("bob")), (user("bob"), link("alice"))]);
}

#[tokio::test]
async fn a_failure_repeats_from_the_oldest_on() {
    let route = Arc::new(Scripted::default());
    route.script.lock().push_back(RouteError::Unknown);
    let mut shard = shard(&route);
    shard.run(&[say("alice", "bob", 1, "m1", None)]);
    shard.machine.leading(true, 1);
    drain(shard).await;
    let users: Vec<_> = route.submitted.lock().iter().map(|(user, _)| user.clone()).collect();
    assert_eq!(users, ["alice", "bob", "alice", "bob"].map(user));
}

#[tokio::test]
async fn a_link_and_its_unlink_are_never_under_way_together() {
    let route = Arc::new(Scripted::default());
    // The link fails: if the unlink were under way with it, it would be submitted before the repetition.
    route.script.lock().extend([RouteError::Unknown, RouteError::Unknown]);
    let mut shard = shard(&route);
    shard.run(&[create("team", "alice", &["bob"]), remove("alice", "bob"), add("alice", "bob")]);
    assert_eq!(owed(&shard).len(), 4);
    shard.machine.leading(true, 1);
    drain(shard).await;
    let submitted = route.submitted.lock();
    let bobs = submitted.iter().filter(|(of, _)| *of == user("bob"));
    let links: Vec<_> =
        bobs.map(|(_, command)| matches!(command, UserCommand::Link { .. })).collect();
    assert_eq!(links, [true, true, false, true]);
}

#[tokio::test]
async fn only_a_leader_carries_out() {
    let route = Arc::new(Scripted::default());
    let mut shard = shard(&route);
    shard.run(&[say("alice", "bob", 1, "m1", None)]);
    shard.machine.leading(true, 1);
    shard.machine.leading(false, 2);
    let drained = shard.outbox.drain(|_| std::future::ready(true));
    // A few turns are enough for a leader to submit; a follower has nothing to wait for but the ledger.
    tokio::select! {
        biased;
        ended = drained => panic!("it never ends: {ended:?}"),
        () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
    }
    assert!(route.submitted.lock().is_empty());
}

/// The other end: what the outbox submits makes the entry in the user's list, once.
#[test]
fn carrying_out_twice_links_once() {
    let mut shard = Shard::new();
    let (conversation, to) = (team(), LinkTo::Peer(user("bob")));
    let command = UserCommand::Link { conversation, to: to.clone() };
    let link = Command::User { user: user("alice"), command };
    shard.run(&[register("alice"), link.clone(), link]);
    let links = shard.reader().links(&user("alice")).expect("sound");
    assert_eq!(links, [(conversation, Link { to, at: Timestamp(1000) })]);
}
