//! The port to the folders of blobs, and its two adapters.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::FOLDER_CHARS;
use crate::disk::{Disk, FsDisk, Pace};

/// Folders by name. What a folder lists may be more than what was put there through it.
pub trait Folders: Send + Sync + 'static {
    /// The folder of this name, made when it is new.
    ///
    /// # Errors
    /// When it cannot be made.
    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>>;

    /// The names of all folders that exist.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Whether the disk behind it makes its callers wait.
    fn pace(&self) -> Pace;
}

/// Folders below one of a real file system.
pub struct FsFolders {
    root: PathBuf,
    /// At most as many as there are names of two characters.
    open: Mutex<BTreeMap<String, Arc<dyn Disk>>>,
}

impl FsFolders {
    /// Folders below `root`, which is made with the first of them.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, open: Mutex::default() }
    }
}

impl Folders for FsFolders {
    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>> {
        if let Some(disk) = self.open.lock().get(name) {
            return Ok(Arc::clone(disk));
        }
        let disk = FsDisk::open(self.root.join(name)).map_err(io::Error::other)?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        self.open.lock().insert(name.to_owned(), Arc::clone(&disk));
        Ok(disk)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn pace(&self) -> Pace {
        Pace::Threads
    }
}

/// One disk in the place of all folders: for simulations.
pub struct OneFolder(pub Arc<dyn Disk>);

impl Folders for OneFolder {
    fn folder(&self, _name: &str) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::clone(&self.0))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let files = self.0.list()?;
        let mut names: Vec<String> =
            files.iter().filter_map(|file| file.get(..FOLDER_CHARS).map(str::to_owned)).collect();
        names.dedup();
        Ok(names)
    }

    fn pace(&self) -> Pace {
        Pace::Inline
    }
}
