//! What one batch will write. Rows that come into being once (messages, places, outbox items) are encoded as they come;
//! rows that change again and again within a batch (heads, producers, cursors) are only noted, and encoded once, at the
//! end, as they are then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chat::{
    Change, ChangeNumber, Changed, ConversationId, DeviceId, Earlier, EarlierChange, Expired,
    Message, Overlay, Owed, PushChanged, PushId, Recorded, Registration, Seq, User, UserChanged,
    UserId,
};
use proto::row::Account;
use proto::{keys, row};
use raft::GroupId;
use store::tables::Batch;

use super::applied::Counters;
use super::cache::Cache;
use super::decide::{Person, Talk};
use super::event::ShardEvent;
use super::files::Files;
use super::split::SplitOff;

/// One batch in the making.
#[derive(Default)]
pub(super) struct Draft {
    once: Batch,
    /// Places of message ids that this batch writes, so that a later command of the batch finds them.
    places: BTreeMap<Bytes, Earlier>,
    /// Places of change ids, likewise.
    change_places: BTreeMap<Bytes, EarlierChange>,
    changes: BTreeMap<(ConversationId, ChangeNumber), Change>,
    overlays: BTreeMap<(ConversationId, Seq), Overlay>,
    /// Messages that are stored again without what they said.
    erased: BTreeMap<(ConversationId, Seq), Arc<Message>>,
    /// Messages over which nothing lies any more.
    bare: BTreeSet<(ConversationId, Seq)>,
    /// Conversations whose messages are kept for another time.
    retained: BTreeSet<ConversationId>,
    heads: BTreeSet<ConversationId>,
    members: BTreeSet<(ConversationId, UserId)>,
    producers: BTreeSet<(ConversationId, DeviceId)>,
    cursors: BTreeSet<(ConversationId, DeviceId)>,
    accounts: BTreeSet<UserId>,
    settings: BTreeSet<UserId>,
    devices: BTreeSet<(UserId, DeviceId)>,
    links: BTreeSet<(UserId, ConversationId)>,
    /// Assets and what users keep.
    pub(super) files: Files,
    pushes: BTreeMap<UserId, PushChanged>,
    pub(super) events: Vec<ShardEvent>,
    /// Groups that begin with this batch.
    pub(super) splits: Vec<SplitOff>,
    /// Everything that was changed, for the caches to weigh again.
    pub(super) talks: BTreeSet<ConversationId>,
    pub(super) people: BTreeSet<UserId>,
}

impl Draft {
    /// The place under this key, if this batch made it.
    pub(super) fn place(&self, key: &Bytes) -> Option<Earlier> {
        self.places.get(key).copied()
    }

    /// The place of a change id under this key, if this batch made it.
    pub(super) fn change_place(&self, key: &Bytes) -> Option<EarlierChange> {
        self.change_places.get(key).copied()
    }

    /// A change, if this batch writes it.
    pub(super) fn change(&self, id: ConversationId, number: ChangeNumber) -> Option<Change> {
        self.changes.get(&(id, number)).cloned()
    }

    /// What lies over a message, if this batch writes it.
    pub(super) fn overlay(&self, id: ConversationId, seq: Seq) -> Option<Overlay> {
        self.overlays.get(&(id, seq)).cloned()
    }

    /// A message without what it said, if this batch erases it.
    pub(super) fn erased(&self, id: ConversationId, seq: Seq) -> Option<Arc<Message>> {
        self.erased.get(&(id, seq)).cloned()
    }

    /// The row of a message that this batch stores. Looks at every row: only a change of a message that was said in the
    /// same batch asks.
    pub(super) fn stored(&self, key: &Bytes) -> Option<Bytes> {
        let change = self.once.changes().iter().rev().find(|change| change.key == *key)?;
        change.value.clone()
    }

    /// Writes a change, or writes it again.
    pub(super) fn put_change(&mut self, change: Change) {
        self.changes.insert((change.conversation, change.number), change);
    }

    /// Notes what a decision changed in a conversation. `place` is the key of the message id's or change id's place, if
    /// the command was a message or a change of one.
    pub(super) fn conversation(
        &mut self,
        id: ConversationId,
        changed: &Changed,
        place: Option<Bytes>,
    ) {
        if changed.is_empty() {
            return;
        }
        if let (Some(message), Some(earlier)) = (&changed.message, changed.place) {
            let key = place.clone().expect("only a message command makes a message");
            self.message(message, key, earlier);
        }
        if let Some(recorded) = &changed.change {
            self.recorded(id, recorded, place);
        }
        if let Some(expired) = &changed.expired {
            self.expired(id, expired);
        }
        if changed.head {
            self.heads.insert(id);
        }
        self.retained.extend(changed.retention.then_some(id));
        self.members.extend(changed.members.iter().map(|user| (id, user.clone())));
        self.producers.extend(changed.producer.map(|device| (id, device)));
        self.cursors.extend(changed.cursor.map(|device| (id, device)));
        self.talks.insert(id);
    }

