//! Where an issuer's keys are: in a file, or at a URL of its own server.
//!
//! A server is asked every few minutes, and when a token names a key that is not known, but not more often than every
//! [`MISSING_AGAIN`]: whoever makes up names of keys makes nobody ask. Who waits for it waits for a bounded time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use transport::outgoing::Client;

use super::keys::{self, Key};
use crate::config::Issuer;

/// Longest set of keys.
const KEYS_BYTES_MAX: usize = 1 << 20;
/// From one look at a file to the next.
const FILE_AGAIN: Duration = Duration::from_secs(5);
/// From one look at a URL to the next: keys are announced for longer before they are used.
const URL_AGAIN: Duration = Duration::from_secs(300);
/// The same after one that failed.
const URL_AFTER_FAILURE: Duration = Duration::from_secs(15);
/// A URL is not asked sooner than that for a key that is missing.
const MISSING_AGAIN: Duration = Duration::from_secs(10);
/// How long somebody who shows a token waits for the keys.
const PATIENCE: Duration = Duration::from_secs(3);

/// Servers of keys.
pub(crate) trait KeyServers: Send + Sync + 'static {
    /// What is at a URL, at most `bytes_max` bytes, in bounded time.
    fn fetch(&self, url: &str, bytes_max: usize) -> BoxFuture<'static, Result<Bytes, String>>;
}

impl KeyServers for Client {
    fn fetch(&self, url: &str, bytes_max: usize) -> BoxFuture<'static, Result<Bytes, String>> {
        let (client, url) = (self.clone(), url.to_owned());
        Box::pin(async move {
            let answer = Self::fetch(&client, &url, bytes_max).await;
            let answer = answer.map_err(|error| error.to_string())?;
            match answer.status {
                200 => Ok(answer.body),
                other => Err(format!("answers {other}")),
            }
        })
    }
}

/// No servers, where no issuer names one.
pub(crate) struct NoKeyServers;

impl KeyServers for NoKeyServers {
    fn fetch(&self, _url: &str, _bytes_max: usize) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async { Err("no server is asked from here".to_owned()) })
    }
}

/// Where an issuer's keys are.
pub(super) enum Source {
    File(PathBuf),
    Url(Server),
}

/// A server of keys.
pub(super) struct Server {
    url: String,
    servers: Arc<dyn KeyServers>,
    /// When it was last asked for a key that was missing. Held while it is asked.
    asked: Mutex<Option<Instant>>,
}

impl Source {
    pub(super) fn of(issuer: &Issuer, servers: Arc<dyn KeyServers>) -> Self {
        match (&issuer.keys, &issuer.keys_url) {
            (Some(file), _) => Self::File(file.clone()),
            (None, url) => {
                let url = url.clone().expect("a configuration that was checked names one of both");
                Self::Url(Server { url, servers, asked: Mutex::default() })
            }
        }
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Files were read before; a server is asked at once.
    pub(super) fn first_look(&self) -> Duration {
        match self {
            Self::File(_) => FILE_AGAIN,
            Self::Url(_) => Duration::ZERO,
        }
    }

    pub(super) fn look_again(&self) -> Duration {
        match self {
            Self::File(_) => FILE_AGAIN,
            Self::Url(_) => URL_AGAIN,
        }
    }

    pub(super) fn look_after_failure(&self) -> Duration {
        match self {
            Self::File(_) => FILE_AGAIN,
            Self::Url(_) => URL_AFTER_FAILURE,
        }
    }

    /// The keys that are there now.
    pub(super) async fn read(&self) -> Result<Vec<Key>, String> {
        match self {
            Self::File(file) => read(file).await,
            Self::Url(server) => server.read().await,
        }
    }

    /// The same because a key is missing; `None` where that is of no use, or too soon.
    pub(super) async fn read_missing(&self) -> Option<Result<Vec<Key>, String>> {
        let Self::Url(server) = self else { return None };
        let mut asked = timeout(PATIENCE, server.asked.lock()).await.ok()?;
        if asked.is_some_and(|at| at.elapsed() < MISSING_AGAIN) {
            return None;
        }
        *asked = Some(Instant::now());
        let late = |_| Err(format!("{}: not in time", server.url));
        Some(timeout(PATIENCE, server.read()).await.unwrap_or_else(late))
    }
}

impl Server {
    async fn read(&self) -> Result<Vec<Key>, String> {
        let of_url = |problem: String| format!("{}: {problem}", self.url);
        let set = self.servers.fetch(&self.url, KEYS_BYTES_MAX).await.map_err(of_url)?;
        let set = std::str::from_utf8(&set).map_err(|error| of_url(error.to_string()))?;
        keys::parse(set).map_err(of_url)
    }
}

async fn read(file: &Path) -> Result<Vec<Key>, String> {
    let of_file = |problem: String| format!("{}: {problem}", file.display());
    let about = tokio::fs::metadata(file).await.map_err(|error| of_file(error.to_string()))?;
    if about.len() > KEYS_BYTES_MAX as u64 {
        return Err(of_file(format!("more than {KEYS_BYTES_MAX} bytes")));
    }
    let text = tokio::fs::read_to_string(file).await.map_err(|error| of_file(error.to_string()))?;
    keys::parse(&text).map_err(of_file)
}
