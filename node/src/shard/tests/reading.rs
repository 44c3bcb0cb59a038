//! What the reader answers.

use super::*;

fn talkative() -> Shard {
    let mut shard = Shard::new();
    let sends: Vec<_> =
        (1..=9).map(|n| say("alice", "bob", 1 + n % 2, &format!("m{n}"), None)).collect();
    shard.run(&sends);
    shard
}

fn seqs(
    shard: &Shard,
    after: u64,
    before: Option<u64>,
    limit: usize,
    newest_first: bool,
) -> Vec<u64> {
    let id = direct("alice", "bob");
    let before = before.map(Seq);
    let messages = shard.reader().messages(id, Seq(after), before, limit, newest_first);
    messages.expect("sound").iter().map(|message| message.seq.0).collect()
}

#[test]
fn pages_neither_skip_nor_repeat() {
    let shard = talkative();
    assert_eq!(seqs(&shard, 0, None, 4, false), [1, 2, 3, 4]);
    assert_eq!(seqs(&shard, 4, None, 4, false), [5, 6, 7, 8]);
    assert_eq!(seqs(&shard, 8, None, 4, false), [9]);
    assert_eq!(seqs(&shard, 9, None, 4, false), [0; 0]);
    assert_eq!(seqs(&shard, 0, None, 3, true), [9, 8, 7]);
    assert_eq!(seqs(&shard, 0, Some(7), 3, true), [6, 5, 4]);
    assert_eq!(seqs(&shard, 4, Some(7), 9, true), [6, 5]);
    assert_eq!(seqs(&shard, 6, Some(7), 9, false), [0; 0]);
    assert_eq!(seqs(&shard, 7, Some(3), 9, false), [0; 0], "an empty span is no error");
    assert_eq!(seqs(&shard, u64::MAX, None, 9, false), [0; 0]);
}

#[test]
fn messages_are_read_as_they_were_published() {
    let shard = talkative();
    let id = direct("alice", "bob");
    let read = shard.reader().messages(id, Seq(0), None, 100, false).expect("sound");
    let told = shard.told.0.lock();
    assert_eq!(told.len(), read.len());
    for (told, read) in told.iter().zip(&read) {
        assert!(told.contains(&format!("{read:?}")), "{told} is not about {read:?}");
    }
}

#[test]
fn a_message_id_is_found_on_every_device_that_used_it() {
    let mut shard = talkative();
    shard.run(&[say("bob", "alice", 7, "m1", None)]);
    let id = direct("alice", "bob");
    let places = |name: &str| {
        let message_id = MessageId::parse(name).expect("legal");
        let places = shard.reader().places(id, &message_id).expect("sound");
        places.iter().map(|(device, earlier)| (device.0, earlier.seq.0)).collect::<Vec<_>>()
    };
    assert_eq!(places("m1"), [(2, 1), (7, 10)]);
    assert_eq!(places("m2"), [(1, 2)]);
    assert_eq!(places("m"), [(0, 0); 0], "the beginning of an id is another id");
}

#[test]
fn what_does_not_exist_is_not_there() {
    let reader = Shard::new().reader();
    let (alice, id) = (user("alice"), direct("alice", "bob"));
    assert_eq!(reader.conversation(id).expect("sound"), None);
    assert_eq!(reader.head(id).expect("sound"), None);
    assert_eq!(reader.member(id, &alice).expect("sound"), None);
    assert_eq!(reader.cursor(id, DeviceId(1)).expect("sound"), None);
    assert_eq!(reader.user(&alice).expect("sound"), None);
    assert_eq!(reader.device(&alice, DeviceId(1)).expect("sound"), None);
    assert!(reader.links(&alice).expect("sound").is_empty());
}

#[test]
fn a_user_is_read_in_parts() {
    let mut shard = Shard::new();
    let alice = |command| Command::User { user: user("alice"), command };
    let device = DeviceId(5);
    let digest = Body::default().digest();
    let (conversation, to) = (direct("alice", "bob"), LinkTo::Peer(user("bob")));
    shard.run(&[
        register("alice"),
        alice(UserCommand::OpenSession {
            device,
            name: "laptop".to_owned(),
            refresh: digest,
            starts: [(conversation, Seq(3))].into(),
        }),
        alice(UserCommand::Link { conversation, to: to.clone() }),
    ]);
    let (reader, name) = (shard.reader(), user("alice"));
    let account = reader.user(&name).expect("sound").expect("it was registered");
    assert_eq!(account.password_hash, "hash");
    let session = reader.device(&name, device).expect("sound").expect("it was opened");
    assert_eq!(session.starts[&conversation], Seq(3));
    let links = reader.links(&name).expect("sound");
    assert_eq!(
        links.iter().map(|(id, link)| (*id, &link.to)).collect::<Vec<_>>(),
        [(conversation, &to)]
    );
}

#[test]
fn registrations_are_read_as_they_were_decided_and_found_by_their_slot() {
    let mut shard = Shard::new();
    let (name, push) = (user("alice"), PushId(7));
    let alice = |command| Command::User { user: user("alice"), command };
    let to_push = |command| alice(UserCommand::Push { push, command });
    let target = Target::Webhook { url: "https://a.org/".to_owned(), secret: [3; 32] };
    let conversation = direct("alice", "bob");
    let linked = UserCommand::Link { conversation, to: LinkTo::Peer(user("bob")) };
    shard.run(&[
        register("alice"),
        alice(linked),
        to_push(PushCommand::Add { device: None, target: target.clone() }),
        to_push(PushCommand::Notify { after: 0, items: vec![(conversation, Seq(5))] }),
        to_push(PushCommand::GiveUp { number: 1, attempts: 9, reason: "no".to_owned() }),
        to_push(PushCommand::Notify { after: 1, items: vec![(conversation, Seq(6))] }),
    ]);
    let mut shard = shard.reopen();
    let reader = shard.reader();
    let read = &reader.pushes(&name).expect("sound")[&push];
    assert_eq!((read.last, read.done, &read.target), (2, 1, &target));
    assert_eq!(read.notices[&2].seq, Seq(6));
    assert_eq!(read.marks[&conversation], Seq(6));
    assert_eq!(read.dead[&1].attempts, 9);
    assert_eq!(reader.registered(name.slot()).expect("sound"), std::slice::from_ref(&name));
    shard.run(&[to_push(PushCommand::Remove)]);
    assert!(reader.pushes(&name).expect("sound").is_empty());
    assert!(reader.registered(name.slot()).expect("sound").is_empty());
    let left = shard.rows().iter().filter(|(key, _)| key.starts_with(&keys_of(&name))).count();
    assert_eq!(left, 2, "the account and its link");
}

/// What all keys of a user begin with.
fn keys_of(user: &UserId) -> Bytes {
    proto::keys::user_range(user).start
}
