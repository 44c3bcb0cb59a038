//! Search: which messages have these words, of those that the asker may read now.
//!
//! Each node has an index of its own, of every conversation that it carries: derived from the tables, and made anew from
//! them when it is missing or damaged. Laws:
//! * What is told was looked up again in the tables: it is a message that the asker may read now, and it has the words as
//!   it reads now. So the index can neither leak nor bring back anything, however far behind it is.
//! * What was applied here is found within [`FOUND_WITHIN`]; a question waits that long for what it must see, and the
//!   answer says up to when everything is found.
//! * On the disk there is nothing of it that is not sealed: see [`folder`].
//!
//! What this does not do: no message waits for it, and nothing is decided by it. Beside the path of a message.

mod folder;
mod index;
mod notes;
mod words;
mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chat::{ConversationId, Timestamp};
use parking_lot::{Mutex, RwLock};
use proto::{Problem, ProblemCode};
use store::Blobs;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::index::{Finder, Index};
use self::notes::Notes;
use self::worker::Worker;
use crate::clock::Clock;
use crate::figures;
use crate::history::Replica;

pub(crate) use index::{Hit, IndexError};
pub(crate) use notes::Fed;
pub(crate) use words::{Unclear, WORDS_MAX, Wanted};
pub(crate) use worker::reads;

/// How soon what was applied on a node is found there, unless it is busy with more than it can read in that time.
pub(crate) const FOUND_WITHIN: Duration = Duration::from_secs(2);

/// Questions that the index is asked at once: each takes a core for milliseconds, and messages come first.
const ASKING_MAX: usize = 2;
/// Questions that wait for that.
const WAITING_MAX: usize = 64;

struct Inner {
    notes: Notes,
    blobs: Blobs,
    index: Arc<Mutex<Index>>,
    finder: RwLock<Finder>,
    /// When this node began to look.
    began: Timestamp,
    clock: Arc<dyn Clock>,
    waiting: Semaphore,
    asking: Semaphore,
}

/// The search of one node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Search(Arc<Inner>);

impl Search {
    /// Over the index in `blobs`, which is made when there is none. Waits for the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn open(blobs: Blobs, clock: Arc<dyn Clock>) -> Result<Self, IndexError> {
        let index = Index::open(&blobs)?;
        let finder = RwLock::new(index.finder());
        let (notes, began) = (Notes::default(), clock.now());
        let index = Arc::new(Mutex::new(index));
        let (waiting, asking) = (Semaphore::new(WAITING_MAX), Semaphore::new(ASKING_MAX));
        let inner = Inner { notes, blobs, index, finder, began, clock, waiting, asking };
        Ok(Self(Arc::new(inner)))
    }

    /// Keeps the index up with `replica` until `stop`.
    pub(crate) async fn run(self, replica: Arc<dyn Replica>, stop: CancellationToken) {
        let (index, clock) = (Arc::clone(&self.0.index), Arc::clone(&self.0.clock));
        Worker { search: self, index, replica, clock }.run(stop).await;
    }

    /// Waits until everything that was applied here by now is found, at most [`FOUND_WITHIN`].
    pub(crate) async fn catch_up(&self) {
        let (count, mut done) = (self.0.notes.count(), self.0.notes.done());
        let caught_up = |done: &notes::Done| done.through.is_some() && done.count >= count;
        if caught_up(&done.borrow()) {
            return;
        }
        let _asks = self.0.notes.ask();
        let _ = tokio::time::timeout(FOUND_WITHIN, done.wait_for(caught_up)).await;
    }

    /// Everything that was applied here by then is found; `None` until everything was looked at once.
    pub(crate) fn through(&self) -> Option<Timestamp> {
        let done = *self.0.notes.done().borrow();
        match done.count >= self.0.notes.count() {
            true => done.through.map(|through| through.max(self.0.clock.now())),
            false => done.through,
        }
    }

    /// Messages of these conversations that have the words as far as the index knows, the newest first, and whether there
    /// are more. Who is to be told of them has to look them up.
    ///
    /// # Errors
    /// `overloaded`, or a fault of the index.
    pub(crate) async fn find(
        &self,
        (of, wanted): (Arc<BTreeSet<ConversationId>>, Wanted),
        after: Option<Hit>,
        most: usize,
    ) -> Result<(Vec<Hit>, bool), Problem> {
        let _waits =
            self.0.waiting.try_acquire().map_err(|_| Problem::of(ProblemCode::Overloaded))?;
        let _asks = self.0.asking.acquire().await.expect("it is never closed");
        let finder = self.0.finder.read().clone();
        let found = waiting(move || finder.find(&of, &wanted, after, most)).await;
        found.map_err(|error| {
            tracing::error!(%error, "a question cannot be answered");
            Problem::of(ProblemCode::Internal)
        })
    }

    /// Tells what operators see of the index.
    fn measure(&self) {
        let now = self.0.clock.now();
        let through = self.through().unwrap_or(self.0.began);
        figures::INDEX_LAG
            .set(Duration::from_millis(now.0.saturating_sub(through.0)).as_secs_f64());
        figures::INDEXED.set(self.0.finder.read().documents() as f64);
    }

    fn notes(&self) -> &Notes {
        &self.0.notes
    }

    fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    fn begin_anew(&self, finder: Finder) {
        *self.0.finder.write() = finder;
        self.0.notes.all();
    }
}

/// Has `work` done where waiting for a disk is allowed.
async fn waiting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process is about to end; nobody waits for this any more.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
