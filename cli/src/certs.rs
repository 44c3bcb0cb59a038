//! `cert ls|ca|rotate|rotate-ca`: the cluster carries a change out by itself; these verbs ask for it and watch.

use std::time::Duration;

use client::Operations;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::args::{Cert, Desk, RotateCert};
use crate::desk::{ask, show, text};
use crate::exit::{Exit, Failure, Outcome};
use crate::talk;

/// How long a change is watched. It goes on without a watcher.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// `synod cert …`.
pub(crate) async fn cert(args: Cert) -> Outcome {
    match args {
        Cert::Ls(desk) => {
            let all = all(&ask(&desk)?).await?;
            show(&desk, &all, list)
        }
        Cert::Ca(desk) => {
            let all = all(&ask(&desk)?).await?;
            show(&desk, &all["authority"], |authority| {
                say!("{}", text(authority, "certificate").trim_end());
            })
        }
        Cert::Rotate(args) => rotate(args).await,
        Cert::RotateCa(desk) => rotate_authority(&desk).await,
    }
}

async fn all(cluster: &Operations) -> Result<Value, Failure> {
    cluster.get(&["certificates"]).await.map_err(|e| talk::call(&e))
}

fn list(all: &Value) {
    say!("{:>4}  {:>9}  {:>9}  {}", "node", "authority", "days left", "heard");
    for node in all["nodes"].as_array().into_iter().flatten() {
        let heard = if node["alive"] == true { "yes" } else { "no" };
        let number = |field: &str| match &node[field] {
            Value::Null => "-".to_owned(),
            value => value.to_string(),
        };
        let (authority, left) = (number("authority"), number("daysLeft"));
        say!("{:>4}  {authority:>9}  {left:>9}  {heard}", node["node"]);
    }
    match &all["authority"] {
        Value::Null => say!("The authority's key is not kept by the cluster."),
        authority => {
            say!("authority {}: {} days left", authority["generation"], authority["daysLeft"]);
        }
    }
    if let Some(step) = step(all) {
        say!("{step}");
    }
}

/// What a change of the authority waits for; `None` when none is under way.
fn step(all: &Value) -> Option<String> {
    let rotation = &all["rotation"];
    let does = match rotation["step"].as_str()? {
        "spreading" => "every node learns to trust the new authority",
        _ => "every node gets a certificate of the new authority",
    };
    let waits = rotation["waitsFor"].as_array().into_iter().flatten();
    let waits = waits.map(|node| match node["alive"] == true {
        true => node["node"].to_string(),
        false => format!("{} (not heard)", node["node"]),
    });
    Some(format!("{does}; waiting for node {}", waits.collect::<Vec<_>>().join(", ")))
}

async fn rotate(RotateCert { desk, node }: RotateCert) -> Outcome {
    let cluster = ask(&desk)?;
    let body = node.map_or_else(|| json!({}), |node| json!({ "node": node }));
    cluster.post(&["certificates"], body).await.map_err(|e| talk::call(&e))?;
    let done = watch(&cluster, |all| {
        let nodes = all["nodes"].as_array().into_iter().flatten();
        let open = nodes.filter(|one| one["asked"] == true).map(|one| one["node"].to_string());
        let open: Vec<String> = open.collect();
        (!open.is_empty()).then(|| format!("waiting for node {}", open.join(", ")))
    });
    show(&desk, &done.await?, list)
}

async fn rotate_authority(desk: &Desk) -> Outcome {
    let cluster = ask(desk)?;
    // Somebody asked before, perhaps this operator: then it is watched.
    if all(&cluster).await?["rotation"].is_null() {
        cluster.post(&["authority"], json!({})).await.map_err(|e| talk::call(&e))?;
    }
    show(desk, &watch(&cluster, step).await?, |all| {
        list(all);
        say!(
            "Join tokens that were open are void. Give clients the new authority (`synod cert ca`) in their own time:"
        );
        say!(
            "until the next change, nodes also show clients a certificate by which the one before vouches for it."
        );
    })
}

/// Looks until nothing is open, and tells each change of what is.
async fn watch(
    cluster: &Operations,
    open: impl Fn(&Value) -> Option<String>,
) -> Result<Value, Failure> {
    let (until, mut told) = (Instant::now() + PATIENCE, None);
    loop {
        let all = all(cluster).await?;
        let waits = open(&all);
        let Some(waiting) = &waits else { return Ok(all) };
        if waits != told {
            eprintln!("{waiting}");
        }
        if Instant::now() > until {
            let problem = format!("it goes on by itself, but is not done yet: {waiting}");
            return Err(Failure::new(Exit::Unavailable, problem));
        }
        told = waits;
        sleep(PAUSE).await;
    }
}
