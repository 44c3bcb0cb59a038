//! Conversation ids and the slots they fall into. An id is computed from names alone, so that two
//! people who write to each other at the same moment meet in one conversation, and so that anybody
//! can say which slot a key belongs to without asking.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::id::{GroupId, IdError, UserId};
use crate::number::Seq;

/// Slots of the key space. A power of two, so that every two bytes of a hash fall evenly.
pub const SLOTS: u16 = 16384;

const _: () = assert!(SLOTS.is_power_of_two(), "slots are cut from a hash by masking");

/// The slot of a user's or group's name. Both kinds share one namespace and hence one slot, so that
/// one shard can say whether a name is taken.
pub fn slot_of(name: &[u8]) -> u16 {
    let hash = Sha256::new().chain_update(b"synod/slot/1").chain_update(name).finalize();
    u16::from_be_bytes([hash[0], hash[1]]) % SLOTS
}

impl UserId {
    /// Where this user's record lives.
    pub fn slot(&self) -> u16 {
        slot_of(self.as_str().as_bytes())
    }
}

/// A conversation: two bytes of slot, big-endian, then 14 bytes of a hash over the names that make
/// it. Written as 32 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId([u8; 16]);

impl ConversationId {
    /// The conversation of two users, whoever writes first; of one user with themselves when both
    /// are the same.
    pub fn direct(one: &UserId, other: &UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        let hash = hash_names(b"synod/direct/1", &[low.as_str(), high.as_str()]);
        Self::cut(u16::from_be_bytes([hash[0], hash[1]]) % SLOTS, &hash)
    }

    /// The conversation of a group, in the slot of the group's name.
    pub fn group(group: &GroupId) -> Self {
        let hash = hash_names(b"synod/group/1", &[group.as_str()]);
        Self::cut(slot_of(group.as_str().as_bytes()), &hash)
    }

    fn cut(slot: u16, hash: &[u8; 32]) -> Self {
        assert!(slot < SLOTS, "a slot is a remainder");
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&slot.to_be_bytes());
        bytes[2..].copy_from_slice(&hash[2..16]);
        Self(bytes)
    }

    /// Where this conversation lives.
    pub fn slot(&self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Takes 16 bytes whose first two name a slot.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        let id = Self(bytes.try_into().map_err(|_| IdError::NotHex)?);
        if id.slot() < SLOTS { Ok(id) } else { Err(IdError::BadSlot) }
    }
}

/// SHA-256 over a domain and names, each behind its length, so that no two lists collide.
fn hash_names(domain: &[u8], names: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(domain);
    for name in names {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name.as_bytes());
    }
    hash.finalize().into()
}

impl fmt::Display for ConversationId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, out)
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, out)
    }
}

impl FromStr for ConversationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes: [u8; 16] = hex::read(text).ok_or(IdError::NotHex)?;
        Self::from_bytes(&bytes)
    }
}

/// A message's name for ever: its conversation and its place there. Written `<32 hex>-<seq>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CanonicalId {
    /// The conversation.
    pub conversation: ConversationId,
    /// The place, 1 or more.
    pub seq: Seq,
}

impl fmt::Display for CanonicalId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.conversation, self.seq)
    }
}

impl FromStr for CanonicalId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (conversation, seq) = text.split_once('-').ok_or(IdError::NotHex)?;
        let number: u64 = seq.parse().map_err(|_| IdError::BadCharacter)?;
        // One spelling only: no sign, no leading zero, no place 0.
        if number == 0 || seq != number.to_string() {
            return Err(IdError::BadCharacter);
        }
        Ok(Self { conversation: conversation.parse()?, seq: Seq(number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("legal")
    }

    #[test]
    fn two_users_meet_whoever_writes_first() {
        let (alice, bob) = (user("alice"), user("bob"));
        assert_eq!(ConversationId::direct(&alice, &bob), ConversationId::direct(&bob, &alice));
        assert_ne!(ConversationId::direct(&alice, &bob), ConversationId::direct(&alice, &alice));
    }

    #[test]
    fn names_that_run_together_do_not_collide() {
        let one = ConversationId::direct(&user("ab"), &user("c"));
        let other = ConversationId::direct(&user("a"), &user("bc"));
        assert_ne!(one, other);
    }

    #[test]
    fn a_group_lives_with_the_user_of_its_name() {
        let group = GroupId::parse("team").expect("legal");
        assert_eq!(ConversationId::group(&group).slot(), user("team").slot());
    }

    #[test]
    fn ids_have_one_spelling_and_survive_it() {
        let id = ConversationId::direct(&user("alice"), &user("bob"));
        assert_eq!(id.to_string().len(), 32);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(ConversationId::from_bytes(id.as_bytes()), Ok(id));
        assert_eq!(ConversationId::from_bytes(&[0; 15]), Err(IdError::NotHex));
        assert_eq!(ConversationId::from_bytes(&[0xff; 16]), Err(IdError::BadSlot));
        assert!(id.to_string().to_uppercase().parse::<ConversationId>().is_err());
    }

    /// Keys on disk are made of these; they may never change.
    #[test]
    fn ids_are_what_they_always_were() {
        let direct = ConversationId::direct(&user("alice"), &user("bob"));
        let group = ConversationId::group(&GroupId::parse("team").expect("legal"));
        assert_eq!(direct.to_string(), GOLDEN_DIRECT);
        assert_eq!(group.to_string(), GOLDEN_GROUP);
    }

    #[test]
    fn canonical_ids_have_one_spelling_and_survive_it() {
        let conversation = ConversationId::direct(&user("alice"), &user("bob"));
        let id = CanonicalId { conversation, seq: Seq(17) };
        assert_eq!(id.to_string().parse(), Ok(id));
        for seq in ["0", "01", "+1", "-1", "", "1x", "18446744073709551616"] {
            assert!(format!("{conversation}-{seq}").parse::<CanonicalId>().is_err(), "{seq}");
        }
    }

    const GOLDEN_DIRECT: &str = "0f5de558f20cf9d55647a44291422318";
    const GOLDEN_GROUP: &str = "037ad0d79a2528a9bb27d0f8bd3ad5df";
}
