//! A client with a store: begun where this device was, with an outbox that survives its end, and history that can be read
//! without a node. What is in the store can be read without a client as well: through [`Store`] itself.

use std::sync::Arc;

use chat::{ConversationId, Seq};
use tokio::sync::{mpsc, oneshot};

use crate::client::{Client, Sending};
use crate::connect::{Connect, Network};
use crate::rest::Rest;
use crate::store::{
    Kept, KeptConversation, KeptPage, KeptRefusal, KeptSend, Owner, Store, StoreError,
};
use crate::task::Question;
use crate::{AskError, CallError, Config, Credentials, Inbox, Outgoing, SendError};

/// Why a client with a store could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Client {
    /// Starts a client on a store: what waited to be sent is sent, what was missed comes in. It returns as soon as the store
    /// has been read; no node need be reachable.
    ///
    /// # Errors
    /// [`BeginError`]; nothing was changed.
    pub fn connect_kept(
        config: Config,
        credentials: Credentials,
        store: Box<dyn Store>,
    ) -> Result<(Client, Inbox), BeginError> {
        let network = Arc::new(Network::new(&config)?);
        let rest = Arc::new(Rest::new(&config)?);
        let (mut client, inbox) = Client::begin_kept(&config, credentials, network, store)?;
        client.rest = Some(rest);
        Ok((client, inbox))
    }

    /// The same in a world of the caller's making, without REST calls.
    ///
    /// # Errors
    /// [`BeginError`]; nothing was changed.
    pub fn connect_kept_with(
        config: &Config,
        credentials: Credentials,
        connect: Arc<dyn Connect>,
        store: Box<dyn Store>,
    ) -> Result<(Client, Inbox), BeginError> {
        if config.nodes.is_empty() {
            return Err(CallError::BadConfig("no node is named".to_owned()).into());
        }
        Client::begin_kept(config, credentials, connect, store)
    }

    fn begin_kept(
        config: &Config,
        credentials: Credentials,
        connect: Arc<dyn Connect>,
        mut store: Box<dyn Store>,
    ) -> Result<(Client, Inbox), BeginError> {
        let owner = Owner { user: credentials.user.clone(), device: credentials.device };
        let kept: Kept = store.begin(&owner)?;
        Ok(Client::start(config, credentials, connect, Some((store, kept))))
    }

    /// Puts a message into the outbox. When this returns, it is on this device's disk and is sent once, in its turn, as soon
    /// as a node takes it, by this life of the client or a later one; what it returns resolves when that has happened.
    ///
    /// # Errors
    /// [`SendError::OutboxFull`] when 4,096 messages wait already; [`SendError::Stopped`] when the client has stopped, or has
    /// no store. It was not put in then. [`SendError::Unknown`] when the store failed: a later life may find it there.
    pub async fn enqueue(&self, message: Outgoing) -> Result<Sending, SendError> {
        if !self.keeps {
            return Err(SendError::Stopped);
        }
        let (durable, is_durable) = oneshot::channel();
        let sending = self.hand_in(message, Some(durable))?;
        match is_durable.await {
            Ok(()) => Ok(sending),
            // It was settled instead: the outbox was full, the client stopped, or the store failed in the middle.
            Err(_) => match sending.await {
                Err(SendError::Pending) | Ok(_) => Err(SendError::Unknown),
                Err(error) => Err(error),
            },
        }
    }

    /// What waits to be sent, in the order of sending.
    ///
    /// # Errors
    /// [`AskError::Stopped`] when there is no store, or none any more; [`AskError::Busy`].
    pub async fn pending(&self) -> Result<Vec<KeptSend>, AskError> {
        self.ask_store(|store| store.pending()).await
    }

    /// What the cluster refused for good, the oldest first.
    ///
    /// # Errors
    /// As [`Client::pending`].
    pub async fn refusals(&self) -> Result<Vec<KeptRefusal>, AskError> {
        self.ask_store(|store| store.refusals()).await
    }

    /// The conversations that are kept on this device, those with the latest news first.
    ///
    /// # Errors
    /// As [`Client::pending`].
    pub async fn kept_conversations(&self) -> Result<Vec<KeptConversation>, AskError> {
        self.ask_store(|store| store.conversations()).await
    }

    /// The newest messages that are kept on this device, below `before` if that is said, ascending.
    ///
    /// # Errors
    /// As [`Client::pending`].
    pub async fn kept_history(
        &self,
        conversation: ConversationId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<KeptPage, AskError> {
        self.ask_store(move |store| store.history(conversation, before, limit)).await
    }

    async fn ask_store<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        let question = move |store: &mut dyn Store| {
            // Whoever does not wait any more is not told.
            let _ = reply.send(ask(store));
        };
        self.put_question(Question(Box::new(question)))?;
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            // A store that cannot be read cannot be written either: the client is about to find out.
            Ok(Err(_)) | Err(_) => Err(AskError::Stopped),
        }
    }

    fn put_question(&self, question: Question) -> Result<(), AskError> {
        self.commands.try_send(crate::task::Command::Question(question)).map_err(
            |error| match error {
                mpsc::error::TrySendError::Full(_) => AskError::Busy,
                mpsc::error::TrySendError::Closed(_) => AskError::Stopped,
            },
        )
    }
}
