//! The one task of a link: reads frames, carries out what the core wants, writes what it says.
//!
//! It works in turns. A turn takes what is ready (frames, hints, outcomes), carries out the actions that follow,
//! and writes everything that was said at once. Nothing is spawned for a message, and proposals are submitted in
//! the order of their frames, because submitting takes the place in line.

mod counting;
mod going;
mod handing;
mod reading;
mod resuming;
mod watching;

pub(super) use going::Ways;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chat::{Command, ConversationId, Outcome, UserId};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use proto::{Problem, ProblemCode};
use store::StoreError;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use transport::{CloseReason, Encoding, Link, LinkError, LinkReader, LinkWriter};

use super::core::{Greeting, NoOutcome, Session};
use super::face::{Face, Out};
use super::leaving::Departure;
use super::line::Line;
use super::open::{self, Admission, Began, Opened};
use super::words::{Action, Ask, Proposal, Ticket};
use crate::fanout::{Hint, Mailbox};
use crate::gateway::tokens::Identity;
use crate::gateway::{Parts, problems};
use crate::history::{self, Page};
use crate::presence::{Told, Watching};
use crate::resume::Bookmark;
use crate::router::{RouteError, Routed, Router};

/// Frames taken in one turn, so that a fast sender does not keep what it is owed waiting.
const FRAMES_PER_TURN: usize = 64;
/// Hints taken in one turn.
const HINTS_PER_TURN: usize = 256;
/// Bytes gathered before they are written, so that a long catch-up does not pile up here.
const WRITE_BYTES: usize = 512 << 10;

/// How long the answer to a repetition waits for this node to know what its first answer led to.
const REPEATED_PATIENCE: Duration = Duration::from_millis(500);

/// A proposal under way.
struct Flight {
    ticket: Ticket,
    slot: u16,
    routed: Routed,
    /// Set while a repetition must be answered with what became of the message by now: whoever was told elsewhere
    /// that it was read must not be told here that it was not.
    router: Option<Router>,
}

impl Future for Flight {
    type Output = (Ticket, Result<Outcome, RouteError>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.routed.as_mut().poll(context));
        let repeated = matches!(result, Ok(Outcome::Duplicate(_)));
        match self.router.take() {
            Some(router) if repeated => {
                let slot = self.slot;
                self.routed = Box::pin(async move {
                    match timeout(REPEATED_PATIENCE, router.linearize(slot)).await {
                        Ok(Ok(())) => result,
                        // It is stored; how far others have got is not known here, and may have been told before.
                        Ok(Err(_)) | Err(_) => Err(RouteError::Unknown),
                    }
                });
                self.poll(context)
            }
            _ => Poll::Ready((self.ticket, result)),
        }
    }
}

/// Something rarer that was waited for.
enum Done {
    Admitted(Result<Admission, Problem>),
    Opened(Result<Opened, StoreError>),
    /// The local replica has caught up with this slot.
    Fresh(u16),
    /// The message at the head of its conversation's line may be proposed, or not.
    HandedOn(ConversationId, Result<(), Problem>),
    History(Ticket, Result<Page, Problem>),
    Nothing,
}

/// What a turn waits for.
enum Event {
    Frame(Result<Option<bytes::Bytes>, LinkError>),
    Hints,
    Outcome(Ticket, Result<Outcome, RouteError>),
    Done(Done),
    Presence(Vec<(UserId, Told)>),
    Ended,
    Leave,
    Stop,
    Time,
    More,
}

/// How a link ends.
enum End {
    /// With a reason that the client is told.
    Close(CloseReason),
    /// The link is gone.
    Gone(LinkError),
    /// The client ended it.
    Left,
}

struct Driver {
    parts: Arc<Parts>,
    session: Session,
    face: Face,
    binary: bool,
    /// The positions were taken once.
    opened: bool,
    /// Times that they are being looked up.
    opening: usize,
    /// Where an earlier link of the device was, until the positions are looked up.
    begin: Option<Bookmark>,
    /// The client asked for what lets its next link begin where this one is.
    wants_bookmarks: bool,
    /// When it is given that again.
    bookmark_at: Option<Instant>,
    who: Option<Identity>,
    mailbox: Option<Mailbox>,
    /// Set once the client watches somebody.
    watching: Option<Watching>,
    departure: Departure,
    ended: CancellationToken,
    outcomes: FuturesUnordered<Flight>,
    rest: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Messages that wait until their assets are handed on.
    line: Line,
    out: Out,
    asks: Vec<Ask>,
    hints: Vec<Hint>,
}

