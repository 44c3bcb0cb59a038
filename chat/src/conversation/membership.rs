//! Who takes part in a group, what they may do, and what it is called. None of it takes a sequence:
//! it stands among the conversation's changes, and where it stands in the log decides who may say
//! and see what. Whatever holds already is accepted and is no change, so that a repetition is
//! harmless.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::changes::{self, record};
use super::{Conversation, Head, History, Kind, Member, Role, answered, place_of, refused};
use crate::chain::Chain;
use crate::change::{Change, Recorded, What};
use crate::command::Known;
use crate::event::{Applied, Changed, Event, LinkTo, Owed};
use crate::id::{GroupId, UserId};
use crate::limits::{MEMBERS_MAX, NAME_BYTES_MAX};
use crate::number::{ChangeNumber, Seq, Timestamp};
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
    let member = |role| Member { role, joined_at: Seq(0), joined_change: ChangeNumber(0) };
    let members = new.members.iter().map(|user| (user.clone(), member(Role::Member)));
    let mut members: BTreeMap<_, _> = members.collect();
    members.insert(new.owner.clone(), member(Role::Owner));
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
        last_change: ChangeNumber(0),
        last_change_at: Timestamp(0),
        retention: None,
        expired: Seq(0),
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
    at: Timestamp,
    by: &UserId,
    members: &BTreeSet<UserId>,
) -> Applied {
    let group = match may_change(this, by, Role::Admin) {
        Ok(group) => group,
        Err(refusal) => return refused(refusal),
    };
    let new: BTreeSet<_> =
        members.iter().filter(|user| !this.members.contains_key(*user)).cloned().collect();
    if new.is_empty() {
        return answered(Outcome::Accepted(place_of(&this.head)));
    }
    if this.members.len() + new.len() > MEMBERS_MAX {
        return refused(Refusal::TooManyMembers { limit: MEMBERS_MAX as u64 });
    }
    let change = record(this, id, at, by, What::Added { members: new.clone() });
    let (joined_at, joined_change) = (this.head.last_seq, change.number);
    let member = Member { role: Role::Member, joined_at, joined_change };
    this.members.extend(new.iter().map(|user| (user.clone(), member)));
    this.progress.members_changed(&this.members);
    let owed = links(id, &group, &new);
    assert!(this.members.len() <= MEMBERS_MAX && owed.len() == new.len());
    changed(change, new, owed)
}

pub(super) fn remove_member(
    this: &mut Conversation,
    id: ConversationId,
    at: Timestamp,
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
    // Whoever is not there need not be removed.
    if this.members.remove(user).is_none() {
        return answered(Outcome::Accepted(place_of(&this.head)));
    }
    let promoted = promote(&mut this.members);
    this.progress.members_changed(&this.members);
    let members = promoted.iter().chain([user]).cloned().collect();
    assert!(!this.is_member(user), "who was removed is no member");
    let what = What::Removed { member: user.clone(), promoted };
    let owed = vec![Owed::Unlink { user: user.clone(), conversation: id }];
    changed(record(this, id, at, by, what), members, owed)
}

pub(super) fn rename(
    this: &mut Conversation,
    id: ConversationId,
    at: Timestamp,
    by: &UserId,
    name: &str,
) -> Applied {
    if let Err(refusal) = may_change(this, by, Role::Admin) {
        return refused(refusal);
    }
    if name.len() > NAME_BYTES_MAX {
        return refused(Refusal::TooLarge { limit: NAME_BYTES_MAX as u64 });
    }
    let Kind::Group { name: its, .. } = &mut this.head.kind else {
        unreachable!("only groups may be changed")
    };
    if its == name {
        return answered(Outcome::Accepted(place_of(&this.head)));
    }
    name.clone_into(its);
    let change = record(this, id, at, by, What::Renamed { name: name.to_owned() });
    changed(change, BTreeSet::new(), Vec::new())
}

/// Gives a member a role. The last owner stays one: a group without an owner could not be managed.
pub(super) fn set_role(
    this: &mut Conversation,
    id: ConversationId,
    at: Timestamp,
    by: &UserId,
    (user, role): (&UserId, Role),
) -> Applied {
    if let Err(refusal) = may_change(this, by, Role::Owner) {
        return refused(refusal);
    }
    let owners = this.members.values().filter(|member| member.role == Role::Owner).count();
    let Some(member) = this.members.get_mut(user) else {
        return refused(Refusal::NoSuchUser);
    };
    if member.role == role {
        return answered(Outcome::Accepted(place_of(&this.head)));
    }
    if member.role == Role::Owner && owners == 1 {
        return refused(Refusal::NotAllowed);
    }
    member.role = role;
    let change = record(this, id, at, by, What::RoleSet { member: user.clone(), role });
    changed(change, [user.clone()].into(), Vec::new())
}

/// What an accepted change of the group comes to.
fn changed(change: Arc<Change>, members: BTreeSet<UserId>, owed: Vec<Owed>) -> Applied {
    let outcome = Outcome::Accepted(changes::place_of(&change));
    let recorded = Recorded {
        change: Arc::clone(&change),
        place: None,
        overlay: None,
        erased: None,
        emptied: Vec::new(),
    };
    Applied {
        outcome,
        event: Some(Event::Changed(change)),
        changed: Changed {
            head: true,
            members,
            change: Some(Box::new(recorded)),
            ..Changed::default()
        },
        owed,
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
