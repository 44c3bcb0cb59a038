//! A session as a script: what goes in, what must come out.

use std::collections::{BTreeMap, BTreeSet};

use chat::{
    Body, Chain, ChangeNumber, Command, ConversationId, DeviceId, Kind, Message, MessageId, Order,
    Outcome, Place, Refusal, Seq, Timestamp,
};
use proto::frame::{SendRequest, SendTo};

use super::*;
use crate::fanout::{Delivery, Hint, Lag};
use crate::gateway::fake::user;
use crate::session::deliveries::Position;
use crate::session::words::{Marks, Outgoing, Stored};
use crate::shard::Audience;

const DEVICE: DeviceId = DeviceId(1);

mod changing;
mod delivering;

struct Script {
    session: Session,
    now: Instant,
}

/// A node that has caught up with every shard.
fn fresh() -> BTreeSet<u16> {
    (0..chat::SLOTS).collect()
}

fn alice() -> Identity {
    Identity { user: user("alice"), device: DEVICE }
}

fn kind() -> Arc<Kind> {
    Arc::new(Kind::Direct { low: user("alice"), high: user("bob") })
}

fn conversation() -> ConversationId {
    ConversationId::direct(&user("alice"), &user("bob"))
}

fn message(seq: u64, from: &str, device: u64, id: &str) -> Message {
    Message {
        conversation: conversation(),
        seq: Seq(seq),
        sender: user(from),
        device: DeviceId(device),
        order: Order(seq),
        message_id: MessageId::parse(id).expect("legal"),
        at: Timestamp(seq),
        body: Body::default(),
        chain: Chain::default(),
        erased: None,
    }
}

fn from_bob(seq: u64) -> Message {
    message(seq, "bob", 2, &format!("b{seq}"))
}

fn hint(message: Message) -> Hint {
    let members = BTreeMap::new();
    let audience = Arc::new(Audience { kind: (*kind()).clone(), members });
    Hint::Message(Arc::new(Delivery::new(Arc::new(message), audience)))
}

fn at(next: u64, last: u64) -> Position {
    Position {
        kind: kind(),
        visible_from: Seq(1),
        next: Seq(next),
        last: Seq(last),
        cursor: Marks { delivered: Seq(next - 1), read: Seq(0) },
        next_change: ChangeNumber(1),
        last_change: ChangeNumber(0),
    }
}

fn placed(seq: u64) -> Result<Outcome, NoOutcome> {
    Ok(Outcome::Accepted(Place { seq: Seq(seq), order: Order(1), ..Place::default() }))
}

impl Script {
    /// A link that said nothing yet.
    fn silent() -> Self {
        let now = Instant::now();
        Self { session: Session::new(now, None), now }
    }

    /// A link whose token was accepted.
    fn admitted() -> Self {
        let now = Instant::now();
        let mut script = Self { session: Session::new(now, Some(("token".to_owned(), None))), now };
        assert!(matches!(script.session.poll_action(), Some(Action::Authenticate { .. })));
        let budget = Arc::new(Bucket::new(crate::config::Rate { per_second: 1000, burst: 1000 }));
        let connection_id = "c".to_owned();
        let (resume, reset) = (String::new(), false);
        let admitted = Admitted { who: alice(), connection_id, budget, resume, reset };
        script.session.handle_admitted(Ok(admitted));
        assert!(matches!(script.say(), Say::Welcome { .. }));
        assert!(matches!(script.session.poll_action(), Some(Action::Open)));
        script
    }

    /// A link that has begun, at these positions.
    fn open(positions: &[(u64, u64)]) -> Self {
        let mut script = Self::admitted();
        let positions = positions.iter().map(|(next, last)| (conversation(), at(*next, *last)));
        script.session.handle_opened(positions.collect(), &fresh());
        script
    }

    /// A link that has begun and missed nothing.
    /// The session asks how far everybody is, and is told.
    fn floors(&mut self, floors: &chat::Floors) {
        let asked = self.session.poll_action();
        assert!(matches!(asked, Some(Action::Floors(id)) if id == conversation()), "{asked:?}");
        self.session.handle_floors(conversation(), floors);
    }

    fn live(last: u64) -> Self {
        let mut script = Self::open(&[(last + 1, last)]);
        assert!(matches!(script.say(), Say::CaughtUp));
        script
    }

