//! Assets and what users keep of them, in a shard. Rare beside messages, so nothing of them is cached between batches:
//! a decision reads its row, or what an earlier command of the same batch has made of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use chat::{
    Asset, AssetCommand, AssetId, Kept, Outcome, Storage, StorageCommand, Timestamp, UserId,
};
use proto::{DecodeError, keys, row};
use raft::Fatal;
use store::tables::{Batch, Tables};

use super::decide::{Decider, undecodable};
use super::draft::{Draft, put_or_delete};

/// What one batch made of assets and of what users keep: the last state of each.
#[derive(Default)]
pub(super) struct Files {
    assets: BTreeMap<AssetId, Option<Asset>>,
    storages: BTreeMap<UserId, Storage>,
    kept: BTreeMap<(UserId, AssetId), Option<Kept>>,
}

impl Files {
    /// Adds the rows to the batch.
    pub(super) fn rows(&self, batch: &mut Batch) {
        for (id, asset) in &self.assets {
            put_or_delete(batch, keys::asset(*id), asset.as_ref().map(row::encode_asset));
        }
        for (user, storage) in &self.storages {
            let value = (storage.assets > 0).then(|| row::encode_storage(storage));
            put_or_delete(batch, keys::storage(user), value);
        }
        for ((user, asset), kept) in &self.kept {
            let value = kept.as_ref().map(row::encode_kept);
            put_or_delete(batch, keys::kept(user, *asset), value);
        }
    }
}

impl Decider {
    pub(super) fn asset(
        &self,
        id: AssetId,
        at: Timestamp,
        command: &AssetCommand,
        draft: &mut Draft,
    ) -> Result<Outcome, Fatal> {
        let mut state = match draft.files.assets.get(&id) {
            Some(state) => state.clone(),
            None => one(&*self.tables, &keys::asset(id), row::decode_asset)?,
        };
        let applied = chat::apply_asset(&mut state, at, command);
        if applied.changed {
            draft.files.assets.insert(id, state);
        }
        Ok(applied.outcome)
    }

    pub(super) fn storage(
        &self,
        (user, asset): (UserId, AssetId),
        at: Timestamp,
        command: &StorageCommand,
        draft: &mut Draft,
    ) -> Result<Outcome, Fatal> {
        let files = &mut draft.files;
        let mut storage = match files.storages.get(&user) {
            Some(storage) => *storage,
            None => {
                one(&*self.tables, &keys::storage(&user), row::decode_storage)?.unwrap_or_default()
            }
        };
        let line = (user, asset);
        let mut kept = match files.kept.get(&line) {
            Some(kept) => *kept,
            None => one(&*self.tables, &keys::kept(&line.0, asset), row::decode_kept)?,
        };
        let before = (storage, kept);
        let outcome = chat::apply_storage(&mut storage, &mut kept, at, command);
        if before != (storage, kept) {
            files.storages.insert(line.0.clone(), storage);
            files.kept.insert(line, kept);
        }
        Ok(outcome)
    }
}

fn one<T>(
    tables: &dyn Tables,
    key: &Bytes,
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Result<Option<T>, Fatal> {
    match tables.get(key)? {
        Some(value) => decode(&value).map(Some).map_err(undecodable),
        None => Ok(None),
    }
}
