//! Station 5: propose. One line of waiting commands for each group. A permit first (bounded in
//! commands and bytes), then a place: the order of `submit` is the order of proposals. Whatever waits
//! when the entry in flight is done becomes the next entry; exactly one is in flight.
//!
//! Laws: `NotLeader`, `Overloaded`, `Unavailable` and `Stopped` are said only of commands that were
//! never appended; everything that may yet commit and has no outcome is `Unknown`.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    Clock, Config, Fatal, NodeId, ProposeError, figures,
    stop::Stop,
    types::{Completion, Data, WriteResult},
};

mod gather;
mod result;
#[cfg(test)]
mod tests;

pub(crate) use gather::Beat;
use result::Verdict;

/// When room in the line is likely again: a few rounds of a busy group.
const RETRY_WHEN_FULL: Duration = Duration::from_millis(20);
/// When room on the disk may be again: as often as it is looked at.
const RETRY_WHEN_DISK_LOW: Duration = Duration::from_secs(1);
/// Entries of lost leaderships whose outcome may still arrive. Each leaves after
/// `commit_patience` at the latest, so more than this means many leader changes in that time.
const ORPHANS_MAX: usize = 16;

pub(crate) type AnswerSender = oneshot::Sender<Result<Bytes, ProposeError>>;
pub(crate) type AnswerReceiver = oneshot::Receiver<Result<Bytes, ProposeError>>;
/// Hands an entry to the engine, to be appended only under our leadership of the given term.
pub(crate) type Propose = Box<dyn Fn(u64, Data, Completion<WriteResult>) + Send + Sync>;

/// What this replica is, for those who propose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Another replica leads, or none.
    Following { leader: Option<NodeId> },
    /// Elected in this term; proposes once its first entry is applied.
    Leading { term: u64 },
    /// The group does not run.
    Stopped,
}

/// The line of one group.
pub(crate) struct Line {
    limits: Limits,
    clock: Arc<dyn Clock>,
    beat: Beat,
    stop: Stop,
    propose: OnceLock<Propose>,
    state: Mutex<State>,
}

struct Limits {
    commands_max: usize,
    bytes_max: usize,
    entry_commands_max: usize,
    entry_bytes_max: usize,
    patience: Duration,
}

struct State {
    role: Role,
    since: Instant,
    /// The last term whose first entry was applied here and was ours.
    opened: Option<u64>,
    /// The detector sees a quorum.
    quorum: bool,
    /// The disk has room.
    room: bool,
    /// The entry in flight, or the first entry of this leadership, takes too long.
    stuck: bool,
    waiting: VecDeque<Waiting>,
    /// Waiting or in flight, commands and bytes.
    held: (usize, usize),
    flight: Option<Flight>,
    /// The next entry gathers commands until then.
    gather_until: Option<Instant>,
    orphans: Vec<Flight>,
    flights: u64,
}

struct Waiting {
    command: Bytes,
    answer: AnswerSender,
}

/// An entry that was handed to the engine.
struct Flight {
    number: u64,
    since: Instant,
    load: Arc<Load>,
}

/// Who waits for an entry. Whoever takes the answers gives the permits back.
struct Load {
    answers: Mutex<Vec<AnswerSender>>,
    bytes: usize,
}

/// An entry on its way to the engine.
struct Departure {
    term: u64,
    number: u64,
    commands: Vec<Bytes>,
    load: Arc<Load>,
}

/// Answers to be given once no lock is held.
type Farewell = (Vec<AnswerSender>, ProposeError);

