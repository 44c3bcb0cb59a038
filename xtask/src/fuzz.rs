//! `cargo xtask fuzz`: searches for bytes that break a decoder, guided by coverage, on the stable compiler.
//!
//! The rooms are compiled with the instrumentation that libFuzzer reads: this program stands in for the compiler while
//! cargo builds the workspace's own crates (`RUSTC_WORKSPACE_WRAPPER`) and adds the flags. What is found lies in
//! `tests/fuzz/corpus/<target>/` at once, where a plain `cargo test` throws it again.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use crate::{outside, place};

/// Set while this program stands in for the compiler.
const INSTRUMENT: &str = "XTASK_INSTRUMENT";
/// Edges with counters, where they are, and what is compared with what.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Copt-level=2",
];
/// The most a decoder may need, MiB: engine, corpus and everything.
const MEMORY_MIB_MAX: u32 = 256;
/// Seconds after which an input hangs; one that is only slow is caught by the target.
const HANGS_AFTER: u32 = 5;
/// Longest input that is tried.
const INPUT_BYTES_MAX: u32 = 4096;

/// What is asked for.
pub(crate) struct Search {
    /// Seconds for each target.
    pub(crate) seconds: u32,
    /// One target, or all.
    pub(crate) target: Option<String>,
    /// Of all targets so many, beginning with the `from`th and going round.
    pub(crate) rotate: usize,
    pub(crate) from: usize,
    /// How many at once.
    pub(crate) jobs: usize,
    /// Keep what widens the coverage in the corpus.
    pub(crate) keep: bool,
}

/// Stands in for the compiler, when cargo calls this program as that.
pub(crate) fn instead_of_rustc() -> Option<ExitCode> {
    std::env::var_os(INSTRUMENT)?;
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next()?;
    let arguments: Vec<OsString> = arguments.collect();
    let mut command = Command::new(rustc);
    command.args(&arguments);
    if is_instrumented(&arguments) {
        command.args(FLAGS);
    }
    let passed = command.status().is_ok_and(|status| status.success());
    Some(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Rooms are, and the fuzzer itself; what runs while building is not: nothing there collects coverage.
fn is_instrumented(arguments: &[OsString]) -> bool {
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1)?.to_str()
    };
    match (after("--crate-name"), after("--crate-type")) {
        (Some("build_script_build") | None, _) | (_, Some("proc-macro")) => false,
        (Some(name), Some("bin")) => name == "fuzz",
        _ => true,
    }
}

/// Builds, searches and reports. Whether nothing was found.
pub(crate) fn search(search: &Search) -> bool {
    let (root, target_folder) = (place::root(), place::target());
    if !build() {
        eprintln!("failed: building the fuzzer (it needs a C++ compiler)");
        return false;
    }
    let all = names(root);
    let names: Vec<String> = match &search.target {
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => {
            eprintln!("there is no target {name}; there are {}", all.join(", "));
            return false;
        }
        None => turn(&all, search.rotate, search.from),
    };
    let engine = target_folder.join("debug/fuzz");
    let work = target_folder.join("fuzzing");
    let mut passed = true;
    for batch in names.chunks(search.jobs.max(1)) {
        let runs: Vec<Run> =
            batch.iter().map(|name| Run::begin(root, &engine, &work, name, search)).collect();
        for run in runs {
            passed &= run.end(search);
        }
    }
    passed
}

/// Whose turn it is: `count` of them, beginning with the `from`th and going round.
fn turn(all: &[String], count: usize, from: usize) -> Vec<String> {
    all.iter().cycle().skip(from % all.len().max(1)).take(count.min(all.len())).cloned().collect()
}

/// The names of the targets, as the fuzz room lists them.
fn names(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("tests/fuzz/src/targets.rs")).unwrap_or_default();
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("target_of(\""));
    named.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

