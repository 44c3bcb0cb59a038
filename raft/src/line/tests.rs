//! Claims about the line alone: order, bounds, and what is said of commands in each situation.

use std::collections::VecDeque;

use openraft::{
    errors::{ClientWriteError, ForwardToLeader},
    raft::{ClientWriteResponse, responder::Responder as _},
};

use super::*;
use crate::{
    Position,
    types::{Outcomes, log_id},
};

struct NoClock;

impl Clock for NoClock {
    fn now_ms(&self) -> u64 {
        7
    }
}

type Handed = Arc<Mutex<VecDeque<(u64, Data, Completion<WriteResult>)>>>;

/// A line whose entries pile up instead of reaching an engine.
fn line(adjust: fn(&mut Config)) -> (Arc<Line>, Handed, Stop) {
    let mut config = Config::new(NodeId(1));
    adjust(&mut config);
    let (stop, handed) = (Stop::new(), Handed::default());
    let line = Line::new(&config, Arc::new(NoClock), Beat::new(), stop.clone());
    let pile = handed.clone();
    line.connect(Box::new(move |term, data, done| pile.lock().push_back((term, data, done))));
    (line, handed, stop)
}

/// A line that leads in term 5 and may propose.
fn open(adjust: fn(&mut Config)) -> (Arc<Line>, Handed) {
    let (line, handed, _) = line(adjust);
    line.set_role(Role::Leading { term: 5 });
    line.opened(5);
    (line, handed)
}

fn submit(line: &Arc<Line>, command: &'static str) -> AnswerReceiver {
    line.submit(command.into()).expect("room and leadership")
}

fn commands(data: &Data) -> Vec<Bytes> {
    proto::log::Entry::decode(data.0.clone()).expect("our own").commands
}

/// Takes the entry in flight and applies it: each outcome is its command.
fn land(handed: &Handed) -> Vec<Bytes> {
    let (_, data, done) = handed.lock().pop_front().expect("something is in flight");
    let commands = commands(&data);
    let log_id = log_id(Position { term: 5, node: 1, index: 1 });
    let data = Outcomes(commands.clone());
    done.on_complete(Ok(ClientWriteResponse { log_id, data, membership: None }));
    commands
}

fn refuse(handed: &Handed, error: ClientWriteError<crate::types::Types>) {
    let (_, _, done) = handed.lock().pop_front().expect("something is in flight");
    done.on_complete(Err(error));
}

fn now_or_never(answer: AnswerReceiver) -> Option<Result<Bytes, ProposeError>> {
    use futures::FutureExt as _;
    answer.now_or_never().map(|answer| answer.expect("a line answers everybody"))
}

#[test]
fn an_idle_line_proposes_within_submit_and_a_busy_one_collects() {
    let (line, handed) = open(|_| ());
    let first = submit(&line, "a");
    assert_eq!(handed.lock().len(), 1, "handed over before submit returned");
    let rest = [submit(&line, "b"), submit(&line, "c")];
    assert_eq!(handed.lock().len(), 1, "one entry in flight");
    assert_eq!(land(&handed), ["a"]);
    assert_eq!(now_or_never(first), Some(Ok("a".into())));
    assert_eq!(handed.lock().len(), 1, "the next entry left at once");
    assert_eq!(land(&handed), ["b", "c"]);
    let rest: Vec<_> = rest.into_iter().map(now_or_never).collect();
    assert_eq!(rest, [Some(Ok("b".into())), Some(Ok("c".into()))]);
}

#[test]
fn entries_are_bounded_in_commands_and_bytes() {
    let (line, handed) = open(|config| {
        config.entry_commands_max = 2;
        config.entry_bytes_max = 4;
    });
    let _all = ["x", "a", "b", "c", "dddd", "e", "ffffff", "g"].map(|text| submit(&line, text));
    let entries: Vec<_> = (0..6).map(|_| land(&handed)).collect();
    let expected: [&[&str]; 6] = [&["x"], &["a", "b"], &["c"], &["dddd"], &["e"], &["ffffff"]];
    assert_eq!(entries, expected);
    assert_eq!(land(&handed), ["g"]);
}

