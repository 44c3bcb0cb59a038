//! What a run of Synod has to keep, as pure functions over its history. No IO of its own, no clock, no threads.
//!
//! A run, simulated or of real processes, is recorded as a [`History`]: what each client asked, what it was
//! told, what each device received, what every replica held at the end, and which faults were at work. [`judge`]
//! asks every [`Check`] about it and answers valid, violated or unknown.

mod checks;
pub mod export;
mod fast;
mod history;
mod judge;
mod ledger;
pub mod report;
mod search;
mod verdict;

pub use checks::{Secrets, all as all_checks};
pub use history::{
    C, Code, Conn, D, Entry, F, History, HistoryError, InboxLine, Interner, Kind, Level, NEMESIS,
    Op, Phase, Recorder, U, payload_hash, write_op,
};
pub use judge::{Check, Expectations, Facts, Faults, Judgement, judge};
pub use search::{SEARCH_OPS_MAX, Search};
pub use verdict::{Findings, Outcome, VIOLATIONS_MAX, Verdict, Violation};
