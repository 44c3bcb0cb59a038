//! The folder of an engine: whose it is, in which format, and that one process has it.
//!
//! A marker file names engine, format version and whether values are sealed. It is on stable storage
//! before the engine writes its first byte, so a folder with data always tells what it is. It is
//! there because each engine would happily begin an empty database beside another one's files.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Engine;
use crate::StoreError;

/// Version of what this code writes into the folder; a reader of the next version reads this one.
const FORMAT: u32 = 1;
const MARKER: &str = "tables";
const DRAFT: &str = "tables.new";
const LOCK: &str = "lock";

/// A folder that this process alone has open, until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The lock is released when the file closes, at the latest with the process.
    _lock: File,
}

/// What a marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) engine: Engine,
    pub(super) sealed: bool,
}

impl Marker {
    /// What the marker of the folder `path` says.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let file = path.join(MARKER);
        let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, error))?;
        decode(&text).map_err(|error| match error {
            Unreadable::Version(found) => {
                let file = file.display().to_string();
                StoreError::WrongVersion { file, found, expected: FORMAT }
            }
            Unreadable::Damaged => StoreError::corrupt(&file, 0, "no marker of tables"),
        })
    }
}

impl Folder {
    /// Whether another process has the folder. Nothing is made for that.
    pub(super) fn is_locked(path: &Path) -> Result<bool, StoreError> {
        let file = match File::open(path.join(LOCK)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::io(path.join(LOCK), error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(StoreError::io(path.join(LOCK), error)),
        }
    }

    /// Makes or opens the folder, locks it, and checks or writes the marker.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it; [`StoreError::WrongFolder`] or
    /// [`StoreError::WrongVersion`] when it belongs to another engine, format or sealing, saying
    /// what to do; or the disk failed.
    pub(super) fn claim(path: &Path, wanted: &Marker) -> Result<Self, StoreError> {
        let io = |error| StoreError::io(path, error);
        std::fs::create_dir_all(path).map_err(io)?;
        let lock = lock(path)?;
        match std::fs::read_to_string(path.join(MARKER)) {
            Ok(text) => check(path, &text, wanted)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                refuse_foreign_files(path)?;
                write(path, wanted).map_err(io)?;
            }
            Err(error) => return Err(unreadable(&path.join(MARKER), error)),
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The folder, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine keeps its files.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Makes the names in the folder durable, after the engine made its own folder.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| StoreError::io(&self.path, error))
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let path = path.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| StoreError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Locked { path: path.display().to_string() })
        }
        Err(TryLockError::Error(error)) => Err(StoreError::io(&path, error)),
    }
}

/// Why a marker could not be read: what is no text is damage, anything else is the disk's.
fn unreadable(file: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::InvalidData => StoreError::corrupt(file, 0, "no marker of tables"),
        _ => StoreError::io(file, error),
    }
}

/// A folder without a marker must be empty but for what a crash during the first start leaves.
fn refuse_foreign_files(path: &Path) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(path).map_err(|error| StoreError::io(path, error))? {
        let name = entry.map_err(|error| StoreError::io(path, error))?.file_name();
        if name != LOCK && name != DRAFT {
            let what = format!(
                "it holds {name:?} but no marker file, so these are not tables of this program; \
                 choose an empty folder, or restore the marker from a backup"
            );
            return Err(StoreError::WrongFolder { path: path.display().to_string(), what });
        }
    }
    Ok(())
}

fn write(path: &Path, marker: &Marker) -> io::Result<()> {
    let draft = path.join(DRAFT);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&draft)?;
    file.write_all(encode(marker).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path.join(MARKER))?;
    File::open(path)?.sync_all()?;
    crate::seal::sync_parent(path)
}

