//! The port to the folders of blobs, and its two adapters.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, FsDisk, Pace};

/// Folders by name. What a folder lists may be more than what was put there through it.
pub trait Folders: Send + Sync + 'static {
    /// The folder of this name, made when it is new.
    ///
    /// # Errors
    /// When it cannot be made.
    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>>;

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

    fn pace(&self) -> Pace {
        Pace::Inline
    }
}
