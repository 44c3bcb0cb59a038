//! The handle of a client: cheap to clone, usable from any task. When the last one is gone, the client's task ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chat::{Body, ConversationId, GroupId, Seq, UserId};
use proto::frame::SendRequest;
use proto::frames::{self, read_history};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::ASK_PATIENCE;
use crate::connect::{Connect, Network};
use crate::core::{COMMANDS_MAX, Core, Reached, WATCHED_MAX};
use crate::entropy;
use crate::rest::Rest;
use crate::store::{Kept, Store};
use crate::task::{Command, Task};
use crate::{
    AskError, CallError, Config, Consistency, Credentials, Group, HistoryQuery, Inbox, Outgoing,
    Page, Receipt, SendError, Standing, To,
};

/// Makes an account.
///
/// # Errors
/// [`CallError`]; `name_taken` when a user or group of this name exists.
pub async fn register(config: &Config, user: &UserId, password: &str) -> Result<(), CallError> {
    Rest::new(config)?.register(user, password).await
}

/// Opens a session for a new device of this user.
///
/// # Errors
/// [`CallError`]. A login that was not answered may leave a session behind that nobody holds.
pub async fn login(
    config: &Config,
    user: &UserId,
    password: &str,
    device_name: &str,
) -> Result<Credentials, CallError> {
    Rest::new(config)?.login(user, password, device_name).await
}

/// One device, connected.
#[derive(Debug, Clone)]
pub struct Client {
    user: UserId,
    pub(crate) commands: mpsc::Sender<Command>,
    credentials: watch::Receiver<Credentials>,
    pub(crate) rest: Option<Arc<Rest>>,
    /// There is a store: what was handed in and not answered in time is still sent.
    pub(crate) keeps: bool,
    send_patience: Duration,
}

/// A message on its way: resolves when it is stored or given up. Dropping it does not take the message back.
#[derive(Debug)]
pub struct Sending(oneshot::Receiver<Result<Receipt, SendError>>);

impl Future for Sending {
    type Output = Result<Receipt, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A task that ended without an answer may have sent the message.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(SendError::Unknown)))
    }
}

impl Client {
    /// Starts a client. It returns at once and connects by itself, for as long as it takes.
    ///
    /// # Errors
    /// [`CallError::BadConfig`] when no node is named or the authorities cannot be used.
    pub fn connect(config: Config, credentials: Credentials) -> Result<(Client, Inbox), CallError> {
        let network = Network::new(&config)?;
        let rest = Arc::new(Rest::new(&config)?);
        let (mut client, inbox) = Client::start(&config, credentials, Arc::new(network), None);
        client.rest = Some(rest);
        Ok((client, inbox))
    }

    /// Starts a client in a world of the caller's making, without REST calls.
    ///
    /// # Errors
    /// [`CallError::BadConfig`] when no node is named.
    pub fn connect_with(
        config: &Config,
        credentials: Credentials,
        connect: Arc<dyn Connect>,
    ) -> Result<(Client, Inbox), CallError> {
        if config.nodes.is_empty() {
            return Err(CallError::BadConfig("no node is named".to_owned()));
        }
        Ok(Client::start(config, credentials, connect, None))
    }

    pub(crate) fn start(
        config: &Config,
        credentials: Credentials,
        connect: Arc<dyn Connect>,
        kept: Option<(Box<dyn Store>, Kept)>,
    ) -> (Client, Inbox) {
        let (commands, requests) = mpsc::channel(COMMANDS_MAX);
        let (told, known) = watch::channel(credentials.clone());
        let (items, inbox) = Inbox::new(commands.downgrade(), config.confirm_delivered);
        let user = credentials.user.clone();
        let mut core = Core::new(config, credentials, entropy::draw());
        let (store, last_ticket) = match kept {
            Some((store, kept)) => {
                let last_ticket = kept.last_ticket;
                core.restore(kept);
                (Some(store), last_ticket)
            }
            None => (None, 0),
        };
        let (keeps, send_patience) = (store.is_some(), config.send_patience);
        let task = Task::new(core, connect, requests, items, told).keeping(store, last_ticket);
        tokio::spawn(task.run());
        let credentials = known;
        (Client { user, commands, credentials, rest: None, keeps, send_patience }, inbox)
    }

