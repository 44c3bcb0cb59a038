//! `status`, `health`, `node ls`, `shard ls`: what the nodes say, put side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use serde_json::{Value, json};

use crate::{
    args::Operations,
    context, desk,
    exit::{Exit, Failure, Outcome},
    operations::{self, NodeStatus, Standing},
};

/// Every node that was asked, and what it said.
pub(crate) struct Answers {
    pub(crate) nodes: Vec<Standing>,
    /// Which address of theirs was asked: `operations` or `client`.
    pub(crate) at: &'static str,
}

/// How a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Healthy,
    /// Serves, but a node is away or has damage on its disk, or a shard has no spare replica.
    Degraded,
    /// A shard has no leader that anybody knows.
    Unhealthy,
}

impl Health {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Unhealthy => "unhealthy",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Health::Healthy => Exit::Ok,
            Health::Degraded => Exit::Degraded,
            Health::Unhealthy => Exit::Unhealthy,
        }
    }
}

/// The operations ports that the command line means; at least one.
pub(crate) fn addresses(args: &Operations) -> Result<Vec<SocketAddr>, Failure> {
    let addresses = match args.operations.is_empty() {
        false => args.operations.clone(),
        true => context::load(&args.desk.ctx)?.operations,
    };
    if addresses.is_empty() {
        return Err(Failure::usage("this context names no operations ports: say --operations"));
    }
    Ok(addresses)
}

/// Asks the operations ports that are named; where none are, all nodes as an operator.
async fn ask(args: &Operations) -> Result<Answers, Failure> {
    let as_operator = args.operations.is_empty()
        && (args.desk.ca.is_some() || context::load(&args.desk.ctx)?.operations.is_empty());
    let nodes: Vec<Standing> = if as_operator {
        desk::standings(&args.desk).await?
    } else {
        let addresses = addresses(args)?;
        let asked = addresses.iter().map(|address| operations::glance(*address));
        let answers = futures::future::join_all(asked).await;
        addresses.into_iter().zip(answers).collect()
    };
    if nodes.iter().all(|(_, answer)| answer.is_err()) {
        let why: Vec<String> = nodes
            .iter()
            .filter_map(|(_, answer)| Some(answer.as_ref().err()?.to_string()))
            .collect();
        return Err(Failure::unavailable(why.join("; ")));
    }
    Ok(Answers { nodes, at: if as_operator { "client" } else { "operations" } })
}

impl Answers {
    pub(crate) fn living(&self) -> impl Iterator<Item = &NodeStatus> {
        self.nodes.iter().filter_map(|(_, answer)| answer.as_ref().ok())
    }

    /// Per shard the leader that the node with the highest term tells, and who carries it.
    pub(crate) fn shards(&self) -> BTreeMap<u32, (u64, Option<u64>, Vec<u64>)> {
        let mut shards: BTreeMap<u32, (u64, Option<u64>, Vec<u64>)> = BTreeMap::new();
        for node in self.living() {
            for shard in &node.shards {
                let entry = shards.entry(shard.group).or_default();
                entry.2.push(node.node);
                if (shard.term, shard.leader.is_some()) > (entry.0, entry.1.is_some()) {
                    (entry.0, entry.1) = (shard.term, shard.leader);
                }
            }
        }
        shards
    }

    pub(crate) fn health(&self) -> Health {
        let living: BTreeSet<u64> = self.living().map(|node| node.node).collect();
        let shards = self.shards();
        let headless = |leader: &Option<u64>| leader.is_none_or(|leader| !living.contains(&leader));
        if shards.is_empty() || shards.values().any(|(_, leader, _)| headless(leader)) {
            return Health::Unhealthy;
        }
        let away = self.nodes.iter().any(|(_, answer)| answer.is_err());
        let missed = self.living().any(|node| node.nodes.iter().any(|other| !other.alive));
        let damaged = self.living().any(|node| !node.damaged.is_empty());
        if away || missed || damaged { Health::Degraded } else { Health::Healthy }
    }

