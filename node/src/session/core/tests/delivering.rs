//! What a link is sent, and in which order: resuming, gaps, lost hints, membership.

use std::collections::BTreeSet;

use chat::Floors;

use super::*;

#[tokio::test]
async fn a_resumed_session_sees_no_gap_and_no_repeat() {
    let mut script = Script::open(&[(3, 6)]);
    script.read(2, &[from_bob(3), from_bob(4)]);
    script.stored(&[3, 4], true);
    // Stored while the link catches up: hinted at early, delivered after what is older.
    script.session.handle_hint(hint(from_bob(7)));
    script.read(4, &[from_bob(5), from_bob(6), from_bob(7)]);
    script.stored(&[5, 6, 7], true);
    assert!(matches!(script.say(), Say::CaughtUp));
    script.session.handle_hint(hint(from_bob(7)));
    script.quiet();
    script.session.handle_hint(hint(from_bob(8)));
    script.live_message(8);
    script.quiet();
}

#[tokio::test]
async fn what_is_hinted_before_the_positions_are_known_is_looked_at_again() {
    let mut script = Script::admitted();
    script.session.handle_hint(hint(from_bob(5)));
    script.quiet();
    script.session.handle_opened(vec![(conversation(), at(5, 4))], &fresh());
    let again = script.session.poll_action();
    assert!(matches!(again, Some(Action::Refresh(id)) if id == conversation()), "{again:?}");
    assert!(matches!(script.say(), Say::CaughtUp));
    script.session.handle_position(conversation(), Some(at(5, 5)));
    script.read(4, &[from_bob(5)]);
    script.stored(&[5], false);
    script.quiet();
}

#[tokio::test]
async fn a_gap_between_hints_is_closed_from_the_log() {
    let mut script = Script::live(4);
    script.session.handle_hint(hint(from_bob(7)));
    script.read(4, &[from_bob(5), from_bob(6), from_bob(7)]);
    script.stored(&[5, 6, 7], false);
    script.session.handle_hint(hint(from_bob(6)));
    script.session.handle_hint(hint(from_bob(8)));
    script.live_message(8);
    script.quiet();
}

#[tokio::test]
async fn lost_hints_are_made_good_from_the_log() {
    let mut script = Script::live(4);
    script.session.handle_lag(Lag::Some([conversation()].into()));
    assert!(matches!(script.session.poll_action(), Some(Action::Refresh(_))));
    assert!(matches!(script.session.poll_action(), Some(Action::Floors(_))));
    script.session.handle_position(conversation(), Some(at(3, 6)));
    script.read(4, &[from_bob(5), from_bob(6)]);
    script.stored(&[5, 6], false);

    script.session.handle_lag(Lag::All);
    assert!(matches!(script.session.poll_action(), Some(Action::Open)));
    script.session.handle_opened(vec![(conversation(), at(3, 7))], &fresh());
    script.read(6, &[from_bob(7)]);
    script.stored(&[7], false);
    script.quiet();
}

#[tokio::test]
async fn a_conversation_that_the_list_does_not_name_yet_is_not_forgotten() {
    let mut script = Script::live(4);
    script.session.handle_lag(Lag::All);
    assert!(matches!(script.session.poll_action(), Some(Action::Open)));
    script.session.handle_opened(Vec::new(), &fresh());
    assert!(matches!(script.session.poll_action(), Some(Action::Refresh(_))));
    script.session.handle_position(conversation(), Some(at(5, 4)));
    script.session.handle_hint(hint(from_bob(5)));
    script.live_message(5);
}

#[tokio::test]
async fn a_new_conversation_is_delivered_from_its_first_message() {
    let mut script = Script::open(&[]);
    assert!(matches!(script.say(), Say::CaughtUp));
    script.session.handle_hint(hint(from_bob(1)));
    assert!(matches!(script.session.poll_action(), Some(Action::Refresh(_))));
    script.session.handle_position(conversation(), Some(at(1, 1)));
    script.read(0, &[from_bob(1)]);
    script.stored(&[1], false);
    script.session.handle_hint(hint(from_bob(2)));
    script.live_message(2);
}

