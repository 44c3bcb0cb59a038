//! Asks the operations port of nodes on this machine: plain HTTP, one request per connection.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::exit::{Failure, exit_of_status};

/// A node on this machine that takes longer does not serve.
const PATIENCE: Duration = Duration::from_secs(2);
/// Whoever asks how the cluster is wants an answer within a second, also while nodes hang.
pub(crate) const GLANCE: Duration = Duration::from_millis(800);
/// An answer is a page of metrics at most.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Why an operations port did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{0} does not answer: {1}")]
    Unreachable(SocketAddr, String),
    #[error("{0} answered {1}")]
    Status(SocketAddr, u16),
    #[error("{0} answered something that cannot be read: {1}")]
    Malformed(SocketAddr, String),
}

/// `/status` of a node.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct NodeStatus {
    #[serde(default)]
    pub(crate) cluster: String,
    pub(crate) node: u64,
    #[serde(default)]
    pub(crate) links: u64,
    /// Its wall time; 0 from a release that did not tell.
    #[serde(default)]
    pub(crate) now_ms: u64,
    #[serde(default)]
    pub(crate) nodes: Vec<SeenNode>,
    pub(crate) shards: Vec<ShardStatus>,
    /// What it found damaged on its disk, a sentence for each place.
    #[serde(default)]
    pub(crate) damaged: Vec<String>,
}

/// A node as another one sees it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct SeenNode {
    pub(crate) id: u64,
    pub(crate) alive: bool,
    #[serde(default)]
    pub(crate) client: String,
}

/// A shard as a node sees it; group 0 is the cluster's own.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct ShardStatus {
    pub(crate) group: u32,
    pub(crate) leader: Option<u64>,
    pub(crate) role: String,
    pub(crate) term: u64,
    pub(crate) applied: u64,
    #[serde(default)]
    pub(crate) last: u64,
}

impl NodeStatus {
    /// How many groups this node leads.
    pub(crate) fn leads(&self) -> usize {
        self.shards.iter().filter(|shard| shard.leader == Some(self.node)).count()
    }

    /// Whether this node holds `other` for alive.
    pub(crate) fn sees(&self, other: u64) -> bool {
        self.nodes.iter().any(|node| node.id == other && node.alive)
    }
}

/// Where a node was asked, and what it said of itself and the cluster.
pub(crate) type Standing = (SocketAddr, Result<NodeStatus, AskError>);

/// What a node says about itself and the cluster.
pub(crate) async fn status(address: SocketAddr) -> Result<NodeStatus, AskError> {
    let (code, body) = ask(address, "GET", "/status", "").await?;
    if code != 200 {
        return Err(AskError::Status(address, code));
    }
    serde_json::from_slice(&body).map_err(|e| AskError::Malformed(address, e.to_string()))
}

/// As [`status`], of nodes that answer at a glance.
pub(crate) async fn glance(address: SocketAddr) -> Result<NodeStatus, AskError> {
    let late = |_| Err(AskError::Unreachable(address, "no answer in time".into()));
    tokio::time::timeout(GLANCE, status(address)).await.unwrap_or_else(late)
}

/// A page of a node: status and body.
pub(crate) async fn page(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), AskError> {
    ask(address, "GET", path, "").await
}

/// Whether a node says that it serves.
pub(crate) async fn ready(address: SocketAddr) -> bool {
    matches!(ask(address, "GET", "/readyz", "").await, Ok((200, _)))
}

/// Cuts a node off from others, both ways; an empty list heals.
pub(crate) async fn cut(address: SocketAddr, from: &[u64]) -> Result<(), AskError> {
    let body = serde_json::json!({ "cut": from }).to_string();
    match ask(address, "POST", "/fault", &body).await? {
        (200, _) => Ok(()),
        (code, _) => Err(AskError::Status(address, code)),
    }
}

/// One number from a node's metrics: `name`, without labels.
pub(crate) async fn metric(address: SocketAddr, name: &str) -> Result<f64, AskError> {
    let (code, body) = ask(address, "GET", "/metrics", "").await?;
    if code != 200 {
        return Err(AskError::Status(address, code));
    }
    let text = String::from_utf8_lossy(&body);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.ok_or_else(|| AskError::Malformed(address, format!("no {name} in its metrics")))
}

/// Has a node begin a backup; its name.
pub(crate) async fn begin_backup(address: SocketAddr) -> Result<String, Failure> {
    let (code, body) = ask(address, "POST", "/backup", "").await.map_err(Failure::unavailable)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    match (code, text("id")) {
        (202, Some(id)) => Ok(id),
        _ => {
            let why = text("detail").unwrap_or_else(|| format!("{address} answered {code}"));
            Err(Failure::new(exit_of_status(code), why))
        }
    }
}

/// Has a node read its file again; what came of it.
pub(crate) async fn reload(address: SocketAddr) -> Result<Value, Failure> {
    let (code, body) = ask(address, "POST", "/reload", "").await.map_err(Failure::unavailable)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if code == 200 {
        return Ok(body);
    }
    let why = body["detail"].as_str().map(str::to_owned);
    let why = why.unwrap_or_else(|| format!("{address} answered {code}"));
    Err(Failure::new(exit_of_status(code), format!("nothing was changed: {why}")))
}

/// The backups that a node has, and the one it is making.
pub(crate) async fn backups(address: SocketAddr) -> Result<Value, Failure> {
    let (code, body) = ask(address, "GET", "/backups", "").await.map_err(Failure::unavailable)?;
    let body: Value = serde_json::from_slice(&body)
        .map_err(|e| Failure::unavailable(AskError::Malformed(address, e.to_string())))?;
    match code {
        200 => Ok(body),
        _ => {
            let why = body["detail"].as_str().map(str::to_owned);
            let why = why.unwrap_or_else(|| format!("{address} answered {code}"));
            Err(Failure::new(exit_of_status(code), why))
        }
    }
}

/// CPU seconds of this process so far; `None` where the system does not tell.
pub(crate) fn own_cpu_seconds() -> Option<f64> {
    /// Clock ticks a second on every Linux that exists.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, Vec<u8>), AskError> {
    let unreachable = |e: std::io::Error| AskError::Unreachable(address, e.to_string());
    let asking = async {
        let mut stream = TcpStream::connect(address).await.map_err(unreachable)?;
        // HTTP/1.0: the answer comes whole and the connection ends with it.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.map_err(unreachable)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.map_err(unreachable)?;
        parse(&answer).ok_or_else(|| AskError::Malformed(address, "not HTTP".into()))
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| Err(AskError::Unreachable(address, "no answer in time".into())))
}

/// Status and body of a whole answer.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some((code, answer[end + 4..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_and_garbage_is_not() {
        let answer = b"HTTP/1.0 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(parse(answer), Some((503, b"no".to_vec())));
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n"), None);
        assert_eq!(parse(b"\xff\r\n\r\n"), None);
    }

    #[test]
    fn leaders_are_counted_where_they_lead() {
        let shard = |group, leader| ShardStatus {
            group,
            leader,
            role: "follower".into(),
            term: 1,
            applied: 1,
            last: 1,
        };
        let status = NodeStatus {
            cluster: "demo".into(),
            node: 2,
            links: 0,
            now_ms: 0,
            nodes: vec![SeenNode { id: 3, alive: false, client: String::new() }],
            shards: vec![shard(0, Some(2)), shard(1, Some(1)), shard(2, None), shard(3, Some(2))],
            damaged: Vec::new(),
        };
        assert_eq!(status.leads(), 2);
        assert!(!status.sees(3) && !status.sees(9));
    }
}
