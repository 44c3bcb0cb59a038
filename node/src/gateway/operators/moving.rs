//! Who votes where: what an operator is shown about it, and what they may ask for. What moves and in which order is
//! planned in `cluster-config` and carried out by the groups' leaders; nothing here waits for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cluster_config::{
    ClusterConfig, Command, GroupId, NodeId, NodeState, PlanLimits, foresee, plan,
};
use proto::{Problem, ProblemCode};
use serde_json::{Value, json};

use super::super::body::{Fields, Segment, invalid};
use super::super::problems::{self, Failure};
use super::{Desk, Operator};
use crate::membership::explain::{Explanation, Picture, explain};

/// `POST /v1/cluster/nodes/{node}/state`: drains a node, lets it go, or takes either back. With `dryRun` it only says
/// what would move.
pub(super) async fn set_state(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
    Segment(node): Segment,
    mut body: Fields,
) -> Result<Response, Failure> {
    let node: NodeId = node.parse().map_err(|_| invalid("node", "is a number"))?;
    let state = asked_for(&body.text("state")?)?;
    let dry_run = optional(&mut body, "dryRun")?;
    let command = Command::SetNodeState { node, state };
    let config = newest(&desk).await?;
    let (would_be, moves) = foreseen(&config, &command)?;
    if !dry_run {
        desk.carry_out(&who, &command).await?;
    }
    let body = json!({
        "schema": "synod/node-state/v1",
        "node": node.0,
        "state": state.as_str(),
        "dryRun": dry_run,
        "moves": moves,
        "votersAfter": would_be,
    });
    Ok(Json(body).into_response())
}

fn asked_for(state: &str) -> Result<NodeState, Problem> {
    // Whether a node joins or is lost is not for anybody to say.
    let states = [NodeState::Ready, NodeState::Draining, NodeState::Leaving];
    let state = states.into_iter().find(|known| known.as_str() == state);
    state.ok_or_else(|| invalid("state", "is one of ready, draining, leaving"))
}

pub(super) fn optional(body: &mut Fields, name: &str) -> Result<bool, Problem> {
    if body.rest().any(|field| field == name) { body.boolean(name) } else { Ok(false) }
}

/// How many would vote in each group in the end, and what would move, after `command`.
fn foreseen(config: &ClusterConfig, command: &Command) -> Result<(usize, Vec<Value>), Problem> {
    let mut changed = Some(config.clone());
    let applied = cluster_config::apply(&mut changed, 0, "foreseen", command);
    if let cluster_config::Outcome::Refused(refusal) = &applied.outcome {
        return Err(super::answers::refused(refusal));
    }
    let changed = changed.expect("a cluster stays one");
    let commands = foresee(&changed);
    let mut after = Some(changed);
    for command in &commands {
        cluster_config::apply(&mut after, 0, "foreseen", command);
        finish_all(&mut after);
    }
    let shards = after.iter().flat_map(|config| config.shards.values());
    let voters = shards.map(|shard| shard.replicas.len()).min().unwrap_or(0);
    Ok((voters, told(config, &commands)))
}

fn finish_all(config: &mut Option<ClusterConfig>) {
    let Some(now) = config else { return };
    let moving = now.groups().filter_map(|group| Some((group, now.moving(group)?.to_vec())));
    for (group, replicas) in moving.collect::<Vec<_>>() {
        cluster_config::apply(config, 0, "foreseen", &Command::FinishMove { group, replicas });
    }
}

/// Moves as operators are told them.
fn told(config: &ClusterConfig, commands: &[Command]) -> Vec<Value> {
    let one = |command: &Command| match command {
        Command::MoveShard { group, to, .. } => Some(json!({
            "group": group.0, "from": ids(config.replicas(*group)), "to": ids(to),
        })),
        Command::RemoveNode { node } => Some(json!({ "forget": node.0 })),
        _ => None,
    };
    commands.iter().filter_map(one).collect()
}

/// `GET /v1/cluster/plan`: everything that would move from here.
pub(super) async fn show_plan(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
) -> Result<Response, Failure> {
    let config = newest(&desk).await?;
    let moving = config.groups().filter_map(|group| {
        let to = config.moving(group)?;
        Some(json!({ "group": group.0, "from": ids(config.replicas(group)), "to": ids(to) }))
    });
    let body = json!({
        "schema": "synod/plan/v1",
        "epoch": config.epoch,
        "rebalance": config.settings.rebalance,
        "moving": moving.collect::<Vec<_>>(),
        "moves": told(&config, &foresee(&config)),
    });
    Ok(Json(body).into_response())
}

/// `POST /v1/cluster/plan`: begins the next moves now, also where moves are paused.
pub(super) async fn apply_plan(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
) -> Result<Response, Failure> {
    let config = newest(&desk).await?;
    let commands = plan(&config, PlanLimits::default());
    for command in &commands {
        desk.carry_out(&who, command).await?;
    }
    let body = json!({
        "schema": "synod/plan-applied/v1",
        "epoch": desk.council.config().epoch,
        "moves": told(&config, &commands),
    });
    Ok(Json(body).into_response())
}

/// `GET /v1/cluster/shards`: all groups, group 0 first.
pub(super) async fn shards(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
) -> Result<Response, Failure> {
    let config = desk.council.config();
    let shards: Vec<Value> =
        config.groups().map(|group| one_shard(&desk, &config, group)).collect();
    let body = json!({
        "schema": "synod/cluster-shards/v1", "epoch": config.epoch, "shards": shards,
    });
    Ok(Json(body).into_response())
}

