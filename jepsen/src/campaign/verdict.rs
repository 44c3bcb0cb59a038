//! The verdict that one run of the demonstration prints, and what this room makes of it.
//!
//! A run that says "pass" is believed only when it also shows that something was sent and that faults took hold.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The schema this room understands.
pub const SCHEMA: &str = "synod/demo-verdict/v1";

/// The last line of `synod demo --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemoVerdict {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Messages that bots tried to send.
    pub sent: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Acknowledged, and not found at the end.
    pub lost: u64,
    /// Stored more than once.
    pub duplicated: u64,
    /// Not in their sender's order, or not the same order everywhere.
    pub reordered: u64,
    /// Stored, and missing at a device that should have it.
    pub undelivered: u64,
    /// What was broken, and how long sends stood still.
    pub faults: Vec<Fault>,
    /// The seed that repeats the schedule.
    pub seed: u64,
    /// `pass` or `fail`.
    pub verdict: String,
}

/// One fault of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// `kill` or `partition`.
    pub kind: String,
    /// The node it hit.
    pub node: u64,
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// The longest that a send stood still around it, milliseconds.
    pub send_stall_ms: u64,
}

/// What this room makes of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// Clean, with faults that took hold.
    Valid,
    /// The run shows too little to say anything.
    Unknown,
    /// A promise was broken.
    Violated,
}

/// Why a line is not a verdict.
#[derive(Debug, Error)]
pub enum BadVerdict {
    /// Not the JSON it should be.
    #[error("the last line is no verdict: {0}")]
    Json(#[from] serde_json::Error),
    /// Another schema.
    #[error("the verdict has schema {0:?}, expected {SCHEMA:?}")]
    Schema(String),
}

impl DemoVerdict {
    /// Parses the last line of a run.
    ///
    /// # Errors
    /// When the line is not a verdict of the known schema.
    pub fn parse(line: &str) -> Result<Self, BadVerdict> {
        let verdict: Self = serde_json::from_str(line)?;
        if verdict.schema == SCHEMA { Ok(verdict) } else { Err(BadVerdict::Schema(verdict.schema)) }
    }

    /// Judges the run by its numbers, not by its own word alone.
    #[must_use]
    pub fn judge(&self) -> Judgement {
        let broken = self.lost + self.duplicated + self.reordered + self.undelivered;
        if broken > 0 || self.verdict != "pass" {
            return Judgement::Violated;
        }
        let killed = self.faults.iter().any(|fault| fault.kind == "kill");
        if self.acked == 0 || self.acked > self.sent || !killed {
            return Judgement::Unknown;
        }
        Judgement::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> DemoVerdict {
        DemoVerdict {
            schema: SCHEMA.to_owned(),
            sent: 10,
            acked: 9,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            undelivered: 0,
            faults: vec![Fault { kind: "kill".to_owned(), node: 1, at_ms: 5, send_stall_ms: 300 }],
            seed: 1,
            verdict: "pass".to_owned(),
        }
    }

    #[test]
    fn a_clean_run_with_a_kill_is_valid() {
        assert_eq!(clean().judge(), Judgement::Valid);
    }

    #[test]
    fn each_broken_promise_is_a_violation_whatever_the_run_says_of_itself() {
        for plant in [
            |v: &mut DemoVerdict| v.lost = 1,
            |v: &mut DemoVerdict| v.duplicated = 1,
            |v: &mut DemoVerdict| v.reordered = 1,
            |v: &mut DemoVerdict| v.undelivered = 1,
            |v: &mut DemoVerdict| v.verdict = "fail".to_owned(),
        ] {
            let mut verdict = clean();
            plant(&mut verdict);
            assert_eq!(verdict.judge(), Judgement::Violated);
        }
    }

    #[test]
    fn a_run_that_shows_nothing_is_unknown_not_a_pass() {
        for plant in [
            |v: &mut DemoVerdict| v.acked = 0,
            |v: &mut DemoVerdict| v.faults.clear(),
            |v: &mut DemoVerdict| v.acked = v.sent + 1,
        ] {
            let mut verdict = clean();
            plant(&mut verdict);
            assert_eq!(verdict.judge(), Judgement::Unknown);
        }
    }

    #[test]
    fn a_verdict_survives_its_own_line_and_foreign_lines_are_refused() {
        let line = serde_json::to_string(&clean()).expect("plain data");
        assert_eq!(DemoVerdict::parse(&line).expect("own line"), clean());
        assert!(DemoVerdict::parse("ready").is_err());
        assert!(DemoVerdict::parse(&line.replace("/v1", "/v9")).is_err());
    }
}
