//! Many runs, one after the other: a tier's scenarios with seed after seed, each entered into the ledger. The worst of them
//! is what the matrix comes to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use checkers::Outcome;

use crate::cluster::interrupts;
use crate::ledger::{self, Line};
use crate::run::{self, Assignment, Failure, Finished};
use crate::scenario::Scenario;
use crate::verdict;

/// What stays the same from run to run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The binary to break.
    pub synod: PathBuf,
    /// Where folders of runs go.
    pub runs: PathBuf,
    /// The project.
    pub project: PathBuf,
    /// Keep the histories of runs that held, too.
    pub keep: bool,
    /// Enter runs into the ledger.
    pub on_record: bool,
}

/// Runs scenarios.
#[derive(Debug)]
pub struct Matrix {
    place: Place,
    stop: Arc<AtomicBool>,
}

/// How bad an exit code is: a violation outweighs a broken harness, which outweighs not knowing.
const GRAVITY: [u8; 4] = [0, 2, 3, 1];

impl Matrix {
    /// Listens for Ctrl-C from now on, so that a run is taken down in order.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub fn new(place: Place) -> Result<Self, Failure> {
        let stop = interrupts().map_err(|setback| Failure::Harness(setback.to_string()))?;
        Ok(Self { place, stop })
    }

    /// The same with another binary.
    #[must_use]
    pub fn against(&self, synod: PathBuf, on_record: bool) -> Self {
        let place = Place { synod, on_record, ..self.place.clone() };
        Self { place, stop: Arc::clone(&self.stop) }
    }

    /// Runs one scenario and says how it went: 0 valid, 1 violated, 2 unknown, 3 no verdict.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn run_one(&self, scenario: Scenario, seed: u64) -> Result<u8, String> {
        let expected = scenario.expect.clone();
        let code = match self.run(scenario, seed) {
            Ok(finished) => {
                print!("{}", finished.text);
                println!("{}", finished.folder.display());
                self.enter(&finished.line)?;
                code(finished.outcome, &expected)
            }
            Err(failure) => tell_failure(&failure),
        };
        Ok(code)
    }

    fn run(&self, scenario: Scenario, seed: u64) -> Result<Finished, Failure> {
        let assignment = Assignment {
            scenario,
            seed,
            synod: self.place.synod.clone(),
            runs: self.place.runs.clone(),
            project: self.place.project.clone(),
            keep: self.place.keep,
        };
        run::run(&assignment, &self.stop, &mut |line| println!("{line}"))
    }

    /// The verdict of one run and the anomalies that were named, without exit codes.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn judge_one(&self, scenario: Scenario, seed: u64) -> Result<Line, Failure> {
        let finished = self.run(scenario, seed)?;
        print!("{}", finished.text);
        Ok(finished.line)
    }

    /// Runs all scenarios of a tier, as often as each says.
    ///
    /// # Errors
    /// When there is no such tier, or the ledger cannot be written.
    pub fn run_tier(&self, all: &[Scenario], tier: &str, seed: u64) -> Result<u8, String> {
        let chosen: Vec<&Scenario> =
            all.iter().filter(|scenario| scenario.tiers.iter().any(|name| name == tier)).collect();
        if chosen.is_empty() {
            return Err(format!("no scenario is of tier {tier:?}"));
        }
        let mut table = Vec::new();
        let mut worst = 0;
        let mut next = seed;
        for scenario in chosen {
            for _ in 0..scenario.repeat {
                if self.stop.load(Ordering::Relaxed) {
                    worst = graver(worst, 3);
                    break;
                }
                let (line, code) = self.one_of_many(scenario, next)?;
                worst = graver(worst, code);
                table.push(line);
                next += 1;
            }
        }
        println!("\n{}", table.join("\n"));
        Ok(worst)
    }

    fn one_of_many(&self, scenario: &Scenario, seed: u64) -> Result<(String, u8), String> {
        match self.run(scenario.clone(), seed) {
            Ok(finished) => {
                self.enter(&finished.line)?;
                let code = code(finished.outcome, &scenario.expect);
                if code != 0 {
                    print!("{}", finished.text);
                    println!("{}", finished.folder.display());
                }
                let line = &finished.line;
                let bit: u64 = line.faults.values().sum();
                let text = format!(
                    "{:<28} seed {seed:<6} {:<9} {} acknowledged ({}/s), {bit} faults bit {}",
                    scenario.name,
                    line.verdict,
                    line.acknowledged,
                    line.acknowledged_per_second,
                    line.notes.join("; "),
                );
                println!("{text}");
                Ok((text, code))
            }
            Err(failure) => {
                let code = tell_failure(&failure);
                self.enter(&no_verdict(scenario, seed, &failure))?;
                Ok((format!("{:<28} seed {seed:<6} no verdict: {failure}", scenario.name), code))
            }
        }
    }

    fn enter(&self, line: &Line) -> Result<(), String> {
        if !self.place.on_record {
            return Ok(());
        }
        ledger::append(&self.place.project, line).map_err(|error| error.to_string())
    }
}

fn no_verdict(scenario: &Scenario, seed: u64, failure: &Failure) -> Line {
    let verdict = match failure {
        Failure::Unable(_) => "unknown",
        Failure::Harness(_) => "failed",
    };
    Line {
        at: 0,
        commit: String::new(),
        binary: String::new(),
        scenario: scenario.name.clone(),
        seed,
        faults: Default::default(),
        fault_seconds: 0,
        seconds: 0,
        operations: 0,
        acknowledged: 0,
        acknowledged_per_second: 0,
        verdict: verdict.to_owned(),
        notes: vec![failure.to_string()],
        pairs: Vec::new(),
    }
}

fn tell_failure(failure: &Failure) -> u8 {
    println!("{failure}");
    match failure {
        Failure::Unable(_) => 2,
        Failure::Harness(_) => 3,
    }
}

/// What was expected is 0, whatever it was; a surprise is what it is.
fn code(outcome: Outcome, expected: &str) -> u8 {
    match outcome {
        _ if verdict::name(outcome) == expected => 0,
        Outcome::Valid | Outcome::Violated => 1,
        Outcome::Unknown => 2,
    }
}

fn graver(one: u8, other: u8) -> u8 {
    let gravity = |code: u8| GRAVITY.iter().position(|known| *known == code);
    if gravity(one) >= gravity(other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_outweighs_everything_and_nothing_makes_unknown_a_pass() {
        assert_eq!([0, 2, 0].into_iter().fold(0, graver), 2);
        assert_eq!([0, 2, 3, 0].into_iter().fold(0, graver), 3);
        assert_eq!([3, 1, 2].into_iter().fold(0, graver), 1);
        assert_eq!(code(Outcome::Valid, "valid"), 0);
        assert_eq!(code(Outcome::Unknown, "valid"), 2);
        assert_eq!(code(Outcome::Violated, "violated"), 0);
        assert_eq!(code(Outcome::Valid, "violated"), 1);
    }
}
