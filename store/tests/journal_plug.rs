//! Pulling the plug of a real file system: ext4 on a loop device is told to go down at once,
//! without writing its log, so that everything that was not synced is lost. Every acknowledged
//! entry must survive.
//!
//! Needs root, loop devices and mkfs.ext4; says so and passes where they are missing.

#![allow(clippy::disallowed_methods, reason = "a process is stopped at a moment of real time")]

#[path = "support/child.rs"]
mod child;
#[path = "support/journal.rs"]
mod support;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use store::{FsDisk, Journal};
use support::{Model, Random, config};

const ROUNDS: u64 = 12;
const IMAGE_BYTES: u64 = 96 << 20;

/// `EXT4_IOC_SHUTDOWN`, the same number as XFS's: `_IOR('X', 125, __u32)`.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// Do not even write the file system's own log.
const NO_LOG_FLUSH: u32 = 2;

#[expect(unsafe_code, reason = "there is no safe call for this request")]
fn pull_the_plug(mounted: &Path) -> std::io::Result<()> {
    let folder = File::open(mounted)?;
    let flags = NO_LOG_FLUSH;
    // SAFETY: the descriptor is open for the whole call, and the request reads one u32 through the
    // pointer.
    let result = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &raw const flags) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", words.trim())) }
}

/// A file system in a file, unmounted when it goes.
struct Image {
    image: PathBuf,
    mounted: PathBuf,
}

impl Image {
    fn new(folder: &Path) -> Result<Self, String> {
        let image = Self { image: folder.join("image"), mounted: folder.join("mounted") };
        let failed = |error: std::io::Error| error.to_string();
        File::create(&image.image).and_then(|file| file.set_len(IMAGE_BYTES)).map_err(failed)?;
        std::fs::create_dir(&image.mounted).map_err(failed)?;
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image.image.as_ref()])?;
        image.mount()?;
        Ok(image)
    }

    fn mount(&self) -> Result<(), String> {
        let options = ["-o".as_ref(), "loop".as_ref(), self.image.as_ref(), self.mounted.as_ref()];
        run("mount", &options)
    }

    fn unmount(&self) -> Result<(), String> {
        run("umount", &[self.mounted.as_ref()])
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}

/// The other half of the next test, which starts it in a process of its own; alone it does nothing.
#[test]
fn writes_until_the_plug_is_pulled() {
    child::write_if_child();
}

#[test]
fn no_acknowledged_entry_is_lost_by_a_power_loss() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = match Image::new(folder.path()) {
        Ok(image) => image,
        Err(why) => return println!("skipped, no loop-mounted file system: {why}"),
    };
    let journal_folder = image.mounted.join("journal");
    let mut model = Model::default();
    let mut random = Random(1);
    let mut total = 0;
    for round in 0..ROUNDS {
        let (mut process, lines) =
            child::start("writes_until_the_plug_is_pulled", &journal_folder, round);
        std::thread::sleep(Duration::from_micros(random.below(250_000)));
        if let Err(why) = pull_the_plug(&image.mounted) {
            process.kill().expect("it is our child");
            process.wait().expect("it is our child");
            return println!("skipped, the file system cannot be shut down: {why}");
        }
        process.kill().expect("it is our child");
        process.wait().expect("it is our child");
        let acknowledged = child::acknowledged(lines);
        image.unmount().expect("nobody uses it");
        image.mount().expect("it was mounted before");
        let disk = FsDisk::open(&journal_folder).expect("opens");
        let journal = Journal::open(Arc::new(disk), config()).expect("opens after a power loss");
        let judged = child::judge(&journal, &model, round, acknowledged);
        model = judged.unwrap_or_else(|why| panic!("round {round}: {why}"));
        journal.close();
        total += acknowledged;
    }
    println!("{ROUNDS} power losses, {total} acknowledged calls");
    assert!(total > ROUNDS, "the children hardly wrote");
}
