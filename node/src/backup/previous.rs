//! The assets of the backup before, read beside those of the backup that is being made: both are in one order, so neither
//! is ever whole in memory.

use std::collections::VecDeque;

use chat::AssetId;
use proto::backup::{Chunk, ChunkRef, StoredAsset};

use super::take::order;
use super::vault::{Vault, list_ids};

/// A walk over the lists of an earlier backup. Empty when there is none that can be read: then everything is copied.
#[derive(Default)]
pub(super) struct Previous {
    chunks: VecDeque<ChunkRef>,
    assets: VecDeque<StoredAsset>,
}

impl Previous {
    /// The newest backup that this key reads.
    pub(super) fn of_newest(vault: &Vault) -> Self {
        let ids = list_ids(vault.root()).unwrap_or_default();
        let newest = ids.iter().rev().find_map(|id| vault.manifest(id).ok());
        let chunks = newest.map(|manifest| manifest.assets.chunks.into()).unwrap_or_default();
        Self { chunks, assets: VecDeque::new() }
    }

    /// The asset of this id; those before it are passed over. Ask in order.
    pub(super) fn find(&mut self, vault: &Vault, id: AssetId) -> Option<StoredAsset> {
        let wanted = order(id);
        loop {
            while let Some(first) = self.assets.front() {
                let here = order(first.asset);
                if here > wanted {
                    return None;
                }
                let asset = self.assets.pop_front();
                if here == wanted {
                    return asset;
                }
            }
            let chunk = self.chunks.pop_front()?;
            // One that cannot be read is as if it were not there: its assets are copied again.
            if let Ok(Chunk::Assets(assets)) = vault.get(&chunk) {
                self.assets = assets.into();
            }
        }
    }
}