fn check(path: &Path, text: &str, wanted: &Marker) -> Result<(), StoreError> {
    let wrong = |what| Err(StoreError::WrongFolder { path: path.display().to_string(), what });
    let found = match decode(text) {
        Ok(found) => found,
        Err(Unreadable::Version(found)) => {
            let file = path.join(MARKER).display().to_string();
            return Err(StoreError::WrongVersion { file, found, expected: FORMAT });
        }
        Err(Unreadable::Damaged) => {
            return Err(StoreError::corrupt(path.join(MARKER), 0, "no marker of tables"));
        }
    };
    if found.engine != wanted.engine {
        return wrong(format!(
            "it was written by engine {}, the configuration says {}; set storage.engine = \"{}\" \
             again: a folder keeps its engine",
            found.engine, wanted.engine, found.engine
        ));
    }
    match (found.sealed, wanted.sealed) {
        (true, false) => wrong(
            "its values are sealed and no node key is configured; name the node key file".into(),
        ),
        (false, true) => wrong(
            "its values are not sealed but a node key is configured; a folder is sealed from its \
             first day or not at all: start it without the key"
                .into(),
        ),
        _ => Ok(()),
    }
}

fn encode(marker: &Marker) -> String {
    let sealed = if marker.sealed { "sealed" } else { "plain" };
    format!("synod-tables {FORMAT} {} {sealed}\n", marker.engine)
}

#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    Damaged,
    Version(u32),
}

/// Reads a marker. The version comes first, so that one from the future is recognised.
fn decode(text: &str) -> Result<Marker, Unreadable> {
    let line = text.strip_suffix('\n').ok_or(Unreadable::Damaged)?;
    let words: Vec<&str> = line.split(' ').collect();
    let ["synod-tables", format, rest @ ..] = words.as_slice() else {
        return Err(Unreadable::Damaged);
    };
    let format: u32 = format.parse().map_err(|_| Unreadable::Damaged)?;
    if format != FORMAT {
        return Err(Unreadable::Version(format));
    }
    let (engine, sealed) = match rest {
        [engine, "sealed"] => (engine, true),
        [engine, "plain"] => (engine, false),
        _ => return Err(Unreadable::Damaged),
    };
    let engine = engine.parse().map_err(|_| Unreadable::Damaged)?;
    Ok(Marker { engine, sealed })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FJALL: Marker = Marker { engine: Engine::Fjall, sealed: false };

    #[test]
    fn the_marker_s_bytes_are_kept() {
        assert_eq!(encode(&FJALL), "synod-tables 1 fjall plain\n");
        let sealed = Marker { engine: Engine::Sled, sealed: true };
        assert_eq!(encode(&sealed), "synod-tables 1 sled sealed\n");
        assert_eq!(decode(&encode(&sealed)), Ok(sealed));
    }

    #[test]
    fn a_marker_that_is_cut_or_from_the_future_is_refused() {
        for text in ["", "synod-tables 1 fjall plain", "synod-tables 1 fjall\n", "x\n", "\n"] {
            assert_eq!(decode(text), Err(Unreadable::Damaged), "{text:?}");
        }
        let future = decode("synod-tables 2 fjall plain zoned\n");
        assert_eq!(future, Err(Unreadable::Version(2)));
    }

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = Folder::claim(folder.path(), &FJALL).expect("free");
        let second = Folder::claim(folder.path(), &FJALL).expect_err("taken");
        assert!(matches!(second, StoreError::Locked { .. }), "{second:?}");
        drop(first);
        Folder::claim(folder.path(), &FJALL).expect("free again");
    }

    #[test]
    fn a_folder_of_another_engine_or_sealing_is_refused_with_advice() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        drop(Folder::claim(folder.path(), &FJALL).expect("new"));
        let sled = Marker { engine: Engine::Sled, sealed: false };
        let error = Folder::claim(folder.path(), &sled).expect_err("another engine");
        assert!(matches!(error, StoreError::WrongFolder { .. }), "{error:?}");
        assert!(error.to_string().contains("storage.engine = \"fjall\""), "{error}");
        let sealed = Marker { engine: Engine::Fjall, sealed: true };
        let error = Folder::claim(folder.path(), &sealed).expect_err("not sealed");
        assert!(matches!(error, StoreError::WrongFolder { .. }), "{error:?}");
    }

    #[test]
    fn a_folder_with_files_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("holiday.jpg"), b"x").expect("written");
        assert!(Folder::claim(folder.path(), &FJALL).is_err());
    }

    #[test]
    fn a_crash_while_the_marker_was_written_leaves_a_folder_that_opens() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(DRAFT), b"synod-ta").expect("written");
        std::fs::write(folder.path().join(LOCK), b"").expect("written");
        Folder::claim(folder.path(), &FJALL).expect("as good as new");
    }
}
