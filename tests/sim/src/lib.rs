//! Whole nodes on a virtual clock, network and disk, from one seed.
//!
//! A run is a function of its [`Plan`]: the nodes are the product's own, wired by `node::Host` over ports; the clock, the
//! network, the disks, the people and all chance are the simulator's. What happened is written down as a history and
//! judged by the crate `checkers`, as the runs of real processes are.
//!
//! What is not here: QUIC, TLS, the peer plane's connections, table engines and threads. Those are for `tests`, `store`
//! and `jepsen`.

mod book;
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

pub use run::{Report, faults, run};
pub use shrink::shrink;
pub use swarm::Plan;
pub use sweep::{Ledger, Sweep, sweep};

/// Call once, before the first run: panics of nodes become findings.
pub fn prepare() {
    panics::install();
}
