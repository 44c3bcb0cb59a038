//! Transfers: whole or recognisably broken, under backpressure, cancelled from either end.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use transport::peer::{Lane, PeerError};

#[path = "peer_support/planes.rs"]
mod planes;
use planes::{Options, PATIENCE, TestNode, eventually, pair};

const CHUNK: usize = 64 << 10;

/// `count` chunks, and how many of them have been pulled.
fn chunks(count: usize) -> (Arc<AtomicUsize>, BoxStream<'static, Result<Bytes, String>>) {
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = pulled.clone();
    let stream = futures::stream::iter(0..count).map(move |n| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(Bytes::from(vec![u8::try_from(n % 251).expect("small"); CHUNK]))
    });
    (pulled, stream.boxed())
}

async fn wait_for(notify: &tokio::sync::Notify) {
    tokio::time::timeout(PATIENCE, notify.notified()).await.expect("it happened in time");
}

fn received(node: &TestNode) -> Vec<Result<Bytes, PeerError>> {
    node.recorder.chunks.lock().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_arrives_whole_and_in_order() {
    let (a, b) = pair(Options::default).await;
    let (_, stream) = chunks(300);
    let answer = a.plane.send_bulk(2, Bytes::from_static(b"fast"), stream).await;
    assert_eq!(answer, Ok(Bytes::from((300 * CHUNK).to_string())));
    for (n, chunk) in received(&b).into_iter().enumerate() {
        let chunk = chunk.expect("whole");
        assert!(chunk.len() == CHUNK && usize::from(chunk[0]) == n % 251, "chunk {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_read_holds_the_sender_back() {
    let (a, b) = pair(Options::default).await;
    let (pulled, stream) = chunks(10_000);
    let sending = tokio::spawn(a.plane.send_bulk(2, Bytes::from_static(b"slow"), stream));
    wait_for(&b.recorder.first_chunk).await;
    // Plenty of turns for a sender without a bound to run away.
    for _ in 0..500 {
        let hi = Bytes::from_static(b"hi");
        assert!(a.plane.call(2, Lane::Raft, hi, PATIENCE).await.is_ok(), "no lane waits for bulk");
    }
    let in_flight = pulled.load(Ordering::SeqCst) * CHUNK;
    assert!(in_flight < 32 << 20, "{in_flight} bytes were pulled for one chunk read");
    // Cancelled by the sender: the receiver's work ends too.
    sending.abort();
    wait_for(&b.recorder.broken).await;
}

#[tokio::test]
async fn a_receiver_that_has_enough_ends_the_transfer() {
    let (a, _b) = pair(Options::default).await;
    let (pulled, stream) = chunks(10_000);
    let answer = a.plane.send_bulk(2, Bytes::from_static(b"leave"), stream).await;
    assert_eq!(answer, Err(PeerError::Refused("enough".into())));
    assert!(pulled.load(Ordering::SeqCst) < 10_000, "the rest was not sent");
}

#[tokio::test]
async fn a_sender_that_fails_midway_is_not_taken_for_complete() {
    let (a, b) = pair(Options::default).await;
    let (_, stream) = chunks(3);
    let stream = stream.chain(futures::stream::iter([Err("disk_gone".to_owned())])).boxed();
    let answer = a.plane.send_bulk(2, Bytes::from_static(b"fast"), stream).await;
    assert_eq!(answer, Err(PeerError::Refused("disk_gone".into())));
    eventually("the receiver was told", async || {
        received(&b).last() == Some(&Err(PeerError::Lost))
    })
    .await;
}

#[tokio::test]
async fn a_chunk_above_the_bound_is_refused() {
    let (a, _b) = pair(Options::default).await;
    let large = futures::stream::iter([Ok(Bytes::from(vec![0; (1 << 20) + 1]))]).boxed();
    let answer = a.plane.send_bulk(2, Bytes::from_static(b"fast"), large).await;
    assert_eq!(answer, Err(PeerError::Refused("too_large".into())));
}

#[tokio::test]
async fn a_cut_breaks_a_transfer_off_at_both_ends() {
    let (a, b) = pair(Options::default).await;
    let (_, stream) = chunks(10_000);
    let sending = tokio::spawn(a.plane.send_bulk(2, Bytes::from_static(b"slow"), stream));
    wait_for(&b.recorder.first_chunk).await;
    a.plane.cut([2].into());
    let answer = sending.await.expect("not aborted");
    assert_eq!(answer, Err(PeerError::Lost));
}