#[test]
fn what_waits_for_the_first_entry_of_a_leadership_leaves_when_it_is_applied() {
    let (line, handed, _) = line(|_| ());
    line.set_role(Role::Leading { term: 5 });
    let _early = submit(&line, "early");
    line.opened(4);
    assert!(handed.lock().is_empty(), "an older leadership's entry opens nothing");
    line.opened(5);
    assert_eq!(handed.lock().front().map(|(term, ..)| *term), Some(5));
    assert_eq!(land(&handed), ["early"]);
}

#[test]
fn losing_the_lead_refuses_what_waits_and_leaves_what_was_handed_over_open() {
    let (line, handed) = open(|_| ());
    let (flying, waiting) = (submit(&line, "flying"), submit(&line, "waiting"));
    let leader = Some(NodeId(2));
    line.set_role(Role::Following { leader });
    let not_leader = Err(ProposeError::NotLeader { leader });
    assert_eq!(now_or_never(waiting), Some(not_leader.clone()));
    assert_eq!(line.submit("late".into()).err(), not_leader.err());
    // The entry commits under the next leader after all, and its outcome arrives.
    land(&handed);
    assert_eq!(now_or_never(flying), Some(Ok("flying".into())));
}

#[test]
fn a_new_leadership_does_not_wait_for_an_entry_of_the_old_one() {
    let (line, handed) = open(|_| ());
    let old = submit(&line, "old");
    line.set_role(Role::Following { leader: None });
    line.set_role(Role::Leading { term: 6 });
    line.opened(6);
    let _new = submit(&line, "new");
    assert_eq!(handed.lock().len(), 2);
    let (term, ..) = *handed.lock().back().map(|(term, ..)| (*term,)).iter().next().expect("two");
    assert_eq!(term, 6);
    refuse(&handed, ClientWriteError::LogEntryDiscarded(ForwardToLeader::empty()));
    assert_eq!(now_or_never(old), Some(Err(ProposeError::Unknown)));
    let _next = submit(&line, "next");
    assert_eq!(handed.lock().len(), 1, "the new one is still in flight");
}

#[test]
fn only_the_engines_refusal_before_the_append_is_definite() {
    let (line, handed) = open(|_| ());
    let refused = submit(&line, "refused");
    let forward = ForwardToLeader { leader_id: Some(3), ..ForwardToLeader::empty() };
    refuse(&handed, ClientWriteError::ForwardToLeader(forward));
    let leader = Some(NodeId(3));
    assert_eq!(now_or_never(refused), Some(Err(ProposeError::NotLeader { leader })));
    let discarded = submit(&line, "discarded");
    refuse(&handed, ClientWriteError::LogEntryDiscarded(ForwardToLeader::empty()));
    assert_eq!(now_or_never(discarded), Some(Err(ProposeError::Unknown)));
}

#[test]
fn a_dead_engine_leaves_what_it_had_unknown_and_refuses_the_rest() {
    let (line, handed) = open(|_| ());
    let (flying, waiting) = (submit(&line, "flying"), submit(&line, "waiting"));
    handed.lock().clear();
    assert_eq!(now_or_never(flying), Some(Err(ProposeError::Unknown)));
    assert_eq!(now_or_never(waiting), Some(Err(ProposeError::Stopped)));
    assert_eq!(line.submit("late".into()).err(), Some(ProposeError::Stopped));
}

#[test]
fn an_entry_that_takes_too_long_is_given_up_and_nothing_overtakes_it() {
    let (line, handed) = open(|config| config.commit_patience = Duration::from_secs(2));
    let (flying, waiting) = (submit(&line, "flying"), submit(&line, "waiting"));
    line.tick(Instant::now());
    assert_eq!(handed.lock().len(), 1, "it is not late yet");
    line.tick(Instant::now() + Duration::from_secs(3));
    assert_eq!(line.submit("late".into()).err(), Some(ProposeError::Unavailable));
    assert_eq!(now_or_never(flying), Some(Err(ProposeError::Unknown)));
    assert_eq!(now_or_never(waiting), Some(Err(ProposeError::Unavailable)));
    assert_eq!(handed.lock().len(), 1, "it stays in flight");
    land(&handed);
    let _again = submit(&line, "again");
    assert_eq!(land(&handed), ["again"]);
}

