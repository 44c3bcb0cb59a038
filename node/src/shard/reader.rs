//! Reads of applied state, of any shard that this node has. What it answers was applied here; whether that is fresh
//! enough is for the caller to settle before, with a linearizable read of the shard's group.

use std::collections::BTreeMap;
use std::sync::Arc;

use chat::{
    Asset, AssetId, Change, ChangeNumber, Conversation, ConversationId, Cursor, Device, DeviceId,
    Earlier, Head, Kept, Link, Member, Message, MessageId, Overlay, PushId, Registration, Seq,
    Storage, UserId,
};
use proto::DecodeError;
use proto::keys;
use proto::row::{self, Account};
use store::StoreError;
use store::tables::{Direction, KeyRange, Tables};

use super::load::{self, damaged};

/// A cheap handle on the tables, in terms of `chat`. Every call is one read of one moment; none of them waits for a
/// machine. Errors are always fatal ones: the disk failed, or a row is damaged.
#[derive(Clone)]
pub(crate) struct Reader {
    tables: Arc<dyn Tables>,
}

impl Reader {
    /// Reads from `tables`.
    pub(crate) fn new(tables: Arc<dyn Tables>) -> Self {
        Self { tables }
    }

    /// Everything about a conversation but its messages. Costs a row for each member and device; for a single fact ask
    /// for that fact.
    pub(crate) fn conversation(
        &self,
        id: ConversationId,
    ) -> Result<Option<Conversation>, StoreError> {
        load::conversation(&*self.tables, id)
    }

    /// The head of a conversation.
    pub(crate) fn head(&self, id: ConversationId) -> Result<Option<Head>, StoreError> {
        self.one(&keys::head(id), row::decode_head)
    }

    /// One membership.
    pub(crate) fn member(
        &self,
        id: ConversationId,
        user: &UserId,
    ) -> Result<Option<Member>, StoreError> {
        self.one(&keys::member(id, user), row::decode_member)
    }

    /// One device's cursor; `None` stands for a cursor at 0.
    pub(crate) fn cursor(
        &self,
        id: ConversationId,
        device: DeviceId,
    ) -> Result<Option<Cursor>, StoreError> {
        self.one(&keys::cursor(id, device), row::decode_cursor)
    }

    /// Up to `limit` messages with `after < seq < before`; without `before`, up to the end. The oldest of them ascending,
    /// or the newest of them descending.
    pub(crate) fn messages(
        &self,
        id: ConversationId,
        after: Seq,
        before: Option<Seq>,
        limit: usize,
        newest_first: bool,
    ) -> Result<Vec<Message>, StoreError> {
        let end = before.unwrap_or(Seq(u64::MAX));
        if end.0 <= after.0.saturating_add(1) {
            return Ok(Vec::new());
        }
        let range = keys::message_range(id, after.next(), end);
        let direction = if newest_first { Direction::Descending } else { Direction::Ascending };
        let rows = self.tables.scan(KeyRange::new(range.start, range.end), direction, limit)?;
        rows.iter()
            .map(|(key, value)| {
                let (id, seq) = keys::decode_message(key).map_err(damaged)?;
                row::decode_message(id, seq, value).map_err(damaged)
            })
            .collect()
    }

    /// What lies over the messages `from..=to`, for those over which something lies.
    pub(crate) fn overlays(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
    ) -> Result<BTreeMap<Seq, Overlay>, StoreError> {
        let rows = load::all(&*self.tables, keys::overlay_range(id, from, to.next()))?;
        rows.iter()
            .map(|(key, value)| {
                let (_, seq) = keys::decode_overlay(key).map_err(damaged)?;
                Ok((seq, row::decode_overlay(value).map_err(damaged)?))
            })
            .collect()
    }

    /// Up to `limit` changes with a number above `after`, ascending.
    pub(crate) fn changes(
        &self,
        id: ConversationId,
        after: ChangeNumber,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        let Some(from) = after.0.checked_add(1).map(ChangeNumber) else { return Ok(Vec::new()) };
        let range = keys::change_range(id, from, ChangeNumber(u64::MAX));
        let range = KeyRange::new(range.start, range.end);
        let rows = self.tables.scan(range, Direction::Ascending, limit)?;
        rows.iter()
            .map(|(key, value)| {
                let (id, number) = keys::decode_change(key).map_err(damaged)?;
                row::decode_change(id, number, value).map_err(damaged)
            })
            .collect()
    }

    /// Everybody who takes part.
    pub(crate) fn members(
        &self,
        id: ConversationId,
    ) -> Result<BTreeMap<UserId, Member>, StoreError> {
        let rows = load::all(&*self.tables, keys::member_range(id))?;
        rows.iter()
            .map(|(key, value)| {
                let (_, user) = keys::decode_member(key).map_err(damaged)?;
                Ok((user, row::decode_member(value).map_err(damaged)?))
            })
            .collect()
    }

