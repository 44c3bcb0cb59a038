//! The one task of a client: it owns the links, the clock and the answers that somebody waits for, and does what the core
//! says. Nothing is decided here.

mod ledger;
mod slot;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat::{ConversationId, UserId};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use proto::frame::SendRequest;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use transport::{CloseReason, DialError, Link, LinkError, Retry};

use crate::connect::Connect;
use crate::core::{Action, Core, LinkId, Query, Reached, Settled, Ticket};
use crate::{AskError, CallError, Credentials, Incoming, Page, Receipt, SendError, Standing};

use crate::store::{Store, StoreError};

pub(crate) use ledger::Question;
use ledger::{Ledger, Turn};
use slot::{Slots, What};

/// Requests that are taken before anything is written: their frames share a write.
const COMMANDS_AT_ONCE: usize = 64;

/// What the application asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Send {
        conversation: ConversationId,
        request: Box<SendRequest>,
        reply: oneshot::Sender<Result<Receipt, SendError>>,
        /// Told when the store has it.
        durable: Option<oneshot::Sender<()>>,
    },
    /// To be answered by the store.
    Question(Question),
    Confirm {
        conversation: ConversationId,
        reached: Reached,
        reply: Option<oneshot::Sender<Result<Standing, AskError>>>,
    },
    ConfirmChanges {
        conversation: ConversationId,
        number: u64,
    },
    Watch(Vec<UserId>),
    Read {
        query: Box<Query>,
        reply: oneshot::Sender<Result<Page, AskError>>,
    },
    Stop,
}

/// Who waits for an answer.
enum Waiting {
    Sent(oneshot::Sender<Result<Receipt, SendError>>),
    Confirmed(oneshot::Sender<Result<Standing, AskError>>),
    Page(oneshot::Sender<Result<Page, AskError>>),
}

type Dialled = (LinkId, Result<Link, DialError>);
type Refreshed = Result<Credentials, CallError>;

pub(crate) struct Task {
    core: Core,
    connect: Arc<dyn Connect>,
    commands: mpsc::Receiver<Command>,
    /// `None` when the application does not want to hear anything.
    items: Option<mpsc::Sender<Incoming>>,
    credentials: watch::Sender<Credentials>,
    began: Instant,
    slots: Slots,
    dials: FuturesUnordered<BoxFuture<'static, Dialled>>,
    refreshes: FuturesUnordered<BoxFuture<'static, Refreshed>>,
    waiting: BTreeMap<Ticket, Waiting>,
    ticket: Ticket,
    ledger: Ledger,
}

impl Task {
    pub(crate) fn new(
        core: Core,
        connect: Arc<dyn Connect>,
        commands: mpsc::Receiver<Command>,
        items: mpsc::Sender<Incoming>,
        credentials: watch::Sender<Credentials>,
    ) -> Task {
        Task {
            core,
            connect,
            commands,
            items: Some(items),
            credentials,
            began: Instant::now(),
            slots: Slots::default(),
            dials: FuturesUnordered::new(),
            refreshes: FuturesUnordered::new(),
            waiting: BTreeMap::new(),
            ticket: 0,
            ledger: Ledger::default(),
        }
    }

    /// With this store, and tickets that go on after its last one.
    pub(crate) fn keeping(mut self, store: Option<Box<dyn Store>>, last_ticket: Ticket) -> Task {
        self.ledger = Ledger::new(store);
        self.ticket = last_ticket;
        self
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) async fn run(mut self) {
        self.core.tick(self.now());
        loop {
            self.act().await;
            if self.core.is_stopped() {
                break;
            }
            self.wait().await;
        }
        self.finish().await;
    }

    /// Waits for whatever happens next and tells the core.
    async fn wait(&mut self) {
        let deadline = self.core.poll_timeout().map(|at| self.began + at);
        let reading = !self.core.is_congested();
        let handing_over = self.core.has_incoming() && self.items.is_some();
        tokio::select! {
            command = self.commands.recv() => match command {
                Some(command) => self.commands(command),
                None => self.core.stop(),
            },
            (id, what) = self.slots.next(reading) => self.happened(id, what),
            Some((id, dialled)) = self.dials.next(), if !self.dials.is_empty() => {
                self.dialled(id, dialled);
            }
            Some(refreshed) = self.refreshes.next(), if !self.refreshes.is_empty() => {
                let now = self.now();
                self.core.refreshed(now, refreshed);
                self.credentials.send_replace(self.core.credentials().clone());
            }
            permit = reserve(self.items.clone()), if handing_over => self.hand_over(permit),
            () = sleep_until(deadline.unwrap_or(self.began)), if deadline.is_some() => {
                let now = self.now();
                self.core.tick(now);
            }
        }
    }

    /// One request and those that wait behind it, so that their frames travel together.
    fn commands(&mut self, first: Command) {
        self.command(first);
        for _ in 1..COMMANDS_AT_ONCE {
            match self.commands.try_recv() {
                Ok(command) => self.command(command),
                Err(_) => return,
            }
        }
    }

    /// As much as the application has room for. `None`: it does not listen any more.
    fn hand_over(&mut self, permit: Option<mpsc::OwnedPermit<Incoming>>) {
        let mut next = permit;
        while let Some(permit) = next {
            let Some(item) = self.core.poll_incoming() else { return };
            next = match permit.send(item).try_reserve_owned() {
                Ok(permit) => Some(permit),
                Err(mpsc::error::TrySendError::Full(_)) => return,
                Err(mpsc::error::TrySendError::Closed(_)) => None,
            };
        }
        self.items = None;
    }

