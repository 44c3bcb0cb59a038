//! Assets whose bytes are in an object store instead of on the nodes' disks.
//!
//! An upload still comes to this node's disk first: there it can be paused, hashed and looked at, and the store is given
//! only what is going to be an asset. The copy here goes when the record is committed. What is in the store and in no
//! record is removed from it by whoever leads the first shard, as late as an asset that was never sent.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use chat::{AssetId, Holder};
use futures::stream::StreamExt as _;
use proto::{Problem, ProblemCode};
use store::blobs::Blob;

use super::Assets;
use super::pieces::{NobodyHasIt, Pieces};
use super::spread::Taken;
use crate::objects::{Error, Listed, Objects};

/// When an upload is worth repeating that the store did not take.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The slot whose leader looks after what the store has.
const LISTER: u16 = 0;

impl Assets {
    /// Has the store take the bytes; it has them when this returns.
    ///
    /// # Errors
    /// `unavailable` when the store is away.
    pub(super) async fn store(
        &self,
        objects: &Objects,
        id: AssetId,
        taken: Taken,
        blob: Blob,
    ) -> Result<BTreeSet<Holder>, Problem> {
        assert_eq!(blob.bytes(), taken.size, "what came is what is stored");
        let bytes = self.ports.local.all_of(blob);
        match objects.put(&id.to_string(), taken.size, bytes).await {
            Ok(()) => Ok(BTreeSet::from([Holder::STORE])),
            Err(error) => {
                metrics::counter!("synod_object_store_failures_total", "kind" => "put")
                    .increment(1);
                tracing::error!(%id, %error, "the object store did not take an asset");
                let detail = "the object store does not take the bytes";
                Err(Problem::new(ProblemCode::Unavailable, detail).after(RETRY_AFTER))
            }
        }
    }

    /// The copy on this disk is not needed any more. What fails is found by the sweep.
    pub(super) async fn drop_copy(&self, id: AssetId) {
        if let Err(error) = self.ports.local.remove(id).await {
            tracing::warn!(%error, %id, "bytes that are in the object store stay here for now");
        }
    }

    /// The bytes in `range`, from the store.
    pub(super) async fn stored(
        &self,
        id: AssetId,
        range: Range<u64>,
    ) -> Result<Pieces, NobodyHasIt> {
        let Some(objects) = &self.ports.objects else {
            tracing::error!(%id, "it is in an object store, and this node's file names none: set assets.store");
            return Err(NobodyHasIt);
        };
        let nobody = move |error: Error| {
            metrics::counter!("synod_object_store_failures_total", "kind" => "read").increment(1);
            tracing::error!(%id, %error, "an asset cannot be read from the object store");
            NobodyHasIt
        };
        let pieces = objects.read(&id.to_string(), range).await.map_err(nobody)?;
        Ok(pieces.map(move |piece| piece.map_err(nobody)).boxed())
    }

    /// Takes away what the store has of an upload that came to nothing, or of an asset that is no more.
    pub(super) async fn remove_stored(&self, id: AssetId) {
        let Some(objects) = &self.ports.objects else { return };
        if let Err(error) = objects.remove(&id.to_string()).await {
            tracing::warn!(%id, %error, "an asset that is no more stays in the object store for now");
        }
    }

    /// Takes away what no record has spoken of for long.
    pub(super) async fn sweep_store(&self) {
        let Some(objects) = &self.ports.objects else { return };
        if !(self.ports.leads)(LISTER) {
            return;
        }
        let mut listed = objects.list();
        while let Some(one) = listed.next().await {
            match one {
                Ok(one) => self.sweep_stored(&one).await,
                Err(error) => {
                    return tracing::warn!(%error, "the object store cannot be listed");
                }
            }
        }
    }

    async fn sweep_stored(&self, listed: &Listed) {
        // Whatever else lies there is not ours.
        let Ok(id) = listed.name.parse::<AssetId>() else { return };
        let age = self.ports.clock.now().0.saturating_sub(listed.at_ms);
        if Duration::from_millis(age) >= self.unsent() && self.is_nothing(id).await {
            tracing::info!(%id, "bytes without a record are removed from the object store");
            self.remove_stored(id).await;
        }
    }
}

#[cfg(test)]
mod tests;
