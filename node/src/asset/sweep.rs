//! What a node does for its assets when nobody asks: fetches bytes that it ought to have and has not, lets go of what
//! was never sent to anybody, and of what is left of uploads that came to nothing.
//!
//! It goes round all slots in a fixed time, one asset at a time, so it costs the same whether something is broken or
//! not. Everything it finds, it finds in the state: a crash in between only means that the next round finds it again.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::{Asset, AssetCommand, AssetId, Digest, Holder, Outcome, Timestamp};
use futures::stream::StreamExt as _;
use ring::digest::{Context, SHA256};
use store::blobs::Blob;
use tokio::time::{Instant, sleep};

use super::intake::Intake;
use super::{Assets, PIECE_BYTES};
use crate::gateway::propose::propose;

/// Slots that are looked at without a pause: a few milliseconds of reads.
const SLOTS_AT_ONCE: u16 = 64;
/// Bytes of an asset that is so young are probably still on their way here.
const MEND_AFTER: Duration = Duration::from_secs(10);
/// In so many rounds each asset is read and compared with its digest once: a day, at ten minutes for a round.
const ROUNDS_PER_SCRUB: u64 = 144;
/// In so many rounds the object store is listed once: six hours, because listing costs money.
const ROUNDS_PER_LISTING: u64 = 36;
/// How much is read at most in a second of an asset that is compared: a disk hardly notices.
const SCRUB_BYTES_PER_SECOND: u64 = 8 << 20;
/// Bytes without a record that are remembered. There are hardly ever any; those beyond are found later.
const ORPHANS_MAX: usize = 65_536;

const _: () =
    assert!(chat::SLOTS.is_multiple_of(SLOTS_AT_ONCE), "a round is a whole number of steps");

/// What one sweeper remembers between rounds.
#[derive(Default)]
struct Memory {
    round: u64,
    /// Bytes that no record speaks of, since when.
    orphans: BTreeMap<AssetId, Instant>,
}

impl Assets {
    /// Goes round for ever.
    pub(crate) async fn sweep(self) {
        let mut memory = Memory::default();
        let steps = u32::from(chat::SLOTS / SLOTS_AT_ONCE);
        let pause = Duration::from_secs(self.ports.settings.sweep_seconds) / steps;
        loop {
            for first in (0..chat::SLOTS).step_by(usize::from(SLOTS_AT_ONCE)) {
                sleep(pause).await;
                for slot in first..first + SLOTS_AT_ONCE {
                    self.sweep_slot(slot, memory.round).await;
                }
            }
            self.sweep_uploads().await;
            self.sweep_orphans(&mut memory.orphans).await;
            if memory.round.is_multiple_of(ROUNDS_PER_LISTING) {
                self.sweep_store().await;
            }
            memory.round += 1;
        }
    }

    async fn sweep_slot(&self, slot: u16, round: u64) {
        if !(self.ports.placement)(slot).contains(&self.ports.node) {
            return;
        }
        let assets = match self.ports.replica.assets_of(slot) {
            Ok(assets) => assets,
            // The same tables serve the shard's machine, which stops the process at its next write.
            Err(error) => return tracing::error!(%error, slot, "assets cannot be listed"),
        };
        let leads = (self.ports.leads)(slot);
        for (id, asset) in assets {
            if leads && asset.grants.is_empty() && self.is_over(asset.created_at) {
                self.let_go(id, &asset).await;
            } else if self.age_of(asset.created_at) >= MEND_AFTER {
                let is_due = u64::from(id.as_bytes()[0]) % ROUNDS_PER_SCRUB;
                self.look_after(id, &asset, is_due == round % ROUNDS_PER_SCRUB).await;
            }
        }
        if leads {
            self.settle_storage(slot).await;
        }
    }

    fn age_of(&self, at: Timestamp) -> Duration {
        Duration::from_millis(self.ports.clock.now().0.saturating_sub(at.0))
    }

    /// Whether what began then and came to nothing is to be forgotten.
    pub(super) fn is_over(&self, at: Timestamp) -> bool {
        self.age_of(at) >= self.unsent()
    }

    pub(super) fn unsent(&self) -> Duration {
        Duration::from_secs(self.ports.settings.unsent_seconds)
    }

    /// Deletes an asset that was never sent, unless it is being sent at this very moment: the log decides.
    async fn let_go(&self, id: AssetId, asset: &Asset) {
        let now = self.ports.clock.now().0;
        let unsent = u64::try_from(self.unsent().as_millis()).unwrap_or(u64::MAX);
        let created_before = Timestamp(now.saturating_sub(unsent).saturating_add(1));
        let command = AssetCommand::Delete { created_before };
        let command = proto::encode_asset_command(id, &command);
        let proposed = propose(&self.ports.router, id.slot(), command).await;
        if matches!(&proposed, Ok(proposed) if matches!(proposed.outcome, Outcome::Accepted(_))) {
            metrics::counter!("synod_assets_expired_total").increment(1);
            tracing::info!(%id, "an asset that was never sent is deleted");
            self.forget(id, &asset.owner).await;
        }
    }

