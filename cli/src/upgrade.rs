//! `synod upgrade status|finish`: the cluster's feature level. Nodes are restarted by whoever runs them; what the next release
//! adds stays off until the level is raised, by the cluster itself after a while or by hand.

use serde_json::{Value, json};

use crate::args::{FinishUpgrade, Upgrade};
use crate::desk::{ask, show};
use crate::exit::Outcome;
use crate::talk;

/// `synod upgrade …`.
pub(crate) async fn upgrade(args: Upgrade) -> Outcome {
    match args {
        Upgrade::Status(desk) => {
            let asked = ask(&desk)?.get(&["upgrade"]).await;
            show(&desk, &asked.map_err(|e| talk::call(&e))?, status)
        }
        Upgrade::Finish(FinishUpgrade { desk, dry_run }) => {
            let asked = ask(&desk)?.post(&["upgrade"], json!({ "dryRun": dry_run })).await;
            show(&desk, &asked.map_err(|e| talk::call(&e))?, |done| {
                if dry_run {
                    say!("feature level {} -> {}: it can be done", done["level"], done["to"]);
                } else {
                    status(done);
                }
            })
        }
    }
}

fn status(upgrade: &Value) {
    say!("feature level {}", upgrade["level"]);
    for node in upgrade["nodes"].as_array().into_iter().flatten() {
        let number = &node["node"];
        match (node["speaks"].as_array().map(Vec::as_slice), node["release"].as_str()) {
            (Some([min, max]), Some("")) => {
                say!("  node {number}: levels {min} to {max}, does not say which release");
            }
            (Some([min, max]), Some(release)) => {
                say!("  node {number}: levels {min} to {max}, synod {release}");
            }
            _ => say!("  node {number}: not heard"),
        }
    }
    let waits_for = upgrade["waitsFor"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(next) = upgrade["next"].as_u64() else {
        say!("nothing is to come");
        return;
    };
    if !waits_for.is_empty() {
        let nodes = waits_for.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        say!("level {next} waits for node {nodes}: start the newer release there");
    } else if upgrade["automatic"] == true {
        say!("level {next} follows by itself in some minutes; now: synod upgrade finish");
    } else {
        say!("level {next} waits for you: synod upgrade finish");
    }
}