    fn say(&mut self) -> Say {
        match self.session.poll_action() {
            Some(Action::Say(say)) => say,
            other => panic!("expected something said, got {other:?}"),
        }
    }

    fn quiet(&mut self) {
        let action = self.session.poll_action();
        assert!(action.is_none(), "expected nothing, got {action:?}");
    }

    /// The next action reads after `after`; answers it with `page`.
    fn read(&mut self, after: u64, page: &[Message]) {
        match self.session.poll_action() {
            Some(Action::Read { conversation: id, after: from }) => {
                assert_eq!((id, from), (conversation(), Seq(after)));
                self.session.handle_page(id, Some(page.to_vec().into()));
            }
            other => panic!("expected a read, got {other:?}"),
        }
    }

    /// The next thing said is a batch from the log with these sequences.
    fn stored(&mut self, seqs: &[u64], during_catch_up: bool) {
        match self.say() {
            Say::Stored { messages, catching_up, .. } => {
                let said: Vec<u64> = messages.iter().map(|message| message.seq.0).collect();
                assert_eq!((said.as_slice(), catching_up), (seqs, during_catch_up));
            }
            other => panic!("expected messages, got {other:?}"),
        }
    }

    fn live_message(&mut self, seq: u64) {
        match self.say() {
            Say::Live(delivery) => assert_eq!(delivery.message().seq, Seq(seq)),
            other => panic!("expected a live message, got {other:?}"),
        }
    }

    fn ask_send(&mut self, tag: u64, id: &str) {
        let request = SendRequest {
            tag,
            to: SendTo::Receiver(user("bob")),
            order: None,
            message_id: MessageId::parse(id).expect("legal"),
            body: Body::default(),
        };
        self.session.handle_ask(
            self.now,
            Ask::Send(Outgoing { sender: None, within: BTreeSet::new(), request }),
        );
    }

    fn send(&mut self, tag: u64, id: &str) -> Ticket {
        self.ask_send(tag, id);
        self.proposed().0
    }

    fn proposed(&mut self) -> (Ticket, Command) {
        match self.session.poll_action() {
            Some(Action::Propose { ticket, proposal }) => (ticket, proposal.command),
            other => panic!("expected a proposal, got {other:?}"),
        }
    }

    fn sent(&mut self, tag: u64) -> Result<Stored, Problem> {
        match self.say() {
            Say::Sent { tag: answered, result, .. } => {
                assert_eq!(answered, tag);
                result
            }
            other => panic!("expected an answer, got {other:?}"),
        }
    }

    fn closed_for(&mut self, code: ProblemCode, reason: CloseReason) {
        match self.say() {
            Say::Failed(problem) => assert_eq!(problem.code, code),
            other => panic!("expected a problem, got {other:?}"),
        }
        match self.session.poll_action() {
            Some(Action::Close(closed)) => assert_eq!(closed, reason),
            other => panic!("expected the end, got {other:?}"),
        }
        assert!(self.session.is_closed());
    }
}

#[tokio::test]
async fn a_link_that_does_not_say_who_it_is_ends_at_the_deadline() {
    let mut script = Script::silent();
    let until = script.session.poll_timeout().expect("it waits for a token");
    assert_eq!(until, script.now + GREETING_DEADLINE);
    script.session.handle_timeout(until - Duration::from_millis(1));
    script.quiet();
    script.session.handle_timeout(until);
    script.closed_for(ProblemCode::Unauthenticated, CloseReason::Unauthenticated);
}

#[tokio::test]
async fn nothing_is_done_for_a_link_that_has_not_said_who_it_is() {
    let mut script = Script::silent();
    script.ask_send(1, "m");
    script.closed_for(ProblemCode::Unauthenticated, CloseReason::Unauthenticated);
    script.quiet();
}

#[tokio::test]
async fn a_refused_token_ends_the_link_and_a_pending_one_is_waited_for() {
    let mut script = Script::silent();
    script.session.handle_ask(script.now, Ask::Hello { token: "t".to_owned(), resume: None });
    assert!(matches!(script.session.poll_action(), Some(Action::Authenticate { .. })));
    assert!(!script.session.wants_frames() && script.session.poll_timeout().is_none());
    script.session.handle_admitted(Err(Problem::of(ProblemCode::SessionEnded)));
    script.closed_for(ProblemCode::SessionEnded, CloseReason::Unauthenticated);
}

