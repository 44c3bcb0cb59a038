//! Whom a message is for, as every outside form of it says: the other user, or the group.

use chat::{Kind, LinkTo, UserId};

/// Whom a message is for. Does not depend on who looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressee<'a> {
    /// The other user of a direct conversation, as its sender sees it.
    Receiver(&'a str),
    /// The group.
    Group(&'a str),
}

impl<'a> Addressee<'a> {
    /// Whom a message of `sender` in a conversation of this kind is for.
    pub fn of(kind: &'a Kind, sender: &UserId) -> Addressee<'a> {
        match kind {
            Kind::Direct { low, high } if sender == low => Addressee::Receiver(high.as_str()),
            Kind::Direct { low, .. } => Addressee::Receiver(low.as_str()),
            Kind::Group { group, .. } => Addressee::Group(group.as_str()),
        }
    }
}

impl<'a> From<&'a LinkTo> for Addressee<'a> {
    fn from(to: &'a LinkTo) -> Addressee<'a> {
        match to {
            LinkTo::Peer(peer) => Addressee::Receiver(peer.as_str()),
            LinkTo::Group(group) => Addressee::Group(group.as_str()),
        }
    }
}
