//! What the client side of a node reads of applied state: a port, so that it can be tested without raft.

use std::collections::BTreeMap;

use chat::{
    Asset, AssetId, Change, ChangeNumber, Conversation, ConversationId, Cursor, Device, DeviceId,
    Head, History, Kept, Kind, Link, Member, Message, MessageId, Overlay, PushId, Registration,
    Seq, Storage, UserId,
};
use proto::row::Account;
use store::StoreError;

use crate::shard::Reader;

/// Where a device's message of some id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) device: DeviceId,
    pub(crate) seq: Seq,
}

/// In which order messages are read, and from which end the limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    OldestFirst,
    NewestFirst,
}

/// Which messages to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Exclusive.
    pub(crate) after: Seq,
    /// Exclusive.
    pub(crate) before: Option<Seq>,
    pub(crate) limit: usize,
    pub(crate) direction: Order,
}

/// Applied state of any shard, as this node has it now. Point and range reads that take microseconds.
///
/// Each call fails only when the disk does, which is a fault of the node and never the caller's.
pub(crate) trait Replica: Send + Sync + 'static {
    /// Everything about a conversation but its messages: for status details, not for the path of a message.
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError>;
    /// What every message touches.
    fn head(&self, id: ConversationId) -> Result<Option<Head>, StoreError>;
    /// One membership.
    fn member(&self, id: ConversationId, user: &UserId) -> Result<Option<Member>, StoreError>;
    /// One device's cursor.
    fn cursor(&self, id: ConversationId, device: DeviceId) -> Result<Option<Cursor>, StoreError>;
    /// Messages in the order that the span names.
    fn messages(&self, id: ConversationId, span: Span) -> Result<Vec<Message>, StoreError>;
    /// What lies over the messages from the first to the second, for those over which something lies. Only worth asking
    /// where something was changed: see [`Head::last_change`].
    fn overlays(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
    ) -> Result<BTreeMap<Seq, Overlay>, StoreError>;
    /// The first changes above a number.
    fn changes(
        &self,
        id: ConversationId,
        after: ChangeNumber,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError>;
    /// Everybody who takes part.
    fn members(&self, id: ConversationId) -> Result<BTreeMap<UserId, Member>, StoreError>;
    /// Whether the user hides what they read.
    fn hides_read(&self, user: &UserId) -> Result<bool, StoreError>;
    /// Where messages of this client's id stand, one for each device that used it.
    fn places(&self, id: ConversationId, message: &MessageId) -> Result<Vec<Place>, StoreError>;
    /// An account.
    fn user(&self, user: &UserId) -> Result<Option<Account>, StoreError>;
    /// One device's session.
    fn device(&self, user: &UserId, device: DeviceId) -> Result<Option<Device>, StoreError>;
    /// All devices of a user that have a session.
    fn devices(&self, user: &UserId) -> Result<Vec<(DeviceId, Device)>, StoreError>;
    /// A user's conversations.
    fn links(&self, user: &UserId) -> Result<Vec<(ConversationId, Link)>, StoreError>;
    /// An asset's record.
    fn asset(&self, id: AssetId) -> Result<Option<Asset>, StoreError>;
    /// All assets of one slot.
    fn assets_of(&self, slot: u16) -> Result<Vec<(AssetId, Asset)>, StoreError>;
    /// What the users of one slot keep.
    fn kept_of(&self, slot: u16) -> Result<Vec<(UserId, AssetId, Kept)>, StoreError>;
    /// What a user keeps of assets.
    fn storage(&self, user: &UserId) -> Result<Storage, StoreError>;
    /// A user's registrations for pushes.
    fn pushes(&self, user: &UserId) -> Result<BTreeMap<PushId, Registration>, StoreError>;
    /// All conversations of a slot.
    fn conversations(&self, slot: u16) -> Result<Vec<ConversationId>, StoreError>;
    /// The conversations of a slot whose messages are not kept for ever.
    fn retained(&self, slot: u16) -> Result<Vec<ConversationId>, StoreError>;
    /// The users of a slot who have registrations.
    fn registered(&self, slot: u16) -> Result<Vec<UserId>, StoreError>;
}

