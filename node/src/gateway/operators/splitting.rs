//! A shard becomes two, because somebody asks for it. Group 0 takes the wish; what follows is the shard's own log's.

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cluster_config::{ClusterConfig, Command, FeatureLevel, GroupId, Outcome};
use proto::Problem;
use serde_json::{Value, json};

use super::super::body::{Fields, Segment, invalid};
use super::super::problems::Failure;
use super::moving::{ids, known, newest, optional};
use super::upgrading::must_be_at;
use super::{Desk, Operator};

/// `POST /v1/cluster/shards/{group}/split`: makes the upper half of a shard one of its own, or the slots that are named.
/// With `dryRun` it only says what would become of it.
pub(super) async fn split_shard(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
    Segment(group): Segment,
    mut body: Fields,
) -> Result<Response, Failure> {
    let config = newest(&desk).await?;
    let group = known(&config, &group)?;
    must_be_at(&config, FeatureLevel::SPLITS, "a split")?;
    let slots = slots(&config, group, &mut body)?;
    let dry_run = optional(&mut body, "dryRun")?;
    let command = Command::SplitShard { group, slots, if_epoch: config.epoch };
    let told = foreseen(&config, group, &command)?;
    if !dry_run {
        desk.carry_out(&who, &command).await?;
    }
    let mut told = told;
    told["dryRun"] = dry_run.into();
    Ok(Json(told).into_response())
}

/// The slots that are asked for, as an operator names them: the last one is one of them.
fn slots(config: &ClusterConfig, group: GroupId, body: &mut Fields) -> Result<Range<u16>, Problem> {
    let slot = |field: &str, number: u64| {
        let slot = u16::try_from(number).ok().filter(|slot| *slot < cluster_config::SLOTS);
        slot.ok_or_else(|| invalid(field, "is no slot"))
    };
    let first = body.optional_number("firstSlot")?;
    let last = body.optional_number("lastSlot")?;
    match (first, last) {
        (Some(first), Some(last)) => Ok(slot("firstSlot", first)?..slot("lastSlot", last)? + 1),
        (None, None) => {
            let Some(shard) = config.shards.get(&group) else {
                return Err(invalid("group", "has no slots"));
            };
            let Range { start, end } = shard.slots;
            Ok(start + (end - start) / 2..end)
        }
        (Some(_), None) => Err(invalid("lastSlot", "is missing")),
        (None, Some(_)) => Err(invalid("firstSlot", "is missing")),
    }
}

/// The two shards as they will be.
fn foreseen(config: &ClusterConfig, group: GroupId, command: &Command) -> Result<Value, Problem> {
    let mut after = Some(config.clone());
    let mut apply =
        |command: &Command| match cluster_config::apply(&mut after, 0, "foreseen", command).outcome
        {
            Outcome::Refused(refusal) => Err(super::answers::refused(&refusal)),
            Outcome::Accepted { .. } | Outcome::Unchanged { .. } => {
                Ok(after.clone().expect("a cluster stays one"))
            }
        };
    let wished = apply(command)?;
    let to = wished.shards[&group].splitting.as_ref().expect("it was accepted").to;
    let done = apply(&Command::FinishSplit { group, to })?;
    let one = |group: GroupId| {
        let shard = &done.shards[&group];
        json!({
            "group": group.0,
            "slots": [shard.slots.start, shard.slots.end],
            "voters": ids(&shard.replicas),
        })
    };
    Ok(json!({ "schema": "synod/shard-split/v1", "group": group.0, "to": to.0,
               "after": [one(group), one(to)] }))
}
