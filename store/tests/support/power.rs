//! A disk whose plug can be pulled: an ext4 file system in a file, mounted by loop device, shut down
//! by the kernel without writing what is only in memory. Needs root and loop devices; where they are
//! missing the suites say so and go on.

#![allow(dead_code, reason = "each suite uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Attempts to unmount, 20 ms apart.
const UNMOUNT_ATTEMPTS_MAX: u32 = 250;

/// A mounted file system that can lose power.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
    is_mounted: bool,
}

impl Disk {
    /// Makes and mounts one of `megabytes`.
    ///
    /// # Errors
    /// Why this machine cannot: no root, no loop device, a tool is missing.
    pub(crate) fn plug_in(megabytes: u32) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        run("perl", &["-e", "exit 0"])?;
        let mut disk = Self { folder, is_mounted: false };
        let image = disk.image().display().to_string();
        run("truncate", &["-s", &format!("{megabytes}M"), &image])?;
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", &image])?;
        std::fs::create_dir(disk.path()).map_err(|error| error.to_string())?;
        disk.mount()?;
        disk.is_mounted = true;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Cuts the power: from here on nothing reaches the disk, and what was not synced is lost. The
    /// file system answers errors until [`Disk::power_up`].
    pub(crate) fn cut_power(&self) -> Result<(), String> {
        // EXT4_IOC_SHUTDOWN with GOING_FLAGS_NOLOGFLUSH: the file system's journal is not flushed.
        let script = "open(my $d, '<', $ARGV[0]) or die; \
                      my $how = pack('L', 2); \
                      ioctl($d, 0x8004587d, $how) or die \"shutdown: $!\"";
        run("perl", &["-e", script, &path_text(&self.path())])
    }

    /// Mounts it again. Processes that had files open on it must be gone.
    pub(crate) fn power_up(&self) -> Result<(), String> {
        self.unmount()?;
        self.mount()
    }

    /// A process that another test forks keeps our files open until it has become its own program,
    /// so this tries for a moment.
    fn unmount(&self) -> Result<(), String> {
        let (_open, pause) = channel::<()>();
        let mut result = Ok(());
        for _ in 0..UNMOUNT_ATTEMPTS_MAX {
            result = run("umount", &[&path_text(&self.path())]);
            if result.is_ok() {
                break;
            }
            let _ = pause.recv_timeout(Duration::from_millis(20));
        }
        result
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o", "loop", &path_text(&self.image()), &path_text(&self.path())])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Detached in the end whatever holds it, so that a failing test leaves no mount behind.
        if self.is_mounted && self.unmount().is_err() {
            let _ = run("umount", &["--lazy", &path_text(&self.path())]);
        }
    }
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
