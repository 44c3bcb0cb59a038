//! Faults that the product leaves no room for yet: they are in the catalogue so that a report says that they were not tried.

use crate::cluster::{Cluster, Setback};
use crate::dice::Dice;
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};

/// Always skipped.
#[derive(Debug)]
pub(in crate::nemesis) struct Unbuilt {
    pub(in crate::nemesis) name: &'static str,
    pub(in crate::nemesis) reason: &'static str,
}

impl Fault for Unbuilt {
    fn kind(&self) -> Kind {
        Kind { name: self.name, toll: Toll::Alone, leader: false }
    }

    fn install(&mut self, _: &mut Cluster, _: &mut Dice, _: &Scope) -> Result<Installed, Skipped> {
        Err(Skipped::new(self.reason))
    }

    fn verify(&mut self, _: &mut Cluster) -> Result<String, String> {
        Err(self.reason.to_owned())
    }

    fn heal(&mut self, _: &mut Cluster) -> Result<(), Setback> {
        Ok(())
    }
}
