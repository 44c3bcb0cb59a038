//! One value of each message that outlives a call, with how it is read.

mod backup;
mod cluster;
mod frames;
mod keys;
mod log;
mod peer;
mod rows;

use chat::{
    Body, Chain, Change, ChangeNumber, ConversationId, DeviceId, GroupId, Message, MessageId,
    Order, Overlay, Reaction, Role, Seq, Target, Timestamp, UserId, What,
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
        Family { name: "backup", samples: backup::samples() },
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
        ..Body::default()
    }
}

/// A body that refers to all it can.
fn referring() -> Body {
    Body {
        reply_to: Some(Seq(299)),
        thread: Some(Seq(7)),
        mentions: [user("bob"), user("carol")].into(),
        ..body()
    }
}

/// One change of each kind.
fn changes() -> Vec<(&'static str, What)> {
    let seq = Seq(300);
    vec![
        ("edited", What::Edited { seq, text: Some("Hello!".into()) }),
        ("edited_emptied", What::Edited { seq, text: None }),
        ("deleted", What::Deleted { seq }),
        ("reacted", What::Reacted { seq, reaction: "\u{1F44B}".into() }),
        ("renamed", What::Renamed { name: "The crew".into() }),
        ("role_set", What::RoleSet { member: user("bob"), role: Role::Admin }),
        ("added", What::Added { members: [user("bob"), user("carol")].into() }),
        ("retention_set", What::RetentionSet { retention: Some(chat::Retention(86_400)) }),
        ("removed", What::Removed { member: user("bob"), promoted: Some(user("carol")) }),
    ]
}

fn change(what: What) -> Change {
    Change {
        conversation: direct(),
        number: ChangeNumber(9),
        by: user("alice"),
        at: Timestamp(1_700_000_000_000),
        after: Seq(300),
        what,
    }
}

fn overlay() -> Overlay {
    let reaction =
        |text: &str, change| Reaction { text: text.into(), change: ChangeNumber(change) };
    Overlay {
        text: Some("Hello!".into()),
        edits: vec![ChangeNumber(3), ChangeNumber(200)],
        edited_at: Timestamp(1_700_000_000_000),
        deleted: Some(ChangeNumber(201)),
        reactions: [(user("bob"), reaction("+1", 9)), (user("carol"), reaction("-1", 10))].into(),
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
        erased: None,
    }
}
