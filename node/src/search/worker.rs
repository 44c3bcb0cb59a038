//! The one task that keeps the index up with the tables: a bounded number of documents in each round, one commit for all
//! of them. What it reads is always the present state, so it does not matter how often it looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chat::{ChangeNumber, ConversationId, Head, Message, Overlay, Seq};
use parking_lot::Mutex;
use store::StoreError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::index::{Hit, Index, IndexError, Merge, Place};
use super::notes::Round;
use super::{FOUND_WITHIN, Search, waiting};
use crate::clock::Clock;
use crate::history::{Direction, Replica, Span};

/// How often it looks: what was applied is found about that soon, and half of the bound is left for the work itself.
const STEP: Duration = Duration::from_millis(1000);
/// Between two rounds, however many wait: each commit costs a segment.
const PAUSE: Duration = Duration::from_millis(100);
/// Rest after a round that nobody waits for, in parts of what it took.
const REST: u32 = 19;
/// Documents of a round, about a third of a second of work.
const DOCUMENTS_MAX: usize = 20_000;
/// Conversations of a round.
const CONVERSATIONS_MAX: usize = 4096;
/// Slots of the walk in a round: all of them in 2 s after the start, where there is little to do.
const SLOTS_MAX: u16 = 1024;
/// Messages, or changes, that are read at once.
const PAGE: usize = 256;
/// How often the index is put on the disk; after a crash that much is read from the tables again.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// With so much in memory alone it is put on the disk now.
const UNKEPT_BYTES_MAX: usize = 32 << 20;
/// With so much in memory alone, because the disk takes nothing, nothing more is put into the index.
const UNKEPT_BYTES_STOP: usize = 4 * UNKEPT_BYTES_MAX;
/// How long until an index that could not be used is made anew.
const ANEW_AFTER: Duration = Duration::from_secs(10);

const _: () = assert!(STEP.as_millis() * 2 <= FOUND_WITHIN.as_millis(), "found in time");

/// Keeps one index up.
pub(super) struct Worker {
    pub(super) search: Search,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) replica: Arc<dyn Replica>,
    pub(super) clock: Arc<dyn Clock>,
}

/// How a round went on.
struct Work<'a> {
    index: &'a Index,
    replica: &'a dyn Replica,
    documents: usize,
    /// Where conversations are that were changed in this round: the index tells only what was committed.
    places: BTreeMap<ConversationId, Place>,
}

/// Why a round ended early.
pub(super) enum Trouble {
    /// The tables: their machine stops the process at its next write.
    Tables(StoreError),
    /// The index: it is made anew.
    Index(IndexError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Tables(error)
    }
}

impl From<IndexError> for Trouble {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl Worker {
    /// Goes on until `stop`, and puts the index on the disk then.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.go_on()).await;
        let index = Arc::clone(&self.index);
        if let Err(error) = waiting(move || index.lock().keep()).await {
            tracing::info!(%error, "what was not kept is read again after the start");
        }
    }

    async fn go_on(&self) {
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut kept, mut merging) = (Instant::now(), None);
        loop {
            if !self.search.notes().is_walking() {
                tokio::select! {
                    _ = steps.tick() => {}
                    () = self.search.notes().wanted.notified() => {}
                }
            }
            let began = Instant::now();
            if self.keep(&mut kept).await {
                self.round().await;
                self.merge(&mut merging).await;
            }
            self.rest(began.elapsed()).await;
        }
    }

    /// Has small segments become one, which is work like any other and is waited for, unless somebody wants an answer.
    async fn merge(&self, merging: &mut Option<Merge>) {
        if merging.is_none() {
            let index = Arc::clone(&self.index);
            *merging = waiting(move || index.lock().begin_merge()).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "small segments stay for now");
                None
            });
        }
        let Some(merge) = merging else { return };
        let wanted = &self.search.notes().wanted;
        let ended = tokio::select! {
            ended = merge => ended,
            // It goes on aside, and whoever looks next begins at once.
            () = wanted.notified() => return wanted.notify_one(),
        };
        *merging = None;
        if let Err(error) = ended {
            tracing::warn!(%error, "small segments stay for now");
        }
    }

    /// Messages come first: at most half of a core while somebody waits for an answer or the index is not whole yet, and
    /// else a twentieth.
    async fn rest(&self, spent: Duration) {
        let notes = self.search.notes();
        if !notes.is_asked() && !notes.is_walking() {
            tokio::select! {
                () = sleep((spent * REST).max(PAUSE)) => return,
                // Whoever looks next begins at once.
                () = notes.wanted.notified() => notes.wanted.notify_one(),
            }
        }
        sleep(spent.max(PAUSE)).await;
    }

    /// Puts the index on the disk when it is time. Answers whether it may grow.
    async fn keep(&self, kept: &mut Instant) -> bool {
        let unkept = self.index.lock().unkept_bytes();
        if unkept == 0 || (kept.elapsed() < KEEP_EVERY && unkept < UNKEPT_BYTES_MAX) {
            return true;
        }
        *kept = Instant::now();
        let index = Arc::clone(&self.index);
        match waiting(move || index.lock().keep()).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "it stays in memory for now");
                unkept < UNKEPT_BYTES_STOP
            }
        }
    }

    async fn round(&self) {
        let round = self.search.notes().take(CONVERSATIONS_MAX, SLOTS_MAX);
        let at = self.clock.now();
        let (index, replica) = (Arc::clone(&self.index), Arc::clone(&self.replica));
        let (result, round) =
            waiting(move || (look(&mut index.lock(), &*replica, &round), round)).await;
        match result {
            Ok((left, slot)) => self.search.notes().end(&round, at, left, slot),
            Err(trouble) => {
                let (left, slot) = (round.conversations.clone(), round.slots.start);
                self.search.notes().end(&round, at, left, slot);
                self.mend(trouble).await;
            }
        }
        self.search.measure();
    }

    async fn mend(&self, trouble: Trouble) {
        match trouble {
            Trouble::Tables(error) => tracing::error!(%error, "what is to be found cannot be read"),
            Trouble::Index(error) => {
                tracing::warn!(%error, "it is made anew");
                let (index, blobs) = (Arc::clone(&self.index), self.search.blobs().clone());
                let made = waiting(move || {
                    *index.lock() = Index::anew(&blobs)?;
                    Ok::<_, IndexError>(index.lock().finder())
                });
                match made.await {
                    Ok(finder) => self.search.begin_anew(finder),
                    Err(error) => tracing::error!(%error, "nothing new is found"),
                }
            }
        }
        sleep(ANEW_AFTER).await;
    }
}

