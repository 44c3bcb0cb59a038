//! Where a user wants to be told while they are away, and what they were told there: registrations, notices, dead letters.
//! Values only; what becomes of them is decided beside the user machine.
//!
//! A notice says that something was said, never what. The secrets in here (a webhook's key, an endpoint that nobody else
//! knows) are needed in full by whoever sends, so they are state; rows are sealed at rest.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::hex;
use crate::id::{DeviceId, IdError};
use crate::number::{Seq, Timestamp};
use crate::slot::ConversationId;

/// One registration of one user: 64 random bits, not 0, which stands for none. Written as 16 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PushId(pub u64);

impl fmt::Display for PushId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl fmt::Debug for PushId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for PushId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match hex::read(text).map(u64::from_be_bytes) {
            Some(0) => Err(IdError::Reserved),
            Some(number) => Ok(Self(number)),
            None => Err(IdError::NotHex),
        }
    }
}

/// Whom to tell. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// A server of the user's own: signed requests to this URL.
    Webhook {
        /// Where.
        url: String,
        /// The key of the signature, known to both sides.
        secret: [u8; 32],
    },
    /// A browser, through its push service (RFC 8030).
    WebPush {
        /// The subscription's own URL.
        endpoint: String,
        /// The browser's public key: an uncompressed point of P-256 (RFC 8291, `p256dh`).
        key: [u8; 65],
        /// The subscription's authentication secret (RFC 8291, `auth`).
        auth: [u8; 16],
    },
    /// An Apple device.
    Apns {
        /// The device token.
        token: String,
    },
    /// A device of Firebase Cloud Messaging.
    Fcm {
        /// The registration token.
        token: String,
    },
}

impl Target {
    /// Its kind in the words of the protocol.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::WebPush { .. } => "webpush",
            Self::Apns { .. } => "apns",
            Self::Fcm { .. } => "fcm",
        }
    }

    /// What names the place: two targets of one kind and address are one place.
    pub fn address(&self) -> &str {
        match self {
            Self::Webhook { url, .. } => url,
            Self::WebPush { endpoint, .. } => endpoint,
            Self::Apns { token } | Self::Fcm { token } => token,
        }
    }

    /// Whether both would tell the same place.
    pub fn is_same_place(&self, other: &Self) -> bool {
        (self.kind(), self.address()) == (other.kind(), other.address())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Target").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// A place to tell, and how far it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The device whose session it ends with; `None` for the user's own servers.
    pub device: Option<DeviceId>,
    /// Whom to tell.
    pub target: Target,
    /// Only what is said after this is told.
    pub created_at: Timestamp,
    /// The number of the newest notice; they count 1, 2, 3 …
    pub last: u64,
    /// Everything up to here was taken, or given up. `done <= last`.
    pub done: u64,
    /// The newest notices, at least all after `done`.
    pub notices: BTreeMap<u64, Notice>,
    /// How far each conversation has been turned into notices.
    pub marks: BTreeMap<ConversationId, Seq>,
    /// What was given up, by its number.
    pub dead: BTreeMap<u64, DeadLetter>,
}

impl Registration {
    /// One that has told nothing yet.
    pub fn new(device: Option<DeviceId>, target: Target, created_at: Timestamp) -> Self {
        Self {
            device,
            target,
            created_at,
            last: 0,
            done: 0,
            notices: BTreeMap::new(),
            marks: BTreeMap::new(),
            dead: BTreeMap::new(),
        }
    }

    /// How many notices are still to be taken.
    pub fn outstanding(&self) -> u64 {
        self.last - self.done
    }
}

/// One thing to tell: there are messages of others in a conversation, up to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where.
    pub conversation: ConversationId,
    /// The newest of them.
    pub seq: Seq,
    /// When it was decided to tell.
    pub at: Timestamp,
}

/// A notice that nobody took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// What was to be told.
    pub notice: Notice,
    /// When it was given up.
    pub at: Timestamp,
    /// How often it was tried by whoever gave up.
    pub attempts: u64,
    /// What the last attempt came to.
    pub reason: String,
}

/// One request to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushCommand {
    /// Make it. Another registration of the same place makes room for it.
    Add {
        /// The device whose session it ends with.
        device: Option<DeviceId>,
        /// Whom to tell.
        target: Target,
    },
    /// Take it away, with everything that belongs to it.
    Remove,
    /// Decide to tell: each item gets the next number.
    Notify {
        /// The newest number that the decision knew of.
        after: u64,
        /// What: the newest message of each conversation.
        items: Vec<(ConversationId, Seq)>,
    },
    /// Notices were taken.
    MarkPushed {
        /// Everything up to here was done when the first of them was sent.
        after: u64,
        /// Everything up to here is done now.
        up_to: u64,
    },
    /// The oldest outstanding notice is given up.
    GiveUp {
        /// Its number.
        number: u64,
        /// How often it was tried.
        attempts: u64,
        /// What the last attempt came to.
        reason: String,
    },
    /// Everything from here on is told once more, under the same numbers.
    Replay {
        /// The first number.
        from: u64,
    },
    /// A dead letter is told once more, under a new number.
    Revive {
        /// The number under which it died.
        number: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling_and_nought_is_none() {
        let push = PushId(0x00ab_cdef_0123_4567);
        assert_eq!(push.to_string(), "00abcdef01234567");
        assert_eq!("00abcdef01234567".parse(), Ok(push));
        assert_eq!("0000000000000000".parse::<PushId>(), Err(IdError::Reserved));
        for text in ["ABCDEF0123456789", "abc", "", "00abcdef012345678"] {
            assert_eq!(text.parse::<PushId>(), Err(IdError::NotHex), "{text}");
        }
    }

    #[test]
    fn what_is_printed_holds_no_secret() {
        let target = Target::Webhook { url: "https://a.org/key".to_owned(), secret: [7; 32] };
        assert_eq!(format!("{target:?}"), "Target { kind: \"webhook\", .. }");
    }
}