#[test]
fn without_a_quorum_nothing_is_accepted_and_what_waits_is_refused() {
    let (line, handed) = open(|_| ());
    let (flying, waiting) = (submit(&line, "flying"), submit(&line, "waiting"));
    line.set_quorum(false);
    assert_eq!(now_or_never(waiting), Some(Err(ProposeError::Unavailable)));
    assert_eq!(line.submit("late".into()).err(), Some(ProposeError::Unavailable));
    line.set_quorum(true);
    land(&handed);
    assert_eq!(now_or_never(flying), Some(Ok("flying".into())));
    let _again = submit(&line, "again");
    assert_eq!(land(&handed), ["again"]);
}

#[test]
fn permits_are_bounded_and_come_back_on_every_way_out() {
    let (line, handed) = open(|config| {
        config.propose_commands_max = 3;
        config.propose_bytes_max = 10;
        config.entry_bytes_max = 10;
    });
    let overloaded = |line: &Arc<Line>, text: &'static str| {
        matches!(line.submit(text.into()), Err(ProposeError::Overloaded { .. }))
    };
    let leader = ForwardToLeader::empty();
    for round in 0..4 {
        let _held = [submit(&line, "a"), submit(&line, "b"), submit(&line, "c")];
        assert!(overloaded(&line, "d"), "round {round}: three commands are all");
        match round {
            0 => drop(land(&handed)),
            1 => refuse(&handed, ClientWriteError::ForwardToLeader(leader.clone())),
            2 => refuse(&handed, ClientWriteError::LogEntryDiscarded(leader.clone())),
            _ => {
                line.set_role(Role::Following { leader: None });
                handed.lock().clear();
                return;
            }
        }
        land(&handed);
    }
    assert!(overloaded(&line, "eleven bytes"));
}

#[test]
fn a_low_disk_refuses_at_the_door() {
    let (line, _handed) = open(|_| ());
    line.set_room(false);
    assert!(matches!(line.submit("a".into()), Err(ProposeError::Overloaded { .. })));
    line.set_room(true);
    let _accepted = submit(&line, "a");
}

#[tokio::test]
async fn a_machine_that_miscounts_is_fatal() {
    let (line, handed, stop) = line(|_| ());
    line.set_role(Role::Leading { term: 5 });
    line.opened(5);
    let answer = submit(&line, "a");
    let (_, _, done) = handed.lock().pop_front().expect("in flight");
    let log_id = log_id(Position { term: 5, node: 1, index: 1 });
    let data = Outcomes(Vec::new());
    done.on_complete(Ok(ClientWriteResponse { log_id, data, membership: None }));
    assert_eq!(now_or_never(answer), Some(Err(ProposeError::Unknown)));
    assert!(stop.wait().await.reason().contains("0 outcomes for 1 commands"));
}

#[tokio::test(start_paused = true)]
async fn when_many_write_the_next_entry_gathers_and_leaves_by_itself() {
    let (line, handed) = open(|_| ());
    let _many = ["a", "b", "c", "d", "e"].map(|text| submit(&line, text));
    assert_eq!(land(&handed), ["a"]);
    let _next = submit(&line, "f");
    tokio::time::advance(Duration::from_millis(6)).await;
    assert_eq!(land(&handed), ["b", "c", "d", "e"]);
    assert!(handed.lock().is_empty(), "the entry after one of four commands is held back");
    let _late = submit(&line, "g");
    assert!(handed.lock().is_empty(), "also when one more comes");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(land(&handed), ["f", "g"]);
    let lone = submit(&line, "h");
    assert_eq!(land(&handed), ["h"], "few write: nothing is held back");
    assert_eq!(now_or_never(lone), Some(Ok("h".into())));
}

#[tokio::test(start_paused = true)]
async fn a_full_entry_does_not_wait_for_more() {
    let (line, handed) = open(|config| config.entry_commands_max = 4);
    let _many = ["a", "b", "c", "d", "e"].map(|text| submit(&line, text));
    assert_eq!(land(&handed), ["a"]);
    let _next = ["f", "g", "h"].map(|text| submit(&line, text));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(land(&handed), ["b", "c", "d", "e"]);
    assert!(handed.lock().is_empty());
    let _fourth = submit(&line, "i");
    assert_eq!(land(&handed), ["f", "g", "h", "i"]);
}