    /// What the users of this slot keep and that does not exist any more, or never came to be, counts no longer.
    async fn settle_storage(&self, slot: u16) {
        let kept = match self.ports.replica.kept_of(slot) {
            Ok(kept) => kept,
            Err(error) => return tracing::error!(%error, slot, "quotas cannot be listed"),
        };
        for (user, id, kept) in kept {
            if self.is_over(kept.at) && self.is_nothing(id).await {
                // What fails is found in the next round.
                let _ = self.release(&user, id).await;
            }
        }
    }

    /// Whether there is certainly no such asset.
    pub(super) async fn is_nothing(&self, id: AssetId) -> bool {
        let there = |this: &Self| !matches!(this.ports.replica.asset(id), Ok(None));
        if there(self) {
            return false;
        }
        self.freshen(id.slot()).await.is_ok() && !there(self)
    }

    /// Has this node's copy as it should be.
    async fn look_after(&self, id: AssetId, asset: &Asset, read_it: bool) {
        let here = self.ports.local.open(id).await.ok().flatten();
        if asset.holders.contains(&Holder::STORE) {
            // Of an upload whose last step this node did not live to do.
            if here.is_some() && self.ports.objects.is_some() {
                self.drop_copy(id).await;
            }
            return;
        }
        let suspected = self.state.suspects.lock().remove(&id);
        let sound = match here {
            Some(blob) if blob.bytes() != asset.size => false,
            Some(blob) if read_it || suspected => self.is_sound(&blob, asset.sha256).await,
            Some(_) => true,
            None => false,
        };
        if !sound && !self.fetch(id, asset).await {
            return;
        }
        if !asset.holders.contains(&Holder(self.ports.node)) {
            self.add_holder(id, self.ports.node).await;
        }
    }

    /// Reads all of it, slowly.
    async fn is_sound(&self, blob: &Blob, sha256: Digest) -> bool {
        let mut hash = Context::new(&SHA256);
        let mut offset = 0;
        while offset < blob.bytes() {
            let left = usize::try_from(blob.bytes() - offset).unwrap_or(usize::MAX);
            let length = left.min(PIECE_BYTES);
            let Some(piece) = self.ports.local.read(blob, offset, length).await else {
                return false;
            };
            hash.update(&piece);
            offset += length as u64;
            sleep(
                Duration::from_secs(1) * u32::try_from(length).unwrap_or(u32::MAX)
                    / u32::try_from(SCRUB_BYTES_PER_SECOND).unwrap_or(u32::MAX),
            )
            .await;
        }
        hash.finish().as_ref() == sha256.0
    }

    /// Copies an asset from the others over whatever is here. `false` when it cannot be had now.
    async fn fetch(&self, id: AssetId, asset: &Asset) -> bool {
        let mut reading = self.elsewhere(id, asset);
        let Ok(mut intake) = Intake::begin(&self.ports.local, id).await else { return false };
        while let Some(piece) = reading.next().await {
            let Ok(piece) = piece else { return false };
            if intake.add(&piece).await.is_err() {
                return false;
            }
        }
        let sound = matches!(intake.digest().await, Ok(digest) if digest == asset.sha256);
        let kept = sound && intake.keep().await.is_ok();
        metrics::counter!("synod_assets_mended_total", "kept" => if kept { "yes" } else { "no" })
            .increment(1);
        tracing::info!(%id, kept, "an asset that was missing here is fetched from others");
        kept
    }

    /// Lets go of bytes that no record has spoken of for long.
    async fn sweep_orphans(&self, orphans: &mut BTreeMap<AssetId, Instant>) {
        let Ok(ids) = self.ports.local.ids().await else { return };
        let nothing = |id: &AssetId| matches!(self.ports.replica.asset(*id), Ok(None));
        let found: Vec<AssetId> = ids.into_iter().filter(nothing).take(ORPHANS_MAX).collect();
        orphans.retain(|id, _| found.contains(id));
        for id in found {
            let since = *orphans.entry(id).or_insert_with(Instant::now);
            if since.elapsed() >= self.unsent()
                && self.is_nothing(id).await
                && !self.ports.local.is_announced(id).await
                && self.ports.local.remove(id).await.is_ok()
            {
                tracing::info!(%id, "bytes without a record are removed");
                orphans.remove(&id);
            }
        }
    }
}
