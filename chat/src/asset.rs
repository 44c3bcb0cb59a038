//! The asset machines: what is known of a file that messages refer to, and how much of such a user keeps.
//!
//! The bytes themselves never come in here. A record says whose they are, how they hash, which holders have them on
//! stable storage, and to which conversations the asset was sent; who may read it follows from that and from the
//! membership of those conversations at the moment of reading. A record lives in the shard of its own id, and what a
//! user keeps in the user's shard, so a quota is reserved there before a record is made here.

mod storage;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

pub use storage::{Kept, Storage, StorageCommand, apply_storage};

use crate::chain::Digest;
use crate::hex;
use crate::id::{IdError, UserId};
use crate::limits::{GRANTS_MAX, HOLDERS_MAX, MEDIA_TYPE_BYTES_MAX};
use crate::number::Timestamp;
use crate::outcome::{Conflict, Outcome, Place, Refusal};
use crate::slot::{ConversationId, slot_of};

/// The id of an asset: 128 random bits, 32 lowercase hexadecimal digits as text. Nobody can guess one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId([u8; 16]);

impl AssetId {
    /// The id of these bytes; every 16 bytes are one.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The slot of its record.
    pub fn slot(&self) -> u16 {
        slot_of(&self.0)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads back what [`AssetId::as_bytes`] gave.
    ///
    /// # Errors
    /// When these are not 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError::NotHex)
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, out)
    }
}

impl fmt::Debug for AssetId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, out)
    }
}

impl FromStr for AssetId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        hex::read(text).map(Self).ok_or(IdError::NotHex)
    }
}

/// Somewhere that has the bytes on stable storage. What it is, is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(pub u64);

impl Holder {
    /// The object store that all nodes share. No node has this number.
    pub const STORE: Self = Self(0);
}

/// What is known of an asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Who uploaded it.
    pub owner: UserId,
    /// How many bytes it has.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// The type that its owner declared.
    pub media_type: String,
    /// When the record was made.
    pub created_at: Timestamp,
    /// Who has the bytes.
    pub holders: BTreeSet<Holder>,
    /// The conversations that it was sent to. A grant is never taken back.
    pub grants: BTreeSet<ConversationId>,
}

/// One request to the record of an asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssetCommand {
    /// Make the record; the bytes are on the stable storage of all `holders`.
    Create {
        /// Whose it is.
        owner: UserId,
        /// How many bytes.
        size: u64,
        /// Their SHA-256.
        sha256: Digest,
        /// The declared type.
        media_type: String,
        /// Who has them.
        holders: BTreeSet<Holder>,
    },
    /// It is about to be sent to a conversation by somebody who may read it, which was settled before.
    Grant {
        /// Where to.
        conversation: ConversationId,
        /// By whom.
        by: UserId,
    },
    /// One more has the bytes.
    AddHolder {
        /// Who.
        holder: Holder,
    },
    /// Nobody refers to it: take the record away if it is older than this.
    Delete {
        /// Only what was made before.
        created_before: Timestamp,
    },
}

/// A decision about an asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedAsset {
    /// For whoever asked.
    pub outcome: Outcome,
    /// Whether the record differs from before; one that is absent now has its row deleted.
    pub changed: bool,
}

/// Decides one command about an asset. Total, like [`apply`](crate::apply). `this` is `None` while there is no record.
pub fn apply_asset(
    this: &mut Option<Asset>,
    at: Timestamp,
    command: &AssetCommand,
) -> AppliedAsset {
    let before = this.clone();
    let outcome = match (this.as_mut(), command) {
        (existing, AssetCommand::Create { owner, size, sha256, media_type, holders }) => {
            let new = Asset {
                owner: owner.clone(),
                size: *size,
                sha256: *sha256,
                media_type: media_type.clone(),
                created_at: at,
                holders: holders.clone(),
                grants: BTreeSet::new(),
            };
            match existing {
                Some(existing) => again(existing, &new),
                None => create(this, new),
            }
        }
        (None, _) => Outcome::Refused(Refusal::NoSuchAsset),
        (Some(asset), AssetCommand::Grant { conversation, by }) => {
            grant(asset, at, *conversation, by)
        }
        (Some(asset), AssetCommand::AddHolder { holder }) => add_holder(asset, at, *holder),
        (Some(asset), AssetCommand::Delete { created_before }) => {
            let deletable = asset.grants.is_empty() && asset.created_at < *created_before;
            if deletable {
                *this = None;
                accepted(at)
            } else {
                Outcome::Refused(Refusal::NotAllowed)
            }
        }
    };
    let changed = before != *this;
    let is_accepted = matches!(outcome, Outcome::Accepted(_));
    assert!(is_accepted || !changed, "only the accepted is written");
    if let (Some(before), Some(after)) = (&before, &this) {
        assert!(before.grants.is_subset(&after.grants), "a grant is never taken back");
        assert!(before.sha256 == after.sha256 && before.owner == after.owner, "bytes never change");
    }
    AppliedAsset { outcome, changed }
}

fn create(this: &mut Option<Asset>, new: Asset) -> Outcome {
    if new.media_type.len() > MEDIA_TYPE_BYTES_MAX {
        return Outcome::Refused(Refusal::TooLarge { limit: MEDIA_TYPE_BYTES_MAX as u64 });
    }
    if new.holders.is_empty() || new.holders.len() > HOLDERS_MAX {
        return Outcome::Refused(Refusal::NotAllowed);
    }
    let at = new.created_at;
    *this = Some(new);
    accepted(at)
}

/// The same creation twice is one creation; another one under the same id is somebody else's.
fn again(existing: &Asset, new: &Asset) -> Outcome {
    let same = existing.owner == new.owner
        && existing.size == new.size
        && existing.sha256 == new.sha256
        && existing.media_type == new.media_type;
    match same {
        true => Outcome::Duplicate(Place { at: existing.created_at, ..Place::default() }),
        false => Outcome::Conflict(Conflict::MessageIdUsed),
    }
}

fn grant(this: &mut Asset, at: Timestamp, id: ConversationId, by: &UserId) -> Outcome {
    if this.grants.is_empty() && *by != this.owner {
        // Nobody else can have had the right to hand on.
        return Outcome::Refused(Refusal::AssetNotAccessible);
    }
    if this.grants.contains(&id) {
        return accepted(at);
    }
    if this.grants.len() >= GRANTS_MAX {
        return Outcome::Refused(Refusal::TooManyGrants { limit: GRANTS_MAX as u64 });
    }
    this.grants.insert(id);
    accepted(at)
}

fn add_holder(this: &mut Asset, at: Timestamp, holder: Holder) -> Outcome {
    if this.holders.len() >= HOLDERS_MAX && !this.holders.contains(&holder) {
        return Outcome::Refused(Refusal::NotAllowed);
    }
    this.holders.insert(holder);
    accepted(at)
}

fn accepted(at: Timestamp) -> Outcome {
    Outcome::Accepted(Place { at, ..Place::default() })
}

#[cfg(test)]
mod tests;
