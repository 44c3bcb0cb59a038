//! Whom to look at when, and how often each of their places was tried. In memory only: whatever is forgotten here, the
//! sweep finds again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chat::{PushId, UserId};
use tokio::time::Instant;

/// Users who may be planned for; beyond it the sweep finds them again.
const PLANNED_MAX: usize = 100_000;
/// Users whose failed attempts are remembered; whoever is beyond it is tried again sooner than they should be.
const TRIED_MAX: usize = 100_000;

/// The failed attempts at the oldest outstanding notice of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Try {
    pub(super) number: u64,
    pub(super) attempts: u32,
    pub(super) due: Instant,
}

/// The failed attempts at one user's registrations.
pub(super) type Tries = BTreeMap<PushId, Try>;

/// When to look at a user next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) at: Instant,
    /// The grace is over by then: what waits then has waited.
    pub(super) ripe: bool,
}

impl Next {
    /// The sooner of two. A look that comes before the grace is over must not end it.
    pub(super) fn sooner(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) if one.at <= other.at => Some(one),
            (one, None) => one,
            (_, other) => other,
        }
    }
}

/// Everything that is planned.
#[derive(Default)]
pub(super) struct Plan {
    by_time: BTreeSet<(Instant, UserId)>,
    by_user: HashMap<UserId, Next>,
    tries: HashMap<UserId, Tries>,
}

impl Plan {
    /// Plans a look; an earlier one that is planned stays.
    pub(super) fn look(&mut self, user: UserId, next: Next) {
        match self.by_user.get(&user).copied() {
            Some(planned) if planned.at <= next.at => return,
            Some(planned) => {
                self.by_time.remove(&(planned.at, user.clone()));
            }
            None if self.by_user.len() >= PLANNED_MAX => return,
            None => {}
        }
        self.by_time.insert((next.at, user.clone()));
        self.by_user.insert(user, next);
    }

    /// When the next look is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the next look that is due: whom, and whether the grace is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(UserId, bool)> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, user) = self.by_time.pop_first().expect("it is there");
        let planned = self.by_user.remove(&user).expect("planned by user, too");
        Some((user, planned.ripe))
    }

    /// The failed attempts at a user's places.
    pub(super) fn tries(&mut self, user: &UserId) -> Tries {
        self.tries.remove(user).unwrap_or_default()
    }

    /// Remembers them.
    pub(super) fn tried(&mut self, user: UserId, tries: Tries) {
        if !tries.is_empty() && self.tries.len() < TRIED_MAX {
            self.tries.insert(user, tries);
        }
    }
}