    /// Whether the user hides what they read.
    pub(crate) fn hides_read(&self, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.one(&keys::settings(user), row::decode_settings)?.unwrap_or(false))
    }

    /// Where messages of this id stand, one for each device that used it, in the order of the devices.
    pub(crate) fn places(
        &self,
        id: ConversationId,
        message_id: &MessageId,
    ) -> Result<Vec<(DeviceId, Earlier)>, StoreError> {
        let rows = load::all(&*self.tables, keys::message_ref_range(id, message_id))?;
        rows.iter()
            .map(|(key, value)| {
                let (_, _, device) = keys::decode_message_ref(key).map_err(damaged)?;
                Ok((device, row::decode_earlier(value).map_err(damaged)?))
            })
            .collect()
    }

    /// An account without its devices and links.
    pub(crate) fn user(&self, user: &UserId) -> Result<Option<Account>, StoreError> {
        self.one(&keys::user(user), row::decode_account)
    }

    /// One device of a user; `None` when its session has ended.
    pub(crate) fn device(
        &self,
        user: &UserId,
        device: DeviceId,
    ) -> Result<Option<Device>, StoreError> {
        self.one(&keys::device(user, device), row::decode_device)
    }

    /// All devices of a user, at most [`DEVICES_MAX`](chat::limits::DEVICES_MAX).
    pub(crate) fn devices(&self, user: &UserId) -> Result<Vec<(DeviceId, Device)>, StoreError> {
        let rows = load::all(&*self.tables, keys::device_range(user))?;
        rows.iter()
            .map(|(key, value)| {
                let (_, device) = keys::decode_device(key).map_err(damaged)?;
                Ok((device, row::decode_device(value).map_err(damaged)?))
            })
            .collect()
    }

    /// All conversations of a user, at most [`CONVERSATIONS_MAX`](chat::limits::CONVERSATIONS_MAX).
    pub(crate) fn links(&self, user: &UserId) -> Result<Vec<(ConversationId, Link)>, StoreError> {
        let rows = load::all(&*self.tables, keys::link_range(user))?;
        rows.iter()
            .map(|(key, value)| {
                let (_, conversation) = keys::decode_link(key).map_err(damaged)?;
                Ok((conversation, row::decode_link(value).map_err(damaged)?))
            })
            .collect()
    }

    /// An asset's record.
    pub(crate) fn asset(&self, id: AssetId) -> Result<Option<Asset>, StoreError> {
        self.one(&keys::asset(id), row::decode_asset)
    }

    /// What a user keeps in all.
    pub(crate) fn storage(&self, user: &UserId) -> Result<Storage, StoreError> {
        Ok(self.one(&keys::storage(user), row::decode_storage)?.unwrap_or_default())
    }

    /// All assets of one slot. Few: ids spread evenly over the slots.
    pub(crate) fn assets_of(&self, slot: u16) -> Result<Vec<(AssetId, Asset)>, StoreError> {
        let rows = load::all(&*self.tables, keys::assets_of_slot(slot))?;
        rows.iter()
            .map(|(key, value)| {
                let id = keys::decode_asset(key).map_err(damaged)?;
                Ok((id, row::decode_asset(value).map_err(damaged)?))
            })
            .collect()
    }

    /// What the users of one slot keep, asset by asset.
    pub(crate) fn kept_of(&self, slot: u16) -> Result<Vec<(UserId, AssetId, Kept)>, StoreError> {
        let rows = load::all(&*self.tables, keys::kept_of_slot(slot))?;
        let lines = rows.iter().filter_map(|(key, value)| {
            let (user, asset) = keys::decode_kept(key).ok()?;
            Some(row::decode_kept(value).map_err(damaged).map(|kept| (user, asset, kept)))
        });
        lines.collect()
    }

    /// A user's registrations for pushes, with all that hangs on them.
    pub(crate) fn pushes(
        &self,
        user: &UserId,
    ) -> Result<BTreeMap<PushId, Registration>, StoreError> {
        load::pushes(&load::all(&*self.tables, keys::push_range(user))?)
    }

    /// The users of a slot who have registrations.
    pub(crate) fn registered(&self, slot: u16) -> Result<Vec<UserId>, StoreError> {
        let rows = load::all(&*self.tables, keys::registered_range(slot))?;
        rows.iter().map(|(key, _)| keys::decode_registered(key).map_err(damaged)).collect()
    }

    /// All conversations of a slot. Costs a look-up for each: what lies between two heads is passed over.
    pub(crate) fn conversations(&self, slot: u16) -> Result<Vec<ConversationId>, StoreError> {
        let range = keys::states_of_slot(slot);
        let (mut from, mut found) = (range.start, Vec::new());
        loop {
            let rest = KeyRange::new(from, range.end.clone());
            let next = self.tables.scan(rest, Direction::Ascending, 1)?;
            let Some((key, _)) = next.first() else { return Ok(found) };
            let id = keys::decode_head(key).map_err(damaged)?;
            from = keys::conversation_range(id).end;
            found.push(id);
        }
    }

    /// The conversations of a slot whose messages are not kept for ever.
    pub(crate) fn retained(&self, slot: u16) -> Result<Vec<ConversationId>, StoreError> {
        let rows = load::all(&*self.tables, keys::retained_range(slot))?;
        rows.iter().map(|(key, _)| keys::decode_retained(key).map_err(damaged)).collect()
    }

    fn one<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(value) = self.tables.get(key)? else {
            return Ok(None);
        };
        decode(&value).map(Some).map_err(damaged)
    }
}
