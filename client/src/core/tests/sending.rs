//! Messages out: counted, repeated, never twice, never out of order.

use super::*;

/// A lane that counts already: `warm` is stored under order 1.
fn counting(nodes: u16) -> (Script, LinkId) {
    let (mut script, link) = Script::connected(nodes);
    script.send("warm");
    let first = script.sends(link);
    script.stored(link, &first[0], 1, 1);
    (script, link)
}

#[test]
fn the_first_message_asks_for_the_count_and_the_others_follow_it() {
    let (mut script, link) = Script::connected(3);
    for id in ["a", "b", "c"] {
        script.send(id);
    }
    let first = script.sends(link);
    assert_eq!(shown(&first), [("a", 0)], "one at a time while the count is not known");
    script.stored(link, &first[0], 41, 17);
    assert_eq!(shown(&script.sends(link)), [("b", 18), ("c", 19)], "the device had sent 17");
    let receipt = script.sent[&1].clone().expect("stored");
    assert_eq!((receipt.seq.0, receipt.order.0, receipt.message_id.as_str()), (41, 17, "a"));
}

#[test]
fn a_link_lost_in_the_middle_of_a_send_repeats_ids_and_orders() {
    let (mut script, link) = counting(3);
    let tickets = ["a", "b", "c"].map(|id| script.send(id));
    let before = script.sends(link);
    assert_eq!(shown(&before), [("a", 2), ("b", 3), ("c", 4)]);
    script.stored(link, &before[0], 2, 2);
    script.lose(link);
    let next = script.welcome();
    let again = script.sends(next);
    assert_eq!(shown(&again), [("b", 3), ("c", 4)], "what was answered is not repeated");
    for (send, seq) in again.iter().zip([3, 4]) {
        script.stored(next, send, seq, send.order);
    }
    let seqs = tickets.map(|ticket| script.sent[&ticket].clone().expect("stored").seq.0);
    assert_eq!(seqs, [2, 3, 4]);
}

#[test]
fn an_answer_that_comes_twice_settles_once() {
    let (mut script, link) = counting(3);
    let ticket = script.send("a");
    let send = script.sends(link).remove(0);
    script.stored(link, &send, 2, 2);
    script.stored(link, &send, 9, 9);
    script.refuse(link, &send, ProblemCode::NotAMember);
    assert_eq!(script.sent[&ticket].clone().expect("stored").seq.0, 2);
    script.send("b");
    assert_eq!(
        shown(&script.sends(link)),
        [("b", 3)],
        "the second answer did not change the count"
    );
}

#[test]
fn a_refused_for_now_message_holds_back_those_after_it() {
    let (mut script, link) = counting(3);
    for id in ["a", "b", "c"] {
        script.send(id);
    }
    let sends = script.sends(link);
    script.refuse(link, &sends[0], ProblemCode::Overloaded);
    script.refuse(link, &sends[1], ProblemCode::OutOfOrder);
    script.refuse(link, &sends[2], ProblemCode::OutOfOrder);
    script.send("d");
    assert!(script.sends(link).is_empty(), "nothing is written past the one that must be repeated");
    script.pass(ms(25));
    let again = script.sends(link);
    assert_eq!(shown(&again), [("a", 2), ("b", 3), ("c", 4), ("d", 5)]);
}

#[test]
fn answers_in_another_order_lead_to_the_same_end() {
    let (mut script, link) = counting(3);
    for id in ["a", "b", "c"] {
        script.send(id);
    }
    let sends = script.sends(link);
    script.refuse(link, &sends[2], ProblemCode::OutOfOrder);
    script.refuse(link, &sends[1], ProblemCode::OutOfOrder);
    assert!(script.sends(link).is_empty(), "they wait for the answer of the one before");
    script.refuse(link, &sends[0], ProblemCode::Overloaded);
    script.pass(ms(25));
    let again = script.sends(link);
    assert_eq!(shown(&again), [("a", 2), ("b", 3), ("c", 4)]);
    for (send, seq) in again.iter().zip([2, 3, 4]).rev() {
        script.stored(link, send, seq, send.order);
    }
    assert!(script.sent.values().all(Result::is_ok) && script.sent.len() == 4);
}

#[test]
fn a_message_refused_for_good_does_not_drag_others_down() {
    let (mut script, link) = counting(3);
    let tickets = ["a", "b", "c"].map(|id| script.send(id));
    let sends = script.sends(link);
    script.refuse(link, &sends[0], ProblemCode::TooLarge);
    assert!(matches!(script.sent[&tickets[0]], Err(SendError::Refused(_))));
    // Whatever the order of the answers, the next is asked for the count, and nobody overtakes.
    script.refuse(link, &sends[2], ProblemCode::OutOfOrder);
    assert!(script.sends(link).is_empty());
    script.refuse(link, &sends[1], ProblemCode::OutOfOrder);
    let again = script.sends(link);
    assert_eq!(shown(&again), [("b", 0)]);
    script.stored(link, &again[0], 2, 2);
    assert_eq!(shown(&script.sends(link)), [("c", 3)]);
}

