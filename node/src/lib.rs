//! The process: everything between a client's link and the replicated log, and everything between two nodes.
//!
//! A message arrives at `gateway` (who are you), converses in `session` (what do you want), is routed by
//! `router` to the leader of its shard (at most one forward), decided by `shard` (the machine that raft drives)
//! and fanned out by `fanout` on every replica to the sessions connected there. `run` owns the one task set.
//!
//! This room decides nothing about what a message means (that is `chat`) and nothing about agreement (that is
//! `raft`); it wires them and holds the adapters of their ports.

mod asset;
pub mod backup;
mod boot;
mod carrying;
mod clock;
mod cluster;
pub mod config;
mod council;
mod damage;
mod digest;
mod disk;
#[doc(hidden)]
pub mod doors;
mod fanout;
mod figures;
mod gateway;
mod history;
mod hosted;
pub mod identity;
mod membership;
mod notify;
mod objects;
mod operated;
mod operations;
mod peers;
mod plane;
mod presence;
mod push;
pub mod recover;
mod reload;
mod resume;
mod retention;
mod router;
mod run;
mod search;
mod session;
mod shard;
mod trace;
mod typing;
mod upgrade;

pub use clock::{Clock, Entropy, ManualClock, SeededEntropy, SystemClock, SystemEntropy};
pub use digest::DigestTempo;
pub use fanout::Mailboxes;
pub use hosted::{Front, GroupView, Host, HostView, Surroundings};
pub use plane::Plane;
pub use push::{NoOutgoing, Outgoing};
pub use reload::{Reload, ReloadError, Reloaded, SetLogs};
pub use run::{Error, run, run_reloadable};

/// Method and path of every call that this node answers over HTTP: of clients first, then of operators at the client
/// plane, then of the operations port. `/chat` is the client plane's own. For tests and documents that must have an
/// opinion on each.
#[must_use]
pub fn calls() -> [Vec<(&'static str, &'static str)>; 3] {
    [gateway::calls(), gateway::operators::calls(), operations::calls()]
}
