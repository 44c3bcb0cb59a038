//! `synod config default`, `show`, `reload` and `schema`: what may stand in a node's file, and what holds. `check` is `start`'s.

use std::net::SocketAddr;
use std::path::Path;

use node::config::{self, Key, Origin};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Outcome};
use crate::operations;

/// `synod config default`: a file in which every key is told.
pub(crate) fn default(as_json: bool) -> Outcome {
    if as_json {
        let keys: Vec<Value> = config::keys().iter().map(Key::to_json).collect();
        say!("{}", json!({ "schema": "synod/config-keys/v1", "keys": keys }));
    } else {
        say!("{}", config::default_file().trim_end());
    }
    Ok(Exit::Ok)
}

/// `synod config schema`.
pub(crate) fn schema() -> Outcome {
    let schema = serde_json::to_string_pretty(&config::schema()).expect("plain values");
    say!("{schema}");
    Ok(Exit::Ok)
}

/// `synod config show`: each value that holds and, if asked for, where it comes from.
pub(crate) fn show(path: &Path, origin: bool, as_json: bool) -> Outcome {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::NotFound, format!("{}: {error}", path.display())))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let origins = config::origins(&text, base)
        .map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
    if as_json {
        let value =
            |one: &Origin| json!({ "key": one.path, "value": one.value, "origin": word(one) });
        let values: Vec<Value> = origins.iter().map(value).collect();
        say!("{}", json!({ "schema": "synod/config-show/v1", "file": path, "values": values }));
        return Ok(Exit::Ok);
    }
    for one in &origins {
        if origin {
            say!("{:<8} {} = {}", word(one), one.path, one.value);
        } else {
            say!("{} = {}", one.path, one.value);
        }
    }
    Ok(Exit::Ok)
}

/// `synod config reload`: says what changed and what needs a restart, or why nothing did.
pub(crate) async fn reload(node: SocketAddr, as_json: bool) -> Outcome {
    let reloaded = operations::reload(node).await?;
    if as_json {
        say!("{reloaded}");
        return Ok(Exit::Ok);
    }
    let keys = |field: &str| reloaded[field].as_array().cloned().unwrap_or_default();
    let (applied, waiting) = (keys("applied"), keys("needsRestart"));
    for (key, what) in
        applied.iter().map(|key| (key, "applied")).chain(waiting.iter().map(|key| (key, "restart")))
    {
        say!("{what:<8} {}", key.as_str().unwrap_or_default());
    }
    match (applied.is_empty(), waiting.is_empty()) {
        (true, true) => say!("nothing changed"),
        (_, true) => {}
        (_, false) => say!("what says `restart` holds when the node is started again"),
    }
    Ok(Exit::Ok)
}

fn word(origin: &Origin) -> &'static str {
    if origin.from_file { "file" } else { "default" }
}
