//! How a session begins: who holds the token (station 2, admit), and where the device stands in every conversation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chat::{ChangeNumber, ConversationId, Cursor, Head, Member, Seq, Timestamp, UserId};
use futures::future::join_all;
use proto::Problem;
use store::StoreError;
use tokio::time::{sleep, timeout};

use super::core::Admitted;
use super::deliveries::Position;
use super::words::Marks;
use crate::fanout::Mailbox;
use crate::gateway::Parts;
use crate::gateway::tokens::Identity;
use crate::history::{self, Replica};
use crate::resume::{Bookmark, Stand};

/// Bytes of a connection id: as long as the specification's example.
const CONNECTION_ID_BYTES: usize = 20;
/// How long a link waits to begin from a state as fresh as the cluster's. After that it begins from what is here:
/// in a minority partition a client still gets what this node has.
const FRESH_PATIENCE: Duration = Duration::from_secs(1);
/// From one attempt to catch up to the next, on a node that is cut off: rare enough to cost nothing.
const FRESH_AGAIN: Duration = Duration::from_millis(250);
/// Slots that are made fresh before a link begins. A user with more conversations begins with the most recent ones
/// fresh; the others follow as the replica does.
const FRESH_SLOTS_MAX: usize = 64;
/// Conversations whose status is told when a link begins.
pub(super) const RECENT_MAX: usize = 64;
/// Positions looked up before other tasks get their turn.
const SLICE: usize = 64;

/// Settles who holds `token`. The mailbox is entered before the session is looked up, so that an end that comes in
/// between is not missed.
///
/// # Errors
/// What the client is told before the link closes.
#[tracing::instrument(name = "admit", level = "debug", skip_all)]
pub(super) async fn admit(
    parts: Arc<Parts>,
    token: String,
    resume: Option<String>,
) -> Result<Admission, Problem> {
    let claimed = parts.claimed(&token).await?;
    let who = claimed.who().clone();
    let mailbox = parts.directory.enter(&who);
    parts.settle(&claimed).await?;
    let mut id = [0; CONNECTION_ID_BYTES];
    parts.entropy.fill(&mut id);
    let budget = parts.limits.sends(&who.user);
    let given = resume.as_deref().filter(|given| !given.is_empty());
    let begin = given.and_then(|given| Bookmark::read(given, &who, &parts.tokens));
    let begin =
        begin.filter(|begin| begin.owed.is_some() && parts.recent.since(&begin.stand).is_some());
    let reset = given.is_some() && begin.is_none();
    let resume_next = match (&begin, given) {
        // It still says where to look, until there is a newer one.
        (Some(_), Some(given)) => given.to_owned(),
        _ => {
            let nothing = Bookmark { stand: Stand::new(), owed: None };
            nothing.token(&who, &parts.tokens).unwrap_or_default()
        }
    };
    let connection_id = STANDARD.encode(id);
    let admitted = Admitted { who, connection_id, budget, resume: resume_next, reset };
    Ok(Admission { admitted, mailbox, begin, wants_bookmarks: resume.is_some() })
}

/// Somebody is here.
pub(super) struct Admission {
    pub(super) admitted: Admitted,
    pub(super) mailbox: Mailbox,
    /// Where an earlier link of the device was.
    pub(super) begin: Option<Bookmark>,
    /// The client asked for what lets its next link begin where this one is.
    pub(super) wants_bookmarks: bool,
}

/// How a link began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Began {
    /// With all conversations.
    Anew,
    /// With those that had news since an earlier link.
    Resumed,
    /// With all, though it was to begin with those: what changed since is known here no more.
    Reset,
}

/// Where a device stands.
pub(super) struct Opened {
    /// Slots with which the local replica has caught up meanwhile.
    pub(super) fresh: BTreeSet<u16>,
    pub(super) positions: Vec<(ConversationId, Position)>,
    /// The conversations with the newest messages, newest first.
    pub(super) recent: Vec<ConversationId>,
    pub(super) began: Began,
}

/// Where `who` stands in all conversations of its list, as fresh as can be had in time.
///
/// # Errors
/// When the disk fails.
pub(super) async fn open(
    parts: Arc<Parts>,
    who: Identity,
    begin: Option<Bookmark>,
) -> Result<Opened, StoreError> {
    let mut began = Began::Anew;
    if let Some(begin) = begin {
        match resume(&parts, &who, begin).await? {
            Some(opened) => return Ok(opened),
            None => began = Began::Reset,
        }
    }
    let replica = &*parts.replica;
    let mut fresh = freshen(&parts, [who.user.slot()].into()).await;
    let newest = newest_first(replica, &who.user).await?;
    let slots = newest.iter().map(|(_, id)| id.slot()).collect::<BTreeSet<u16>>();
    fresh.extend(match slots.len() <= FRESH_SLOTS_MAX {
        true => freshen(&parts, slots).await,
        false => {
            freshen(&parts, newest.iter().take(FRESH_SLOTS_MAX).map(|(_, id)| id.slot()).collect())
                .await
        }
    });
    let device = replica.device(&who.user, who.device)?;
    let starts = device.map(|device| device.starts).unwrap_or_default();
    let mut positions = Vec::with_capacity(newest.len());
    for (count, (_, id)) in newest.iter().enumerate() {
        if let Some(position) = position_from(replica, &who, *id, &starts)? {
            positions.push((*id, position));
        }
        if count % SLICE == SLICE - 1 {
            tokio::task::yield_now().await;
        }
    }
    let recent = newest.into_iter().take(RECENT_MAX).map(|(_, id)| id).collect();
    Ok(Opened { fresh, positions, recent, began })
}