#[tokio::test]
async fn a_sender_does_not_get_its_own_message_back() {
    // The hint first, then the answer.
    let mut script = Script::live(4);
    let ticket = script.send(9, "mine");
    script.session.handle_hint(hint(message(5, "alice", 1, "mine")));
    script.quiet();
    script.session.handle_outcome(ticket, placed(5));
    assert_eq!(script.sent(9).map(|stored| stored.seq), Ok(Seq(5)));
    script.session.handle_hint(hint(from_bob(6)));
    script.live_message(6);

    // The answer first, with another message in between.
    let mut script = Script::live(4);
    let ticket = script.send(9, "mine");
    script.session.handle_outcome(ticket, placed(6));
    assert_eq!(script.sent(9).map(|stored| stored.seq), Ok(Seq(6)));
    script.session.handle_hint(hint(from_bob(5)));
    script.live_message(5);
    script.session.handle_hint(hint(message(6, "alice", 1, "mine")));
    script.quiet();
    script.session.handle_hint(hint(from_bob(7)));
    script.live_message(7);
    script.quiet();
}

#[tokio::test]
async fn own_messages_in_a_gap_are_passed_over() {
    let mut script = Script::live(4);
    let answered = script.send(1, "one");
    let waiting = script.send(2, "two");
    script.session.handle_outcome(answered, placed(6));
    assert!(script.sent(1).is_ok());
    script.session.handle_hint(hint(from_bob(8)));
    let (one, two) = (message(6, "alice", 1, "one"), message(7, "alice", 1, "two"));
    script.read(4, &[from_bob(5), one, two, from_bob(8)]);
    script.stored(&[5, 8], false);
    script.session.handle_outcome(waiting, placed(7));
    assert!(script.sent(2).is_ok());
    script.quiet();
}

