//! Claims about the operator's routes: what is answered while the node is well and while it is not.
//! No socket is opened.

mod metrics;

use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt as _;

use super::*;

struct Node {
    clients: Clients,
    shards: Vec<ShardStatus>,
    faults: bool,
    cut: parking_lot::Mutex<BTreeSet<u64>>,
}

impl Operated for Node {
    fn node(&self) -> u64 {
        1
    }
    fn now_ms(&self) -> u64 {
        77
    }
    fn cluster(&self) -> String {
        "test".to_owned()
    }
    fn groups_expected(&self) -> Option<usize> {
        Some(2)
    }
    fn shards(&self) -> Vec<ShardStatus> {
        self.shards.clone()
    }
    fn peers(&self) -> Vec<PeerStatus> {
        Vec::new()
    }
    fn clients(&self) -> Clients {
        self.clients
    }
    fn links(&self) -> usize {
        0
    }
    fn cut(&self, nodes: BTreeSet<u64>) -> Option<()> {
        self.faults.then(|| *self.cut.lock() = nodes)
    }
    fn certificates(&self) -> Vec<(&'static str, u64)> {
        vec![("peer", 1_795_406_840)]
    }
    fn journal(&self) -> store::JournalStats {
        store::JournalStats { free_bytes: Some(1), ..store::JournalStats::default() }
    }
    fn letters(&self) -> Option<DeadLetters> {
        None
    }
    fn backups(&self) -> Option<Backups> {
        None
    }
}

fn shard(group: u32, leader: Option<u64>, applied: u64) -> ShardStatus {
    ShardStatus { group, leader, role: Role::Follower, term: 3, applied, last: applied }
}

fn node(shards: Vec<ShardStatus>, faults: bool) -> Arc<Node> {
    Arc::new(Node { clients: Clients::Served, shards, faults, cut: Default::default() })
}

async fn ask(node: Arc<Node>, request: Request<Body>) -> (StatusCode, serde_json::Value) {
    let answer = router(node, Metrics::detached()).oneshot(request).await.expect("infallible");
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a whole body");
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a legal request")
}

#[tokio::test]
async fn a_node_is_ready_only_when_every_shard_has_a_leader_and_applied() {
    let whole = node(vec![shard(0, Some(1), 4), shard(1, Some(2), 9)], false);
    assert_eq!(ask(whole, get_request("/readyz")).await.0, StatusCode::OK);

    let headless = node(vec![shard(0, Some(1), 4), shard(1, None, 9)], false);
    let (status, body) = ask(headless, get_request("/readyz")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["missing"], json!(["group 1 knows no leader"]));

    let partial = node(vec![shard(0, Some(1), 0)], false);
    let (status, body) = ask(partial, get_request("/readyz")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let missing = json!(["1 of 2 groups run", "group 0 has applied nothing yet"]);
    assert_eq!(body["missing"], missing);
}

#[tokio::test]
async fn a_node_is_ready_only_while_it_takes_clients_in() {
    for (clients, why) in [
        (Clients::NotYet, "clients are not served yet"),
        (Clients::Leaving, "this node stops: clients go elsewhere"),
    ] {
        let shards = vec![shard(0, Some(1), 4), shard(1, Some(2), 9)];
        let node = Arc::new(Node { clients, shards, faults: false, cut: Default::default() });
        let (status, body) = ask(node, get_request("/readyz")).await;
        assert_eq!((status, &body["missing"]), (StatusCode::SERVICE_UNAVAILABLE, &json!([why])));
    }
}

#[tokio::test]
async fn faults_are_refused_unless_the_file_allows_them() {
    let request = || Request::post("/fault").body(Body::from(r#"{"cut":[2,3]}"#)).expect("legal");
    assert_eq!(ask(node(vec![], false), request()).await.0, StatusCode::FORBIDDEN);
    let open = node(vec![], true);
    assert_eq!(ask(Arc::clone(&open), request()).await.0, StatusCode::OK);
    assert_eq!(*open.cut.lock(), BTreeSet::from([2, 3]));
}

#[tokio::test]
async fn process_metrics_are_served() {
    let answer = router(node(vec![], false), Metrics::detached())
        .oneshot(get_request("/metrics"))
        .await
        .expect("infallible");
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a whole body");
    let text = String::from_utf8(body.to_vec()).expect("text");
    assert!(text.contains("process_cpu_seconds_total "), "{text}");
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
}
