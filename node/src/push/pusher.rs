//! The service: hears hints, sweeps, and visits users, a bounded number at a time and each by one visit at most.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chat::{SLOTS, UserId};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Leads;
use super::hints::Hints;
use super::outgoing::Outgoing;
use super::plan::{Next, Plan};
use super::sender::Sender;
use super::services::Services;
use super::vapid::ApplicationKey;
use super::visit::{Visit, Visited};
use crate::clock::{Clock, Entropy};
use crate::config::Push;
use crate::history::Replica;
use crate::presence::Presence;
use crate::router::Router;

/// Visits under way at once: each waits for other servers most of the time, and one user has one.
const VISITS_MAX: usize = 512;
/// The sweep goes on this often, with as many users as its pass needs.
const SWEEP_STEP: Duration = Duration::from_millis(250);
/// Slots of a step of the walk: all of them in eight seconds after the start, at a few milliseconds a step.
const WALK_SLOTS: u16 = 512;
/// How often who has registrations is read again: events keep it, this only makes sure.
const WALK_AGAIN: Duration = Duration::from_secs(600);

const _: () = assert!(SLOTS.is_multiple_of(WALK_SLOTS), "a walk ends with a step");
/// How soon a user is looked at again who was due while being visited.
const VISITED_AGAIN: Duration = Duration::from_millis(500);

/// What pushing is built on.
pub(crate) struct Ports {
    /// What the fan-out overhears.
    pub(crate) hints: Hints,
    /// What this node leads.
    pub(crate) leads: Leads,
    /// Applied state on this node.
    pub(crate) replica: Arc<dyn Replica>,
    /// The way to the shards.
    pub(crate) router: Router,
    /// Who is connected anywhere.
    pub(crate) presence: Presence,
    /// The way to other servers.
    pub(crate) outgoing: Arc<dyn Outgoing>,
    /// Wall time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Randomness.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The cluster's name at push services.
    pub(crate) key: ApplicationKey,
    /// Apple's and Google's services.
    pub(crate) services: Arc<Services>,
    /// The node's own settings.
    pub(crate) settings: Push,
}

/// What all visits share.
pub(super) struct Service {
    pub(super) leads: Leads,
    pub(super) replica: Arc<dyn Replica>,
    pub(super) router: Router,
    pub(super) presence: Presence,
    pub(super) sender: Sender,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) settings: Push,
}

/// The pusher of one node.
pub(crate) struct Pusher {
    hints: Hints,
    service: Arc<Service>,
    plan: Plan,
    visits: JoinSet<Visited>,
    visited: HashSet<UserId>,
    sweep: Sweep,
}

/// A pass over all users with registrations, and a walk over the rows that say who they are.
struct Sweep {
    /// Users who are still to be looked at in this pass.
    left: Vec<UserId>,
    /// How many to look at in a step.
    step: usize,
    /// The next slot of the walk.
    slot: u16,
    /// When the next walk begins.
    walk_at: Instant,
}

impl Pusher {
    /// A pusher over these ports.
    pub(crate) fn new(ports: Ports) -> Self {
        let Ports { hints, leads, replica, router, presence, outgoing, clock, entropy, .. } = ports;
        let sender = Sender {
            outgoing,
            replica: Arc::clone(&replica),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            key: ports.key,
            services: ports.services,
            contact: ports.settings.contact.clone(),
        };
        let settings = ports.settings;
        let service =
            Service { leads, replica, router, presence, sender, clock, entropy, settings };
        Self {
            hints,
            service: Arc::new(service),
            plan: Plan::default(),
            visits: JoinSet::new(),
            visited: HashSet::new(),
            sweep: Sweep { left: Vec::new(), step: 0, slot: 0, walk_at: Instant::now() },
        }
    }

    /// Pushes until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.go_on()).await;
        self.visits.shutdown().await;
    }

    async fn go_on(&mut self) {
        let mut steps = interval(SWEEP_STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hints = self.hints.clone();
        loop {
            let due = self.plan.next_at().filter(|_| self.visits.len() < VISITS_MAX);
            tokio::select! {
                heard = hints.heard() => self.heard(heard),
                Some(visited) = self.visits.join_next() => match visited {
                    Ok(visited) => self.came_back(visited),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = at(due) => self.visit_all_due(),
                _ = steps.tick() => self.sweep_on(),
            }
        }
    }

    fn heard(&mut self, users: std::collections::BTreeSet<UserId>) {
        let at = Instant::now() + self.service.settings.grace();
        for user in users.into_iter().filter(|user| (self.service.leads)(user.slot())) {
            self.plan.look(user, Next { at, ripe: true });
        }
    }

    fn came_back(&mut self, visited: Visited) {
        let Visited { user, tries, next } = visited;
        self.visited.remove(&user);
        self.plan.tried(user.clone(), tries);
        if let Some(next) = next {
            self.plan.look(user, next);
        }
    }

    fn visit_all_due(&mut self) {
        let now = Instant::now();
        while self.visits.len() < VISITS_MAX
            && let Some((user, ripe)) = self.plan.take_due(now)
        {
            if !self.visited.insert(user.clone()) {
                self.plan.look(user, Next { at: now + VISITED_AGAIN, ripe });
                continue;
            }
            let (service, tries) = (Arc::clone(&self.service), self.plan.tries(&user));
            self.visits.spawn(Visit { service, user, ripe, tries }.run());
        }
    }

    /// One step of the sweep: the next of those who have registrations and are led here are looked at.
    fn sweep_on(&mut self) {
        self.walk_on();
        if self.sweep.left.is_empty() {
            self.begin_pass();
        }
        let (now, from) = (Instant::now(), self.sweep.left.len().saturating_sub(self.sweep.step));
        for user in self.sweep.left.split_off(from) {
            if (self.service.leads)(user.slot()) {
                self.plan.look(user, Next { at: now, ripe: false });
            }
        }
    }

    fn begin_pass(&mut self) {
        self.sweep.left = self.hints.known();
        let steps = (self.service.settings.sweep().as_millis() / SWEEP_STEP.as_millis()).max(1);
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        self.sweep.step = self.sweep.left.len().div_ceil(steps);
    }

    /// One step of the walk over the rows that say who has registrations.
    fn walk_on(&mut self) {
        let now = Instant::now();
        if self.hints.take_replaced() {
            (self.sweep.slot, self.sweep.walk_at) = (0, now);
        }
        if now < self.sweep.walk_at {
            return;
        }
        let end = (self.sweep.slot + WALK_SLOTS).min(SLOTS);
        for slot in self.sweep.slot..end {
            match self.service.replica.registered(slot) {
                Ok(users) => users.iter().for_each(|user| self.hints.know(user)),
                // The same tables serve the shard's machine, which stops the process at its next write.
                Err(error) => tracing::error!(%error, "registrations cannot be read"),
            }
        }
        self.sweep.slot = end % SLOTS;
        if end == SLOTS {
            self.sweep.walk_at = now + WALK_AGAIN;
        }
    }
}

/// Until then; without a time, for ever.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
