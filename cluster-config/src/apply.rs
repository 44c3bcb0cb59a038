//! The machine of group 0: total, synchronous, the same on every node. It neither reads a clock nor draws a key:
//! time and secrets arrive with the command.

mod entering;
mod moving;
mod raising;
mod recovering;
mod splitting;
mod trusting;

use std::collections::BTreeMap;

use crate::config::{
    AUDIT_RECORDS_MAX, CLUSTER_VOTERS_MAX, NODES_MAX, REPLICATION_MAX, SHARDS_MAX, TOKEN_KEYS_MAX,
};
use crate::{
    Applied, AuditRecord, ClusterConfig, Command, Event, GroupId, Node, NodeId, NodeState, Outcome,
    Refusal, Settings, TokenKey, place,
};

/// Longest `host:port`, in bytes: a DNS name of 253 and a port.
const ADDRESS_BYTES_MAX: usize = 260;
/// Longest zone or actor name, in bytes: they are kept in each audit record.
const NAME_BYTES_MAX: usize = 128;

/// Carries out one command at a time that the proposer stamped, in the name of `actor`.
pub fn apply(
    this: &mut Option<ClusterConfig>,
    at_ms: u64,
    actor: &str,
    command: &Command,
) -> Applied {
    let epoch_before = this.as_ref().map_or(0, |config| config.epoch);
    let decided = match (&mut *this, command) {
        (None, Command::Bootstrap { .. }) => found(command).map(|config| {
            *this = Some(config);
            Some(Event::Founded)
        }),
        (None, _) => Err(Refusal::NotFounded),
        (Some(config), command) => change(config, at_ms, command),
    };
    let applied = match (decided, this.as_mut()) {
        (Ok(Some(event)), Some(config)) => {
            config.epoch = epoch_before + 1;
            record(config, at_ms, actor, describe(&event, config));
            config.assert_sound();
            Applied { outcome: Outcome::Accepted { epoch: config.epoch }, event: Some(event) }
        }
        (Ok(_), _) => Applied { outcome: Outcome::Unchanged { epoch: epoch_before }, event: None },
        (Err(refusal), _) => Applied { outcome: Outcome::Refused(refusal), event: None },
    };
    let epoch_after = this.as_ref().map_or(0, |config| config.epoch);
    let accepted = matches!(applied.outcome, Outcome::Accepted { .. });
    assert_eq!(epoch_after, epoch_before + u64::from(accepted), "an epoch is an accepted command");
    applied
}

fn found(command: &Command) -> Result<ClusterConfig, Refusal> {
    let Command::Bootstrap { cluster, nodes, shards, replication, token_key, door } = command
    else {
        unreachable!("called for Bootstrap alone");
    };
    within((1..=NODES_MAX).contains(&nodes.len()), "nodes")?;
    within((1..=SHARDS_MAX).contains(shards), "shards")?;
    within((1..=REPLICATION_MAX).contains(replication), "replication")?;
    within(!token_key.retired, "token_key")?;
    for founder in nodes.values() {
        check_founder(founder)?;
    }
    let nodes: BTreeMap<NodeId, Node> = nodes.iter().map(|(id, f)| (*id, node_of(f))).collect();
    let shards = place(&nodes, *shards, *replication);
    let config = ClusterConfig {
        cluster: cluster.clone(),
        epoch: 0,
        history_epoch: 0,
        raised: None,
        voters: voters(&nodes),
        voters_moving: None,
        last_node: NodeId::default(),
        replication: *replication,
        nodes,
        shards,
        settings: Settings::default(),
        keys: vec![token_key.clone()],
        push_key: None,
        door: door.clone(),
        audit: Vec::new(),
    };
    entering::check_door(&config)?;
    Ok(config)
}

/// A founder as a node: ready at once.
pub(crate) fn node_of(founder: &crate::Founder) -> Node {
    Node {
        addresses: founder.addresses.clone(),
        zone: founder.zone.clone(),
        weight: founder.weight,
        state: NodeState::Ready,
        identity: None,
    }
}

/// The voters of group 0: spread like one shard's replicas, an odd number unless there are but two nodes.
pub(crate) fn voters(nodes: &BTreeMap<NodeId, Node>) -> Vec<NodeId> {
    let count = u32::try_from(nodes.len()).expect("nodes are bounded").min(CLUSTER_VOTERS_MAX);
    let count = if count > 2 && count.is_multiple_of(2) { count - 1 } else { count };
    place(nodes, 1, count).remove(&GroupId(1)).expect("one shard was asked for").replicas
}

