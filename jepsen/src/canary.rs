//! Canaries: binaries with a planted bug, each run through the scenario that should catch it. One that survives is a hole
//! in the proof. The bugs are in the crate `planted`, behind a feature that no other build has; which of them is awake is
//! said by an environment variable of the nodes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::matrix::Matrix;
use crate::scenario::Scenario;

/// The list of canaries that the black box can catch, within the project.
const LIST: &str = "jepsen/canaries.toml";
/// The planted binary has a build folder of its own, so that it can never be taken for the product.
const TARGET: &str = "target/planted";
/// Which canary is awake, for the nodes.
pub const AWAKE: &str = "SYNOD_PLANTED";

/// Within so many seconds of faults, over all tries, a canary is caught or counts as surviving.
const FAULT_SECONDS_MAX: u64 = 300;

/// One canary.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Its name in the crate `planted`.
    pub name: String,
    /// The scenario that should catch it.
    pub scenario: String,
    /// The check that should fire; any when not said.
    #[serde(default)]
    pub check: Option<String>,
    /// Seeds that are tried before it counts as surviving.
    #[serde(default = "tries")]
    pub tries: u64,
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    canary: Vec<Canary>,
}

fn tries() -> u64 {
    3
}

/// Runs all, or one, with the binary of [`build`]: 0 when each was caught, 1 when one survived, 2 when there is none to run.
///
/// # Errors
/// When the list cannot be read, or a run fails.
pub fn run(
    project: &Path,
    scenarios: &[Scenario],
    matrix: &Matrix,
    planted: &Path,
    only: Option<&str>,
) -> Result<u8, String> {
    let chosen: Vec<Canary> = list(project)?
        .into_iter()
        .filter(|canary| only.is_none_or(|name| name == canary.name))
        .collect();
    if chosen.is_empty() {
        println!("no canary is listed in {LIST}");
        return Ok(2);
    }
    let mut survivors = Vec::new();
    for canary in &chosen {
        let scenario = scenarios.iter().find(|scenario| scenario.name == canary.scenario);
        let scenario = scenario
            .ok_or_else(|| format!("{}: no scenario {:?}", canary.name, canary.scenario))?;
        let matrix = matrix.against(wake(project, planted, &canary.name)?, false);
        if !caught(canary, scenario, &matrix)? {
            survivors.push(canary.name.as_str());
        }
    }
    println!("{} of {} canaries caught", chosen.len() - survivors.len(), chosen.len());
    for survivor in &survivors {
        println!("survived: {survivor}");
    }
    Ok(u8::from(!survivors.is_empty()))
}

fn caught(canary: &Canary, scenario: &Scenario, matrix: &Matrix) -> Result<bool, String> {
    let mut scenario = scenario.clone();
    scenario.fault_seconds = scenario.fault_seconds.min(FAULT_SECONDS_MAX / canary.tries.max(1));
    for seed in 1..=canary.tries {
        let line =
            matrix.judge_one(scenario.clone(), seed).map_err(|failure| failure.to_string())?;
        let named = |check: &String| line.notes.iter().any(|note| note.starts_with(check.as_str()));
        if line.verdict == "violated" && canary.check.as_ref().is_none_or(named) {
            println!("{} caught at seed {seed}: {}", canary.name, line.notes.join("; "));
            return Ok(true);
        }
        println!("{} not caught at seed {seed}: {}", canary.name, line.verdict);
    }
    Ok(false)
}

/// A program that wakes this canary and is the planted binary from then on.
fn wake(project: &Path, planted: &Path, name: &str) -> Result<PathBuf, String> {
    let path = project.join(TARGET).join(format!("synod-{name}"));
    let script = format!("#!/bin/sh\n{AWAKE}={name} exec '{}' \"$@\"\n", planted.display());
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::create_dir_all(project.join(TARGET)).map_err(told)?;
    std::fs::write(&path, script).map_err(told)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(told)?;
    Ok(path)
}

fn list(project: &Path) -> Result<Vec<Canary>, String> {
    let path = project.join(LIST);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{LIST}: {error}"))?;
    let list: List = toml::from_str(&text).map_err(|error| format!("{LIST}: {error}"))?;
    Ok(list.canary)
}

/// Builds the binary in which all bugs are planted and none is awake.
///
/// # Errors
/// When it cannot be built.
pub fn build(project: &Path) -> Result<PathBuf, String> {
    let target = project.join(TARGET);
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "-p", "synod", "--features", "planted", "--target-dir"])
        .arg(&target)
        .current_dir(project)
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    match status.success() {
        true => Ok(target.join("release/synod")),
        false => Err("the planted binary cannot be built".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_canary_names_a_scenario_of_the_project() {
        let room = Path::new(env!("CARGO_MANIFEST_DIR"));
        let project = room.parent().expect("a room is in the project");
        let scenarios = Scenario::all(&room.join("scenarios")).expect("good scenarios");
        for canary in list(project).expect("a good list") {
            let known = scenarios.iter().any(|scenario| scenario.name == canary.scenario);
            assert!(known, "{}: {}", canary.name, canary.scenario);
        }
    }
}
