//! The disks of a run: one loop-mounted image a node, and what can go wrong with a disk.
//!
//! An image can lose power (`cut_power`: what was not synced is gone), be frozen, filled and throttled. Errors of single calls
//! and turned clocks come from `shim`, a library in front of the C library. Damage to bytes at rest is in `rot`.

mod plug;
mod rot;
mod shim;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use rot::files;
pub use rot::{Damage, Wound};
pub use shim::{Dials, SHIM_SOURCE, Shim, Tallies};

use crate::cluster::{DiskKind, Doing as _, Setback, shell, within};

/// An unmount waits so long for the last process to let go.
const LET_GO: Duration = Duration::from_secs(10);
/// How often it is tried.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// The file that fills a disk.
const BALLAST: &str = "ballast";
/// The unit in which the space of a file is counted.
const BLOCK_BYTES: u64 = 512;
/// What a full disk still has: less than a journal record.
const CRUMBS_BYTES: u64 = 4096;

/// Whether a file system takes anything. Whoever copied the mounts (a process that got a mount namespace of its own) keeps an
/// unmounted one in use: mounted again it is still the one whose power was cut.
fn alive(mount: &Path) -> Result<(), Setback> {
    let folder = File::open(mount).doing(mount.display())?;
    folder.sync_all().doing(format_args!("{} is still as it was cut", mount.display()))
}

/// One node's disk.
#[derive(Debug)]
pub struct Disk {
    kind: DiskKind,
    image: PathBuf,
    mount: PathBuf,
    device: Option<String>,
    mounted: bool,
    frozen: bool,
}

impl Disk {
    /// Makes a disk called `name` in `home` and mounts it.
    ///
    /// # Errors
    /// When there is no loop device, or this process may not mount.
    pub fn create(home: &Path, name: &str, kind: DiskKind) -> Result<Self, Setback> {
        let (image, mount) = (home.join(format!("{name}.img")), home.join(name));
        fs::create_dir_all(&mount).doing(mount.display())?;
        let mut disk = Self { kind, image, mount, device: None, mounted: false, frozen: false };
        if let DiskKind::LoopExt4 { mib } = kind {
            let file = File::create(&disk.image).doing(disk.image.display())?;
            file.set_len(u64::from(mib) << 20).doing(disk.image.display())?;
            shell::run("mkfs.ext4", &["-q", "-F", "-m", "0", &disk.image.to_string_lossy()])?;
            let image = disk.image.to_string_lossy().into_owned();
            let device = shell::run("losetup", &["-f", "--show", &image])?;
            disk.device = Some(device.trim().to_owned());
            disk.mount()?;
        }
        Ok(disk)
    }

