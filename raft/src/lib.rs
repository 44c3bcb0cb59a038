//! Stations 5 to 7 of a message's path: propose, record, drive. One Raft group per shard, each driving
//! a [`Machine`] that this room does not know.
//!
//! What holds here:
//! * an outcome is answered only after its entry is committed by a quorum and applied locally;
//! * an answer that says "not written" is true for ever; whatever may yet be written is
//!   [`ProposeError::Unknown`];
//! * a log is purged only below what the machine has made durable;
//! * no type of the consensus engine leaves this room: disk and wire carry our own encodings.
//!
//! What this room does not do: it opens no socket and no file, reads no clock and knows no command.
//! [`Network`] and [`Clock`] are ports; the journal belongs to `store`.
//!
//! Read on: [`Raft`] holds all groups of a node; `line` is how commands wait, `driver` how committed
//! entries reach the machine, `lead` who leads and how fast somebody else does, `inbox` and `peers` the
//! two ends of a call, `steward` what happens from time to time, `members` who belongs to a group.

mod appoint;
mod clock;
mod codec;
mod config;
mod core;
#[doc(hidden)]
pub mod doors;
mod driver;
mod eager;
mod error;
mod figures;
mod group;
mod inbox;
mod lead;
mod line;
mod log;
mod machine;
mod members;
mod network;
mod peers;
mod raft;
mod read;
mod rebuild;
mod receive;
mod recover;
mod refound;
mod seat;
mod start;
mod steward;
mod stop;
mod threads;
mod types;

pub use cluster_config::{GroupId, NodeId};

pub use clock::Clock;
pub use config::Config;
pub use error::{Certainty, Error, Fatal, NetworkError, ProposeError, ReadError, Retry};
pub use group::{Group, GroupStatus, Pending};
pub use machine::{AppliedState, CommittedEntry, Machine, Payload, Position, Rows};
pub use members::{Founding, Progress, Wish};
pub use network::Network;
pub use raft::Raft;
pub use recover::{Reach, reach, recover, said_from};
pub use refound::{found_after, founding_state, split_state};
