//! Whole nodes on a virtual clock, network and disk, from one seed.
//!
//! A run is a function of its [`Plan`]: the nodes are the product's own, wired by `node::Host` over ports; the clock, the
//! network, the disks, the people and all chance are the simulator's. What happened is written down as a history and
//! judged by the crate `checkers`, as the runs of real processes are.
//!
//! What is not here: QUIC, TLS, the peer plane's connections, table engines and threads. Those are for `tests`, `store`
//! and `jepsen`.

mod book;
mod canaries;
mod chance;
mod device;
mod dice;
mod disk;
mod faults;
mod panics;
mod plane;
mod run;
mod server;
mod shrink;
mod swarm;
mod sweep;
mod trace;
mod wire;
mod world;

pub use canaries::CAUGHT;
pub use run::{Report, faults, run};
pub use shrink::shrink;
pub use swarm::Plan;
pub use sweep::{Ledger, Sweep, sweep};

/// Call once, before the first run: panics of nodes become findings, and whatever a process draws only once is drawn now,
/// so that a run is the same whichever runs came before it.
pub fn prepare() {
    panics::install();
    let _ = run(&Plan { seed: WARM_UP, lasts_ms: 1000, ..Plan::default() }, false);
}

/// A seed with three nodes, groups and everybody's wishes.
const WARM_UP: u64 = 79;
