//! Looks after this node's certificates for as long as it runs: renews them, follows a change of the authority, tells the
//! cluster what it holds, and has both planes show and trust what is new from the next handshake on.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::{ClusterConfig, Command, FeatureLevel, Held, NodeId};
use tokio_util::sync::CancellationToken;
use transport::{ServerIdentity, peer};

use super::certificates::{Kept, keep};
use crate::clock::Clock;
use crate::config::{Config, Tls};
use crate::council::Council;
use crate::peers::Peers;
use crate::run::Error;

/// How often the clock is looked at when the cluster stands still: thirty days are left then.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);
/// The pause after something could not be done.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Keeper {
    pub(crate) config: Config,
    pub(crate) council: Council,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shown: Shown,
}

/// Where this node shows who it is. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) tls: Arc<Tls>,
    pub(crate) peers: Peers,
    pub(crate) clients: ServerIdentity,
}

impl Shown {
    /// Reads the files anew. Either plane goes on with what it has when its own files cannot be used.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub(crate) fn renew(&self) -> Result<(), Error> {
        let tls = &*self.tls;
        self.peers.renew(&peer_identity(tls)?)?;
        let (chain, key) = (read(&tls.client_certificate)?, read(&tls.client_key)?);
        Ok(self.clients.replace(&chain, &key)?)
    }
}

/// What this node shows and trusts on the peer plane, from its files.
///
/// # Errors
/// When a file cannot be read or used.
pub(crate) fn peer_identity(tls: &Tls) -> Result<peer::Identity, Error> {
    let (chain, key) = (read(&tls.peer_certificate)?, read(&tls.peer_key)?);
    Ok(peer::Identity::from_pem(&chain, &key, &read(&tls.authority)?)?)
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.display().to_string(), source })
}

impl Keeper {
    /// Until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut configured = self.council.configured();
        loop {
            let cluster = configured.borrow_and_update().clone();
            let pause = match cluster {
                Some(cluster) => self.look(&cluster).await,
                None => LOOK_AGAIN,
            };
            let changed = tokio::time::timeout(pause, configured.changed());
            if stop.run_until_cancelled(changed).await.is_none() {
                return;
            }
        }
    }

    /// One look; how long to wait for the next one.
    async fn look(&self, cluster: &ClusterConfig) -> Duration {
        let kept = match keep(&self.config, cluster, self.clock.now().0) {
            Ok(Some(kept)) => kept,
            Ok(None) => return LOOK_AGAIN,
            Err(error) => {
                tracing::error!(%error, "this node's certificates cannot be kept");
                return TRY_AGAIN;
            }
        };
        if kept.changed && !self.show(&kept) {
            return TRY_AGAIN;
        }
        if cluster.level() < FeatureLevel::CERTIFICATES {
            // Not every node could read it; told when the level is raised, which is a change.
            return LOOK_AGAIN;
        }
        if self.is_news(cluster, &kept.held) { self.tell(kept.held).await } else { LOOK_AGAIN }
    }

    fn show(&self, Kept { held, .. }: &Kept) -> bool {
        match self.shown.renew() {
            Ok(()) => {
                tracing::info!(issuer = held.issuer, trusts = ?held.trusts, "new certificates");
                true
            }
            Err(error) => {
                tracing::error!(%error, "new certificates cannot be shown");
                false
            }
        }
    }

    /// Whether the cluster knows otherwise, or waits for nobody and yet for somebody to say so.
    fn is_news(&self, cluster: &ClusterConfig, held: &Held) -> bool {
        let trust = &cluster.door.trust;
        let stuck = trust.rotation.is_some() && cluster.rotation_waits_for().is_empty();
        stuck || trust.held.get(&NodeId(self.config.node)) != Some(held)
    }

    async fn tell(&self, held: Held) -> Duration {
        let node = NodeId(self.config.node);
        match self.council.propose("system", &Command::HoldCertificate { node, held }).await {
            Ok(_) => LOOK_AGAIN,
            Err(error) => {
                tracing::debug!(%error, "the cluster is told again which certificates are held");
                TRY_AGAIN
            }
        }
    }
}
