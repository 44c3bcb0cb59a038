//! `synod backup` and `synod restore`: asks nodes to make backups, and reads folders of them without any node.

use std::{net::SocketAddr, path::Path, time::Duration};

use node::backup::{self, Error, Found, Source};
use serde_json::{Value, json};

use crate::{
    args::{BackupFetch, BackupLs, BackupNow, BackupVerify, Operations, Restore, WhichBackup},
    desk,
    exit::{Exit, Failure, Outcome},
    operations, start, status, talk,
};

/// How often a node is asked whether its backup is done.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// A node that does not answer for so many times in a row is gone.
const SILENCE_MAX: u32 = 20;

/// A node that can be asked about its backups.
enum Node {
    /// By an operator, at the clients' port.
    Desk(Box<client::Operations>),
    /// By whoever is on its machine.
    Port(SocketAddr),
}

impl Node {
    async fn begin(&self) -> Result<String, Failure> {
        match self {
            Node::Port(address) => operations::begin_backup(*address).await,
            Node::Desk(desk) => {
                let begun = desk.post(&["backups"], json!({})).await.map_err(|e| talk::call(&e))?;
                let id = begun["id"].as_str().map(str::to_owned);
                id.ok_or_else(|| Failure::internal("the node did not say how the backup is called"))
            }
        }
    }

    async fn told(&self) -> Result<Value, Failure> {
        match self {
            Node::Port(address) => operations::backups(*address).await,
            Node::Desk(desk) => desk.get(&["backups"]).await.map_err(|e| talk::call(&e)),
        }
    }
}

/// The nodes that the command line means.
fn nodes(at: &Operations) -> Result<Vec<Node>, Failure> {
    if at.operations.is_empty() && desk::is_operator(&at.desk) {
        let nodes = desk::each_node(&at.desk)?;
        return Ok(nodes.into_iter().map(|node| Node::Desk(Box::new(node))).collect());
    }
    Ok(status::addresses(at)?.into_iter().map(Node::Port).collect())
}

/// `synod backup now`.
pub(crate) async fn now(args: BackupNow) -> Outcome {
    let (node, id) = begin(nodes(&args.at)?).await?;
    let json = args.at.desk.json;
    if args.no_wait {
        match json {
            true => say!("{}", json!({ "schema": "synod/backup-begun/v1", "id": id })),
            false => say!("{id} is being made: see `synod backup ls`"),
        }
        return Ok(Exit::Ok);
    }
    let made = wait(&node, &id).await?;
    let missing = made["assets_missing"].as_u64().unwrap_or(0);
    if json {
        say!("{}", json!({ "schema": "synod/backup-made/v1", "backup": made }));
    } else {
        print(std::slice::from_ref(&made));
        if missing > 0 {
            say!("of {missing} assets no node had the bytes");
        }
    }
    Ok(if missing > 0 { Exit::Partial } else { Exit::Ok })
}

/// The first node that takes it.
async fn begin(nodes: Vec<Node>) -> Result<(Node, String), Failure> {
    let mut last = Failure::usage("the cluster has no node");
    for node in nodes {
        match node.begin().await {
            Ok(id) => return Ok((node, id)),
            // Only a node that is away, busy, or not yet there, is passed over.
            Err(failure) if failure.exit == Exit::Unavailable => last = failure,
            Err(failure) => return Err(failure),
        }
    }
    Err(last)
}

async fn wait(node: &Node, id: &str) -> Result<Value, Failure> {
    let mut silence = 0;
    loop {
        tokio::time::sleep(ASK_AGAIN).await;
        let told = match node.told().await {
            Ok(told) => told,
            Err(failure) if silence >= SILENCE_MAX => return Err(failure),
            Err(_) => {
                silence += 1;
                continue;
            }
        };
        silence = 0;
        if told["running"]["id"] == *id {
            continue;
        }
        let why = told["failed"]["why"].as_str().filter(|_| told["failed"]["id"] == *id);
        if let Some(why) = why {
            return Err(Failure::unavailable(format!("backup {id} failed: {why}")));
        }
        let made =
            told["backups"].as_array().and_then(|all| all.iter().find(|one| one["id"] == *id));
        if let Some(made) = made {
            return Ok(made.clone());
        }
        let why = "the node does not know of it any more";
        return Err(Failure::unavailable(format!("backup {id} was not made: {why}")));
    }
}

