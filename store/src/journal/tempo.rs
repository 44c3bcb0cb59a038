//! How long the disk takes over batches lately, and whether that is slow (rule W10).
//!
//! Law: a disk is slow when half of the newest batches took longer than a tenth of a second, or one does not end. It is
//! well again only after half a minute without any such sign, and each relapse doubles that, so that whoever acts on it
//! does not go back and forth. Times come from the disk's own clock; a disk without one is never slow. Nothing is decided
//! about what follows from it.

use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A batch that takes longer is a slow one: ten times what a disk with moving parts needs, and what `SynodDiskSlow` warns of.
const SLOW: Duration = Duration::from_millis(100);
/// Half of the newest must be this quick before a slow disk counts as getting well.
const QUICK: Duration = Duration::from_millis(50);
/// Batches that are remembered: at 100 ms each, a slow disk is known in about a second.
const NEWEST: usize = 16;
/// What is older says nothing about now.
const WINDOW: Duration = Duration::from_secs(10);
/// Fewer batches in the window prove nothing, slow or quick.
const ENOUGH: usize = 5;
/// Looks in a row at the same unfinished batch after which the disk stands still. Looks and not time: a process that was
/// stopped has looked once.
const STUCK_LOOKS: u32 = 10;
/// How long there must be no sign before the disk is well.
const WELL_FOR: Duration = Duration::from_secs(30);
/// The longest that relapses can make this.
const WELL_FOR_MAX: Duration = Duration::from_secs(480);
/// Who was well for so long has no relapse but a new illness.
const FORGIVEN: Duration = Duration::from_secs(600);
/// A slow disk that nobody writes to is tried this often, or it would never be known to be well.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The disk is slow.
    pub(crate) slow: bool,
    /// It should be tried now: nothing was written for a while.
    pub(crate) untried: bool,
}

#[derive(Default)]
struct State {
    /// When the newest batches ended and how long each took.
    newest: VecDeque<(Duration, Duration)>,
    /// What is being written, by number, and since when: a batch, and perhaps a try beside it.
    under_way: BTreeMap<u64, Duration>,
    begun: u64,
    /// How often in a row the same batch was found unfinished.
    looks: (u64, u32),
    slow: bool,
    /// Since when there was no sign of illness, while it is slow.
    well_since: Option<Duration>,
    /// When it was slow last, and how long it then had to be well.
    last: Option<(Duration, Duration)>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Tempo {
    state: Mutex<State>,
}

impl Tempo {
    /// A batch is about to be written; its number.
    pub(crate) fn begin(&self, now: Duration) -> u64 {
        let mut state = self.state.lock();
        state.begun += 1;
        let number = state.begun;
        state.under_way.insert(number, now);
        number
    }

    /// It is durable, or failed.
    pub(crate) fn end(&self, number: u64, now: Duration) {
        let mut state = self.state.lock();
        let since = state.under_way.remove(&number).expect("each batch ends once");
        if state.newest.len() == NEWEST {
            state.newest.pop_front();
        }
        state.newest.push_back((now, now.saturating_sub(since)));
    }

    /// What was found last.
    pub(crate) fn is_slow(&self) -> bool {
        self.state.lock().slow
    }

    /// Judges. To be called about ten times a second, by one caller.
    pub(crate) fn look(&self, now: Duration) -> Seen {
        let mut state = self.state.lock();
        let stuck = state.look_for_stuck();
        let median = state.median(now);
        if stuck || median.is_some_and(|median| median > SLOW) {
            state.fall_ill(now);
        } else if state.slow {
            state.get_well(now, median);
        }
        let tried = state.newest.back().map_or(Duration::ZERO, |(ended, _)| *ended);
        let idle = state.under_way.is_empty() && now.saturating_sub(tried) >= TRY_EVERY;
        Seen { slow: state.slow, untried: state.slow && idle }
    }
}

impl State {
    fn look_for_stuck(&mut self) -> bool {
        let Some(number) = self.under_way.keys().next().copied() else {
            self.looks = (0, 0);
            return false;
        };
        let before = if self.looks.0 == number { self.looks.1 } else { 0 };
        self.looks = (number, before.saturating_add(1));
        self.looks.1 >= STUCK_LOOKS
    }

    /// Of what ended in the window; `None` when that is too little.
    fn median(&self, now: Duration) -> Option<Duration> {
        let recent = self.newest.iter().filter(|(ended, _)| now.saturating_sub(*ended) < WINDOW);
        let mut took: Vec<Duration> = recent.map(|(_, took)| *took).collect();
        took.sort_unstable();
        (took.len() >= ENOUGH).then(|| took[took.len() / 2])
    }

