//! The cluster's feature level: who speaks what, and raising it by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cluster_config::{ClusterConfig, Command, FeatureLevel, NodeId, Outcome, apply};
use proto::{Problem, ProblemCode};
use serde_json::{Value, json};

use super::super::body::{Fields, invalid};
use super::super::problems::Failure;
use super::moving::{ids, newest, optional};
use super::{Desk, Operator};
use crate::upgrade::{self, Spoken};

/// `GET /v1/cluster/upgrade`: the level, what each node speaks, and what the next level waits for.
pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
) -> Result<Response, Failure> {
    let config = newest(&desk).await?;
    let spoken = spoken(&desk, &config).await;
    Ok(Json(shown(&config, &spoken)).into_response())
}

/// `POST /v1/cluster/upgrade`: raises the level to what this node speaks, or to `level`. It is never lowered again. With
/// `dryRun` it only says whether it could be done.
pub(super) async fn finish(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
    mut body: Fields,
) -> Result<Response, Failure> {
    let dry_run = optional(&mut body, "dryRun")?;
    let here = Spoken::here();
    let to = match body.optional_number("level")? {
        None => here.max,
        Some(level) => {
            let level = u32::try_from(level).map(FeatureLevel);
            let spoken = level.ok().filter(|level| (here.min..=here.max).contains(level));
            spoken.ok_or_else(|| invalid("level", "is not spoken by the node that was asked"))?
        }
    };
    let config = newest(&desk).await?;
    let spoken = spoken(&desk, &config).await;
    let speak = upgrade::highest(&spoken);
    let raise = Command::RaiseLevel { from: config.level(), to, release: here.release, speak };
    // Not even the question may be written while somebody could not read it.
    let foreseen = apply(&mut Some(ClusterConfig::clone(&config)), 0, "foreseen", &raise).outcome;
    if let Outcome::Refused(refusal) = foreseen {
        return Err(super::answers::refused(&refusal).into());
    }
    if !dry_run {
        desk.carry_out(&who, &raise).await?;
    }
    let mut told = shown(&desk.council.config(), &spoken);
    (told["to"], told["dryRun"]) = (to.0.into(), dry_run.into());
    Ok(Json(told).into_response())
}

/// Refuses what is not of the cluster's level.
pub(super) fn must_be_at(
    config: &ClusterConfig,
    needed: FeatureLevel,
    what: &str,
) -> Result<(), Problem> {
    let level = config.level();
    if level >= needed {
        return Ok(());
    }
    let detail = format!(
        "{what} needs feature level {needed}, and the cluster is at {level}: see `synod upgrade status`"
    );
    Err(Problem::new(ProblemCode::ClusterRefused, detail))
}

async fn spoken(desk: &Desk, config: &ClusterConfig) -> BTreeMap<NodeId, Spoken> {
    upgrade::spoken_by_all(NodeId(desk.parts.node), &desk.peers, config).await
}

fn shown(config: &ClusterConfig, spoken: &BTreeMap<NodeId, Spoken>) -> Value {
    let level = config.level();
    let highest = spoken.values().map(|spoken| spoken.max).max().unwrap_or(level);
    let next = (highest > level).then_some(highest);
    let waits_for = next.map(|next| config.cannot_speak(next, &upgrade::highest(spoken)));
    let nodes = config.nodes.keys().map(|node| match spoken.get(node) {
        Some(Spoken { min, max, release }) => {
            json!({ "node": node.0, "heard": true, "speaks": [min, max], "release": release })
        }
        None => json!({ "node": node.0, "heard": false, "speaks": null, "release": null }),
    });
    json!({
        "schema": "synod/upgrade/v1",
        "level": level,
        "release": config.raised.as_ref().map(|raised| &raised.release),
        "automatic": config.settings.upgrade_automatic,
        "next": next,
        "waitsFor": ids(&waits_for.unwrap_or_default()),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}
