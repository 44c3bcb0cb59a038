//! Calls between nodes: order, volume, bounds, deadlines, and what each failure says.

use std::time::Duration;

use bytes::Bytes;
use transport::peer::{Lane, PeerError};

#[path = "peer_support/planes.rs"]
mod planes;
use planes::{Options, PATIENCE, eventually, pair};

fn number(n: usize) -> Bytes {
    Bytes::from(n.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_pipelined_calls_arrive_in_order_and_get_their_own_answers() {
    let (a, b) = pair(Options::default).await;
    for lane in Lane::ALL {
        b.recorder.calls.lock().clear();
        let calls: Vec<_> =
            (0..10_000).map(|n| a.plane.call(2, lane, number(n), PATIENCE)).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await, Ok(number(n)));
        }
        let arrived = b.recorder.calls.lock();
        let expected: Vec<_> = (0..10_000).map(|n| (1, lane, number(n))).collect();
        assert!(*arrived == expected, "calls arrived out of order on {lane:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_handler_carries_its_code() {
    let (a, _b) = pair(Options::default).await;
    let answer = a.plane.call(2, Lane::Forward, Bytes::from_static(b"refuse"), PATIENCE).await;
    assert_eq!(answer, Err(PeerError::Refused("not_today".into())));
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_deadline_and_the_lane_goes_on() {
    let (a, _b) = pair(Options::default).await;
    let hold = Bytes::from_static(b"hold");
    let answer = a.plane.call(2, Lane::Raft, hold, Duration::from_millis(30)).await;
    assert_eq!(answer, Err(PeerError::Timeout));
    assert_eq!(a.plane.call(2, Lane::Raft, number(1), PATIENCE).await, Ok(number(1)));
}

#[tokio::test]
async fn calls_beyond_the_bound_are_refused_at_once_and_places_are_given_back() {
    let (a, b) = pair(Options::default).await;
    let hold = Bytes::from_static(b"hold");
    let mut held = Vec::new();
    let refused = loop {
        let mut call = a.plane.call(2, Lane::Forward, hold.clone(), PATIENCE);
        match futures::poll!(&mut call) {
            std::task::Poll::Pending => held.push(call),
            std::task::Poll::Ready(answer) => break answer,
        }
        assert!(held.len() <= 100_000, "there is no bound");
    };
    assert_eq!(refused, Err(PeerError::Refused("overloaded".into())));
    let other = a.plane.call(2, Lane::Raft, number(7), PATIENCE).await;
    assert_eq!(other, Ok(number(7)), "a full lane does not fill another");
    eventually("the held calls arrived", async || b.recorder.held() == held.len()).await;
    drop(held);
    // The callee still holds its ends: it says so, and does not break the stream.
    let refused = a.plane.call(2, Lane::Forward, number(8), PATIENCE).await;
    assert_eq!(refused, Err(PeerError::Refused("overloaded".into())));
}

#[tokio::test]
async fn a_request_above_the_size_bound_is_refused_before_it_is_sent() {
    let (a, b) = pair(Options::default).await;
    let large = Bytes::from(vec![0; (8 << 20) + 1]);
    let answer = a.plane.call(2, Lane::Forward, large, PATIENCE).await;
    assert_eq!(answer, Err(PeerError::Refused("too_large".into())));
    assert!(b.recorder.calls.lock().is_empty());
    let largest = Bytes::from(vec![1; 8 << 20]);
    let answer = a.plane.call(2, Lane::Forward, largest.clone(), PATIENCE).await;
    assert!(answer == Ok(largest), "the largest call passes");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_trace() {
    let (a, b) = pair(Options::default).await;
    // Made and dropped without a chance for the connection to take it: never sent.
    drop(a.plane.call(2, Lane::Forward, Bytes::from_static(b"never"), PATIENCE));
    assert_eq!(a.plane.call(2, Lane::Forward, number(1), PATIENCE).await, Ok(number(1)));
    let arrived = b.recorder.calls.lock().clone();
    assert_eq!(arrived, vec![(1, Lane::Forward, number(1))]);
}

#[tokio::test]
async fn a_call_to_nobody_was_not_sent() {
    let (a, _b) = pair(Options::default).await;
    let answer = a.plane.call(77, Lane::Raft, number(1), PATIENCE).await;
    assert_eq!(answer, Err(PeerError::Unreachable));
}