/// `None`: it was so already.
fn change(
    config: &mut ClusterConfig,
    at_ms: u64,
    command: &Command,
) -> Result<Option<Event>, Refusal> {
    match command {
        Command::Bootstrap { .. } => Err(Refusal::FoundedAlready),
        Command::SetNodeState { node, state } => set_node_state(config, *node, *state),
        Command::SetAddresses { node, addresses } => {
            check_addresses(addresses)?;
            let known = config.nodes.get_mut(node).ok_or(Refusal::NoSuchNode(*node))?;
            if known.addresses == *addresses {
                return Ok(None);
            }
            known.addresses = addresses.clone();
            Ok(Some(Event::AddressesChanged { node: *node }))
        }
        Command::ChangeSetting(setting) => {
            within(setting.is_within_bounds(), setting.name())?;
            let before = config.settings.clone();
            config.settings.change(*setting);
            Ok((before != config.settings).then_some(Event::SettingChanged(*setting)))
        }
        Command::AddTokenKey(key) => add_token_key(config, key),
        Command::RetireTokenKey { id } => retire_token_key(config, *id),
        // Whoever comes second takes the key that is there.
        Command::SetPushKey(_) if config.push_key.is_some() => Ok(None),
        Command::SetPushKey(key) => {
            within(key.is_within_bounds(), "push_key")?;
            config.push_key = Some(key.clone());
            Ok(Some(Event::PushKeySet))
        }
        Command::AddJoinToken(token) => entering::add_join_token(config, at_ms, token),
        Command::Admit { secret, identity, node, speaks } => {
            entering::admit(config, at_ms, (*secret, *identity), node, *speaks)
        }
        Command::Introduce { node, identity } => entering::introduce(config, *node, *identity),
        Command::AddClaim(claim) => entering::add_claim(config, at_ms, claim),
        Command::Claim { secret, name, token } => {
            entering::claim(config, at_ms, *secret, name, *token)
        }
        Command::RemoveOperator { name } => entering::remove_operator(config, name),
        Command::MoveShard { group, to, if_epoch } => {
            moving::move_shard(config, *group, to, *if_epoch)
        }
        Command::FinishMove { group, replicas } => moving::finish_move(config, *group, replicas),
        Command::CancelMove { group } => moving::cancel_move(config, *group),
        Command::FreezeShard { group, frozen } => moving::freeze(config, *group, *frozen),
        Command::SplitShard { group, slots, if_epoch } => {
            splitting::split(config, *group, slots, *if_epoch)
        }
        Command::FinishSplit { group, to } => splitting::finish(config, *group, *to),
        Command::RemoveNode { node } => moving::remove_node(config, *node),
        Command::Recover { survivor } => recovering::recover(config, *survivor),
        Command::HoldCertificate { node, held } => trusting::hold(config, *node, held),
        Command::RenewCertificate { node } => trusting::renew(config, at_ms, *node),
        Command::RotateAuthority { next } => trusting::rotate(config, next),
        Command::RaiseLevel { from, to, release, speak } => {
            raising::raise(config, (*from, *to), release, speak)
        }
    }
}

fn set_node_state(
    config: &mut ClusterConfig,
    node: NodeId,
    to: NodeState,
) -> Result<Option<Event>, Refusal> {
    let known = config.nodes.get_mut(&node).ok_or(Refusal::NoSuchNode(node))?;
    let from = known.state;
    if from == to {
        return Ok(None);
    }
    use NodeState::{Draining, Joining, Leaving, Lost, Ready};
    let legal = match (from, to) {
        (Joining, Ready | Leaving | Lost) => true,
        (Ready, Draining | Leaving | Lost) => true,
        (Draining, Ready | Leaving | Lost) => true,
        // A node that was given up may come back only to be taken away in order.
        (Lost, Ready | Leaving) => true,
        // A node that has not gone yet may be asked to stay.
        (Leaving, Ready | Lost) => true,
        _ => false,
    };
    if !legal {
        return Err(Refusal::NoSuchStep { node, from, to });
    }
    known.state = to;
    Ok(Some(Event::NodeStateChanged { node, before: from, after: to }))
}

fn add_token_key(config: &mut ClusterConfig, key: &TokenKey) -> Result<Option<Event>, Refusal> {
    within(!key.retired, "token_key")?;
    if let Some(known) = config.keys.iter().find(|known| known.id == key.id) {
        return if known == key { Ok(None) } else { Err(Refusal::KeyExists(key.id)) };
    }
    // Ids rise, so that an id that was dropped below is never taken again.
    within(config.keys.last().is_none_or(|newest| key.id > newest.id), "token_key id")?;
    if config.keys.len() == TOKEN_KEYS_MAX {
        let oldest_retired = config.keys.iter().position(|known| known.retired);
        config.keys.remove(oldest_retired.ok_or_else(|| out_of_bounds("token keys"))?);
    }
    config.keys.push(key.clone());
    Ok(Some(Event::TokenKeyAdded(key.id)))
}

fn retire_token_key(config: &mut ClusterConfig, id: u64) -> Result<Option<Event>, Refusal> {
    let live = config.keys.iter().filter(|key| !key.retired).count();
    let key = config.keys.iter_mut().find(|key| key.id == id).ok_or(Refusal::NoSuchKey(id))?;
    if key.retired {
        return Ok(None);
    }
    if live == 1 {
        return Err(Refusal::LastKey);
    }
    key.retired = true;
    Ok(Some(Event::TokenKeyRetired(id)))
}