/// Serves one link until it ends.
pub(super) async fn run(link: Link, parts: Arc<Parts>, mut ways: Ways) {
    let Link { mut reader, mut writer, encoding, bearer, resume, .. } = link;
    let greeting = bearer.map(|token| (token, resume));
    let mut driver = Driver::new(Arc::clone(&parts), encoding, greeting);
    // A link that begins while this node is to be left is told as well.
    ways.leaving.mark_changed();
    let end = driver.serve(&mut reader, &mut writer, &mut ways).await;
    // Nobody is here any more: a farewell that is not heard must not keep them online.
    let who = driver.who.take();
    drop(driver);
    let farewell = async {
        match end {
            End::Close(reason) => writer.close(reason).await,
            End::Gone(error) => {
                tracing::debug!(%error, "a link is gone");
                writer.close(reason_for(&error)).await;
            }
            End::Left => writer.close(CloseReason::Normal).await,
        }
    };
    let mark = async {
        if let Some(who) = who.filter(|who| !parts.directory.is_here(who)) {
            // A node that stops writes nothing more; whoever goes elsewhere is marked there.
            ways.stop.run_until_cancelled(parts.presence.left(&who)).await;
        }
    };
    futures::future::join(farewell, mark).await;
}

/// The close code for a link that this side has to end because of an error.
fn reason_for(error: &LinkError) -> CloseReason {
    match error {
        LinkError::Slow => CloseReason::Slow,
        LinkError::TooLarge { .. } => CloseReason::TooLarge,
        LinkError::Protocol(_) => CloseReason::Protocol,
        LinkError::NotText => CloseReason::NotText,
        LinkError::Flood(_) => CloseReason::Flood,
        LinkError::Silent => CloseReason::TimedOut,
        LinkError::Stopping => CloseReason::GoingAway,
        LinkError::Closed { .. } | LinkError::Lost(_) => CloseReason::Normal,
    }
}

impl Driver {
    fn new(parts: Arc<Parts>, encoding: Encoding, greeting: Option<Greeting>) -> Self {
        let clock = Arc::clone(&parts.clock);
        let replica = Arc::clone(&parts.replica);
        Self {
            session: Session::new(Instant::now(), greeting),
            face: Face::new(encoding, parts.node, clock, replica),
            binary: encoding == Encoding::Binary,
            opened: false,
            opening: 0,
            begin: None,
            wants_bookmarks: false,
            bookmark_at: None,
            parts,
            who: None,
            mailbox: None,
            watching: None,
            departure: Departure::default(),
            ended: CancellationToken::new(),
            outcomes: FuturesUnordered::new(),
            rest: FuturesUnordered::new(),
            line: Line::default(),
            out: Out::default(),
            asks: Vec::new(),
            hints: Vec::new(),
        }
    }

    async fn serve(
        &mut self,
        reader: &mut LinkReader,
        writer: &mut LinkWriter,
        ways: &mut Ways,
    ) -> End {
        loop {
            let close = self.carry_out().await;
            let more = self.out.bytes >= WRITE_BYTES;
            self.face.flush(Instant::now(), &mut self.out);
            if !self.out.frames.is_empty() {
                if let Err(error) = writer.send(&mut self.out.frames).await {
                    return End::Gone(error);
                }
                self.out.bytes = 0;
            }
            if let Some(reason) = close {
                return End::Close(reason);
            }
            let event = self.wait(reader, ways, more).await;
            match event {
                Event::Frame(Ok(None)) => return End::Left,
                // The link has heard of the stop first.
                Event::Frame(Err(LinkError::Stopping)) | Event::Stop => {
                    let resume = self.bookmark();
                    self.session.handle_stop((ways.elsewhere)(), resume);
                }
                Event::Leave => self.plan_to_go(ways),
                Event::Time => {
                    self.go(ways);
                    self.take(Event::Time);
                }
                Event::Frame(Err(error)) => return End::Gone(error),
                Event::Frame(Ok(Some(frame))) => {
                    if let Some(end) = self.hear(frame, reader) {
                        return end;
                    }
                }
                event => self.take(event),
            }
        }
    }