impl Line {
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>, beat: Beat, stop: Stop) -> Arc<Self> {
        let limits = Limits {
            commands_max: config.propose_commands_max,
            bytes_max: config.propose_bytes_max,
            entry_commands_max: config.entry_commands_max,
            entry_bytes_max: config.entry_bytes_max,
            patience: config.commit_patience,
        };
        let state = Mutex::new(State {
            role: Role::Following { leader: None },
            since: Instant::now(),
            opened: None,
            quorum: true,
            room: true,
            stuck: false,
            waiting: VecDeque::new(),
            held: (0, 0),
            flight: None,
            gather_until: None,
            orphans: Vec::new(),
            flights: 0,
        });
        Arc::new(Self { limits, clock, beat, stop, propose: OnceLock::new(), state })
    }

    /// Says how entries reach the engine. Once, before the engine runs.
    pub(crate) fn connect(&self, propose: Propose) {
        assert!(self.propose.set(propose).is_ok(), "a line is connected once");
    }

    /// Takes a permit and a place.
    pub(crate) fn submit(self: &Arc<Self>, command: Bytes) -> Result<AnswerReceiver, ProposeError> {
        let mut state = self.state.lock();
        self.admit(&state, command.len()).inspect_err(count_refusal)?;
        let (answer, outcome) = oneshot::channel();
        state.held.0 += 1;
        state.held.1 += command.len();
        state.waiting.push_back(Waiting { command, answer });
        let departure = self.next(&mut state);
        drop(state);
        self.depart(departure);
        Ok(outcome)
    }

    fn admit(&self, state: &State, bytes: usize) -> Result<(), ProposeError> {
        match state.role {
            Role::Following { leader } => return Err(ProposeError::NotLeader { leader }),
            Role::Stopped => return Err(ProposeError::Stopped),
            Role::Leading { .. } => {}
        }
        if !state.quorum || state.stuck {
            return Err(ProposeError::Unavailable);
        }
        if !state.room {
            return Err(ProposeError::Overloaded { retry_after: RETRY_WHEN_DISK_LOW });
        }
        let (commands, held) = state.held;
        if commands >= self.limits.commands_max || held + bytes > self.limits.bytes_max {
            return Err(ProposeError::Overloaded { retry_after: RETRY_WHEN_FULL });
        }
        Ok(())
    }

    /// Takes what waits, up to one entry, if nothing is in flight.
    fn next(&self, state: &mut State) -> Option<Departure> {
        let Role::Leading { term } = state.role else {
            return None;
        };
        if !state.is_open() || state.flight.is_some() || state.waiting.is_empty() {
            return None;
        }
        let gathers =
            |until| state.waiting.len() < self.limits.entry_commands_max && Instant::now() < until;
        if state.gather_until.is_some_and(gathers) {
            return None;
        }
        state.gather_until = None;
        let (mut commands, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(waiting) = state.waiting.front() {
            let size = waiting.command.len();
            let full = commands.len() >= self.limits.entry_commands_max
                || bytes + size > self.limits.entry_bytes_max;
            if !commands.is_empty() && full {
                break;
            }
            let waiting = state.waiting.pop_front().expect("the front was just seen");
            bytes += size;
            commands.push(waiting.command);
            answers.push(waiting.answer);
        }
        state.flights += 1;
        let number = state.flights;
        let load = Arc::new(Load { answers: Mutex::new(answers), bytes });
        state.flight = Some(Flight { number, since: Instant::now(), load: load.clone() });
        Some(Departure { term, number, commands, load })
    }

    fn depart(self: &Arc<Self>, departure: Option<Departure>) {
        let Some(Departure { term, number, commands, load }) = departure else {
            return;
        };
        figures::ENTRIES.increment(1);
        figures::ENTRY_COMMANDS.record(commands.len() as f64);
        let entry = proto::log::Entry { at_ms: self.clock.now_ms(), commands };
        let data = Data(entry.encode_to_vec().into());
        let line = self.clone();
        let done = Completion::new(move |result| line.landed(number, &load, result));
        let propose = self.propose.get().expect("a line leads only after it was connected");
        propose(term, data, done);
    }

    /// The engine is done with an entry.
    fn landed(self: &Arc<Self>, number: u64, load: &Load, result: Option<WriteResult>) {
        let verdict = Verdict::of(result);
        let answers = std::mem::take(&mut *load.answers.lock());
        if let Verdict::Outcomes(outcomes) = &verdict
            && !answers.is_empty()
            && outcomes.len() != answers.len()
        {
            let text = format!("{} outcomes for {} commands", outcomes.len(), answers.len());
            self.stop.report(Fatal::new(text));
        }
        let mut state = self.state.lock();
        state.release(&answers, load.bytes);
        if let Some(flight) = state.flight.take_if(|flight| flight.number == number) {
            state.stuck = false;
            let took = flight.since.elapsed();
            figures::COMMIT_SECONDS.record(took.as_secs_f64());
            self.gather(&mut state, answers.len(), took);
        }
        state.orphans.retain(|flight| flight.number != number);
        if matches!(verdict, Verdict::EngineGone) {
            state.role = Role::Stopped;
        }
        let farewell = match state.role {
            Role::Stopped => state.dismiss(ProposeError::Stopped),
            Role::Following { .. } | Role::Leading { .. } => None,
        };
        let departure = self.next(&mut state);
        drop(state);
        self.depart(departure);
        verdict.tell(answers);
        tell(farewell);
    }

    /// Holds the next entry back for a moment when the last one shows that many write at once. Without a runtime
    /// to wake it, nothing is held back.
    fn gather(self: &Arc<Self>, state: &mut State, commands: usize, took: Duration) {
        let until = self.beat.gather_until(Instant::now(), commands, took);
        let Some(until) = until else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        state.gather_until = Some(until);
        let line = Arc::clone(self);
        runtime.spawn(async move {
            tokio::time::sleep_until(until).await;
            let departure = line.next(&mut line.state.lock());
            line.depart(departure);
        });
    }

    /// Our first entry of `term` was applied: proposals may be made.
    pub(crate) fn opened(self: &Arc<Self>, term: u64) {
        let mut state = self.state.lock();
        state.opened = Some(term);
        state.stuck &= state.flight.is_some();
        let departure = self.next(&mut state);
        drop(state);
        self.depart(departure);
    }

    /// This replica's role may have changed.
    pub(crate) fn set_role(self: &Arc<Self>, role: Role) {
        let mut state = self.state.lock();
        if state.role == role || state.role == Role::Stopped {
            return;
        }
        let same_leadership =
            matches!((state.role, role), (Role::Following { .. }, Role::Following { .. }));
        state.role = role;
        state.since = Instant::now();
        state.stuck = false;
        if !same_leadership && let Some(flight) = state.flight.take() {
            // Its outcome may still arrive. It must not hold up what a new leadership proposes.
            state.orphans.push(flight);
        }
        let excess = state.orphans.len().saturating_sub(ORPHANS_MAX);
        let given_up: Vec<_> = state.orphans.drain(..excess).collect();
        let lost: Vec<_> = given_up.iter().map(|flight| state.give_up(flight)).collect();
        let farewell = match role {
            Role::Following { leader } => state.dismiss(ProposeError::NotLeader { leader }),
            Role::Stopped => state.dismiss(ProposeError::Stopped),
            Role::Leading { .. } => None,
        };
        let departure = self.next(&mut state);
        drop(state);
        self.depart(departure);
        tell(farewell);
        lost.into_iter().for_each(|farewell| tell(Some(farewell)));
    }

    /// The detector's opinion about a quorum. Without one, what waits is refused now.
    pub(crate) fn set_quorum(&self, quorum: bool) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.quorum, quorum) == quorum || quorum {
            return;
        }
        let farewell = state.dismiss(ProposeError::Unavailable);
        drop(state);
        tell(farewell);
    }

    /// Whether the disk has room. What waits already still goes: it is little.
    pub(crate) fn set_room(&self, room: bool) {
        self.state.lock().room = room;
    }

    /// Gives up on what takes too long.
    pub(crate) fn tick(&self, now: Instant) {
        let mut state = self.state.lock();
        let late = |flight: &Flight| now.duration_since(flight.since) > self.limits.patience;
        let mut lost = Vec::new();
        let mut orphans = std::mem::take(&mut state.orphans);
        orphans.retain(|flight| {
            let keep = !late(flight);
            if !keep {
                lost.push(state.give_up(flight));
            }
            keep
        });
        state.orphans = orphans;
        if let Some(flight) = state.flight.take() {
            if late(&flight) {
                lost.push(state.give_up(&flight));
            }
            // It stays in flight: nothing may overtake it.
            state.flight = Some(flight);
        }
        let late_flight = state.flight.as_ref().is_some_and(late);
        let opening = matches!(state.role, Role::Leading { .. }) && !state.is_open();
        let late_opening = opening && now.duration_since(state.since) > self.limits.patience;
        state.stuck = late_flight || late_opening;
        if state.stuck {
            lost.extend(state.dismiss(ProposeError::Unavailable));
        }
        drop(state);
        lost.into_iter().for_each(|farewell| tell(Some(farewell)));
    }
}

