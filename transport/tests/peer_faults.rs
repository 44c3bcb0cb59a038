//! Dead, silent and cut peers: what is noticed, by which evidence, and what calls say meanwhile.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use tokio::sync::broadcast;
use transport::peer::{Lane, LinkFailure, Liveness, PeerError};

#[path = "peer_support/planes.rs"]
mod planes;
use planes::{
    CLUSTER, Options, PATIENCE, TestNode, authority, eventually, introduce, joined, pair, start,
};

fn hi() -> Bytes {
    Bytes::from_static(b"hi")
}

async fn event(events: &mut broadcast::Receiver<Liveness>) -> Liveness {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    event.expect("an event came in time").expect("the plane lives")
}

/// A node on a runtime of its own, which can be killed as a process is: all at once.
struct Process {
    runtime: Option<tokio::runtime::Runtime>,
    node: TestNode,
}

impl Process {
    async fn start(authority: &transport::authority::Authority, id: u64, options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let _guard = runtime.enter();
        let started = start(authority, id, options);
        // Polled here, but its tasks and sockets belong to the entered runtime.
        let node = started.await;
        drop(_guard);
        Process { runtime: Some(runtime), node }
    }

    fn kill(mut self) {
        self.runtime.take().expect("killed once").shutdown_background();
        std::mem::drop(self.node);
    }
}

/// Silence can never be the evidence in these tests.
fn patient() -> Options {
    Options { cluster: CLUSTER, dead_after: Duration::from_secs(3600), ..Options::default() }
}

#[tokio::test(flavor = "current_thread")]
async fn a_killed_peer_is_noticed_without_waiting_for_silence() {
    let authority = authority();
    let a = start(&authority, 1, patient()).await;
    let b = Process::start(&authority, 2, patient()).await;
    introduce((1, &a.plane), (2, &b.node.plane));
    joined(&a.plane, 2).await;
    let mut events = a.plane.liveness();
    let lost = a.plane.call(2, Lane::Forward, Bytes::from_static(b"hold"), PATIENCE);
    eventually("the call arrived", async || b.node.recorder.held() == 1).await;
    b.kill();
    assert_eq!(event(&mut events).await, Liveness { node: 2, alive: false });
    assert_eq!(lost.await, Err(PeerError::Lost), "it may have been acted on");
    let unsent = a.plane.call(2, Lane::Forward, hi(), PATIENCE).await;
    assert_eq!(unsent, Err(PeerError::Unreachable), "it was definitely not sent");
    assert!(!a.plane.alive(2));
}

#[tokio::test]
async fn a_silent_peer_is_held_for_dead_and_its_calls_are_lost() {
    let (a, b) = pair(Options::default).await;
    let mut events = a.plane.liveness();
    let held = a.plane.call(2, Lane::Forward, Bytes::from_static(b"hold"), PATIENCE);
    eventually("the call arrived", async || b.recorder.held() == 1).await;
    // As a frozen process: every connection stands, nothing comes.
    b.plane.cut(BTreeSet::from([1]));
    assert_eq!(event(&mut events).await, Liveness { node: 2, alive: false });
    assert_eq!(held.await, Err(PeerError::Lost));
    eventually("the lane says why", async || {
        let failures = a.plane.status(2).expect("known").failures;
        failures.iter().all(|f| matches!(f, Some(LinkFailure::Silent | LinkFailure::Hung)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_is_silence_both_ways_and_healing_restores_every_lane() {
    let authority = authority();
    let a = start(&authority, 1, Options::default()).await;
    let b = start(&authority, 2, Options::default()).await;
    let c = start(&authority, 3, Options::default()).await;
    introduce((1, &a.plane), (2, &b.plane));
    introduce((1, &a.plane), (3, &c.plane));
    introduce((2, &b.plane), (3, &c.plane));
    for (plane, peers) in [(&a.plane, [2, 3]), (&b.plane, [1, 3]), (&c.plane, [1, 2])] {
        for peer in peers {
            joined(plane, peer).await;
        }
    }
    for _ in 0..3 {
        let (mut at_a, mut at_b) = (a.plane.liveness(), b.plane.liveness());
        a.plane.cut(BTreeSet::from([2]));
        assert_eq!(event(&mut at_a).await, Liveness { node: 2, alive: false });
        assert_eq!(event(&mut at_b).await, Liveness { node: 1, alive: false });
        for lane in Lane::ALL {
            assert_eq!(a.plane.call(2, lane, hi(), PATIENCE).await, Err(PeerError::Unreachable));
            assert_eq!(b.plane.call(1, lane, hi(), PATIENCE).await, Err(PeerError::Unreachable));
            assert_eq!(a.plane.call(3, lane, hi(), PATIENCE).await, Ok(hi()), "others are there");
            assert_eq!(c.plane.call(2, lane, hi(), PATIENCE).await, Ok(hi()));
        }
        a.plane.cut(BTreeSet::new());
        assert_eq!(event(&mut at_a).await, Liveness { node: 2, alive: true });
        assert_eq!(event(&mut at_b).await, Liveness { node: 1, alive: true });
        joined(&a.plane, 2).await;
        joined(&b.plane, 1).await;
    }
}

#[tokio::test]
async fn nothing_crosses_a_cut() {
    let (a, b) = pair(Options::default).await;
    a.plane.cut(BTreeSet::from([2]));
    // Made before either end has noticed: these wait in the line or in the stalled connection.
    let calls: Vec<_> = (0..100).map(|_| a.plane.call(2, Lane::Forward, hi(), PATIENCE)).collect();
    let back = b.plane.call(1, Lane::Forward, hi(), PATIENCE);
    for call in calls {
        let answer = call.await;
        assert!(matches!(answer, Err(PeerError::Lost | PeerError::Unreachable)), "{answer:?}");
    }
    assert!(back.await.is_err());
    assert!(b.recorder.calls.lock().is_empty(), "a call crossed the cut");
    assert!(a.recorder.calls.lock().is_empty(), "a call crossed the cut backwards");
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_that_restarts_is_found_again() {
    let authority = authority();
    let a = start(&authority, 1, Options::default()).await;
    let b = Process::start(&authority, 2, Options::default()).await;
    introduce((1, &a.plane), (2, &b.node.plane));
    joined(&a.plane, 2).await;
    let mut events = a.plane.liveness();
    b.kill();
    assert_eq!(event(&mut events).await, Liveness { node: 2, alive: false });
    let b = Process::start(&authority, 2, Options::default()).await;
    introduce((1, &a.plane), (2, &b.node.plane));
    assert_eq!(event(&mut events).await, Liveness { node: 2, alive: true });
    joined(&a.plane, 2).await;
    b.kill();
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_that_stops_in_order_is_noticed_too() {
    let (a, b) = pair(patient).await;
    let mut events = a.plane.liveness();
    b.stop.cancel();
    assert_eq!(event(&mut events).await, Liveness { node: 2, alive: false });
}
