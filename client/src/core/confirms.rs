//! How far this device has got, on its way to the cluster. A confirmation covers everything before it, so that of many only
//! the furthest is sent, one at a time for each conversation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chat::{ConversationId, Seq};
use proto::frames;

use super::action::{Settled, Ticket};
use super::backoff::Jitter;
use super::limits::CONFIRM_TICKETS_MAX;
use crate::store::Record;
use crate::{AskError, Standing};

/// How far: everything up to `seq`, delivered or also read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) seq: Seq,
    pub(crate) read: bool,
}

#[derive(Debug, Default)]
pub(super) struct Confirms {
    lanes: BTreeMap<ConversationId, Lane>,
    dirty: BTreeSet<ConversationId>,
    wakes: BTreeSet<(Duration, ConversationId)>,
    deadlines: BTreeSet<(Duration, Ticket, ConversationId)>,
    /// Lanes that got further since they were last noted.
    moved: BTreeSet<ConversationId>,
}

#[derive(Debug, Default)]
struct Lane {
    wanted: Standing,
    confirmed: Standing,
    asked: Option<Reached>,
    paused: bool,
    attempts: u32,
    waiting: Vec<Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: Ticket,
    deadline: Duration,
    reached: Reached,
}

impl Confirms {
    /// Where an earlier life of this client was: what it had, and of that what the cluster knows.
    pub(super) fn restore(&mut self, id: ConversationId, wanted: Standing, confirmed: Standing) {
        let lane = self.lanes.entry(id).or_default();
        (lane.wanted, lane.confirmed) = (wanted, confirmed);
        self.dirty.insert(id);
    }

    /// What got further since the last call.
    pub(super) fn standings(&mut self) -> Vec<Record> {
        let moved = std::mem::take(&mut self.moved).into_iter();
        let records = moved.filter_map(|conversation| {
            let lane = self.lanes.get(&conversation)?;
            let (wanted, confirmed) = (lane.wanted, lane.confirmed);
            Some(Record::Standing { conversation, wanted, confirmed })
        });
        records.collect()
    }

    /// Whether there is something to write.
    pub(super) fn is_waiting(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The cluster's history went back there: nothing of before counts. Whoever waits is answered by the deadline.
    pub(super) fn forget(&mut self, conversation: ConversationId) {
        if let Some(lane) = self.lanes.get_mut(&conversation) {
            (lane.wanted, lane.confirmed) = (Standing::default(), Standing::default());
            lane.asked = None;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.deadlines.len() >= CONFIRM_TICKETS_MAX
    }

    /// The device has got further, or says again what is known.
    pub(super) fn want(
        &mut self,
        conversation: ConversationId,
        reached: Reached,
        ticket: Option<(Ticket, Duration)>,
    ) -> Vec<Settled> {
        let lane = self.lanes.entry(conversation).or_default();
        lane.want(reached);
        self.moved.insert(conversation);
        if let Some((ticket, deadline)) = ticket {
            lane.waiting.push(Waiting { ticket, deadline, reached });
            self.deadlines.insert((deadline, ticket, conversation));
        }
        self.dirty.insert(conversation);
        self.settle_confirmed(conversation)
    }

    /// How far everything is confirmed as delivered, or is about to be.
    pub(super) fn delivered(&self, conversation: ConversationId) -> Seq {
        self.lanes.get(&conversation).map(|lane| lane.wanted.delivered).unwrap_or_default()
    }

    /// The next confirmation to write, until there is none.
    pub(super) fn next(&mut self) -> Option<(ConversationId, Reached)> {
        while let Some(id) = self.dirty.pop_first() {
            let lane = self.lanes.get_mut(&id).expect("a lane is never taken away");
            if let Some(reached) = lane.next() {
                lane.asked = Some(reached);
                lane.attempts += 1;
                return Some((id, reached));
            }
        }
        None
    }

    pub(super) fn answered(
        &mut self,
        now: Duration,
        conversation: ConversationId,
        confirmed: &frames::Confirmed,
        jitter: &mut Jitter,
    ) -> Vec<Settled> {
        let Some(lane) = self.lanes.get_mut(&conversation) else { return Vec::new() };
        let Some(asked) = lane.asked.take() else { return Vec::new() };
        self.moved.insert(conversation);
        match &confirmed.problem {
            Some(problem) if problem.retryable || problem.unknown => {
                let least = Duration::from_millis(problem.retry_after_ms);
                let until = now + jitter.pause(lane.attempts, least);
                lane.paused = true;
                self.wakes.insert((until, conversation));
                Vec::new()
            }
            Some(problem) => {
                let refused = lane.refuse(asked);
                self.dirty.insert(conversation);
                let error = AskError::Refused(problem.clone());
                self.settle(conversation, &refused, |_| Err(error.clone()))
            }
            None => {
                lane.attempts = 0;
                let told = &mut lane.confirmed;
                told.delivered = told.delivered.max(Seq(confirmed.delivered));
                told.read = told.read.max(Seq(confirmed.read));
                // A node that confirms less than it was asked for would be asked for ever.
                told.cover(asked);
                self.dirty.insert(conversation);
                self.settle_confirmed(conversation)
            }
        }
    }

    pub(super) fn unsend(&mut self) {
        for (id, lane) in &mut self.lanes {
            if lane.asked.take().is_some() {
                self.dirty.insert(*id);
            }
        }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        let wake = self.wakes.first().map(|(at, _)| *at);
        let deadline = self.deadlines.first().map(|(at, _, _)| *at);
        [wake, deadline].into_iter().flatten().min()
    }

    pub(super) fn expire(&mut self, now: Duration) -> Vec<Settled> {
        while let Some((at, id)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, id));
            self.lanes.get_mut(&id).expect("a lane is never taken away").paused = false;
            self.dirty.insert(id);
        }
        let mut settled = Vec::new();
        while let Some((at, ticket, id)) =
            self.deadlines.first().copied().filter(|(at, _, _)| *at <= now)
        {
            let lane = self.lanes.get_mut(&id).expect("a lane is never taken away");
            let over = lane.waiting.extract_if(.., |waiting| waiting.ticket == ticket).collect();
            let over: Vec<Waiting> = over;
            assert_eq!(over.len(), 1, "a deadline at {at:?} is of somebody who waits");
            settled.extend(self.settle(id, &over, |_| Err(AskError::Unanswered)));
        }
        settled
    }

