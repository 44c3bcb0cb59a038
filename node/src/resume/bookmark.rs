//! A bookmark and its bytes. Opaque to clients, bound to one device, and marked by the cluster: one that was altered, or
//! made by somebody else, says nothing.
//!
//! ```text
//! token = base64url( version u8 | device u64 | length u8, user | groups u16 ( group u32 | index u64 )*
//!                    | owed u16 ( conversation 16 )* | mark 32 )
//! ```
//! `owed` is 0xFFFF when nothing is known of what is owed: such a token only says that there is none.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chat::ConversationId;

use crate::gateway::tokens::{Identity, Tokens};

/// How far each group's log is applied.
pub(crate) type Stand = BTreeMap<u32, u64>;

/// The form below. A later one gets another number, and this one then says nothing.
const VERSION: u8 = 1;
/// Conversations with something unconfirmed that a bookmark names. With more, an older bookmark serves as well.
const OWED_MAX: usize = 64;
/// Stands for: nothing is known.
const UNKNOWN: u16 = u16::MAX;
/// Groups of the largest cluster, and some to come.
const GROUPS_MAX: usize = 1024;
/// Bytes of the mark.
const MARK_BYTES: usize = 32;
/// Longest token that is looked at: all groups and conversations, in base64.
const TOKEN_BYTES_MAX: usize = 20_000;

const _: () = assert!(
    TOKEN_BYTES_MAX * 3 / 4
        > 1 + 8 + 1 + chat::limits::ID_BYTES_MAX + 4 + GROUPS_MAX * 12 + OWED_MAX * 16 + MARK_BYTES
);

/// Where to look when a device comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bookmark {
    /// Everything up to there had reached the link.
    pub(crate) stand: Stand,
    /// With something that the device had not confirmed; `None`: not known.
    pub(crate) owed: Option<BTreeSet<ConversationId>>,
}

impl Bookmark {
    /// The token of `who`; `None` when it would say too much, or the cluster has no key yet.
    pub(crate) fn token(&self, who: &Identity, tokens: &Tokens) -> Option<String> {
        let owed = self.owed.as_ref();
        if owed.is_some_and(|owed| owed.len() > OWED_MAX) || self.stand.len() > GROUPS_MAX {
            return None;
        }
        let mut bytes = vec![VERSION];
        bytes.extend(who.device.0.to_be_bytes());
        let user = who.user.as_str();
        bytes.push(u8::try_from(user.len()).expect("ids are short"));
        bytes.extend(user.as_bytes());
        let count = |count: usize| u16::try_from(count).expect("bounded above").to_be_bytes();
        bytes.extend(count(self.stand.len()));
        for (group, index) in &self.stand {
            bytes.extend(group.to_be_bytes());
            bytes.extend(index.to_be_bytes());
        }
        bytes.extend(owed.map_or(UNKNOWN.to_be_bytes(), |owed| count(owed.len())));
        owed.into_iter().flatten().for_each(|id| bytes.extend(id.as_bytes()));
        let mark = tokens.mark(&bytes)?;
        bytes.extend(mark.as_ref());
        Some(BASE64.encode(bytes))
    }

    /// The bookmark of a token, if it is one that this cluster gave to `who`.
    pub(crate) fn read(token: &str, who: &Identity, tokens: &Tokens) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let bytes = BASE64.decode(token).ok()?;
        let (said, mark) = bytes.split_at_checked(bytes.len().checked_sub(MARK_BYTES)?)?;
        if !tokens.is_marked(said, mark) {
            return None;
        }
        let mut rest = Rest(said);
        let [version] = rest.take()?;
        let device = u64::from_be_bytes(rest.take()?);
        let [length] = rest.take()?;
        let user = rest.bytes(usize::from(length))?;
        if version != VERSION || device != who.device.0 || user != who.user.as_str().as_bytes() {
            return None;
        }
        let groups = u16::from_be_bytes(rest.take()?);
        let group = |rest: &mut Rest<'_>| {
            Some((u32::from_be_bytes(rest.take()?), u64::from_be_bytes(rest.take()?)))
        };
        let stand = (0..groups).map(|_| group(&mut rest)).collect::<Option<Stand>>()?;
        let owed = match u16::from_be_bytes(rest.take()?) {
            UNKNOWN => None,
            count => {
                let id = |rest: &mut Rest<'_>| ConversationId::from_bytes(rest.bytes(16)?).ok();
                Some((0..count).map(|_| id(&mut rest)).collect::<Option<BTreeSet<_>>>()?)
            }
        };
        rest.0.is_empty().then_some(Self { stand, owed })
    }
}

/// Bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use chat::DeviceId;

    use super::*;
    use crate::gateway::fake::{user, world};

    fn who(name: &str, device: u64) -> Identity {
        Identity { user: user(name), device: DeviceId(device) }
    }

    fn bookmark(owed: usize) -> Bookmark {
        let id = |n: usize| ConversationId::direct(&user("alice"), &user(&format!("u{n}")));
        let stand = (1..=16).map(|group| (group, u64::from(group) * 1000)).collect();
        Bookmark { stand, owed: Some((0..owed).map(id).collect()) }
    }

    #[test]
    fn a_bookmark_is_read_by_the_device_that_it_was_given_to_and_no_other() {
        let (_, parts) = world();
        let alice = who("alice", 1);
        for bookmark in [bookmark(3), bookmark(0), Bookmark { owed: None, ..bookmark(0) }] {
            let token = bookmark.token(&alice, &parts.tokens).expect("there is a key");
            assert_eq!(Bookmark::read(&token, &alice, &parts.tokens), Some(bookmark));
            for other in [who("alice", 2), who("alicf", 1), who("bob", 1)] {
                assert_eq!(Bookmark::read(&token, &other, &parts.tokens), None);
            }
        }
    }

    #[test]
    fn one_that_was_altered_says_nothing_and_no_text_is_a_panic() {
        let (_, parts) = world();
        let alice = who("alice", 1);
        let token = bookmark(2).token(&alice, &parts.tokens).expect("there is a key");
        for at in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).expect("ASCII");
            assert_eq!(Bookmark::read(&altered, &alice, &parts.tokens), None, "at {at}");
            assert_eq!(Bookmark::read(&token[..at], &alice, &parts.tokens), None);
        }
        for text in ["", "?", "null", &"A".repeat(TOKEN_BYTES_MAX + 1)] {
            assert_eq!(Bookmark::read(text, &alice, &parts.tokens), None);
        }
    }

    #[test]
    fn one_that_would_name_too_much_is_not_given() {
        let (_, parts) = world();
        assert!(bookmark(OWED_MAX).token(&who("alice", 1), &parts.tokens).is_some());
        assert!(bookmark(OWED_MAX + 1).token(&who("alice", 1), &parts.tokens).is_none());
    }
}