fn build() -> bool {
    let Ok(itself) = std::env::current_exe() else { return false };
    let status = outside::cargo()
        .args(["build", "--quiet", "-p", "fuzz", "--features", "engine", "--bin", "fuzz"])
        .env("RUSTC_WORKSPACE_WRAPPER", itself)
        .env(INSTRUMENT, "1")
        .status();
    status.is_ok_and(|status| status.success())
}

/// The search of one target.
struct Run {
    name: String,
    engine: PathBuf,
    log: PathBuf,
    found: PathBuf,
    kept: PathBuf,
    child: Option<Child>,
}

impl Run {
    fn begin(root: &Path, engine: &Path, work: &Path, name: &str, search: &Search) -> Self {
        let kept = root.join("tests/fuzz/corpus").join(name);
        let (found, seeds) = (work.join(name).join("grown"), work.join(name).join("seeds"));
        for folder in [&kept, &found, &seeds] {
            let _ = fs::create_dir_all(folder);
        }
        let log = work.join(name).join("log");
        let output = || fs::File::create(&log).map_or_else(|_| Stdio::null(), Stdio::from);
        let child = Command::new(engine)
            .env("FUZZ_TARGET", name)
            .env("FUZZ_SEEDS", &seeds)
            .args([&found, &kept, &seeds])
            .arg(format!("-max_total_time={}", search.seconds))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-timeout={HANGS_AFTER}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-artifact_prefix={}/", kept.display()))
            .args(["-print_final_stats=1", "-use_value_profile=1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output())
            .spawn();
        if let Err(error) = &child {
            eprintln!("{name}: the fuzzer cannot be started: {error}");
        }
        Self {
            name: name.to_owned(),
            engine: engine.to_owned(),
            log,
            found,
            kept,
            child: child.ok(),
        }
    }

    fn end(self, search: &Search) -> bool {
        let Some(mut child) = self.child else { return false };
        let passed = child.wait().is_ok_and(|status| status.success());
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let number = |name: &str| {
            let line = log.lines().rev().find_map(|line| line.strip_prefix(name));
            line.map_or_else(|| "?".to_owned(), |line| line.trim_matches([':', ' ']).to_owned())
        };
        let executed = number("stat::number_of_executed_units");
        let (grown, memory) = (number("stat::new_units_added"), number("stat::peak_rss_mb"));
        if passed {
            println!("ok: {}: {executed} inputs, {grown} new ways, {memory} MiB", self.name);
        } else {
            let log = self.log.display();
            eprintln!("found: {}: after {executed} inputs; see {log} and the corpus", self.name);
        }
        if passed && search.keep {
            // Only what reaches further than what is kept already.
            let merged = Command::new(&self.engine)
                .env("FUZZ_TARGET", &self.name)
                .arg("-merge=1")
                .args([&self.kept, &self.found])
                .stderr(Stdio::null())
                .status();
            return merged.is_ok_and(|status| status.success());
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &[&str]) -> bool {
        is_instrumented(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn rooms_are_instrumented_and_what_runs_while_building_is_not() {
        assert!(call(&["--crate-name", "proto", "--crate-type", "lib"]));
        assert!(call(&["--crate-name", "fuzz", "--crate-type", "bin"]));
        assert!(!call(&["--crate-name", "build_script_build", "--crate-type", "bin"]));
        assert!(!call(&["--crate-name", "derive", "--crate-type", "proc-macro"]));
        assert!(!call(&["-vV"]));
    }

    #[test]
    fn in_two_turns_of_more_than_half_everyone_has_had_one() {
        let all: Vec<String> = (0..23).map(|number: u32| number.to_string()).collect();
        for day in 20_000..20_050 {
            let two = [turn(&all, 12, day * 12), turn(&all, 12, (day + 1) * 12)].concat();
            assert!(all.iter().all(|name| two.contains(name)), "{two:?}");
        }
        assert_eq!(turn(&all, usize::MAX, 0), all);
        assert!(turn(&[], 5, 3).is_empty());
    }
}
