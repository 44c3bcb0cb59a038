//! The user machine: an account, its devices with their sessions, and its list of conversations.
//! Secrets never come in here: a password arrives as its slow hash, a refresh token as its digest.

mod push;

use std::collections::{BTreeMap, BTreeSet};

use crate::chain::Digest;
use crate::event::LinkTo;
use crate::id::DeviceId;
use crate::limits::{CONVERSATIONS_MAX, DEVICES_MAX, NAME_BYTES_MAX, PASSWORD_HASH_BYTES_MAX};
use crate::number::{Seq, Timestamp};
use crate::outcome::{Conflict, Outcome, Place, Refusal};
use crate::push::{PushCommand, PushId, Registration};
use crate::slot::ConversationId;

pub use push::PushChanged;

/// A user's whole state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The password's hash, in a text form that names its own parameters.
    pub password_hash: String,
    /// When the account was made.
    pub created_at: Timestamp,
    /// The last sign of life that was recorded; 0 before the first.
    pub last_seen: Timestamp,
    /// What the user reads is nobody else's business.
    pub hide_read: bool,
    /// What the user wants to be called; empty: nothing else than the name.
    pub display_name: String,
    /// When a session was last ended by somebody else than its own device. Tokens of an issuer from before open
    /// no device any more: who was signed out does not come back with the token of before.
    pub signed_out_at: Timestamp,
    /// The last sign of life of each device, as far as any was recorded. Apart from the devices, whose rows are
    /// too large to be written at each.
    pub seen: BTreeMap<DeviceId, Timestamp>,
    /// The devices with an open session.
    pub devices: BTreeMap<DeviceId, Device>,
    /// The conversations the user takes part in.
    pub conversations: BTreeMap<ConversationId, Link>,
    /// Where the user is told while away.
    pub pushes: BTreeMap<PushId, Registration>,
}

/// One device and its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name on screens.
    pub name: String,
    /// When its session was opened.
    pub created_at: Timestamp,
    /// The digest of the one refresh token that is good now.
    pub refresh: Digest,
    /// The last sequence of each conversation that existed when the device came: it begins after
    /// these and pages back for more.
    pub starts: BTreeMap<ConversationId, Seq>,
}

/// One conversation in the user's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// With whom.
    pub to: LinkTo,
    /// Since when it is in the list.
    pub at: Timestamp,
}

/// One request to a user record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserCommand {
    /// Make the account.
    Create {
        /// The password's hash in text form.
        password_hash: String,
    },
    /// A device logs in.
    OpenSession {
        /// The new device, an id never used before.
        device: DeviceId,
        /// Its name on screens.
        name: String,
        /// The digest of its refresh token.
        refresh: Digest,
        /// Where it begins in the conversations that exist.
        starts: BTreeMap<ConversationId, Seq>,
    },
    /// A refresh token is exchanged for the next one.
    RefreshSession {
        /// Whose.
        device: DeviceId,
        /// The digest of the token that was shown.
        old: Digest,
        /// The digest of the token that replaces it.
        new: Digest,
    },
    /// A device logs out.
    EndSession {
        /// Which.
        device: DeviceId,
    },
    /// A conversation comes into the list; from the outbox of the conversation's shard.
    Link {
        /// Which.
        conversation: ConversationId,
        /// With whom.
        to: LinkTo,
    },
    /// A conversation leaves the list; from the same outbox.
    Unlink {
        /// Which.
        conversation: ConversationId,
    },
    /// The user says how it shall be.
    Configure {
        /// What the user reads is nobody else's business.
        hide_read: bool,
    },
    /// The user showed a sign of life.
    MarkSeen {
        /// When.
        at: Timestamp,
        /// On which device; nothing from nodes that did not say it yet.
        device: Option<DeviceId>,
    },
    /// The password is replaced, and every other session ends.
    ChangePassword {
        /// The hash that the old password was found to belong to.
        old: String,
        /// The hash of the new one.
        new: String,
        /// The device whose session goes on.
        keep: DeviceId,
    },
    /// The user wants to be called something.
    SetProfile {
        /// What.
        display_name: String,
    },
    /// A device comes with a token of an issuer that the operator trusts; it has no refresh token.
    AdmitDevice {
        /// The device, the same for the same token.
        device: DeviceId,
        /// Its name on screens.
        name: String,
        /// When the issuer made the token.
        issued_at: Timestamp,
        /// Where it begins in the conversations that exist.
        starts: BTreeMap<ConversationId, Seq>,
    },
    /// To one of the places where the user is told while away.
    Push {
        /// Which; for a new one an id never used before.
        push: PushId,
        /// What.
        command: PushCommand,
    },
}

