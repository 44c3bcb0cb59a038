//! A small file system of its own, on a loop device: needs root, loop devices and mkfs.ext4.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "each test file includes it and uses its part; it prepares a real disk"
)]

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Large enough for a node that is hardly used, small enough to be filled in a moment.
const IMAGE_BYTES: u64 = 256 << 20;

fn run(program: &str, arguments: &[&OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", words.trim())) }
}

/// Unmounted when it goes.
pub struct SmallDisk {
    mounted: PathBuf,
}

impl SmallDisk {
    /// Mounts an empty one at `mounted`; its image lies beside that.
    pub fn mount(mounted: &Path) -> Result<Self, String> {
        let image = mounted.with_extension("image");
        let failed = |error: std::io::Error| error.to_string();
        File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).map_err(failed)?;
        std::fs::create_dir_all(mounted).map_err(failed)?;
        let quiet = ["-q", "-F", "-m", "0"].map(OsStr::new);
        run("mkfs.ext4", &[&quiet[..], &[image.as_os_str()]].concat())?;
        let through = ["-o", "loop"].map(OsStr::new);
        run("mount", &[&through[..], &[image.as_os_str(), mounted.as_os_str()]].concat())?;
        // What mkfs leaves there is no part of a data folder.
        std::fs::remove_dir(mounted.join("lost+found")).map_err(failed)?;
        Ok(Self { mounted: mounted.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("somebody-elses-file")
    }

    /// Somebody else takes all that is free but a few MiB: far less than a twentieth, and the node goes on.
    pub fn fill(&self) {
        let filler = self.filler();
        let free = free_kib(&self.mounted);
        let bytes = (free << 10).saturating_sub(4 << 20).to_string();
        let taken = run("fallocate", &["-l".as_ref(), bytes.as_ref(), filler.as_os_str()]);
        taken.expect("there is as much");
    }

    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("it was written");
    }
}

/// What is free, as the system tells it.
fn free_kib(at: &Path) -> u64 {
    let output = Command::new("df").args(["--output=avail", "-k"]).arg(at).output();
    let output = String::from_utf8(output.expect("df runs").stdout).expect("figures");
    let figure = output.lines().last().expect("a line");
    figure.trim().parse().expect("a figure")
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that is still stopping does not keep the test's folder.
        let _ = run("umount", &["-l".as_ref(), self.mounted.as_os_str()]);
    }
}
