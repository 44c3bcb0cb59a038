//! What comes in, for one reader. An application that reads slowly slows down its link, not its memory.

use chat::{ConversationId, Seq};
use tokio::sync::mpsc;

use crate::Incoming;
use crate::core::Reached;
use crate::task::Command;

/// Items that the task has handed over and the application has not taken. Small: the core keeps the rest.
const HANDED_OVER_MAX: usize = 64;

/// What comes in, in order.
#[derive(Debug)]
pub struct Inbox {
    items: mpsc::Receiver<Incoming>,
    commands: mpsc::WeakSender<Command>,
    confirm_delivered: bool,
    /// What was taken last, to be confirmed when the application asks for more.
    taken: Option<Taken>,
}

/// What was taken.
#[derive(Debug)]
enum Taken {
    Message(ConversationId, Seq),
    Change(ConversationId, u64),
}

impl Inbox {
    pub(crate) fn new(
        commands: mpsc::WeakSender<Command>,
        confirm_delivered: bool,
    ) -> (mpsc::Sender<Incoming>, Inbox) {
        let (sender, items) = mpsc::channel(HANDED_OVER_MAX);
        (sender, Inbox { items, commands, confirm_delivered, taken: None })
    }

    /// The next item; `None` when the client has stopped. Asking for it says that the one before has been dealt with: a
    /// message is confirmed as delivered then, unless the configuration leaves that to the application. Cancel-safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.confirm_taken().await;
        let item = self.items.recv().await?;
        let id = |bytes: &[u8]| {
            ConversationId::from_bytes(bytes).expect("the core hands over legal ids only")
        };
        self.taken = match &item {
            _ if !self.confirm_delivered => None,
            Incoming::Message(message) => {
                Some(Taken::Message(id(&message.conversation), Seq(message.seq)))
            }
            Incoming::Change(change) => {
                Some(Taken::Change(id(&change.conversation), change.number))
            }
            _ => None,
        };
        Some(item)
    }

    async fn confirm_taken(&mut self) {
        let command = match self.taken {
            None => return,
            Some(Taken::Message(conversation, seq)) => {
                let reached = Reached { seq, read: false };
                Command::Confirm { conversation, reached, reply: None }
            }
            Some(Taken::Change(conversation, number)) => {
                Command::ConfirmChanges { conversation, number }
            }
        };
        if let Some(commands) = self.commands.upgrade() {
            // A task that has ended confirms nothing; the message comes again with the next session.
            let _ = commands.send(command).await;
        }
        self.taken = None;
    }
}
