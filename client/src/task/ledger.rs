//! Where the store meets the client: the records of a turn are written in one transaction before anything that the turn
//! wants done is done, and before anything that came in is handed over. The store works beside the runtime's threads, since
//! a disk may take its time.

use chat::ConversationId;
use proto::frame::ServerFrame;
use proto::frames;
use tokio::sync::oneshot;

use crate::Incoming;
use crate::store::{Commit, Head, Record, Store, StoreError};

/// Something to be read from the store, with whoever wants to know inside.
pub(crate) struct Question(pub(crate) Asking);

type Asking = Box<dyn FnOnce(&mut dyn Store) + Send>;

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Question")
    }
}

/// What a turn leaves to the store.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) records: Vec<Record>,
    pub(super) durably: bool,
}

/// The store of a client that has one.
#[derive(Default)]
pub(super) struct Ledger {
    /// Away while it works.
    store: Option<Box<dyn Store>>,
    on: bool,
    /// What nodes told in this turn.
    told: Vec<Record>,
    /// Something was committed that a durable commit has not covered yet.
    uncovered: bool,
    questions: Vec<Question>,
    /// Who waits until their message is durable.
    queued: Vec<oneshot::Sender<()>>,
}

impl Ledger {
    pub(super) fn new(store: Option<Box<dyn Store>>) -> Ledger {
        Ledger { on: store.is_some(), store, ..Ledger::default() }
    }

    /// A node told messages and changes: they are true whatever becomes of the link, and told twice they are the same.
    pub(super) fn told(&mut self, frame: &ServerFrame) {
        if !self.on {
            return;
        }
        let message = |message: &frames::Message| Record::Message(Box::new(message.clone()));
        match frame {
            ServerFrame::Deliver(deliver) => self.told.extend(deliver.messages.iter().map(message)),
            ServerFrame::HistoryPage(page) => self.told.extend(page.messages.iter().map(message)),
            ServerFrame::Changes(changes) => {
                let change = |change: &frames::Change| Record::Change(Box::new(change.clone()));
                self.told.extend(changes.changes.iter().map(change));
            }
            _ => {}
        }
    }

    /// This came in, and is about to be handed over.
    pub(super) fn incoming(&mut self, item: &Incoming) {
        if let (true, Incoming::Status { conversation, delivered, read }) = (self.on, item) {
            let (conversation, delivered, read) = (*conversation, *delivered, *read);
            self.told.push(Record::Status { conversation, delivered, read });
        }
    }

    pub(super) fn ask(&mut self, question: Question) {
        // Without a store whoever asks sees the question dropped.
        if self.on {
            self.questions.push(question);
        }
    }

    /// Tells as soon as everything that was recorded so far is durable.
    pub(super) fn when_durable(&mut self, told: oneshot::Sender<()>) {
        self.queued.push(told);
    }

    /// Writes what the turn leaves, and answers whoever asked. Conversations that a node contradicted are returned.
    pub(super) async fn write(&mut self, turn: Turn) -> Result<Vec<ConversationId>, StoreError> {
        if !self.on {
            return Ok(Vec::new());
        }
        // What was told comes first: what the core makes of it may be that it is to be forgotten.
        let mut records = std::mem::take(&mut self.told);
        records.extend(turn.records);
        let durably = turn.durably && (self.uncovered || !records.is_empty());
        let questions = std::mem::take(&mut self.questions);
        let mut contradicted = Vec::new();
        if durably || !records.is_empty() || !questions.is_empty() {
            let writes = durably || !records.is_empty();
            let how = if durably { Commit::Durable } else { Commit::Soon };
            let work = move |store: &mut dyn Store| {
                let written = match writes {
                    true => store.commit(&records, how),
                    false => Ok(Vec::new()),
                };
                questions.into_iter().for_each(|question| question.0(store));
                written
            };
            let written = self.with(work).await;
            if written.is_err() {
                // Who waits to hear that their message is durable sees it dropped.
                self.queued.clear();
            }
            contradicted = written?;
            self.uncovered = !durably && (writes || self.uncovered);
        }
        for queued in self.queued.drain(..) {
            // Whoever does not wait any more need not know.
            let _ = queued.send(());
        }
        Ok(contradicted)
    }

    pub(super) async fn heads(&mut self) -> Result<Vec<Head>, StoreError> {
        self.with(|store| store.heads()).await
    }

    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Failed("the store broke off".to_owned());
        let mut store = self.store.take().ok_or_else(gone)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(store.as_mut());
            (store, result)
        });
        let (store, result) = done.await.map_err(|_| gone())?;
        self.store = Some(store);
        result
    }
}