/// `GET /v1/cluster/shards/{group}`: one group; 0 is the cluster's own.
pub(super) async fn shard(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
    Segment(group): Segment,
) -> Result<Response, Failure> {
    let config = desk.council.config();
    let group = known(&config, &group)?;
    let mut body = one_shard(&desk, &config, group);
    body["schema"] = "synod/shard/v1".into();
    Ok(Json(body).into_response())
}

/// `GET /v1/cluster/shards/{group}/explanation`: why it stands as it does, and what to do about it.
pub(super) async fn explain_shard(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
    Segment(group): Segment,
) -> Result<Response, Failure> {
    // What is known here will do: this is asked when little else answers.
    let config = desk.council.config();
    let group = known(&config, &group)?;
    let Explanation { verdict, evidence, next } = explain(&picture(&desk, &config, group));
    let body = json!({
        "schema": "synod/explanation/v1",
        "group": group.0,
        "verdict": verdict.code(),
        "health": verdict.health().as_str(),
        "evidence": evidence,
        "next": next,
        "answeredBy": desk.parts.node,
    });
    Ok(Json(body).into_response())
}

/// `PATCH /v1/cluster/shards/{group}`: who should lead it, or whether the planner leaves it alone.
pub(super) async fn change_shard(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
    Segment(group): Segment,
    mut body: Fields,
) -> Result<Response, Failure> {
    let config = newest(&desk).await?;
    let group = known(&config, &group)?;
    let leader = body.optional_number("leader")?.map(NodeId);
    let frozen = body.rest().any(|field| field == "frozen");
    let frozen = if frozen { Some(body.boolean("frozen")?) } else { None };
    if let Some(frozen) = frozen {
        desk.carry_out(&who, &Command::FreezeShard { group, frozen }).await?;
    }
    if let Some(leader) = leader {
        let config = desk.council.config();
        desk.carry_out(&who, &led_by(&config, group, leader)?).await?;
    }
    let config = desk.council.config();
    Ok(Json(one_shard(&desk, &config, group)).into_response())
}

/// The same voters, with another first.
fn led_by(config: &ClusterConfig, group: GroupId, leader: NodeId) -> Result<Command, Problem> {
    let voters = config.voters_wished(group);
    if !voters.contains(&leader) {
        return Err(invalid("leader", "does not vote in this shard"));
    }
    let others = voters.iter().copied().filter(|node| *node != leader);
    let to = std::iter::once(leader).chain(others).collect();
    Ok(Command::MoveShard { group, to, if_epoch: config.epoch })
}

pub(super) async fn newest(desk: &Desk) -> Result<Arc<ClusterConfig>, Failure> {
    desk.council.linearize().await.map_err(|error| problems::of_route(&error))?;
    Ok(desk.council.config())
}

pub(super) fn known(config: &ClusterConfig, group: &str) -> Result<GroupId, Problem> {
    let group = GroupId(group.parse().map_err(|_| invalid("group", "is a number"))?);
    if config.replicas(group).is_empty() {
        return Err(Problem::new(ProblemCode::NotFound, format!("there is no shard {group}")));
    }
    Ok(group)
}

fn one_shard(desk: &Desk, config: &ClusterConfig, group: GroupId) -> Value {
    let shard = config.shards.get(&group);
    let here = desk.raft.group(group).map(|group| group.status()).unwrap_or_default();
    json!({
        "group": group.0,
        "slots": shard.map(|shard| [shard.slots.start, shard.slots.end]),
        "voters": ids(config.replicas(group)),
        "moving": config.moving(group).map(ids),
        "frozen": shard.is_some_and(|shard| shard.frozen),
        "splitting": shard.and_then(|shard| shard.splitting.as_ref()).map(|split| {
            json!({ "to": split.to.0, "slots": [split.slots.start, split.slots.end] })
        }),
        "parent": shard.and_then(|shard| shard.parent).map(|parent| parent.0),
        "leader": here.leader.map(|node| node.0),
        "term": here.term,
        "votersInForce": here.voters.iter().map(|node| node.0).collect::<Vec<_>>(),
        "observers": here.observers.iter().map(|node| node.0).collect::<Vec<_>>(),
        "applied": here.applied_index,
    })
}

fn picture<'a>(desk: &Desk, map: &'a ClusterConfig, group: GroupId) -> Picture<'a> {
    let running = desk.raft.group(group);
    let status = running.as_ref().map(|group| group.status()).unwrap_or_default();
    let here = NodeId(desk.parts.node);
    let which =
        |is: &dyn Fn(NodeId) -> bool| map.nodes.keys().copied().filter(|id| is(*id)).collect();
    Picture {
        group,
        map,
        here,
        heard: which(&|id| id == here || desk.peers.alive(id.0)),
        leader: status.leader,
        voters: status.voters,
        changing: status.changing,
        last: status.last_index.map_or(0, |index| index + 1),
        applied: status.applied_index.map_or(0, |index| index + 1),
        behind: running.map(|group| group.behind()).unwrap_or_default(),
        full: which(&|id| match id == here {
            true => desk.raft.journal_stats().low,
            false => desk.peers.disk(id.0).full,
        }),
        slow: which(&|id| match id == here {
            true => desk.raft.disk_is_slow(),
            false => desk.peers.disk(id.0).slow,
        }),
        damaged: desk.operated.damaged(),
        divergence: desk.operated.divergences().into_iter().find(|known| known.group == group),
    }
}

pub(super) fn ids(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.0).collect()
}
