//! Bytes on their way to this node's disk: hashed and sealed as they come, a bounded amount at a time.

use bytes::BytesMut;
use chat::{AssetId, Digest};
use ring::digest::{Context, SHA256};
use store::StoreError;
use store::blobs::Draft;

use super::PIECE_BYTES;
use super::local::Local;
use crate::figures;

/// Dropped before it is kept, it leaves nothing.
pub(super) struct Intake {
    local: Local,
    /// Away while the disk works on it; gone for good once the disk failed.
    work: Option<Work>,
    buffer: BytesMut,
    size: u64,
}

struct Work {
    draft: Draft,
    hash: Context,
}

impl Intake {
    pub(super) async fn begin(local: &Local, id: AssetId) -> Result<Self, StoreError> {
        let draft = local.run(move |blobs| blobs.create(&id.to_string())).await?;
        let work = Some(Work { draft, hash: Context::new(&SHA256) });
        Ok(Self { local: local.clone(), work, buffer: BytesMut::new(), size: 0 })
    }

    /// Begins one that may be paused.
    pub(super) async fn resumable(local: &Local, id: AssetId) -> Result<Self, StoreError> {
        let draft = local.run(move |blobs| blobs.create_resumable(&id.to_string())).await?;
        let work = Some(Work { draft, hash: Context::new(&SHA256) });
        let mut intake = Self { local: local.clone(), work, buffer: BytesMut::new(), size: 0 };
        intake.pause().await?;
        Ok(intake)
    }

    /// Goes on with what was paused; `None` when there is nothing.
    pub(super) async fn resume(local: &Local, id: AssetId) -> Result<Option<Self>, StoreError> {
        let resumed = local.run(move |blobs| {
            let mut hash = Context::new(&SHA256);
            let draft = blobs.resume(&id.to_string(), |piece| hash.update(piece))?;
            Ok::<_, StoreError>(draft.map(|draft| Work { draft, hash }))
        });
        Ok(resumed.await?.map(|work| Self {
            local: local.clone(),
            size: work.draft.bytes(),
            work: Some(work),
            buffer: BytesMut::new(),
        }))
    }

    /// Puts all that came on stable storage, to be gone on with, after a restart too.
    ///
    /// # Errors
    /// As for [`Intake::add`].
    pub(super) async fn pause(&mut self) -> Result<(), StoreError> {
        self.flush().await?;
        let mut work = self.work.take().ok_or(StoreError::Closed)?;
        let paused = self.local.run(move |_| work.draft.pause().map(|()| work));
        self.work = Some(paused.await?);
        Ok(())
    }

    /// How many bytes came so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes more.
    ///
    /// # Errors
    /// When the disk fails or is full; nothing can be kept then.
    pub(super) async fn add(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = PIECE_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == PIECE_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let piece = std::mem::take(&mut self.buffer);
        let mut work = self.work.take().ok_or(StoreError::Closed)?;
        let worked = self.local.run(move |_| {
            work.hash.update(&piece);
            work.draft.append(&piece).map(|()| (work, piece))
        });
        let (work, mut piece) = worked.await?;
        piece.clear();
        self.buffer = piece;
        self.work = Some(work);
        Ok(())
    }

    /// SHA-256 of everything so far.
    ///
    /// # Errors
    /// As for [`Intake::add`].
    pub(super) async fn digest(&mut self) -> Result<Digest, StoreError> {
        self.flush().await?;
        let work = self.work.as_ref().ok_or(StoreError::Closed)?;
        let digest = work.hash.clone().finish();
        Ok(Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }

    /// Keeps it: from now on it is on stable storage under its name.
    ///
    /// # Errors
    /// As for [`Intake::add`].
    pub(super) async fn keep(mut self) -> Result<(), StoreError> {
        self.flush().await?;
        let work = self.work.take().ok_or(StoreError::Closed)?;
        let kept = self.local.run(move |_| work.draft.finish()).await?;
        assert_eq!(kept, self.size, "all that came is kept");
        figures::ASSETS_KEPT.increment(1);
        figures::ASSET_BYTES_KEPT.increment(kept);
        Ok(())
    }
}
