//! The blobs of this node for those who must not wait on a thread: each call is handed to one that may.

use bytes::Bytes;
use chat::{AssetId, Digest};
use futures::stream::{BoxStream, StreamExt as _};
use proto::peer::AssetHeader;
use proto::row::{self, Upload};
use ring::digest::{Context, SHA256};
use store::blobs::Blob;
use store::{Blobs, Pace, StoreError};

use super::intake::Intake;
use super::{PIECE_BYTES, PIECE_BYTES_MAX};
use crate::figures;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Local(Blobs);

/// Ends the name of a blob with what was announced of an upload.
const ANNOUNCED: &str = "upload";
/// What another node is told that sent bytes which are not what it said.
const NOT_THE_SAME: &str = "not_the_same";
/// What another node is told when this one's disk does not take the bytes.
const NO_ROOM: &str = "no_room";
/// What another node is told that asks for what is not here.
const NOT_HERE: &str = "not_here";

impl Local {
    /// What this node keeps in `blobs`.
    pub(crate) fn new(blobs: Blobs) -> Self {
        Self(blobs)
    }

    /// Has `work` done where waiting for a disk is allowed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Blobs) -> T + Send + 'static,
    ) -> T {
        if self.0.pace() != Pace::Threads {
            return work(&self.0);
        }
        let blobs = self.0.clone();
        match tokio::task::spawn_blocking(move || work(&blobs)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process is about to end; nobody waits for this any more.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// The bytes of an asset, if they are here.
    pub(super) async fn open(&self, id: AssetId) -> Result<Option<Blob>, StoreError> {
        self.run(move |blobs| blobs.open(&id.to_string())).await
    }

    /// One piece; `None` when this node has no such bytes, or has them no longer as they were.
    pub(super) async fn read(&self, blob: &Blob, offset: u64, length: usize) -> Option<Bytes> {
        let blob = blob.clone();
        let read = self.run(move |_| blob.read(offset, length)).await;
        figures::ASSET_BYTES_READ.increment(read.as_ref().map_or(0, |piece| piece.len() as u64));
        read.inspect_err(|error| tracing::error!(%error, "an asset cannot be read here")).ok()
    }

    /// The assets whose bytes are here.
    pub(super) async fn ids(&self) -> Result<Vec<AssetId>, StoreError> {
        let names = self.run(store::Blobs::names).await?;
        // Whatever else lies there is not ours.
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Forgets the bytes of an asset, or of an upload with what was announced of it.
    pub(super) async fn remove(&self, id: AssetId) -> Result<(), StoreError> {
        self.run(move |blobs| {
            blobs.remove(&id.to_string())?;
            blobs.remove(&announcement(id))
        })
        .await
    }

    /// Keeps what is announced of an upload in steps.
    pub(super) async fn announce(&self, id: AssetId, upload: Bytes) -> Result<(), StoreError> {
        self.run(move |blobs| {
            let mut draft = blobs.create(&announcement(id))?;
            draft.append(&upload)?;
            draft.finish().map(|_| ())
        })
        .await
    }

    /// What was announced of an upload in steps.
    pub(super) async fn announced(&self, id: AssetId) -> Result<Option<Upload>, StoreError> {
        self.run(move |blobs| {
            let name = announcement(id);
            let Some(blob) = blobs.open(&name)? else { return Ok(None) };
            let length = usize::try_from(blob.bytes()).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let read = row::decode_upload(&blob.read(0, length)?);
            let damaged = |error: proto::DecodeError| {
                StoreError::corrupt(format!("assets/{name}"), 0, error.to_string())
            };
            read.map(Some).map_err(damaged)
        })
        .await
    }

    /// Whether there is an upload in steps of this id, as far as can be told.
    pub(super) async fn is_announced(&self, id: AssetId) -> bool {
        !matches!(self.announced(id).await, Ok(None))
    }

    /// The upload in steps is none any more.
    pub(super) async fn denounce(&self, id: AssetId) -> Result<(), StoreError> {
        self.run(move |blobs| blobs.remove(&announcement(id))).await
    }

    /// All uploads in steps that lie here.
    pub(super) async fn uploads(&self) -> Result<Vec<AssetId>, StoreError> {
        let names = self.run(store::Blobs::names).await?;
        let ids = names.iter().filter_map(|name| name.strip_suffix(ANNOUNCED)?.parse().ok());
        Ok(ids.collect())
    }

    /// SHA-256 of a blob; `None` when it cannot be read.
    pub(super) async fn digest(&self, blob: &Blob) -> Option<Digest> {
        let mut hash = Context::new(&SHA256);
        let mut pieces = self.all_of(blob.clone());
        while let Some(piece) = pieces.next().await {
            hash.update(&piece.ok()?);
        }
        let digest = hash.finish();
        Some(Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }

    /// All of a blob in order, for another node.
    pub(super) fn all_of(&self, blob: Blob) -> BoxStream<'static, Result<Bytes, String>> {
        let local = self.clone();
        let steps = futures::stream::unfold(0, move |offset: u64| {
            let (local, blob) = (local.clone(), blob.clone());
            async move {
                let left = blob.bytes() - offset;
                if left == 0 {
                    return None;
                }
                let length = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
                let piece = local.read(&blob, offset, length).await;
                let piece = piece.ok_or_else(|| NOT_HERE.to_owned());
                Some((piece, offset + length as u64))
            }
        });
        steps.boxed()
    }

    /// Answers another node that asks for a piece.
    pub(crate) async fn piece(
        &self,
        asset: &[u8],
        offset: u64,
        length: u64,
    ) -> Result<Bytes, String> {
        let refused = |code: &str| code.to_owned();
        let malformed = || refused(transport::peer::code::MALFORMED);
        let id = AssetId::from_bytes(asset).map_err(|_| malformed())?;
        let length = usize::try_from(length).ok().filter(|length| *length <= PIECE_BYTES_MAX);
        let length = length.ok_or_else(malformed)?;
        let Ok(Some(blob)) = self.open(id).await else { return Err(refused(NOT_HERE)) };
        let inside = offset.checked_add(length as u64).is_some_and(|end| end <= blob.bytes());
        if !inside {
            return Err(malformed());
        }
        self.read(&blob, offset, length).await.ok_or_else(|| refused(NOT_HERE))
    }

    /// Takes an asset from another node. Answered when it is on stable storage here, and it is what was announced.
    pub(crate) async fn receive<E: std::fmt::Display>(
        &self,
        header: AssetHeader,
        mut chunks: BoxStream<'static, Result<Bytes, E>>,
    ) -> Result<Bytes, String> {
        let malformed = |_| transport::peer::code::MALFORMED.to_owned();
        let id = AssetId::from_bytes(&header.asset).map_err(malformed)?;
        let no_room = |error: StoreError| {
            tracing::error!(%error, "an asset of another node is not taken");
            NO_ROOM.to_owned()
        };
        let mut intake = Intake::begin(self, id).await.map_err(no_room)?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| error.to_string())?;
            if intake.size() + chunk.len() as u64 > header.size {
                return Err(NOT_THE_SAME.to_owned());
            }
            intake.add(&chunk).await.map_err(no_room)?;
        }
        let digest = intake.digest().await.map_err(no_room)?;
        if intake.size() != header.size || digest.0[..] != header.sha256[..] {
            return Err(NOT_THE_SAME.to_owned());
        }
        intake.keep().await.map_err(no_room)?;
        Ok(Bytes::new())
    }
}

/// The name of the blob with what was announced of an upload. No asset has such a name.
fn announcement(id: AssetId) -> String {
    format!("{id}{ANNOUNCED}")
}
