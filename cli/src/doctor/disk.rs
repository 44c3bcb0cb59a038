//! What the disk and the limits of files allow.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use store::{Disk as _, FsDisk};
use tokio::time::Instant;

use super::Check;

/// Barriers that are measured: enough for a p99, over in a second on a disk that will do.
const BARRIERS: usize = 100;
/// No more is waited for a disk that will not do.
const BARRIERS_PATIENCE: Duration = Duration::from_secs(5);
/// What is written before each, as much as a small batch.
const BARRIER_BYTES: usize = 4096;
/// A message waits for the second of three disks: beyond this people notice.
const BARRIER_WELL: Duration = Duration::from_millis(20);
/// Beyond this leaderships do not stay.
const BARRIER_BEARABLE: Duration = Duration::from_millis(100);
/// Below this it is time to look.
const FREE_PART_WELL: u64 = 10;
/// Each link is a descriptor.
const FILES_WELL: u64 = 65_536;
/// What a node needs without a single client: journal, tables, peers.
const FILES_MIN: u64 = 1024;

/// The limit of open files.
pub(super) fn files() -> Check {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    judge_files(&limits)
}

fn judge_files(limits: &str) -> Check {
    const NAME: &str = "files";
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let Some(soft) = line.and_then(|line| line.split_whitespace().next()) else {
        return Check::skipped(NAME, "this system does not tell the limit");
    };
    let found = format!("{soft} open files allowed");
    let fix = "LimitNOFILE=1048576 in the unit, or `ulimit -n` before the start";
    match soft.parse::<u64>() {
        Ok(soft) if soft < FILES_MIN => Check::failed(NAME, found, fix),
        Ok(soft) if soft < FILES_WELL => Check::warning(NAME, found, fix),
        Ok(_) | Err(_) => Check::ok(NAME, found),
    }
}

/// The folder itself, or the nearest one above it that exists.
fn nearest(data: &Path) -> Option<PathBuf> {
    data.ancestors().find(|path| path.is_dir()).map(Path::to_owned)
}

/// Free space of the data folder's disk.
pub(super) fn space(data: &Path) -> Check {
    const NAME: &str = "space";
    let space = nearest(data).and_then(|folder| FsDisk::to_read(folder).space());
    let Some(space) = space else {
        return Check::skipped(NAME, format!("{} has no disk that tells", data.display()));
    };
    let (free, total) = (space.free_bytes, space.total_bytes);
    let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let found = format!(
        "{:.1} of {:.1} GiB free under {}",
        gibibytes(free),
        gibibytes(total),
        data.display()
    );
    if space.is_low() {
        let fix = "free what is not Synod's, or grow the volume: leaders refuse messages now";
        Check::failed(NAME, found, fix)
    } else if free < total / FREE_PART_WELL {
        let fix = "grow the volume soon: below 5 %, at most 4 GiB, leaders refuse messages";
        Check::warning(NAME, found, fix)
    } else {
        Check::ok(NAME, found)
    }
}

/// How long barriers of the data folder's disk take.
pub(super) fn barriers(data: &Path) -> Check {
    const NAME: &str = "barriers";
    let Some(folder) = nearest(data) else {
        return Check::skipped(NAME, format!("nothing above {} exists", data.display()));
    };
    match measured(&folder) {
        Ok(took) => judge_barriers(&took, &folder),
        Err(error) => {
            let found = format!("{} cannot be written: {error}", folder.display());
            Check::failed(NAME, found, "run this as the node's user, and give it the folder")
        }
    }
}

fn judge_barriers(took: &[Duration], folder: &Path) -> Check {
    const NAME: &str = "barriers";
    let at = |quantile: usize| took[(took.len() * quantile / 100).min(took.len() - 1)];
    let (median, high) = (at(50), at(99));
    let found = format!(
        "fdatasync takes {:.1} ms, p99 {:.1} ms, in {}",
        median.as_secs_f64() * 1e3,
        high.as_secs_f64() * 1e3,
        folder.display()
    );
    let fix = "give the data folder a faster disk: every message waits for two of three";
    if high > BARRIER_BEARABLE {
        Check::failed(NAME, found, fix)
    } else if high > BARRIER_WELL {
        Check::warning(NAME, found, fix)
    } else {
        Check::ok(NAME, found)
    }
}

/// Durations of barriers, the shortest first.
fn measured(folder: &Path) -> io::Result<Vec<Duration>> {
    let path = folder.join(format!("doctor.{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let took = sync_again_and_again(file);
    std::fs::remove_file(&path)?;
    let mut took = took?;
    took.sort_unstable();
    Ok(took)
}

fn sync_again_and_again(mut file: File) -> io::Result<Vec<Duration>> {
    let begun = Instant::now();
    let mut took = Vec::with_capacity(BARRIERS);
    while took.len() < BARRIERS && (took.is_empty() || begun.elapsed() < BARRIERS_PATIENCE) {
        file.write_all(&[7; BARRIER_BYTES])?;
        let before = Instant::now();
        file.sync_data()?;
        took.push(before.elapsed());
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn few_files_are_a_failure_and_each_failure_names_a_fix() {
        let limits = |soft: &str| format!("Max open files            {soft}     524288   files\n");
        for (soft, state) in [
            ("256", State::Failed),
            ("4096", State::Warning),
            ("1048576", State::Ok),
            ("unlimited", State::Ok),
        ] {
            let check = judge_files(&limits(soft));
            assert_eq!(check.state, state, "{soft}");
            assert_eq!(check.fix.is_some(), state > State::Skipped, "{soft}");
        }
        assert_eq!(judge_files("").state, State::Skipped);
    }

    #[test]
    fn the_slow_hundredth_barrier_counts() {
        let judged = |last: u64| {
            let mut took = vec![Duration::from_millis(1); 99];
            took.push(Duration::from_millis(last));
            judge_barriers(&took, Path::new("/data")).state
        };
        assert_eq!(
            [judged(2), judged(50), judged(500)],
            [State::Ok, State::Warning, State::Failed]
        );
    }

    #[test]
    fn a_folder_is_measured_and_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let took = measured(folder.path()).expect("writable");
        assert!(!took.is_empty() && took.is_sorted());
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
        assert_eq!(nearest(&folder.path().join("not/yet")), Some(folder.path().to_owned()));
    }
}
