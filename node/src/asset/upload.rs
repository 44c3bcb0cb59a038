//! One upload: from a body to an asset that a quorum has and the log knows of.

use bytes::Bytes;
use chat::{AssetCommand, AssetId, Digest, Outcome, StorageCommand, UserId};
use futures::stream::{Stream, StreamExt as _};
use proto::{Problem, ProblemCode};
use store::StoreError;

use super::Assets;
use super::intake::Intake;
use super::kind::Kind;
use super::spread::Taken;
use crate::gateway::problems;
use crate::gateway::propose::{accepted, propose};

/// What is announced.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    /// Whose it will be.
    pub(crate) owner: UserId,
    /// The declared type.
    pub(crate) media_type: String,
    /// The declared size, if one was.
    pub(crate) size: Option<u64>,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    /// The name.
    pub(crate) id: AssetId,
    /// How many bytes.
    pub(crate) size: u64,
    /// Their SHA-256.
    pub(crate) sha256: Digest,
}

impl Assets {
    /// Takes an upload to its end.
    ///
    /// # Errors
    /// `too_large`, `quota_exceeded`, `unsupported_media_type`, `overloaded`, `unavailable`, or what is wrong with the
    /// body. Nothing is kept then, except after `unknown_outcome`, which the next sweep settles.
    pub(crate) async fn upload(
        &self,
        incoming: Incoming,
        body: impl Stream<Item = Result<Bytes, Problem>> + Send + Unpin,
    ) -> Result<Made, Problem> {
        let place = std::sync::Arc::clone(&self.state.uploads).try_acquire_owned();
        let _place = place.map_err(|_| {
            Problem::new(ProblemCode::Overloaded, "too many uploads at a time")
                .after(std::time::Duration::from_secs(1))
        })?;
        self.may_begin(&incoming.owner, incoming.size.unwrap_or(0)).await?;
        let id = self.new_id();
        let taken = self.take(id, &incoming.media_type, body).await?;
        let published = self.publish(id, &incoming, taken).await;
        if let Err(problem) = &published
            && !problem.code.is_unknown()
        {
            self.forget(id, &incoming.owner).await;
        }
        published
    }

    /// Whether an upload of `size` bytes would be taken: asked before a single byte is, so that nobody sends in vain
    /// what would be refused, or what a minority could not keep.
    pub(crate) async fn may_begin(&self, owner: &UserId, size: u64) -> Result<(), Problem> {
        self.fits(size)?;
        self.freshen(owner.slot()).await?;
        let limit = self.ports.settings.quota_bytes;
        let storage = self.ports.replica.storage(owner);
        let storage = storage.map_err(|error| problems::of_store(&error))?;
        if storage.bytes.saturating_add(size) > limit {
            return Err(Problem::from(chat::Refusal::QuotaExceeded { limit }));
        }
        Ok(())
    }

    fn fits(&self, size: u64) -> Result<(), Problem> {
        let limit = self.bytes_max();
        if size <= limit {
            return Ok(());
        }
        let detail = format!("an asset has at most {limit} bytes");
        Err(Problem::new(ProblemCode::TooLarge, detail).expecting(limit))
    }

    async fn take(
        &self,
        id: AssetId,
        media_type: &str,
        mut body: impl Stream<Item = Result<Bytes, Problem>> + Send + Unpin,
    ) -> Result<Taken, Problem> {
        let mut kind = Kind::declared(media_type)?;
        let mut intake = Intake::begin(&self.ports.local, id).await.map_err(of_disk)?;
        while let Some(piece) = body.next().await {
            let piece = piece?;
            self.fits(intake.size() + piece.len() as u64)?;
            kind.look(&piece)?;
            intake.add(&piece).await.map_err(of_disk)?;
        }
        kind.end()?;
        let sha256 = intake.digest().await.map_err(of_disk)?;
        let size = intake.size();
        intake.keep().await.map_err(of_disk)?;
        Ok(Taken { size, sha256 })
    }

    /// Makes an asset of bytes that are on this disk: counts them, spreads them, writes them down, in this order.
    pub(super) async fn publish(
        &self,
        id: AssetId,
        incoming: &Incoming,
        taken: Taken,
    ) -> Result<Made, Problem> {
        let Taken { size, sha256 } = taken;
        let limit = self.ports.settings.quota_bytes;
        let reserve = StorageCommand::Reserve { size, limit };
        accepted(&self.propose_storage(&incoming.owner, id, &reserve).await?)?;
        let blob = self.ports.local.open(id).await.map_err(of_disk)?;
        let blob = blob.ok_or_else(|| Problem::of(ProblemCode::Internal))?;
        let (holders, stragglers) = match self.ports.objects.clone() {
            Some(objects) => (self.store(&objects, id, taken, blob).await?, None),
            None => {
                let (holders, stragglers) = self.spread(id, taken, blob).await?;
                (holders, Some(stragglers))
            }
        };
        let create = AssetCommand::Create {
            owner: incoming.owner.clone(),
            size,
            sha256,
            media_type: incoming.media_type.clone(),
            holders,
        };
        let create = proto::encode_asset_command(id, &create);
        accepted(&propose(&self.ports.router, id.slot(), create).await?.outcome)?;
        match stragglers {
            Some(stragglers) => self.follow(id, stragglers),
            None => self.drop_copy(id).await,
        }
        Ok(Made { id, size, sha256 })
    }

    /// Lets go of what did not become an asset. What is left is found by the sweep.
    pub(super) async fn forget(&self, id: AssetId, owner: &UserId) {
        if let Err(error) = self.ports.local.remove(id).await {
            tracing::warn!(%error, %id, "an upload that failed is not cleared away yet");
        }
        // Whoever waits for the answer does not wait for this.
        let (assets, owner) = (self.clone(), owner.clone());
        self.spawn(async move {
            assets.remove_stored(id).await;
            if let Err(problem) = assets.release(&owner, id).await {
                tracing::info!(code = %problem.code, %id, "an upload that failed still counts");
            }
        });
    }

    /// What is kept under `id` counts no longer.
    pub(super) async fn release(&self, owner: &UserId, id: AssetId) -> Result<Outcome, Problem> {
        self.propose_storage(owner, id, &StorageCommand::Release).await
    }

    pub(super) async fn propose_storage(
        &self,
        owner: &UserId,
        id: AssetId,
        command: &StorageCommand,
    ) -> Result<Outcome, Problem> {
        let command = proto::encode_storage_command(owner, id, command);
        Ok(propose(&self.ports.router, owner.slot(), command).await?.outcome)
    }
}

/// A full disk passes; anything else is for the operator.
pub(super) fn of_disk(error: StoreError) -> Problem {
    match error {
        StoreError::Full { .. } => {
            Problem::new(ProblemCode::Overloaded, "this node's disk is full")
                .after(std::time::Duration::from_secs(10))
        }
        error => problems::of_store(&error),
    }
}
