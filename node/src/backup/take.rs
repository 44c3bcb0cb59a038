//! Makes one backup of the whole cluster on a node that carries all of it, while it serves.
//!
//! The order is the law that makes it sound without stopping anybody: **what refers is read before what it refers to.**
//!
//! 1. every shard's conversations with what they owe, each shard at one index;
//! 2. every shard's users and assets, each at one index that is not below the first;
//! 3. the bytes of those assets;
//! 4. group 0.
//!
//! So a member of a conversation has an account, what an outbox says is carried out is in its user's list, what it still
//! owes is owed (and linking twice is linking once), a message's asset has a record, a session's key is in group 0. What is
//! later in users than in conversations (a device that begins after messages that are not in the backup, a mark of a push)
//! is set back when it is restored. Each group is read linearizably before it is viewed, so whatever was acknowledged
//! before the backup began is in it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chat::{Asset, AssetId};
use cluster_config::{ClusterConfig, GroupId, Shard};
use futures::stream::StreamExt as _;
use proto::backup::{
    AssetPart, BackupId, Chunk, ChunkRef, FORMAT_VERSION, GroupPart, Manifest, PieceRef, SCHEMA,
    StoredAsset,
};
use proto::keys::{self, Key};
use raft::{AppliedState, Group, Position, Raft, Rows};
use ring::digest::{Context, SHA256};
use store::tables::Row;
use tokio::time::{Instant, sleep, sleep_until};

use super::Error;
use super::cut::Cutter;
use super::previous::Previous;
use super::vault::Vault;
use crate::asset::Assets;
use crate::cluster::Configured;

/// Rows that are read at once: between two such pieces others have the thread.
const STEP_BYTES: usize = 256 << 10;
/// A piece of an asset in a chunk of its own.
const PIECE_BYTES: usize = 1 << 20;
/// Assets in one list: some 150 bytes each.
const ASSETS_PER_CHUNK: usize = 4096;
/// How often a group is asked for what it has acknowledged before the backup is given up, and the pause between: longer
/// together than an election.
const ASKED_MAX: u32 = 20;
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What a backup is made of.
pub(super) struct Take {
    pub(super) raft: Raft,
    pub(super) config: Arc<ClusterConfig>,
    /// The map as it changes.
    pub(super) configured: Configured,
    pub(super) assets: Assets,
    pub(super) node: u64,
    /// At most so many bytes are read in a second.
    pub(super) bytes_per_second: u64,
}

/// Who asked for it and when.
pub(super) struct Begun {
    pub(super) id: BackupId,
    pub(super) at_ms: u64,
}

/// Everything that goes into one part of the manifest, as it grows.
struct Writer {
    vault: Vault,
    cutter: Cutter,
    chunks: Vec<ChunkRef>,
    rows: u64,
}

/// Rows of one view on their way into chunks.
struct Reading {
    rows: Box<dyn Rows>,
    wanted: fn(&Key) -> bool,
    writer: Writer,
}

/// The assets of a backup, as they are listed.
struct Listing {
    part: AssetPart,
    assets: Vec<StoredAsset>,
    previous: Previous,
}

