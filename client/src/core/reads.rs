//! Pages of history that the application asked for. Reading changes nothing, so that they are simply asked for again.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::Seq;
use proto::frames;

use super::action::{Settled, Ticket};
use super::backoff::Jitter;
use super::limits::READS_MAX;
use crate::{AskError, Page};

/// What is asked for; its tag is set when it is written.
pub(crate) type Query = frames::ReadHistory;

#[derive(Debug, Default)]
pub(super) struct Reads {
    all: BTreeMap<Ticket, Read>,
}

#[derive(Debug)]
struct Read {
    query: Query,
    deadline: Duration,
    state: State,
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    InFlight,
    Pausing(Duration),
}

impl Reads {
    pub(super) fn is_full(&self) -> bool {
        self.all.len() >= READS_MAX
    }

    pub(super) fn ask(&mut self, ticket: Ticket, query: Query, deadline: Duration) {
        assert!(self.all.len() < READS_MAX, "asked before");
        let read = Read { query, deadline, state: State::Ready, attempts: 0 };
        let before = self.all.insert(ticket, read);
        assert!(before.is_none(), "a ticket is used once");
    }

    /// The next question to write, until there is none.
    pub(super) fn next(&mut self) -> Option<(Ticket, Query)> {
        let ready = self.all.iter_mut().find(|(_, read)| read.state == State::Ready);
        ready.map(|(ticket, read)| {
            read.state = State::InFlight;
            read.attempts += 1;
            (*ticket, read.query.clone())
        })
    }

    pub(super) fn answered(
        &mut self,
        now: Duration,
        ticket: Ticket,
        page: frames::HistoryPage,
        jitter: &mut Jitter,
    ) -> Option<Settled> {
        let read = self.all.get_mut(&ticket)?;
        let result = match page.problem {
            Some(problem) if problem.retryable || problem.unknown => {
                let asked = Duration::from_millis(problem.retry_after_ms);
                read.state = State::Pausing(now + jitter.pause(read.attempts, asked));
                return None;
            }
            Some(problem) => Err(AskError::Refused(problem)),
            None => Ok(Page { messages: page.messages, last_seq: Seq(page.last_seq) }),
        };
        self.all.remove(&ticket);
        Some(Settled::Page(ticket, result))
    }

    pub(super) fn unsend(&mut self) {
        for read in self.all.values_mut().filter(|read| read.state == State::InFlight) {
            read.state = State::Ready;
        }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        let times = self.all.values().map(|read| match read.state {
            State::Pausing(until) => until.min(read.deadline),
            State::Ready | State::InFlight => read.deadline,
        });
        times.min()
    }

    pub(super) fn expire(&mut self, now: Duration) -> Vec<Settled> {
        for read in self.all.values_mut() {
            if matches!(read.state, State::Pausing(until) if until <= now) {
                read.state = State::Ready;
            }
        }
        self.end(|read| read.deadline <= now, AskError::Unanswered)
    }

    pub(super) fn stop(&mut self) -> Vec<Settled> {
        self.end(|_| true, AskError::Stopped)
    }

    fn end(&mut self, over: impl Fn(&Read) -> bool, error: AskError) -> Vec<Settled> {
        let over = self.all.extract_if(.., |_, read| over(read));
        over.map(|(ticket, _)| Settled::Page(ticket, Err(error.clone()))).collect()
    }
}
