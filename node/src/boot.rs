//! From a configuration file to a founded cluster: opens the disk, joins group 0, founds the cluster when it is new.
//!
//! Every founder runs the same steps; the first leader of group 0 proposes the founding, and a second proposal of it is refused.
//! A node that was let in founds nothing: it waits until group 0's leader has sent it the cluster's state.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cluster_config::{
    Addresses, AuthorityKey, Claim, ClusterConfig, ClusterId, Command, Door, Fingerprint, Founder,
    Outcome, Refusal, TokenKey, Unspoken,
};
use futures::future::join_all;
use raft::{Founding, GroupId, NodeId, Raft};
use store::tables::Tables;

use crate::clock::{Clock, Entropy};
use crate::cluster::{ClusterMachine, Configured};
use crate::config::{Cluster, Config, Member};
use crate::council::Council;
use crate::identity::{self, IdentityError};
use crate::membership::is_removed;
use crate::peers::Peers;
use crate::run::Error;

/// How long to wait before the founding is proposed again.
const FOUND_AGAIN: Duration = Duration::from_millis(100);
/// Attempts of a newcomer between two lines in the log.
const SAY_AGAIN: u32 = 50;
/// How long the claim in a file is good for, counted from the founding: a day.
const CLAIM_TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// What came of [`form`].
pub(crate) struct Formed {
    /// The cluster.
    pub(crate) cluster: Arc<ClusterConfig>,
    /// The same, as it changes.
    pub(crate) configured: Configured,
    /// Whether this process took part in the founding.
    pub(crate) founded: bool,
}

/// Joins group 0 and returns the cluster's configuration once this node has it. `unspoken` is set when this program turns out
/// to be too old for it.
pub(crate) async fn form(
    config: &Config,
    (raft, peers): (&Raft, &Peers),
    (tables, unspoken): (Arc<dyn Tables>, Arc<OnceLock<Unspoken>>),
    identity: Fingerprint,
    (clock, entropy): (&dyn Clock, &dyn Entropy),
) -> Result<Formed, Error> {
    let (machine, mut configured) = ClusterMachine::open(tables, unspoken)?;
    if config.is_formed_by_file() && !raft.has_begun(GroupId::CLUSTER) {
        let others = config.cluster.nodes.iter().map(|member| member.id);
        let others = others.filter(|node| *node != config.node).collect();
        Newcomer { node: NodeId(config.node), identity, others, peers }.come_in().await?;
    }
    let decided = configured.borrow().is_some();
    let (founding, bootstrap) = beginning(config, decided, clock, entropy)?;
    let preferred = preferred(configured.borrow().as_deref(), &founding, config.node);
    let group = raft.start(GroupId::CLUSTER, Box::new(machine), founding, preferred).await?;
    loop {
        let decided = configured.borrow_and_update().clone();
        if let Some(cluster) = decided {
            identity::Founding::forget(config);
            return Ok(Formed { cluster, configured, founded: bootstrap.is_some() });
        }
        if let Some(bootstrap) = bootstrap.as_ref().filter(|_| group.status().is_leader) {
            let command = proto::cluster::encode_cluster_command("system", bootstrap);
            if let Err(error) = group.propose(command).await {
                tracing::info!(%error, "the founding is proposed again");
            }
        }
        // Either the state arrives, or it is time to look whether this node leads by now.
        let _ = tokio::time::timeout(FOUND_AGAIN, configured.changed()).await;
    }
}

/// A founder whose log of group 0 is empty: either there is no cluster yet, or its disk is gone. A voter that forgot what
/// it promised could help to lose what was acknowledged, so it begins nothing before it knows which.
struct Newcomer<'a> {
    node: NodeId,
    identity: Fingerprint,
    others: Vec<u64>,
    peers: &'a Peers,
}

impl Newcomer<'_> {
    /// Returns when no cluster can have begun without this node, or the cluster knows it by this disk's key.
    ///
    /// # Errors
    /// When the cluster knows this node by the key of another disk.
    async fn come_in(self) -> Result<(), Error> {
        for attempt in 0u32.. {
            let asked = self.others.iter().map(|node| self.peers.founded(*node));
            let answers: Vec<bool> = join_all(asked).await.into_iter().flatten().collect();
            let founded = answers.contains(&true);
            // The others that are silent cannot be a majority by themselves.
            let all = self.others.len() + 1;
            if !founded && (answers.len() + 1) * 2 > all {
                return Ok(());
            }
            if founded && self.introduce().await? {
                return Ok(());
            }
            if attempt.is_multiple_of(SAY_AGAIN) {
                tracing::info!(
                    founded,
                    heard = answers.len(),
                    of = all - 1,
                    "this disk is empty: the others are asked"
                );
            }
            tokio::time::sleep(FOUND_AGAIN).await;
        }
        unreachable!("the loop ends by returning")
    }

    /// Has the cluster take note of this disk's key. `false`: nobody who leads was reached.
    async fn introduce(&self) -> Result<bool, Error> {
        let command = Command::Introduce { node: self.node, identity: self.identity };
        let command = proto::cluster::encode_cluster_command("system", &command);
        for other in &self.others {
            let asked = self.peers.forward(*other, GroupId::CLUSTER, command.clone()).await;
            let outcome = asked.ok().and_then(|o| proto::cluster::decode_cluster_outcome(&o).ok());
            match outcome {
                Some(Outcome::Accepted { .. } | Outcome::Unchanged { .. }) => return Ok(true),
                Some(Outcome::Refused(refusal @ Refusal::OtherIdentity(_))) => {
                    return Err(IdentityError::Refused(refusal.to_string()).into());
                }
                Some(Outcome::Refused(_)) | None => {}
            }
        }
        Ok(false)
    }
}