    fn message(&mut self, message: &Message, key: Bytes, earlier: Earlier) {
        self.once
            .put(keys::message(message.conversation, message.seq), row::encode_message(message));
        self.once.put(key.clone(), row::encode_earlier(&earlier));
        let before = self.places.insert(key, earlier);
        assert!(
            before.is_none() || planted::bug(planted::Bug::DedupeLeftOut),
            "a message id has one place"
        );
    }

    fn recorded(&mut self, id: ConversationId, recorded: &Recorded, place: Option<Bytes>) {
        self.put_change(Change::clone(&recorded.change));
        if let Some(earlier) = recorded.place {
            let key = place.expect("only a change of a message has a place");
            self.once.put(key.clone(), row::encode_earlier_change(&earlier));
            let before = self.change_places.insert(key, earlier);
            assert!(before.is_none(), "a change id has one place");
        }
        let Some(seq) = recorded.change.what.seq() else { return };
        self.overlays.extend(recorded.overlay.clone().map(|overlay| ((id, seq), overlay)));
        self.erased.extend(recorded.erased.clone().map(|message| ((id, seq), message)));
    }

    fn expired(&mut self, id: ConversationId, expired: &Expired) {
        let erased = expired.messages.iter().cloned();
        self.erased.extend(erased.map(|message| ((id, message.seq), message)));
        for seq in &expired.laid {
            self.overlays.remove(&(id, *seq));
            self.bare.insert((id, *seq));
        }
    }

    /// Notes what a decision changed in a user record.
    pub(super) fn user(&mut self, id: &UserId, changed: &UserChanged) {
        if *changed == UserChanged::default() {
            return;
        }
        if changed.account {
            self.accounts.insert(id.clone());
        }
        if changed.settings {
            self.settings.insert(id.clone());
        }
        self.devices.extend(changed.devices.iter().map(|device| (id.clone(), *device)));
        self.links.extend(changed.link.map(|conversation| (id.clone(), conversation)));
        if changed.push != PushChanged::default() {
            let pushes = self.pushes.entry(id.clone()).or_default();
            pushes.registrations.extend(&changed.push.registrations);
            pushes.notices.extend(&changed.push.notices);
            pushes.marks.extend(&changed.push.marks);
            pushes.dead.extend(&changed.push.dead);
        }
        self.people.insert(id.clone());
    }

    /// Puts what is owed at the end of the outbox.
    pub(super) fn owe(&mut self, group: GroupId, counters: &mut Counters, owed: &[Owed]) {
        for owed in owed {
            self.once.put(keys::outbox(group, counters.next), row::encode_owed(owed));
            counters.next += 1;
        }
    }

    /// Takes what is carried out off the beginning of the outbox.
    pub(super) fn settle(&mut self, group: GroupId, counters: &mut Counters, up_to: u64) {
        assert!(up_to < counters.next, "only what was owed can be done");
        while counters.done < up_to {
            counters.done += 1;
            self.once.delete(keys::outbox(group, counters.done));
        }
    }

    /// What this batch put into a group's outbox with numbers above `done`, in their order.
    pub(super) fn owed_since(&self, group: GroupId, done: u64) -> Vec<(u64, Bytes)> {
        let items = self.once.changes().iter().filter_map(|change| {
            let (of, number) = keys::decode_outbox(&change.key).ok()?;
            let item = change.value.clone()?;
            (of == group && number > done).then_some((number, item))
        });
        items.collect()
    }

    /// Puts an item of one outbox at the end of another.
    pub(super) fn hand_over(&mut self, from: (GroupId, u64), to: (GroupId, u64), item: Bytes) {
        self.once.delete(keys::outbox(from.0, from.1));
        self.once.put(keys::outbox(to.0, to.1), item);
    }

    /// The conversations that somebody has to look at again: those that were changed, and those that came into somebody's
    /// list or left it.
    pub(super) fn news(&self) -> BTreeSet<ConversationId> {
        let linked = self.links.iter().map(|(_, conversation)| *conversation);
        self.talks.iter().copied().chain(linked).collect()
    }

