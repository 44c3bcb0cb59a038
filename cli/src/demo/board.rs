//! What the demo shows: a model that events change and a view draws. No terminal, no network.

use std::{collections::VecDeque, time::Duration};

use super::{plan::Kind, stalls::Stalls, verdict::Findings};

/// Chat lines kept for the screen.
const CHAT_LINES: usize = 8;
/// Seconds of the rate that are drawn.
const RATE_SECONDS: usize = 40;
/// Latest waits that the percentiles are taken from.
const WAITS_MAX: usize = 2000;
/// Lines that the plain output may fall behind.
const LOG_LINES_MAX: usize = 1000;
/// Faults kept: far more than a verdict is read for, and bounded for a demo that runs for days.
pub(crate) const FAULTS_MAX: usize = 10_000;

/// Where the demo is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Running,
    Draining,
    Reading,
    Stopping,
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeState {
    Starting,
    Serving,
    /// Killed by the demo, or from outside.
    Dead,
    Cut,
}

#[derive(Debug, Clone)]
pub(crate) struct NodeLine {
    pub(crate) id: u64,
    pub(crate) state: NodeState,
    pub(crate) leads: usize,
    pub(crate) shards: usize,
    pub(crate) links: u64,
    pub(crate) address: String,
}

#[derive(Debug, Clone)]
pub(crate) struct FaultLine {
    pub(crate) kind: Kind,
    pub(crate) node: u64,
    pub(crate) at: Duration,
    pub(crate) led: usize,
    /// Seen to have taken hold.
    pub(crate) held: bool,
    pub(crate) over: bool,
}

/// Who may use the demo, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Invitation {
    pub(crate) web: String,
    pub(crate) ca: String,
    pub(crate) users: Vec<(String, String)>,
    pub(crate) context: Option<String>,
}

/// Everything that is shown.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) seed: u64,
    pub(crate) chaos: bool,
    pub(crate) phase: Phase,
    pub(crate) run_for: Option<Duration>,
    pub(crate) nodes: Vec<NodeLine>,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) delivered: u64,
    pub(crate) faults: Vec<FaultLine>,
    pub(crate) stalls: Stalls,
    pub(crate) chat: VecDeque<(String, String)>,
    pub(crate) verified: u64,
    pub(crate) findings: Findings,
    pub(crate) invitation: Invitation,
    pub(crate) crashes: usize,
    /// Acknowledgements in each of the last seconds; the last one is the current second.
    rates: VecDeque<(u64, u64)>,
    waits: VecDeque<Duration>,
    log: VecDeque<String>,
}

impl Board {
    pub(crate) fn new(seed: u64, chaos: bool, run_for: Option<Duration>) -> Board {
        Board {
            seed,
            chaos,
            phase: Phase::Starting,
            run_for,
            nodes: Vec::new(),
            sent: 0,
            acked: 0,
            refused: 0,
            delivered: 0,
            faults: Vec::new(),
            stalls: Stalls::default(),
            chat: VecDeque::new(),
            verified: 0,
            findings: Findings::default(),
            invitation: Invitation::default(),
            crashes: 0,
            rates: VecDeque::new(),
            waits: VecDeque::new(),
            log: VecDeque::new(),
        }
    }

    /// Something worth a line of its own.
    pub(crate) fn tell(&mut self, at: Duration, what: impl std::fmt::Display) {
        if self.log.len() == LOG_LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back(format!("{:>7.1} s  {what}", at.as_secs_f64()));
    }

    /// The lines told since the last call.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        self.log.drain(..).collect()
    }

    /// A send was acknowledged.
    pub(crate) fn acked(&mut self, began: Duration, at: Duration) {
        self.acked += 1;
        self.stalls.note(began, at);
        if self.waits.len() == WAITS_MAX {
            self.waits.pop_front();
        }
        self.waits.push_back(at.saturating_sub(began));
        let second = at.as_secs();
        match self.rates.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => self.rates.push_back((second, 1)),
        }
        while self.rates.len() > RATE_SECONDS {
            self.rates.pop_front();
        }
    }

    /// A message reached a bot; `line` is shown once, by whoever received it first.
    pub(crate) fn said(&mut self, place: String, line: String) {
        if self.chat.len() == CHAT_LINES {
            self.chat.pop_front();
        }
        self.chat.push_back((place, line));
    }

    /// Acknowledgements in each of the last `seconds` whole seconds before `now`, oldest first.
    pub(crate) fn rates(&self, now: Duration, seconds: u64) -> Vec<u64> {
        let now = now.as_secs();
        let of = |second: u64| {
            self.rates.iter().find(|(at, _)| *at == second).map_or(0, |(_, count)| *count)
        };
        (now.saturating_sub(seconds)..now).map(of).collect()
    }

    /// The wait that `percent` of the latest sends stayed at or below.
    pub(crate) fn wait(&self, percent: usize) -> Duration {
        let mut waits: Vec<Duration> = self.waits.iter().copied().collect();
        waits.sort_unstable();
        let rank = (waits.len() * percent).div_ceil(100);
        waits.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// A fault begins. Returns its number, or `None` when there have been too many to keep.
    pub(crate) fn fault(&mut self, kind: Kind, place: usize, at: Duration) -> Option<usize> {
        if self.faults.len() == FAULTS_MAX {
            return None;
        }
        let NodeLine { id, leads, .. } = self.nodes[place];
        self.faults.push(FaultLine { kind, node: id, at, led: leads, held: false, over: false });
        let number = self.stalls.begin(at);
        debug_assert_eq!(
            number + 1,
            self.faults.len(),
            "faults and their stalls are numbered alike"
        );
        let led = super::view::counted(leads, "shard");
        self.tell(at, format!("{} node {id}, which led {led}", kind.name()));
        Some(number)
    }

    /// The fault was seen to have taken hold.
    pub(crate) fn fault_held(&mut self, number: usize) {
        self.faults[number].held = true;
    }

    /// The fault is over.
    pub(crate) fn fault_over(&mut self, number: usize, at: Duration) {
        self.faults[number].over = true;
        self.stalls.end(number, at);
        let FaultLine { kind, node, .. } = self.faults[number];
        let stall = self.stalls.longest(number).as_millis();
        let undone = match kind {
            Kind::Kill => "serves again",
            Kind::Partition => "is healed",
        };
        self.tell(at, format!("node {node} {undone}; longest wait of a send so far {stall} ms"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn percentiles_and_rates_are_of_the_latest_sends() {
        let mut board = Board::new(1, true, None);
        for n in 1..=100 {
            board.acked(ms(1000), ms(1000 + n));
        }
        assert_eq!((board.wait(50), board.wait(99)), (ms(50), ms(99)));
        board.acked(ms(3000), ms(3001));
        assert_eq!(board.rates(ms(4200), 4), [0, 100, 0, 1]);
    }

    #[test]
    fn a_board_that_runs_for_days_stays_small() {
        let mut board = Board::new(1, true, None);
        for n in 0..20_000 {
            board.acked(ms(n * 500), ms(n * 500 + 3));
            board.said("lobby".into(), n.to_string());
            board.tell(ms(n), "line");
        }
        assert!(board.waits.len() <= WAITS_MAX && board.rates.len() <= RATE_SECONDS);
        assert!(board.chat.len() <= CHAT_LINES && board.take_log().len() <= LOG_LINES_MAX);
    }
}
