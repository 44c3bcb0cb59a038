//! What a campaign has shown so far: one judgement a run, and the distribution of stalls.

use std::fmt;

use crate::campaign::verdict::{DemoVerdict, Judgement};

/// The runs of one campaign.
#[derive(Debug, Default)]
pub struct Tally {
    runs: Vec<DemoVerdict>,
    failures: Vec<String>,
}

impl Tally {
    /// Enters a run that ended with a verdict.
    pub fn enter(&mut self, verdict: DemoVerdict) {
        self.runs.push(verdict);
    }

    /// Enters a run that ended without one: the harness failed, not the product.
    pub fn enter_failure(&mut self, what: String) {
        self.failures.push(what);
    }

    /// The worst judgement over all runs; an empty tally shows nothing.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        self.runs.iter().map(DemoVerdict::judge).max().unwrap_or(Judgement::Unknown)
    }

    /// 0 valid, 1 violated, 2 unknown, 3 a run ended without a verdict.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self.judgement() {
            Judgement::Violated => 1,
            _ if !self.failures.is_empty() => 3,
            Judgement::Unknown => 2,
            Judgement::Valid => 0,
        }
    }

    /// Runs that ended without a verdict.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The stall that `percent` of all faults of `kind` stay at or below, milliseconds (nearest rank).
    #[must_use]
    pub fn stall_ms(&self, kind: &str, percent: u32) -> Option<u64> {
        let mut stalls: Vec<u64> = self
            .runs
            .iter()
            .flat_map(|run| &run.faults)
            .filter(|fault| fault.kind == kind)
            .map(|fault| fault.send_stall_ms)
            .collect();
        stalls.sort_unstable();
        let rank = (stalls.len() * percent as usize).div_ceil(100);
        stalls.get(rank.saturating_sub(1)).copied()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acked: u64 = self.runs.iter().map(|run| run.acked).sum();
        writeln!(f, "{} runs, {acked} acknowledged messages read back", self.runs.len())?;
        for kind in ["kill", "partition"] {
            let count =
                self.runs.iter().flat_map(|run| &run.faults).filter(|x| x.kind == kind).count();
            if let (Some(p50), Some(p99)) = (self.stall_ms(kind, 50), self.stall_ms(kind, 99)) {
                writeln!(f, "{kind}: {count} faults, stall p50 {p50} ms, p99 {p99} ms")?;
            }
        }
        for failure in &self.failures {
            writeln!(f, "no verdict: {failure}")?;
        }
        write!(f, "{:?}", self.judgement())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::verdict::{Fault, SCHEMA};

    fn run(stalls: &[u64], lost: u64) -> DemoVerdict {
        let fault = |&send_stall_ms: &u64| Fault {
            kind: "kill".to_owned(),
            node: 1,
            at_ms: 0,
            send_stall_ms,
        };
        DemoVerdict {
            schema: SCHEMA.to_owned(),
            sent: 5,
            acked: 5,
            lost,
            duplicated: 0,
            reordered: 0,
            undelivered: 0,
            faults: stalls.iter().map(fault).collect(),
            seed: 0,
            verdict: "pass".to_owned(),
        }
    }

    #[test]
    fn the_worst_run_judges_the_campaign() {
        let mut tally = Tally::default();
        assert_eq!(tally.judgement(), Judgement::Unknown);
        tally.enter(run(&[1], 0));
        assert_eq!(tally.judgement(), Judgement::Valid);
        tally.enter(run(&[1], 1));
        assert_eq!(tally.judgement(), Judgement::Violated);
    }

    #[test]
    fn percentiles_are_taken_over_all_faults_of_a_kind() {
        let mut tally = Tally::default();
        tally.enter(run(&[30, 10], 0));
        tally.enter(run(&[20, 40], 0));
        assert_eq!(tally.stall_ms("kill", 50), Some(20));
        assert_eq!(tally.stall_ms("kill", 99), Some(40));
        assert_eq!(tally.stall_ms("partition", 99), None);
    }
}