/// A decision about a user, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedUser {
    /// For whoever asked.
    pub outcome: Outcome,
    /// For whoever listens.
    pub event: Option<UserEvent>,
    /// For whoever persists.
    pub changed: UserChanged,
}

/// Which rows of a user differ from before. A device or link that is absent now has its row deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChanged {
    /// The account.
    pub account: bool,
    /// The settings.
    pub settings: bool,
    /// These devices.
    pub devices: BTreeSet<DeviceId>,
    /// This link.
    pub link: Option<ConversationId>,
    /// These rows of registrations.
    pub push: PushChanged,
}

/// What happened to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// The account was made.
    Created,
    /// A device logged in.
    SessionOpened {
        /// Which.
        device: DeviceId,
    },
    /// A device logged out: whatever it holds is worth nothing from now on.
    SessionEnded {
        /// Which.
        device: DeviceId,
    },
    /// The password was replaced.
    PasswordChanged {
        /// The devices whose sessions ended with it.
        ended: BTreeSet<DeviceId>,
    },
    /// A conversation came into the list.
    Linked {
        /// Which.
        conversation: ConversationId,
        /// With whom.
        to: LinkTo,
    },
    /// A conversation left the list.
    Unlinked {
        /// Which.
        conversation: ConversationId,
    },
    /// The user wants to be told somewhere.
    PushAdded {
        /// Which registration.
        push: PushId,
    },
    /// And no more.
    PushRemoved {
        /// Which registration.
        push: PushId,
    },
}

/// Decides one command about a user. Total, like [`apply`](crate::apply).
///
/// `this` is `None` while the account does not exist; `name_taken` says whether a group has the name.
pub fn apply_user(
    this: &mut Option<User>,
    at: Timestamp,
    command: &UserCommand,
    name_taken: bool,
) -> AppliedUser {
    let existed = this.is_some();
    let applied = match (this.as_mut(), command) {
        (user, UserCommand::Create { password_hash }) => {
            let taken = user.is_some() || name_taken;
            create(this, at, password_hash, taken)
        }
        (None, _) => refused(Refusal::NoSuchUser),
        (Some(user), command) => change(user, at, command),
    };
    let accepted = matches!(applied.outcome, Outcome::Accepted(_));
    assert!(!existed || this.is_some(), "an account never ceases to exist");
    assert!(accepted || applied.changed == UserChanged::default(), "only the accepted is written");
    assert!(accepted || applied.event.is_none(), "only the accepted has happened");
    applied
}

fn create(this: &mut Option<User>, at: Timestamp, password_hash: &str, taken: bool) -> AppliedUser {
    if taken {
        return refused(Refusal::NameTaken);
    }
    if password_hash.len() > PASSWORD_HASH_BYTES_MAX {
        return refused(Refusal::TooLarge { limit: PASSWORD_HASH_BYTES_MAX as u64 });
    }
    *this = Some(User {
        password_hash: password_hash.to_owned(),
        created_at: at,
        last_seen: Timestamp(0),
        hide_read: false,
        display_name: String::new(),
        signed_out_at: Timestamp(0),
        seen: BTreeMap::new(),
        devices: BTreeMap::new(),
        conversations: BTreeMap::new(),
        pushes: BTreeMap::new(),
    });
    let changed = UserChanged { account: true, ..UserChanged::default() };
    accepted(at, Some(UserEvent::Created), changed)
}

