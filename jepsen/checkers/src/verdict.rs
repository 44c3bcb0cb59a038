//! What a check comes to, and what all of them together come to. Violated outweighs unknown, unknown outweighs valid.

use crate::history::C;
use serde::{Deserialize, Serialize};

/// Something that may never happen, with where to look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// One sentence; begins with the name of the anomaly, such as `lost-tail`.
    pub what: String,
    /// Indices of the operations that show it, as few as possible.
    pub ops: Vec<u64>,
    /// In which conversation.
    pub conversation: Option<C>,
    /// The sequences it is about.
    pub seqs: Vec<u64>,
}

impl Violation {
    /// A violation shown by these operations.
    pub fn new(what: impl Into<String>, ops: impl IntoIterator<Item = u64>) -> Violation {
        Violation {
            what: what.into(),
            ops: ops.into_iter().collect(),
            conversation: None,
            seqs: Vec::new(),
        }
    }

    /// The same, in this conversation at these sequences.
    pub fn at(mut self, c: C, seqs: impl IntoIterator<Item = u64>) -> Violation {
        self.conversation = Some(c);
        self.seqs = seqs.into_iter().collect();
        self
    }

    /// The name of the anomaly.
    pub fn name(&self) -> &str {
        self.what.split(':').next().unwrap_or("")
    }
}

/// What one check says about one history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The property held wherever it was looked at.
    Valid {
        /// How many facts were compared; 0 when the history has none for this check.
        judged: u64,
    },
    /// It did not hold.
    Violated {
        /// The first of them, at most [`VIOLATIONS_MAX`].
        violations: Vec<Violation>,
        /// All of them.
        count: u64,
    },
    /// The history does not allow to say.
    Unknown {
        /// What is missing.
        why: String,
    },
}

/// Violations that a check keeps; the rest is counted.
pub const VIOLATIONS_MAX: usize = 100;

/// The three verdicts alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything that was judged held.
    Valid,
    /// Not enough is known. Never a pass.
    Unknown,
    /// A promise was broken.
    Violated,
}

impl Verdict {
    /// Which of the three.
    pub fn outcome(&self) -> Outcome {
        match self {
            Verdict::Valid { .. } => Outcome::Valid,
            Verdict::Violated { .. } => Outcome::Violated,
            Verdict::Unknown { .. } => Outcome::Unknown,
        }
    }

    /// The violations that were kept.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Verdict::Violated { violations, .. } => violations,
            _ => &[],
        }
    }
}

/// Gathers what a check finds.
#[derive(Debug, Default)]
pub struct Findings {
    judged: u64,
    count: u64,
    violations: Vec<Violation>,
}

impl Findings {
    /// One fact was compared.
    pub fn judge(&mut self) {
        self.judged += 1;
    }

    /// One fact was compared and is a violation.
    pub fn violate(&mut self, violation: impl FnOnce() -> Violation) {
        self.count += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation());
        }
    }

    /// One fact was compared; it must hold.
    pub fn hold(&mut self, holds: bool, violation: impl FnOnce() -> Violation) {
        self.judged += 1;
        if !holds {
            self.violate(violation);
        }
    }

    /// The verdict over what was gathered.
    pub fn verdict(self) -> Verdict {
        match self.count {
            0 => Verdict::Valid { judged: self.judged },
            count => Verdict::Violated { violations: self.violations, count },
        }
    }
}
