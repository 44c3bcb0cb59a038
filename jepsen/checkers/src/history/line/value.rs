//! What a line says beside who and when: the field `value`, by the name in the field `f`.

use super::{F, Phase};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

pub(super) type Text<'a> = Option<Cow<'a, str>>;

/// A hash as 16 hexadecimal digits.
#[derive(Clone, Copy)]
pub(super) struct Hex(pub(super) u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Hex, De::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Hex).map_err(serde::de::Error::custom)
    }
}

/// An entry in a line.
#[derive(Serialize, Deserialize)]
pub(super) struct EntryLine<'a> {
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) d: Cow<'a, str>,
    pub(super) k: u64,
    pub(super) h: Hex,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chain: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<u64>,
}

/// A line of an inbox in a line of a history.
#[derive(Serialize, Deserialize)]
pub(super) struct InboxEntry<'a> {
    #[serde(borrow)]
    pub(super) c: Cow<'a, str>,
    pub(super) last: u64,
    pub(super) unread: u64,
}

/// All fields that some kind of operation has; each kind uses some.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Value<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) c: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) d: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) u: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) observer: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) level: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) asset: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) detail: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) phase: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) add: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) remove: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) entries: Option<Vec<EntryLine<'a>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) inbox: Option<Vec<InboxEntry<'a>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) k: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at_least: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) head: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replica: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delivered_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) read_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shard: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) leader: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) term: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) applied: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) h: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chain: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) duplicate: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) read: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delivered: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) direct: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) all: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) online: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stale: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keeps_quorum: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) found: Option<Vec<u64>>,
}

/// The field `f` of an operation.
pub(super) fn name_of(f: &F) -> &'static str {
    match f {
        F::Send { .. } => "send",
        F::Deliver { .. } => "deliver",
        F::Read { .. } => "read",
        F::Final { .. } => "final",
        F::Confirm { .. } => "confirm",
        F::Status { .. } => "status",
        F::Cursor { .. } => "cursor",
        F::Create { .. } => "create",
        F::Members { .. } => "members",
        F::Connect { .. } => "connect",
        F::Disconnect { .. } => "disconnect",
        F::CaughtUp { .. } => "caught-up",
        F::Inbox { .. } => "inbox",
        F::Presence { .. } => "presence",
        F::Leader { .. } => "leader",
        F::Digest { .. } => "digest",
        F::Owner { .. } => "owner",
        F::Commit { .. } => "commit",
        F::Sealed { .. } => "sealed",
        F::Upload { .. } => "upload",
        F::Fetch { .. } => "fetch",
        F::Mention { .. } => "mention",
        F::Scan { .. } => "scan",
        F::Fault { .. } => "fault",
    }
}

/// The names of a fault's phases.
pub(super) const PHASES: [(Phase, &str); 5] = [
    (Phase::Install, "install"),
    (Phase::Installed, "installed"),
    (Phase::Skipped, "skipped"),
    (Phase::Heal, "heal"),
    (Phase::Healed, "healed"),
];
