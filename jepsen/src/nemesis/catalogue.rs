//! Every fault there is, by name.

use crate::disk::Damage;

use super::Fault;
use super::faults::Who;
use super::faults::crash::{Crash, How};
use super::faults::membership::{Operator, Work};
use super::faults::partition::{Partition, Shape};
use super::faults::resources::{Thing, Want};
use super::faults::rot::{Rot, Where};
use super::faults::split::Split;
use super::faults::storage::{Ailment, IllDisk};
use super::faults::storms::{Again, Storm};
use super::faults::time::{Clock, WrongClock};
use super::faults::traffic::{Mishap, Mishaps};
use super::faults::unbuilt::Unbuilt;

/// All faults, in the order of what they break.
#[must_use]
pub fn catalogue() -> Vec<Box<dyn Fault>> {
    let mut all: Vec<Box<dyn Fault>> = Vec::new();
    for (name, how, who) in [
        ("kill-one", How::Kill, Who::One),
        ("kill-minority", How::Kill, Who::Minority),
        ("kill-leader", How::Kill, Who::Leader),
        ("kill-majority", How::Kill, Who::Majority),
        ("kill-all", How::Kill, Who::All),
        ("power-one", How::Power, Who::One),
        ("power-minority", How::Power, Who::Minority),
        ("power-leader", How::Power, Who::Leader),
        ("power-majority", How::Power, Who::Majority),
        ("power-all", How::Power, Who::All),
        ("pause-one", How::Pause, Who::One),
        ("pause-leader", How::Pause, Who::Leader),
        ("pause-majority", How::Pause, Who::Majority),
        ("pause-all", How::Pause, Who::All),
        ("freeze-one", How::Freeze, Who::One),
    ] {
        all.push(Box::new(Crash::new(name, how, who)));
    }
    for (name, shape) in [
        ("isolate-one", Shape::Isolate),
        ("isolate-leader", Shape::IsolateLeader),
        ("halves", Shape::Halves),
        ("bridge", Shape::Bridge),
        ("ring", Shape::Ring),
        ("deaf-one", Shape::Deaf),
        ("mute-one", Shape::Mute),
        ("clients-cut", Shape::Clients),
        ("clients-reset", Shape::ClientsReset),
        ("clients-cut-all", Shape::ClientsAll),
    ] {
        all.push(Box::new(Partition::new(name, shape)));
    }
    network(&mut all);
    disks(&mut all);
    machine(&mut all);
    for (name, work) in [
        ("drain-leader", Work::Drain),
        ("leader-transfer", Work::Transfer),
        ("membership-change", Work::Move),
    ] {
        all.push(Box::new(Operator::new(name, work)));
    }
    all.push(Box::new(Split::new()));
    for (name, reason) in [
        ("rolling-upgrade", "not built: there is no second release to upgrade to"),
        (
            "torn-writes",
            "not built: blocks of one write that arrive in part need a disk of our own (FUSE)",
        ),
    ] {
        all.push(Box::new(Unbuilt { name, reason }));
    }
    all
}

fn network(all: &mut Vec<Box<dyn Fault>>) {
    for (name, mishap) in [
        ("loss", Mishap::Loss),
        ("delay", Mishap::Delay),
        ("reorder", Mishap::Overtake),
        ("duplicate", Mishap::Twice),
        ("damage", Mishap::Damage),
        ("slow-link", Mishap::Slow),
        ("link-flap", Mishap::Flap),
        ("small-packets", Mishap::Small),
        ("large-packets-lost", Mishap::Swallow),
    ] {
        all.push(Box::new(Mishaps::new(name, mishap)));
    }
}

fn disks(all: &mut Vec<Box<dyn Fault>>) {
    for (name, ailment) in [
        ("slow-disk", Ailment::Slow),
        ("stalled-disk", Ailment::Stalled),
        ("slow-sync", Ailment::SlowSync),
        ("disk-full", Ailment::Full),
        ("disk-gone", Ailment::Gone),
        ("sync-error-once", Ailment::SyncErrorOnce),
        ("sync-errors", Ailment::SyncErrors),
        ("write-errors", Ailment::WriteErrors),
        ("write-no-space", Ailment::WriteFull),
        ("read-errors", Ailment::ReadErrors),
    ] {
        all.push(Box::new(IllDisk::new(name, ailment)));
    }
    for (name, place, damage) in [
        ("journal-bit", Where::Journal, Damage::Bit),
        ("journal-tail", Where::Journal, Damage::Tail),
        ("journal-file-gone", Where::Journal, Damage::Gone),
        ("tables-bit", Where::Tables, Damage::Bit),
        ("tables-tail", Where::Tables, Damage::Tail),
    ] {
        all.push(Box::new(Rot::new(name, place, damage)));
    }
}

fn machine(all: &mut Vec<Box<dyn Fault>>) {
    for (name, clock) in [
        ("clock-ahead", Clock::Ahead),
        ("clock-behind", Clock::Behind),
        ("clock-strobe", Clock::Strobe),
        ("clock-drift", Clock::Drift),
        ("monotonic-drift", Clock::MonotonicDrift),
    ] {
        all.push(Box::new(WrongClock::new(name, clock)));
    }
    for (name, thing) in
        [("little-cpu", Thing::Cpu), ("little-memory", Thing::Memory), ("few-files", Thing::Files)]
    {
        all.push(Box::new(Want::new(name, thing)));
    }
    for (name, again) in [
        ("rolling-restart", Again::Restart),
        ("leader-storm", Again::Leader),
        ("reconnect-storm", Again::Reconnect),
        ("address-change", Again::Address),
    ] {
        all.push(Box::new(Storm::new(name, again)));
    }
}

/// The fault of this name.
#[must_use]
pub fn named(name: &str) -> Option<Box<dyn Fault>> {
    catalogue().into_iter().find(|fault| fault.kind().name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_is_found_by_it() {
        let names: Vec<&str> = catalogue().iter().map(|fault| fault.kind().name).collect();
        let different: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(different.len(), names.len());
        for name in names {
            assert_eq!(named(name).map(|fault| fault.kind().name), Some(name));
        }
        assert!(named("no-such").is_none());
    }
}
