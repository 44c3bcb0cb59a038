//! What a node says of itself: its operations port, asked from inside its own namespace, where no partition reaches.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde::Deserialize;

use super::plan::{Host, OPERATIONS_PORT};
use super::setback::{Doing as _, Setback};
use crate::net::Namespace;

/// A node that takes longer does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer is a page of metrics at most.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// `/status` of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub node: u64,
    /// Links that are open there.
    #[serde(default)]
    pub links: u64,
    /// The others as it sees them.
    #[serde(default)]
    pub nodes: Vec<SeenNode>,
    /// The groups that run there.
    pub shards: Vec<ShardStatus>,
}

/// A node as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SeenNode {
    /// Its id.
    pub id: u64,
    /// Whether it was heard lately.
    pub alive: bool,
}

/// A group as a node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ShardStatus {
    /// The group; 0 is the cluster's own.
    pub group: u32,
    /// Who leads, as far as it knows.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// The last index that was applied there.
    pub applied: u64,
    /// The last index in the log there.
    #[serde(default)]
    pub last: u64,
}

/// Looks at nodes. Cheap to clone, and can be used while the cluster is being broken.
#[derive(Debug, Clone)]
pub struct Eyes {
    pub(super) namespaces: BTreeMap<u8, Namespace>,
}

impl Eyes {
    /// What a node says of itself.
    ///
    /// # Errors
    /// When it does not answer within two seconds, or not in the form that is known.
    pub fn status(&self, node: u8) -> Result<NodeStatus, Setback> {
        let (code, body) = self.ask(node, "/status")?;
        if code != 200 {
            return Err(Setback::new(format!("n{node} answered {code}")));
        }
        serde_json::from_slice(&body).doing(format_args!("the status of n{node}"))
    }

    /// Whether a node says that it serves.
    #[must_use]
    pub fn ready(&self, node: u8) -> bool {
        matches!(self.ask(node, "/readyz"), Ok((200, _)))
    }

    /// Whether a node answers at all.
    #[must_use]
    pub fn alive(&self, node: u8) -> bool {
        matches!(self.ask(node, "/livez"), Ok((200, _)))
    }

    /// The metrics of a node, as it prints them.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metrics(&self, node: u8) -> Result<String, Setback> {
        let (_, body) = self.ask(node, "/metrics")?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Who leads which group and in which term, as the nodes say that lead; of two, the later.
    #[must_use]
    pub fn leaders(&self) -> BTreeMap<u32, (u8, u64)> {
        let nodes: Vec<u8> = self.namespaces.keys().copied().collect();
        let seen: Vec<NodeStatus> =
            nodes.iter().filter_map(|node| self.status(*node).ok()).collect();
        leaders(&seen)
    }

    /// The leader of each group and its term that most nodes name; a group of which most name nobody is left out.
    #[must_use]
    pub fn leaderships(&self) -> BTreeMap<u32, (u8, u64)> {
        let nodes: Vec<u8> = self.namespaces.keys().copied().collect();
        let seen: Vec<NodeStatus> =
            nodes.iter().filter_map(|node| self.status(*node).ok()).collect();
        leaderships(&seen, nodes.len())
    }

    /// Whether `node` holds `other` for alive; `None` when it does not say.
    #[must_use]
    pub fn sees(&self, node: u8, other: u8) -> Option<bool> {
        let status = self.status(node).ok()?;
        status.nodes.iter().find(|seen| seen.id == u64::from(other)).map(|seen| seen.alive)
    }

    /// HTTP/1.0: the answer comes whole and the connection ends with it.
    fn ask(&self, node: u8, path: &str) -> Result<(u16, Vec<u8>), Setback> {
        let namespace = self
            .namespaces
            .get(&node)
            .ok_or_else(|| Setback::new(format!("there is no n{node}")))?;
        let address = Host::Node(node).at(OPERATIONS_PORT);
        let answer = namespace.inside(|| {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        })?;
        let answer = answer.doing(format_args!("asking n{node} for {path}"))?;
        parse(&answer).ok_or_else(|| Setback::new(format!("n{node} did not answer in HTTP")))
    }
}

/// Who leads, from what all nodes say.
fn leaders(seen: &[NodeStatus]) -> BTreeMap<u32, (u8, u64)> {
    let mut leaders: BTreeMap<u32, (u8, u64)> = BTreeMap::new();
    for status in seen {
        for shard in status.shards.iter().filter(|shard| shard.leader == Some(status.node)) {
            let Ok(node) = u8::try_from(status.node) else { continue };
            let known = leaders.entry(shard.group).or_insert((node, shard.term));
            if shard.term > known.1 {
                *known = (node, shard.term);
            }
        }
    }
    leaders
}

/// Whom more than half of `nodes` name, of those that were seen.
fn leaderships(seen: &[NodeStatus], nodes: usize) -> BTreeMap<u32, (u8, u64)> {
    let mut named: BTreeMap<(u32, u8, u64), usize> = BTreeMap::new();
    for shard in seen.iter().flat_map(|status| &status.shards) {
        let leader = shard.leader.and_then(|leader| u8::try_from(leader).ok());
        let Some(leader) = leader else { continue };
        *named.entry((shard.group, leader, shard.term)).or_default() += 1;
    }
    let most = named.into_iter().filter(|(_, count)| count * 2 > nodes);
    most.map(|((group, leader, term), _)| (group, (leader, term))).collect()
}

/// Status and body of a whole answer.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    Some((head.split(' ').nth(1)?.parse().ok()?, answer[end + 4..].to_vec()))
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
    fn a_leadership_is_named_by_more_than_half_of_all_nodes_whether_they_answer_or_not() {
        let names = |node, leader, term| NodeStatus {
            node,
            links: 0,
            nodes: vec![],
            shards: vec![ShardStatus { group: 3, leader, term, applied: 1, last: 1 }],
        };
        let (two, three) = (names(2, Some(2), 6), names(3, Some(2), 6));
        let seen = [names(1, Some(1), 5), two.clone(), three];
        assert_eq!(leaderships(&seen, 3), BTreeMap::from([(3, (2, 6))]));
        assert_eq!(leaderships(&seen, 5), BTreeMap::new());
        assert_eq!(leaderships(&[names(1, Some(1), 5), two.clone()], 3), BTreeMap::new());
        assert_eq!(leaderships(&[names(1, None, 6), two], 3), BTreeMap::new());
    }

    #[test]
    fn of_two_that_say_they_lead_the_later_term_is_believed() {
        let says = |node, term| NodeStatus {
            node,
            links: 0,
            nodes: vec![],
            shards: vec![
                ShardStatus { group: 3, leader: Some(node), term, applied: 1, last: 1 },
                ShardStatus { group: 4, leader: Some(9), term, applied: 1, last: 1 },
            ],
        };
        for seen in [[says(1, 5), says(2, 6)], [says(2, 6), says(1, 5)]] {
            assert_eq!(leaders(&seen), BTreeMap::from([(3, (2, 6))]));
        }
    }
}
