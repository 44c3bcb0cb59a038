//! Black box: real processes, broken from outside, judged on what their clients saw.
//!
//! This room drives the binary `synod` and knows nothing of its insides. A run (`run`) raises a cluster
//! (`cluster`), lets devices talk to it from a process of their own (`clients`), breaks it (`nemesis`), heals it, reads
//! everything back from every replica, and hands the history (`record`) to the crate `checkers`, which alone decides
//! what was kept. `campaign` is the small form that needs no root: it repeats the
//! demonstration over seeds; `lifecycle` lets an operator change a cluster under load and measures what clients see.

pub mod campaign;
pub mod canary;
pub mod clients;
pub mod cluster;
pub mod dice;
pub mod disk;
pub mod ledger;
pub mod lifecycle;
pub mod matrix;
pub mod nemesis;
pub mod net;
pub mod page;
pub mod pairs;
pub mod record;
pub mod run;
pub mod scenario;
pub mod verdict;
