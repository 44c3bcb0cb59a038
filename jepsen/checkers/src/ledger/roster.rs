//! Who was a member of a conversation at which sequence, as far as a history says for certain.
//!
//! A change took effect somewhere between what was known before it was asked for and what was asked for after it
//! was answered. Both bounds are kept, and questions are answered with "surely" or not at all.

use super::{Attempts, Ledger, Seen};
use crate::fast::Map;
use crate::history::{C, F, History, Kind, Op, U};

/// A change of one member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// Joined, else went.
    pub(crate) joins: bool,
    /// Certainly done; else nobody knows.
    pub(crate) done: bool,
    /// The conversation had at least this last sequence when it took effect.
    pub(crate) low: u64,
    /// And at most this.
    pub(crate) high: u64,
    /// When it was asked for.
    pub(crate) invoked: u64,
    /// When it was answered; never, if it was not.
    pub(crate) answered: u64,
    /// The operation that completed it, or asked for it.
    pub(crate) op: u32,
}

/// The members of one conversation.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// Those that it began with; `None` while unknown.
    pub(crate) first: Option<Vec<U>>,
    /// When its creation was asked for.
    pub(crate) created: u64,
    /// Between two users.
    pub(crate) direct: bool,
    /// Later members see what was before them.
    pub(crate) all: bool,
    changes: Map<u32, Vec<Change>>,
}

/// Rosters of all conversations.
#[derive(Debug)]
pub(crate) struct Rosters {
    rosters: Vec<Roster>,
    /// When each device first had a link; a device that never had one is not here.
    connected: Map<u32, u64>,
}

impl Rosters {
    /// Gathers all memberships of a history.
    pub(crate) fn of(history: &History, ledger: &Ledger, attempts: &Attempts) -> Rosters {
        let mut rosters = Rosters { rosters: Vec::new(), connected: Map::default() };
        rosters.rosters.resize_with(history.names.conversations_len(), Roster::default);
        let mut seen = Seen::new(history);
        for op in &history.ops {
            match &op.f {
                F::Create { .. } if op.kind != Kind::Fail => rosters.create(history, op),
                F::Members { .. } if op.kind == Kind::Invoke => {
                    rosters.change(history, &mut seen, op)
                }
                F::Connect { d, .. } => {
                    rosters.connected.entry(d.0).or_insert(op.time);
                }
                _ => {}
            }
            seen.learn(op);
        }
        rosters.bound(ledger, attempts);
        rosters
    }

    fn create(&mut self, history: &History, op: &Op) {
        let F::Create { c, members, direct, all, .. } = &op.f else { return };
        let roster = &mut self.rosters[c.0 as usize];
        if roster.first.is_none() && op.kind != Kind::Invoke {
            roster.first = Some(members.clone());
            roster.created = history.invoked_at(op);
            (roster.direct, roster.all) = (*direct, *all);
        }
    }

    fn change(&mut self, history: &History, seen: &mut Seen, op: &Op) {
        let F::Members { c, add, remove, .. } = &op.f else { return };
        let end = history.mate(op);
        if end.is_some_and(|end| end.kind == Kind::Fail) {
            return;
        }
        let done = end.is_some_and(|end| end.kind == Kind::Ok);
        let exact = end.and_then(|end| match end.f {
            F::Members { at, .. } if done => at,
            _ => None,
        });
        let known = seen.before(*c, op.time).0;
        let change = Change {
            joins: true,
            done,
            low: exact.unwrap_or(known),
            high: exact.unwrap_or(u64::MAX),
            invoked: op.time,
            answered: end.filter(|_| done).map_or(u64::MAX, |end| end.time),
            op: end.map_or(op.index, |end| end.index) as u32,
        };
        let roster = &mut self.rosters[c.0 as usize];
        for u in add {
            roster.changes.entry(u.0).or_default().push(change);
        }
        for u in remove {
            roster.changes.entry(u.0).or_default().push(Change { joins: false, ..change });
        }
    }

    /// What was asked for after a change was answered lies behind it.
    fn bound(&mut self, ledger: &Ledger, attempts: &Attempts) {
        for (at, roster) in self.rosters.iter_mut().enumerate() {
            if roster.changes.is_empty() {
                continue;
            }
            let c = C(at as u32);
            let invoked = |slot: &super::Slot| {
                attempts
                    .behind(c, &slot.entry)
                    .map(|(_, attempt)| (attempt.invoked, slot.entry.seq))
            };
            let mut sends: Vec<(u64, u64)> = ledger.slots(c).filter_map(invoked).collect();
            sends.sort_unstable();
            for later in (1..sends.len()).rev() {
                sends[later - 1].1 = sends[later - 1].1.min(sends[later].1);
            }
            for change in roster.changes.values_mut().flatten().filter(|change| change.done) {
                let after = sends.partition_point(|(invoked, _)| *invoked <= change.answered);
                if let Some((_, seq)) = sends.get(after) {
                    change.high = change.high.min(seq - 1);
                }
            }
        }
    }