    /// Who this is.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The tokens of now; they change while the client lives, and the last ones open the session again.
    pub fn credentials(&self) -> Credentials {
        self.credentials.borrow().clone()
    }

    /// Follows the tokens, for an application that keeps them.
    pub fn watch_credentials(&self) -> watch::Receiver<Credentials> {
        self.credentials.clone()
    }

    /// Sends text and waits until it is stored.
    ///
    /// # Errors
    /// [`SendError`] says whether it may have been stored all the same.
    pub async fn send(&self, to: To, text: impl Into<String>) -> Result<Receipt, SendError> {
        self.send_message(Outgoing::text(to, text)).await
    }

    /// Sends a message and waits until it is stored.
    ///
    /// # Errors
    /// [`SendError`] says whether it may have been stored all the same.
    pub async fn send_message(&self, message: Outgoing) -> Result<Receipt, SendError> {
        let sending = self.submit(message)?;
        if !self.keeps {
            return sending.await;
        }
        let answer = tokio::time::timeout(self.send_patience, sending).await;
        answer.unwrap_or(Err(SendError::Pending))
    }

    /// Takes a message's place in line now, so that the order of calls is the order of messages, and returns without
    /// waiting for its answer. With a store it is written there before it is sent; to know when,
    /// [`enqueue`](Client::enqueue) it.
    ///
    /// # Errors
    /// [`SendError::OutboxFull`] or [`SendError::Stopped`]; nothing was sent then.
    pub fn submit(&self, message: Outgoing) -> Result<Sending, SendError> {
        self.hand_in(message, None)
    }

