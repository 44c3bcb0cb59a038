//! Whoever breaks the cluster: a catalogue of faults, schedules from a seed, and what each of them did.
//!
//! Every fault is installed, seen to bite, and healed. A fault that cannot be had on this machine says why and is
//! counted as skipped; one that was installed and not seen to bite is indeterminate. Nothing here judges the product.

mod catalogue;
mod doctor;
mod faults;
mod runner;
mod schedule;
mod trial;

use crate::cluster::{Cluster, Setback};
use crate::dice::Dice;

pub use catalogue::{catalogue, named};
pub use doctor::{Finding, doctor, is_root};
pub use runner::{Deed, Nemesis, Phase, Sum};
pub use schedule::{Act, Kind, Mode, Schedule, Terms, Toll, Victims};
pub use trial::{Trial, try_each};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// For people: whom, how much.
    pub detail: String,
}

impl Installed {
    /// Done, with what people want to know of it.
    pub fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into() }
    }
}

/// Why a fault was not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// One sentence.
    pub reason: String,
}

impl Skipped {
    /// Not done, and why not.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl From<Setback> for Skipped {
    fn from(setback: Setback) -> Self {
        Self { reason: setback.to_string() }
    }
}

/// Whom a fault may hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The nodes that may fail in this period. All faults of a period share them, so that the others stay a quorum.
    pub victims: Vec<u8>,
}

/// One kind of harm.
pub trait Fault: Send {
    /// What a schedule must know of it, with its name in scenarios, histories and reports.
    fn kind(&self) -> Kind;

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

    /// Whether it bit so far: what was seen, or why nothing was. Asked again and again while it lasts.
    ///
    /// # Errors
    /// Why it cannot be told yet, or that it did not bite.
    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String>;

    /// Undoes it. May be called twice. A node that it ended is started, but not waited for.
    ///
    /// # Errors
    /// When the harness could not; the run is then no run.
    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback>;
}