    /// All rows of the batch, as the values are now.
    pub(super) fn rows(
        &mut self,
        talks: &Cache<ConversationId, Talk>,
        people: &Cache<UserId, Person>,
    ) -> Batch {
        let mut batch = std::mem::take(&mut self.once);
        let talk =
            |id: &ConversationId| talks.loaded(id).state.as_ref().expect("what was changed exists");
        for id in &self.heads {
            batch.put(keys::head(*id), row::encode_head(&talk(id).head));
        }
        for (id, user) in &self.members {
            let member = talk(id).members.get(user).map(row::encode_member);
            put_or_delete(&mut batch, keys::member(*id, user), member);
        }
        for (id, device) in &self.producers {
            let producer = talk(id).producers.get(device).map(row::encode_producer);
            put_or_delete(&mut batch, keys::producer(*id, *device), producer);
        }
        for (id, device) in &self.cursors {
            let cursor = talk(id).cursors.get(device).map(row::encode_cursor);
            put_or_delete(&mut batch, keys::cursor(*id, *device), cursor);
        }
        for id in &self.retained {
            let retained = talk(id).head.retention.map(row::encode_retained);
            put_or_delete(&mut batch, keys::retained(*id), retained);
        }
        self.change_rows(&mut batch);
        self.user_rows(people, &mut batch);
        self.files.rows(&mut batch);
        batch
    }

    /// After the messages of the batch: one that was said and deleted in it is erased.
    fn change_rows(&self, batch: &mut Batch) {
        for ((id, number), change) in &self.changes {
            batch.put(keys::change(*id, *number), row::encode_change(change));
        }
        for ((id, seq), overlay) in &self.overlays {
            batch.put(keys::overlay(*id, *seq), row::encode_overlay(overlay));
        }
        for (id, seq) in &self.bare {
            batch.delete(keys::overlay(*id, *seq));
        }
        for ((id, seq), message) in &self.erased {
            batch.put(keys::message(*id, *seq), row::encode_message(message));
        }
    }

    fn user_rows(&self, people: &Cache<UserId, Person>, batch: &mut Batch) {
        let person =
            |id: &UserId| people.loaded(id).state.as_ref().expect("what was changed exists");
        for id in &self.accounts {
            batch.put(keys::user(id), row::encode_account(&Account::from(person(id))));
        }
        for id in &self.settings {
            put_or_delete(batch, keys::settings(id), row::encode_settings(person(id).hide_read));
        }
        for (id, device) in &self.devices {
            let value = person(id).devices.get(device).map(row::encode_device);
            put_or_delete(batch, keys::device(id, *device), value);
        }
        for (id, conversation) in &self.links {
            let value = person(id).conversations.get(conversation).map(row::encode_link);
            put_or_delete(batch, keys::link(id, *conversation), value);
        }
        for (id, changed) in &self.pushes {
            push_rows(id, person(id), changed, batch);
        }
    }
}

/// The rows of a user's registrations.
fn push_rows(id: &UserId, person: &User, changed: &PushChanged, batch: &mut Batch) {
    let of = |push: &PushId| person.pushes.get(push);
    if !changed.registrations.is_empty() {
        let count = u32::try_from(person.pushes.len()).expect("registrations are few");
        let value = (count > 0).then(|| row::encode_registered(count));
        put_or_delete(batch, keys::registered(id), value);
    }
    for push in &changed.registrations {
        let value = of(push).map(row::encode_registration);
        put_or_delete(batch, keys::registration(id, *push), value);
    }
    for (push, number) in &changed.notices {
        let notice = |push: &Registration| push.notices.get(number).map(row::encode_notice);
        put_or_delete(batch, keys::notice(id, *push, *number), of(push).and_then(notice));
    }
    for (push, conversation) in &changed.marks {
        let mark = |push: &Registration| push.marks.get(conversation).copied();
        let value = of(push).and_then(mark).map(row::encode_push_mark);
        put_or_delete(batch, keys::push_mark(id, *push, *conversation), value);
    }
    for (push, number) in &changed.dead {
        let letter = |push: &Registration| push.dead.get(number).map(row::encode_dead_letter);
        put_or_delete(batch, keys::dead_letter(id, *push, *number), of(push).and_then(letter));
    }
}

pub(super) fn put_or_delete(batch: &mut Batch, key: Bytes, value: Option<Bytes>) {
    match value {
        Some(value) => batch.put(key, value),
        None => batch.delete(key),
    }
}
