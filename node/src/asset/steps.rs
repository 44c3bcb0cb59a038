//! Uploads in steps: begun here, gone on with after any interruption, a restart included, until they are assets.
//!
//! What has come so far lies on the node that began it; any other passes a step on. What was told to have come is on
//! stable storage. The upload's id becomes the asset's, so a client that lost the last answer finds the asset. An
//! upload counts in its owner's quota from its beginning; one that is not ended in time is forgotten.

mod passed;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chat::{Asset, AssetId, StorageCommand, Timestamp, UserId};
use proto::row::{self, Upload};
use proto::{Problem, ProblemCode};
use store::StoreError;
use tokio::sync::Mutex;

use super::Assets;
use super::intake::Intake;
use super::kind::{HEAD_BYTES, Kind};
use super::spread::Taken;
use super::upload::{Incoming, of_disk};
use crate::gateway::propose::accepted;

/// Uploads in steps that a node has open at a time. Those that nobody is sending to leave first, and are opened again
/// from the disk when somebody does.
const OPEN_MAX: usize = 256;
/// When an upload is worth another try while as many as may be are busy.
const BUSY_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// One step.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// How far is it?
    Look,
    /// These bytes come next.
    Append {
        /// Where they belong: at the end of what has come.
        offset: u64,
        /// At most [`PIECE_BYTES_MAX`](super::PIECE_BYTES_MAX).
        bytes: Bytes,
    },
    /// Forget it.
    Cancel,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes that are on stable storage.
    pub(crate) offset: u64,
    /// Bytes that it will have.
    pub(crate) size: u64,
    /// It is forgotten then, if it is not ended; nothing once it is an asset.
    pub(crate) expires: Option<Timestamp>,
}

/// An upload that is open here.
pub(super) struct Session {
    upload: Upload,
    /// `None` once all bytes have come.
    intake: Option<Intake>,
    /// Set once all bytes have come.
    taken: Option<Taken>,
}

/// Sessions by upload; empty when they have to be read from the disk.
pub(super) type Sessions = parking_lot::Mutex<BTreeMap<AssetId, Arc<Mutex<Option<Session>>>>>;

impl Assets {
    /// Begins an upload of a size that is known.
    ///
    /// # Errors
    /// As for [`Assets::upload`].
    pub(crate) async fn begin(&self, incoming: &Incoming) -> Result<(AssetId, Progress), Problem> {
        let size = incoming.size.unwrap_or(0);
        Kind::declared(&incoming.media_type)?;
        self.may_begin(&incoming.owner, size).await?;
        let id = self.new_id();
        let limit = self.ports.settings.quota_bytes;
        let reserve = StorageCommand::Reserve { size, limit };
        accepted(&self.propose_storage(&incoming.owner, id, &reserve).await?)?;
        let upload = Upload {
            owner: incoming.owner.clone(),
            size,
            media_type: incoming.media_type.clone(),
            created_at: self.ports.clock.now(),
        };
        let begun = async {
            self.ports.local.announce(id, row::encode_upload(&upload)).await?;
            Intake::resumable(&self.ports.local, id).await
        };
        if let Err(error) = begun.await {
            self.forget(id, &incoming.owner).await;
            return Err(of_disk(error));
        }
        Ok((id, Progress { offset: 0, size, expires: Some(self.expires(&upload)) }))
    }

    /// When an upload that is not ended is forgotten.
    fn expires(&self, upload: &Upload) -> Timestamp {
        let unsent = self.ports.settings.unsent_seconds.saturating_mul(1000);
        Timestamp(upload.created_at.0.saturating_add(unsent))
    }

    /// Carries out a step of an upload that lies on this node.
    ///
    /// # Errors
    /// `not_found` also to everybody but its owner; `offset_mismatch`; what is wrong with the bytes.
    pub(crate) async fn step(
        &self,
        who: &UserId,
        id: AssetId,
        step: Step,
    ) -> Result<Progress, Problem> {
        let session = self.session(id)?;
        let mut session = session.lock().await;
        if session.is_none() {
            *session = self.reopen(id).await.map_err(of_disk)?;
        }
        let Some(open) = session.as_mut().filter(|open| open.upload.owner == *who) else {
            return self.ended(who, id).await;
        };
        let size = open.upload.size;
        let expires = Some(self.expires(&open.upload));
        let done = match step {
            Step::Cancel => {
                *session = None;
                self.forget(id, who).await;
                return Ok(Progress { offset: 0, size, expires: None });
            }
            Step::Look => Ok(()),
            Step::Append { offset, bytes } => open.append(offset, &bytes).await,
        };
        let done = match done {
            Ok(()) if open.has_all() => self.complete(id, open).await,
            done => done,
        };
        let offset = open.offset();
        if done.is_err() || offset == size {
            // Whatever it is now, the disk knows it.
            *session = None;
        }
        let expires = expires.filter(|_| offset < size);
        done.map(|()| Progress { offset, size, expires })
    }

