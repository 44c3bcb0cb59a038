//! A library in front of a node's C library: turns its clocks, and lets its disk calls fail or dawdle.
//!
//! Built from `shim.c` with the machine's `cc` when a cluster is raised. The harness turns dials in a page that it shares
//! with the process, so that a running node can be harmed and healed at any moment, and reads there what was done. A
//! binary that calls the kernel itself, or is linked statically, is not reached: `tallies` then stay 0.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::cluster::{Doing as _, Setback, now_ns, shell};

/// The library's source.
pub const SHIM_SOURCE: &str = include_str!("shim.c");
/// Dials on the page, spare ones included.
const DIALS: usize = 16;
/// Tallies after them.
const TALLIES: usize = 8;
/// Size of the page.
const PAGE_BYTES: u64 = 4096;

/// What is wrong with a node's clocks and disk calls; all 0: nothing. The order is that of `struct page`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dials {
    /// Added to the wall clock, nanoseconds.
    pub wall_offset_ns: i64,
    /// Added to the wall clock and taken away in turn, nanoseconds.
    pub wall_strobe_ns: i64,
    /// How long each turn is, nanoseconds.
    pub strobe_period_ns: i64,
    /// The wall clock runs so much too fast, millionths.
    pub wall_drift_ppm: i64,
    /// Since this time of the true monotonic clock, nanoseconds.
    pub drift_from_ns: i64,
    /// The monotonic clock runs so much too fast, millionths.
    pub mono_drift_ppm: i64,
    /// What the monotonic clock has gained in earlier drifts, nanoseconds.
    pub mono_gained_ns: i64,
    /// So many of the next syncs fail; below 0: all.
    pub sync_errors: i64,
    /// Every sync takes so much longer, microseconds.
    pub sync_delay_us: i64,
    /// So many of the next writes fail; below 0: all.
    pub write_errors: i64,
    /// With this error number.
    pub write_errno: i64,
    /// So many of the next reads fail; below 0: all.
    pub read_errors: i64,
}

/// What the shim has done so far, over all starts of the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Reads of a clock that was wrong.
    pub clock_reads: i64,
    /// Syncs that failed.
    pub syncs_failed: i64,
    /// Syncs that took longer.
    pub syncs_delayed: i64,
    /// Writes that failed.
    pub writes_failed: i64,
    /// Reads that failed.
    pub reads_failed: i64,
    /// All syncs that were begun.
    pub syncs_begun: i64,
    /// All syncs that have ended; those of a killed process never do.
    pub syncs: i64,
    /// Time that they took, all together, nanoseconds.
    pub sync_ns: i64,
}

/// The shim of one node.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    page: PathBuf,
    file: File,
}

impl Shim {
    /// Builds the library in `home`, once for all nodes of a run.
    ///
    /// # Errors
    /// When there is no C compiler, with what to install.
    pub fn build(home: &Path) -> Result<PathBuf, Setback> {
        let (source, library) = (home.join("shim.c"), home.join("shim.so"));
        std::fs::write(&source, SHIM_SOURCE).doing(source.display())?;
        let (from, to) = (source.to_string_lossy(), library.to_string_lossy());
        shell::run("cc", &["-O2", "-shared", "-fPIC", "-o", &*to, &*from, "-ldl"])
            .map_err(|error| error.while_doing("building the shim (install a C compiler: gcc)"))?;
        Ok(library)
    }

