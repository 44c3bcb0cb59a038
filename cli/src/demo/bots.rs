//! The bots: users like any other, on real clients over QUIC and WebSocket, who write down what they
//! sent and what reached them.
//!
//! A bot keeps a few messages on their way at once and does not wait for one before it writes the
//! next: if anything reorders, they are the ones to see it.

use std::{sync::Arc, time::Duration};

use chat::{ConversationId, UserId};
use client::{Certainty, Client, Credentials, Inbox, Incoming, Outgoing, Receipt, SendError, To};
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    board::Board,
    record::Record,
    script::{self, Address, Cast},
    timeline::Timeline,
    verdict::{Bot, Chat, Fate, Mark, Row},
};
use crate::{
    exit::{Exit, Failure},
    seed::Dice,
};

/// Messages a bot has on their way at once.
const AT_ONCE: usize = 3;
/// A send is tried this long. Longer than any fault lasts: nothing is given up for a fault.
pub(crate) const SEND_PATIENCE: Duration = Duration::from_secs(20);
/// Lines shown of what bots say: people cannot read more.
const SHOWN_EVERY: Duration = Duration::from_millis(400);

/// How fast each bot writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tempo {
    /// Shortest and longest pause between two messages of a bot, milliseconds.
    pub(crate) pause_ms: (u64, u64),
}

/// What all bots share.
pub(crate) struct Stage {
    pub(crate) cast: Cast,
    pub(crate) board: Arc<Mutex<Board>>,
    pub(crate) timeline: Timeline,
    pub(crate) record: Mutex<Record>,
    /// Whether the bots write.
    going: watch::Sender<bool>,
    last_shown: Mutex<Duration>,
    /// Why a bot had to stop.
    broken: Mutex<Option<Failure>>,
}

impl Stage {
    pub(crate) fn new(cast: Cast, board: Arc<Mutex<Board>>, timeline: Timeline) -> Stage {
        let members = cast.places.iter().map(|place| place.members.clone()).collect();
        let record = Record::new(members, cast.users.len());
        Stage {
            cast,
            board,
            timeline,
            record: Mutex::new(record),
            going: watch::Sender::new(false),
            last_shown: Mutex::new(Duration::ZERO),
            broken: Mutex::new(None),
        }
    }

    /// Lets the bots write, or asks them to fall silent.
    pub(crate) fn go(&self, going: bool) {
        self.going.send_replace(going);
    }

    /// Whether every message has its answer. Asked after the bots were asked to fall silent.
    pub(crate) fn answered(&self) -> bool {
        self.record.lock().open() == 0
    }

    /// Why a bot had to stop, if one had to.
    pub(crate) fn broken(&self) -> Option<Failure> {
        self.broken.lock().clone()
    }

    fn fail(&self, bot: Bot, why: impl std::fmt::Display) {
        let name = &self.cast.users[bot];
        let failure = Failure::new(Exit::Internal, format!("the bot {name} had to stop: {why}"));
        self.broken.lock().get_or_insert(failure);
    }

    /// A message's place in line is taken here, under the lock that numbers it, so that numbers and
    /// sends are in the same order.
    fn send(&self, client: &Client, bot: Bot, chat: Chat, dice: &mut Dice) -> Option<Pending> {
        if !*self.going.borrow() {
            return None;
        }
        let mut record = self.record.lock();
        let mark = record.sends(chat, bot);
        let to = self.address(chat, bot);
        let began = self.timeline.now();
        match client.submit(Outgoing::text(to, script::write(dice, mark))) {
            Ok(sending) => {
                drop(record);
                self.board.lock().sent += 1;
                Some(Box::pin(async move { (mark, began, sending.await) }))
            }
            Err(SendError::OutboxFull) => {
                record.unsends(mark);
                None
            }
            Err(error) => {
                record.unsends(mark);
                drop(record);
                self.fail(bot, error);
                None
            }
        }
    }

    fn address(&self, chat: Chat, bot: Bot) -> To {
        match &self.cast.places[chat].address {
            Address::Direct(low, high) if *low == self.cast.users[bot] => To::User(high.clone()),
            Address::Direct(low, _) => To::User(low.clone()),
            Address::Group(group) => To::Group(group.clone()),
        }
    }

    fn answered_with(&self, (mark, began, answer): Answered) {
        let at = self.timeline.now();
        let fate = match &answer {
            Ok(receipt) => Fate::Acked { seq: receipt.seq.0 },
            Err(error) if error.certainty() == Certainty::Definite => Fate::Refused,
            Err(_) => Fate::Open,
        };
        self.record.lock().told(mark, fate);
        let mut board = self.board.lock();
        match answer {
            Ok(_) => board.acked(began, at),
            Err(error) => {
                board.stalls.note(began, at);
                board.refused += 1;
                let bot = &self.cast.users[mark.bot];
                board.tell(at, format_args!("a message of {bot} was given up: {error}"));
            }
        }
    }