impl Take {
    /// Makes the backup into `vault`; nothing but chunks is written until the manifest, which is the caller's to publish.
    /// `now_ms` tells when it is done.
    pub(super) async fn run(
        self,
        vault: Vault,
        begun: Begun,
        now_ms: impl Fn() -> u64,
    ) -> Result<(Vault, Manifest), Error> {
        let mut writer = Writer { vault, cutter: Cutter::default(), chunks: Vec::new(), rows: 0 };
        let mut pace = Pace::new(self.bytes_per_second);
        let mut parts = Vec::with_capacity(1 + self.config.shards.len());
        for (id, shard) in &self.config.shards {
            let (state, reading) = self.read(*id, is_of_conversations, writer).await?;
            writer = stream(reading, &mut pace).await?;
            parts.push(part(*id, shard, state, &mut writer));
        }
        let mut of_users = Vec::new();
        for part in &mut parts {
            let (state, reading) = self.read(GroupId(part.group), is_of_users, writer).await?;
            writer = stream(reading, &mut pace).await?;
            part.users_index = index(&state);
            part.rows += std::mem::take(&mut writer.rows);
            of_users.extend(&writer.chunks);
            part.chunks.append(&mut writer.chunks);
        }
        let (writer, assets) = self.assets(of_users, writer, &mut pace).await?;
        let (state, reading) = self.read(GroupId::CLUSTER, |_| true, writer).await?;
        self.check_shards()?;
        let mut writer = stream(reading, &mut pace).await?;
        let none = Shard::clone(self.config.shards.values().next().expect("there are shards"));
        let mut cluster = part(GroupId::CLUSTER, &none, state, &mut writer);
        (cluster.first_slot, cluster.end_slot) = (0, 0);
        parts.insert(0, cluster);
        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            version: FORMAT_VERSION,
            id: begun.id,
            cluster: self.config.cluster.to_string(),
            history_epoch: self.config.history_epoch,
            node: self.node,
            begun_at_ms: begun.at_ms,
            ended_at_ms: now_ms(),
            key: writer.vault.key_id(),
            groups: parts,
            assets,
            totals: writer.vault.totals(),
        };
        Ok((writer.vault, manifest))
    }

    /// Whether each slot was read from the group that the map named for it. A shard that was split meanwhile has fewer; group
    /// 0, which is read last and was asked for all that it has acknowledged, knows of the wish.
    fn check_shards(&self) -> Result<(), Error> {
        let now = self.configured.borrow().clone();
        let same = now.is_some_and(|now| same_shards(&self.config, &now));
        let changed = || Error::Unavailable("a shard was split meanwhile: make another".to_owned());
        same.then_some(()).ok_or_else(changed)
    }

    /// The bytes of all assets whose records are in these chunks. They are read from there, so that no view is held while
    /// bytes are copied, and the records are the ones that are in the backup.
    async fn assets(
        &self,
        chunks: Vec<ChunkRef>,
        writer: Writer,
        pace: &mut Pace,
    ) -> Result<(Writer, AssetPart), Error> {
        let (previous, mut writer) =
            blocking(move || (Previous::of_newest(&writer.vault), writer)).await;
        let mut listing = Listing { part: AssetPart::default(), assets: Vec::new(), previous };
        for chunk in chunks {
            let (assets, back) = blocking(move || (records(&writer.vault, &chunk), writer)).await;
            writer = back;
            for (id, asset) in assets? {
                writer = self.asset((id, asset), writer, &mut listing, pace).await?;
            }
        }
        let writer = listing.flush(writer).await?;
        Ok((writer, listing.part))
    }

    /// A view of a group with everything that was acknowledged before.
    async fn read(
        &self,
        id: GroupId,
        wanted: fn(&Key) -> bool,
        writer: Writer,
    ) -> Result<(AppliedState, Reading), Error> {
        let group = self.raft.group(id).ok_or(Error::NotHere(id))?;
        fresh(&group).await?;
        let viewed = group.view().await;
        let (state, rows) = viewed.map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok((state, Reading { rows, wanted, writer }))
    }

    /// Copies the bytes of an asset, or finds that an earlier backup has them.
    async fn asset(
        &self,
        (id, asset): (AssetId, Asset),
        mut writer: Writer,
        listing: &mut Listing,
        pace: &mut Pace,
    ) -> Result<Writer, Error> {
        let (found, mut back) = listing.find(id, &asset, writer).await?;
        let pieces = match found {
            Some(pieces) => Some(pieces),
            None => {
                let copied = self.copy(id, &asset, back, pace).await?;
                back = copied.1;
                copied.0
            }
        };
        writer = back;
        listing.part.count += 1;
        listing.part.bytes += asset.size;
        listing.part.missing += u64::from(pieces.is_none());
        let stored = StoredAsset { asset: id, size: asset.size, sha256: asset.sha256, pieces };
        listing.assets.push(stored);
        if listing.assets.len() >= ASSETS_PER_CHUNK {
            writer = listing.flush(writer).await?;
        }
        Ok(writer)
    }

    /// `None`: no node has these bytes as they were.
    async fn copy(
        &self,
        id: AssetId,
        asset: &Asset,
        mut writer: Writer,
        pace: &mut Pace,
    ) -> Result<(Option<Vec<PieceRef>>, Writer), Error> {
        let Ok(mut bytes) = self.assets.pieces(id, asset, 0..asset.size).await else {
            return Ok((None, writer));
        };
        let (mut pieces, mut buffer) = (Vec::new(), BytesMut::new());
        let mut hash = Context::new(&SHA256);
        loop {
            let some = match bytes.next().await {
                Some(Ok(some)) => Some(some),
                Some(Err(_)) => return Ok((None, writer)),
                None => None,
            };
            let ended = some.is_none();
            if let Some(some) = some {
                hash.update(&some);
                buffer.extend_from_slice(&some);
                pace.spend(some.len()).await;
            }
            // An asset without bytes has one piece without bytes.
            if buffer.len() >= PIECE_BYTES || (ended && (!buffer.is_empty() || pieces.is_empty())) {
                let piece = Chunk::Piece(buffer.split().freeze());
                let (put, written) = writer.put(piece).await?;
                writer = written;
                pieces.push(PieceRef { name: put.name, bytes: put.bytes });
            }
            if ended {
                let sound = hash.finish().as_ref() == asset.sha256.0;
                return Ok((sound.then_some(pieces), writer));
            }
        }
    }
}