/// Where `who` stands in the conversations that had news since an earlier link, or of which it had not confirmed all;
/// `None`: that is known here no more.
///
/// Every shard is caught up with first, so that whatever was acknowledged before this link began is among what changed.
async fn resume(
    parts: &Parts,
    who: &Identity,
    begin: Bookmark,
) -> Result<Option<Opened>, StoreError> {
    let slots: BTreeSet<u16> = parts.recent.slots().into_iter().chain([who.user.slot()]).collect();
    let caught_up = freshen(parts, slots.clone()).await == slots;
    let Some(mut changed) = parts.recent.since(&begin.stand) else { return Ok(None) };
    changed.extend(begin.owed.into_iter().flatten());
    let replica = &*parts.replica;
    let device = replica.device(&who.user, who.device)?;
    let starts = device.map(|device| device.starts).unwrap_or_default();
    let mut positions = Vec::new();
    for (count, id) in changed.into_iter().enumerate() {
        if replica.member(id, &who.user)?.is_some()
            && let Some(position) = position_from(replica, who, id, &starts)?
        {
            positions.push((id, position));
        }
        if count % SLICE == SLICE - 1 {
            tokio::task::yield_now().await;
        }
    }
    let known = || positions.iter().map(|(id, _)| *id);
    let fresh = known().filter(|_| caught_up).map(|id| id.slot()).collect();
    let recent = known().take(RECENT_MAX).collect();
    Ok(Some(Opened { fresh, positions, recent, began: Began::Resumed }))
}

async fn newest_first(
    replica: &dyn Replica,
    user: &UserId,
) -> Result<Vec<(Timestamp, ConversationId)>, StoreError> {
    let mut all = Vec::new();
    for (count, (id, link)) in replica.links(user)?.into_iter().enumerate() {
        let at = replica.head(id)?.map_or(link.at, |head| head.last_at);
        all.push((at, id));
        if count % SLICE == SLICE - 1 {
            tokio::task::yield_now().await;
        }
    }
    all.sort_unstable_by(|one, other| other.cmp(one));
    Ok(all)
}

/// Catches up with these slots. Answers with which it succeeded in time.
async fn freshen(parts: &Parts, slots: BTreeSet<u16>) -> BTreeSet<u16> {
    let all = slots.into_iter().map(|slot| async move {
        let caught_up = timeout(FRESH_PATIENCE, parts.router.linearize(slot)).await;
        matches!(caught_up, Ok(Ok(()))).then_some(slot)
    });
    let fresh: Vec<Option<u16>> = join_all(all).await;
    if fresh.contains(&None) {
        tracing::debug!("a session begins from what this node has");
    }
    fresh.into_iter().flatten().collect()
}

/// Returns when the local replica has caught up with `slot`. Tries as long as the link that wants it lives.
pub(super) async fn fresh(parts: Arc<Parts>, slot: u16) {
    while parts.router.linearize(slot).await.is_err() {
        sleep(FRESH_AGAIN).await;
    }
}

/// Where `who` stands in one conversation now; `None`: has no part in it.
///
/// # Errors
/// When the disk fails.
pub(super) fn position(
    replica: &dyn Replica,
    who: &Identity,
    id: ConversationId,
) -> Result<Option<Position>, StoreError> {
    let device = replica.device(&who.user, who.device)?;
    let starts = device.map(|device| device.starts).unwrap_or_default();
    position_from(replica, who, id, &starts)
}

fn position_from(
    replica: &dyn Replica,
    who: &Identity,
    id: ConversationId,
    starts: &BTreeMap<ConversationId, Seq>,
) -> Result<Option<Position>, StoreError> {
    let Some(head) = replica.head(id)? else { return Ok(None) };
    let Some(member) = replica.member(id, &who.user)? else { return Ok(None) };
    let visible_from = history::visible_from(&head, &member);
    let cursor = replica.cursor(id, who.device)?;
    let cursor = cursor.unwrap_or_else(|| Cursor::of(who.user.clone()));
    let start = starts.get(&id).copied().unwrap_or_default();
    let next_change = next_change(replica, id, (&head, &member), (&cursor, start))?;
    // A device has what it confirmed, and begins after what existed when it came.
    let has = cursor.delivered.max(start);
    let has = if planted::bug(planted::Bug::OfflineForgotten) { head.last_seq } else { has };
    Ok(Some(Position {
        kind: Arc::new(head.kind),
        visible_from,
        next: has.next().max(visible_from),
        last: head.last_seq,
        cursor: Marks { delivered: cursor.delivered, read: cursor.read },
        next_change,
        last_change: head.last_change,
    }))
}

/// The first change that the device does not have. It has what it confirmed; a member begins with the change that took
/// them in, and a device that has confirmed none with the first one after the messages that it began after. Where nothing
/// was ever changed, nothing is looked up.
fn next_change(
    replica: &dyn Replica,
    id: ConversationId,
    (head, member): (&Head, &Member),
    (cursor, start): (&Cursor, Seq),
) -> Result<ChangeNumber, StoreError> {
    let mut next = cursor.changes.next().max(member.joined_change);
    if cursor.changes > ChangeNumber(0) || start == Seq(0) || next > head.last_change {
        return Ok(next);
    }
    // Changes stand in the order of the messages before them, so that halving finds the first.
    let mut end = head.last_change.next();
    while next < end {
        let middle = ChangeNumber(next.0 + (end.0 - next.0) / 2);
        let change = replica.changes(id, ChangeNumber(middle.0 - 1), 1)?.pop();
        match change.is_some_and(|change| change.after < start) {
            true => next = middle.next(),
            false => end = middle,
        }
    }
    Ok(next)
}
