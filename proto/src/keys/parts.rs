//! The pieces that keys are built of and taken apart into. Which pieces make which key is not decided here.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, DeviceId, MessageId, UserId};

use crate::DecodeError;

/// Above all slots.
pub(super) const RESERVED: u16 = 0xFFFF;

/// Head, members, producers, cursors.
pub(super) const STATE: u8 = 0x10;
/// Messages.
pub(super) const MESSAGE: u8 = 0x20;
/// Places of message ids.
pub(super) const MESSAGE_REF: u8 = 0x30;
/// Accounts, devices, links.
pub(super) const USER: u8 = 0x40;
/// Changes, what lies over messages, places of change ids.
pub(super) const CHANGES: u8 = 0x50;
/// Assets and what users keep of them.
pub(super) const ASSETS: u8 = 0x60;

/// Users who have registrations.
pub(super) const REGISTERED: u8 = 0x70;

/// Conversations whose messages are not kept for ever.
pub(super) const RETAINED: u8 = 0x80;

/// Below [`RESERVED`].
pub(super) const APPLIED: u8 = 0x01;
pub(super) const OUTBOX: u8 = 0x02;
pub(super) const STAGING: u8 = 0x03;
pub(super) const INSTALLING: u8 = 0x04;
pub(super) const CLUSTER_CONFIG: u8 = 0x05;

/// Below [`STATE`].
pub(super) const HEAD: u8 = 0x00;
pub(super) const MEMBER: u8 = 0x01;
pub(super) const PRODUCER: u8 = 0x02;
pub(super) const CURSOR: u8 = 0x03;

/// Below [`CHANGES`].
pub(super) const CHANGE: u8 = 0x00;
pub(super) const OVERLAY: u8 = 0x01;
pub(super) const CHANGE_REF: u8 = 0x02;

/// Below [`USER`].
pub(super) const ACCOUNT: u8 = 0x00;
pub(super) const DEVICE: u8 = 0x01;
pub(super) const LINK: u8 = 0x02;
pub(super) const SETTINGS: u8 = 0x10;
pub(super) const REGISTRATION: u8 = 0x18;
pub(super) const NOTICE: u8 = 0x19;
pub(super) const MARK: u8 = 0x1a;
pub(super) const DEAD_LETTER: u8 = 0x1b;

/// Below [`ASSETS`].
pub(super) const ASSET: u8 = 0x00;
pub(super) const KEEPING: u8 = 0x01;

/// Below [`KEEPING`] and a user.
pub(super) const TOTAL: u8 = 0x00;
pub(super) const KEPT: u8 = 0x01;

/// Ends a text inside a key: no id contains it.
const END: u8 = 0;

/// Room for every key but staged ones and those of long message ids.
const KEY_BYTES: usize = 96;

/// A key being built.
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn slot(slot: u16, kind: u8) -> Key {
        let mut key = Vec::with_capacity(KEY_BYTES);
        key.extend_from_slice(&slot.to_be_bytes());
        key.push(kind);
        Key(key)
    }

    pub(super) fn reserved(kind: u8) -> Key {
        Key::slot(RESERVED, kind)
    }

    pub(super) fn conversation(kind: u8, id: ConversationId) -> Key {
        Key::slot(id.slot(), kind).bytes(&id.as_bytes()[2..])
    }

    pub(super) fn user(id: &UserId) -> Key {
        Key::slot(id.slot(), USER).text(id.as_str())
    }

    pub(super) fn byte(mut self, byte: u8) -> Key {
        self.0.push(byte);
        self
    }

    pub(super) fn u32(self, number: u32) -> Key {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn u64(self, number: u64) -> Key {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Key {
        self.0.extend_from_slice(bytes);
        self
    }

    /// With an end mark, so that another piece may follow and no text is a prefix of another.
    pub(super) fn text(self, text: &str) -> Key {
        debug_assert!(!text.as_bytes().contains(&END), "ids hold no zero byte");
        self.bytes(text.as_bytes()).byte(END)
    }

    pub(super) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }

    /// All keys that begin with what was built so far.
    pub(super) fn prefix_range(self) -> Range<Bytes> {
        let end = successor(&self.0);
        self.finish()..end
    }
}

/// The least key above all keys that begin with `prefix`. Empty prefixes and those of 0xFF alone have none below 17 bytes.
pub(super) fn successor(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xFF {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    Bytes::from_static(&[0xFF; 16])
}

/// A key being taken apart.
pub(super) struct Parts<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(key: &'a [u8], what: &'static str) -> Parts<'a> {
        Parts { rest: key, what }
    }

    pub(super) fn error(&self, reason: &str) -> DecodeError {
        DecodeError::new(self.what, reason)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| self.error("the key is too short"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), DecodeError> {
        match self.array::<1>()? {
            [found] if found == byte => Ok(()),
            _ => Err(self.error("the key is of another kind")),
        }
    }

    /// Slot, kind and the rest of the id.
    pub(super) fn conversation(&mut self, kind: u8) -> Result<ConversationId, DecodeError> {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&self.array::<2>()?);
        self.expect(kind)?;
        id[2..].copy_from_slice(&self.array::<14>()?);
        ConversationId::from_bytes(&id).map_err(DecodeError::of(self.what))
    }

    /// A whole conversation id, slot included.
    pub(super) fn conversation_id(&mut self) -> Result<ConversationId, DecodeError> {
        let id: [u8; 16] = self.array()?;
        ConversationId::from_bytes(&id).map_err(DecodeError::of(self.what))
    }

    /// Slot, kind and the user's id.
    pub(super) fn user(&mut self) -> Result<UserId, DecodeError> {
        let slot = self.u16()?;
        self.expect(USER)?;
        self.user_of(slot)
    }

    /// Slot, another kind and the user's id.
    pub(super) fn user_under(&mut self, kind: u8) -> Result<UserId, DecodeError> {
        let slot = self.u16()?;
        self.expect(kind)?;
        self.user_of(slot)
    }

    /// Slot, both kinds and the id of a user who keeps assets.
    pub(super) fn keeper(&mut self) -> Result<UserId, DecodeError> {
        let slot = self.u16()?;
        self.expect(ASSETS)?;
        self.expect(KEEPING)?;
        self.user_of(slot)
    }

    fn user_of(&mut self, slot: u16) -> Result<UserId, DecodeError> {
        let user = UserId::parse(self.text()?).map_err(DecodeError::of(self.what))?;
        if user.slot() == slot { Ok(user) } else { Err(self.error("the slot is not the user's")) }
    }

    pub(super) fn reserved(&mut self, kind: u8) -> Result<(), DecodeError> {
        if self.u16()? != RESERVED {
            return Err(self.error("the key is of a slot"));
        }
        self.expect(kind)
    }

    pub(super) fn device(&mut self) -> Result<DeviceId, DecodeError> {
        self.u64().map(DeviceId)
    }

    pub(super) fn message_id(&mut self) -> Result<MessageId, DecodeError> {
        MessageId::parse(self.text()?).map_err(DecodeError::of(self.what))
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let end = self.rest.iter().position(|byte| *byte == END);
        let end = end.ok_or_else(|| self.error("a text does not end"))?;
        let (text, rest) = (&self.rest[..end], &self.rest[end + 1..]);
        self.rest = rest;
        std::str::from_utf8(text).map_err(DecodeError::of(self.what))
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn end<T>(&self, value: T) -> Result<T, DecodeError> {
        if self.rest.is_empty() { Ok(value) } else { Err(self.error("the key is too long")) }
    }
}
