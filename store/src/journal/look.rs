//! Looks at the journal of a node that does not run, and changes nothing: no lock file is made, no tail is cut, nothing is
//! written again. What is told is what a start would find.

use std::collections::BTreeMap;

use super::found::FoundGroup;
use super::recovery;
use super::{JournalConfig, LogPosition};
use crate::disk::Disk;
use crate::error::StoreError;

/// A journal as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSeen {
    /// Cluster and node to which the folder belongs.
    pub identity: [u8; 16],
    /// Number and bytes of each segment file, the oldest first.
    pub segments: Vec<(u32, u64)>,
    /// The oldest segment that is still needed.
    pub oldest: u32,
    /// Each group that ever wrote something.
    pub groups: BTreeMap<u32, GroupSeen>,
}

/// A group's log as it lies there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSeen {
    /// Index of the first entry, or of the next one when there is none.
    pub first: u64,
    /// The last entry, or the purged position when there is none.
    pub last: Option<LogPosition>,
    /// Up to here entries were purged.
    pub purged: Option<LogPosition>,
    /// How many entries there are.
    pub entries: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// Looks at the journal in `disk`'s folder. Whoever has it open keeps it: then this is refused.
///
/// # Errors
/// [`StoreError::Locked`] while a node runs there; [`StoreError::Corrupt`] and [`StoreError::WrongVersion`] as a start
/// would tell; or the folder cannot be read.
pub fn look(disk: &dyn Disk) -> Result<JournalSeen, StoreError> {
    let _lock = disk.lock("LOCK").map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => StoreError::Locked { path: disk.location() },
        _ => StoreError::while_doing("lock", disk.location(), &error),
    })?;
    let identity = recovery::identity(disk)?;
    let seen = recovery::read(disk, &JournalConfig::new(identity))?;
    let group = |found: &FoundGroup| GroupSeen {
        first: found.written.first,
        last: found.written.last,
        purged: found.written.purged,
        entries: found.written.entries(),
        bytes: found.slots.iter().map(|slot| u64::from(slot.place.bytes)).sum(),
    };
    Ok(JournalSeen {
        identity,
        segments: seen.segments,
        oldest: seen.oldest,
        groups: seen.groups.iter().map(|(id, found)| (*id, group(found))).collect(),
    })
}