    fn received(&self, bot: Bot, message: &proto::frames::Message) {
        let text = message.body.as_ref().map_or("", |body| body.text.as_str());
        let Some(chat) = self.cast.chat(&message.conversation) else { return };
        let (mark, line) = script::read(text);
        let mark = mark.filter(|mark| self.is_senders(mark, &message.sender));
        self.record.lock().receives(bot, chat, Row { seq: message.seq, mark });
        let place = &self.cast.places[chat];
        // Of all who receive it, one shows it.
        let shows = place.members.iter().find(|member| Some(**member) != mark.map(|m| m.bot));
        let mut board = self.board.lock();
        board.delivered += 1;
        if shows != Some(&bot) {
            return;
        }
        let (now, mut last_shown) = (self.timeline.now(), self.last_shown.lock());
        if mark.is_none() || now >= *last_shown + SHOWN_EVERY {
            *last_shown = now;
            board.said(place.name.clone(), format!("{}: {line}", message.sender));
        }
    }

    /// A mark counts only in the mouth of the bot it names: people may copy what bots say.
    fn is_senders(&self, mark: &Mark, sender: &str) -> bool {
        self.cast.users.get(mark.bot).is_some_and(|user| user.as_str() == sender)
    }
}

type Answered = (Mark, Duration, Result<Receipt, SendError>);
type Pending = BoxFuture<'static, Answered>;

/// One bot before it begins.
pub(crate) struct Actor {
    pub(crate) bot: Bot,
    pub(crate) client: Client,
    pub(crate) inbox: Inbox,
    pub(crate) dice: Dice,
    pub(crate) tempo: Tempo,
}

impl Actor {
    /// Starts the bot's two tasks: one writes, one listens.
    pub(crate) fn begin(self, stage: Arc<Stage>, tasks: &mut JoinSet<()>) {
        let Actor { bot, client, inbox, dice, tempo } = self;
        tasks.spawn(listen(stage.clone(), bot, inbox));
        tasks.spawn(write(stage, bot, client, dice, tempo));
    }
}

async fn listen(stage: Arc<Stage>, bot: Bot, mut inbox: Inbox) {
    while let Some(incoming) = inbox.next().await {
        match incoming {
            Incoming::Message(message) => stage.received(bot, &message),
            Incoming::SessionEnded { reason } => stage.fail(bot, reason),
            Incoming::LinkUp { .. }
            | Incoming::LinkDown { .. }
            | Incoming::Status { .. }
            | Incoming::Change(_)
            | Incoming::Presence { .. }
            | Incoming::NotWatching { .. }
            | Incoming::Rewritten { .. }
            | Incoming::StoreFailed { .. }
            | Incoming::CaughtUp => {}
        }
    }
}

async fn write(stage: Arc<Stage>, bot: Bot, client: Client, mut dice: Dice, tempo: Tempo) {
    let places = stage.cast.places_of(bot);
    let mut under_way: FuturesUnordered<Pending> = FuturesUnordered::new();
    let mut going = stage.going.subscribe();
    let mut next_at = Instant::now();
    loop {
        let writes = *going.borrow_and_update() && under_way.len() < AT_ONCE;
        tokio::select! {
            Some(answer) = under_way.next() => stage.answered_with(answer),
            () = sleep_until(next_at), if writes => {
                next_at = Instant::now() + dice.between(tempo.pause_ms.0, tempo.pause_ms.1);
                let chat = *dice.pick(&places);
                under_way.extend(stage.send(&client, bot, chat, &mut dice));
            }
            changed = going.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Makes an account; one that is there already, from an attempt whose answer was lost, is fine.
pub(crate) async fn register(
    config: &client::Config,
    user: &UserId,
    password: &str,
) -> Result<(), Failure> {
    loop {
        match client::register(config, user, password).await {
            Ok(()) => return Ok(()),
            Err(error) if is_taken(&error) => return Ok(()),
            Err(error) if error.certainty() == Certainty::Unknown => sleep(AGAIN).await,
            Err(error) => return Err(Failure::unavailable(format!("user {user}: {error}"))),
        }
    }
}

/// Before a call without an answer is made again.
const AGAIN: Duration = Duration::from_millis(100);

fn is_taken(error: &client::CallError) -> bool {
    matches!(error, client::CallError::Refused { status: 409, .. })
}

/// Makes the groups of the cast; the first member owns each. `guests` join the first one.
pub(crate) async fn make_groups(
    cast: &Cast,
    clients: &[Client],
    guests: &[UserId],
) -> Result<(), Failure> {
    let mut guests = guests.to_vec();
    for place in &cast.places {
        let Address::Group(group) = &place.address else { continue };
        let owner = &clients[place.members[0]];
        let mut members: Vec<UserId> =
            place.members.iter().map(|bot| cast.users[*bot].clone()).collect();
        members.append(&mut guests);
        loop {
            match owner.create_group(Some(group), &place.name, &members, false).await {
                Ok(made) => {
                    debug_assert_eq!(made.conversation, ConversationId::group(group));
                    break;
                }
                Err(error) if is_taken(&error) => break,
                Err(error) if error.certainty() == Certainty::Unknown => sleep(AGAIN).await,
                Err(error) => return Err(Failure::unavailable(format!("group {group}: {error}"))),
            }
        }
    }
    Ok(())
}

/// Logs a user in as a new device.
pub(crate) async fn login(
    config: &client::Config,
    user: &UserId,
    password: &str,
    device: &str,
) -> Result<Credentials, Failure> {
    client::login(config, user, password, device)
        .await
        .map_err(|e| Failure::unavailable(format!("user {user} cannot log in: {e}")))
}
