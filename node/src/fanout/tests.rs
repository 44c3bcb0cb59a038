//! Law D1 at its root: whoever is a member and connected here is told, once, and nobody else is.
//! Events are handed in as a shard would publish them; no shard runs.

use chat::{DeviceId, GroupId, History, Kind};

use super::*;
use crate::gateway::fake::{user, world};
use crate::gateway::tokens::Identity;

fn who(name: &str, device: u64) -> Identity {
    Identity { user: user(name), device: DeviceId(device) }
}

fn group() -> (ConversationId, Kind) {
    let group = GroupId::parse("team").expect("legal");
    let kind = Kind::Group { group: group.clone(), name: String::new(), history: History::All };
    (ConversationId::group(&group), kind)
}

fn removal(name: &str) -> ShardEvent {
    let (added, removed) = (Vec::new(), vec![user(name)]);
    ShardEvent::Members { conversation: group().0, added, removed }
}

#[test]
fn every_session_of_every_member_is_told_whichever_side_is_smaller() {
    for strangers in [0, 50] {
        let (fake, parts) = world();
        let alice = fake.join("alice", 1);
        let mut first = parts.directory.enter(&alice);
        let mut second = parts.directory.enter(&alice);
        let mut carol = parts.directory.enter(&who("carol", 3));
        let others: Vec<_> =
            (0..strangers).map(|n| parts.directory.enter(&who(&format!("s{n}"), n + 10))).collect();
        fake.join("bob", 2);
        fake.say(&alice, "bob", "hello");
        for mailbox in [&mut first, &mut second] {
            assert!(matches!(mailbox.try_receive(), Some(Hint::Message(_))));
        }
        assert!(carol.try_receive().is_none(), "not a member");
        drop(others);
    }
}

#[test]
fn a_full_mailbox_notes_what_it_lost() {
    let directory = Directory::default();
    let fanout = Fanout::new(directory.clone());
    let mut mailbox = directory.enter_bounded(&who("alice", 1), 2);
    let event = || removal("alice");
    fanout.publish(vec![event(), event()]);
    assert_eq!(mailbox.take_lag(), None);
    fanout.publish(vec![event()]);
    assert_eq!(mailbox.take_lag(), Some(Lag::Some([group().0].into())));
    assert_eq!(mailbox.take_lag(), None, "it is told once");
    assert!(mailbox.try_receive().is_some());
}

#[test]
fn a_hint_that_is_missed_is_noted_and_the_next_one_finds_room() {
    let directory = Directory::with(Mailboxes { hints_max: 8, missed_every: Some(2) });
    let fanout = Fanout::new(directory.clone());
    let mut mailbox = directory.enter(&who("alice", 1));
    fanout.publish(vec![removal("alice"), removal("alice"), removal("alice")]);
    assert_eq!(mailbox.take_lag(), Some(Lag::Some([group().0].into())));
    let mut hints = Vec::new();
    mailbox.take_all(&mut hints);
    assert!(matches!(hints[..], [Hint::Removed(_), Hint::Wake, Hint::Removed(_)]), "{hints:?}");
}

#[test]
fn replaced_state_makes_every_session_look_again() {
    let directory = Directory::default();
    let fanout = Fanout::new(directory.clone());
    let mut mailbox = directory.enter(&who("alice", 1));
    fanout.replaced(0..16384);
    assert!(matches!(mailbox.try_receive(), Some(Hint::Wake)));
    assert_eq!(mailbox.take_lag(), Some(Lag::All));
}

#[test]
fn an_ended_session_is_told_on_its_own_device_only() {
    let directory = Directory::default();
    let fanout = Fanout::new(directory.clone());
    let one = directory.enter(&who("alice", 1));
    let other = directory.enter(&who("alice", 2));
    let event = UserEvent::SessionEnded { device: DeviceId(1) };
    fanout.publish(vec![ShardEvent::User { user: user("alice"), event }]);
    assert!(one.ended().is_cancelled());
    assert!(!other.ended().is_cancelled());
}

#[test]
fn the_directory_forgets_who_left() {
    let directory = Directory::default();
    assert!(directory.is_empty());
    let one = directory.enter(&who("alice", 1));
    let other = directory.enter(&who("alice", 1));
    assert_eq!(directory.sessions(), 2);
    drop(one);
    assert!(directory.is_online(&user("alice")));
    drop(other);
    assert!(!directory.is_online(&user("alice")) && directory.is_empty());
}

#[test]
fn a_removed_member_is_told_to_stop() {
    let directory = Directory::default();
    let fanout = Fanout::new(directory.clone());
    let mut mailbox = directory.enter(&who("alice", 1));
    fanout.publish(vec![removal("alice")]);
    assert!(matches!(mailbox.try_receive(), Some(Hint::Removed(id)) if id == group().0));
}