    /// The place of a session, of which there is one at a time for each upload.
    fn session(&self, id: AssetId) -> Result<Arc<Mutex<Option<Session>>>, Problem> {
        let mut sessions = self.state.sessions.lock();
        if !sessions.contains_key(&id) && sessions.len() >= OPEN_MAX {
            let idle = sessions.iter().find(|(_, one)| Arc::strong_count(one) == 1);
            let idle = idle.map(|(id, _)| *id).ok_or_else(|| {
                Problem::new(ProblemCode::Overloaded, "too many uploads at a time")
                    .after(BUSY_RETRY_AFTER)
            })?;
            sessions.remove(&idle);
        }
        Ok(Arc::clone(sessions.entry(id).or_default()))
    }

    async fn reopen(&self, id: AssetId) -> Result<Option<Session>, StoreError> {
        let local = &self.ports.local;
        let Some(upload) = local.announced(id).await? else { return Ok(None) };
        let intake = Intake::resume(local, id).await?;
        let taken = match (&intake, local.open(id).await?) {
            // All bytes had come when this node stopped.
            (None, Some(blob)) => {
                let sha256 = local.digest(&blob).await;
                sha256.map(|sha256| Taken { size: blob.bytes(), sha256 })
            }
            _ => None,
        };
        let whole = intake.is_some() || taken.is_some();
        Ok(whole.then_some(Session { upload, intake, taken }))
    }

    /// All bytes have come: makes an asset of them, unless it is one already.
    async fn complete(&self, id: AssetId, open: &mut Session) -> Result<(), Problem> {
        let taken = match (open.taken, open.intake.take()) {
            (Some(taken), _) => taken,
            (None, Some(mut intake)) => {
                let sha256 = intake.digest().await.map_err(of_disk)?;
                intake.keep().await.map_err(of_disk)?;
                *open.taken.insert(Taken { size: open.upload.size, sha256 })
            }
            (None, None) => return Err(Problem::of(ProblemCode::Internal)),
        };
        self.freshen(id.slot()).await?;
        if self.record(id)?.is_none() {
            let owner = open.upload.owner.clone();
            if let Err(problem) = self.check_kind(id, &open.upload.media_type).await {
                self.forget(id, &owner).await;
                return Err(problem);
            }
            let media_type = open.upload.media_type.clone();
            let incoming = Incoming { owner, media_type, size: Some(taken.size) };
            self.publish(id, &incoming, taken).await?;
        }
        self.ports.local.denounce(id).await.map_err(of_disk)
    }

    async fn check_kind(&self, id: AssetId, media_type: &str) -> Result<(), Problem> {
        let mut kind = Kind::declared(media_type)?;
        let blob = self.ports.local.open(id).await.map_err(of_disk)?;
        let blob = blob.ok_or_else(|| Problem::of(ProblemCode::Internal))?;
        let length = usize::try_from(blob.bytes()).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
        let head = self.ports.local.read(&blob, 0, length).await;
        kind.look(&head.ok_or_else(|| Problem::of(ProblemCode::Internal))?)?;
        kind.end()
    }

    /// An upload that is not open here: it has become an asset, or there is none.
    pub(super) async fn ended(&self, who: &UserId, id: AssetId) -> Result<Progress, Problem> {
        self.freshen(id.slot()).await?;
        match self.record(id)?.filter(|asset| asset.owner == *who) {
            Some(Asset { size, .. }) => Ok(Progress { offset: size, size, expires: None }),
            None => Err(Problem::new(ProblemCode::NotFound, "there is no such upload")),
        }
    }

    /// Forgets uploads that were not ended in time.
    pub(super) async fn sweep_uploads(&self) {
        let Ok(ids) = self.ports.local.uploads().await else { return };
        for id in ids {
            let Ok(Some(upload)) = self.ports.local.announced(id).await else { continue };
            let Ok(session) = self.session(id) else { return };
            // Whoever is sending to it has it until the next round.
            let Ok(mut session) = session.try_lock() else { continue };
            if self.is_over(upload.created_at) {
                *session = None;
                if matches!(self.ports.replica.asset(id), Ok(None)) {
                    self.forget(id, &upload.owner).await;
                }
            }
        }
    }
}

impl Session {
    fn offset(&self) -> u64 {
        match (&self.intake, self.taken) {
            (Some(intake), _) => intake.size(),
            (None, Some(taken)) => taken.size,
            (None, None) => 0,
        }
    }

    fn has_all(&self) -> bool {
        self.offset() == self.upload.size
    }

    async fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Problem> {
        let (next, size) = (self.offset(), self.upload.size);
        if offset != next {
            let detail = format!("the upload goes on at {next}");
            return Err(Problem::new(ProblemCode::OffsetMismatch, detail).expecting(next));
        }
        if bytes.len() as u64 > size - next {
            let detail = format!("the upload was announced with {size} bytes");
            return Err(Problem::new(ProblemCode::TooLarge, detail).expecting(size));
        }
        let Some(intake) = &mut self.intake else { return Ok(()) };
        intake.add(bytes).await.map_err(of_disk)?;
        intake.pause().await.map_err(of_disk)
    }
}
