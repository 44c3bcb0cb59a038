//! Messages in: each once, in order, gaps closed by history; confirmations out.

use chat::Seq;

use super::*;
use crate::core::Reached;
use crate::{AskError, Standing};

fn asked_history(script: &mut Script, link: LinkId) -> Vec<frames::ReadHistory> {
    let queue = script.written.remove(&link).unwrap_or_default();
    let reads = queue.into_iter().filter_map(|frame| match frame {
        ClientFrame::ReadHistory(read) => Some(read),
        _ => None,
    });
    reads.collect()
}

fn page(read: &frames::ReadHistory, seqs: &[u64], last_seq: u64) -> ServerFrame {
    ServerFrame::HistoryPage(frames::HistoryPage {
        tag: read.tag,
        messages: seqs.iter().map(|seq| message(*seq)).collect(),
        last_seq,
        ..Default::default()
    })
}

#[test]
fn what_comes_twice_is_received_once() {
    let (mut script, link) = Script::connected(2);
    script.say(link, deliver(&[7, 8]));
    script.say(link, deliver(&[8, 9]));
    script.say(link, deliver(&[7, 8, 9, 10]));
    assert_eq!(script.received(), [7, 8, 9, 10]);
}

#[test]
fn a_gap_is_closed_by_history_in_order() {
    let (mut script, link) = Script::connected(2);
    script.say(link, deliver(&[1]));
    script.say(link, deliver(&[5]));
    assert!(asked_history(&mut script, link).is_empty(), "it may close by itself");
    script.pass(ms(31));
    let reads = asked_history(&mut script, link);
    assert_eq!(reads.len(), 1);
    assert_eq!((reads[0].after, reads[0].at_least), (1, 5));
    script.say(link, deliver(&[6]));
    assert_eq!(script.received(), [1], "nothing is handed over past the gap");
    script.say(link, page(&reads[0], &[2, 3], 6));
    let more = asked_history(&mut script, link);
    assert_eq!((more[0].after, more[0].at_least), (3, 6));
    script.say(link, page(&more[0], &[4, 5, 6], 6));
    assert_eq!(script.received(), [2, 3, 4, 5, 6]);
    script.say(link, deliver(&[7]));
    assert_eq!(script.received(), [7], "deliveries flow again");
}

#[test]
fn an_own_message_is_part_of_the_count_and_is_not_handed_over() {
    let (mut script, link) = Script::connected(2);
    script.say(link, deliver(&[1]));
    script.send("mine");
    let send = script.sends(link).remove(0);
    // The delivery of what came after it overtakes the answer.
    script.say(link, deliver(&[3]));
    script.stored(link, &send, 2, 1);
    assert_eq!(script.received(), [1, 3]);
    script.pass(ms(100));
    assert!(asked_history(&mut script, link).is_empty(), "there is no gap");
}

#[test]
fn own_messages_that_a_node_sends_back_are_passed_over_and_confirmed() {
    let (mut script, link) = Script::connected(2);
    let own = |seq| frames::Message { device: 1, ..message(seq) };
    let messages = vec![own(1), own(2), message(3), own(4)];
    script.say(link, ServerFrame::Deliver(frames::Deliver { messages, catching_up: true }));
    assert_eq!(script.received(), [3]);
    assert!(confirms(&mut script, link).is_empty(), "the application has not dealt with 3");
    confirm(&mut script, None, 3, false);
    assert_eq!(confirms(&mut script, link)[0].seq, 4, "what is its own after it counts too");

    let (mut script, link) = Script::connected(2);
    let messages = vec![own(1), own(2)];
    script.say(link, ServerFrame::Deliver(frames::Deliver { messages, catching_up: true }));
    assert!(script.received().is_empty());
    assert_eq!(confirms(&mut script, link)[0].seq, 2, "nobody else would confirm them");
}

#[test]
fn history_that_leaves_something_out_is_believed() {
    let (mut script, link) = Script::connected(2);
    script.say(link, deliver(&[1]));
    script.say(link, deliver(&[6, 9]));
    script.pass(ms(31));
    let reads = asked_history(&mut script, link);
    script.say(link, page(&reads[0], &[4, 6, 8, 9], 9));
    assert_eq!(script.received(), [1, 4, 6, 8, 9]);
    script.pass(ms(1_000));
    assert!(asked_history(&mut script, link).is_empty(), "the gap is closed");
}

#[test]
fn a_gap_outlives_its_link_and_a_node_that_is_behind() {
    let (mut script, link) = Script::connected(2);
    script.say(link, deliver(&[1]));
    script.say(link, deliver(&[4]));
    script.pass(ms(31));
    assert_eq!(asked_history(&mut script, link).len(), 1);
    script.lose(link);
    let next = script.welcome();
    let reads = asked_history(&mut script, next);
    assert_eq!((reads[0].after, reads[0].at_least), (1, 4));
    script.say(next, page(&reads[0], &[], 1));
    assert!(asked_history(&mut script, next).is_empty(), "it is given time");
    script.pass(ms(50));
    let again = asked_history(&mut script, next);
    script.say(next, page(&again[0], &[2, 3, 4], 4));
    assert_eq!(script.received(), [1, 2, 3, 4]);
}