    /// Why it is not healthy: what, and the command that tells more.
    fn reasons(&self) -> Vec<(String, &'static str)> {
        let mut reasons = Vec::new();
        for error in self.nodes.iter().filter_map(|(_, answer)| answer.as_ref().err()) {
            reasons.push((error.to_string(), "synod node ls"));
        }
        let living: BTreeSet<u64> = self.living().map(|node| node.node).collect();
        let missed: BTreeSet<u64> = self
            .living()
            .flat_map(|node| &node.nodes)
            .filter(|other| !other.alive && !living.contains(&other.id))
            .map(|other| other.id)
            .collect();
        reasons.extend(
            missed.iter().map(|node| (format!("node {node} is not heard"), "synod node ls")),
        );
        for node in self.living() {
            let told = node.damaged.iter().map(|what| format!("node {}: {what}", node.node));
            reasons.extend(told.map(|what| (what, "synod node replace")));
        }
        let shards = self.shards();
        let led = |leader: Option<u64>| leader.is_some_and(|leader| living.contains(&leader));
        let headless = shards.values().filter(|(_, leader, _)| !led(*leader)).count();
        if headless > 0 {
            let what = format!("{headless} of {} groups have no leader that answers", shards.len());
            reasons.push((what, "synod shard ls"));
        }
        if shards.is_empty() {
            reasons.push(("no node runs any group".to_owned(), "synod status"));
        }
        reasons
    }

    fn json(&self) -> Value {
        let nodes: Vec<Value> = self
            .nodes
            .iter()
            .map(|(address, answer)| match answer {
                Ok(status) => json!({
                    self.at: address, "serves": true, "node": status.node,
                    "links": status.links, "leads": status.leads(), "shards": status.shards,
                    "sees": status.nodes,
                }),
                Err(error) => json!({
                    self.at: address, "serves": false, "why": error.to_string(),
                }),
            })
            .collect();
        let cluster = self.living().next().map(|node| node.cluster.clone());
        json!({
            "schema": "synod/cluster-status/v1",
            "cluster": cluster,
            "health": self.health().word(),
            "nodes": nodes,
        })
    }
}

/// `synod status`.
pub(crate) async fn status(args: Operations) -> Outcome {
    let answers = ask(&args).await?;
    if args.desk.json {
        say!("{}", answers.json());
        return Ok(Exit::Ok);
    }
    let shards = answers.shards();
    let cluster = answers.living().next().map_or("", |node| node.cluster.as_str());
    say!("cluster {cluster}: {}, {} groups", answers.health().word(), shards.len());
    print_nodes(&answers);
    Ok(Exit::Ok)
}

/// `synod health`.
pub(crate) async fn health(args: Operations) -> Outcome {
    let answers = match ask(&args).await {
        Ok(answers) => answers,
        Err(failure) if failure.exit == Exit::Unavailable => {
            return Err(Failure::new(Exit::Unhealthy, failure));
        }
        Err(failure) => return Err(failure),
    };
    let (health, reasons) = (answers.health(), answers.reasons());
    if args.desk.json {
        let reasons: Vec<Value> =
            reasons.iter().map(|(what, next)| json!({ "what": what, "next": next })).collect();
        let health = health.word();
        say!("{}", json!({ "schema": "synod/health/v1", "health": health, "reasons": reasons }));
    } else {
        say!("{}", health.word());
        for (what, next) in reasons {
            say!("  {what}  → {next}");
        }
    }
    Ok(health.exit())
}

/// `synod node ls`.
pub(crate) async fn nodes(args: Operations) -> Outcome {
    let answers = ask(&args).await?;
    if args.desk.json {
        let nodes = answers.json()["nodes"].take();
        say!("{}", json!({ "schema": "synod/nodes/v1", "nodes": nodes }));
    } else {
        print_nodes(&answers);
    }
    Ok(Exit::Ok)
}

