//! `synod start` and `synod config check`: a node's file, its threads, its signals, its end.
//!
//! Everything that a node is lives in `node::run`; here is only what a process must bring along.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use node::config::{Config, ConfigError, Log};
use node::identity::{self, IdentityError, JoinToken, Joined};
use node::{Reload, Reloaded, SetLogs};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::{
    args::Start,
    exit::{Exit, Failure, Outcome},
};

/// How long a node whose starter is gone may take to stop in order; nobody waits for it any more.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(2);
/// Attempts at removing a folder into which a sibling may still be writing.
const SWEEPS_MAX: u32 = 40;

/// Runs a node until SIGTERM, SIGINT, or something it cannot survive.
pub(crate) fn start(args: &Start) -> Outcome {
    let config = load(&args.config)?;
    let logs = logs(&config.log)?;
    let reload = Arc::new(Reload::new(&args.config, &config, logs));
    let threads = match config.runtime.plane_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    // One thread that also runs the node itself: a message then crosses no thread before its group's.
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|e| Failure::internal(format!("cannot start threads: {e}")))?;
    let outcome = runtime.block_on(run(args, config, reload));
    runtime.shutdown_timeout(ORPHAN_PATIENCE);
    outcome
}

/// Says whether a node could start with this file.
pub(crate) fn check(path: &Path) -> Outcome {
    let config = load(path)?;
    let (cluster, file) = (&config.cluster, path.display());
    if config.is_formed_by_file() {
        say!(
            "{file}: node {} of cluster {}, {} founders, {} shards, {} replicas",
            config.node,
            cluster.id,
            cluster.nodes.len(),
            cluster.shards,
            cluster.replication
        );
    } else {
        say!(
            "{file}: a node that founds a cluster or joins one, data in {}",
            config.data.display()
        );
    }
    Ok(Exit::Ok)
}

pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|error| match error {
        ConfigError::Unreadable { .. } => Failure::new(Exit::NotFound, error),
        ConfigError::Invalid { .. } => Failure::usage(error),
    })
}

/// Begins to write logs. What is returned takes another filter.
fn logs(log: &Log) -> Result<SetLogs, Failure> {
    let filter = EnvFilter::try_new(&log.filter)
        .map_err(|e| Failure::usage(format!("log.filter `{}`: {e}", log.filter)))?;
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if log.json { lines.json().boxed() } else { lines.with_ansi(false).boxed() };
    let begun = tracing_subscriber::registry().with(filter).with(lines).try_init();
    begun.map_err(|e| Failure::internal(format!("cannot write logs: {e}")))?;
    Ok(Box::new(move |filter| {
        let new = EnvFilter::try_new(filter).map_err(|e| format!("`{filter}`: {e}"))?;
        handle.reload(new).map_err(|e| e.to_string())
    }))
}

/// Comes in with the token of the command line, unless this node is in already.
async fn join(config: &Config, token: &str) -> Result<(), Failure> {
    let token = match token.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|e| Failure::new(Exit::NotFound, format!("{file}: {e}")))?,
        None => token.to_owned(),
    };
    let token = JoinToken::parse(&token).map_err(|error| unknown(&error))?;
    match identity::join(config, &token).await.map_err(|error| unknown(&error))? {
        Joined::Now { node, cluster } => tracing::info!(node, cluster, "joined"),
        Joined::Before { node, cluster } => {
            tracing::info!(node, cluster, "joined before: the token was not used");
        }
    }
    Ok(())
}

/// The exit code of a node that is nobody, or not who it should be.
pub(crate) fn unknown(error: &IdentityError) -> Failure {
    let exit = match error {
        IdentityError::File { .. } => Exit::NotFound,
        IdentityError::Malformed { .. } | IdentityError::Certificate(_) => Exit::Internal,
        IdentityError::Nobody(_)
        | IdentityError::FormedByFile
        | IdentityError::Token(_)
        | IdentityError::Advertise(_) => Exit::Usage,
        IdentityError::Known { .. } | IdentityError::Refused(_) => Exit::Rejected,
        IdentityError::Unreachable(_) => Exit::Unavailable,
    };
    Failure::new(exit, error)
}

async fn run(args: &Start, config: Config, reload: Arc<Reload>) -> Outcome {
    if let Some(token) = &args.join {
        join(&config, token).await?;
    }
    let stop = CancellationToken::new();
    let hangups = tokio::spawn(reload_at_hangup(Arc::clone(&reload)));
    let node = node::run_reloadable(config, Some(reload), stop.clone());
    tokio::pin!(node);
    let ended = tokio::select! {
        ended = &mut node => Some(ended),
        signalled = signalled() => {
            signalled?;
            None
        }
        orphaned = orphaned(args.until_stdin_ends) => {
            orphaned?;
            stop.cancel();
            // The starter is gone: whatever this node would still say, nobody reads it.
            let _ = tokio::time::timeout(ORPHAN_PATIENCE, &mut node).await;
            if let Some(folder) = args.sweep.clone() {
                sweep(folder).await;
            }
            return Ok(Exit::Ok);
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            stop.cancel();
            node.await
        }
    };
    hangups.abort();
    ended.map(|()| Exit::Ok).map_err(|error| failure(&error))
}

/// SIGHUP does what `synod config reload` does, and the log says what came of it.
async fn reload_at_hangup(reload: Arc<Reload>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        tracing::warn!("SIGHUP cannot be listened for");
        return;
    };
    while hangups.recv().await.is_some() {
        let reload = Arc::clone(&reload);
        match tokio::task::spawn_blocking(move || reload.reload()).await {
            Ok(Ok(Reloaded { applied, needs_restart })) => {
                tracing::info!(?applied, ?needs_restart, "the file was read again");
            }
            Ok(Err(error)) => tracing::error!(%error, "nothing was changed"),
            Err(error) => tracing::error!(%error, "the file was not read again"),
        }
    }
}

/// The exit code of a node that could not start or had to stop.
fn failure(error: &node::Error) -> Failure {
    let exit = match error {
        node::Error::Identity(error) => return unknown(error),
        node::Error::Config(_) | node::Error::Tls(_) => Exit::Usage,
        node::Error::File { .. } => Exit::NotFound,
        node::Error::Store(store::StoreError::Locked { .. }) | node::Error::Unspoken(_) => {
            Exit::Rejected
        }
        node::Error::Peer(_) | node::Error::Client(_) | node::Error::Operations { .. } => {
            Exit::Rejected
        }
        node::Error::Store(_)
        | node::Error::Index(_)
        | node::Error::Raft(_)
        | node::Error::Fatal(_) => Exit::Internal,
    };
    Failure::new(exit, error)
}

/// Until SIGTERM or SIGINT.
async fn signalled() -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(Failure::internal);
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop");
    Ok(())
}

/// Until stdin ends; never when nobody holds its other end.
async fn orphaned(watched: bool) -> Result<(), Failure> {
    use std::os::fd::AsFd as _;
    if !watched {
        return std::future::pending().await;
    }
    let unusable = |e: std::io::Error| Failure::usage(format!("stdin must be a pipe: {e}"));
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(unusable)?;
    let pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(stdin).map_err(unusable)?;
    let mut bytes = [0; 64];
    loop {
        pipe.readable().await.map_err(unusable)?;
        match pipe.try_read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Ok(()),
        }
    }
}

/// Removes what a starter that is gone has left behind. Its other nodes do the same at this moment.
async fn sweep(folder: PathBuf) {
    for _ in 0..SWEEPS_MAX {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ if !folder.exists() => return,
            _ => {}
        }
    }
}
