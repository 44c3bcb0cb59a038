//! `recover plan|apply`: the quorum is gone for good, and one survivor goes on. Offline: on files of nodes that do not run.

use std::path::Path;

use node::recover::{RecoverError, Survivor};
use serde_json::{Value, json};

use crate::args::{ApplyRecovery, PlanRecovery, Recover};
use crate::exit::{Exit, Failure, Outcome};
use crate::start;

/// `synod recover …`.
pub(crate) fn recover(args: &Recover) -> Outcome {
    match args {
        Recover::Plan(args) => plan(args),
        Recover::Apply(args) => apply(args),
    }
}

fn survey(file: &Path) -> Result<Survivor, Failure> {
    node::recover::survey(start::load(file)?).map_err(|error| failure(&error))
}

fn failure(error: &RecoverError) -> Failure {
    let exit = match error {
        RecoverError::Identity(error) => return start::unknown(error),
        RecoverError::Store(store::StoreError::Locked { .. }) | RecoverError::Refused(_) => {
            Exit::Rejected
        }
        RecoverError::Store(_) | RecoverError::Fatal(_) => Exit::Internal,
    };
    Failure::new(exit, error)
}

fn plan(args: &PlanRecovery) -> Outcome {
    let survivors: Vec<Survivor> =
        args.config.iter().map(|file| survey(file)).collect::<Result<_, _>>()?;
    let first = survivors.first().expect("at least one file is asked for");
    if let Some(other) = survivors.iter().find(|other| other.cluster != first.cluster) {
        let problem = format!("{} and {} are two clusters", first.cluster, other.cluster);
        return Err(Failure::usage(problem));
    }
    let groups: Vec<Value> =
        first.groups.keys().map(|group| of_group(*group, &survivors)).collect();
    if args.json {
        let nodes: Vec<u64> = survivors.iter().map(|survivor| survivor.node).collect();
        let told = json!({
            "schema": "synod/recover-plan/v1", "cluster": first.cluster, "nodes": first.nodes,
            "survivors": nodes, "historyEpoch": first.history_epoch, "groups": groups,
        });
        say!("{told}");
        return Ok(Exit::Ok);
    }
    say!(
        "cluster {}, nodes {:?}; looked at here: {} of them",
        first.cluster,
        first.nodes,
        survivors.len()
    );
    say!(
        "{:>5}  {:>8}  {:>12}  {:>12}  {}",
        "shard",
        "furthest",
        "last entry",
        "applied",
        "unsettled"
    );
    for group in &groups {
        let best = &group["furthest"];
        say!(
            "{:>5}  node {:>3}  {:>12}  {:>12}  {}",
            group["group"],
            best["node"],
            best["index"],
            best["applied"],
            best["unsettled"]
        );
    }
    say!("");
    say!(
        "Entries up to the last one are kept, also those that are unsettled: nobody knows whether they were confirmed."
    );
    say!("What the other nodes had beyond them is lost, and nobody here can say what it was.");
    say!("If any other node may still come back, wait for it: with a majority nothing is lost.");
    say!("Else go on with the one that is furthest in most shards:");
    say!("  synod recover apply --config FILE --confirm {} --name you", first.cluster);
    Ok(Exit::Ok)
}

/// Who goes furthest in a group: the later term, then the higher index, as Raft compares logs.
fn of_group(group: u32, survivors: &[Survivor]) -> Value {
    let reached = |survivor: &Survivor| survivor.groups.get(&group).copied();
    let told = |survivor: &Survivor| {
        let reached = reached(survivor)?;
        Some(json!({
            "node": survivor.node, "term": reached.term, "index": reached.index,
            "applied": reached.applied, "unsettled": reached.index.saturating_sub(reached.applied),
        }))
    };
    let furthest = survivors.iter().max_by_key(|survivor| reached(survivor));
    let all: Vec<Value> = survivors.iter().filter_map(told).collect();
    json!({ "group": group, "furthest": furthest.and_then(told), "survivors": all })
}

fn apply(args: &ApplyRecovery) -> Outcome {
    let found = survey(&args.config)?;
    if args.confirm != found.cluster {
        let problem = format!("--confirm says {}, this is cluster {}", args.confirm, found.cluster);
        return Err(Failure::new(Exit::Rejected, problem));
    }
    let actor = format!("{} by recover", args.name);
    let done = node::recover::recover(start::load(&args.config)?, &actor);
    let done = done.map_err(|error| failure(&error))?;
    let lost: Vec<u64> = done.nodes.iter().copied().filter(|node| *node != done.node).collect();
    if args.json {
        let told = json!({
            "schema": "synod/recovered/v1", "cluster": done.cluster, "node": done.node,
            "givenUp": lost, "historyEpoch": done.history_epoch + 1,
        });
        say!("{told}");
        return Ok(Exit::Ok);
    }
    say!("Node {} is the whole cluster now; nodes {lost:?} are given up.", done.node);
    say!("1. synod start --config {}", args.config.display());
    say!("2. synod node join-token --uses 2, and start new nodes with it, on empty data folders");
    say!("Never start a node that was given up on its old folder again.");
    Ok(Exit::Ok)
}