    /// The folder that a node writes to.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.mount
    }

    /// Whether it is an image of its own.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.device.is_some()
    }

    /// Whether the folder can be used now.
    #[must_use]
    pub fn usable(&self) -> bool {
        !self.is_image() || (self.mounted && !self.frozen)
    }

    /// Mounts the image. The file system replays its own journal first.
    ///
    /// # Errors
    /// When it cannot be mounted, or somebody kept it as it was when its power was cut for ten seconds.
    pub fn mount(&mut self) -> Result<(), Setback> {
        let (Some(device), false) = (&self.device, self.mounted) else { return Ok(()) };
        let mount = self.mount.to_string_lossy();
        let mut last = Setback::new("not tried");
        let mounted = within(LET_GO, TRY_AGAIN, || {
            let run = ["-t", "ext4", "-o", "noatime", device, &mount];
            if let Err(refused) = shell::run("mount", &run) {
                return Some(Err(refused));
            }
            last = match alive(&self.mount) {
                Ok(()) => return Some(Ok(())),
                Err(held) => held,
            };
            shell::run("umount", &[&*mount]).err().map(Err)
        });
        mounted.unwrap_or(Err(last))?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts the image, as soon as nobody uses it.
    ///
    /// # Errors
    /// When somebody still uses it after ten seconds.
    pub fn unmount(&mut self) -> Result<(), Setback> {
        if !self.mounted {
            return Ok(());
        }
        self.thaw()?;
        let mut last = Setback::new("not tried");
        let mount = self.mount.to_string_lossy().into_owned();
        let done = within(LET_GO, TRY_AGAIN, || {
            shell::run("umount", &[&mount]).map_err(|error| last = error).ok()
        });
        done.ok_or(last)?;
        self.mounted = false;
        Ok(())
    }

    /// From this moment nothing more reaches the image, and what was not synced never does. Whoever uses it gets
    /// errors until it is unmounted and mounted again.
    ///
    /// # Errors
    /// When it is no image of its own.
    pub fn cut_power(&self) -> Result<(), Setback> {
        if !self.mounted {
            return Err(Setback::new("this disk is no mounted image"));
        }
        plug::pull(&self.mount).doing(format_args!("cutting {}", self.mount.display()))
    }

    /// Every write waits from now on.
    ///
    /// # Errors
    /// When it is no mounted image.
    pub fn freeze(&mut self) -> Result<(), Setback> {
        if !self.mounted {
            return Err(Setback::new("this disk is no mounted image"));
        }
        shell::run("fsfreeze", &["-f", &*self.mount.to_string_lossy()])?;
        self.frozen = true;
        Ok(())
    }

    /// Writes go on.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn thaw(&mut self) -> Result<(), Setback> {
        if std::mem::take(&mut self.frozen) {
            shell::run("fsfreeze", &["-u", &*self.mount.to_string_lossy()])?;
        }
        Ok(())
    }

    /// Fills it to the last block. Returns the bytes that it took.
    ///
    /// # Errors
    /// When it is no mounted image: the machine's own disk is not filled.
    pub fn fill(&self) -> Result<u64, Setback> {
        if !self.mounted {
            return Err(Setback::new("this disk is no mounted image"));
        }
        let path = self.mount.join(BALLAST);
        let file = File::create(&path).doing(path.display())?;
        let mut taken = 0;
        // Space that is reserved for pending writes is given back in steps.
        while let Some(free) = self.free().filter(|free| *free > CRUMBS_BYTES) {
            let step = [free, free / 2, CRUMBS_BYTES].into_iter().find(|step| {
                let all = taken + step;
                rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, all).is_ok()
            });
            let Some(step) = step else { break };
            taken += step;
        }
        Ok(file.metadata().doing(path.display())?.blocks() * BLOCK_BYTES)
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn empty(&self) -> Result<(), Setback> {
        let path = self.mount.join(BALLAST);
        if path.exists() { fs::remove_file(&path).doing(path.display()) } else { Ok(()) }
    }

    /// Bytes that can still be written.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        let status = rustix::fs::statvfs(&self.mount).ok()?;
        Some(status.f_bavail * status.f_frsize)
    }

    /// Numbers of the block device, as control groups want them.
    #[must_use]
    pub fn device_numbers(&self) -> Option<String> {
        let device = fs::metadata(self.device.as_ref()?).ok()?.rdev();
        Some(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
    }

    /// What is still wrong with it.
    #[must_use]
    pub fn wound(&self) -> Option<String> {
        let name = self.mount.display();
        if self.is_image() && !self.mounted {
            return Some(format!("{name} is not mounted"));
        }
        if self.frozen {
            return Some(format!("{name} is frozen"));
        }
        self.mount.join(BALLAST).exists().then(|| format!("{name} is full"))
    }

    /// Unmounts it and gives the loop device back; the image goes too, unless it is to be looked at.
    pub fn remove(&mut self, keep: bool) {
        // Whatever does not work here is found by the sweep of this run id.
        let _ = self.thaw();
        let _ = self.unmount();
        if let Some(device) = self.device.take() {
            let _ = shell::run("losetup", &["-d", &device]);
        }
        if !keep && matches!(self.kind, DiskKind::LoopExt4 { .. }) && !self.mounted {
            let _ = fs::remove_file(&self.image);
            let _ = fs::remove_dir(&self.mount);
        }
    }
}
