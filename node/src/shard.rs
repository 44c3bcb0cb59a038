//! Stations 7 and 8 on this node: committed entries become decisions, decisions become rows and events.
//!
//! A [`ShardMachine`] is what raft drives for one shard. It decodes an entry's commands, looks up what a decision needs,
//! lets `chat` decide, and writes everything that one call brought about into the tables in **one** atomic batch together
//! with how far the log is applied. Only then are the events published, on every replica alike.
//!
//! Laws:
//! * Within a batch later commands see earlier ones; what is cached is never behind what is written.
//! * The same entries, however they are cut into batches, leave the same rows.
//! * What another shard is owed stands in this shard's state until it is carried out: see [`Outbox`].
//! * A replica's slots are what its state says, never what the map says. A command for others is answered `moved` and does
//!   nothing; from the entry of a split on, the new group's rows are not written here.
//! * A foreign state that is being installed is either not visible at all or rolls forward to the end, whatever crashes.
//!
//! What this does not do: it decides nothing about messages (`chat`), knows no bytes of rows (`proto`), and waits for
//! nobody; [`Outbox`] alone is a task, and it only repeats what the state says.

mod applied;
mod cache;
mod decide;
mod draft;
mod event;
mod files;
mod install;
mod load;
mod lookup;
mod machine;
mod outbox;
mod reader;
mod split;
mod view;

pub(crate) use applied::{decode_applied, encode_applied, refounded, slots_in_force};
pub(crate) use event::{Audience, Publish, ShardEvent};
pub(crate) use machine::ShardMachine;
pub(crate) use outbox::Outbox;
pub(crate) use reader::Reader;

#[cfg(test)]
mod tests;
