//! Who takes part in a group. Adding and removing take no sequence and no time of their own; they
//! stand in the log between the messages, and that is what decides who may say and see what.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conversation, Head, History, Kind, Member, Role, answered, place_of, refused};
use crate::chain::Chain;
use crate::command::Known;
use crate::event::{Applied, Changed, Event, LinkTo, Owed};
use crate::id::{GroupId, UserId};
use crate::limits::{MEMBERS_MAX, NAME_BYTES_MAX};
use crate::number::{Seq, Timestamp};
use crate::outcome::{Outcome, Refusal};
use crate::slot::ConversationId;

/// A group as it is asked for.
pub(super) struct NewGroup<'a> {
    pub(super) group: &'a GroupId,
    pub(super) name: &'a str,
    pub(super) owner: &'a UserId,
    pub(super) members: &'a BTreeSet<UserId>,
    pub(super) history: History,
}

pub(super) fn create_group(
    this: &mut Option<Conversation>,
    id: ConversationId,
    at: Timestamp,
    new: &NewGroup<'_>,
    known: &Known,
) -> Applied {
    if id != ConversationId::group(new.group) {
        return refused(Refusal::WrongConversation);
    }
    if this.is_some() || known.name_taken {
        return refused(Refusal::NameTaken);
    }
    if new.name.len() > NAME_BYTES_MAX {
        return refused(Refusal::TooLarge { limit: NAME_BYTES_MAX as u64 });
    }
    let mut members: BTreeMap<_, _> = new
        .members
        .iter()
        .map(|user| (user.clone(), Member { role: Role::Member, joined_at: Seq(0) }))
        .collect();
    members.insert(new.owner.clone(), Member { role: Role::Owner, joined_at: Seq(0) });
    if members.len() > MEMBERS_MAX {
        return refused(Refusal::TooManyMembers { limit: MEMBERS_MAX as u64 });
    }
    let head = Head {
        kind: Kind::Group {
            group: new.group.clone(),
            name: new.name.to_owned(),
            history: new.history,
        },
        last_seq: Seq(0),
        last_at: at,
        chain: Chain::default(),
        created_at: at,
    };
    let changed: BTreeSet<_> = members.keys().cloned().collect();
    let owed = links(id, new.group, &changed);
    let outcome = Outcome::Accepted(place_of(&head));
    *this = Some(Conversation::from_parts(head, members, BTreeMap::new(), BTreeMap::new()));
    Applied {
        outcome,
        event: Some(Event::GroupCreated),
        changed: Changed { head: true, members: changed, ..Changed::default() },
        owed,
    }
}

pub(super) fn add_members(
    this: &mut Conversation,
    id: ConversationId,
    by: &UserId,
    members: &BTreeSet<UserId>,
) -> Applied {
    let group = match may_change(this, by, Role::Admin) {
        Ok(group) => group,
        Err(refusal) => return refused(refusal),
    };
    let new: BTreeSet<_> =
        members.iter().filter(|user| !this.members.contains_key(*user)).cloned().collect();
    let outcome = Outcome::Accepted(place_of(&this.head));
    if new.is_empty() {
        return answered(outcome);
    }
    if this.members.len() + new.len() > MEMBERS_MAX {
        return refused(Refusal::TooManyMembers { limit: MEMBERS_MAX as u64 });
    }
    let member = Member { role: Role::Member, joined_at: this.head.last_seq };
    this.members.extend(new.iter().map(|user| (user.clone(), member)));
    this.progress.members_changed(&this.members);
    let owed = links(id, &group, &new);
    assert!(this.members.len() <= MEMBERS_MAX && owed.len() == new.len());
    Applied {
        outcome,
        event: Some(Event::MembersAdded { by: by.clone(), members: new.clone() }),
        changed: Changed { members: new, ..Changed::default() },
        owed,
    }
}

pub(super) fn remove_member(
    this: &mut Conversation,
    id: ConversationId,
    by: &UserId,
    user: &UserId,
) -> Applied {
    let required = match this.members.get(user) {
        _ if by == user => Role::Member,
        Some(member) if member.role > Role::Member => Role::Owner,
        Some(_) | None => Role::Admin,
    };
    if let Err(refusal) = may_change(this, by, required) {
        return refused(refusal);
    }
    let outcome = Outcome::Accepted(place_of(&this.head));
    // Whoever is not there need not be removed: so a repetition is harmless.
    if this.members.remove(user).is_none() {
        return answered(outcome);
    }
    let promoted = promote(&mut this.members);
    this.progress.members_changed(&this.members);
    let members = promoted.iter().chain([user]).cloned().collect();
    assert!(!this.is_member(user), "who was removed is no member");
    Applied {
        outcome,
        event: Some(Event::MemberRemoved { by: by.clone(), member: user.clone(), promoted }),
        changed: Changed { members, ..Changed::default() },
        owed: vec![Owed::Unlink { user: user.clone(), conversation: id }],
    }
}

/// The group's id, if `by` has at least the role it takes.
fn may_change(this: &Conversation, by: &UserId, required: Role) -> Result<GroupId, Refusal> {
    let Some(member) = this.members.get(by) else {
        return Err(Refusal::NotAMember);
    };
    match &this.head.kind {
        Kind::Group { group, .. } if member.role >= required => Ok(group.clone()),
        Kind::Group { .. } | Kind::Direct { .. } => Err(Refusal::NotAllowed),
    }
}

/// When the last owner has gone, somebody owns the group after them: the highest role, of these
/// whoever came first, of these the lowest id.
fn promote(members: &mut BTreeMap<UserId, Member>) -> Option<UserId> {
    if members.values().any(|member| member.role == Role::Owner) {
        return None;
    }
    let (user, member) = members.iter_mut().min_by_key(|(user, member)| {
        (std::cmp::Reverse(member.role), member.joined_at, (*user).clone())
    })?;
    member.role = Role::Owner;
    Some(user.clone())
}

fn links(conversation: ConversationId, group: &GroupId, users: &BTreeSet<UserId>) -> Vec<Owed> {
    let link = |user: &UserId| Owed::Link {
        user: user.clone(),
        conversation,
        to: LinkTo::Group(group.clone()),
    };
    users.iter().map(link).collect()
}