fn change(this: &mut User, at: Timestamp, command: &UserCommand) -> AppliedUser {
    match command {
        UserCommand::Create { .. } => refused(Refusal::NameTaken),
        UserCommand::OpenSession { device, name, refresh, starts } => {
            let new = Device {
                name: name.clone(),
                created_at: at,
                refresh: *refresh,
                starts: starts.clone(),
            };
            open_session(this, at, *device, new)
        }
        UserCommand::RefreshSession { device, old, new } => refresh(this, at, *device, old, new),
        UserCommand::EndSession { device } => end_session(this, at, *device),
        UserCommand::Link { conversation, to } => link(this, at, *conversation, to),
        UserCommand::Unlink { conversation } => match this.conversations.remove(conversation) {
            Some(_) => {
                let event = UserEvent::Unlinked { conversation: *conversation };
                let push = push::unlink(this, *conversation);
                accepted(at, Some(event), UserChanged { push, ..link_changed(*conversation) })
            }
            None => nothing_to_do(at),
        },
        UserCommand::Configure { hide_read } if *hide_read != this.hide_read => {
            this.hide_read = *hide_read;
            accepted(at, None, UserChanged { settings: true, ..UserChanged::default() })
        }
        UserCommand::Configure { .. } => nothing_to_do(at),
        UserCommand::MarkSeen { at: seen, device } => mark_seen(this, at, *seen, *device),
        UserCommand::ChangePassword { old, new, keep } => {
            change_password(this, at, (old, new), *keep)
        }
        UserCommand::SetProfile { display_name } => set_profile(this, at, display_name),
        UserCommand::AdmitDevice { device, name, issued_at, starts } => {
            let from_before = this.signed_out_at > Timestamp(0) && *issued_at <= this.signed_out_at;
            if from_before && !this.devices.contains_key(device) {
                return refused(Refusal::NoSuchDevice);
            }
            let new = Device {
                name: name.clone(),
                created_at: at,
                refresh: NO_REFRESH,
                starts: starts.clone(),
            };
            open_session(this, at, *device, new)
        }
        UserCommand::Push { push, command } => push::push(this, at, *push, command),
    }
}

/// The digest of no token.
const NO_REFRESH: Digest = Digest([0; 32]);

fn end_session(this: &mut User, at: Timestamp, device: DeviceId) -> AppliedUser {
    let Some(ended) = this.devices.remove(&device) else {
        return refused(Refusal::NoSuchDevice);
    };
    let mut changed = device_changed(device);
    changed.push = push::end_devices(this, &[device].into());
    changed.account = this.seen.remove(&device).is_some();
    if ended.refresh == NO_REFRESH {
        this.signed_out_at = this.signed_out_at.max(at);
        changed.account = true;
    }
    accepted(at, Some(UserEvent::SessionEnded { device }), changed)
}

fn mark_seen(
    this: &mut User,
    at: Timestamp,
    seen: Timestamp,
    device: Option<DeviceId>,
) -> AppliedUser {
    let mut changed = UserChanged::default();
    if seen > this.last_seen {
        this.last_seen = seen;
        changed.account = true;
    }
    let newer = |device: &DeviceId| this.seen.get(device).is_none_or(|before| seen > *before);
    let has_session = |device: &DeviceId| this.devices.contains_key(device);
    if let Some(device) = device.filter(has_session).filter(newer) {
        this.seen.insert(device, seen);
        changed.account = true;
    }
    assert!(this.seen.len() <= this.devices.len(), "only devices with a session are seen");
    accepted(at, None, changed)
}

/// The old hash is compared where it commits: of two changes at once, one is refused.
fn change_password(
    this: &mut User,
    at: Timestamp,
    (old, new): (&str, &str),
    keep: DeviceId,
) -> AppliedUser {
    if this.password_hash == new && old != new {
        return answered(Outcome::Duplicate(Place { at, ..Place::default() }));
    }
    if !this.devices.contains_key(&keep) {
        return refused(Refusal::NoSuchDevice);
    }
    if this.password_hash != old {
        return refused(Refusal::NotAllowed);
    }
    if new.len() > PASSWORD_HASH_BYTES_MAX {
        return refused(Refusal::TooLarge { limit: PASSWORD_HASH_BYTES_MAX as u64 });
    }
    let ended: BTreeSet<DeviceId> =
        this.devices.keys().copied().filter(|device| *device != keep).collect();
    this.password_hash = new.to_owned();
    this.devices.retain(|device, _| *device == keep);
    this.seen.retain(|device, _| *device == keep);
    this.signed_out_at = this.signed_out_at.max(at);
    assert_eq!(this.devices.len(), 1, "one session goes on");
    let push = push::end_devices(this, &ended);
    let devices = ended.clone();
    let changed = UserChanged { account: true, devices, push, ..UserChanged::default() };
    accepted(at, Some(UserEvent::PasswordChanged { ended }), changed)
}