fn print_nodes(answers: &Answers) {
    say!("{:<6} {:<10} {:>6} {:>7} {:>6}  address", "node", "state", "leads", "groups", "links");
    for (address, answer) in &answers.nodes {
        match answer {
            Ok(node) => say!(
                "{:<6} {:<10} {:>6} {:>7} {:>6}  {address}",
                node.node,
                "serves",
                node.leads(),
                node.shards.len(),
                node.links
            ),
            Err(_) => say!("{:<6} {:<10} {:>6} {:>7} {:>6}  {address}", "?", "away", "", "", ""),
        }
    }
}

/// `synod shard ls`.
pub(crate) async fn shards(args: Operations) -> Outcome {
    let answers = ask(&args).await?;
    let shards = answers.shards();
    if args.desk.json {
        let list: Vec<Value> = shards
            .iter()
            .map(|(group, (term, leader, nodes))| {
                json!({ "group": group, "term": term, "leader": leader, "nodes": nodes })
            })
            .collect();
        say!("{}", json!({ "schema": "synod/shards/v1", "shards": list }));
        return Ok(Exit::Ok);
    }
    say!("{:<6} {:>6} {:>7}  carried by", "group", "term", "leader");
    for (group, (term, leader, nodes)) in shards {
        let leader = leader.map_or("none".to_owned(), |leader| leader.to_string());
        let nodes: Vec<String> = nodes.iter().map(u64::to_string).collect();
        say!("{group:<6} {term:>6} {leader:>7}  {}", nodes.join(" "));
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::AskError;
    use crate::operations::{SeenNode, ShardStatus};

    fn node(id: u64, shards: &[(u32, u64, Option<u64>)], alive: bool) -> NodeStatus {
        let shard = |&(group, term, leader): &(u32, u64, Option<u64>)| ShardStatus {
            group,
            leader,
            role: "follower".into(),
            term,
            applied: 1,
            last: 1,
        };
        NodeStatus {
            cluster: "c".into(),
            node: id,
            links: 0,
            now_ms: 0,
            nodes: vec![SeenNode { id: 9, alive, client: String::new() }],
            shards: shards.iter().map(shard).collect(),
            damaged: Vec::new(),
        }
    }

    fn answers(nodes: Vec<NodeStatus>, away: bool) -> Answers {
        let address: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let mut nodes: Vec<_> = nodes.into_iter().map(|node| (address, Ok(node))).collect();
        if away {
            nodes.push((address, Err(AskError::Status(address, 503))));
        }
        Answers { nodes, at: "operations" }
    }

    #[test]
    fn the_newest_term_tells_who_leads() {
        let told = answers(
            vec![
                node(1, &[(0, 3, Some(1)), (1, 5, None)], true),
                node(2, &[(0, 4, Some(2)), (1, 5, Some(2))], true),
            ],
            false,
        );
        let shards = told.shards();
        assert_eq!(shards[&0], (4, Some(2), vec![1, 2]));
        assert_eq!(shards[&1].1, Some(2));
    }

    #[test]
    fn health_tells_a_missing_spare_from_a_missing_leader() {
        let good = || vec![node(1, &[(0, 1, Some(1))], true), node(2, &[(0, 1, Some(1))], true)];
        assert_eq!(answers(good(), false).health(), Health::Healthy);
        assert_eq!(answers(good(), true).health(), Health::Degraded);
        let missing = vec![node(1, &[(0, 1, Some(1))], false)];
        assert_eq!(answers(missing, false).health(), Health::Degraded);
        let mut damaged = good();
        damaged[1].damaged = vec!["slot 7: a row is missing".to_owned()];
        let damaged = answers(damaged, false);
        assert_eq!(damaged.health(), Health::Degraded);
        assert_eq!(damaged.reasons()[0].0, "node 2: slot 7: a row is missing");
        let headless = vec![node(1, &[(0, 1, Some(3))], true)];
        assert_eq!(answers(headless, true).health(), Health::Unhealthy);
        assert_eq!(answers(vec![node(1, &[], true)], false).health(), Health::Unhealthy);
    }
}