    fn command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Send { conversation, request, reply, durable } => {
                let ticket = self.wait_for(Waiting::Sent(reply));
                let taken = self.core.send(now, ticket, conversation, *request);
                // Who is not told sees it dropped.
                if let Some(durable) = durable.filter(|_| taken) {
                    self.ledger.when_durable(durable);
                }
            }
            Command::Question(question) => self.ledger.ask(question),
            Command::Confirm { conversation, reached, reply } => {
                let ticket = reply.map(|reply| self.wait_for(Waiting::Confirmed(reply)));
                self.core.confirm(now, ticket, conversation, reached);
            }
            Command::Read { query, reply } => {
                let ticket = self.wait_for(Waiting::Page(reply));
                self.core.read(now, ticket, *query);
            }
            Command::ConfirmChanges { conversation, number } => {
                self.core.confirm_changes(now, conversation, number);
            }
            Command::Watch(users) => self.core.watch(users),
            Command::Stop => self.core.stop(),
        }
    }

    fn wait_for(&mut self, waiting: Waiting) -> Ticket {
        self.ticket += 1;
        self.waiting.insert(self.ticket, waiting);
        self.ticket
    }

    fn dialled(&mut self, id: LinkId, dialled: Result<Link, DialError>) {
        let now = self.now();
        match dialled {
            Ok(link) => {
                // The core may have given up the dialling meanwhile; then the link is dropped.
                if self.core.dialled(now, id) {
                    self.slots.insert(id, link);
                }
            }
            Err(DialError::Refused { status: 401 }) => {
                self.core.link_refused(now, id, "HTTP status 401".to_owned());
            }
            Err(error) => self.core.link_lost(now, id, error.to_string()),
        }
    }

    fn happened(&mut self, id: LinkId, what: What) {
        let now = self.now();
        match what {
            What::Frame(bytes) => match proto::frame::decode_server_frame(bytes) {
                Ok(Some(frame)) => {
                    self.ledger.told(&frame);
                    self.core.frame(now, id, frame);
                }
                // A node of a later version may say what this one does not understand.
                Ok(None) => {}
                Err(error) => {
                    self.slots.remove(id);
                    self.core.link_lost(now, id, error.to_string());
                }
            },
            What::Ended(error) => {
                self.slots.remove(id);
                let reason = error.as_ref().map_or("closed".to_owned(), LinkError::to_string);
                match error {
                    Some(error) if is_about_token(&error) => {
                        self.core.link_refused(now, id, reason);
                    }
                    _ => self.core.link_lost(now, id, reason),
                }
            }
        }
    }

    /// Does all that the core wants done.
    async fn act(&mut self) {
        self.record().await;
        while let Some(action) = self.core.poll() {
            match action {
                Action::Dial(id, node) => {
                    let dial = self.connect.dial(node);
                    self.dials.push(Box::pin(async move { (id, dial.await) }));
                }
                Action::Write(id, frame) => self.slots.write(id, frame),
                Action::Close(id) => self.slots.close(id),
                Action::Settle(settled) => self.settle(settled),
                Action::Heads => self.heads().await,
                Action::Refresh(old) => self.refreshes.push(self.connect.refresh(old)),
            }
        }
        if self.items.is_none() {
            while self.core.poll_incoming().is_some() {}
        }
    }

    /// Before anything of this turn is done, all of it is in the store. What is done only says what is recorded.
    async fn record(&mut self) {
        // A contradiction makes more records, which contradict nothing.
        loop {
            for item in self.core.unrecorded() {
                self.ledger.incoming(item);
            }
            let (records, durably) = self.core.records();
            match self.ledger.write(Turn { records, durably }).await {
                Ok(contradicted) if contradicted.is_empty() => return,
                Ok(contradicted) => {
                    let now = self.now();
                    for conversation in contradicted {
                        self.core.contradicted(now, conversation);
                    }
                }
                Err(error) => return self.store_failed(&error),
            }
        }
    }

    async fn heads(&mut self) {
        match self.ledger.heads().await {
            Ok(heads) => {
                let now = self.now();
                self.core.compare(now, heads);
            }
            Err(error) => self.store_failed(&error),
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        self.core.store_failed(error.to_string());
    }

    fn settle(&mut self, settled: Settled) {
        // Whoever does not wait any more is not told.
        match settled {
            Settled::Sent(ticket, result) => {
                if let Some(Waiting::Sent(reply)) = self.waiting.remove(&ticket) {
                    let _ = reply.send(result);
                }
            }
            Settled::Confirmed(ticket, result) => {
                if let Some(Waiting::Confirmed(reply)) = self.waiting.remove(&ticket) {
                    let _ = reply.send(result);
                }
            }
            Settled::Page(ticket, result) => {
                if let Some(Waiting::Page(reply)) = self.waiting.remove(&ticket) {
                    let _ = reply.send(result);
                }
            }
        }
    }

    /// The last words: what came in is handed over as far as the application still listens, and links are closed.
    async fn finish(mut self) {
        self.commands.close();
        self.record().await;
        self.slots.close_all(CloseReason::Normal).await;
        let Some(items) = self.items else { return };
        while let Some(item) = self.core.poll_incoming() {
            if items.send(item).await.is_err() {
                return;
            }
        }
    }
}

async fn reserve(items: Option<mpsc::Sender<Incoming>>) -> Option<mpsc::OwnedPermit<Incoming>> {
    items?.reserve_owned().await.ok()
}

fn is_about_token(error: &LinkError) -> bool {
    let code = CloseReason::Unauthenticated.code();
    matches!(error, LinkError::Closed { code: told } if *told == u64::from(code))
        && error.retry() == Retry::Never
}