    /// The roster of a conversation.
    pub(crate) fn roster(&self, c: C) -> &Roster {
        &self.rosters[c.0 as usize]
    }

    /// When a device first had a link.
    pub(crate) fn connected(&self, device: u32) -> Option<u64> {
        self.connected.get(&device).copied()
    }

    /// Whether a device had a link before the conversation was asked for, so that it gets it from the beginning.
    pub(crate) fn was_there(&self, device: u32, c: C) -> bool {
        let roster = self.roster(c);
        roster.first.is_some() && self.connected(device).is_some_and(|time| time < roster.created)
    }
}

impl Roster {
    /// Changes of one user, in order of asking.
    pub(crate) fn changes_of(&self, u: U) -> &[Change] {
        self.changes.get(&u.0).map_or(&[], Vec::as_slice)
    }

    /// Whether the user was one of the first and nobody ever asked to change that.
    pub(crate) fn is_steady(&self, u: U) -> bool {
        self.first.as_ref().is_some_and(|first| first.contains(&u)) && self.changes_of(u).is_empty()
    }

    /// A reason why the user was surely no member where the message of this sequence was decided.
    pub(crate) fn surely_out(&self, u: U, seq: u64) -> Option<u32> {
        let first = self.first.as_ref()?;
        let changes = self.changes_of(u);
        if !first.contains(&u) && !changes.iter().any(|change| change.joins && change.low < seq) {
            return Some(changes.first().map_or(u32::MAX, |change| change.op));
        }
        let gone =
            changes.iter().filter(|change| !change.joins && change.done && change.high < seq);
        let last = gone.max_by_key(|change| change.invoked)?;
        let may_be_back = changes
            .iter()
            .any(|change| change.joins && change.low < seq && change.answered > last.invoked);
        (!may_be_back).then_some(last.op)
    }

    /// Whether the user surely was a member where the message of this sequence was decided.
    pub(crate) fn surely_in(&self, u: U, seq: u64) -> bool {
        let Some(first) = &self.first else { return false };
        let changes = self.changes_of(u);
        let came = changes.iter().filter(|change| change.joins && change.done && change.high < seq);
        let since = came.map(|change| change.invoked).max();
        if since.is_none() && !first.contains(&u) {
            return false;
        }
        !changes.iter().any(|change| {
            let before = since.is_some_and(|since| change.answered < since);
            !change.joins && change.low < seq && !before
        })
    }

    /// Whether the user has a right to this message for good. Where nothing is said of members, whoever gets some has a
    /// right to all. Whoever is removed has no right any more to what was not fetched until then, also when taken
    /// in again: membership shows what was sent since one joined.
    pub(crate) fn is_due(&self, u: U, seq: u64) -> bool {
        let removed_after =
            || self.changes_of(u).iter().any(|change| !change.joins && change.high >= seq);
        match self.first {
            None => self.changes.is_empty(),
            Some(_) => self.surely_in(u, seq) && !removed_after(),
        }
    }

    /// Whether the user was surely a member all the while between two moments.
    pub(crate) fn surely_in_during(&self, u: U, from: u64, to: u64) -> bool {
        let Some(first) = &self.first else { return false };
        let changes = self.changes_of(u);
        let came =
            changes.iter().filter(|change| change.joins && change.done && change.answered < from);
        let since = came.map(|change| change.invoked).max();
        if since.is_none() && !(first.contains(&u) && self.created < from) {
            return false;
        }
        !changes.iter().any(|change| {
            let before = since.is_some_and(|since| change.answered < since);
            !change.joins && change.invoked < to && !before
        })
    }

    /// The removal after which the user was surely no member from this moment on, to this one.
    pub(crate) fn surely_out_during(&self, u: U, from: u64, to: u64) -> Option<u32> {
        self.first.as_ref()?;
        let changes = self.changes_of(u);
        let gone =
            changes.iter().filter(|change| !change.joins && change.done && change.answered < from);
        let last = gone.max_by_key(|change| change.invoked)?;
        let may_be_back = changes
            .iter()
            .any(|change| change.joins && change.invoked < to && change.answered > last.invoked);
        (!may_be_back).then_some(last.op)
    }
}
