//! One look at one user: decide to tell what waits, tell what is outstanding, note what was taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat::UserCommand;
use chat::limits::REASON_BYTES_MAX;
use chat::{ConversationId, Outcome, PushCommand, PushId, Registration, Seq, Target, UserId};
use futures::future::join_all;
use store::StoreError;
use tokio::time::Instant;

use super::plan::{Next, Tries, Try};
use super::pusher::Service;
use super::sender::{Parcel, Told};
use super::{backoff, pending};

/// How soon to look again at a user who is connected while something waits: their devices are about to confirm it.
const CONNECTED_AGAIN: Duration = Duration::from_secs(5);
/// How soon to look again after a command could not be carried through.
const UNSETTLED_AGAIN: Duration = Duration::from_secs(1);
/// How often a command is offered before it is left to the next look.
const PROPOSALS_MAX: usize = 4;
/// The pause between two offers: about one failover in all.
const PROPOSE_AGAIN: Duration = Duration::from_millis(300);

/// What a look came to.
pub(super) struct Visited {
    pub(super) user: UserId,
    pub(super) tries: Tries,
    pub(super) next: Option<Next>,
}

/// A look at one user.
pub(super) struct Visit {
    pub(super) service: Arc<Service>,
    pub(super) user: UserId,
    pub(super) ripe: bool,
    pub(super) tries: Tries,
}

/// What came of one registration.
type Came = (PushId, Option<Try>, Option<Next>);

impl Visit {
    /// Looks, and tells. What fails is planned again; a disk that fails stops the node elsewhere.
    pub(super) async fn run(self) -> Visited {
        match self.look().await {
            Ok((tries, next)) => Visited { user: self.user, tries, next },
            Err(error) => {
                tracing::error!(%error, "registrations cannot be read");
                Visited { user: self.user, tries: self.tries, next: None }
            }
        }
    }

    async fn look(&self) -> Result<(Tries, Option<Next>), StoreError> {
        if !self.leads() {
            return Ok((Tries::new(), None));
        }
        let mut next = None;
        let mut pushes = self.service.replica.pushes(&self.user)?;
        let waiting = self.waiting(&pushes)?;
        if !waiting.is_empty() {
            if !self.ripe {
                next = self.again(self.service.settings.grace(), true);
            } else if self.service.presence.is_online(&self.user).await {
                next = self.again(CONNECTED_AGAIN, true);
            } else {
                self.decide(waiting).await;
                pushes = self.service.replica.pushes(&self.user)?;
            }
        }
        let outstanding = pushes.iter().filter(|(_, push)| push.outstanding() > 0);
        let told = outstanding.map(|(id, push)| self.deliver(*id, push));
        let mut tries = Tries::new();
        for came in join_all(told).await {
            let (push, failed, again) = came?;
            tries.extend(failed.map(|failed| (push, failed)));
            next = Next::sooner(next, again);
        }
        Ok((tries, next))
    }

    /// What waits, for each registration that has nothing outstanding.
    fn waiting(&self, pushes: &BTreeMap<PushId, Registration>) -> Result<Vec<Waiting>, StoreError> {
        let mut waiting = Vec::new();
        for (id, push) in pushes.iter().filter(|(_, push)| push.outstanding() == 0) {
            let items = pending::pending(&*self.service.replica, &self.user, push)?;
            if !items.is_empty() {
                waiting.push(Waiting { push: *id, after: push.last, items });
            }
        }
        Ok(waiting)
    }

    /// Decides to tell. A decision that cannot be made now is left to the next look.
    async fn decide(&self, waiting: Vec<Waiting>) {
        let decided = waiting.into_iter().map(|Waiting { push, after, items }| {
            self.propose(push, PushCommand::Notify { after, items })
        });
        join_all(decided).await;
    }

