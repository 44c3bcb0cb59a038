//! Damage to bytes at rest: one turned bit, a lost tail, a lost file. What was there is kept, so that it can be put back.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::cluster::{Doing as _, Setback};
use crate::dice::Dice;

/// The longest tail that is cut off.
const TAIL_BYTES_MAX: u64 = 64 << 10;
/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 8;

/// What to do to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit is turned, at a place that is not zero.
    Bit,
    /// The end is missing.
    Tail,
    /// The whole file is missing.
    Gone,
}

/// What was done to a file.
#[derive(Debug)]
pub struct Wound {
    /// The file.
    pub path: PathBuf,
    /// Where.
    pub offset: u64,
    damage: Damage,
    was: Vec<u8>,
}

/// All files below a folder whose path within it is accepted, in the order of their names; empty ones are left out.
pub(crate) fn files(folder: &Path, accept: &dyn Fn(&str) -> bool) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    collect(folder, folder, accept, DEPTH_MAX, &mut found);
    found.sort();
    found
}

fn collect(
    root: &Path,
    folder: &Path,
    accept: &dyn Fn(&str) -> bool,
    depth: usize,
    found: &mut Vec<(PathBuf, u64)>,
) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
        if about.is_dir() && depth > 0 {
            collect(root, &path, accept, depth - 1, found);
        } else if about.is_file() && about.len() > 0 {
            let within = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            if accept(&within) {
                found.push((path, about.len()));
            }
        }
    }
}

impl Wound {
    /// Damages a file of `bytes` bytes. Where it is cut or turned is chance, among the bytes that hold something.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds nothing but zeros.
    pub fn inflict(path: &Path, damage: Damage, dice: &mut Dice) -> Result<Self, Setback> {
        let content = fs::read(path).doing(path.display())?;
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used == 0 {
            return Err(Setback::new(format!("{} holds nothing", path.display())));
        }
        let path = path.to_owned();
        let (offset, was) = match damage {
            Damage::Bit => {
                let held: Vec<usize> = (0..used).filter(|at| content[*at] != 0).collect();
                let at = *dice.pick(&held);
                let turned = content[at] ^ (1 << dice.below(8));
                let file = OpenOptions::new().write(true).open(&path).doing(path.display())?;
                file.write_all_at(&[turned], at as u64).doing(path.display())?;
                file.sync_all().doing(path.display())?;
                (at as u64, vec![content[at], turned])
            }
            Damage::Tail => {
                let longest = (used as u64).min(TAIL_BYTES_MAX);
                let cut = used as u64 - 1 - dice.below(longest);
                let file = OpenOptions::new().write(true).open(&path).doing(path.display())?;
                file.set_len(cut).doing(path.display())?;
                file.sync_all().doing(path.display())?;
                (cut, content[usize::try_from(cut).expect("below a length")..].to_vec())
            }
            Damage::Gone => {
                fs::remove_file(&path).doing(path.display())?;
                (0, content)
            }
        };
        Ok(Self { path, offset, damage, was })
    }

    /// Puts back what was there, unless somebody has written there since. Whether it was put back.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn close(&self) -> Result<bool, Setback> {
        let path = &self.path;
        match self.damage {
            Damage::Bit => {
                let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else {
                    return Ok(false);
                };
                let mut now = [0];
                if file.read_exact_at(&mut now, self.offset).is_err() || now[0] != self.was[1] {
                    return Ok(false);
                }
                file.write_all_at(&self.was[..1], self.offset).doing(path.display())?;
                file.sync_all().doing(path.display())?;
            }
            Damage::Tail => {
                let length = fs::metadata(path).map(|about| about.len());
                if length.ok() != Some(self.offset) {
                    return Ok(false);
                }
                let file = OpenOptions::new().write(true).open(path).doing(path.display())?;
                file.write_all_at(&self.was, self.offset).doing(path.display())?;
                file.sync_all().doing(path.display())?;
            }
            Damage::Gone => {
                if path.exists() || path.parent().is_none_or(|folder| !folder.exists()) {
                    return Ok(false);
                }
                fs::write(path, &self.was).doing(path.display())?;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damage_is_seen_and_can_be_put_back() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("0000.segment");
        let mut whole = (0..200_u8).map(|n| n.wrapping_mul(7)).collect::<Vec<_>>();
        whole.extend([0; 4000]);
        for (damage, seed) in
            [(Damage::Bit, 1), (Damage::Tail, 2), (Damage::Gone, 3), (Damage::Bit, 4)]
        {
            fs::write(&path, &whole).expect("a file");
            let wound = Wound::inflict(&path, damage, &mut Dice::new(seed, 0)).expect("a wound");
            assert_ne!(fs::read(&path).ok().as_ref(), Some(&whole), "{damage:?}");
            assert!(wound.offset < 200, "{damage:?} must hit what holds something");
            assert_eq!(wound.close(), Ok(true));
            assert_eq!(fs::read(&path).ok().as_ref(), Some(&whole), "{damage:?}");
        }
    }

    #[test]
    fn what_was_written_since_is_not_overwritten() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("f");
        for damage in [Damage::Bit, Damage::Tail, Damage::Gone] {
            fs::write(&path, [7; 100]).expect("a file");
            let wound = Wound::inflict(&path, damage, &mut Dice::new(1, 0)).expect("a wound");
            fs::write(&path, [9; 300]).expect("a file");
            assert_eq!(wound.close(), Ok(false));
            assert_eq!(fs::read(&path).ok(), Some(vec![9; 300]));
        }
    }

    #[test]
    fn files_are_found_by_their_place_and_empty_ones_are_not() {
        let home = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(home.path().join("journal/a")).expect("a folder");
        for (name, bytes) in [("journal/a/1", "x"), ("journal/2", ""), ("tables", "y")] {
            fs::write(home.path().join(name), bytes).expect("a file");
        }
        let found = files(home.path(), &|path| path.starts_with("journal"));
        assert_eq!(found, vec![(home.path().join("journal/a/1"), 1)]);
    }
}