/// `synod backup ls`.
pub(crate) async fn list(args: BackupLs) -> Outcome {
    let told = match &args.folder {
        Some(folder) => {
            let listed = backup::list(folder).map_err(failure)?;
            let backups: Vec<Value> = listed.iter().map(backup::to_json).collect();
            vec![json!({ "folder": folder, "backups": backups })]
        }
        None => of_nodes(&nodes(&args.at)?).await?,
    };
    if args.at.desk.json {
        say!("{}", json!({ "schema": "synod/backup-folders/v1", "folders": told }));
        return Ok(Exit::Ok);
    }
    told.iter().for_each(print_folder);
    Ok(Exit::Ok)
}

fn print_folder(told: &Value) {
    let node = told["node"].as_u64().map_or(String::new(), |node| format!("node {node}: "));
    say!("{node}{}", told["folder"].as_str().unwrap_or_default());
    print(told["backups"].as_array().map_or(&[], Vec::as_slice));
    if let Some(id) = told["running"]["id"].as_str() {
        say!("{id}  is being made");
    }
    let failed = &told["failed"];
    if let (Some(id), Some(why)) = (failed["id"].as_str(), failed["why"].as_str()) {
        say!("{id}  failed: {why}");
    }
}

/// What the nodes that answer say; each has a folder of its own.
async fn of_nodes(nodes: &[Node]) -> Result<Vec<Value>, Failure> {
    let answers = futures::future::join_all(nodes.iter().map(Node::told)).await;
    let (told, failed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let told: Vec<Value> = told.into_iter().flatten().collect();
    match failed.into_iter().find_map(Result::err) {
        Some(failure) if told.is_empty() => Err(failure),
        _ => Ok(told),
    }
}

fn print(backups: &[Value]) {
    say!("{:<28} {:<20} {:>9} {:>9} {:>9}  of", "backup", "begun", "rows", "MB", "new MB");
    for backup in backups {
        let text = |field: &str| backup[field].as_str().unwrap_or_default();
        let megabytes = |field: &str| backup[field].as_f64().unwrap_or_default() / 1e6;
        match backup["error"].as_str() {
            Some(error) => say!("{:<28} cannot be read: {error}", text("id")),
            None => say!(
                "{:<28} {:<20} {:>9} {:>9.2} {:>9.2}  {}",
                text("id"),
                text("begun_at"),
                backup["rows"].as_u64().unwrap_or_default(),
                megabytes("bytes"),
                megabytes("new_bytes"),
                text("cluster")
            ),
        }
    }
}

/// `synod backup fetch`.
pub(crate) async fn fetch(args: BackupFetch) -> Outcome {
    let config = start::load(&args.config)?;
    let fetched = backup::fetch(&args.from, &config.object_store, &args.folder).await;
    let fetched = fetched.map_err(failure)?;
    match args.json {
        true => {
            let (files, bytes) = (fetched.files, fetched.bytes);
            let (schema, folder) = ("synod/backup-fetched/v1", &args.folder);
            say!(
                "{}",
                json!({ "schema": schema, "folder": folder, "files": files, "bytes": bytes })
            );
        }
        false => say!(
            "{} files of backups are in {}: see `synod backup ls --folder`, `verify` and `restore`",
            fetched.files,
            args.folder.display()
        ),
    }
    Ok(Exit::Ok)
}

/// `synod backup verify`.
pub(crate) fn verify(args: &BackupVerify) -> Outcome {
    let source = source(&args.folder, &args.which)?;
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let verified = backup::verify(&source, &scratch).map_err(failure)?;
    let (found, manifest) = (&verified.found, &verified.manifest);
    let sound = found.problems.is_empty();
    if args.json {
        let told = json!({
            "schema": "synod/backup-verified/v1",
            "backup": manifest.id,
            "cluster": manifest.cluster,
            "sound": sound,
            "found": found_to_json(found),
        });
        say!("{told}");
    } else {
        say!("{}: {}", manifest.id, summary(found));
        for problem in &found.problems {
            say!("  {problem}");
        }
        say!("{}", if sound { "sound" } else { "NOT SOUND: restore an older backup" });
    }
    Ok(if sound { Exit::Ok } else { Exit::VerificationFailed })
}

/// `synod restore`.
pub(crate) fn restore(args: &Restore) -> Outcome {
    let config = start::load(&args.config)?;
    let source = source(&args.from, &args.which)?;
    let restored = backup::restore(&source, &config, args.cluster.as_deref()).map_err(failure)?;
    if args.json {
        let told = json!({
            "schema": "synod/restored/v1",
            "backup": restored.manifest.id,
            "from_cluster": restored.manifest.cluster,
            "cluster": restored.cluster,
            "history_epoch": restored.history_epoch,
            "data": restored.data,
            "ca": restored.founded.as_ref().map(|founded| &founded.authority),
            "joinToken": restored.founded.as_ref().map(|founded| founded.join.reveal()),
            "claim": restored.founded.as_ref().map(|founded| &founded.claim),
            "found": found_to_json(&restored.found),
        });
        say!("{told}");
        return Ok(Exit::Ok);
    }
    say!(
        "{} holds a node of cluster {} with the state of {} (cluster {}, history epoch {}): {}",
        restored.data.display(),
        restored.cluster,
        restored.manifest.id,
        restored.manifest.cluster,
        restored.history_epoch,
        summary(&restored.found)
    );
    let others: Vec<String> = config
        .cluster
        .nodes
        .iter()
        .filter(|member| member.id != config.node)
        .map(|member| member.id.to_string())
        .collect();
    if let Some(founded) = &restored.founded {
        say!("");
        desk::tell_next(founded, &args.config.display(), "16");
    }
    if !others.is_empty() {
        say!(
            "restore the same backup ({}) with the files of nodes {} too, before you start any of them",
            restored.manifest.id,
            others.join(", ")
        );
    }
    Ok(Exit::Ok)
}

fn source(folder: &Path, which: &WhichBackup) -> Result<Source, Failure> {
    let to_ms = which.to.as_deref().map(|text| {
        backup::parse_time(text)
            .ok_or_else(|| Failure::usage(format!("`{text}` is no time: try 2026-11-23T04:00:00Z")))
    });
    let backup = which.backup.as_deref().map(|id| id.parse().map_err(Failure::usage));
    Ok(Source {
        folder: folder.to_owned(),
        key: which.key.clone().unwrap_or_else(|| backup::key_beside(folder)),
        backup: backup.transpose()?,
        to_ms: to_ms.transpose()?,
    })
}

fn summary(found: &Found) -> String {
    format!(
        "{} rows, {} conversations, {} messages, {} users, {} assets",
        found.rows, found.conversations, found.messages, found.users, found.assets
    )
}

fn found_to_json(found: &Found) -> Value {
    json!({
        "rows": found.rows, "conversations": found.conversations, "messages": found.messages,
        "users": found.users, "assets": found.assets, "set_back": found.set_back,
        "problems": found.problems,
    })
}

/// The exit code of what went wrong with a backup.
fn failure(error: Error) -> Failure {
    let exit = match &error {
        Error::Damaged { .. } => Exit::VerificationFailed,
        Error::NoBackup { .. } => Exit::NotFound,
        Error::WrongKey { .. } => Exit::NotAllowed,
        Error::Busy | Error::NotEmpty { .. } | Error::Refused(_) | Error::Version { .. } => {
            Exit::Rejected
        }
        Error::NotHere(_) | Error::Unavailable(_) | Error::NotCopied(_) | Error::NoRoom { .. } => {
            Exit::Unavailable
        }
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::NotFound,
        Error::Store(store::StoreError::Io { kind: std::io::ErrorKind::NotFound, .. }) => {
            Exit::NotFound
        }
        Error::Io { .. } | Error::Store(_) | Error::Fatal(_) => Exit::Internal,
    };
    Failure::new(exit, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_backup_has_an_exit_code_of_its_own() {
        let damaged = failure(Error::Damaged { what: "a chunk".into() });
        assert_eq!(damaged.exit, Exit::VerificationFailed);
        assert!(damaged.message.contains("restore an older backup"), "{damaged}");
        let key = Error::WrongKey { backup: "b".into(), wanted: "1".into(), found: "2".into() };
        assert_eq!(failure(key).exit, Exit::NotAllowed);
        assert_eq!(failure(Error::Refused("no".into())).exit, Exit::Rejected);
        assert_eq!(failure(Error::Version { what: "v9".into() }).exit, Exit::Rejected);
    }

    #[test]
    fn a_time_that_is_none_is_a_mistake_of_the_command_line() {
        let which = WhichBackup { backup: None, to: Some("yesterday".into()), key: None };
        assert_eq!(source(Path::new("x"), &which).expect_err("no time").exit, Exit::Usage);
    }
}
