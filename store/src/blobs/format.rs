//! The file of a blob: a header, then segments of one length but for the last. Where a segment lies follows from its
//! number; what it is (in the middle, the last, the end of a draft) is authenticated with it and not written.
//!
//! ```text
//! 0    7 bytes magic, 1 byte version, 1 byte: 1 = sealed, 7 bytes zero
//! 16   segments: up to 64 KiB of bytes and what sealing adds (33 bytes), or a CRC-32C (4 bytes)
//! ```

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::journal::RecordSeal;
use crate::seal::SEALED_BYTES_MORE;

/// Plain bytes of one segment: small enough that a short piece costs little, large enough that the sealing's 33 bytes
/// and one system call for each do not matter.
pub const SEGMENT_BYTES: usize = 64 << 10;

pub(super) const HEADER_BYTES: u64 = 16;
const MAGIC: &[u8; 7] = b"SYNBLOB";
const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;

/// What a segment is. The end of a draft becomes the last one by being written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Others follow.
    Middle,
    /// None follows.
    Last,
    /// The draft was paused here.
    Paused,
}

/// How a blob's segments are written and read.
#[derive(Clone)]
pub(super) struct Frame {
    pub(super) name: Arc<str>,
    pub(super) seal: Option<Arc<dyn RecordSeal>>,
}

/// Where the segments of a whole blob lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) bytes: u64,
    pub(super) segments: u64,
}

impl Layout {
    /// Plain bytes of one segment.
    pub(super) fn length_of(&self, index: u64) -> usize {
        let before = index * SEGMENT_BYTES as u64;
        let rest = usize::try_from(self.bytes - before).unwrap_or(usize::MAX);
        rest.min(SEGMENT_BYTES)
    }
}

impl Frame {
    pub(super) fn header(&self) -> [u8; HEADER_BYTES as usize] {
        let mut header = [0; HEADER_BYTES as usize];
        header[..7].copy_from_slice(MAGIC);
        header[7] = VERSION;
        header[8] = u8::from(self.seal.is_some());
        header
    }

    pub(super) fn check_header(&self, file: &dyn DiskFile) -> Result<(), StoreError> {
        let mut header = [0; HEADER_BYTES as usize];
        file.read_at(&mut header, 0).map_err(|error| self.failed("read", &error))?;
        if header[..7] != *MAGIC {
            return Err(self.damaged(0, "this is no blob"));
        }
        if header[7] != VERSION {
            let (found, expected) = (u32::from(header[7]), u32::from(VERSION));
            return Err(StoreError::WrongVersion { file: self.file(), found, expected });
        }
        if header != self.header() {
            return Err(self.damaged(8, "it is sealed, or not, as this node is not"));
        }
        Ok(())
    }

    /// What a file of this length holds, if it is whole.
    pub(super) fn layout(&self, length: u64) -> Result<Layout, StoreError> {
        let body = length.checked_sub(HEADER_BYTES);
        let body = body.ok_or_else(|| self.damaged(length, "it ends within its header"))?;
        let (full, rest) = (body / self.stride(), body % self.stride());
        let more = self.more() as u64;
        let bytes = full * SEGMENT_BYTES as u64;
        match rest {
            0 if full > 0 => Ok(Layout { bytes, segments: full }),
            rest if rest > more || (rest == more && full == 0) => {
                Ok(Layout { bytes: bytes + rest - more, segments: full + 1 })
            }
            _ => Err(self.damaged(length, "it ends within a segment")),
        }
    }

    /// Where a segment begins.
    pub(super) fn place(&self, index: u64) -> u64 {
        HEADER_BYTES + index * self.stride()
    }

    fn stride(&self) -> u64 {
        (SEGMENT_BYTES + self.more()) as u64
    }

    /// How much longer a segment is than its plain bytes.
    pub(super) fn more(&self) -> usize {
        if self.seal.is_some() { SEALED_BYTES_MORE } else { CRC_BYTES }
    }

    pub(super) fn write(
        &self,
        file: &dyn DiskFile,
        index: u64,
        plain: &[u8],
        role: Role,
    ) -> Result<u64, StoreError> {
        assert!(plain.len() <= SEGMENT_BYTES, "a segment has a limit");
        assert!(role != Role::Middle || plain.len() == SEGMENT_BYTES, "only the end is short");
        let place = self.place(index);
        self.write_at(file, place, &self.name_of(index, role), plain)
    }

    /// A segment that is the whole of a file.
    pub(super) fn write_alone(
        &self,
        file: &dyn DiskFile,
        index: u64,
        plain: &[u8],
    ) -> Result<u64, StoreError> {
        self.write_at(file, 0, &self.name_of(index, Role::Paused), plain)
    }

    /// Reads back what [`Frame::write_alone`] wrote under the same number.
    pub(super) fn read_alone(
        &self,
        file: &dyn DiskFile,
        index: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        self.read_at(file, 0, &self.name_of(index, Role::Paused), length)
    }

    fn write_at(
        &self,
        file: &dyn DiskFile,
        place: u64,
        name: &[u8],
        plain: &[u8],
    ) -> Result<u64, StoreError> {
        let written = match &self.seal {
            Some(seal) => seal.seal(name, plain),
            None => [plain, &crc(name, plain).to_be_bytes()].concat(),
        };
        file.write_at(&written, place).map_err(|error| self.failed("write", &error))?;
        Ok(place + written.len() as u64)
    }

    pub(super) fn read(
        &self,
        file: &dyn DiskFile,
        index: u64,
        length: usize,
        role: Role,
    ) -> Result<Vec<u8>, StoreError> {
        self.read_at(file, self.place(index), &self.name_of(index, role), length)
    }

    fn read_at(
        &self,
        file: &dyn DiskFile,
        place: u64,
        name: &[u8],
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let mut written = vec![0; length + self.more()];
        file.read_at(&mut written, place).map_err(|error| self.failed("read", &error))?;
        let altered = || self.damaged(place, "a segment is not what was written there");
        match &self.seal {
            // Which key it was is known to the sealer alone; for a blob it is damage either way.
            Some(seal) => seal.open(name, &written).map_err(|_| altered()),
            None => {
                let check = written.split_off(length);
                let sound = check == crc(name, &written).to_be_bytes();
                if sound { Ok(written) } else { Err(altered()) }
            }
        }
    }

    fn name_of(&self, index: u64, role: Role) -> Vec<u8> {
        let role = match role {
            Role::Middle => "middle",
            Role::Last => "last",
            Role::Paused => "paused",
        };
        format!("synod blob {} {index} {role}", self.name).into_bytes()
    }

    fn file(&self) -> String {
        format!("assets/{}", self.name)
    }

    pub(super) fn failed(&self, action: &'static str, error: &std::io::Error) -> StoreError {
        StoreError::while_doing(action, self.file(), error)
    }

    fn damaged(&self, offset: u64, what: &str) -> StoreError {
        StoreError::corrupt(self.file(), offset, what)
    }
}

fn crc(name: &[u8], plain: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(name), plain)
}
