//! Changes of a session: dense, each after what was said before it, once on every link.

use chat::{Change, What};

use super::*;
use crate::fanout::Typing;
use crate::session::deliveries::Pile;
use crate::session::typing::TYPING_FOR;

fn change(number: u64, after: u64, seq: u64) -> Change {
    Change {
        conversation: conversation(),
        number: ChangeNumber(number),
        by: user("bob"),
        at: Timestamp(0),
        after: Seq(after),
        what: What::Deleted { seq: Seq(seq) },
    }
}

fn hint_of(change: Change) -> Hint {
    Hint::Change(Arc::new(change))
}

impl Script {
    /// The next thing said is these changes.
    fn changed(&mut self, numbers: &[u64]) {
        match self.say() {
            Say::Changes(changes) => {
                let said: Vec<u64> = changes.iter().map(|change| change.number.0).collect();
                assert_eq!(said, numbers);
            }
            other => panic!("expected changes, got {other:?}"),
        }
    }

    /// The next action reads changes after `after`; answers it with `page`.
    fn read_changes(&mut self, after: u64, page: &[Change]) {
        match self.session.poll_action() {
            Some(Action::ReadChanges { conversation: id, after: from }) => {
                assert_eq!((id, from), (conversation(), ChangeNumber(after)));
                self.session.handle_changes(id, Some(page.to_vec()));
            }
            other => panic!("expected a read of changes, got {other:?}"),
        }
    }
}

/// A link whose device has all messages and the changes before `next`.
fn missing(next: u64, last: u64) -> Script {
    let mut script = Script::admitted();
    let (next_change, last_change) = (ChangeNumber(next), ChangeNumber(last));
    let position = Position { next_change, last_change, ..at(3, 2) };
    script.session.handle_opened(vec![(conversation(), position)], &fresh());
    assert!(matches!(script.say(), Say::CaughtUp));
    script
}

#[test]
fn a_change_of_this_moment_is_told_once() {
    let mut script = Script::live(2);
    script.session.handle_hint(hint_of(change(1, 2, 1)));
    script.changed(&[1]);
    script.session.handle_hint(hint_of(change(1, 2, 1)));
    script.quiet();
}

#[test]
fn what_was_changed_before_the_link_began_comes_first_and_a_gap_is_read() {
    let mut script = missing(2, 3);
    script.session.handle_hint(hint_of(change(4, 2, 1)));
    script.read_changes(1, &[change(2, 1, 1), change(3, 2, 2), change(4, 2, 1)]);
    script.changed(&[2, 3, 4]);
    script.session.handle_hint(hint_of(change(6, 2, 1)));
    script.read_changes(4, &[change(5, 2, 1), change(6, 2, 1)]);
    script.changed(&[5, 6]);
    script.quiet();
}

#[test]
fn a_change_waits_for_what_was_said_before_it() {
    let mut script = Script::live(2);
    // The hints of the messages 3 and 4 were lost.
    script.session.handle_hint(hint_of(change(1, 3, 3)));
    script.read(2, &[from_bob(3), from_bob(4)]);
    script.stored(&[3, 4], false);
    script.read_changes(0, &[change(1, 3, 3)]);
    script.changed(&[1]);
    // In the log there is already more than was hinted at.
    script.session.handle_hint(hint_of(change(3, 4, 1)));
    script.read_changes(1, &[change(2, 4, 1), change(3, 5, 5)]);
    script.changed(&[2]);
    script.read(4, &[from_bob(5)]);
    script.stored(&[5], false);
    script.read_changes(2, &[change(3, 5, 5)]);
    script.changed(&[3]);
    script.quiet();
}

#[test]
fn what_was_said_before_somebody_came_is_not_told_to_have_changed() {
    let mut script = Script::admitted();
    let position = Position {
        visible_from: Seq(2),
        next_change: ChangeNumber(5),
        last_change: ChangeNumber(5),
        ..at(3, 2)
    };
    script.session.handle_opened(vec![(conversation(), position)], &fresh());
    assert!(matches!(script.say(), Say::CaughtUp));
    script.read_changes(4, &[change(5, 2, 1)]);
    script.quiet();
    script.session.handle_hint(hint_of(change(6, 2, 1)));
    script.quiet();
    script.session.handle_hint(hint_of(change(7, 2, 2)));
    script.changed(&[7]);
}

#[test]
fn a_wish_is_answered_under_its_tag() {
    let mut script = Script::live(2);
    let request = proto::frame::ChangeRequest {
        tag: 9,
        conversation: conversation(),
        seq: Seq(1),
        change_id: MessageId::parse("c1").expect("legal"),
        wish: chat::Wish::Delete,
    };
    script.session.handle_ask(script.now, Ask::Change(request));
    let (ticket, command) = script.proposed();
    assert!(matches!(command, Command::Change(change) if change.by == user("alice")));
    let place = Place { change: ChangeNumber(4), ..Place::default() };
    script.session.handle_outcome(ticket, Ok(Outcome::Duplicate(place)));
    let Say::Changed { tag: 9, change_id, result: Ok(altered), .. } = script.say() else {
        panic!("an answer")
    };
    assert_eq!(
        (change_id.as_str(), altered.number, altered.duplicate),
        ("c1", ChangeNumber(4), true)
    );
}

#[test]
fn whoever_stops_saying_so_is_writing_no_more() {
    let mut script = Script::live(2);
    let typing = |name: &str| Typing { conversation: conversation(), user: user(name), on: true };
    script.session.handle_typing(script.now, &typing("alice"));
    script.quiet();
    script.session.handle_typing(script.now, &typing("bob"));
    assert!(matches!(script.say(), Say::Typing(Typing { on: true, .. })));
    let over = script.now + TYPING_FOR;
    assert_eq!(script.session.poll_timeout(), Some(over));
    script.session.handle_timeout(over);
    assert!(matches!(script.say(), Say::Typing(Typing { on: false, .. })));
}

#[test]
fn a_change_does_not_wait_for_messages_that_have_expired() {
    // The device has two messages; a third was said and has expired since.
    let mut script = Script::live(2);
    script.session.handle_hint(hint_of(change(1, 3, 3)));
    match script.session.poll_action() {
        Some(Action::Read { after, .. }) => assert_eq!(after, Seq(2)),
        other => panic!("expected a read, got {other:?}"),
    }
    let nothing = Pile { visible_from: Seq(4), ..Pile::default() };
    script.session.handle_page(conversation(), Some(nothing));
    script.read_changes(0, &[change(1, 3, 3)]);
    let rest = std::iter::from_fn(|| script.session.poll_action()).take(9).count();
    assert_eq!(rest, 0, "what it is about is not theirs to see, and nothing is asked for again");
}