#[test]
fn a_number_that_another_process_used_is_given_up_and_the_id_decides() {
    let (mut script, link) = counting(3);
    let ticket = script.send("a");
    let send = script.sends(link).remove(0);
    script.refuse(link, &send, ProblemCode::Conflict);
    let again = script.sends(link).remove(0);
    assert_eq!((again.message_id.as_str(), again.order), ("a", 0));
    script.refuse(link, &again, ProblemCode::Conflict);
    assert!(matches!(script.sent[&ticket], Err(SendError::Refused(_))), "the id itself is taken");
}

#[test]
fn patience_ends_with_what_is_known() {
    let (mut script, link) = counting(1);
    let unanswered = script.send("a");
    assert_eq!(script.sends(link).len(), 1);
    script.pass(ms(31_000));
    assert_eq!(script.sent[&unanswered], Err(SendError::Unknown), "it was written");

    let mut script = Script::new(2);
    let unsent = script.send("a");
    script.pass(ms(31_000));
    assert_eq!(script.sent[&unsent], Err(SendError::Unreachable), "it never was");
}

#[test]
fn patience_ends_with_the_last_definite_answer() {
    let (mut script, link) = counting(1);
    let ticket = script.send("a");
    for _ in 0..1_600 {
        for send in script.sends(link) {
            script.refuse(link, &send, ProblemCode::Unavailable);
        }
        script.pass(ms(20));
    }
    let Err(SendError::Unavailable(problem)) = &script.sent[&ticket] else {
        panic!("nothing was stored for certain: {:?}", script.sent[&ticket]);
    };
    assert_eq!(problem.code, "unavailable");
}

#[test]
fn one_unknown_attempt_makes_the_end_unknown() {
    let (mut script, link) = counting(1);
    let ticket = script.send("a");
    let first = script.sends(link).remove(0);
    script.refuse(link, &first, ProblemCode::UnknownOutcome);
    for _ in 0..100 {
        script.pass(ms(500));
        for send in script.sends(link) {
            script.refuse(link, &send, ProblemCode::Unavailable);
        }
    }
    assert_eq!(script.sent[&ticket], Err(SendError::Unknown));
}

#[test]
fn the_outbox_is_bounded_and_says_so() {
    let mut script = Script::new(1);
    for at in 0..4096 {
        script.send(&format!("m{at}"));
    }
    assert!(script.sent.is_empty());
    let one_more = script.send("one more");
    assert_eq!(script.sent[&one_more], Err(SendError::OutboxFull));
}

#[test]
fn the_pipeline_is_bounded() {
    let (mut script, link) = counting(1);
    for at in 0..200 {
        script.send(&format!("m{at}"));
    }
    let sends = script.sends(link);
    assert_eq!(sends.len(), 64);
    script.stored(link, &sends[0], 2, 2);
    assert_eq!(script.sends(link).len(), 1, "one answer makes room for one");
}

#[test]
fn stopping_settles_everything_honestly() {
    let (mut script, link) = counting(1);
    let written = script.send("a");
    assert_eq!(script.sends(link).len(), 1);
    script.lose(link);
    let unwritten = script.send("b");
    script.core.stop();
    script.act();
    assert_eq!(script.sent[&written], Err(SendError::Unknown));
    assert_eq!(script.sent[&unwritten], Err(SendError::Stopped));
    let after = script.send("c");
    assert_eq!(script.sent[&after], Err(SendError::Stopped));
}

#[test]
fn a_count_that_was_lost_goes_on_above_everything_that_was_stored() {
    let (mut script, link) = Script::connected(1);
    script.send("m1");
    let first = script.sends(link).remove(0);
    script.stored(link, &first, 1, 1);
    for id in ["m2", "m3", "m4", "m5", "m6"] {
        script.send(id);
    }
    let sends = script.sends(link);
    // The first is stored and not told so, the next is told; then one is refused for good, and the count with it.
    script.refuse(link, &sends[0], ProblemCode::Overloaded);
    script.stored(link, &sends[1], 3, 3);
    script.refuse(link, &sends[2], ProblemCode::TooLarge);
    script.refuse(link, &sends[3], ProblemCode::OutOfOrder);
    script.refuse(link, &sends[4], ProblemCode::OutOfOrder);
    script.pass(ms(2_000));
    let again = script.sends(link);
    assert_eq!(shown(&again), [("m2", 0)]);
    let stored = frames::Stored { seq: 2, at_ms: 1, duplicate: true, order: 2 };
    script.answer(link, &again[0], sent::Result::Stored(stored));
    assert_eq!(shown(&script.sends(link)), [("m5", 4), ("m6", 5)], "3 is taken");
}
