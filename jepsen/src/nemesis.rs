//! Whoever breaks the cluster: a catalogue of faults, schedules from a seed, and what each of them did.
//!
//! Every fault is installed, seen to bite, and healed. A fault that cannot be had on this machine says why and is
//! counted as skipped; one that was installed and not seen to bite is indeterminate. Nothing here judges the product.

use crate::cluster::{Cluster, Setback};
use crate::dice::Dice;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// For people: whom, how much.
    pub detail: String,
}

/// Why a fault was not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// One sentence.
    pub reason: String,
}

/// What became of a fault, for the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is being installed.
    Install,
    /// It is in place and was seen to bite.
    Installed,
    /// It is in place, but nobody saw it bite.
    Indeterminate,
    /// It is not in place.
    Skipped,
    /// It is being taken away.
    Heal,
    /// It is gone.
    Healed,
}

/// One line of what the nemesis did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// Nanoseconds of the machine's monotonic clock.
    pub at_ns: u64,
    /// The fault.
    pub fault: &'static str,
    /// How far it is.
    pub phase: Phase,
    /// Whom, how much, why not.
    pub detail: String,
}

/// Whom a fault may hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The nodes that may fail in this period. All faults of a period share them, so that the others stay a quorum.
    pub victims: Vec<u8>,
}

/// One kind of harm.
pub trait Fault: Send {
    /// Its name in scenarios, histories and reports.
    fn name(&self) -> &'static str;
    /// Does it.
    ///
    /// # Errors
    /// Why it is not possible here and now. Nothing is left behind then.
    fn install(
        &mut self,
        cluster: &mut Cluster,
        dice: &mut Dice,
        scope: &Scope,
    ) -> Result<Installed, Skipped>;
    /// Whether it did bite: what was seen, or why nothing was.
    ///
    /// # Errors
    /// Why it cannot be told, or that it did not.
    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String>;
    /// Undoes it. May be called twice.
    ///
    /// # Errors
    /// When the harness could not; the run is then no run.
    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback>;
}

/// How faults follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One fault a period.
    Single,
    /// Two at once.
    Pair,
    /// A new random subset every period, a quarter of the periods quiet.
    Mix,
    /// One after the other without healing, then healed in another order.
    Swizzle,
    /// One fault a period, always at whoever leads most.
    Targeted,
}

/// Whether this process may make namespaces and mount disks.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
