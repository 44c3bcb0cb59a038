//! From a configuration file to a founded cluster: opens the disk, joins group 0, founds the cluster when it is new.
//!
//! Every founder runs the same steps; the first leader of group 0 proposes the founding, and a second proposal of it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster_config::{Addresses, ClusterConfig, ClusterId, Command, Door, Founder, TokenKey};
use raft::{Founding, GroupId, NodeId, Raft};
use store::tables::Tables;

use crate::clock::{Clock, Entropy};
use crate::cluster::{ClusterMachine, Configured};
use crate::config::{Config, Member};
use crate::run::Error;

/// How long to wait before the founding is proposed again.
const FOUND_AGAIN: Duration = Duration::from_millis(100);

/// Joins group 0 and returns the cluster's configuration once this node has it.
pub(crate) async fn form(
    config: &Config,
    raft: &Raft,
    tables: Arc<dyn Tables>,
    (clock, entropy): (&dyn Clock, &dyn Entropy),
) -> Result<(Arc<ClusterConfig>, Configured), Error> {
    let (machine, mut configured) = ClusterMachine::open(tables)?;
    let founding = founding(config, clock, entropy)?;
    let voters = voters(configured.borrow().as_deref(), config);
    let preferred = *voters.first().expect("a configuration names at least one node");
    let members = Founding::Members(voters.iter().copied().collect());
    let group = raft.start(GroupId::CLUSTER, Box::new(machine), members, preferred).await?;
    loop {
        let decided = configured.borrow_and_update().clone();
        if let Some(decided) = decided {
            return Ok((decided, configured));
        }
        if group.status().is_leader {
            let command = proto::cluster::encode_cluster_command("system", &founding);
            if let Err(error) = group.propose(command).await {
                tracing::info!(%error, "the founding is proposed again");
            }
        }
        // Either the state arrives, or it is time to look whether this node leads by now.
        let _ = tokio::time::timeout(FOUND_AGAIN, configured.changed()).await;
    }
}

/// The voters of group 0, the preferred leader first: as decided, or all founders before anything is.
fn voters(decided: Option<&ClusterConfig>, config: &Config) -> Vec<NodeId> {
    match decided {
        Some(decided) => decided.voters.clone(),
        None => {
            let ids: BTreeSet<u64> = config.cluster.nodes.iter().map(|member| member.id).collect();
            ids.into_iter().map(NodeId).collect()
        }
    }
}

fn founding(config: &Config, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<Command, Error> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let created_at_ms = clock.now().0;
    let cluster = ClusterId::parse(&config.cluster.id)
        .map_err(|error| Error::Config(format!("cluster.id: {error}")))?;
    Ok(Command::Bootstrap {
        cluster,
        nodes: config.cluster.nodes.iter().map(founder).collect::<BTreeMap<_, _>>(),
        shards: config.cluster.shards,
        replication: config.cluster.replication,
        token_key: TokenKey { id: entropy.number(), seed, created_at_ms, retired: false },
        door: Door::default(),
    })
}

pub(crate) fn founder(member: &Member) -> (NodeId, Founder) {
    let addresses = Addresses {
        client: member.client.to_string(),
        peer: member.peer.to_string(),
        operations: member.operations.to_string(),
    };
    (NodeId(member.id), Founder { addresses, zone: None, weight: 1 })
}
