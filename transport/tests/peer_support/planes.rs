//! Planes on loopback for the peer tests: certificates of one authority, free ports, and a handler
//! that tests can look into. It asserts nothing.

#![allow(dead_code, unreachable_pub, reason = "each test file includes it and uses its part")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use transport::{
    authority::Authority,
    peer::{Config, Identity, Lane, PeerError, PeerHandler, PeerPlane},
};

pub const CLUSTER: &str = "test";
/// How long a condition may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Echoes calls; holds back those that begin with `hold` for ever.
#[derive(Default)]
pub struct Recorder {
    pub calls: Mutex<Vec<(u64, Lane, Bytes)>>,
    pub chunks: Mutex<Vec<Result<Bytes, PeerError>>>,
    /// Transfers whose header is `slow` read one chunk and then wait for this.
    pub go_on: Arc<Notify>,
    pub first_chunk: Arc<Notify>,
    pub broken: Arc<Notify>,
}

impl Recorder {
    pub fn held(&self) -> usize {
        self.calls.lock().iter().filter(|(_, _, body)| body.starts_with(b"hold")).count()
    }
}

/// Tells the recorder when a transfer ends in any way but whole.
struct Unfinished(Option<Arc<Recorder>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(recorder) = &self.0 {
            recorder.broken.notify_one();
        }
    }
}

/// A handler whose recorder outlives it.
pub struct Handler(pub Arc<Recorder>);

impl PeerHandler for Handler {
    fn call(
        &self,
        from: u64,
        lane: Lane,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        self.0.calls.lock().push((from, lane, body.clone()));
        if body.starts_with(b"hold") {
            return futures::future::pending().boxed();
        }
        if body.starts_with(b"refuse") {
            return futures::future::ready(Err("not_today".to_owned())).boxed();
        }
        async move {
            // Answers come from elsewhere and in any order, as in a real node.
            tokio::task::yield_now().await;
            Ok(body)
        }
        .boxed()
    }

    fn bulk(
        &self,
        _from: u64,
        header: Bytes,
        mut chunks: BoxStream<'static, Result<Bytes, PeerError>>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let recorder = self.0.clone();
        async move {
            let mut unfinished = Unfinished(Some(recorder.clone()));
            if header.starts_with(b"leave") {
                let _first = chunks.next().await;
                return Err("enough".to_owned());
            }
            let mut bytes = 0;
            while let Some(chunk) = chunks.next().await {
                let broken = chunk.is_err();
                bytes += chunk.as_ref().map_or(0, Bytes::len);
                recorder.chunks.lock().push(chunk);
                if broken {
                    return Err("broken".to_owned());
                }
                if header.starts_with(b"slow") {
                    recorder.first_chunk.notify_one();
                    recorder.go_on.notified().await;
                }
            }
            unfinished.0 = None;
            Ok(Bytes::from(bytes.to_string()))
        }
        .boxed()
    }
}

/// One node of a test cluster.
pub struct TestNode {
    pub plane: PeerPlane,
    pub recorder: Arc<Recorder>,
    pub stop: CancellationToken,
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub struct Options {
    pub cluster: &'static str,
    pub heartbeat: Duration,
    pub dead_after: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { cluster: CLUSTER, heartbeat: Config::HEARTBEAT, dead_after: Config::DEAD_AFTER }
    }
}

/// An authority for tests.
pub fn authority() -> Authority {
    Authority::create(CLUSTER).expect("the name is usable").0
}

/// Starts a node that knows nobody yet.
pub async fn start(authority: &Authority, node: u64, options: Options) -> TestNode {
    let issued = authority.issue_node(options.cluster, node).expect("the name is usable");
    let identity = Identity::from_pem(
        issued.certificate_pem.as_bytes(),
        issued.key_pem.as_bytes(),
        authority.certificate_pem().as_bytes(),
    );
    let config = Config {
        node,
        cluster: options.cluster.to_owned(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        identity: identity.expect("issued just now"),
        peers: BTreeMap::new(),
        heartbeat: options.heartbeat,
        dead_after: options.dead_after,
    };
    let (recorder, stop) = (Arc::new(Recorder::default()), CancellationToken::new());
    let handler = Arc::new(Handler(recorder.clone()));
    let plane = PeerPlane::serve(config, handler, stop.clone()).await.expect("a free port");
    TestNode { plane, recorder, stop }
}

/// Makes two nodes known to each other.
pub fn introduce(a: (u64, &PeerPlane), b: (u64, &PeerPlane)) {
    a.1.add_peer(b.0, b.1.local_addr().to_string());
    b.1.add_peer(a.0, a.1.local_addr().to_string());
}

/// Nodes 1 and 2, alive to each other and with every lane up.
pub async fn pair(options: impl Fn() -> Options) -> (TestNode, TestNode) {
    let authority = authority();
    let a = start(&authority, 1, options()).await;
    let b = start(&authority, 2, options()).await;
    introduce((1, &a.plane), (2, &b.plane));
    joined(&a.plane, 2).await;
    joined(&b.plane, 1).await;
    a.recorder.calls.lock().clear();
    b.recorder.calls.lock().clear();
    (a, b)
}

/// Until `plane` can call `peer` on every lane.
pub async fn joined(plane: &PeerPlane, peer: u64) {
    for lane in Lane::ALL {
        eventually("a call is answered", async || {
            plane.call(peer, lane, Bytes::from_static(b"hello"), PATIENCE).await.is_ok()
        })
        .await;
    }
    eventually("the peer is alive", async || plane.alive(peer)).await;
}

/// Waits for a condition; panics with its name when it does not come.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "did not happen: {what}");
}