/// One round: what is left of its conversations, and up to which slot it walked.
pub(super) fn look(
    index: &mut Index,
    replica: &dyn Replica,
    round: &Round,
) -> Result<(BTreeSet<ConversationId>, u16), Trouble> {
    let mut work = Work { index, replica, documents: DOCUMENTS_MAX, places: BTreeMap::new() };
    let mut left = BTreeSet::new();
    for id in &round.conversations {
        if !work.catch_up(*id)? {
            left.insert(*id);
        }
    }
    let mut slot = round.slots.start;
    while slot < round.slots.end && work.walk(slot)? {
        slot += 1;
    }
    if !work.places.is_empty() {
        index.commit()?;
    }
    Ok((left, slot))
}

impl Work<'_> {
    /// All conversations of a slot. Answers whether none is left.
    fn walk(&mut self, slot: u16) -> Result<bool, Trouble> {
        for id in self.replica.conversations(slot)? {
            if !self.catch_up(id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Brings a conversation to its present state. Answers whether it is all there.
    fn catch_up(&mut self, id: ConversationId) -> Result<bool, Trouble> {
        if self.documents == 0 {
            return Ok(false);
        }
        // What is said after this is another note's.
        let Some(head) = self.replica.head(id)? else { return Ok(true) };
        let known = match self.places.get(&id) {
            Some(place) => Some(*place),
            None => self.index.finder().place(id)?,
        };
        let mut place = known.unwrap_or_default();
        if place.seq > head.last_seq || place.change > head.last_change {
            // A state that went back, as no state of ours does: nothing of it counts.
            self.index.forget(id, Seq(1), Seq(u64::MAX))?;
            place = Place::default();
        }
        if place.expired < head.expired {
            self.index.forget(id, Seq(1), head.expired)?;
            place.expired = head.expired;
        }
        self.changes(id, &head, place)?;
        place.change = head.last_change;
        place.seq = self.messages(id, &head, place.seq.max(head.expired))?;
        if known != Some(place) {
            self.index.set_place(id, place)?;
            self.places.insert(id, place);
            self.documents = self.documents.saturating_sub(1);
        }
        Ok(place.seq >= head.last_seq)
    }

    /// Messages that are in the index and read otherwise by now.
    fn changes(&mut self, id: ConversationId, head: &Head, place: Place) -> Result<(), Trouble> {
        let mut after = place.change;
        let mut changed = BTreeSet::new();
        while after < head.last_change {
            let page = self.replica.changes(id, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.number;
            let texts = page.iter().filter(|change| change.what.is_of_text());
            changed.extend(texts.filter_map(|change| change.what.seq()));
        }
        for seq in changed.range(head.expired.next()..place.seq.next()) {
            self.index.forget(id, *seq, *seq)?;
            let before = seq.0.checked_sub(1).map(Seq).expect("sequences begin at 1");
            self.page(id, head, before, Some(seq.next()))?;
        }
        Ok(())
    }

    /// Messages that are not in the index yet. Answers up to where they are.
    fn messages(&mut self, id: ConversationId, head: &Head, from: Seq) -> Result<Seq, Trouble> {
        let mut after = from;
        while after < head.last_seq && self.documents > 0 {
            match self.page(id, head, after, Some(head.last_seq.next()))? {
                Some(last) => after = last,
                None => after = head.last_seq,
            }
        }
        Ok(after)
    }

    /// Puts the messages between two sequences into the index, at most a page of them; answers the last of them.
    fn page(
        &mut self,
        id: ConversationId,
        head: &Head,
        after: Seq,
        before: Option<Seq>,
    ) -> Result<Option<Seq>, Trouble> {
        let span = Span { after, before, limit: PAGE, direction: Direction::OldestFirst };
        let messages = self.replica.messages(id, span)?;
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return Ok(None);
        };
        let overlays = match head.last_change > ChangeNumber(0) {
            true => self.replica.overlays(id, first.seq, last.seq)?,
            false => Default::default(),
        };
        for message in &messages {
            if let Some(text) = reads(message, overlays.get(&message.seq)) {
                let hit = Hit { at: message.at, seq: message.seq, conversation: id };
                self.index.put(hit, text)?;
            }
        }
        self.documents = self.documents.saturating_sub(messages.len());
        Ok(Some(last.seq))
    }
}

/// What a message reads now; nothing when it is deleted.
pub(crate) fn reads<'a>(message: &'a Message, overlay: Option<&'a Overlay>) -> Option<&'a str> {
    match overlay {
        _ if message.erased.is_some() => None,
        Some(overlay) if overlay.deleted.is_some() => None,
        Some(overlay) => Some(overlay.text.as_deref().unwrap_or(&message.body.text)),
        None => Some(&message.body.text),
    }
}
