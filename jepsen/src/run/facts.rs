//! What a run is called by later: the commit, the binary, the machine, and every option expanded.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Assignment;
use crate::record::now_ns;
use crate::scenario::Scenario;

/// Digits of a hash that tell binaries apart.
const DIGITS: usize = 16;

/// What is the case.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Facts {
    pub(super) commit: String,
    pub(super) binary: String,
    kernel: String,
    cores: usize,
    /// From the machine's monotonic clock to the time of day; a text, because TOML's numbers are too small.
    wall_offset_ns: String,
}

#[derive(Serialize)]
struct Options<'a> {
    seed: u64,
    facts: &'a Facts,
    scenario: &'a Scenario,
}

pub(super) fn gather(assignment: &Assignment) -> Facts {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Facts {
        commit: commit(&assignment.project),
        binary: hash(&assignment.synod).unwrap_or_default(),
        kernel: read("/proc/sys/kernel/osrelease"),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        wall_offset_ns: (wall().as_nanos() - u128::from(now_ns())).to_string(),
    }
}

pub(super) fn options(assignment: &Assignment, facts: &Facts) -> String {
    let options = Options { seed: assignment.seed, facts, scenario: &assignment.scenario };
    toml::to_string(&options).expect("plain data")
}

/// The scenario and the seed that a run wrote down.
pub(super) fn read_options(path: &Path) -> Result<(Scenario, u64), String> {
    #[derive(Deserialize)]
    struct Written {
        seed: u64,
        scenario: Scenario,
    }
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    let written: Written = toml::from_str(&text).map_err(|error| told(&error))?;
    Ok((written.scenario, written.seed))
}

/// Seconds since 1970.
pub(super) fn wall_seconds() -> u64 {
    wall().as_secs()
}

/// Time since 1970.
#[expect(clippy::disallowed_methods, reason = "a ledger says when")]
fn wall() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

fn commit(project: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(project).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let more = git(&["status", "--porcelain", "--untracked-files=no"]);
    if more.is_none_or(|more| more.is_empty()) { commit } else { format!("{commit}+") }
}

fn hash(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let digits: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(digits[..DIGITS].to_owned())
}
