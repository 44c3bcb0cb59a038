//! What a command comes to: a closed set of four outcomes. The fifth, *unknown*, exists at the edge
//! only, where an answer can be lost; a machine always knows.

use std::fmt;

use crate::number::{ChangeNumber, Order, Seq, Timestamp};

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds from now on.
    Accepted(Place),
    /// It held already: the place that was given the first time.
    Duplicate(Place),
    /// It does not hold and nothing was written.
    Refused(Refusal),
    /// It contradicts something that holds; nothing was written, and no repetition will help.
    Conflict(Conflict),
}

/// Where an accepted command stands. Fields that have no meaning for a command are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Of a message its sequence, of a confirmation the sequence confirmed, else the last sequence.
    pub seq: Seq,
    /// When it was accepted.
    pub at: Timestamp,
    /// Of a message: the sender's order, assigned here if the sender did not count.
    pub order: Order,
    /// Of a confirmation: how far the device's cursor for delivery stands now.
    pub delivered: Seq,
    /// Of a confirmation: how far the device's cursor for reading stands now.
    pub read: Seq,
    /// Of a change its number, of a confirmation of changes where that cursor stands now.
    pub change: ChangeNumber,
}

/// What a command contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// This order was used by another message, or by the same id with another body.
    OrderUsed,
    /// This message id was used before, with another body or under another order.
    MessageIdUsed,
    /// This change id was used before, for another wish.
    ChangeIdUsed,
    /// This device id belongs to something else already.
    DeviceUsed,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $({ $field:ident: $type:ty })? = $code:literal,)+) => {
        /// Why nothing was written: a deterministic, replicated result that is shown to the user.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $name $({
                /// The number that goes with it.
                $field: $type,
            })?,)+
        }

        impl Refusal {
            /// The stable code, in snake case.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$name $({ $field: _ })? => $code,)+
                }
            }

            /// The number that goes with the code: an expected order, a last sequence or a limit;
            /// 0 where there is none.
            pub fn number(&self) -> u64 {
                match self {
                    $(Self::$name $({ $field })? => 0 $(+ Numbered::number($field))?,)+
                }
            }

            /// The refusal of a code and its number; `None` for a code that this version does not
            /// know.
            pub fn from_code(code: &str, number: u64) -> Option<Self> {
                let _ = number;
                match code {
                    $($code => Some(Self::$name $({ $field: Numbered::from_number(number) })?),)+
                    _ => None,
                }
            }

            /// One refusal of each kind, the number being 7 where there is one. For tables and tests
            /// that must be exhaustive.
            pub fn each() -> Vec<Self> {
                vec![$(Self::$name $({ $field: Numbered::from_number(7) })?,)+]
            }
        }
    };
}

refusals! {
    /// Whoever asks is not a member of the conversation.
    NotAMember = "not_a_member",
    /// There is no such conversation.
    NoSuchConversation = "no_such_conversation",
    /// The order leaves a gap; the next one of this device here is `expected`.
    OutOfOrder { expected: Order } = "out_of_order",
    /// Nothing was said yet beyond `last`.
    BeyondEnd { last: Seq } = "beyond_end",
    /// A user or a group has this name.
    NameTaken = "name_taken",
    /// The role does not permit it, or the kind of conversation does not know it.
    NotAllowed = "not_allowed",
    /// Something is longer than `limit` bytes.
    TooLarge { limit: u64 } = "too_large",
    /// More than `limit` attachments.
    TooManyAttachments { limit: u64 } = "too_many_attachments",
    /// A group has at most `limit` members.
    TooManyMembers { limit: u64 } = "too_many_members",
    /// A user has at most `limit` devices.
    TooManyDevices { limit: u64 } = "too_many_devices",
    /// A user takes part in at most `limit` conversations.
    TooManyConversations { limit: u64 } = "too_many_conversations",
    /// A user has at most `limit` registrations for pushes.
    TooManyRegistrations { limit: u64 } = "too_many_registrations",
    /// The user has no such registration, or it holds no such thing.
    NoSuchRegistration = "no_such_registration",
    /// There is no such user.
    NoSuchUser = "no_such_user",
    /// The user has no such device.
    NoSuchDevice = "no_such_device",
    /// The refresh token was exchanged for a newer one.
    StaleRefresh = "stale_refresh",
    /// There is no such message, or it is not the user's to see.
    NoSuchMessage = "no_such_message",
    /// The message was deleted for everybody.
    MessageDeleted = "message_deleted",
    /// The message was kept for as long as messages are kept here.
    MessageExpired = "message_expired",
    /// A message has reactions of at most `limit` users.
    TooManyReactions { limit: u64 } = "too_many_reactions",
    /// A message is edited at most `limit` times.
    TooManyEdits { limit: u64 } = "too_many_edits",
    /// A message calls at most `limit` users.
    TooManyMentions { limit: u64 } = "too_many_mentions",
    /// There is no such asset, or no more.
    NoSuchAsset = "no_such_asset",
    /// Whoever hands an asset on may not read it.
    AssetNotAccessible = "asset_not_accessible",
    /// The asset was sent to as many conversations as an asset may be.
    TooManyGrants { limit: u64 } = "too_many_grants",
    /// The user would keep more bytes than a user may.
    QuotaExceeded { limit: u64 } = "quota_exceeded",
    /// The receiver named is not the other user of this conversation.
    NotTheReceiver = "not_the_receiver",
    /// The conversation's id does not belong to the names in the command.
    WrongConversation = "wrong_conversation",
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            0 => out.write_str(self.code()),
            number => write!(out, "{} {number}", self.code()),
        }
    }
}

impl Conflict {
    /// The stable code, in snake case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OrderUsed => "order_used",
            Self::MessageIdUsed => "message_id_used",
            Self::ChangeIdUsed => "change_id_used",
            Self::DeviceUsed => "device_used",
        }
    }

    /// The conflict of a code; `None` for a code that this version does not know.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::OrderUsed, Self::MessageIdUsed, Self::ChangeIdUsed, Self::DeviceUsed]
            .into_iter()
            .find(|conflict| conflict.code() == code)
    }
}

/// The numbers that go with refusals, as the one plain number of the log's encoding.
trait Numbered: Sized {
    fn number(&self) -> u64;
    fn from_number(number: u64) -> Self;
}

impl Numbered for u64 {
    fn number(&self) -> u64 {
        *self
    }

    fn from_number(number: u64) -> Self {
        number
    }
}

impl Numbered for Seq {
    fn number(&self) -> u64 {
        self.0
    }

    fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl Numbered for Order {
    fn number(&self) -> u64 {
        self.0
    }

    fn from_number(number: u64) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_its_code_and_number() {
        let all = Refusal::each();
        for refusal in &all {
            assert_eq!(Refusal::from_code(refusal.code(), refusal.number()), Some(*refusal));
        }
        let codes: std::collections::BTreeSet<_> = all.iter().map(Refusal::code).collect();
        assert_eq!(codes.len(), all.len(), "codes are distinct");
        assert_eq!(Refusal::from_code("no_such_code", 0), None);
    }

    #[test]
    fn every_conflict_survives_its_code() {
        for conflict in [
            Conflict::OrderUsed,
            Conflict::MessageIdUsed,
            Conflict::ChangeIdUsed,
            Conflict::DeviceUsed,
        ] {
            assert_eq!(Conflict::from_code(conflict.code()), Some(conflict));
        }
        assert_eq!(Conflict::from_code("not_a_member"), None);
    }
}
