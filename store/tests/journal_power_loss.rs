//! Power losses and kills on the simulated disk, from seeds: whatever was acknowledged is there, in
//! order, and nothing else.
//!
//! Every seed is a folder with several lives. A life ends after a random number of disk operations,
//! anywhere: between a write and its barrier, in the middle of a change of segments, of a removal
//! or of a recovery. A failure prints its seed.

#[path = "support/journal.rs"]
mod support;

use std::sync::Arc;
use store::disk::Fault;
use store::{Journal, MemoryDisk, Pace};
use support::{Random, Run, config, open};

const GROUPS: u32 = 4;

struct World {
    disk: MemoryDisk,
    random: Random,
    run: Run,
    trace: String,
}

impl World {
    fn new(seed: u64, pace: Pace) -> Self {
        Self {
            disk: MemoryDisk::new(pace),
            random: Random(seed ^ 0xfeed),
            run: Run::new(seed, GROUPS),
            trace: format!("seed {seed}"),
        }
    }

    /// Ends all handles: a kill or a power loss.
    fn stop(&mut self, power: bool) {
        self.disk = if power { self.disk.power_loss(self.random.next()) } else { self.disk.kill() };
        self.trace += if power { ", power loss" } else { ", kill" };
    }

    fn open(&mut self) -> Option<Journal> {
        match open(self.disk.clone()) {
            Ok(journal) => Some(journal),
            Err(error) if format!("{error}").contains("simulated machine has stopped") => None,
            Err(error) => panic!("{}: {error}", self.trace),
        }
    }

    /// Opens, possibly stopped again and again while it recovers, and judges.
    fn recover(&mut self) -> Journal {
        loop {
            if self.random.below(3) == 0 {
                let operations = self.random.below(12);
                self.disk.stop_after(operations);
                self.trace += &format!(", recovery stopped after {operations}");
            }
            let Some(journal) = self.open() else {
                let power = self.random.below(2) == 0;
                self.stop(power);
                continue;
            };
            self.run.judge(&journal).unwrap_or_else(|why| panic!("{}: {why}", self.trace));
            if self.random.below(2) == 0 {
                return journal;
            }
            // What was reported is durable (rule W7): it survives a power loss at once.
            self.stop(true);
            drop(journal);
        }
    }

    fn live(&mut self, journal: &Journal, faults: bool) {
        let operations = self.random.below(250);
        self.disk.stop_after(operations);
        self.trace += &format!(", life of {operations}");
        if faults && self.random.below(2) == 0 {
            let fault = if self.random.below(2) == 0 { Fault::Sync } else { Fault::Write };
            self.disk.fail_next(fault);
            self.trace += &format!(" with {fault:?}");
        }
        let busy = self.random.below(2) == 0;
        for _ in 0..self.random.below(200) {
            self.run.call(journal);
            for _ in 0..self.random.below(3) {
                // A busy disk has no time for chores, so that segments are made in a hurry.
                if !busy || journal.stats().waiting_bytes > 0 {
                    journal.step();
                }
            }
            if journal.fatal().is_some() && self.random.below(4) == 0 {
                break;
            }
        }
    }
}

fn many_lives(seed: u64, pace: Pace, faults: bool) {
    let mut world = World::new(seed, pace);
    for _ in 0..8 {
        let journal = world.recover();
        world.live(&journal, faults);
        let power = world.random.below(3) > 0;
        world.stop(power);
        drop(journal);
    }
    world.recover();
}

/// Seeds to try: `JOURNAL_SEEDS` as `from..to`, for a longer hunt.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("JOURNAL_SEEDS") else {
        return 0..default;
    };
    let (from, to) = range.split_once("..").expect("JOURNAL_SEEDS=from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn no_acknowledged_call_is_lost_when_batches_are_small() {
    for seed in seeds(60) {
        many_lives(seed, Pace::Inline, false);
    }
}

#[test]
fn no_acknowledged_call_is_lost_when_batches_are_large() {
    for seed in seeds(60) {
        many_lives(seed, Pace::Stepped, false);
    }
}

#[test]
fn no_acknowledged_call_is_lost_when_barriers_and_writes_fail() {
    for seed in seeds(60) {
        many_lives(seed, Pace::Stepped, true);
    }
}

#[test]
fn the_simulation_is_a_function_of_its_seed() {
    let files = |seed| {
        let disk = MemoryDisk::new(Pace::Stepped);
        let journal = Journal::open(Arc::new(disk.clone()), config()).expect("opens");
        let mut run = Run::new(seed, GROUPS);
        for _ in 0..400 {
            run.call(&journal);
            if run.random.below(3) == 0 {
                journal.step();
            }
        }
        let disk = disk.power_loss(seed);
        let names = store::Disk::list(&disk).expect("a live disk");
        names.iter().map(|name| disk.contents(name).expect("it is there")).collect::<Vec<_>>()
    };
    assert!(files(5) == files(5));
    assert!(files(5) != files(6), "or the comparison says nothing");
}