#[test]
fn a_resumed_link_repeats_nothing_to_the_application() {
    let (mut script, link) = Script::connected(2);
    script.say(link, deliver(&[1, 2, 3]));
    script.lose(link);
    let next = script.welcome();
    // The node goes by the confirmed cursor, which may be behind.
    script.say(next, deliver(&[2, 3, 4]));
    script.say(next, ServerFrame::CaughtUp(frames::CaughtUp {}));
    let items = script.incoming();
    let seqs: Vec<u64> = items
        .iter()
        .filter_map(|item| match item {
            Incoming::Message(message) => Some(message.seq),
            _ => None,
        })
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    assert!(matches!(items[3], Incoming::LinkDown { .. }), "{items:?}");
    assert_eq!(items.last(), Some(&Incoming::CaughtUp));
}

#[test]
fn status_never_goes_back() {
    let (mut script, link) = Script::connected(2);
    let conversation = Bytes::copy_from_slice(with_bob().as_bytes());
    let status = |delivered, read| {
        let conversation = conversation.clone();
        ServerFrame::Status(frames::Status { conversation, delivered, read })
    };
    for (delivered, read) in [(3, 1), (2, 1), (3, 1), (4, 0)] {
        script.say(link, status(delivered, read));
    }
    let told: Vec<(u64, u64)> = script
        .incoming()
        .into_iter()
        .filter_map(|item| match item {
            Incoming::Status { delivered, read, .. } => Some((delivered.0, read.0)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(3, 1), (4, 1)]);
}

fn confirms(script: &mut Script, link: LinkId) -> Vec<frames::Confirm> {
    let queue = script.written.remove(&link).unwrap_or_default();
    let confirms = queue.into_iter().filter_map(|frame| match frame {
        ClientFrame::Confirm(confirm) => Some(confirm),
        _ => None,
    });
    confirms.collect()
}

fn confirm(script: &mut Script, ticket: Option<Ticket>, seq: u64, read: bool) {
    let reached = Reached { seq: Seq(seq), read };
    script.core.confirm(script.now, ticket, with_bob(), reached);
    script.act();
}

fn taken(confirm: &frames::Confirm) -> ServerFrame {
    ServerFrame::Confirmed(frames::Confirmed {
        tag: confirm.tag,
        delivered: confirm.seq,
        read: if confirm.read { confirm.seq } else { 0 },
        ..Default::default()
    })
}

#[test]
fn of_many_confirmations_the_furthest_is_sent_and_outlives_its_link() {
    let (mut script, link) = Script::connected(2);
    confirm(&mut script, None, 1, false);
    for seq in 2..=9 {
        confirm(&mut script, None, seq, false);
    }
    confirm(&mut script, Some(70), 5, true);
    let first = confirms(&mut script, link);
    assert_eq!(first.iter().map(|c| c.seq).collect::<Vec<_>>(), [1], "one at a time");
    script.lose(link);
    let next = script.welcome();
    let second = confirms(&mut script, next);
    assert_eq!((second[0].seq, second[0].read), (5, true), "reading is confirmed first");
    script.say(next, taken(&second[0]));
    let third = confirms(&mut script, next);
    assert_eq!((third[0].seq, third[0].read), (9, false));
    script.say(next, taken(&third[0]));
    assert!(confirms(&mut script, next).is_empty(), "all is confirmed");
    let standing = Standing { delivered: Seq(5), read: Seq(5) };
    assert_eq!(script.others, [Settled::Confirmed(70, Ok(standing))]);
}

#[test]
fn a_confirmation_beyond_the_end_is_refused_and_forgotten() {
    let (mut script, link) = Script::connected(2);
    confirm(&mut script, Some(70), 99, false);
    let asked = confirms(&mut script, link).remove(0);
    let problem = proto::Problem::of(ProblemCode::BeyondEnd).expecting(3);
    script.say(
        link,
        ServerFrame::Confirmed(frames::Confirmed {
            tag: asked.tag,
            problem: Some(problem.into()),
            ..Default::default()
        }),
    );
    let refused = &script.others[0];
    assert!(matches!(refused, Settled::Confirmed(70, Err(AskError::Refused(_)))), "{refused:?}");
    confirm(&mut script, None, 3, false);
    assert_eq!(confirms(&mut script, link)[0].seq, 3);
}

#[test]
fn a_page_that_nobody_gives_is_given_up() {
    let (mut script, link) = Script::connected(1);
    script.core.read(script.now, 80, frames::ReadHistory::default());
    script.act();
    assert_eq!(asked_history(&mut script, link).len(), 1);
    script.pass(ms(11_000));
    assert_eq!(script.others, [Settled::Page(80, Err(AskError::Unanswered))]);
}

#[test]
fn a_slow_application_is_no_silent_link() {
    let (mut script, link) = Script::connected(2);
    let seqs: Vec<u64> = (1..=2_000).collect();
    script.say(link, deliver(&seqs));
    assert!(script.core.is_congested());
    script.send("a");
    script.pass(ms(5_000));
    assert!(script.dialled.is_empty(), "nothing was read, so nothing can be concluded");
}