    async fn wait(&mut self, reader: &mut LinkReader, ways: &mut Ways, more: bool) -> Event {
        let Ways { leaving, stop, .. } = ways;
        let timeouts = [
            self.session.poll_timeout(),
            self.face.poll_timeout(),
            self.bookmark_at,
            self.departure.at(),
        ];
        let timeout = timeouts.into_iter().flatten().min();
        let far = timeout.is_none();
        let at = timeout.unwrap_or_else(Instant::now);
        let presence = watching::news(self.watching.as_ref());
        let mailbox = self.mailbox.as_mut();
        let has_mailbox = mailbox.is_some();
        let hints = async {
            match mailbox {
                Some(mailbox) => mailbox.receive(&mut self.hints, HINTS_PER_TURN).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled(), if !self.session.is_closed() => Event::Stop,
            Ok(()) = leaving.changed(), if has_mailbox => Event::Leave,
            () = self.ended.cancelled(), if has_mailbox => Event::Ended,
            Some((ticket, result)) = self.outcomes.next() => Event::Outcome(ticket, result),
            _ = hints, if has_mailbox => Event::Hints,
            frame = reader.next(), if self.session.wants_frames() => Event::Frame(frame),
            Some(done) = self.rest.next() => Event::Done(done),
            news = presence => Event::Presence(news),
            () = sleep_until(at), if !far => Event::Time,
            () = std::future::ready(()), if more => Event::More,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Hints => self.take_hints(),
            Event::Outcome(ticket, result) => {
                self.outcome(ticket, result.map_err(NoOutcome::Route));
                // What else is ready is told in the same write.
                while let Some(Some((ticket, result))) = self.outcomes.next().now_or_never() {
                    self.outcome(ticket, result.map_err(NoOutcome::Route));
                }
            }
            Event::Done(done) => self.done(done),
            Event::Presence(news) => self.session.handle_presence(news),
            Event::Ended => self.session.handle_ended(),
            Event::Time => {
                self.session.handle_timeout(Instant::now());
                self.bookmark_again();
            }
            Event::More | Event::Frame(_) | Event::Leave | Event::Stop => {}
        }
    }

    fn take_hints(&mut self) {
        for hint in self.hints.drain(..) {
            match hint {
                Hint::Typing(typing) => self.session.handle_typing(Instant::now(), &typing),
                hint => self.session.handle_hint(hint),
            }
        }
        if let Some(lag) = self.mailbox.as_ref().and_then(Mailbox::take_lag) {
            self.session.handle_lag(lag);
        }
    }

    /// Takes a frame and those that are there already, while there is credit.
    fn hear(&mut self, first: bytes::Bytes, reader: &mut LinkReader) -> Option<End> {
        let mut frame = first;
        let mut taken = 0;
        loop {
            taken += 1;
            if let Err(problem) = self.face.hear(frame, &mut self.asks) {
                self.session.fail(problem, CloseReason::Protocol);
                return None;
            }
            let now = Instant::now();
            let span = tracing::debug_span!("converse").entered();
            for ask in self.asks.drain(..) {
                self.session.handle_ask(now, ask);
            }
            drop(span);
            if !self.session.wants_frames() || taken == FRAMES_PER_TURN {
                return None;
            }
            frame = match reader.next().now_or_never()? {
                Ok(Some(frame)) => frame,
                Ok(None) => return Some(End::Left),
                Err(error) => return Some(End::Gone(error)),
            };
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Admitted(Ok(Admission { admitted, mailbox, begin, wants_bookmarks })) => {
                self.ended = mailbox.ended();
                self.mailbox = Some(mailbox);
                (self.begin, self.wants_bookmarks) = (begin, wants_bookmarks);
                self.who = Some(admitted.who.clone());
                self.session.handle_admitted(Ok(admitted));
            }
            Done::Admitted(Err(problem)) => self.session.handle_admitted(Err(problem)),
            Done::Opened(Ok(opened)) => {
                self.opening -= 1;
                match opened.began {
                    Began::Resumed => self.session.handle_resumed(),
                    Began::Reset => self.session.handle_reset(),
                    Began::Anew => {}
                }
                self.session.handle_opened(opened.positions, &opened.fresh);
                // The JSON face tells of a status when it changes; it has no form for where all of them stand.
                // Whoever looks again has missed changes.
                let again = std::mem::replace(&mut self.opened, true);
                let recent = opened.recent.into_iter().filter(|_| self.binary || again);
                recent.for_each(|id| self.session.want_floors(id));
            }
            Done::Opened(Err(error)) => self.broken(&error),
            Done::HandedOn(id, result) => self.handed_on(id, result),
            Done::Fresh(slot) => self.session.handle_fresh(&[slot].into()),
            Done::History(ticket, result) => self.session.handle_history(ticket, result),
            Done::Nothing => {}
        }
    }

    /// The disk failed: this link can promise nothing any more.
    fn broken(&mut self, error: &StoreError) {
        self.session.fail(problems::of_store(error), CloseReason::Internal);
    }

    /// Carries out actions until there are none or enough is gathered to be written. Returns why to close, if so.
    async fn carry_out(&mut self) -> Option<CloseReason> {
        while self.out.bytes < WRITE_BYTES {
            match self.session.poll_action()? {
                Action::Say(say) => self.say(say),
                Action::Propose { ticket, proposal } => self.propose(ticket, proposal).await,
                Action::Close(reason) => return Some(reason),
                Action::Read { conversation, after } => self.read(conversation, after),
                Action::ReadChanges { conversation, after } => {
                    self.read_changes(conversation, after);
                }
                Action::TellTyping(typing) => self.tell_typing(typing),
                Action::Watch(users) => self.watch(users),
                Action::Refresh(conversation) => self.refresh(conversation),
                Action::Floors(conversation) => self.floors(conversation),
                Action::Freshen(slot) => {
                    let fresh = open::fresh(Arc::clone(&self.parts), slot);
                    self.rest.push(fresh.map(move |()| Done::Fresh(slot)).boxed());
                }
                Action::Authenticate { token, resume } => {
                    let admit = open::admit(Arc::clone(&self.parts), token, resume);
                    self.rest.push(admit.map(Done::Admitted).boxed());
                }
                Action::Open => self.open(),
                Action::History { ticket, query } => {
                    let (parts, who) = (Arc::clone(&self.parts), self.who.clone());
                    self.rest.push(Box::pin(async move {
                        let who = who.expect("only an admitted session asks for history");
                        Done::History(ticket, parts.history.page(&who.user, &query).await)
                    }));
                }
            }
        }
        None
    }

    async fn propose(&mut self, ticket: Ticket, mut proposal: Proposal) {
        if let Command::Confirm { user, read: true, hidden, .. } = &mut proposal.command {
            // As this node has the user's record; a disk that cannot be read gives nothing away.
            *hidden = self.parts.replica.hides_read(user).unwrap_or(true);
        }
        if let Some(user) = &proposal.must_exist {
            let account = history::account(&*self.parts.replica, &self.parts.router, user).await;
            let problem = match account {
                Ok(Some(_)) => None,
                Ok(None) => Some(Problem::of(ProblemCode::NoSuchUser)),
                Err(problem) => Some(problem),
            };
            if let Some(problem) = problem {
                return self.outcome(ticket, Err(NoOutcome::NotProposed(problem)));
            }
        }
        if let Some(waiting) = self.line.pass(ticket, proposal) {
            self.submit(waiting);
        }
        self.hand_on();
    }

    fn open(&mut self) {
        let who = self.who.clone().expect("only an admitted session opens");
        self.opening += 1;
        let opened = open::open(Arc::clone(&self.parts), who.clone(), self.begin.take());
        self.rest.push(opened.map(Done::Opened).boxed());
        let presence = self.parts.presence.clone();
        self.rest.push(Box::pin(async move {
            presence.began(&who).await;
            Done::Nothing
        }));
    }
}
