//! The manifest of a backup. Field names are the format; they are never renamed, and nothing here is secret: what the
//! cluster's state holds of secrets lies in sealed chunks.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::DecodeError;

/// Names the format for readers.
pub const SCHEMA: &str = "synod/backup/v1";
/// The one version that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;
/// Longest manifest: some 300,000 chunks, which is 300 GB of rows. Read whole, hence bounded.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// Longest chunk, sealed: one row may be 16 MiB, and a chunk holds at least one row.
pub const CHUNK_BYTES_MAX: u64 = 32 << 20;
/// Groups of a cluster, group 0 included.
const GROUPS_MAX: usize = 257;

/// The name of a chunk: 32 bytes, in text hexadecimal. No text that is none ever becomes a part of a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub [u8; 32]);

/// Names a backup within its folder; the order of names is the order of their times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BackupId(String);

/// Why a text is no name of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a backup is named by 1 to {} of 0-9 A-Z a-z and '-'", BackupId::BYTES_MAX)]
pub struct BackupIdError;

/// A chunk of rows or assets, as the manifest lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Its name.
    pub name: Name,
    /// Bytes of its file.
    pub bytes: u64,
    /// SHA-256 of its file, for whoever checks a copy without the key.
    pub sha256: Name,
}

/// What of one Raft group is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPart {
    /// Which; 0 is the cluster's own.
    pub group: u32,
    /// Its slots, `first..end`; nothing of group 0.
    pub first_slot: u16,
    /// The first slot that is not its any more.
    pub end_slot: u16,
    /// The term of the last entry that is in its conversations.
    pub term: u64,
    /// The index of that entry.
    pub index: u64,
    /// The index of the last entry that is in its users and assets; never below `index`.
    pub users_index: u64,
    /// How many rows there are.
    pub rows: u64,
    /// The rows of conversations and what is owed, then those of users and assets.
    pub chunks: Vec<ChunkRef>,
}

/// What of assets is in a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetPart {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of how many nobody had the bytes.
    pub missing: u64,
    /// Lists of assets.
    pub chunks: Vec<ChunkRef>,
}

/// How large a backup is, and how much of it was not in the folder before. Bytes are those of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Chunks, those of assets included.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Chunks that this backup wrote.
    pub new_chunks: u64,
    /// Their bytes.
    pub new_bytes: u64,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`FORMAT_VERSION`].
    pub version: u32,
    /// Its name.
    pub id: BackupId,
    /// The cluster that it is of.
    pub cluster: String,
    /// That cluster's history epoch.
    pub history_epoch: u64,
    /// The node that made it.
    pub node: u64,
    /// When it was begun, milliseconds since 1970. What was acknowledged before is in it.
    pub begun_at_ms: u64,
    /// When it was done.
    pub ended_at_ms: u64,
    /// Tells the backup key from others, hexadecimal.
    pub key: String,
    /// Every group, ascending.
    pub groups: Vec<GroupPart>,
    /// Assets.
    pub assets: AssetPart,
    /// Sizes.
    pub totals: Totals,
}

impl Manifest {
    /// The part of a group.
    #[must_use]
    pub fn group(&self, group: u32) -> Option<&GroupPart> {
        self.groups.iter().find(|part| part.group == group)
    }

    /// Every chunk that it lists itself; those of assets' bytes are in its lists of assets.
    pub fn chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        self.groups.iter().flat_map(|part| &part.chunks).chain(&self.assets.chunks)
    }

    fn check(&self) -> Result<(), DecodeError> {
        let require = |holds, field| {
            if holds { Ok(()) } else { Err(DecodeError::new(field, "out of bounds")) }
        };
        let groups: BTreeSet<u32> = self.groups.iter().map(|part| part.group).collect();
        let ascending = self.groups.windows(2).all(|pair| pair[0].group < pair[1].group);
        require(ascending && groups.len() <= GROUPS_MAX, "manifest.groups")?;
        require(groups.contains(&0), "manifest.groups")?;
        for part in &self.groups {
            require(part.first_slot <= part.end_slot, "manifest.groups.slots")?;
            require(part.end_slot <= chat::SLOTS, "manifest.groups.slots")?;
            require(part.index <= part.users_index, "manifest.groups.index")?;
            require(part.users_index < 1 << 62, "manifest.groups.index")?;
        }
        require(self.chunks().all(|chunk| chunk.bytes <= CHUNK_BYTES_MAX), "manifest.chunks.bytes")
    }
}