impl Listing {
    /// The pieces that an earlier backup keeps of this asset, which never changes.
    async fn find(
        &mut self,
        id: AssetId,
        asset: &Asset,
        mut writer: Writer,
    ) -> Result<(Option<Vec<PieceRef>>, Writer), Error> {
        let mut previous = std::mem::take(&mut self.previous);
        let (sha256, size) = (asset.sha256, asset.size);
        let (found, previous, writer) = blocking(move || {
            let stored = previous.find(&writer.vault, id);
            let same = stored.filter(|stored| stored.sha256 == sha256 && stored.size == size);
            let pieces = same.and_then(|stored| stored.pieces);
            let there =
                pieces.filter(|pieces| pieces.iter().all(|piece| writer.vault.reuse(piece)));
            (there, previous, writer)
        })
        .await;
        self.previous = previous;
        Ok((found, writer))
    }

    async fn flush(&mut self, writer: Writer) -> Result<Writer, Error> {
        let assets = std::mem::take(&mut self.assets);
        if assets.is_empty() {
            return Ok(writer);
        }
        let (put, writer) = writer.put(Chunk::Assets(assets)).await?;
        self.part.chunks.push(put);
        Ok(writer)
    }
}

impl Writer {
    async fn put(mut self, chunk: Chunk) -> Result<(ChunkRef, Self), Error> {
        let (put, writer) = blocking(move || (self.vault.put(&chunk), self)).await;
        Ok((put?, writer))
    }

    fn keep(&mut self, rows: Option<Vec<Row>>) -> Result<(), Error> {
        if let Some(rows) = rows {
            self.rows += rows.len() as u64;
            self.chunks.push(self.vault.put(&Chunk::Rows(rows))?);
        }
        Ok(())
    }
}

impl Reading {
    /// Reads some rows and says how many bytes they had; `None` after the last.
    fn step(&mut self) -> Result<Option<usize>, Error> {
        let Some(rows) = self.rows.next_chunk(STEP_BYTES)? else {
            let last = self.writer.cutter.end();
            self.writer.keep(last)?;
            return Ok(None);
        };
        let mut bytes = 0;
        for (key, value) in rows {
            bytes += key.len() + value.len();
            if (self.wanted)(&keys::parse(&key).map_err(|error| unreadable(&error))?) {
                let ended = self.writer.cutter.push((key, value));
                self.writer.keep(ended)?;
            }
        }
        Ok(Some(bytes))
    }
}

/// Reads a view to its end.
async fn stream(mut reading: Reading, pace: &mut Pace) -> Result<Writer, Error> {
    loop {
        let (stepped, back) = blocking(move || (reading.step(), reading)).await;
        let Some(bytes) = stepped? else { return Ok(back.writer) };
        reading = back;
        pace.spend(bytes).await;
    }
}

/// The records of assets in a chunk.
fn records(vault: &Vault, chunk: &ChunkRef) -> Result<Vec<(AssetId, Asset)>, Error> {
    let Chunk::Rows(rows) = vault.get(chunk)? else { return Ok(Vec::new()) };
    let mut records = Vec::new();
    for (key, value) in rows {
        if let Key::Asset(id) = keys::parse(&key).map_err(|error| unreadable(&error))? {
            let asset = proto::row::decode_asset(&value).map_err(|error| unreadable(&error))?;
            records.push((id, asset));
        }
    }
    Ok(records)
}

/// Conversations, and what a group keeps of itself.
fn is_of_conversations(key: &Key) -> bool {
    !is_of_users(key)
}

/// What conversations refer to.
fn is_of_users(key: &Key) -> bool {
    match key {
        Key::User(_)
        | Key::Device(..)
        | Key::Link(..)
        | Key::Settings(_)
        | Key::Asset(_)
        | Key::Storage(_)
        | Key::Kept(..)
        | Key::Registered(_)
        | Key::Registration(..)
        | Key::Notice(..)
        | Key::PushMark(..)
        | Key::DeadLetter(..) => true,
        Key::Head(_)
        | Key::Member(..)
        | Key::Producer(..)
        | Key::Cursor(..)
        | Key::Message(..)
        | Key::MessageRef(..)
        | Key::Change(..)
        | Key::Overlay(..)
        | Key::ChangeRef(..)
        | Key::Retained(_)
        | Key::Applied(_)
        | Key::Outbox(..)
        | Key::Staging(..)
        | Key::Installing(_)
        | Key::ClusterConfig => false,
    }
}

