//! `node drain|undrain|decommission|replace`, `shard show|explain|transfer|freeze|split`, `rebalance …`: who votes where. The
//! cluster plans and carries out; these verbs say what is wished and show what comes of it.

use serde_json::{Value, json};

use crate::args::Desk;
use crate::args::{
    ChangeNode, Decommission, FreezeShard, OneShard, Rebalance, ReplaceNode, SplitShard,
    TransferShard,
};
use crate::desk::{ask, fields, show, text};
use crate::exit::{Exit, Outcome};
use crate::talk;

/// `synod node drain`.
pub(crate) async fn drain(args: ChangeNode) -> Outcome {
    set_state(&args, "draining").await
}

/// `synod node undrain`.
pub(crate) async fn undrain(args: ChangeNode) -> Outcome {
    set_state(&args, "ready").await
}

/// `synod node decommission`.
pub(crate) async fn decommission(args: Decommission) -> Outcome {
    let state = if args.undo { "ready" } else { "leaving" };
    set_state(&args.change, state).await
}

async fn set_state(args: &ChangeNode, state: &str) -> Outcome {
    let ChangeNode { desk, node, dry_run } = args;
    let body = json!({ "state": state, "dryRun": dry_run });
    let node = node.to_string();
    let done = ask(desk)?.post(&["nodes", &node, "state"], body).await;
    show(desk, &done.map_err(|e| talk::call(&e))?, |done| {
        let would = if *dry_run { "would be" } else { "is" };
        say!("node {node} {would} {}", text(done, "state"));
        moves(&done["moves"]);
        say!("in the end each shard has {} voters or more", done["votersAfter"]);
    })
}

/// `synod node replace`: a token for the node that takes the place of another.
pub(crate) async fn replace(args: ReplaceNode) -> Outcome {
    let ReplaceNode { desk, node } = args;
    let body = json!({ "uses": 1, "replaces": node });
    let made = ask(&desk)?.post(&["join-tokens"], body).await.map_err(|e| talk::call(&e))?;
    show(&desk, &made, |made| {
        say!("On the new machine, with an empty data folder, within 24 hours:");
        say!("   synod start --config node.toml --join {}", text(made, "token"));
        say!("Node {node} leaves when it has come in; its number is not used again.");
    })
}

/// `synod shard show`.
pub(crate) async fn shard(args: OneShard) -> Outcome {
    let shard = args.shard.to_string();
    let shown = ask(&args.desk)?.get(&["shards", &shard]).await.map_err(|e| talk::call(&e))?;
    show(&args.desk, &shown, fields)
}

/// `synod shard explain`.
pub(crate) async fn explain(args: OneShard) -> Outcome {
    let shard = args.shard.to_string();
    let asked = ask(&args.desk)?.get(&["shards", &shard, "explanation"]).await;
    let explained = asked.map_err(|e| talk::call(&e))?;
    show(&args.desk, &explained, |explained| {
        say!("shard {shard} is {}: {}", text(explained, "health"), text(explained, "verdict"));
        for sentence in explained["evidence"].as_array().into_iter().flatten() {
            say!("  {}", sentence.as_str().unwrap_or_default());
        }
        match explained["next"].as_str() {
            Some(next) => say!("next: {next}"),
            None => say!("nothing has to be done"),
        }
    })?;
    Ok(match explained["health"].as_str() {
        Some("down") => Exit::Unhealthy,
        Some("degraded") => Exit::Degraded,
        _ => Exit::Ok,
    })
}

/// `synod shard transfer`.
pub(crate) async fn transfer(args: TransferShard) -> Outcome {
    change_shard(&args.desk, args.shard, json!({ "leader": args.to })).await
}

/// `synod shard freeze`.
pub(crate) async fn freeze(args: FreezeShard) -> Outcome {
    change_shard(&args.desk, args.shard, json!({ "frozen": !args.off })).await
}

/// `synod shard split`.
pub(crate) async fn split(args: SplitShard) -> Outcome {
    let SplitShard { desk, shard, slots, dry_run } = args;
    let mut body = json!({ "dryRun": dry_run });
    if let Some((first, last)) = slots {
        (body["firstSlot"], body["lastSlot"]) = (first.into(), last.into());
    }
    let asked = ask(&desk)?.post(&["shards", &shard.to_string(), "split"], body).await;
    show(&desk, &asked.map_err(|e| talk::call(&e))?, |split| {
        let verb = if dry_run { "would be" } else { "is being" };
        say!("shard {shard} {verb} split; in the end:");
        for one in split["after"].as_array().into_iter().flatten() {
            let end = one["slots"][1].as_u64().unwrap_or_default();
            let (group, first, last) = (&one["group"], &one["slots"][0], end.saturating_sub(1));
            say!("  shard {group}: slots {first} to {last} on nodes {}", list(&one["voters"]));
        }
    })
}

async fn change_shard(desk: &Desk, shard: u32, body: Value) -> Outcome {
    let asked = ask(desk)?.patch(&["shards", &shard.to_string()], body).await;
    show(desk, &asked.map_err(|e| talk::call(&e))?, fields)
}

/// `synod rebalance …`.
pub(crate) async fn rebalance(args: Rebalance) -> Outcome {
    match args {
        Rebalance::Plan(desk) => {
            let plan = ask(&desk)?.get(&["plan"]).await.map_err(|e| talk::call(&e))?;
            show(&desk, &plan, |plan| moves(&plan["moves"]))
        }
        Rebalance::Apply(desk) => {
            let asked = ask(&desk)?.post(&["plan"], json!({})).await;
            show(&desk, &asked.map_err(|e| talk::call(&e))?, |done| moves(&done["moves"]))
        }
        Rebalance::Status(desk) => {
            let plan = ask(&desk)?.get(&["plan"]).await.map_err(|e| talk::call(&e))?;
            show(&desk, &plan, |plan| {
                let goes = plan["rebalance"] == true;
                say!("moves {}", if goes { "begin by themselves" } else { "are paused" });
                say!("under way:");
                moves(&plan["moving"]);
                say!("to come:");
                moves(&plan["moves"]);
            })
        }
        Rebalance::Pause { desk, off } => {
            let asked = ask(&desk)?.patch(&["settings"], json!({ "rebalance": off })).await;
            show(&desk, &asked.map_err(|e| talk::call(&e))?, |settings| {
                let goes = settings["rebalance"] == true;
                say!("moves {}", if goes { "begin by themselves" } else { "are paused" });
            })
        }
    }
}

fn list(nodes: &Value) -> String {
    let nodes = nodes.as_array().into_iter().flatten();
    nodes.map(Value::to_string).collect::<Vec<_>>().join(", ")
}

/// One line for each move.
fn moves(moves: &Value) {
    let moves: Vec<&Value> = moves.as_array().into_iter().flatten().collect();
    if moves.is_empty() {
        say!("  nothing moves");
    }
    for one in moves {
        match one["forget"].as_u64() {
            Some(node) => say!("  node {node} is forgotten"),
            None => {
                say!("  shard {}: {} -> {}", one["group"], list(&one["from"]), list(&one["to"]))
            }
        }
    }
}
