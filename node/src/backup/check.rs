//! Looks at every row of a restored state: that it decodes, that each conversation is whole and its chain unbroken, that
//! what refers has what it refers to. Also sets back what is later than the conversations it speaks of, see `take`.
//!
//! Rows come in the order of their keys: in each slot first what conversations are, then their messages, then the rest. So
//! only the conversations of one slot are held in memory.

use std::collections::BTreeMap;
use std::fmt::Display;

use bytes::Bytes;
use chat::{Chain, ChangeNumber, ConversationId, Head, Seq, UserId};
use proto::keys::{self, Key};
use proto::{DecodeError, row};
use store::StoreError;
use store::tables::{Batch, KeyRange, Tables};

/// Problems that are told; more say nothing more.
const PROBLEMS_MAX: usize = 50;
/// Rows that are set back in one batch.
const BATCH_ROWS: usize = 1024;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Rows that were looked at.
    pub rows: u64,
    /// Conversations.
    pub conversations: u64,
    /// Messages, each of which continues its conversation's chain.
    pub messages: u64,
    /// Users.
    pub users: u64,
    /// Assets.
    pub assets: u64,
    /// Rows that were later than the conversations they speak of and are set back.
    pub set_back: u64,
    /// What is wrong, at most so many sentences; none: nothing.
    pub problems: Vec<String>,
}

/// A conversation as far as it has been read.
struct Reached {
    head: Head,
    seq: Seq,
    chain: Chain,
    change: ChangeNumber,
}

/// One look over a state.
struct Check<'a> {
    tables: &'a dyn Tables,
    found: Found,
    slot: u16,
    conversations: BTreeMap<ConversationId, Reached>,
    /// The last account that was read: its rows follow it.
    user: Option<UserId>,
    back: Batch,
}

/// Looks at every row of every slot.
///
/// # Errors
/// When the tables cannot be read or written.
pub(super) fn check(tables: &dyn Tables) -> Result<Found, StoreError> {
    let mut check = Check::of(tables);
    check.slots(0, chat::SLOTS, true)?;
    tables.write(std::mem::take(&mut check.back))?;
    tables.flush()?;
    Ok(check.found)
}

/// Looks at the rows of one slot and changes nothing.
///
/// # Errors
/// When the tables cannot be read.
pub(super) fn check_slot(tables: &dyn Tables, slot: u16) -> Result<Found, StoreError> {
    let mut check = Check::of(tables);
    check.slots(slot, slot + 1, false)?;
    Ok(check.found)
}

impl<'a> Check<'a> {
    fn of(tables: &'a dyn Tables) -> Self {
        let (conversations, back) = (BTreeMap::new(), Batch::new());
        Self { tables, found: Found::default(), slot: 0, conversations, user: None, back }
    }

    /// Rows of these slots in one view; `mends`: what is to be set back is.
    fn slots(&mut self, from: u16, to: u16, mends: bool) -> Result<(), StoreError> {
        let range = keys::slot_range(from, to);
        let mut view = self.tables.view(KeyRange::new(range.start, range.end))?;
        while let Some((key, value)) = view.next()? {
            let slot = key.first_chunk().map_or(0, |slot| u16::from_be_bytes(*slot));
            if slot != self.slot {
                self.end_of_slot();
                self.slot = slot;
            }
            self.found.rows += 1;
            self.row(key, &value)?;
            if self.back.len() >= BATCH_ROWS {
                let back = std::mem::take(&mut self.back);
                if mends {
                    self.tables.write(back)?;
                }
            }
        }
        self.end_of_slot();
        Ok(())
    }
}

