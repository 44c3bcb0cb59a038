//! Black box: real processes, broken from outside, judged on what they print.
//!
//! This room drives the binary `synod` and knows nothing of its insides: it links no other room. Today it
//! repeats the demonstration with many seeds and judges every verdict and every stall (`campaign`, `ledger`).
//! It injects no fault of its own yet; the README's status table says what is planned.

pub mod campaign;
pub mod ledger;
pub mod verdict;
