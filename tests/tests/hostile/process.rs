//! A node as a process: started, looked at from outside, stopped.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tests::{Cluster, Shape, http, in_time};
use tokio::process::{Child, Command};

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// How long it may take to be ready while other tests run.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// One node, a cluster of its own.
pub(crate) struct Process {
    files: Cluster,
    child: Child,
}

impl Process {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start() -> Self {
        let files = Cluster::prepare(Shape { nodes: 1, shards: 2, engine: "fjall" });
        let child = Command::new(env!("CARGO_BIN_EXE_hosted"))
            .arg(files.home(1).join("node.toml"))
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary was built with this test");
        let node = Self { files, child };
        let ready = async {
            let ask = || http::plain(node.files.operations_address(1), "GET", "/readyz", None, "");
            while ask().await.map(|(status, _)| status) != Some(200) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(READY_WITHIN, ready).await.expect("the node is ready in time");
        node
    }

    /// TLS and QUIC.
    pub(crate) fn address(&self) -> SocketAddr {
        self.files.client_address(1)
    }

    /// Plain HTTP.
    pub(crate) fn plain(&self) -> SocketAddr {
        self.files.plain_address(1)
    }

    /// The certificate to pin, PEM.
    pub(crate) fn ca_pem(&self) -> Vec<u8> {
        self.files.ca_pem()
    }

    /// Resident memory now, MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Resident memory at its most, MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux tells");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024
    }

    /// A number that the node itself counts.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let address = self.files.operations_address(1);
        let answer = http::plain(address, "GET", "/metrics", None, "").await;
        let (_, body) = answer.expect("the operations port answers");
        let text = String::from_utf8(body).expect("text");
        let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
        text.lines().find_map(value).unwrap_or(0.0)
    }

    /// Ends it in order: it is well until the end.
    pub(crate) async fn stop(mut self) {
        assert_eq!(self.child.try_wait().expect("its state"), None, "the node still runs");
        drop(self.child.stdin.take());
        let ended = in_time(self.child.wait()).await.expect("its end");
        assert!(ended.success(), "the node stops in order: {ended}");
    }
}