impl Check<'_> {
    fn row(&mut self, key: Bytes, value: &[u8]) -> Result<(), StoreError> {
        let looked = match keys::parse(&key) {
            Ok(parsed) => self.parsed(&key, parsed, value)?,
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            let slot = self.slot;
            self.problem(format_args!("a row of slot {slot} does not decode: {error}"));
        }
        Ok(())
    }

    fn parsed(
        &mut self,
        key: &Bytes,
        parsed: Key,
        value: &[u8],
    ) -> Result<Result<(), DecodeError>, StoreError> {
        Ok(match parsed {
            Key::Head(_)
            | Key::Producer(..)
            | Key::Cursor(..)
            | Key::Message(..)
            | Key::MessageRef(..)
            | Key::Change(..)
            | Key::Overlay(..)
            | Key::ChangeRef(..)
            | Key::Retained(_) => self.of_conversation(parsed, value),
            Key::Member(id, user) => {
                let decoded = row::decode_member(value).map(drop);
                self.known(id, "a member");
                if self.tables.get(&keys::user(&user))?.is_none() {
                    self.problem(format_args!("conversation {id} has a member without an account"));
                }
                decoded
            }
            Key::Device(user, _) => {
                self.belongs(&user, "a device");
                self.device(key, value)?
            }
            Key::PushMark(user, _, id) => {
                self.belongs(&user, "a mark");
                self.mark(key, id, value)?
            }
            other => self.of_user(other, value),
        })
    }

    fn of_conversation(&mut self, key: Key, value: &[u8]) -> Result<(), DecodeError> {
        match key {
            Key::Head(id) => {
                let head = row::decode_head(value)?;
                let (seq, change) = (Seq(0), ChangeNumber(0));
                let begun = Reached { head, seq, chain: Chain::default(), change };
                self.conversations.insert(id, begun);
                self.found.conversations += 1;
            }
            Key::Message(id, seq) => self.message(id, seq, value)?,
            Key::Change(id, number) => self.change(id, number, value)?,
            Key::Producer(id, _) => {
                row::decode_producer(value)?;
                self.known(id, "a producer");
            }
            Key::Cursor(id, _) => {
                let cursor = row::decode_cursor(value)?;
                self.within(id, cursor.delivered, "a cursor");
            }
            Key::MessageRef(id, ..) => {
                let place = row::decode_earlier(value)?.seq;
                self.within(id, place, "the place of a message id");
            }
            Key::Overlay(id, seq) => {
                row::decode_overlay(value)?;
                self.within(id, seq, "what lies over a message");
            }
            Key::ChangeRef(id, ..) => {
                row::decode_earlier_change(value)?;
                self.known(id, "the place of a change id");
            }
            Key::Retained(id) => {
                row::decode_retained(value)?;
                self.known(id, "a time of keeping");
            }
            _ => unreachable!("called for rows of conversations"),
        }
        Ok(())
    }

    fn of_user(&mut self, key: Key, value: &[u8]) -> Result<(), DecodeError> {
        match key {
            Key::User(user) => {
                row::decode_account(value)?;
                self.found.users += 1;
                self.user = Some(user);
            }
            Key::Link(user, _) => {
                row::decode_link(value)?;
                self.belongs(&user, "a link");
            }
            Key::Settings(user) => {
                row::decode_settings(value)?;
                self.belongs(&user, "a setting");
            }
            Key::Asset(_) => {
                row::decode_asset(value)?;
                self.found.assets += 1;
            }
            Key::Storage(_) => drop(row::decode_storage(value)?),
            Key::Kept(..) => drop(row::decode_kept(value)?),
            Key::Registered(_) => drop(row::decode_registered(value)?),
            Key::Registration(user, _) => {
                row::decode_registration(value)?;
                self.belongs(&user, "a registration");
            }
            Key::Notice(..) => drop(row::decode_notice(value)?),
            Key::DeadLetter(..) => drop(row::decode_dead_letter(value)?),
            other => self.problem(format_args!("{other:?} lies in a slot")),
        }
        Ok(())
    }

    fn message(&mut self, id: ConversationId, seq: Seq, value: &[u8]) -> Result<(), DecodeError> {
        let message = row::decode_message(id, seq, value)?;
        self.found.messages += 1;
        let Some(reached) = self.conversations.get_mut(&id) else {
            self.known(id, "a message");
            return Ok(());
        };
        let due = reached.seq.next();
        let before = std::mem::replace(&mut reached.chain, message.chain);
        reached.seq = seq;
        if seq != due {
            self.problem(format_args!(
                "conversation {id}: message {due} is missing, {seq} follows"
            ));
        } else if before.extend(&message) != message.chain {
            self.problem(format_args!("conversation {id}: the chain is broken at message {seq}"));
        }
        Ok(())
    }

    fn change(
        &mut self,
        id: ConversationId,
        number: ChangeNumber,
        value: &[u8],
    ) -> Result<(), DecodeError> {
        row::decode_change(id, number, value)?;
        let Some(reached) = self.conversations.get_mut(&id) else {
            self.known(id, "a change");
            return Ok(());
        };
        let before = std::mem::replace(&mut reached.change, number);
        if number.0 != before.0 + 1 {
            self.problem(format_args!("conversation {id}: change {} is missing", before.0 + 1));
        }
        Ok(())
    }

    /// A device begins after messages that are here.
    fn device(&mut self, key: &Bytes, value: &[u8]) -> Result<Result<(), DecodeError>, StoreError> {
        let mut device = match row::decode_device(value) {
            Ok(device) => device,
            Err(error) => return Ok(Err(error)),
        };
        let mut later = false;
        for (id, start) in &mut device.starts {
            let last = self.last_seq(*id)?;
            later |= *start > last;
            *start = last.min(*start);
        }
        if later {
            self.set_back(key, row::encode_device(&device));
        }
        Ok(Ok(()))
    }

    /// Nothing that is yet to be said has become a notice.
    fn mark(
        &mut self,
        key: &Bytes,
        id: ConversationId,
        value: &[u8],
    ) -> Result<Result<(), DecodeError>, StoreError> {
        let mark = match row::decode_push_mark(value) {
            Ok(mark) => mark,
            Err(error) => return Ok(Err(error)),
        };
        let last = self.last_seq(id)?;
        if mark > last {
            self.set_back(key, row::encode_push_mark(last));
        }
        Ok(Ok(()))
    }

    fn set_back(&mut self, key: &Bytes, value: Bytes) {
        self.back.put(key.clone(), value);
        self.found.set_back += 1;
    }

    fn last_seq(&self, id: ConversationId) -> Result<Seq, StoreError> {
        let head = self.tables.get(&keys::head(id))?;
        // One that does not decode is told where it lies.
        let head = head.and_then(|head| row::decode_head(&head).ok());
        Ok(head.map_or(Seq(0), |head| head.last_seq))
    }

    /// All conversations of the slot have been read to their end.
    fn end_of_slot(&mut self) {
        self.user = None;
        for (id, reached) in std::mem::take(&mut self.conversations) {
            let head = &reached.head;
            if reached.seq != head.last_seq {
                self.problem(format_args!(
                    "conversation {id}: it ends at message {} instead of {}",
                    reached.seq, head.last_seq
                ));
            } else if reached.chain != head.chain {
                self.problem(format_args!("conversation {id}: its chain ends in another value"));
            }
            if reached.change != head.last_change {
                self.problem(format_args!(
                    "conversation {id}: it ends at change {} instead of {}",
                    reached.change, head.last_change
                ));
            }
        }
    }

    fn known(&mut self, id: ConversationId, what: &str) {
        if !self.conversations.contains_key(&id) {
            self.problem(format_args!("{what} of conversation {id}, which does not exist"));
        }
    }

    fn within(&mut self, id: ConversationId, seq: Seq, what: &str) {
        match self.conversations.get(&id) {
            None => self.known(id, what),
            Some(reached) if seq > reached.head.last_seq => {
                self.problem(format_args!("{what} of conversation {id} lies beyond its end"));
            }
            Some(_) => {}
        }
    }

    fn belongs(&mut self, user: &UserId, what: &str) {
        if self.user.as_ref() != Some(user) {
            self.problem(format_args!("{what} of a user without an account"));
        }
    }

    fn problem(&mut self, what: impl Display) {
        if self.found.problems.len() < PROBLEMS_MAX {
            self.found.problems.push(what.to_string());
        }
    }
}
