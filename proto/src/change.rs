//! What was changed, between `chat` and the wire: rows, frames and commands say it in the same messages.

use std::collections::BTreeSet;

use bytes::Bytes;
use chat::{
    Change, ChangeNumber, ConversationId, Message, Overlay, Reaction, Retention, Role, Seq,
    Timestamp, UserId, What,
};

use crate::frames::what::What as Wire;
use crate::{DecodeError, frames, read};

/// A role's number on the wire.
pub(crate) fn role_number(role: Role) -> u32 {
    match role {
        Role::Member => 1,
        Role::Admin => 2,
        Role::Owner => 3,
    }
}

/// The role of a number.
pub(crate) fn role(field: &'static str, number: u32) -> Result<Role, DecodeError> {
    match number {
        1 => Ok(Role::Member),
        2 => Ok(Role::Admin),
        3 => Ok(Role::Owner),
        other => Err(DecodeError::new(field, format!("unknown role {other}"))),
    }
}

/// For how long messages are kept, on the wire; 0: for ever.
pub(crate) fn seconds(retention: Option<Retention>) -> u64 {
    retention.map_or(0, |retention| retention.0)
}

/// For how long messages are kept, by this number.
pub(crate) fn retention(seconds: u64) -> Option<Retention> {
    (seconds > 0).then_some(Retention(seconds))
}

impl From<&What> for frames::What {
    fn from(what: &What) -> frames::What {
        let name = |user: &UserId| user.as_str().to_owned();
        let what = match what {
            What::Edited { seq, text } => {
                Wire::Edited(frames::Edited { seq: seq.0, text: text.clone() })
            }
            What::Deleted { seq } => Wire::Deleted(seq.0),
            What::Reacted { seq, reaction } => {
                Wire::Reacted(frames::Reacted { seq: seq.0, reaction: reaction.clone() })
            }
            What::Renamed { name } => Wire::Renamed(name.clone()),
            What::RoleSet { member, role } => {
                Wire::RoleSet(frames::RoleSet { member: name(member), role: role_number(*role) })
            }
            What::Added { members } => {
                Wire::Added(frames::Added { members: members.iter().map(name).collect() })
            }
            What::RetentionSet { retention } => {
                Wire::RetentionSet(frames::RetentionSet { seconds: seconds(*retention) })
            }
            What::Removed { member, promoted } => Wire::Removed(frames::Removed {
                member: name(member),
                promoted: promoted.as_ref().map(name).unwrap_or_default(),
            }),
        };
        frames::What { what: Some(what) }
    }
}

pub(crate) fn what(field: &'static str, what: Option<frames::What>) -> Result<What, DecodeError> {
    let what = what.and_then(|what| what.what).ok_or_else(|| DecodeError::missing(field))?;
    Ok(match what {
        Wire::Edited(edited) => What::Edited { seq: Seq(edited.seq), text: edited.text },
        Wire::Deleted(seq) => What::Deleted { seq: Seq(seq) },
        Wire::Reacted(reacted) => {
            What::Reacted { seq: Seq(reacted.seq), reaction: reacted.reaction }
        }
        Wire::Renamed(name) => What::Renamed { name },
        Wire::RoleSet(set) => {
            What::RoleSet { member: read::user(field, &set.member)?, role: role(field, set.role)? }
        }
        Wire::Added(added) => What::Added {
            members: added
                .members
                .iter()
                .map(|name| read::user(field, name))
                .collect::<Result<BTreeSet<_>, _>>()?,
        },
        Wire::RetentionSet(set) => What::RetentionSet { retention: retention(set.seconds) },
        Wire::Removed(removed) => What::Removed {
            member: read::user(field, &removed.member)?,
            promoted: match removed.promoted.as_str() {
                "" => None,
                promoted => Some(read::user(field, promoted)?),
            },
        },
    })
}

impl From<&Change> for frames::Change {
    fn from(change: &Change) -> frames::Change {
        frames::Change {
            conversation: read::conversation_bytes(change.conversation),
            number: change.number.0,
            by: change.by.as_str().to_owned(),
            at_ms: change.at.0,
            after: change.after.0,
            what: Some(frames::What::from(&change.what)),
        }
    }
}

impl TryFrom<frames::Change> for Change {
    type Error = DecodeError;

    fn try_from(change: frames::Change) -> Result<Change, DecodeError> {
        Ok(Change {
            conversation: conversation("change.conversation", &change.conversation)?,
            number: ChangeNumber(change.number),
            by: read::user("change.by", &change.by)?,
            at: Timestamp(change.at_ms),
            after: Seq(change.after),
            what: what("change.what", change.what)?,
        })
    }
}

fn conversation(field: &'static str, bytes: &Bytes) -> Result<ConversationId, DecodeError> {
    read::conversation(field, bytes)
}

/// The reactions of an overlay, in the order of the users.
pub(crate) fn reactions(overlay: &Overlay) -> Vec<frames::Reaction> {
    let reaction = |(user, reaction): (&UserId, &Reaction)| frames::Reaction {
        user: user.as_str().to_owned(),
        text: reaction.text.clone(),
        change: reaction.change.0,
    };
    overlay.reactions.iter().map(reaction).collect()
}

impl frames::MessageState {
    /// What became of `message`, over which this lies.
    pub fn of(message: &Message, overlay: &Overlay) -> frames::MessageState {
        let otherwise = overlay.text.is_some() || message.erased.is_some();
        frames::MessageState {
            edited_at_ms: overlay.edited_at.0,
            edits: u32::try_from(overlay.edits.len()).expect("edits are few"),
            deleted: overlay.deleted.is_some(),
            reactions: reactions(overlay),
            digest: match otherwise {
                true => Bytes::copy_from_slice(&message.digest().0),
                false => Bytes::new(),
            },
        }
    }
}