#[tokio::test]
async fn a_removed_member_is_delivered_nothing_more() {
    let mut script = Script::open(&[(1, 6)]);
    script.read(0, &[from_bob(1)]);
    script.stored(&[1], true);
    script.session.handle_hint(Hint::Removed(conversation()));
    assert!(matches!(script.say(), Say::CaughtUp));
    assert!(matches!(script.session.poll_action(), Some(Action::Refresh(_))));
    script.session.handle_position(conversation(), None);
    script.quiet();
}

#[tokio::test]
async fn a_read_that_is_no_longer_allowed_ends_the_deliveries() {
    let mut script = Script::open(&[(1, 6)]);
    assert!(matches!(script.session.poll_action(), Some(Action::Read { .. })));
    script.session.handle_page(conversation(), None);
    assert!(matches!(script.say(), Say::CaughtUp));
    script.quiet();
}

#[tokio::test]
async fn what_was_missed_comes_before_what_is_new_elsewhere() {
    let mut script = Script::admitted();
    let other = ConversationId::direct(&user("alice"), &user("carol"));
    script.session.handle_opened(vec![(conversation(), at(1, 1)), (other, at(1, 0))], &fresh());
    let elsewhere = Message { conversation: other, ..message(1, "carol", 3, "c1") };
    script.session.handle_hint(hint(elsewhere.clone()));
    script.read(0, &[from_bob(1)]);
    script.stored(&[1], true);
    assert!(matches!(script.say(), Say::CaughtUp));
    let read = script.session.poll_action();
    assert!(matches!(read, Some(Action::Read { conversation, .. }) if conversation == other));
    script.session.handle_page(other, Some(vec![elsewhere].into()));
    script.stored(&[1], false);
    script.quiet();
}

#[tokio::test]
async fn who_left_and_came_back_goes_on_from_there() {
    let mut script = Script::live(4);
    let back = Position { visible_from: Seq(8), ..at(8, 8) };
    script.session.handle_position(conversation(), Some(back));
    script.read(7, &[from_bob(8)]);
    script.stored(&[8], false);
    // The position may be older than the log: then the log itself begins later.
    script.session.handle_hint(hint(from_bob(12)));
    script.read(8, &[from_bob(11), from_bob(12)]);
    script.stored(&[11, 12], false);
    script.quiet();
}

#[tokio::test]
async fn who_is_removed_and_added_again_is_sent_nothing_twice_on_one_link() {
    let mut script = Script::live(4);
    script.session.handle_hint(hint(from_bob(5)));
    script.live_message(5);
    script.session.handle_hint(Hint::Removed(conversation()));
    assert!(matches!(script.session.poll_action(), Some(Action::Refresh(_))));
    script.session.handle_position(conversation(), None);
    script.quiet();
    // The whole history is visible to who comes back, and the device has confirmed nothing.
    script.session.handle_position(conversation(), Some(at(1, 6)));
    script.read(5, &[from_bob(6)]);
    script.stored(&[6], false);
    script.quiet();
}

/// How far everybody is once bob has read what alice said first.
fn read_floors() -> Floors {
    floors_of(1)
}

/// How far everybody is once bob has read the first `said` messages of alice.
fn floors_of(said: u64) -> Floors {
    let message = |order: u64| chat::SendMessage {
        sender: user("alice"),
        device: DeviceId(9),
        receiver: Some(user("bob")),
        order: None,
        message_id: MessageId::parse(&format!("a{order}")).expect("an id"),
        body: Body::default(),
    };
    let read = Command::Confirm {
        user: user("bob"),
        device: DeviceId(2),
        seq: Seq(said),
        read: true,
        hidden: false,
    };
    let mut state = None;
    for command in (1..=said).map(|order| Command::Send(message(order))).chain([read]) {
        let known = chat::Known::default();
        chat::apply(&mut state, conversation(), Timestamp(1), &command, &known);
    }
    state.expect("it exists").floors()
}