impl State {
    fn is_open(&self) -> bool {
        matches!(self.role, Role::Leading { term } if self.opened == Some(term))
    }

    /// Gives permits back for answers that were just taken out of a load.
    fn release(&mut self, answers: &[AnswerSender], bytes: usize) {
        if !answers.is_empty() {
            self.held.0 -= answers.len();
            self.held.1 -= bytes;
        }
    }

    /// Takes all that waits: definite, for none of it was handed over.
    fn dismiss(&mut self, error: ProposeError) -> Option<Farewell> {
        if self.waiting.is_empty() {
            return None;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let bytes = waiting.iter().map(|waiting| waiting.command.len()).sum();
        let answers: Vec<_> = waiting.into_iter().map(|waiting| waiting.answer).collect();
        self.release(&answers, bytes);
        Some((answers, error))
    }

    /// Stops waiting for an entry that was handed over: nobody knows.
    fn give_up(&mut self, flight: &Flight) -> Farewell {
        let answers = std::mem::take(&mut *flight.load.answers.lock());
        self.release(&answers, flight.load.bytes);
        (answers, ProposeError::Unknown)
    }
}

fn tell(farewell: Option<Farewell>) {
    let Some((answers, error)) = farewell else {
        return;
    };
    for answer in answers {
        count_refusal(&error);
        // Nobody waits any more: then nobody needs to know.
        let _ = answer.send(Err(error.clone()));
    }
}

fn count_refusal(error: &ProposeError) {
    let result = match error {
        ProposeError::NotLeader { .. } => "not_leader",
        ProposeError::Overloaded { .. } => "overloaded",
        ProposeError::Unavailable => "unavailable",
        ProposeError::Unknown => "unknown",
        ProposeError::Stopped => "stopped",
    };
    metrics::counter!("raft_proposals_total", "result" => result).increment(1);
}
