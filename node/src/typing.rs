//! Who is writing, on its way to the sessions of those who take part: here and on every other node. Never stored, never
//! repeated, dropped wherever there is no room.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use chat::{ConversationId, Member, UserId};
use store::StoreError;
use store::tables::Tables;

use crate::fanout::{Directory, Hint, Typing};
use crate::history::Replica;
use crate::shard::Reader;

/// Who takes part in a conversation, as this node has it.
trait Members: Send + Sync {
    fn members(&self, id: ConversationId) -> Result<BTreeMap<UserId, Member>, StoreError>;
}

struct OfReplica(Arc<dyn Replica>);

impl Members for OfReplica {
    fn members(&self, id: ConversationId) -> Result<BTreeMap<UserId, Member>, StoreError> {
        self.0.members(id)
    }
}

/// What answers the other nodes must not keep the tables open once this node has let go of them.
struct WhileOpen(Weak<dyn Tables>);

impl Members for WhileOpen {
    fn members(&self, id: ConversationId) -> Result<BTreeMap<UserId, Member>, StoreError> {
        self.0.upgrade().map_or_else(|| Ok(BTreeMap::new()), |open| Reader::new(open).members(id))
    }
}

/// Tells the sessions of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TypingNews {
    directory: Directory,
    members: Arc<dyn Members>,
}

impl TypingNews {
    /// To the sessions of `directory`, by the memberships of `replica`.
    pub(crate) fn new(directory: Directory, replica: Arc<dyn Replica>) -> Self {
        Self { directory, members: Arc::new(OfReplica(replica)) }
    }

    /// The same over `tables`, for as long as somebody else holds them.
    pub(crate) fn while_open(directory: Directory, tables: &Arc<dyn Tables>) -> Self {
        Self { directory, members: Arc::new(WhileOpen(Arc::downgrade(tables))) }
    }

    /// Tells every session here of everybody who takes part, if the writer does.
    pub(crate) fn tell(&self, typing: &Typing) {
        if self.directory.is_empty() {
            return;
        }
        match self.members.members(typing.conversation) {
            Ok(members) if members.contains_key(&typing.user) => {
                self.directory.post_all(&members, &Hint::Typing(Arc::new(typing.clone())));
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the local replica cannot be read"),
        }
    }
}