pub(crate) fn record(config: &mut ClusterConfig, at_ms: u64, actor: &str, what: String) {
    if config.audit.len() >= AUDIT_RECORDS_MAX {
        config.audit.drain(..=config.audit.len() - AUDIT_RECORDS_MAX);
    }
    let actor = actor.chars().take(NAME_BYTES_MAX / 4).collect();
    config.audit.push(AuditRecord { epoch: config.epoch, at_ms, actor, what });
}

/// One line for the audit log. Names no secret.
fn describe(event: &Event, config: &ClusterConfig) -> String {
    match event {
        Event::Founded => format!(
            "cluster {} founded: {} nodes, {} shards",
            config.cluster,
            config.nodes.len(),
            config.shards.len()
        ),
        Event::NodeStateChanged { node, before, after } => {
            format!("node {node}: {} -> {}", before.as_str(), after.as_str())
        }
        Event::AddressesChanged { node } => format!("node {node}: new addresses"),
        Event::SettingChanged(setting) => format!("setting {setting:?}"),
        Event::TokenKeyAdded(id) => format!("token key {id} added"),
        Event::TokenKeyRetired(id) => format!("token key {id} retired"),
        Event::PushKeySet => "push key set".to_owned(),
        Event::JoinTokenAdded { uses, replaces: None } => format!("join token for {uses} nodes"),
        Event::JoinTokenAdded { replaces: Some(old), .. } => {
            format!("join token for a node in the place of {old}")
        }
        Event::NodeAdmitted { node, replaces: None } => format!("node {node} admitted"),
        Event::NodeAdmitted { node, replaces: Some(old) } => {
            format!("node {node} admitted in the place of {old}, which leaves")
        }
        Event::NodeIntroduced { node } => format!("node {node} is known by its key"),
        Event::ClaimAdded => "claim for one operator".to_owned(),
        Event::OperatorAdded(name) => format!("operator {name} added"),
        Event::OperatorRemoved(name) => format!("operator {name} removed"),
        Event::LeaderPreferred { group, node } => {
            format!("{}: node {node} should lead", name(*group))
        }
        Event::MoveBegun { group, to } => {
            format!(
                "{}: on its way from nodes {} to {}",
                name(*group),
                list(config.replicas(*group)),
                list(to)
            )
        }
        Event::MoveFinished { group } => {
            format!("{}: nodes {} vote", name(*group), list(config.replicas(*group)))
        }
        Event::MoveCancelled { group } => {
            format!("{}: stays with nodes {}", name(*group), list(config.replicas(*group)))
        }
        Event::ShardFrozen { group, frozen: true } => format!("{}: frozen", name(*group)),
        Event::ShardFrozen { group, frozen: false } => {
            format!("{}: no longer frozen", name(*group))
        }
        Event::SplitBegun { group, to, slots } => {
            let (first, last) = (slots.start, slots.end - 1);
            format!("{}: slots {first} to {last} become {}", name(*group), name(*to))
        }
        Event::SplitFinished { group, to } => format!("{}: split off {}", name(*to), name(*group)),
        Event::NodeRemoved { node } => format!("node {node} removed"),
        Event::Recovered { survivor, lost } => format!(
            "recovered with node {survivor} alone; given up: nodes {}; history epoch {}",
            list(lost),
            config.history_epoch
        ),
        Event::CertificateHeld { node, .. } => format!("node {node} has a new certificate"),
        Event::RenewalAsked { node } => format!("node {node} shall get a new certificate"),
        Event::RotationBegun => "another authority: every node learns to trust it".to_owned(),
        Event::AuthorityChanged { generation } => {
            format!("authority {generation} signs: every node gets a certificate of it")
        }
        Event::RotationEnded { generation } => format!("authority {generation} alone is trusted"),
        Event::LevelRaised { level } => format!("feature level {level}"),
    }
}

fn name(group: GroupId) -> String {
    if group.is_cluster() { "group 0".to_owned() } else { format!("shard {group}") }
}

fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

pub(crate) fn check_founder(founder: &crate::Founder) -> Result<(), Refusal> {
    within(founder.weight >= 1, "weight")?;
    within(founder.zone.as_ref().is_none_or(|zone| is_name(zone)), "zone")?;
    check_addresses(&founder.addresses)
}

fn check_addresses(addresses: &crate::Addresses) -> Result<(), Refusal> {
    let legal = |address: &str| {
        address.len() <= ADDRESS_BYTES_MAX
            && address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
            })
    };
    within(legal(&addresses.client), "addresses.client")?;
    within(legal(&addresses.peer), "addresses.peer")?;
    within(legal(&addresses.operations), "addresses.operations")
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

pub(crate) fn within(holds: bool, what: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(out_of_bounds(what)) }
}

fn out_of_bounds(what: &str) -> Refusal {
    Refusal::OutOfBounds { what: what.to_owned() }
}
