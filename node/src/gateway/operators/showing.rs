//! What the cluster is, as operators are shown it: no secret is in any answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cluster_config::{
    ClusterConfig, Command, FeatureLevel, GroupId, Node, NodeId, Setting, Settings,
};
use proto::{Problem, ProblemCode};
use serde_json::{Value, json};

use super::super::body::{Fields, Segment, invalid};
use super::super::problems::{self, Failure};
use super::upgrading::must_be_at;
use super::{Desk, Operator};
use crate::operations::status_of;

/// `GET /v1/cluster`: all of it at a glance.
pub(super) async fn cluster(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
) -> Result<Response, Failure> {
    let config = desk.council.config();
    let shards = config.shards.iter().map(|(group, shard)| {
        json!({
            "group": group.0,
            "slots": [shard.slots.start, shard.slots.end],
            "voters": ids(&shard.replicas),
        })
    });
    let door = &config.door;
    let body = json!({
        "schema": "synod/cluster/v1",
        "cluster": config.cluster.as_str(),
        "epoch": config.epoch,
        "historyEpoch": config.history_epoch,
        "answeredBy": desk.parts.node,
        "replication": config.replication,
        "council": ids(&config.voters),
        "nodes": all_nodes(&desk, &config),
        "shards": shards.collect::<Vec<_>>(),
        "operators": door.operators.iter().map(|operator| &operator.name).collect::<Vec<_>>(),
        "openJoinTokens": door.join_tokens.len(),
    });
    Ok(Json(body).into_response())
}

/// `GET /v1/cluster/status`: what this node thinks the cluster is; the operations port says the same without a token.
pub(super) async fn status(State(desk): State<Arc<Desk>>, Operator(_): Operator) -> Response {
    Json(status_of(&*desk.operated)).into_response()
}

/// `GET /v1/cluster/nodes`: all nodes.
pub(super) async fn nodes(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
) -> Result<Response, Failure> {
    let config = desk.council.config();
    let body = json!({ "schema": "synod/cluster-nodes/v1", "epoch": config.epoch, "nodes": all_nodes(&desk, &config) });
    Ok(Json(body).into_response())
}

/// `GET /v1/cluster/nodes/{node}`: one node.
pub(super) async fn node(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
    Segment(node): Segment,
) -> Result<Response, Failure> {
    let config = desk.council.config();
    let id: NodeId = node.parse().map_err(|_| invalid("node", "is a number"))?;
    let Some(node) = config.nodes.get(&id) else {
        let detail = format!("there is no node {id}");
        return Err(Problem::new(ProblemCode::NotFound, detail).into());
    };
    let mut body = one_node(&desk, &config, id, node);
    body["schema"] = "synod/node/v1".into();
    Ok(Json(body).into_response())
}

fn all_nodes(desk: &Desk, config: &ClusterConfig) -> Vec<Value> {
    config.nodes.iter().map(|(id, node)| one_node(desk, config, *id, node)).collect()
}

fn one_node(desk: &Desk, config: &ClusterConfig, id: NodeId, node: &Node) -> Value {
    let votes = config.groups_of(id);
    let shards = votes.iter().filter(|group| !group.is_cluster());
    json!({
        "node": id.0,
        "state": node.state.as_str(),
        "alive": id.0 == desk.parts.node || desk.peers.alive(id.0),
        "slowDisk": match id.0 == desk.parts.node {
            true => desk.raft.disk_is_slow(),
            false => desk.peers.disk(id.0).slow,
        },
        "client": node.addresses.client,
        "peer": node.addresses.peer,
        "operations": node.addresses.operations,
        "zone": node.zone,
        "weight": node.weight,
        "council": votes.contains(&GroupId::CLUSTER),
        "votes": shards.map(|group| group.0).collect::<Vec<_>>(),
        "key": node.identity.map(|print| print.to_string()),
    })
}

fn ids(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.0).collect()
}

/// `GET /v1/cluster/settings`: the replicated settings.
pub(super) async fn settings(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
) -> Result<Response, Failure> {
    Ok(Json(shown(&desk.council.config().settings)).into_response())
}

fn shown(settings: &Settings) -> Value {
    json!({
        "schema": "synod/settings/v1",
        "access_token_ttl": settings.access_token_ttl.as_secs(),
        "refresh_token_ttl": settings.refresh_token_ttl.as_secs(),
        "repair_after": settings.repair_after.as_secs(),
        "send_rate_per_s": settings.send_rate_per_s,
        "send_burst": settings.send_burst,
        "open_registration": settings.open_registration,
        "rebalance": settings.rebalance,
        "upgrade_automatic": settings.upgrade_automatic,
    })
}

/// `PATCH /v1/cluster/settings`: changes those that are named; durations are seconds.
pub(super) async fn change_settings(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
    mut body: Fields,
) -> Result<Response, Failure> {
    // All are read before the first is changed, so that a wrong one changes nothing.
    let mut changes = Vec::new();
    for name in body.rest().map(str::to_owned).collect::<Vec<_>>() {
        changes.push(setting(&name, &mut body)?);
    }
    if let Some(wrong) = changes.iter().find(|setting| !setting.is_within_bounds()) {
        return Err(invalid(wrong.name(), "is out of bounds").into());
    }
    if changes.iter().any(|setting| matches!(setting, Setting::UpgradeAutomatic(_))) {
        must_be_at(&desk.council.config(), FeatureLevel::SPLITS, "this setting")?;
    }
    for change in changes {
        desk.carry_out(&who, &Command::ChangeSetting(change)).await?;
    }
    Ok(Json(shown(&desk.council.config().settings)).into_response())
}

/// The setting of this name, with the value in `body`.
fn setting(name: &str, body: &mut Fields) -> Result<Setting, Problem> {
    let mut number = || body.number(name);
    let count = |number: u64| u32::try_from(number).map_err(|_| invalid(name, "is out of bounds"));
    Ok(match name {
        "access_token_ttl" => Setting::AccessTokenTtl(Duration::from_secs(number()?)),
        "refresh_token_ttl" => Setting::RefreshTokenTtl(Duration::from_secs(number()?)),
        "repair_after" => Setting::RepairAfter(Duration::from_secs(number()?)),
        "send_rate_per_s" => Setting::SendRatePerS(count(number()?)?),
        "send_burst" => Setting::SendBurst(count(number()?)?),
        "open_registration" => Setting::OpenRegistration(body.boolean(name)?),
        "rebalance" => Setting::Rebalance(body.boolean(name)?),
        "upgrade_automatic" => Setting::UpgradeAutomatic(body.boolean(name)?),
        _ => return Err(invalid(name, "is no setting")),
    })
}

/// `GET /v1/cluster/audit`: who changed what, the latest last.
pub(super) async fn audit(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
) -> Result<Response, Failure> {
    desk.council.linearize().await.map_err(|error| problems::of_route(&error))?;
    let config = desk.council.config();
    let records = config.audit.iter().map(|record| {
        json!({
            "epoch": record.epoch,
            "atMs": record.at_ms,
            "actor": record.actor,
            "what": record.what,
        })
    });
    let body = json!({ "schema": "synod/audit/v1", "records": records.collect::<Vec<_>>() });
    Ok(Json(body).into_response())
}
