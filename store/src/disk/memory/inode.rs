//! One file of the simulated disk: what a program sees, what the platter holds, and which blocks
//! differ.
//!
//! The unit of the page cache is a block, the unit that a disk writes at once is a sector.

use std::collections::BTreeSet;
use std::io;

const BLOCK: usize = 4096;
const SECTOR: usize = 512;

/// A small generator, so that a power loss is a function of its seed.
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Default)]
pub(super) struct Inode {
    cached: Vec<u8>,
    platter: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// Open handles of the present life.
    pub(super) handles: u32,
}

impl Inode {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { platter: bytes.clone(), cached: bytes, dirty: BTreeSet::new(), handles: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn platter(&self) -> &[u8] {
        &self.platter
    }

    pub(super) fn read(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let eof = io::ErrorKind::UnexpectedEof;
        let start = usize::try_from(offset).map_err(|_| eof)?;
        let end = start.checked_add(into.len()).ok_or(eof)?;
        into.copy_from_slice(self.cached.get(start..end).ok_or(eof)?);
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let start = usize::try_from(offset).expect("simulated files fit in memory");
        let end = start + bytes.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[start..end].copy_from_slice(bytes);
        if end > start {
            self.dirty.extend(start / BLOCK..=(end - 1) / BLOCK);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let len = usize::try_from(len).expect("simulated files fit in memory");
        self.cached.resize(len, 0);
    }

    pub(super) fn sync(&mut self) {
        self.platter.resize(self.cached.len(), 0);
        for block in std::mem::take(&mut self.dirty) {
            let range = range_of(block, BLOCK, self.cached.len());
            self.platter[range.clone()].copy_from_slice(&self.cached[range]);
        }
    }

    /// What Linux does with pages whose write failed: they count as clean.
    pub(super) fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    pub(super) fn damage(&mut self, offset: u64, mask: u8) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::NotFound)?;
        *self.cached.get_mut(at).ok_or(io::ErrorKind::NotFound)? ^= mask;
        if let Some(byte) = self.platter.get_mut(at) {
            *byte ^= mask;
        }
        Ok(())
    }

    pub(super) fn lose_power(&mut self, random: &mut SplitMix) {
        if self.platter.len() != self.cached.len() && random.below(2) == 1 {
            self.platter.resize(self.cached.len(), 0);
        }
        for block in std::mem::take(&mut self.dirty) {
            let fate = random.below(3);
            let sectors = random.next();
            for sector in 0..BLOCK / SECTOR {
                let kept = fate == 1 || (fate == 2 && sectors >> sector & 1 == 1);
                let limit = self.cached.len().min(self.platter.len());
                let range = range_of(block * (BLOCK / SECTOR) + sector, SECTOR, limit);
                if kept {
                    self.platter[range.clone()].copy_from_slice(&self.cached[range]);
                }
            }
        }
        self.cached.clone_from(&self.platter);
    }
}

/// Bytes of the unit `number` of `size` bytes, cut at `limit`.
fn range_of(number: usize, size: usize, limit: usize) -> std::ops::Range<usize> {
    let start = (number * size).min(limit);
    start..(start + size).min(limit)
}
