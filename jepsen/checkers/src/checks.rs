//! The checks, one small module for each property. All are near-linear in the number of operations.

use crate::judge::{Check, Expectations, Facts};

mod account;
mod authz;
mod clock;
mod cluster;
mod delivery;
mod epoch;
mod inbox;
mod live;
mod media;
mod order;
mod prefix;
mod presence;
mod receipts;
mod secrecy;
mod session;

pub use secrecy::Secrets;

/// Every check, with the bounds of these expectations.
pub fn all(expectations: &Expectations) -> Vec<Box<dyn Check>> {
    vec![
        Box::new(account::Account),
        Box::new(authz::Authz),
        Box::new(clock::Clock),
        Box::new(cluster::Digests),
        Box::new(cluster::Leaders),
        Box::new(cluster::Placement),
        Box::new(delivery::Delivery),
        Box::new(epoch::Epoch),
        Box::new(inbox::Inbox),
        Box::new(live::Live { recovery_ns: expectations.recovery_ns }),
        Box::new(media::Media),
        Box::new(order::Order),
        Box::new(prefix::Prefix),
        Box::new(presence::Presence { stable_ns: expectations.presence_ns }),
        Box::new(receipts::Receipts),
        Box::new(crate::search::Search),
        Box::new(secrecy::Secrecy),
        Box::new(session::Session),
    ]
}