    pub(super) fn stop(&mut self) -> Vec<Settled> {
        let mut settled = Vec::new();
        for (_, ticket, id) in std::mem::take(&mut self.deadlines) {
            self.lanes.get_mut(&id).expect("a lane is never taken away").waiting.clear();
            settled.push(Settled::Confirmed(ticket, Err(AskError::Stopped)));
        }
        settled
    }

    fn settle_confirmed(&mut self, conversation: ConversationId) -> Vec<Settled> {
        let lane = self.lanes.get_mut(&conversation).expect("asked for a lane that is here");
        let confirmed = lane.confirmed;
        let done = lane.waiting.extract_if(.., |waiting| confirmed.covers(waiting.reached));
        let done: Vec<Waiting> = done.collect();
        self.settle(conversation, &done, |_| Ok(confirmed))
    }

    fn settle(
        &mut self,
        conversation: ConversationId,
        done: &[Waiting],
        result: impl Fn(&Waiting) -> Result<Standing, AskError>,
    ) -> Vec<Settled> {
        let settled = done.iter().map(|waiting| {
            self.deadlines.remove(&(waiting.deadline, waiting.ticket, conversation));
            Settled::Confirmed(waiting.ticket, result(waiting))
        });
        settled.collect()
    }
}

impl Lane {
    fn want(&mut self, reached: Reached) {
        self.wanted.cover(reached);
    }

    fn next(&self) -> Option<Reached> {
        if self.asked.is_some() || self.paused {
            None
        } else if self.wanted.read > self.confirmed.read {
            Some(Reached { seq: self.wanted.read, read: true })
        } else if self.wanted.delivered > self.confirmed.delivered {
            Some(Reached { seq: self.wanted.delivered, read: false })
        } else {
            None
        }
    }

    /// Refused for good: whoever wanted as much is told, whoever wanted less is asked for again.
    fn refuse(&mut self, asked: Reached) -> Vec<Waiting> {
        let refused = |waiting: &mut Waiting| {
            waiting.reached.seq >= asked.seq && waiting.reached.read == asked.read
        };
        let refused = self.waiting.extract_if(.., refused).collect();
        self.wanted = self.confirmed;
        for waiting in &self.waiting {
            self.wanted.cover(waiting.reached);
        }
        refused
    }
}

impl Standing {
    fn cover(&mut self, reached: Reached) {
        self.delivered = self.delivered.max(reached.seq);
        if reached.read {
            self.read = self.read.max(reached.seq);
        }
    }

    fn covers(&self, reached: Reached) -> bool {
        let so_far = if reached.read { self.read } else { self.delivered };
        so_far >= reached.seq
    }
}