/// The first change that a member may see: of groups that hide what was said before somebody came, the one that took them
/// in. Of those that they may see, what is about messages from before is hidden none the less.
pub(crate) fn changes_visible_from(kind: &Kind, member: &Member) -> ChangeNumber {
    match kind {
        Kind::Group { history: History::SinceJoin, .. } => member.joined_change,
        Kind::Group { history: History::All, .. } | Kind::Direct { .. } => ChangeNumber(0),
    }
}

/// The first sequence that a member may see: of those that are theirs, the first that has not expired.
pub(crate) fn visible_from(head: &Head, member: &Member) -> Seq {
    theirs_from(&head.kind, member).max(head.expired.next())
}

/// The first sequence that is a member's to see, whether it was kept or not.
pub(crate) fn theirs_from(kind: &Kind, member: &Member) -> Seq {
    match kind {
        Kind::Group { history: History::SinceJoin, .. } => member.joined_at.next(),
        Kind::Group { history: History::All, .. } | Kind::Direct { .. } => Seq(1),
    }
}

impl Replica for Reader {
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        Self::conversation(self, id)
    }

    fn head(&self, id: ConversationId) -> Result<Option<Head>, StoreError> {
        Self::head(self, id)
    }

    fn member(&self, id: ConversationId, user: &UserId) -> Result<Option<Member>, StoreError> {
        Self::member(self, id, user)
    }

    fn cursor(&self, id: ConversationId, device: DeviceId) -> Result<Option<Cursor>, StoreError> {
        Self::cursor(self, id, device)
    }

    fn messages(&self, id: ConversationId, span: Span) -> Result<Vec<Message>, StoreError> {
        let newest_first = span.direction == Order::NewestFirst;
        Self::messages(self, id, span.after, span.before, span.limit, newest_first)
    }

    fn overlays(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
    ) -> Result<BTreeMap<Seq, Overlay>, StoreError> {
        Self::overlays(self, id, from, to)
    }

    fn changes(
        &self,
        id: ConversationId,
        after: ChangeNumber,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        Self::changes(self, id, after, limit)
    }

    fn members(&self, id: ConversationId) -> Result<BTreeMap<UserId, Member>, StoreError> {
        Self::members(self, id)
    }

    fn hides_read(&self, user: &UserId) -> Result<bool, StoreError> {
        Self::hides_read(self, user)
    }

    fn places(&self, id: ConversationId, message: &MessageId) -> Result<Vec<Place>, StoreError> {
        let places = Self::places(self, id, message)?;
        Ok(places.into_iter().map(|(device, earlier)| Place { device, seq: earlier.seq }).collect())
    }

    fn user(&self, user: &UserId) -> Result<Option<Account>, StoreError> {
        Self::user(self, user)
    }

    fn device(&self, user: &UserId, device: DeviceId) -> Result<Option<Device>, StoreError> {
        Self::device(self, user, device)
    }

    fn asset(&self, id: AssetId) -> Result<Option<Asset>, StoreError> {
        Self::asset(self, id)
    }

    fn assets_of(&self, slot: u16) -> Result<Vec<(AssetId, Asset)>, StoreError> {
        Self::assets_of(self, slot)
    }

    fn kept_of(&self, slot: u16) -> Result<Vec<(UserId, AssetId, Kept)>, StoreError> {
        Self::kept_of(self, slot)
    }

    fn storage(&self, user: &UserId) -> Result<Storage, StoreError> {
        Self::storage(self, user)
    }

    fn devices(&self, user: &UserId) -> Result<Vec<(DeviceId, Device)>, StoreError> {
        Self::devices(self, user)
    }

    fn links(&self, user: &UserId) -> Result<Vec<(ConversationId, Link)>, StoreError> {
        Self::links(self, user)
    }

    fn pushes(&self, user: &UserId) -> Result<BTreeMap<PushId, Registration>, StoreError> {
        Self::pushes(self, user)
    }

    fn registered(&self, slot: u16) -> Result<Vec<UserId>, StoreError> {
        Self::registered(self, slot)
    }

    fn conversations(&self, slot: u16) -> Result<Vec<ConversationId>, StoreError> {
        Self::conversations(self, slot)
    }

    fn retained(&self, slot: u16) -> Result<Vec<ConversationId>, StoreError> {
        Self::retained(self, slot)
    }
}
