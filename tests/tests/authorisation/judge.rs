//! Counts cells and gathers the wrong ones, so that one run tells of all of them.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use proto::ProblemCode;

/// What came of one call, or should come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was done.
    Allowed,
    /// It was not, with this code.
    Refused(String),
}

impl Verdict {
    pub(crate) fn refused(code: impl Into<String>) -> Self {
        Self::Refused(code.into())
    }
}

impl Verdict {
    /// The status that goes with a refusal.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(code) => ProblemCode::from_code(code).map(ProblemCode::status),
            Self::Allowed => None,
        }
    }

    /// Whether somebody only has to ask again: no verdict at all.
    pub(crate) fn is_none_yet(&self) -> bool {
        let code = |code: &str| ProblemCode::from_code(code).is_some_and(ProblemCode::retryable);
        matches!(self, Self::Refused(refused) if code(refused))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => f.write_str("allowed"),
            Self::Refused(code) => f.write_str(code),
        }
    }
}

/// All cells so far.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    cells: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

impl Judge {
    /// One cell.
    pub(crate) fn cell(
        &self,
        call: &str,
        who: impl fmt::Debug,
        expected: &Verdict,
        found: &Verdict,
    ) {
        self.cells.fetch_add(1, Ordering::Relaxed);
        if expected != found {
            self.tell(format!("{call} by {who:?}: {found}, must be {expected}"));
        }
    }

    /// Something that holds for a cell beside its verdict.
    pub(crate) fn law(&self, held: bool, what: impl FnOnce() -> String) {
        if !held {
            self.tell(what());
        }
    }

    fn tell(&self, wrong: String) {
        self.wrong.lock().expect("nobody panics with it").push(wrong);
    }

    /// Ends the matrix.
    ///
    /// # Panics
    /// When a cell is wrong, or there are too few of them.
    pub(crate) fn close(self, cells_min: usize) {
        let cells = self.cells.into_inner();
        let wrong = self.wrong.into_inner().expect("nobody panics with it");
        println!("{cells} cells, {} wrong", wrong.len());
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
        assert!(cells >= cells_min, "only {cells} cells");
    }
}
