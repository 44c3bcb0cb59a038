//! What a conversation and a user record mean (station 8, *decide*).
//!
//! The machines live here, and nothing else: [`apply`] decides about a conversation, [`apply_user`]
//! about a user, [`apply_asset`] and [`apply_storage`] about files. All are total and synchronous: a state, a time and a command go in, an outcome and
//! what changed come out, and the same input gives the same output on every replica for ever. There
//! is no clock, no randomness, no waiting, no hash map and no encoding of rows or frames in this
//! room; whoever drives the machines fetches first, decides here, and persists afterwards.
//!
//! The laws, each held by asserts beside the code and hunted by `tests/`:
//!
//! 1. Sequences are dense: an accepted message takes `last_seq + 1`, and nothing else takes one.
//! 2. One `(device, message id)` is stored once, and a device's messages stand in their order.
//! 3. Membership is judged where the command commits, not where it was written.
//! 4. Cursors only move forwards, and never beyond the last message.
//! 5. Time never runs backwards within a conversation.
//! 6. Every message extends a hash chain that covers all before it.
//! 7. Changes are numbered densely in an order of their own, and what lies over a message is all its
//!    changes in that order.
//! 8. What expired is gone from every row, and stays so; sequences and the chain stay as they were.

mod asset;
mod chain;
mod change;
mod command;
mod conversation;
mod event;
mod hex;
mod id;
pub mod limits;
mod message;
mod number;
mod outcome;
mod push;
mod slot;
mod user;

pub use asset::{
    AppliedAsset, Asset, AssetCommand, AssetId, Holder, Kept, Storage, StorageCommand, apply_asset,
    apply_storage,
};
pub use chain::{Chain, Digest};
pub use change::{
    Change, ChangeMessage, EarlierChange, Overlay, Reaction, Recorded, Subject, What, Wish,
};
pub use command::{Command, Earlier, Known, SendMessage};
pub use conversation::{
    Best, Conversation, Cursor, Floors, Head, History, Kind, Member, Producer, Retention, Role,
    apply,
};
pub use event::{Applied, Changed, Event, Expired, LinkTo, Owed};
pub use id::{DeviceId, GroupId, IdError, MessageId, UserId};
pub use message::{Body, Message};
pub use number::{ChangeNumber, Order, Seq, Timestamp};
pub use outcome::{Conflict, Outcome, Place, Refusal};
pub use push::{DeadLetter, Notice, PushCommand, PushId, Registration, Target};
pub use slot::{CanonicalId, ConversationId, SLOTS, slot_of};
pub use user::{
    AppliedUser, Device, Link, PushChanged, User, UserChanged, UserCommand, UserEvent, apply_user,
};
