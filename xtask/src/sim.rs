//! The way into the simulator: its own build flags, its own target folder, its own profile. Decides nothing else; what is
//! said after `cargo xtask sim` goes to the program `sim` as it is, but for `canaries`, which runs planted bugs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{outside, place};

/// Seeds within which a planted bug must be caught.
const SEEDS_MAX: u64 = 200;

/// Said instead of a planted bug's name: none.
const NOTHING: &str = "none";

/// Builds the simulator and gives it `arguments`. Whether everything that was run is as it should be.
pub(crate) fn sim(arguments: &[String]) -> bool {
    let root = place::root();
    if arguments.first().is_some_and(|first| first == "canaries") {
        return canaries(&arguments[1..]);
    }
    let mut arguments = arguments.to_vec();
    if arguments.first().is_some_and(|first| first == "sweep") {
        let kept = root.join("tests/sim/regressions").display().to_string();
        arguments.extend(["--kept".to_owned(), kept]);
    }
    let mut features = Vec::new();
    let mut planted = None;
    if let Some(at) = arguments.iter().position(|argument| argument == "--planted") {
        features = vec!["--features", "planted"];
        // With the feature and nothing planted it decides as the product does: one build serves seeds and planted bugs.
        planted = arguments.get(at + 1).filter(|name| *name != NOTHING).cloned();
        arguments.drain(at..(at + 2).min(arguments.len()));
    }
    build(&features) && run(&arguments, planted.as_deref())
}

/// Runs `--rotate N` planted bugs, beginning with the `--from`th: each must be caught.
fn canaries(arguments: &[String]) -> bool {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<usize>().ok()
    };
    let (count, from) = (value("--rotate").unwrap_or(usize::MAX), value("--from").unwrap_or(0));
    if !build(&["--features", "planted"]) {
        return false;
    }
    let listed = Command::new(program()).arg("planted").output();
    let Ok(listed) = listed else { return false };
    let listed = String::from_utf8_lossy(&listed.stdout);
    // A name and the signs by which it is caught.
    let bugs: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    let mut good = true;
    for at in 0..count.min(bugs.len()) {
        let Some((name, signs)) = bugs[(from + at) % bugs.len()].split_first() else { continue };
        let seeds = SEEDS_MAX.to_string();
        let mut sweep = ["sweep", "--count", &seeds, "--fail-fast"].map(str::to_owned).to_vec();
        sweep.extend(signs.iter().flat_map(|sign| ["--sign".to_owned(), (*sign).to_owned()]));
        let caught = run(&sweep, Some(name));
        println!("{}: {name}", if caught { "caught" } else { "NOT CAUGHT" });
        good &= caught;
    }
    good
}

fn target() -> PathBuf {
    place::root().join("target/sim")
}

fn program() -> PathBuf {
    target().join("sim/sim")
}

fn build(features: &[&str]) -> bool {
    let built = outside::cargo()
        .args(["build", "--quiet", "--profile", "sim", "--package", "sim"])
        .args(features)
        .current_dir(place::root())
        // Same seed, same choices of the runtime: see the crate `sim`.
        .env("RUSTFLAGS", "--cfg tokio_unstable")
        .env("CARGO_TARGET_DIR", target())
        .stdin(Stdio::null())
        .status();
    built.is_ok_and(|status| status.success())
}

fn run(arguments: &[String], planted: Option<&str>) -> bool {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null());
    if let Some(name) = planted {
        command.env("SYNOD_PLANTED", name);
    }
    command.status().is_ok_and(|status| status.success())
}
