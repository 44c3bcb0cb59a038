//! What became of a message: delivered, read, and in groups by how many.

use chat::{Conversation, Floors, Kind, Message};
use proto::spec_json::Standing;

/// The standings of messages of one conversation, as one read saw it.
pub(crate) struct Standings(Option<(Conversation, Floors)>);

impl Standings {
    /// Of this conversation; without one, nothing has reached anybody.
    pub(crate) fn new(conversation: Option<Conversation>) -> Self {
        Self(conversation.map(|conversation| {
            let floors = conversation.floors();
            (conversation, floors)
        }))
    }

    /// How far `message` has got, its sender not counted.
    pub(crate) fn of(&self, message: &Message) -> Standing {
        let Some((conversation, floors)) = &self.0 else { return Standing::default() };
        let sender = &message.sender;
        let others =
            |users: Vec<&chat::UserId>| users.iter().filter(|user| **user != sender).count() as u64;
        let is_group = matches!(conversation.head.kind, Kind::Group { .. });
        Standing {
            delivered: message.seq <= floors.delivered(sender),
            read: message.seq <= floors.read(sender),
            counts: is_group.then(|| {
                let delivered = others(conversation.delivered_to(message.seq));
                (delivered, others(conversation.read_by(message.seq)))
            }),
        }
    }
}
