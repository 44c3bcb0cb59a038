//! A node is who its certificate says; everybody else gets no answer.

use std::time::Duration;

use bytes::Bytes;
use transport::peer::{Lane, LinkFailure, PeerError};

#[path = "peer_support/planes.rs"]
mod planes;
use planes::{Options, TestNode, authority, eventually, introduce, start};

async fn call(node: &TestNode, to: u64) -> Result<Bytes, PeerError> {
    node.plane.call(to, Lane::Raft, Bytes::from_static(b"hi"), Duration::from_secs(5)).await
}

fn refused_certificate(node: &TestNode, peer: u64) -> bool {
    let status = node.plane.status(peer).expect("known");
    status.failures.iter().all(|f| matches!(f, Some(LinkFailure::Certificate(_))))
}

#[tokio::test]
async fn a_node_of_another_authority_is_refused_at_both_ends() {
    let a = start(&authority(), 1, Options::default()).await;
    let b = start(&authority(), 2, Options::default()).await;
    introduce((1, &a.plane), (2, &b.plane));
    eventually("both refuse", async || {
        a.plane.refused_links().handshake > 0
            && b.plane.refused_links().handshake > 0
            && refused_certificate(&a, 2)
            && refused_certificate(&b, 1)
    })
    .await;
    assert_eq!(call(&a, 2).await, Err(PeerError::Unreachable));
    assert!(!a.plane.alive(2) && a.recorder.calls.lock().is_empty());
}

#[tokio::test]
async fn a_node_that_is_no_known_peer_gets_no_answer() {
    let authority = authority();
    let a = start(&authority, 1, Options::default()).await;
    let stranger = start(&authority, 9, Options::default()).await;
    stranger.plane.add_peer(1, a.plane.local_addr().to_string());
    eventually("refused", async || a.plane.refused_links().not_a_peer > 0).await;
    assert_eq!(call(&stranger, 1).await, Err(PeerError::Unreachable));
    assert!(!stranger.plane.alive(1));
    assert!(a.recorder.calls.lock().is_empty());
}

#[tokio::test]
async fn a_node_of_another_cluster_under_the_same_authority_is_refused() {
    let authority = authority();
    let a = start(&authority, 1, Options::default()).await;
    let other = Options { cluster: "other", ..Options::default() };
    let b = start(&authority, 2, other).await;
    introduce((1, &a.plane), (2, &b.plane));
    eventually("the dialling end refuses", async || refused_certificate(&a, 2)).await;
    eventually("the other one too", async || refused_certificate(&b, 1)).await;
    assert_eq!(call(&b, 1).await, Err(PeerError::Unreachable));
}

#[tokio::test]
async fn another_node_at_the_address_of_a_peer_is_not_taken_for_it() {
    let authority = authority();
    let a = start(&authority, 1, Options::default()).await;
    let c = start(&authority, 3, Options::default()).await;
    introduce((1, &a.plane), (3, &c.plane));
    a.plane.add_peer(2, c.plane.local_addr().to_string());
    eventually("refused", async || refused_certificate(&a, 2)).await;
    assert_eq!(call(&a, 2).await, Err(PeerError::Unreachable));
    assert!(!a.plane.alive(2));
}

#[tokio::test]
async fn a_removed_peer_loses_its_links_and_gets_no_new_ones() {
    let (a, b) = planes::pair(Options::default).await;
    a.plane.remove_peer(2);
    assert!(!a.plane.alive(2));
    assert_eq!(call(&a, 2).await, Err(PeerError::Unreachable));
    eventually("it is refused", async || a.plane.refused_links().not_a_peer > 0).await;
    eventually("it noticed", async || call(&b, 1).await == Err(PeerError::Unreachable)).await;
}

#[tokio::test]
async fn a_plane_does_not_start_with_the_certificate_of_another_node() {
    let authority = authority();
    let issued = authority.issue_node(planes::CLUSTER, 2).expect("issued");
    let identity = transport::peer::Identity::from_pem(
        issued.certificate_pem.as_bytes(),
        issued.key_pem.as_bytes(),
        authority.certificate_pem().as_bytes(),
    );
    let config = transport::peer::Config {
        node: 1,
        cluster: planes::CLUSTER.into(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        identity: identity.expect("readable"),
        peers: Default::default(),
        heartbeat: transport::peer::Config::HEARTBEAT,
        dead_after: transport::peer::Config::DEAD_AFTER,
    };
    let handler = std::sync::Arc::new(planes::Handler(Default::default()));
    let begun = transport::peer::PeerPlane::serve(config, handler, Default::default()).await;
    assert!(matches!(begun.err(), Some(transport::peer::Error::Identity(_))));
}