/// The bytes of a manifest: JSON in lines.
#[must_use]
pub fn encode_manifest(manifest: &Manifest) -> Bytes {
    serde_json::to_vec_pretty(manifest).expect("text keys and no fallible parts").into()
}

/// The manifest that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are none, of another version (`manifest.version`), or out of bounds.
pub fn decode_manifest(bytes: &[u8]) -> Result<Manifest, DecodeError> {
    #[derive(Deserialize)]
    struct Version {
        schema: String,
        version: u32,
    }
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(DecodeError::new("manifest", "too long"));
    }
    // First, so that a later version is told as such and not as a field that is missing.
    let found: Version = serde_json::from_slice(bytes).map_err(DecodeError::of("manifest"))?;
    if found.schema != SCHEMA || found.version != FORMAT_VERSION {
        let found = format!(
            "{} version {}, not {SCHEMA} version {FORMAT_VERSION}",
            found.schema, found.version
        );
        return Err(DecodeError::new("manifest.version", found));
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(DecodeError::of("manifest"))?;
    manifest.check()?;
    Ok(manifest)
}

impl BackupId {
    /// Longest name: far above a time and a node.
    pub const BYTES_MAX: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupId {
    type Err = BackupIdError;

    fn from_str(text: &str) -> Result<Self, BackupIdError> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let fits = (1..=Self::BYTES_MAX).contains(&text.len());
        if plain && fits { Ok(Self(text.to_owned())) } else { Err(BackupIdError) }
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BackupId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let mut name = [0; 32];
        let digits = text.as_bytes();
        let lower = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        if digits.len() != 2 * name.len() || !digits.iter().all(lower) {
            return None;
        }
        for (byte, pair) in name.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(name))
    }
}

impl FromStr for Name {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        Self::parse(text).ok_or_else(|| DecodeError::new("name", "not 64 hexadecimal digits"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest() -> Manifest {
        let chunk = ChunkRef { name: Name([1; 32]), bytes: 9, sha256: Name([2; 32]) };
        let part = |group| GroupPart {
            group,
            first_slot: 0,
            end_slot: 16,
            term: 3,
            index: 7,
            users_index: 8,
            rows: 5,
            chunks: vec![chunk],
        };
        Manifest {
            schema: SCHEMA.into(),
            version: FORMAT_VERSION,
            id: "20261123T030000Z-n1".parse().expect("legal"),
            cluster: "demo".into(),
            history_epoch: 0,
            node: 1,
            begun_at_ms: 1,
            ended_at_ms: 2,
            key: "00".into(),
            groups: vec![part(0), part(1)],
            assets: AssetPart { chunks: vec![chunk], ..AssetPart::default() },
            totals: Totals::default(),
        }
    }

    #[test]
    fn a_manifest_survives_its_bytes() {
        let manifest = manifest();
        assert_eq!(decode_manifest(&encode_manifest(&manifest)), Ok(manifest));
    }

    #[test]
    fn another_version_is_told_as_such() {
        let later = Manifest { version: 2, ..manifest() };
        let refused = decode_manifest(&encode_manifest(&later)).expect_err("not ours");
        assert_eq!(refused.field, "manifest.version");
        let bare = br#"{"schema":"synod/backup/v9","version":1}"#;
        assert_eq!(decode_manifest(bare).expect_err("not ours").field, "manifest.version");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |manifest: &Manifest| {
            decode_manifest(&encode_manifest(manifest)).expect_err("it cannot be").field
        };
        let mut twice = manifest();
        twice.groups[1].group = 0;
        assert_eq!(refused(&twice), "manifest.groups");
        let mut beyond = manifest();
        beyond.groups[1].end_slot = chat::SLOTS + 1;
        assert_eq!(refused(&beyond), "manifest.groups.slots");
        let mut behind = manifest();
        behind.groups[1].users_index = 6;
        assert_eq!(refused(&behind), "manifest.groups.index");
        let mut vast = manifest();
        vast.assets.chunks[0].bytes = CHUNK_BYTES_MAX + 1;
        assert_eq!(refused(&vast), "manifest.chunks.bytes");
    }

    #[test]
    fn no_name_is_a_path() {
        for wrong in ["", "..", "a/b", "a.b", " a", &"a".repeat(65)] {
            assert!(wrong.parse::<BackupId>().is_err(), "{wrong}");
        }
        for wrong in ["", "../../etc/passwd", &"A".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
        let name = Name([0xa5; 32]);
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in crate::arbitrary::text(60)) {
            let _ = decode_manifest(text.as_bytes());
            let _ = text.parse::<Name>();
            let _ = text.parse::<BackupId>();
        }
    }
}
