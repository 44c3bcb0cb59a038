//! A cluster of nodes as tasks of one test process.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Certificates, http, ports};

/// How long a cluster may take to be ready; a slow machine under other tests included.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// What kind of cluster a test wants.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many nodes.
    pub nodes: u64,
    /// How many shards.
    pub shards: u32,
    /// The table engine.
    pub engine: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 3, shards: 4, engine: "fjall" }
    }
}

/// Pushes go to servers of the test, soon, and are given up soon.
const PUSH: &str = "[push]\nallow_plain = true\nallow_private = true\nauthorities = \"../ca.pem\"\n\
                    grace_ms = 200\nsweep_ms = 1000\nretry_min_ms = 50\nretry_max_ms = 200\nattempts_max = 4\n";

struct Place {
    client: SocketAddr,
    peer: SocketAddr,
    operations: SocketAddr,
    plain: SocketAddr,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), node::Error>>,
}

/// Nodes on loopback with their own folders. Dropping it stops them.
pub struct Cluster {
    folder: TempDir,
    certificates: Certificates,
    places: Vec<Place>,
    running: Vec<Option<Running>>,
}

impl Cluster {
    /// Starts all nodes and waits until each is ready.
    ///
    /// # Panics
    /// When a node cannot start or is not ready in time: the test cannot go on.
    pub async fn start(shape: Shape) -> Self {
        let mut cluster = Self::prepare(shape);
        for node in 1..=shape.nodes {
            cluster.start_node(node);
        }
        for node in 1..=shape.nodes {
            cluster.wait_ready(node).await;
        }
        cluster
    }

    /// Writes files for all nodes, and starts none.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    #[must_use]
    pub fn prepare(shape: Shape) -> Self {
        Self::prepare_as("test", shape, "")
    }

    /// Writes files for all nodes of a cluster of this name, each with some more lines, and starts none.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    #[must_use]
    pub fn prepare_as(name: &str, shape: Shape, more: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let certificates = Certificates::create(name, folder.path());
        let places: Vec<Place> = (0..shape.nodes)
            .map(|_| Place {
                client: ports::free(),
                peer: ports::free(),
                operations: ports::free(),
                plain: ports::free(),
            })
            .collect();
        let running = places.iter().map(|_| None).collect();
        let cluster = Self { folder, certificates, places, running };
        for node in 1..=shape.nodes {
            let home = cluster.home(node);
            std::fs::create_dir_all(&home).expect("writable folder");
            cluster.certificates.issue(node, &home);
            let text = cluster.config_text(node, shape);
            let text = text.replace("id = \"test\"", &format!("id = \"{name}\""));
            let text = format!("{text}{more}");
            std::fs::write(home.join("node.toml"), text).expect("writable folder");
        }
        cluster
    }

    fn config_text(&self, node: u64, shape: Shape) -> String {
        let place = self.place(node);
        let mut text = format!(
            "node = {node}\ndata = \"data\"\n\
             [listen]\nclient = \"{}\"\npeer = \"{}\"\noperations = \"{}\"\nplain = \"{}\"\n\
             [tls]\nauthority = \"../ca.pem\"\nclient_certificate = \"client.pem\"\nclient_key = \"client.key\"\n\
             peer_certificate = \"peer.pem\"\npeer_key = \"peer.key\"\n\
             [storage]\nengine = \"{}\"\nsegment_bytes = 2097152\n\
             [runtime]\nplane_threads = 1\nraft_threads = 1\n[faults]\nenabled = true\n{PUSH}\
             [cluster]\nid = \"test\"\nshards = {}\nreplication = {}\n",
            place.client,
            place.peer,
            place.operations,
            place.plain,
            shape.engine,
            shape.shards,
            shape.nodes.min(3),
        );
        for (id, place) in (1u64..).zip(&self.places) {
            let _ = write!(
                text,
                "[[cluster.nodes]]\nid = {id}\nclient = \"{}\"\npeer = \"{}\"\noperations = \"{}\"\n",
                place.client, place.peer, place.operations,
            );
        }
        text
    }

    fn place(&self, node: u64) -> &Place {
        &self.places[usize::try_from(node).expect("small") - 1]
    }

    fn slot(&mut self, node: u64) -> &mut Option<Running> {
        &mut self.running[usize::try_from(node).expect("small") - 1]
    }