    /// Tells what is outstanding, in order, up to the first that is not taken.
    async fn deliver(&self, id: PushId, push: &Registration) -> Result<Came, StoreError> {
        let mut progress = Progress { after: push.done, taken: push.done };
        let mut tried = self.tries.get(&id).copied();
        for (number, notice) in push.notices.range(push.done + 1..) {
            let earlier = tried.filter(|tried| tried.number == *number);
            if let Some(earlier) = earlier.filter(|earlier| earlier.due > Instant::now()) {
                let settled = self.settle(id, &mut progress).await;
                let next = Next { at: earlier.due, ripe: false };
                return Ok((id, Some(earlier), self.unless(settled, Some(next))));
            }
            if !self.leads() {
                break;
            }
            let parcel = Parcel {
                user: &self.user,
                push: id,
                registration: push,
                number: *number,
                notice: *notice,
            };
            match self.tell(&parcel).await? {
                Told::Taken => progress.taken = *number,
                Told::Gone => {
                    tracing::info!(push = %id, "the place exists no more");
                    self.propose(id, PushCommand::Remove).await;
                    return Ok((id, None, None));
                }
                Told::Failed(reason, asked) => {
                    let attempts = earlier.map_or(0, |earlier| earlier.attempts) + 1;
                    let settled = self.settle(id, &mut progress).await;
                    if !self.is_hopeless(attempts, &parcel) {
                        let failed = self.try_later(*number, attempts, asked);
                        let next = Next { at: failed.due, ripe: false };
                        return Ok((id, Some(failed), self.unless(settled, Some(next))));
                    }
                    if !settled || !self.give_up(&parcel, attempts, &reason).await {
                        return Ok((id, None, self.again(UNSETTLED_AGAIN, false)));
                    }
                    progress = Progress { after: *number, taken: *number };
                    tried = None;
                }
            }
        }
        let settled = self.settle(id, &mut progress).await;
        // What arrived meanwhile waits for its own grace.
        let next = self.again(self.service.settings.grace(), true);
        Ok((id, None, self.unless(settled, next)))
    }

    async fn tell(&self, parcel: &Parcel<'_>) -> Result<Told, StoreError> {
        // A server keeps account by numbers; a device need not ring for what it has.
        let counts = matches!(parcel.registration.target, Target::Webhook { .. });
        if !counts && pending::is_obsolete(&*self.service.replica, &self.user, &parcel.notice)? {
            return Ok(Told::Taken);
        }
        self.service.sender.tell(parcel).await
    }

    fn try_later(&self, number: u64, attempts: u32, asked: Option<Duration>) -> Try {
        let Service { settings, entropy, .. } = &*self.service;
        let pause = backoff::pause(settings, attempts, asked, &**entropy);
        Try { number, attempts, due: Instant::now() + pause }
    }

    /// Too often, or for too long; how often is forgotten with the leader, for how long is not.
    fn is_hopeless(&self, attempts: u32, parcel: &Parcel<'_>) -> bool {
        let settings = &self.service.settings;
        let age = self.service.clock.now().0.saturating_sub(parcel.notice.at.0);
        attempts >= settings.attempts_max || age >= settings.give_up_after_ms
    }

    async fn give_up(&self, parcel: &Parcel<'_>, attempts: u32, reason: &str) -> bool {
        let reason: String = shortened(reason).to_owned();
        tracing::warn!(push = %parcel.push, number = parcel.number, %reason, "given up");
        let kind = parcel.registration.target.kind();
        metrics::counter!("synod_push_dead_letters_total", "kind" => kind).increment(1);
        let (number, attempts) = (parcel.number, u64::from(attempts));
        let command = PushCommand::GiveUp { number, attempts, reason };
        self.propose(parcel.push, command).await
    }

    /// Notes what was taken. `false`: not noted, so it is told again.
    async fn settle(&self, id: PushId, progress: &mut Progress) -> bool {
        if progress.taken == progress.after {
            return true;
        }
        let command = PushCommand::MarkPushed { after: progress.after, up_to: progress.taken };
        progress.after = progress.taken;
        self.propose(id, command).await
    }

    /// Proposes until there is an answer. Every command here may be repeated: it names what it found.
    async fn propose(&self, push: PushId, command: PushCommand) -> bool {
        let command = UserCommand::Push { push, command };
        let command = proto::encode_user_command(&self.user, &command);
        for _ in 0..PROPOSALS_MAX {
            match self.service.router.submit(self.user.slot(), command.clone()).await {
                Ok(Outcome::Accepted(_) | Outcome::Duplicate(_)) => return true,
                Ok(refused) => {
                    tracing::debug!(%push, ?refused, "the registration has moved on");
                    return false;
                }
                Err(error) => tracing::debug!(%push, %error, "offered again"),
            }
            tokio::time::sleep(PROPOSE_AGAIN).await;
        }
        false
    }

    fn leads(&self) -> bool {
        (self.service.leads)(self.user.slot())
    }

    fn again(&self, after: Duration, ripe: bool) -> Option<Next> {
        Some(Next { at: Instant::now() + after, ripe })
    }

    fn unless(&self, settled: bool, next: Option<Next>) -> Option<Next> {
        if settled { next } else { self.again(UNSETTLED_AGAIN, false) }
    }
}

/// What is to be decided for one registration.
struct Waiting {
    push: PushId,
    after: u64,
    items: Vec<(ConversationId, Seq)>,
}

/// How far a registration was told in this visit: noted up to `after`, taken up to `taken`.
struct Progress {
    after: u64,
    taken: u64,
}

/// As much of a reason as is kept.
fn shortened(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