#[tokio::test]
async fn own_messages_of_other_devices_and_links_are_delivered() {
    let mut script = Script::live(4);
    script.session.handle_hint(hint(message(5, "alice", 7, "phone")));
    script.live_message(5);
    script.session.handle_hint(hint(message(6, "alice", 1, "other link")));
    script.live_message(6);
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_still_the_links_own() {
    let mut script = Script::live(4);
    let ticket = script.send(1, "mine");
    script.session.handle_outcome(ticket, Err(NoOutcome::Route(RouteError::Unknown)));
    let problem = script.sent(1).expect_err("the answer was lost");
    assert!(problem.code.is_unknown() && problem.code.retryable());
    script.session.handle_hint(hint(message(5, "alice", 1, "mine")));
    script.quiet();
    let again = script.send(2, "mine");
    let place = Place { seq: Seq(5), ..Place::default() };
    script.session.handle_outcome(again, Ok(Outcome::Duplicate(place)));
    let stored = script.sent(2).expect("it was stored the first time");
    assert!(stored.duplicate && stored.seq == Seq(5));
}

#[tokio::test]
async fn outcomes_are_told_as_they_come_under_their_own_tags() {
    let mut script = Script::live(0);
    let tickets: Vec<Ticket> = (1..=3).map(|tag| script.send(tag, &format!("m{tag}"))).collect();
    script.session.handle_outcome(tickets[2], placed(1));
    assert_eq!(script.sent(3).map(|stored| stored.seq), Ok(Seq(1)));
    let expected = Order(2);
    let refused = Outcome::Refused(Refusal::OutOfOrder { expected });
    script.session.handle_outcome(tickets[0], Ok(refused));
    let problem = script.sent(1).expect_err("it was refused");
    assert_eq!((problem.code, problem.expected), (ProblemCode::OutOfOrder, Some(2)));
    script.session.handle_outcome(tickets[1], placed(2));
    assert_eq!(script.sent(2).map(|stored| stored.seq), Ok(Seq(2)));
}

#[tokio::test]
async fn a_sender_without_credit_is_not_read_from() {
    let mut script = Script::live(0);
    let credit = crate::session::sends::CREDIT as u64;
    let tickets: Vec<Ticket> =
        (0..credit).map(|tag| script.send(tag, &format!("m{tag}"))).collect();
    assert!(!script.session.wants_frames());
    script.session.handle_outcome(tickets[0], placed(1));
    assert!(script.session.wants_frames());
}

#[tokio::test]
async fn somebody_elses_name_is_not_accepted() {
    let mut script = Script::live(0);
    let request = SendRequest {
        tag: 4,
        to: SendTo::Receiver(user("bob")),
        order: None,
        message_id: MessageId::parse("m").expect("legal"),
        body: Body::default(),
    };
    let outgoing =
        Outgoing { sender: Some("mallory".to_owned()), within: BTreeSet::new(), request };
    script.session.handle_ask(script.now, Ask::Send(outgoing));
    let problem = script.sent(4).expect_err("it is not the user");
    assert_eq!(problem.code, ProblemCode::NotAllowed);
    assert_eq!(problem.field.as_deref(), Some("senderId"));
    script.quiet();
}

#[tokio::test]
async fn a_send_beyond_the_rate_is_refused_with_a_hint() {
    let now = Instant::now();
    let mut script = Script { session: Session::new(now, Some(("token".to_owned(), None))), now };
    script.session.poll_action();
    let budget = Arc::new(Bucket::new(crate::config::Rate { per_second: 10, burst: 1 }));
    let connection_id = "c".to_owned();
    let (resume, reset) = (String::new(), false);
    let admitted = Admitted { who: alice(), connection_id, budget, resume, reset };
    script.session.handle_admitted(Ok(admitted));
    while script.session.poll_action().is_some() {}
    script.send(1, "one");
    script.ask_send(2, "two");
    let problem = script.sent(2).expect_err("the budget is spent");
    assert_eq!(problem.code, ProblemCode::RateLimited);
    assert_eq!(problem.retry_after, Some(Duration::from_millis(100)));
}

#[tokio::test]
async fn confirmations_that_wait_become_one_proposal() {
    let mut script = Script::live(9);
    let confirm =
        |tag, seq| Ask::Confirm { tag, conversation: conversation(), seq: Seq(seq), read: true };
    for tag in 1..=4 {
        script.session.handle_ask(script.now, confirm(tag, tag + 2));
    }
    let (ticket, command) = script.proposed();
    assert!(matches!(command, Command::Confirm { seq: Seq(3), read: true, .. }), "{command:?}");
    script.quiet();
    let cursor = |seq| Place { delivered: Seq(9), read: Seq(seq), ..Place::default() };
    script.session.handle_outcome(ticket, Ok(Outcome::Accepted(cursor(3))));
    assert!(matches!(script.say(), Say::Confirmed { tag: 1, result: Ok(_), .. }));
    let (ticket, command) = script.proposed();
    assert!(matches!(command, Command::Confirm { seq: Seq(6), .. }), "{command:?}");
    script.session.handle_outcome(ticket, Ok(Outcome::Accepted(cursor(6))));
    for tag in 2..=4 {
        let said = script.say();
        assert!(matches!(said, Say::Confirmed { tag: told, .. } if told == tag), "{said:?}");
    }
    script.session.handle_ask(script.now, confirm(5, 6));
    assert!(matches!(script.say(), Say::Confirmed { tag: 5, result: Ok(_), .. }), "known already");
    script.quiet();
}

#[tokio::test]
async fn an_ended_session_closes_its_link_and_does_nothing_more() {
    let mut script = Script::live(4);
    let ticket = script.send(1, "m");
    script.session.handle_ended();
    script.closed_for(ProblemCode::SessionEnded, CloseReason::Unauthenticated);
    script.session.handle_hint(hint(from_bob(5)));
    script.session.handle_outcome(ticket, placed(6));
    script.ask_send(2, "n");
    script.quiet();
}

#[tokio::test]
async fn a_stopping_node_says_where_to_go() {
    let mut script = Script::live(4);
    script.session.handle_stop(vec!["127.0.0.1:7410".to_owned()], None);
    assert!(matches!(script.say(), Say::GoAway { addresses, .. } if addresses.len() == 1));
    let end = script.session.poll_action();
    assert!(matches!(end, Some(Action::Close(CloseReason::GoingAway))), "{end:?}");
}