    /// The folder of a node's files; its data is in `data` below it.
    #[must_use]
    pub fn home(&self, node: u64) -> PathBuf {
        self.folder.path().join(format!("n{node}"))
    }

    /// Where clients reach a node.
    #[must_use]
    pub fn client_address(&self, node: u64) -> SocketAddr {
        self.place(node).client
    }

    /// Where clients reach each node.
    #[must_use]
    pub fn client_addresses(&self) -> Vec<SocketAddr> {
        self.places.iter().map(|place| place.client).collect()
    }

    /// Where nodes reach a node.
    #[must_use]
    pub fn peer_address(&self, node: u64) -> SocketAddr {
        self.place(node).peer
    }

    /// Where a node serves plain HTTP.
    #[must_use]
    pub fn plain_address(&self, node: u64) -> SocketAddr {
        self.place(node).plain
    }

    /// Where a node's operations port is.
    #[must_use]
    pub fn operations_address(&self, node: u64) -> SocketAddr {
        self.place(node).operations
    }

    /// The certificate to pin, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> Vec<u8> {
        self.certificates.ca_pem()
    }

    /// The cluster's authority.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The configuration of a node, as it would read it.
    ///
    /// # Panics
    /// When the harness wrote a bad file.
    #[must_use]
    pub fn config(&self, node: u64) -> node::config::Config {
        node::config::Config::load(&self.home(node).join("node.toml"))
            .expect("the harness writes good files")
    }

    /// Starts a node that does not run.
    ///
    /// # Panics
    /// When it runs already.
    pub fn start_node(&mut self, node: u64) {
        let config = self.config(node);
        let stop = CancellationToken::new();
        let run = node::run(config, stop.clone());
        let task = tokio::spawn(async move {
            let ended = run.await;
            if let Err(error) = &ended {
                eprintln!("node {node} ended: {error}");
            }
            ended
        });
        let before = self.slot(node).replace(Running { stop, task });
        assert!(before.is_none(), "node {node} runs already");
    }

    /// Stops a node and waits until it has let go of everything.
    ///
    /// # Panics
    /// When it does not run, or ended with an error.
    pub async fn stop_node(&mut self, node: u64) {
        let running = self.slot(node).take().expect("the node runs");
        running.stop.cancel();
        running.task.await.expect("the node did not panic").expect("the node stops cleanly");
    }

    /// Stops all nodes that run and waits until they have.
    ///
    /// # Panics
    /// When one ended with an error.
    pub async fn stop_all(&mut self) {
        let running: Vec<Running> = self.running.iter_mut().filter_map(Option::take).collect();
        for running in &running {
            running.stop.cancel();
        }
        for running in running {
            running.task.await.expect("the node did not panic").expect("the node stops cleanly");
        }
    }

    /// Stops all nodes and removes their folders.
    ///
    /// # Panics
    /// When a node ended with an error.
    pub async fn stop(mut self) {
        self.stop_all().await;
    }

    /// Waits until a node says that it is ready.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn wait_ready(&self, node: u64) {
        let address = self.operations_address(node);
        let running = self.running[usize::try_from(node).expect("small") - 1].as_ref();
        let running = running.expect("the node runs");
        let ready = async {
            while http::plain(address, "GET", "/readyz", None, "").await.map(|(status, _)| status)
                != Some(200)
            {
                assert!(!running.task.is_finished(), "node {node} ended before it was ready");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(READY_WITHIN, ready).await.is_err() {
            let (_, why) = http::json(address, "GET", "/readyz", None, None).await;
            panic!("node {node} is not ready within {READY_WITHIN:?}: {why}");
        }
    }

    /// The node's own account of its shards.
    ///
    /// # Panics
    /// When the operations port does not answer.
    pub async fn status(&self, node: u64) -> serde_json::Value {
        let (_, body) =
            http::json(self.operations_address(node), "GET", "/status", None, None).await;
        body
    }

    /// Cuts `node` off from `others`, both ways; an empty list heals. Set at one side is enough.
    ///
    /// # Panics
    /// When the operations port refuses.
    pub async fn cut(&self, node: u64, others: &[u64]) {
        let body = serde_json::json!({ "cut": others });
        let address = self.operations_address(node);
        let (status, body) = http::json(address, "POST", "/fault", None, Some(&body)).await;
        assert_eq!(status / 100, 2, "the fault switch answers: {body}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for running in self.running.iter().flatten() {
            running.stop.cancel();
        }
    }
}
