//! One value of each message that outlives a call, with how it is read.

mod cluster;
mod frames;
mod keys;
mod log;
mod peer;
mod rows;

use chat::{
    Body, Chain, ConversationId, DeviceId, GroupId, Message, MessageId, Order, Seq, Target,
    Timestamp, UserId,
};

/// Messages that lie in one place.
pub(crate) struct Family {
    /// The file in `golden/`.
    pub(crate) name: &'static str,
    /// The messages.
    pub(crate) samples: Vec<Sample>,
}

type Read = Box<dyn Fn(&[u8]) -> Result<(), String>>;

/// One message.
pub(crate) struct Sample {
    /// Its line.
    pub(crate) name: &'static str,
    /// Its bytes as they are written today.
    pub(crate) bytes: Vec<u8>,
    /// Reads bytes and says in what they differ from the value.
    pub(crate) read: Read,
}

fn sample<T, E>(
    name: &'static str,
    value: T,
    bytes: impl AsRef<[u8]>,
    read: impl Fn(&[u8]) -> Result<T, E> + 'static,
) -> Sample
where
    T: PartialEq + std::fmt::Debug + 'static,
    E: std::fmt::Display,
{
    let read = move |bytes: &[u8]| match read(bytes) {
        Ok(found) if found == value => Ok(()),
        Ok(found) => Err(format!("{found:?} instead of {value:?}")),
        Err(error) => Err(error.to_string()),
    };
    Sample { name, bytes: bytes.as_ref().to_vec(), read: Box::new(read) }
}

pub(crate) fn families() -> Vec<Family> {
    vec![
        Family { name: "log", samples: log::samples() },
        Family { name: "rows", samples: rows::samples() },
        Family { name: "keys", samples: keys::samples() },
        Family { name: "frames", samples: frames::samples() },
        Family { name: "peer", samples: peer::samples() },
        Family { name: "cluster", samples: cluster::samples() },
    ]
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("legal")
}

fn team() -> GroupId {
    GroupId::parse("team").expect("legal")
}

fn direct() -> ConversationId {
    ConversationId::direct(&user("alice"), &user("bob"))
}

/// A place of each kind.
fn targets() -> [Target; 4] {
    let mut key = [5; 65];
    key[0] = 4;
    [
        Target::Webhook { url: "https://example.org/hook".into(), secret: [3; 32] },
        Target::WebPush { endpoint: "https://push.example.org/1".into(), key, auth: [6; 16] },
        Target::Apns { token: "a0b1".into() },
        Target::Fcm { token: "c2:d3".into() },
    ]
}

fn body() -> Body {
    Body {
        text: "Hello, Welcome! \u{1F44B}".into(),
        client_timestamp: "9:47PM 12-1-2023".into(),
        attachment: true,
        attachment_uris: vec!["/v1.0/asset/1".into(), "/v1.0/asset/2".into()],
    }
}

fn message() -> Message {
    Message {
        conversation: direct(),
        seq: Seq(300),
        sender: user("alice"),
        device: DeviceId(0x0123_4567_89ab_cdef),
        order: Order(17),
        message_id: MessageId::parse("Pqwnkilsx=").expect("legal"),
        at: Timestamp(1_700_000_000_000),
        body: body(),
        chain: Chain([7; 32]),
    }
}