/// Whether all shards have the slots that they had, and none is on its way to have fewer.
fn same_shards(before: &ClusterConfig, now: &ClusterConfig) -> bool {
    let is_same = |(group, shard): (&GroupId, &Shard)| {
        let then = before.shards.get(group);
        shard.splitting.is_none() && then.is_some_and(|then| then.slots == shard.slots)
    };
    before.shards.len() == now.shards.len() && now.shards.iter().all(is_same)
}

fn part(id: GroupId, shard: &Shard, state: AppliedState, writer: &mut Writer) -> GroupPart {
    GroupPart {
        group: id.0,
        first_slot: shard.slots.start,
        end_slot: shard.slots.end,
        term: state.position.map_or(0, |at: Position| at.term),
        index: index(&state),
        users_index: index(&state),
        rows: std::mem::take(&mut writer.rows),
        chunks: std::mem::take(&mut writer.chunks),
    }
}

fn index(state: &AppliedState) -> u64 {
    state.position.map_or(0, |at| at.index)
}

/// Waits until this replica has everything that was acknowledged before.
async fn fresh(group: &Group) -> Result<(), Error> {
    let mut last = None;
    for _ in 0..ASKED_MAX {
        match group.linearize().await {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
        sleep(ASK_AGAIN).await;
    }
    let why = last.map_or_else(String::new, |error| error.to_string());
    Err(Error::Unavailable(format!(
        "group {} cannot say what it has acknowledged: {why}",
        group.id()
    )))
}

fn unreadable(error: &proto::DecodeError) -> Error {
    Error::Fatal(raft::Fatal::new(format!("a row of this node cannot be read: {error}")))
}

/// Has `work` done where waiting for a disk is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process is about to end; nobody waits for this any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Keeps to so many bytes in a second.
pub(crate) struct Pace {
    bytes_per_second: u64,
    free_at: Instant,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, free_at: Instant::now() }
    }

    pub(crate) async fn spend(&mut self, bytes: usize) {
        let nanos = (bytes as u64).saturating_mul(1_000_000_000) / self.bytes_per_second.max(1);
        self.free_at = self.free_at.max(Instant::now()) + Duration::from_nanos(nanos);
        sleep_until(self.free_at).await;
    }
}

/// The place of an asset among all, in which lists are ordered.
pub(super) fn order(id: AssetId) -> Bytes {
    keys::asset(id)
}

#[cfg(test)]
mod tests {
    use cluster_config::{Addresses, ClusterId, Command, Door, Founder, NodeId, TokenKey, apply};

    use super::*;

    #[test]
    fn a_backup_during_which_a_shard_was_split_is_none() {
        let at = || "h:1".to_owned();
        let addresses = Addresses { client: at(), peer: at(), operations: at() };
        let bootstrap = Command::Bootstrap {
            cluster: ClusterId::parse("demo").expect("legal"),
            nodes: [(NodeId(1), Founder { addresses, zone: None, weight: 1 })].into(),
            shards: 2,
            replication: 1,
            token_key: TokenKey { id: 1, seed: [1; 32], created_at_ms: 0, retired: false },
            door: Door::default(),
        };
        let mut config = None;
        apply(&mut config, 0, "", &bootstrap);
        let whole = config.clone().expect("founded");
        let (group, to) = (GroupId(2), GroupId(3));
        let frozen = Command::FreezeShard { group, frozen: true };
        let mut other = config.clone();
        apply(&mut other, 0, "", &frozen);
        assert!(same_shards(&whole, &other.expect("founded")), "nothing moved");
        let slots = 9000..16_384;
        apply(&mut config, 0, "", &Command::SplitShard { group, slots, if_epoch: 1 });
        let splitting = config.clone().expect("founded");
        assert!(!same_shards(&whole, &splitting), "its log may have split it already");
        assert!(!same_shards(&splitting, &splitting), "nobody knows what was read");
        apply(&mut config, 0, "", &Command::FinishSplit { group, to });
        let split = config.expect("founded");
        assert!(!same_shards(&whole, &split) && !same_shards(&splitting, &split));
        assert!(same_shards(&split, &split));
    }
}
