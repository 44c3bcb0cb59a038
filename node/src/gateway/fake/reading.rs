//! What the fake cluster is asked: its state, read as a replica is.

use std::collections::BTreeMap;

use chat::{
    Asset, AssetId, Change, ChangeNumber, Conversation, ConversationId, Cursor, Device, DeviceId,
    Head, Kept, Link, Member, Message, MessageId, Overlay, PushId, Registration, Seq, Storage,
    User, UserId,
};
use proto::row::Account;
use store::StoreError;

use super::Fake;
use crate::history::{Direction, Place, Replica, Span};

impl Replica for Fake {
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        Ok(self.state.lock().conversations.get(&id).cloned())
    }

    fn head(&self, id: ConversationId) -> Result<Option<Head>, StoreError> {
        Ok(self.state.lock().conversations.get(&id).map(|this| this.head.clone()))
    }

    fn member(&self, id: ConversationId, user: &UserId) -> Result<Option<Member>, StoreError> {
        let state = self.state.lock();
        Ok(state.conversations.get(&id).and_then(|this| this.members.get(user).copied()))
    }

    fn cursor(&self, id: ConversationId, device: DeviceId) -> Result<Option<Cursor>, StoreError> {
        let state = self.state.lock();
        Ok(state.conversations.get(&id).and_then(|this| this.cursors.get(&device).cloned()))
    }

    fn messages(&self, id: ConversationId, span: Span) -> Result<Vec<Message>, StoreError> {
        let state = self.state.lock();
        let end = span.before.unwrap_or(Seq(u64::MAX));
        if end <= span.after.next() {
            return Ok(Vec::new());
        }
        let found = state.messages.range((id, span.after.next())..(id, end)).map(|(_, one)| one);
        Ok(match span.direction {
            Direction::OldestFirst => found.take(span.limit).cloned().collect(),
            Direction::NewestFirst => found.rev().take(span.limit).cloned().collect(),
        })
    }

    fn places(&self, id: ConversationId, message: &MessageId) -> Result<Vec<Place>, StoreError> {
        let state = self.state.lock();
        let from = (id, message.clone(), DeviceId(0));
        let to = (id, message.clone(), DeviceId(u64::MAX));
        let places = state.earlier.range(from..=to);
        Ok(places.map(|((_, _, device), at)| Place { device: *device, seq: at.seq }).collect())
    }

    fn overlays(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
    ) -> Result<BTreeMap<Seq, Overlay>, StoreError> {
        let state = self.state.lock();
        let found = state.overlays.range((id, from)..=(id, to));
        Ok(found.map(|((_, seq), overlay)| (*seq, overlay.clone())).collect())
    }

    fn changes(
        &self,
        id: ConversationId,
        after: ChangeNumber,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        let state = self.state.lock();
        let Some(from) = after.0.checked_add(1).map(ChangeNumber) else { return Ok(Vec::new()) };
        let found = state.changes.range((id, from)..=(id, ChangeNumber(u64::MAX)));
        Ok(found.take(limit).map(|(_, change)| change.clone()).collect())
    }

    fn members(&self, id: ConversationId) -> Result<BTreeMap<UserId, Member>, StoreError> {
        let state = self.state.lock();
        Ok(state.conversations.get(&id).map(|this| this.members.clone()).unwrap_or_default())
    }

    fn hides_read(&self, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.state.lock().users.get(user).is_some_and(|user| user.hide_read))
    }

    fn user(&self, user: &UserId) -> Result<Option<Account>, StoreError> {
        Ok(self.state.lock().users.get(user).map(Account::from))
    }

    fn device(&self, user: &UserId, device: DeviceId) -> Result<Option<Device>, StoreError> {
        let state = self.state.lock();
        Ok(state.users.get(user).and_then(|user| user.devices.get(&device).cloned()))
    }

    fn devices(&self, user: &UserId) -> Result<Vec<(DeviceId, Device)>, StoreError> {
        let state = self.state.lock();
        let devices = state.users.get(user).map(|user| user.devices.clone());
        Ok(devices.unwrap_or_default().into_iter().collect())
    }

    fn links(&self, user: &UserId) -> Result<Vec<(ConversationId, Link)>, StoreError> {
        let state = self.state.lock();
        let links = state.users.get(user).map(|user| user.conversations.clone());
        Ok(links.unwrap_or_default().into_iter().collect())
    }

    fn asset(&self, id: AssetId) -> Result<Option<Asset>, StoreError> {
        Ok(self.state.lock().assets.get(&id).cloned())
    }

    fn assets_of(&self, slot: u16) -> Result<Vec<(AssetId, Asset)>, StoreError> {
        let state = self.state.lock();
        let all = state.assets.iter().filter(|(id, _)| id.slot() == slot);
        Ok(all.map(|(id, asset)| (*id, asset.clone())).collect())
    }

    fn kept_of(&self, slot: u16) -> Result<Vec<(UserId, AssetId, Kept)>, StoreError> {
        let state = self.state.lock();
        let all = state.kept.iter().filter(|((user, _), _)| user.slot() == slot);
        Ok(all.map(|((user, id), kept)| (user.clone(), *id, *kept)).collect())
    }

    fn storage(&self, user: &UserId) -> Result<Storage, StoreError> {
        Ok(self.state.lock().storages.get(user).copied().unwrap_or_default())
    }

    fn pushes(&self, user: &UserId) -> Result<BTreeMap<PushId, Registration>, StoreError> {
        let state = self.state.lock();
        Ok(state.users.get(user).map(|user| user.pushes.clone()).unwrap_or_default())
    }

    fn conversations(&self, slot: u16) -> Result<Vec<ConversationId>, StoreError> {
        let state = self.state.lock();
        let of_slot = state.conversations.keys().filter(|id| id.slot() == slot);
        Ok(of_slot.copied().collect())
    }

    fn retained(&self, slot: u16) -> Result<Vec<ConversationId>, StoreError> {
        let state = self.state.lock();
        let all = state.conversations.iter();
        let kept = all.filter(|(id, one)| id.slot() == slot && one.head.retention.is_some());
        Ok(kept.map(|(id, _)| *id).collect())
    }

    fn registered(&self, slot: u16) -> Result<Vec<UserId>, StoreError> {
        let state = self.state.lock();
        let has = |(id, user): &(&UserId, &User)| id.slot() == slot && !user.pushes.is_empty();
        Ok(state.users.iter().filter(has).map(|(id, _)| id.clone()).collect())
    }
}