    /// The page of the node called `name`, all dials at 0.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn open(home: &Path, name: &str, library: PathBuf) -> Result<Self, Setback> {
        let page = home.join(format!("{name}.dials"));
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true);
        let file = options.open(&page).doing(page.display())?;
        file.set_len(PAGE_BYTES).doing(page.display())?;
        Ok(Self { library, page, file })
    }

    /// What a process must have in its environment.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("SYNOD_SHIM", &self.page)]
    }

    /// What is wrong now.
    ///
    /// # Errors
    /// When the page cannot be read.
    pub fn dials(&self) -> Result<Dials, Setback> {
        let n = self.numbers()?;
        Ok(Dials {
            wall_offset_ns: n[0],
            wall_strobe_ns: n[1],
            strobe_period_ns: n[2],
            wall_drift_ppm: n[3],
            drift_from_ns: n[4],
            mono_drift_ppm: n[5],
            mono_gained_ns: n[6],
            sync_errors: n[7],
            sync_delay_us: n[8],
            write_errors: n[9],
            write_errno: n[10],
            read_errors: n[11],
        })
    }

    /// Turns all dials.
    ///
    /// # Errors
    /// When the page cannot be written.
    pub fn turn(&self, dials: Dials) -> Result<(), Setback> {
        let numbers = [
            dials.wall_offset_ns,
            dials.wall_strobe_ns,
            dials.strobe_period_ns,
            dials.wall_drift_ppm,
            dials.drift_from_ns,
            dials.mono_drift_ppm,
            dials.mono_gained_ns,
            dials.sync_errors,
            dials.sync_delay_us,
            dials.write_errors,
            dials.write_errno,
            dials.read_errors,
        ];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        self.file.write_all_at(&bytes, 0).doing(self.page.display())
    }

    /// Turns some dials and leaves the others.
    ///
    /// # Errors
    /// When the page cannot be read or written.
    pub fn change(&self, change: impl FnOnce(&mut Dials)) -> Result<(), Setback> {
        let mut dials = self.dials()?;
        change(&mut dials);
        self.turn(dials)
    }

    /// Turns all dials back. A monotonic clock keeps what it has gained: it never runs backwards.
    ///
    /// # Errors
    /// When the page cannot be read or written.
    pub fn calm(&self) -> Result<(), Setback> {
        self.stop_drift()?;
        let mono_gained_ns = self.dials()?.mono_gained_ns;
        self.turn(Dials { mono_gained_ns, ..Dials::default() })
    }

    /// Ends the drift of the monotonic clock; what it has gained it keeps.
    ///
    /// # Errors
    /// When the page cannot be read or written.
    pub fn stop_drift(&self) -> Result<(), Setback> {
        self.change(|dials| {
            let since = i64::try_from(now_ns()).unwrap_or(i64::MAX) - dials.drift_from_ns;
            let gained = i128::from(since) * i128::from(dials.mono_drift_ppm) / 1_000_000;
            dials.mono_gained_ns += i64::try_from(gained).unwrap_or(0);
            (dials.mono_drift_ppm, dials.drift_from_ns) = (0, 0);
        })
    }

    /// What was done so far.
    ///
    /// # Errors
    /// When the page cannot be read.
    pub fn tallies(&self) -> Result<Tallies, Setback> {
        let n = self.numbers()?;
        Ok(Tallies {
            clock_reads: n[DIALS],
            syncs_failed: n[DIALS + 1],
            syncs_delayed: n[DIALS + 2],
            writes_failed: n[DIALS + 3],
            reads_failed: n[DIALS + 4],
            syncs_begun: n[DIALS + 5],
            syncs: n[DIALS + 6],
            sync_ns: n[DIALS + 7],
        })
    }

    fn numbers(&self) -> Result<[i64; DIALS + TALLIES], Setback> {
        let mut bytes = [0; (DIALS + TALLIES) * 8];
        self.file.read_exact_at(&mut bytes, 0).doing(self.page.display())?;
        let mut numbers = [0; DIALS + TALLIES];
        for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = i64::from_ne_bytes(bytes.try_into().expect("chunks of eight"));
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn shim(home: &Path) -> Shim {
        let library = Shim::build(home).expect("tests need a C compiler, as the build does");
        Shim::open(home, "n1", library).expect("a page")
    }

    fn output(shim: &Shim, program: &str, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(program);
        command.args(arguments).envs(shim.environment());
        command.output().expect("every machine has it")
    }

    #[test]
    fn a_process_reads_the_clock_that_was_turned() {
        let home = tempfile::tempdir().expect("a folder");
        let shim = shim(home.path());
        let year = || {
            String::from_utf8_lossy(&output(&shim, "date", &["-u", "+%Y"]).stdout)
                .trim()
                .parse::<u32>()
        };
        let now = year().expect("a year");
        let ten_years_ns = 10 * 365 * 86_400 * 1_000_000_000;
        shim.turn(Dials { wall_offset_ns: ten_years_ns, ..Dials::default() }).expect("a page");
        assert!(year().expect("a year") >= now + 9);
        assert!(shim.tallies().expect("a page").clock_reads > 0);
        shim.turn(Dials::default()).expect("a page");
        assert_eq!(year(), Ok(now));
    }

    #[test]
    fn a_sync_fails_as_often_as_ordered_and_the_next_one_succeeds() {
        let home = tempfile::tempdir().expect("a folder");
        let shim = shim(home.path());
        let file = home.path().join("f");
        std::fs::write(&file, "x").expect("a file");
        let path = file.to_string_lossy().into_owned();
        shim.turn(Dials { sync_errors: 1, ..Dials::default() }).expect("a page");
        assert!(!output(&shim, "sync", &["-d", &path]).status.success());
        assert!(output(&shim, "sync", &["-d", &path]).status.success());
        let tallies = shim.tallies().expect("a page");
        assert_eq!((tallies.syncs_failed, tallies.syncs), (1, 2));
    }

    #[test]
    fn dials_are_read_as_they_were_turned() {
        let home = tempfile::tempdir().expect("a folder");
        let shim = Shim::open(home.path(), "n1", PathBuf::new()).expect("a page");
        let dials =
            Dials { wall_offset_ns: -1, read_errors: 12, write_errno: 28, ..Dials::default() };
        shim.turn(dials).expect("a page");
        assert_eq!(shim.dials().expect("a page"), dials);
    }
}