/// The same, as the fan-out tells it.
fn read_by_bob() -> Hint {
    Hint::Moved(Arc::new(Moved {
        conversation: conversation(),
        user: user("bob"),
        delivered: (Seq(0), Seq(1)),
        read: (Seq(0), Seq(1)),
        members: 2,
        floors: Arc::new(read_floors()),
    }))
}

#[tokio::test]
async fn progress_that_comes_before_the_positions_are_known_is_told_when_they_are() {
    let mut script = Script::admitted();
    script.session.handle_hint(read_by_bob());
    script.quiet();
    script.session.handle_opened(Vec::new(), &fresh());
    let again = script.session.poll_action();
    assert!(matches!(again, Some(Action::Refresh(id)) if id == conversation()), "{again:?}");
    assert!(matches!(script.say(), Say::CaughtUp));
    script.session.handle_position(conversation(), Some(at(2, 1)));
    script.floors(&read_floors());
    match script.say() {
        Say::Status(news) => assert_eq!(news.floors, Marks { delivered: Seq(1), read: Seq(1) }),
        other => panic!("expected a status, got {other:?}"),
    }
    script.quiet();
}

#[tokio::test]
async fn progress_in_a_conversation_that_is_not_known_yet_makes_it_known() {
    let mut script = Script::open(&[]);
    assert!(matches!(script.say(), Say::CaughtUp));
    script.session.handle_hint(read_by_bob());
    assert!(matches!(script.session.poll_action(), Some(Action::Refresh(_))));
    script.session.handle_position(conversation(), None);
    script.quiet();
    script.session.handle_hint(read_by_bob());
    assert!(matches!(script.session.poll_action(), Some(Action::Refresh(_))));
    script.session.handle_position(conversation(), Some(at(2, 1)));
    script.floors(&read_floors());
    assert!(matches!(script.say(), Say::Status(_)));
    script.quiet();
}

#[tokio::test]
async fn a_node_that_lags_tells_no_status_before_it_has_caught_up() {
    let mut script = Script::admitted();
    script.session.handle_opened(vec![(conversation(), at(2, 1))], &BTreeSet::new());
    assert!(matches!(script.say(), Say::CaughtUp));
    // What this replica holds may be older than what another node told on the last link.
    script.session.handle_floors(conversation(), &read_floors());
    let asked = script.session.poll_action();
    let slot = conversation().slot();
    assert!(matches!(asked, Some(Action::Freshen(asked)) if asked == slot), "{asked:?}");
    script.session.handle_hint(read_by_bob());
    script.quiet();
    script.session.handle_fresh(&[slot].into());
    let looked = script.session.poll_action();
    assert!(matches!(looked, Some(Action::Floors(id)) if id == conversation()), "{looked:?}");
    script.session.handle_floors(conversation(), &read_floors());
    assert!(matches!(script.say(), Say::Status(_)));
    script.quiet();
}

#[tokio::test]
async fn a_hint_from_before_the_node_was_fresh_takes_nothing_back() {
    let mut script = Script::open(&[(4, 3)]);
    assert!(matches!(script.say(), Say::CaughtUp));
    // Bob has read all three; that another node told it is why this link must not tell less. The hint of the first one
    // was queued while this node lagged.
    script.session.handle_hint(read_by_bob());
    script.floors(&floors_of(3));
    match script.say() {
        Say::Status(news) => assert_eq!(news.floors, Marks { delivered: Seq(3), read: Seq(3) }),
        other => panic!("expected a status, got {other:?}"),
    }
    // From then on a hint is believed, and one that is late adds nothing.
    script.session.handle_hint(read_by_bob());
    match script.say() {
        Say::Status(news) => assert_eq!(news.floors, Marks { delivered: Seq(3), read: Seq(3) }),
        other => panic!("expected a member's progress, got {other:?}"),
    }
    script.quiet();
}
