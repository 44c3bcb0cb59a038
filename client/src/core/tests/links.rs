//! Links that are lost, fall silent, or want to be left, and tokens that expire.

use super::*;

#[test]
fn a_silent_busy_link_is_pinged_and_then_another_node_is_dialled() {
    let (mut script, link) = Script::connected(3);
    let ticket = script.send("a");
    script.sends(link);
    script.pass(ms(99));
    assert!(!script.written.contains_key(&link), "not yet");
    script.pass(ms(2));
    assert!(matches!(script.next(link), ClientFrame::Ping(_)));
    script.pass(ms(198));
    assert!(script.dialled.is_empty(), "silence is not long enough");
    script.pass(ms(2));
    let (_, node) = script.dialled[0];
    assert_eq!(node, 1, "another node is dialled beside it");
    assert!(script.closed.is_empty(), "the first link still has its chance");
    let next = script.welcome();
    assert_eq!(script.closed, [link]);
    let again = script.sends(next);
    assert_eq!(shown(&again), [("a", 0)]);
    script.stored(next, &again[0], 5, 1);
    assert!(script.sent[&ticket].is_ok());
    let told = script.incoming();
    assert_eq!(
        told,
        [Incoming::LinkUp { node: 1 }],
        "the application saw no gap between the links"
    );
}

#[test]
fn a_link_that_answers_its_ping_is_kept() {
    let (mut script, link) = Script::connected(3);
    script.send("a");
    for _ in 0..9 {
        script.pass(ms(105));
        script.say(link, ServerFrame::Pong(frames::Pong { tag: 1 }));
    }
    assert!(script.dialled.is_empty() && script.closed.is_empty());
}

#[test]
fn a_link_that_speaks_again_in_time_is_kept() {
    let (mut script, link) = Script::connected(3);
    script.send("a");
    script.pass(ms(310));
    let (beside, _) = script.dialled[0];
    script.say(link, ServerFrame::Pong(frames::Pong { tag: 1 }));
    assert_eq!(script.closed, [beside]);
    assert!(!script.core.dialled(script.now, beside), "nobody wants it any more");
}

#[test]
fn an_idle_link_may_be_silent() {
    let (mut script, link) = Script::connected(3);
    script.pass(ms(60_000));
    assert!(script.dialled.is_empty() && script.closed.is_empty());
    assert!(script.written[&link].is_empty(), "not even a ping");
}

#[test]
fn a_node_that_lives_and_does_not_answer_is_left_but_not_too_often() {
    let (mut script, mut link) = Script::connected(3);
    script.send("a");
    let mut moves = 0;
    for _ in 0..200 {
        script.pass(ms(50));
        script.say(link, ServerFrame::Pong(frames::Pong { tag: 1 }));
        if !script.dialled.is_empty() {
            link = script.welcome();
            moves += 1;
        }
    }
    assert!((2..=5).contains(&moves), "{moves} moves in ten seconds");
}

#[test]
fn the_only_node_is_waited_for() {
    let (mut script, link) = Script::connected(1);
    let ticket = script.send("a");
    for _ in 0..200 {
        script.pass(ms(50));
        script.say(link, ServerFrame::Pong(frames::Pong { tag: 1 }));
    }
    assert!(script.dialled.is_empty() && script.closed.is_empty());
    let send = script.sends(link).remove(0);
    script.stored(link, &send, 1, 1);
    assert!(script.sent[&ticket].is_ok());
}

#[test]
fn unavailable_moves_to_the_next_node() {
    let (mut script, link) = Script::connected(3);
    script.send("a");
    let send = script.sends(link).remove(0);
    script.refuse(link, &send, ProblemCode::Unavailable);
    assert_eq!(script.dialled.len(), 1);
    let next = script.welcome();
    script.pass(ms(50));
    assert_eq!(shown(&script.sends(next)), [("a", 0)]);
    assert_eq!(script.closed, [link]);
}

#[test]
fn go_away_moves_to_the_node_that_it_names() {
    let (mut script, link) = Script::connected(3);
    let away = frames::GoAway {
        addresses: vec!["127.0.0.1:7402".into()],
        after_ms: 0,
        ..Default::default()
    };
    script.say(link, ServerFrame::GoAway(away));
    assert_eq!(script.dialled[0].1, 2);
    assert!(script.closed.is_empty(), "the old link carries on until the new one stands");
    script.welcome();
    assert_eq!(script.closed, [link]);
}

#[test]
fn every_node_is_tried_at_once_and_then_with_pauses() {
    let mut script = Script::new(3);
    let mut tried = Vec::new();
    for _ in 0..3 {
        let (id, node) = script.dialled.pop_front().expect("the next node at once");
        tried.push(node);
        script.lose(id);
    }
    assert_eq!(tried, [0, 1, 2]);
    assert!(script.dialled.is_empty(), "now it waits");
    script.pass(ms(21));
    assert_eq!(script.dialled.len(), 1);
}

#[test]
fn a_dial_that_hangs_is_helped_by_another_and_given_up() {
    let mut script = Script::new(3);
    let (hanging, _) = script.dialled.pop_front().expect("dialled");
    script.pass(ms(301));
    assert_eq!(script.dialled.len(), 1, "another node beside it");
    script.welcome();
    assert_eq!(script.closed, [hanging]);
    let mut script = Script::new(1);
    let (hanging, _) = script.dialled.pop_front().expect("dialled");
    script.pass(ms(3_001));
    assert!(script.closed.contains(&hanging));
}

fn unauthenticated() -> ServerFrame {
    ServerFrame::Problem(proto::Problem::of(ProblemCode::Unauthenticated).into())
}

#[test]
fn a_refused_token_is_renewed_before_the_next_link() {
    let mut script = Script::new(2);
    let (id, _) = script.dialled.pop_front().expect("dialled");
    script.core.dialled(script.now, id);
    script.say(id, unauthenticated());
    assert_eq!(script.refreshes, [alice()]);
    script.pass(ms(5_000));
    assert!(script.dialled.is_empty(), "a refused token opens nothing");
    let renewed = Credentials { access: "second".into(), ..alice() };
    script.core.refreshed(script.now, Ok(renewed));
    script.act();
    let (id, _) = script.dialled.pop_front().expect("dialled again");
    script.core.dialled(script.now, id);
    script.act();
    let ClientFrame::Hello(hello) = script.next(id) else { panic!("it says who it is") };
    assert_eq!(hello.token, "second");
    script.say(id, unauthenticated());
    assert!(matches!(script.incoming().as_slice(), [Incoming::SessionEnded { .. }]));
    assert!(script.core.is_stopped());
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    let mut script = Script::new(2);
    let (id, _) = script.dialled.pop_front().expect("dialled");
    script.core.dialled(script.now, id);
    let welcome = frames::Welcome { node: 1, at_ms: 1_000_000 - 20_000, ..Default::default() };
    script.say(id, ServerFrame::Welcome(welcome));
    script.pass(ms(14_900));
    assert!(script.refreshes.is_empty());
    script.pass(ms(200));
    assert_eq!(script.refreshes.len(), 1, "a quarter of its twenty seconds is left");
    script.core.refreshed(script.now, Err(crate::CallError::Unavailable("not now".into())));
    script.pass(ms(1_100));
    assert_eq!(script.refreshes.len(), 2, "tried again");
    let problem = Problem { code: "stale_refresh".into(), ..Default::default() };
    let refused = crate::CallError::Refused { status: 401, problem };
    script.core.refreshed(script.now, Err(refused));
    assert!(script.core.is_stopped());
}
