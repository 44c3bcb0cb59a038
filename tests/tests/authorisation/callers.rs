//! Everybody who could try a call, and what a session or its lack alone decides.

use super::judge::Verdict;

/// A caller on the client plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// Made the group, and writes with the other party.
    Owner,
    /// The owner on a second device.
    OwnersOtherDevice,
    /// In the group.
    Member,
    /// The member on a second device.
    MembersOtherDevice,
    /// Was in the group, said something there, was removed.
    ExMember,
    /// Writes with the owner, is not in the group.
    OtherParty,
    /// Has an account and nothing else.
    Stranger,
    /// Shows no token at all.
    Nobody,
    /// Shows no token, but the certificate of a node.
    NodeCertificate,
    /// The owner's session, after it was ended.
    Revoked,
    /// The owner's token, made by the cluster's own key, past its time.
    Expired,
    /// A token by the cluster's own key for a device that never was.
    DeviceThatNeverWas,
    /// The owner's claims, a header that says `none`, no signature.
    AlgorithmNone,
    /// The owner's claims, signed by HMAC with the public key.
    AlgorithmHmac,
    /// The owner's claims under the right key's name, signed by another.
    OtherKey,
    /// The same without the name of a key.
    NoKeyNamed,
    /// The stranger's own token with the owner's name put in.
    AlteredUser,
    /// The expired token with its time put off.
    AlteredExpiry,
    /// A token of a user of the owner's name in another cluster.
    OtherCluster,
    /// The owner's refresh token where an access token belongs.
    RefreshToken,
    /// The owner's token twice, joined.
    Doubled,
}

impl Who {
    /// All of them.
    pub(crate) const ALL: [Self; 21] = [
        Self::Owner,
        Self::OwnersOtherDevice,
        Self::Member,
        Self::MembersOtherDevice,
        Self::ExMember,
        Self::OtherParty,
        Self::Stranger,
        Self::Nobody,
        Self::NodeCertificate,
        Self::Revoked,
        Self::Expired,
        Self::DeviceThatNeverWas,
        Self::AlgorithmNone,
        Self::AlgorithmHmac,
        Self::OtherKey,
        Self::NoKeyNamed,
        Self::AlteredUser,
        Self::AlteredExpiry,
        Self::OtherCluster,
        Self::RefreshToken,
        Self::Doubled,
    ];

    /// Why this caller has no session; `None` for those who have one.
    pub(crate) fn unknown(self) -> Option<Verdict> {
        match self {
            Self::Owner
            | Self::OwnersOtherDevice
            | Self::Member
            | Self::MembersOtherDevice
            | Self::ExMember
            | Self::OtherParty
            | Self::Stranger => None,
            Self::Revoked | Self::DeviceThatNeverWas => Some(Verdict::refused("session_ended")),
            _ => Some(Verdict::refused("unauthenticated")),
        }
    }

    /// The user behind the session, if there is one.
    pub(crate) fn user(self) -> Option<&'static str> {
        match self {
            Self::Owner | Self::OwnersOtherDevice => Some("az-owner"),
            Self::Member | Self::MembersOtherDevice => Some("az-member"),
            Self::ExMember => Some("az-ex"),
            Self::OtherParty => Some("az-party"),
            Self::Stranger => Some("az-stranger"),
            _ => None,
        }
    }
}

/// Who may, where a session alone does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Anybody, token or not.
    Public,
    /// Nobody, token or not; with this code.
    Never(&'static str),
    /// Everybody with a session.
    Session,
    /// Nobody with a session either; with this code.
    Nowhere(&'static str),
    /// Members of the group.
    Group,
    /// Those who may change who is in the group.
    Managers,
    /// The two of the direct conversation; for others there is no such thing, with this code.
    Direct(&'static str),
    /// Whoever shares a conversation with the owner.
    OwnersContacts,
    /// Members of the group; others are told this.
    Sent(&'static str),
    /// The owner's user alone; others are told this.
    OwnersUser(&'static str),
}

impl Rule {
    /// What must come of it.
    pub(crate) fn verdict(self, who: Who) -> Verdict {
        match self {
            Self::Public => return Verdict::Allowed,
            Self::Never(code) => return Verdict::refused(code),
            _ => {}
        }
        if let Some(unknown) = who.unknown() {
            return unknown;
        }
        let owner = matches!(who, Who::Owner | Who::OwnersOtherDevice);
        let member = owner || matches!(who, Who::Member | Who::MembersOtherDevice);
        let refused_unless = |allowed: bool, code: &str| match allowed {
            true => Verdict::Allowed,
            false => Verdict::refused(code),
        };
        match self {
            Self::Public | Self::Session => Verdict::Allowed,
            Self::Never(code) | Self::Nowhere(code) => Verdict::refused(code),
            Self::Group => refused_unless(member, "not_a_member"),
            Self::Sent(code) => refused_unless(member, code),
            Self::Managers if member => refused_unless(owner, "not_allowed"),
            Self::Managers => Verdict::refused("not_a_member"),
            Self::Direct(code) => refused_unless(owner || who == Who::OtherParty, code),
            Self::OwnersContacts => refused_unless(member || who == Who::OtherParty, "not_allowed"),
            Self::OwnersUser(code) => refused_unless(owner, code),
        }
    }
}