    fn fall_ill(&mut self, now: Duration) {
        self.well_since = None;
        if !self.slow {
            let relapse = self.last.filter(|(at, _)| now.saturating_sub(*at) < FORGIVEN);
            let well_for = relapse.map_or(WELL_FOR, |(_, before)| (before * 2).min(WELL_FOR_MAX));
            self.last = Some((now, well_for));
            self.slow = true;
        }
    }

    fn get_well(&mut self, now: Duration, median: Option<Duration>) {
        if median.is_none_or(|median| median > QUICK) {
            self.well_since = None;
            return;
        }
        let since = *self.well_since.get_or_insert(now);
        let well_for = self.last.map_or(WELL_FOR, |(_, well_for)| well_for);
        if now.saturating_sub(since) >= well_for {
            self.slow = false;
            self.well_since = None;
            self.last = Some((now, well_for));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(100);

    /// A disk that is written to without a pause, looked at ten times a second.
    struct Bench {
        tempo: Tempo,
        now: Duration,
    }

    impl Bench {
        fn new() -> Self {
            Self { tempo: Tempo::default(), now: Duration::from_secs(100) }
        }

        /// Batches of `took` for `span`; whether the disk was slow at the end, and at how many looks.
        fn write(&mut self, took: Duration, span: Duration) -> (bool, usize) {
            let (end, mut slow) = (self.now + span, 0);
            let mut next_look = self.now;
            while self.now < end {
                let number = self.tempo.begin(self.now);
                self.now += took;
                while next_look < self.now {
                    slow += usize::from(self.tempo.look(next_look).slow);
                    next_look += LOOK;
                }
                self.tempo.end(number, self.now);
            }
            (self.tempo.look(self.now).slow, slow)
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_disk_that_becomes_slow_is_known_within_three_seconds_and_a_quick_one_never() {
        let mut bench = Bench::new();
        assert_eq!(bench.write(ms(2), Duration::from_secs(20)), (false, 0));
        assert_eq!(bench.write(ms(40), Duration::from_secs(20)), (false, 0));
        assert!(bench.write(ms(150), Duration::from_secs(3)).0);
    }

    #[test]
    fn one_long_barrier_and_a_stopped_process_are_no_slow_disk() {
        let mut bench = Bench::new();
        bench.write(ms(5), Duration::from_secs(5));
        bench.write(ms(900), ms(900));
        assert_eq!(bench.write(ms(5), Duration::from_secs(5)), (false, 0));
        let number = bench.tempo.begin(bench.now);
        bench.now += Duration::from_secs(60);
        assert!(!bench.tempo.look(bench.now).slow, "it was this process that stood still");
        bench.tempo.end(number, bench.now);
        assert!(!bench.tempo.look(bench.now).slow);
    }

    #[test]
    fn a_batch_that_does_not_end_is_a_slow_disk() {
        let mut bench = Bench::new();
        bench.write(ms(5), Duration::from_secs(5));
        bench.tempo.begin(bench.now);
        let looks = (0..30).map(|_| {
            bench.now += LOOK;
            bench.tempo.look(bench.now).slow
        });
        let slow: Vec<bool> = looks.collect();
        assert!(!slow[5] && slow[29]);
    }

    #[test]
    fn it_is_well_after_half_a_minute_without_a_sign_and_a_relapse_takes_twice_as_long() {
        let mut bench = Bench::new();
        assert!(bench.write(ms(150), Duration::from_secs(5)).0);
        assert!(bench.write(ms(5), Duration::from_secs(25)).0, "not yet");
        assert!(!bench.write(ms(5), Duration::from_secs(10)).0);
        assert!(bench.write(ms(150), Duration::from_secs(5)).0);
        assert!(bench.write(ms(5), Duration::from_secs(50)).0, "not so soon this time");
        assert!(!bench.write(ms(5), Duration::from_secs(20)).0);
        bench.write(ms(5), Duration::from_secs(700));
        assert!(bench.write(ms(150), Duration::from_secs(5)).0);
        assert!(!bench.write(ms(5), Duration::from_secs(40)).0, "that was long ago");
    }

    #[test]
    fn a_slow_disk_that_nobody_writes_to_is_tried_and_stays_slow_until_it_is_quick() {
        let mut bench = Bench::new();
        bench.write(ms(150), Duration::from_secs(5));
        bench.now += Duration::from_secs(60);
        let seen = bench.tempo.look(bench.now);
        assert_eq!(seen, Seen { slow: true, untried: true }, "silence is no recovery");
        assert!(bench.write(ms(70), Duration::from_secs(60)).0, "neither slow nor quick");
    }
}