    pub(crate) fn hand_in(
        &self,
        message: Outgoing,
        durable: Option<oneshot::Sender<()>>,
    ) -> Result<Sending, SendError> {
        let conversation = message.to.conversation(&self.user);
        let message_id = message.message_id.unwrap_or_else(entropy::message_id);
        let (to, body) = (message.to.into(), message.body);
        let request = SendRequest { tag: 0, to, order: None, message_id, body };
        let (reply, answer) = oneshot::channel();
        let request = Box::new(request);
        let command = Command::Send { conversation, request, reply, durable };
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::OutboxFull,
            mpsc::error::TrySendError::Closed(_) => SendError::Stopped,
        })?;
        Ok(Sending(answer))
    }

    /// Confirms everything up to `seq` as delivered, or as read.
    ///
    /// # Errors
    /// [`AskError::Refused`] with `beyond_end` when there is no such sequence yet.
    pub async fn confirm(
        &self,
        conversation: ConversationId,
        seq: Seq,
        read: bool,
    ) -> Result<Standing, AskError> {
        let reached = Reached { seq, read };
        let (reply, answer) = oneshot::channel();
        let command = Command::Confirm { conversation, reached, reply: Some(reply) };
        self.commands.send(command).await.map_err(|_| AskError::Stopped)?;
        answer.await.unwrap_or(Err(AskError::Stopped))
    }

    /// Confirms all changes up to this number: none of them comes again. Only where the configuration leaves that to the
    /// application.
    ///
    /// # Errors
    /// [`AskError::Stopped`].
    pub async fn confirm_changes(
        &self,
        conversation: ConversationId,
        number: u64,
    ) -> Result<(), AskError> {
        let command = Command::ConfirmChanges { conversation, number };
        self.commands.send(command).await.map_err(|_| AskError::Stopped)
    }

    /// Watches these users from now on, and no others: how they are comes in, at first and whenever it is news.
    ///
    /// # Errors
    /// [`AskError::Refused`] when there are more than 500; [`AskError::Stopped`].
    pub async fn watch(&self, users: Vec<UserId>) -> Result<(), AskError> {
        if users.len() > WATCHED_MAX {
            let code = proto::ProblemCode::InvalidRequest.as_str().to_owned();
            let detail = format!("at most {WATCHED_MAX} users are watched");
            let problem = frames::Problem { code, detail, ..frames::Problem::default() };
            return Err(AskError::Refused(problem));
        }
        self.commands.send(Command::Watch(users)).await.map_err(|_| AskError::Stopped)
    }

    /// Reads a page of history.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn history(&self, query: HistoryQuery) -> Result<Page, AskError> {
        let (consistency, at_least) = match query.consistency {
            Consistency::Linearizable => (frames::Consistency::Linearizable, 0),
            Consistency::AtLeast(seq) => (frames::Consistency::AtLeast, seq.0),
            Consistency::Local => (frames::Consistency::Local, 0),
        };
        let of = match &query.of {
            To::User(user) => read_history::Of::Peer(user.as_str().to_owned()),
            To::Group(group) => read_history::Of::Peer(group.as_str().to_owned()),
            To::Conversation(id) => {
                read_history::Of::Conversation(bytes::Bytes::copy_from_slice(id.as_bytes()))
            }
        };
        let query = frames::ReadHistory {
            tag: 0,
            of: Some(of),
            after: query.after.0,
            before: query.before.map_or(0, |seq| seq.0),
            limit: query.limit,
            consistency: consistency.into(),
            at_least,
            around: 0,
        };
        let (reply, answer) = oneshot::channel();
        let command = Command::Read { query: Box::new(query), reply };
        self.commands.send(command).await.map_err(|_| AskError::Stopped)?;
        answer.await.unwrap_or(Err(AskError::Stopped))
    }

    /// Makes a group of which this user is the owner. Without an id the cluster chooses one.
    ///
    /// # Errors
    /// [`CallError`]; `name_taken` when a user or group of this id exists.
    pub async fn create_group(
        &self,
        group: Option<&GroupId>,
        name: &str,
        members: &[UserId],
        newcomers_see_all: bool,
    ) -> Result<Group, CallError> {
        let access = self.credentials().access;
        self.rest()?.create_group(&access, group, name, members, newcomers_see_all).await
    }

    /// Takes users into a group.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn add_members(&self, group: &GroupId, members: &[UserId]) -> Result<(), CallError> {
        self.rest()?.add_members(&self.credentials().access, group, members).await
    }

    /// Takes a user out of a group; oneself to leave it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn remove_member(&self, group: &GroupId, member: &UserId) -> Result<(), CallError> {
        self.rest()?.remove_member(&self.credentials().access, group, member).await
    }

    /// Messages with these words, the newest first, at most `limit` (100): in one conversation, or in all. The answer is
    /// the server's own, with `messages` and what it says about its scope.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn search(
        &self,
        question: &str,
        of: Option<To>,
        limit: u32,
    ) -> Result<Value, CallError> {
        let of = of.map(|to| to.conversation(&self.user));
        let rest = self.rest()?;
        let asked = rest.search(&self.credentials().access, question, of, limit).await;
        match asked {
            Err(CallError::Refused { status: 401, .. }) => {}
            other => return other,
        }
        // The link finds out, too, that the token has had its time, and trades it for another.
        let mut credentials = self.credentials.clone();
        let old = credentials.borrow().access.clone();
        let renewed = credentials.wait_for(|now| now.access != old);
        let _ = tokio::time::timeout(ASK_PATIENCE, renewed).await;
        rest.search(&self.credentials().access, question, of, limit).await
    }

    /// Ends the session on every node and stops this client.
    ///
    /// # Errors
    /// [`CallError`]; the client is stopped all the same, the session may live on.
    pub async fn logout(&self) -> Result<(), CallError> {
        let access = self.credentials().access;
        self.stop().await;
        self.rest()?.logout(&access).await
    }

    /// Closes the link and ends the client's task. What is unanswered is reported as unknown.
    pub async fn stop(&self) {
        // A task that has ended already needs no telling.
        let _ = self.commands.send(Command::Stop).await;
        self.commands.closed().await;
    }

    fn rest(&self) -> Result<&Rest, CallError> {
        let none = || CallError::BadConfig("this client was given no REST calls".to_owned());
        self.rest.as_deref().ok_or_else(none)
    }
}

impl Outgoing {
    /// A message with this body.
    pub fn new(to: To, body: Body) -> Outgoing {
        Outgoing { to, message_id: None, body }
    }
}