fn set_profile(this: &mut User, at: Timestamp, display_name: &str) -> AppliedUser {
    if display_name.len() > NAME_BYTES_MAX {
        return refused(Refusal::TooLarge { limit: NAME_BYTES_MAX as u64 });
    }
    if this.display_name == display_name {
        return nothing_to_do(at);
    }
    this.display_name = display_name.to_owned();
    accepted(at, None, UserChanged { account: true, ..UserChanged::default() })
}

fn open_session(this: &mut User, at: Timestamp, device: DeviceId, new: Device) -> AppliedUser {
    if let Some(existing) = this.devices.get(&device) {
        let same = existing.refresh == new.refresh && existing.name == new.name;
        let place = Place { at: existing.created_at, ..Place::default() };
        return answered(match same {
            true => Outcome::Duplicate(place),
            false => Outcome::Conflict(Conflict::DeviceUsed),
        });
    }
    if new.name.len() > NAME_BYTES_MAX {
        return refused(Refusal::TooLarge { limit: NAME_BYTES_MAX as u64 });
    }
    if new.starts.len() > CONVERSATIONS_MAX {
        return refused(Refusal::TooManyConversations { limit: CONVERSATIONS_MAX as u64 });
    }
    if this.devices.len() >= DEVICES_MAX {
        return refused(Refusal::TooManyDevices { limit: DEVICES_MAX as u64 });
    }
    this.devices.insert(device, new);
    assert!(this.devices.len() <= DEVICES_MAX, "devices are bounded");
    accepted(at, Some(UserEvent::SessionOpened { device }), device_changed(device))
}

/// A token is good once. The exchange that was already made is answered again, so that an answer
/// that was lost can be asked for again.
fn refresh(
    this: &mut User,
    at: Timestamp,
    device: DeviceId,
    old: &Digest,
    new: &Digest,
) -> AppliedUser {
    let Some(session) = this.devices.get_mut(&device) else {
        return refused(Refusal::NoSuchDevice);
    };
    if session.refresh == *new {
        return answered(Outcome::Duplicate(Place { at, ..Place::default() }));
    }
    if session.refresh != *old {
        return refused(Refusal::StaleRefresh);
    }
    session.refresh = *new;
    accepted(at, None, device_changed(device))
}

fn link(this: &mut User, at: Timestamp, id: ConversationId, to: &LinkTo) -> AppliedUser {
    if this.conversations.contains_key(&id) {
        return nothing_to_do(at);
    }
    if this.conversations.len() >= CONVERSATIONS_MAX {
        return refused(Refusal::TooManyConversations { limit: CONVERSATIONS_MAX as u64 });
    }
    this.conversations.insert(id, Link { to: to.clone(), at });
    let event = UserEvent::Linked { conversation: id, to: to.clone() };
    accepted(at, Some(event), link_changed(id))
}

fn device_changed(device: DeviceId) -> UserChanged {
    UserChanged { devices: BTreeSet::from([device]), ..UserChanged::default() }
}

fn link_changed(conversation: ConversationId) -> UserChanged {
    UserChanged { link: Some(conversation), ..UserChanged::default() }
}

fn accepted(at: Timestamp, event: Option<UserEvent>, changed: UserChanged) -> AppliedUser {
    let outcome = Outcome::Accepted(Place { at, ..Place::default() });
    AppliedUser { outcome, event, changed }
}

fn nothing_to_do(at: Timestamp) -> AppliedUser {
    accepted(at, None, UserChanged::default())
}

fn refused(refusal: Refusal) -> AppliedUser {
    answered(Outcome::Refused(refusal))
}

fn answered(outcome: Outcome) -> AppliedUser {
    AppliedUser { outcome, event: None, changed: UserChanged::default() }
}
