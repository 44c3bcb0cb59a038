//! How much a user keeps: a total, and a line for each asset that counts. The lines make it repeatable: reserving twice
//! counts once, and what was never reserved is not released.

use crate::limits::CHARGE_BYTES_MIN;
use crate::number::Timestamp;
use crate::outcome::{Conflict, Outcome, Place, Refusal};

/// What a user keeps in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Bytes that count.
    pub bytes: u64,
    /// How many assets.
    pub assets: u64,
}

/// One asset that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Bytes that count for it: at least [`CHARGE_BYTES_MIN`].
    pub bytes: u64,
    /// Since when.
    pub at: Timestamp,
}

/// One request about what a user keeps, for one asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageCommand {
    /// An asset of this size is about to be made.
    Reserve {
        /// Its bytes.
        size: u64,
        /// What the user may keep in all, as the proposer is configured.
        limit: u64,
    },
    /// It is gone, or was never made.
    Release,
}

/// Decides one command. `kept` is the line of the asset that it is about. Both are as they should be afterwards.
pub fn apply_storage(
    this: &mut Storage,
    kept: &mut Option<Kept>,
    at: Timestamp,
    command: &StorageCommand,
) -> Outcome {
    let place = Place { at, ..Place::default() };
    match (*command, *kept) {
        (StorageCommand::Reserve { size, .. }, Some(before)) => {
            match charge(size) == before.bytes {
                true => Outcome::Duplicate(Place { at: before.at, ..Place::default() }),
                false => Outcome::Conflict(Conflict::MessageIdUsed),
            }
        }
        (StorageCommand::Reserve { size, limit }, None) => {
            let bytes = charge(size);
            if this.bytes.saturating_add(bytes) > limit {
                return Outcome::Refused(Refusal::QuotaExceeded { limit });
            }
            this.bytes += bytes;
            this.assets += 1;
            *kept = Some(Kept { bytes, at });
            Outcome::Accepted(place)
        }
        (StorageCommand::Release, Some(before)) => {
            assert!(this.bytes >= before.bytes && this.assets > 0, "what is kept was counted");
            this.bytes -= before.bytes;
            this.assets -= 1;
            *kept = None;
            assert!(this.assets > 0 || this.bytes == 0, "nothing kept is nothing counted");
            Outcome::Accepted(place)
        }
        (StorageCommand::Release, None) => Outcome::Accepted(place),
    }
}

fn charge(size: u64) -> u64 {
    size.max(CHARGE_BYTES_MIN)
}