/// Has the cluster know this node by its key, if it does not yet.
///
/// # Errors
/// When it knows it by another.
pub(crate) async fn introduce(
    council: &Council,
    node: NodeId,
    identity: Fingerprint,
) -> Result<(), Error> {
    loop {
        let config = council.config();
        match config.nodes.get(&node).map(|known| known.identity) {
            Some(Some(known)) if known == identity => return Ok(()),
            Some(Some(_)) => {
                return Err(IdentityError::Refused(Refusal::OtherIdentity(node).to_string()).into());
            }
            None if is_removed(&config, node) => {
                return Err(IdentityError::Refused(Refusal::NoSuchNode(node).to_string()).into());
            }
            // What is here is from before this node came in.
            None => {
                tokio::time::sleep(FOUND_AGAIN).await;
                continue;
            }
            Some(None) => {}
        }
        let command = Command::Introduce { node, identity };
        match council.propose("system", &command).await {
            Ok(Outcome::Refused(refusal)) => {
                return Err(IdentityError::Refused(refusal.to_string()).into());
            }
            Ok(_) => return Ok(()),
            Err(error) => tracing::info!(%error, "this node introduces itself again"),
        }
        tokio::time::sleep(FOUND_AGAIN).await;
    }
}

/// Who should lead group 0: as decided, or the first founder before anything is.
fn preferred(decided: Option<&ClusterConfig>, founding: &Founding, node: u64) -> NodeId {
    let decided = decided.and_then(|config| config.voters.first());
    let first = match founding {
        Founding::Members(voters) => voters.first(),
        Founding::Join | Founding::Split => None,
    };
    decided.or(first).copied().unwrap_or(NodeId(node))
}

/// How group 0 begins here, and what is proposed when this node leads it and there is no cluster yet.
fn beginning(
    config: &Config,
    decided: bool,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<(Founding, Option<Command>), Error> {
    if config.is_formed_by_file() {
        let nodes: BTreeMap<_, _> = config.cluster.nodes.iter().map(founder).collect();
        let voters = nodes.keys().copied().collect();
        if decided {
            return Ok((Founding::Members(voters), None));
        }
        let Cluster { shards, replication, .. } = config.cluster;
        let door = door(config, clock)?;
        let bootstrap = bootstrap(config, (nodes, shards, replication, door), clock, entropy)?;
        return Ok((Founding::Members(voters), Some(bootstrap)));
    }
    let Some(founding) = identity::Founding::load(config)? else {
        return Ok((Founding::Join, None));
    };
    let identity::Founding { shards, replication, node, door } = founding;
    let first = NodeId(config.node);
    let parts = (BTreeMap::from([(first, node)]), shards, replication, door);
    let bootstrap = bootstrap(config, parts, clock, entropy)?;
    Ok((Founding::Members([first].into()), Some(bootstrap)))
}

/// Who may come into a cluster that is formed by files.
fn door(config: &Config, clock: &dyn Clock) -> Result<Door, Error> {
    let claims = config.cluster.claim.iter().map(|secret| Claim {
        secret: Fingerprint::try_from(secret.clone()).expect("checked when the file was read"),
        expires_at_ms: clock.now().0 + CLAIM_TTL_MS,
    });
    Ok(Door { authority: authority(config)?, claims: claims.collect(), ..Door::default() })
}

/// The authority that a file hands over, if it does.
pub(crate) fn authority(config: &Config) -> Result<Option<AuthorityKey>, Error> {
    let read = |path: &Path| {
        let path = path.display().to_string();
        std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })
    };
    let Some(key) = &config.tls.authority_key else { return Ok(None) };
    let certificate = read(&config.tls.authority)?;
    Ok(Some(AuthorityKey { certificate, key: read(key)?, cross: None }))
}

fn bootstrap(
    config: &Config,
    (nodes, shards, replication, door): (BTreeMap<NodeId, Founder>, u32, u32, Door),
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Command, Error> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let created_at_ms = clock.now().0;
    let cluster = ClusterId::parse(&config.cluster.id)
        .map_err(|error| Error::Config(format!("cluster.id: {error}")))?;
    let token_key = TokenKey { id: entropy.number(), seed, created_at_ms, retired: false };
    Ok(Command::Bootstrap { cluster, nodes, shards, replication, token_key, door })
}

pub(crate) fn founder(member: &Member) -> (NodeId, Founder) {
    let addresses = Addresses {
        client: member.client.to_string(),
        peer: member.peer.to_string(),
        operations: member.operations.to_string(),
    };
    (NodeId(member.id), Founder { addresses, zone: None, weight: 1 })
}
