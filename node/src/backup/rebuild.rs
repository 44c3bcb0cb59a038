//! From a backup to a node's data: rows into tables, assets into blobs, the beginning of each group. Nothing is decided by
//! chance or by the clock, so every founder rebuilds the same.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chat::{Digest, Holder};
use cluster_config::{ClusterConfig, GroupId, NodeId, Refounding};
use proto::backup::{Chunk, ChunkRef, GroupPart, Manifest, PieceRef, StoredAsset};
use proto::keys::{self, Key};
use proto::row;
use raft::AppliedState;
use ring::digest::{Context, SHA256};
use store::Blobs;
use store::tables::{Batch, Tables};

use super::Error;
use super::vault::Vault;
use crate::shard;
use crate::upgrade::Spoken;

/// Rows in one batch.
const BATCH_ROWS: usize = 1024;

/// A backup on its way into a data folder.
pub(super) struct Rebuild<'a> {
    pub(super) vault: &'a Vault,
    pub(super) manifest: &'a Manifest,
}

/// What the rows begin with.
pub(super) struct Rebuilt {
    /// The cluster.
    pub(super) config: ClusterConfig,
    /// Where each group's log begins.
    pub(super) groups: BTreeMap<GroupId, AppliedState>,
}

impl Rebuild<'_> {
    /// Writes all rows into empty tables, as the state that the founders of `by` begin with. Durable on return.
    pub(super) fn rows(&self, tables: &dyn Tables, by: &Refounding) -> Result<Rebuilt, Error> {
        let config = self.cluster()?.refounded(by);
        let config = config.map_err(|refusal| Error::Refused(refusal.to_string()))?;
        let mut groups = BTreeMap::new();
        for part in &self.manifest.groups {
            let id = GroupId(part.group);
            let members: BTreeSet<NodeId> = config.replicas(id).iter().copied().collect();
            if members.is_empty() {
                return Err(self.damaged(format!("group {id} is not in the cluster's map")));
            }
            // Above all that was ever said in the old group, so that no index means two things.
            let state = raft::founding_state(&members, part.users_index + 1);
            let state = state.map_err(|error| Error::Refused(error.to_string()))?;
            groups.insert(id, state);
        }
        if let Some(missing) = config.shards.keys().find(|id| !groups.contains_key(id)) {
            return Err(self.damaged(format!("group {missing} is not in it")));
        }
        for part in self.manifest.groups.iter().filter(|part| part.group != 0) {
            self.shard(part, tables, &groups[&GroupId(part.group)], &config)?;
        }
        let mut batch = Batch::new();
        batch.put(keys::cluster_config(), proto::cluster::encode_cluster_config(&config));
        let applied = shard::encode_applied(&groups[&GroupId::CLUSTER]);
        batch.put(keys::applied(GroupId::CLUSTER), applied);
        tables.write(batch)?;
        tables.flush()?;
        Ok(Rebuilt { config, groups })
    }

    /// The state of group 0 as it was.
    pub(super) fn cluster(&self) -> Result<ClusterConfig, Error> {
        let part = self.manifest.group(0).expect("checked when it was decoded");
        let rows =
            part.chunks.iter().map(|chunk| self.chunk(chunk)).collect::<Result<Vec<_>, _>>()?;
        match &rows.concat()[..] {
            [(key, value)] if *key == keys::cluster_config() => {
                let level = proto::cluster::decode_cluster_level(value);
                let level = level.map_err(|error| self.damaged(error))?;
                let read = Spoken::here().must_read(level.as_ref());
                read.map_err(|unspoken| Error::Refused(unspoken.to_string()))?;
                proto::cluster::decode_cluster_config(value).map_err(|error| self.damaged(error))
            }
            _ => Err(self.damaged("group 0 has other rows than its one")),
        }
    }

    fn shard(
        &self,
        part: &GroupPart,
        tables: &dyn Tables,
        state: &AppliedState,
        config: &ClusterConfig,
    ) -> Result<(), Error> {
        let id = GroupId(part.group);
        let slots = &config.shards[&id].slots;
        if (slots.start, slots.end) != (part.first_slot, part.end_slot) {
            return Err(
                self.damaged(format!("group {id} has other slots than the cluster's map says"))
            );
        }
        let (mut rows, mut counted) = (0, false);
        for chunk in &part.chunks {
            let mut batch = Batch::new();
            for (key, value) in self.chunk(chunk)? {
                rows += 1;
                let parsed = keys::parse(&key).map_err(|error| self.damaged(error))?;
                let value = match parsed {
                    Key::Applied(of) if of == id => {
                        counted = true;
                        shard::refounded(&value, state)?
                    }
                    Key::Outbox(of, _) if of == id => value,
                    Key::Asset(_) => self.held_by(&value, config)?,
                    _ if is_within(&key, part) => value,
                    _ => return Err(self.damaged(format!("group {id} holds a foreign row"))),
                };
                batch.put(key, value);
                if batch.len() >= BATCH_ROWS {
                    tables.write(std::mem::take(&mut batch))?;
                }
            }
            tables.write(batch)?;
        }
        if rows != part.rows || !counted {
            return Err(self.damaged(format!("group {id} has {rows} rows of {}", part.rows)));
        }
        Ok(())
    }

    /// The record of an asset whose bytes every founder has.
    fn held_by(&self, value: &[u8], config: &ClusterConfig) -> Result<Bytes, Error> {
        let mut asset = row::decode_asset(value).map_err(|error| self.damaged(error))?;
        asset.holders = config.nodes.keys().map(|node| Holder(node.0)).collect();
        Ok(row::encode_asset(&asset))
    }

    /// Goes through all assets, and writes their bytes into `blobs` if there are any. Every byte is read and compared.
    pub(super) fn assets(&self, blobs: Option<&Blobs>) -> Result<(), Error> {
        for chunk in &self.manifest.assets.chunks {
            let Chunk::Assets(assets) = self.vault.get(chunk)? else {
                return Err(self.damaged("a list of assets is none"));
            };
            assets.iter().try_for_each(|stored| self.asset(stored, blobs))?;
        }
        Ok(())
    }

    fn asset(&self, stored: &StoredAsset, blobs: Option<&Blobs>) -> Result<(), Error> {
        let Some(pieces) = &stored.pieces else { return Ok(()) };
        let mut draft = blobs.map(|blobs| blobs.create(&stored.asset.to_string())).transpose()?;
        let mut size = 0;
        let digest = self.pieces(pieces, |bytes| {
            size += bytes.len() as u64;
            draft.as_mut().map_or(Ok(()), |draft| draft.append(bytes))
        })?;
        if size != stored.size || digest != stored.sha256 {
            return Err(self.damaged(format!("asset {} is not what it was", stored.asset)));
        }
        if let Some(draft) = draft {
            draft.finish()?;
        }
        Ok(())
    }

    fn pieces(
        &self,
        pieces: &[PieceRef],
        mut each: impl FnMut(&[u8]) -> Result<(), store::StoreError>,
    ) -> Result<Digest, Error> {
        let mut hash = Context::new(&SHA256);
        for piece in pieces {
            let bytes = self.vault.piece(piece)?;
            hash.update(&bytes);
            each(&bytes)?;
        }
        let digest = hash.finish();
        Ok(Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }

    fn chunk(&self, chunk: &ChunkRef) -> Result<Vec<(Bytes, Bytes)>, Error> {
        match self.vault.get(chunk)? {
            Chunk::Rows(rows) => Ok(rows),
            _ => Err(self.damaged("a chunk that should hold rows holds something else")),
        }
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::damaged(format!("backup {}", self.manifest.id), what)
    }
}

/// Whether a row lies in a slot of this group.
fn is_within(key: &[u8], part: &GroupPart) -> bool {
    let slot = key.first_chunk().map(|slot| u16::from_be_bytes(*slot));
    slot.is_some_and(|slot| (part.first_slot..part.end_slot).contains(&slot))
}
