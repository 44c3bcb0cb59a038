//! Three nodes as processes, so that one can be killed.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Cluster, Shape, http};
use tokio::process::{Child, Command};

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// How long something may take while other tests run.
const WITHIN: Duration = Duration::from_secs(60);
/// Shards; a power of two, so that a slot's shard is its first bits.
const SHARDS: u32 = 4;

/// A cluster of processes.
pub(crate) struct Processes {
    files: Cluster,
    children: Vec<Option<Child>>,
}

impl Processes {
    pub(crate) async fn start() -> Self {
        let files = Cluster::prepare(Shape { shards: SHARDS, ..Shape::default() });
        let start = |node: u64| {
            Command::new(env!("CARGO_BIN_EXE_hosted"))
                .arg(files.home(node).join("node.toml"))
                .stdin(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("the binary was built with this test")
        };
        let children = (1..=3).map(|node| Some(start(node))).collect();
        let this = Self { files, children };
        for node in 1..=3 {
            let ask =
                || http::plain(this.files.operations_address(node), "GET", "/readyz", None, "");
            until(async || ask().await.map(|(status, _)| status) == Some(200)).await;
        }
        this
    }

    pub(crate) fn plain(&self, node: u64) -> SocketAddr {
        self.files.plain_address(node)
    }

    /// The node that leads the shard of `user`, once one of those that run says so of itself.
    pub(crate) async fn leader_of(&self, user: &str) -> u64 {
        let slot = chat::UserId::parse(user).expect("a name").slot();
        let group = 1 + u32::from(slot) * SHARDS / u32::from(chat::SLOTS);
        tokio::time::timeout(WITHIN, async {
            loop {
                for node in (1..=3).filter(|node| self.runs(*node)) {
                    let address = self.files.operations_address(node);
                    let (_, status) = http::json(address, "GET", "/status", None, None).await;
                    let leads =
                        |shard: &Value| shard["group"] == json!(group) && shard["role"] == "leader";
                    if status["shards"].as_array().is_some_and(|all| all.iter().any(leads)) {
                        return node;
                    }
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await
        .expect("somebody leads in time")
    }

    fn runs(&self, node: u64) -> bool {
        self.children[usize::try_from(node).expect("small") - 1].is_some()
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self, node: u64) {
        let child = self.children[usize::try_from(node).expect("small") - 1].take();
        child.expect("it runs").kill().await.expect("it is ours to kill");
    }
}

async fn until(condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(WITHIN, holds).await.expect("it comes to hold in time");
}
