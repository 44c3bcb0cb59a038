//! The handle of a client: cheap to clone, usable from any task. When the last one is gone, the client's task ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use chat::{Body, ConversationId, GroupId, Seq, UserId};
use proto::frame::SendRequest;
use proto::frames::{self, read_history};
use tokio::sync::{mpsc, oneshot, watch};

use crate::connect::{Connect, Network};
use crate::core::{COMMANDS_MAX, Core, Reached};
use crate::entropy;
use crate::rest::Rest;
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
    commands: mpsc::Sender<Command>,
    credentials: watch::Receiver<Credentials>,
    rest: Option<Arc<Rest>>,
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
        let (mut client, inbox) = Client::start(&config, credentials, Arc::new(network));
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
        Ok(Client::start(config, credentials, connect))
    }

    fn start(
        config: &Config,
        credentials: Credentials,
        connect: Arc<dyn Connect>,
    ) -> (Client, Inbox) {
        let (commands, requests) = mpsc::channel(COMMANDS_MAX);
        let (told, known) = watch::channel(credentials.clone());
        let (items, inbox) = Inbox::new(commands.downgrade(), config.confirm_delivered);
        let user = credentials.user.clone();
        let core = Core::new(config, credentials, entropy::draw());
        tokio::spawn(Task::new(core, connect, requests, items, told).run());
        (Client { user, commands, credentials: known, rest: None }, inbox)
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
        self.submit(message)?.await
    }

    /// Takes a message's place in line now, so that the order of calls is the order of messages, and returns without
    /// waiting for its answer.
    ///
    /// # Errors
    /// [`SendError::OutboxFull`] or [`SendError::Stopped`]; nothing was sent then.
    pub fn submit(&self, message: Outgoing) -> Result<Sending, SendError> {
        let conversation = message.to.conversation(&self.user);
        let message_id = message.message_id.unwrap_or_else(entropy::message_id);
        let (to, body) = (message.to.into(), message.body);
        let request = SendRequest { tag: 0, to, order: None, message_id, body };
        let (reply, answer) = oneshot::channel();
        let command = Command::Send { conversation, request: Box::new(request), reply };
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
