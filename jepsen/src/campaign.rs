//! Runs the demonstration again and again, each time with the next seed, as a process of its own.
//!
//! It believes no more than the numbers that the demonstration prints; faults of its own it injects none.

pub mod tally;
pub mod verdict;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::campaign::tally::Tally;
use crate::campaign::verdict::DemoVerdict;
/// What to run.
#[derive(Debug, Clone)]
pub struct Campaign<'a> {
    /// The binary `synod`.
    pub synod: &'a Path,
    /// How many runs.
    pub runs: u64,
    /// The first seed; the others follow it.
    pub seed: u64,
    /// How long each run chats, seconds.
    pub seconds: u64,
    /// First port of the first node.
    pub port_base: u16,
}

impl Campaign<'_> {
    /// Runs them one after the other and enters each into the tally; `tell` hears of every run.
    pub fn run(&self, mut tell: impl FnMut(&str)) -> Tally {
        let mut tally = Tally::default();
        for seed in self.seed..self.seed + self.runs {
            match self.run_one(seed) {
                Ok(verdict) => {
                    tell(&describe(&verdict));
                    tally.enter(verdict);
                }
                Err(failure) => {
                    tell(&format!("seed {seed}: {failure}"));
                    tally.enter_failure(format!("seed {seed}: {failure}"));
                }
            }
        }
        tally
    }

    fn run_one(&self, seed: u64) -> Result<DemoVerdict, String> {
        let mut child = Command::new(self.synod)
            .args(["demo", "--json", "--for", &format!("{}s", self.seconds)])
            .args(["--seed", &seed.to_string(), "--port-base", &self.port_base.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.synod.display()))?;
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        let last = BufReader::new(stdout).lines().map_while(Result::ok).last();
        let status = child.wait().map_err(|error| format!("cannot wait for the run: {error}"))?;
        let line = last.ok_or_else(|| format!("printed nothing, ended with {status}"))?;
        DemoVerdict::parse(&line).map_err(|error| format!("{error} (ended with {status})"))
    }
}

fn describe(verdict: &DemoVerdict) -> String {
    let faults: Vec<String> = verdict
        .faults
        .iter()
        .map(|fault| format!("{} n{} {} ms", fault.kind, fault.node, fault.send_stall_ms))
        .collect();
    format!(
        "seed {}: {:?}, acked {}, lost {}, duplicated {}, reordered {}, undelivered {} [{}]",
        verdict.seed,
        verdict.judge(),
        verdict.acked,
        verdict.lost,
        verdict.duplicated,
        verdict.reordered,
        verdict.undelivered,
        faults.join(", ")
    )
}
