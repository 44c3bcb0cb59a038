//! From this disk to those of the other replicas, until a majority has the bytes; the rest follows by itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::{AssetCommand, AssetId, Digest, Holder};
use futures::stream::{FuturesUnordered, StreamExt as _};
use proto::peer::AssetHeader;
use proto::{Problem, ProblemCode};
use store::blobs::Blob;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

use super::Assets;
use crate::gateway::propose::propose;

/// How long a copy may take besides its bytes: a disk's worst barrier, a link that is made anew.
const PATIENCE: Duration = Duration::from_secs(30);
/// The slowest that a replica may take bytes: below it, it does not help anybody.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;
/// Copies to one node at a time: half of what it takes from one peer, so that snapshots find a place.
const COPIES_MAX: usize = 4;
/// When an upload is worth repeating that found no quorum.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What is known of an asset's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) size: u64,
    pub(super) sha256: Digest,
}

/// Copies that are still on their way.
pub(super) struct Stragglers(mpsc::Receiver<u64>);

impl Assets {
    /// Copies the bytes to the other replicas. Returns when a majority of all replicas has them on stable storage.
    ///
    /// # Errors
    /// When a majority cannot be had: `unavailable`.
    pub(super) async fn spread(
        &self,
        id: AssetId,
        taken: Taken,
        blob: Blob,
    ) -> Result<(BTreeSet<Holder>, Stragglers), Problem> {
        let replicas = (self.ports.placement)(id.slot());
        let quorum = replicas.len() / 2 + 1;
        let own = self.ports.node;
        let mut holders: BTreeSet<Holder> =
            replicas.iter().filter(|node| **node == own).map(|node| Holder(*node)).collect();
        let (tell, mut told) = mpsc::channel(replicas.len().max(1));
        let until = Instant::now() + patience(taken.size);
        for node in replicas.into_iter().filter(|node| *node != own) {
            let copy = self.copy_to(node, id, taken, blob.clone());
            let tell = tell.clone();
            self.spawn(async move {
                if matches!(timeout_at(until, copy).await, Ok(true)) {
                    // The upload may have been given up meanwhile.
                    let _ = tell.send(node).await;
                }
            });
        }
        drop(tell);
        while holders.len() < quorum {
            match told.recv().await {
                Some(node) => holders.insert(Holder(node)),
                None => return Err(no_quorum()),
            };
        }
        Ok((holders, Stragglers(told)))
    }

    fn copy_to(
        &self,
        node: u64,
        id: AssetId,
        taken: Taken,
        blob: Blob,
    ) -> impl Future<Output = bool> + Send + 'static {
        let header = AssetHeader {
            asset: Bytes::copy_from_slice(id.as_bytes()),
            size: taken.size,
            sha256: Bytes::copy_from_slice(&taken.sha256.0),
        };
        let assets = self.clone();
        let copies = self.copies_to(node);
        async move {
            let _place = copies.acquire_owned().await;
            let chunks = assets.ports.local.all_of(blob);
            match assets.ports.peers.send_asset(node, &header, chunks).await {
                Ok(_) => true,
                Err(error) => {
                    tracing::info!(node, %id, %error, "a replica did not take an asset");
                    false
                }
            }
        }
    }

    /// The places for copies to `node`.
    fn copies_to(&self, node: u64) -> Arc<Semaphore> {
        let mut copies = self.state.copies.lock();
        let places = copies.entry(node).or_insert_with(|| Arc::new(Semaphore::new(COPIES_MAX)));
        Arc::clone(places)
    }

    /// Has those written down that took the bytes after the majority had them.
    pub(super) fn follow(&self, id: AssetId, stragglers: Stragglers) {
        let assets = self.clone();
        let Stragglers(mut told) = stragglers;
        self.spawn(async move {
            let mut adding = FuturesUnordered::new();
            while let Some(node) = told.recv().await {
                adding.push(assets.add_holder(id, node));
            }
            while adding.next().await.is_some() {}
        });
    }

    /// Has it written down that `node` has the bytes. What fails is found by the next round of repairs.
    pub(super) async fn add_holder(&self, id: AssetId, node: u64) {
        let command = AssetCommand::AddHolder { holder: Holder(node) };
        let command = proto::encode_asset_command(id, &command);
        if let Err(problem) = propose(&self.ports.router, id.slot(), command).await {
            tracing::info!(node, %id, code = %problem.code, "a holder is not written down");
        }
    }
}

fn patience(size: u64) -> Duration {
    PATIENCE + Duration::from_secs(size / BYTES_PER_SECOND_MIN)
}

fn no_quorum() -> Problem {
    let detail = "no majority of the replicas took the bytes";
    Problem::new(ProblemCode::Unavailable, detail).after(RETRY_AFTER)
}
