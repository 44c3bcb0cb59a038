//! The hash chain of a conversation: each message's chain value covers that message and, through
//! the value before it, every earlier one. A client that remembers one value can prove that history
//! was not rewritten, and two replicas that disagree about one have found a diverged disk.
//!
//! The canonical form. All integers are big-endian; `str(x)` is the length of `x` in bytes as a
//! `u64`, then its bytes in UTF-8.
//!
//! ```text
//! said(body)   = str(text) u8(attachment) u64(number of uris) str(uri)*
//! digest(body) = SHA-256( "synod/body/1" said(body) )
//! digest(body) = SHA-256( "synod/body/2" said(body) u64(reply to) u64(thread) u64(number of mentions)
//!                         str(mention)* )                     if it refers to anything or anybody
//! chain(0)     = 32 bytes of zero
//! chain(seq)   = SHA-256( "synod/chain/1" chain(seq - 1) conversation[16] u64(seq) str(sender)
//!                         u64(device) u64(order) str(message_id) u64(at) str(client_timestamp)
//!                         digest(body)[32] )
//! ```
//!
//! The client's own time stamp is not part of the digest, because the digest decides whether a
//! message is the same one once more, and a client may stamp its repetition anew.
//!
//! Every field stands behind its length or has a fixed one, so that two different messages never
//! have the same form. The form may never change; a new one would get a new first word.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::change::Wish;
use crate::hex;
use crate::message::{Body, Message};
use crate::number::Seq;

/// A value of the hash chain. All zero before the first message.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain(pub [u8; 32]);

/// A SHA-256 digest: of a message's body, or of a secret that is compared and not kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Chain {
    /// The value after `message`, when `self` is the value before it. The message's own `chain`
    /// field is not looked at.
    #[must_use]
    pub fn extend(&self, message: &Message) -> Self {
        self.extend_by(message, &message.digest())
    }

    /// Likewise, when the digest of the body is known: the text is the one long part, hashed once.
    pub(crate) fn extend_by(&self, message: &Message, digest: &Digest) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"synod/chain/1");
        hash.update(self.0);
        hash.update(message.conversation.as_bytes());
        hash.update(message.seq.0.to_be_bytes());
        text(&mut hash, message.sender.as_str());
        hash.update(message.device.0.to_be_bytes());
        hash.update(message.order.0.to_be_bytes());
        text(&mut hash, message.message_id.as_str());
        hash.update(message.at.0.to_be_bytes());
        text(&mut hash, &message.body.client_timestamp);
        hash.update(digest.0);
        Self(hash.finalize().into())
    }
}

impl Digest {
    /// The digest of a body, in the canonical form above.
    pub fn of_body(body: &Body) -> Self {
        let refers = body.reply_to.is_some() || body.thread.is_some() || !body.mentions.is_empty();
        let mut hash = Sha256::new();
        hash.update(if refers { b"synod/body/2" } else { b"synod/body/1" });
        text(&mut hash, &body.text);
        hash.update([u8::from(body.attachment)]);
        hash.update((body.attachment_uris.len() as u64).to_be_bytes());
        for uri in &body.attachment_uris {
            text(&mut hash, uri);
        }
        if refers {
            hash.update(body.reply_to.unwrap_or_default().0.to_be_bytes());
            hash.update(body.thread.unwrap_or_default().0.to_be_bytes());
            hash.update((body.mentions.len() as u64).to_be_bytes());
            body.mentions.iter().for_each(|mention| text(&mut hash, mention.as_str()));
        }
        Self(hash.finalize().into())
    }

    /// The digest of a wish to change a message: equal ones are the same wish once more.
    pub(crate) fn of_wish(seq: Seq, wish: &Wish) -> Self {
        let (kind, said) = match wish {
            Wish::Edit(said) => (1, said.as_str()),
            Wish::Delete => (2, ""),
            Wish::React(said) => (3, said.as_str()),
        };
        let mut hash = Sha256::new();
        hash.update(b"synod/wish/1");
        hash.update(seq.0.to_be_bytes());
        hash.update([kind]);
        text(&mut hash, said);
        Self(hash.finalize().into())
    }
}

fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

macro_rules! shown_in_hex {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex::write(&self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex::write(&self.0, out)
            }
        }
    };
}

shown_in_hex!(Chain);
shown_in_hex!(Digest);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConversationId, DeviceId, MessageId, Order, Seq, Timestamp, UserId};

    fn message() -> Message {
        let user = |name| UserId::parse(name).expect("legal");
        Message {
            conversation: ConversationId::direct(&user("alice"), &user("bob")),
            seq: Seq(1),
            sender: user("alice"),
            device: DeviceId(7),
            order: Order(1),
            message_id: MessageId::parse("m1").expect("legal"),
            at: Timestamp(1000),
            body: Body {
                text: "hello".to_owned(),
                client_timestamp: "10:00".to_owned(),
                attachment: true,
                attachment_uris: vec!["/a".to_owned(), "/b".to_owned()],
                ..Body::default()
            },
            chain: Chain::default(),
            erased: None,
        }
    }

    /// Computed by a second implementation from the canonical form above. Clients verify histories
    /// with it, so it may never change.
    #[test]
    fn the_canonical_form_is_what_it_always_was() {
        let message = message();
        let digest = "c68d19d08506857b83503897525340d9d9d4cd19d397eaacb5f8269c83ef3ad6";
        let chain = "db0d958a2b482a68f4b859e1283145d632b6167a01e142240fb6f771302dba07";
        assert_eq!(message.body.digest().to_string(), digest);
        assert_eq!(Chain::default().extend(&message).to_string(), chain);
    }

    #[test]
    fn a_repetition_may_be_stamped_anew() {
        let mut again = message().body;
        again.client_timestamp = "10:01".to_owned();
        assert_eq!(again.digest(), message().body.digest());
        again.text.push('!');
        assert_ne!(again.digest(), message().body.digest());
    }

    #[test]
    fn a_message_whose_content_is_gone_extends_the_chain_as_before() {
        let (message, mut erased) = (message(), message());
        erased.erased = Some(message.digest());
        erased.body =
            Body { client_timestamp: message.body.client_timestamp.clone(), ..Body::default() };
        assert_eq!(Chain::default().extend(&erased), Chain::default().extend(&message));
    }

    #[test]
    fn every_field_is_covered() {
        let chain = Chain::default().extend(&message());
        let changes: [fn(&mut Message); 16] = [
            |m| m.conversation = ConversationId::direct(&m.sender, &m.sender),
            |m| m.seq = Seq(2),
            |m| m.sender = UserId::parse("bob").expect("legal"),
            |m| m.device = DeviceId(8),
            |m| m.order = Order(2),
            |m| m.message_id = MessageId::parse("m2").expect("legal"),
            |m| m.at = Timestamp(1001),
            |m| m.body.text.push('!'),
            |m| m.body.client_timestamp.push('!'),
            |m| m.body.attachment = false,
            |m| m.body.attachment_uris = vec!["/a/b".to_owned()],
            |m| m.body.attachment_uris = vec!["/a".to_owned(), "/".to_owned(), "b".to_owned()],
            |m| m.body.reply_to = Some(Seq(1)),
            |m| m.body.thread = Some(Seq(1)),
            |m| m.body.mentions = [m.sender.clone()].into(),
            |m| m.erased = Some(Digest([0; 32])),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = message();
            change(&mut other);
            assert_ne!(Chain::default().extend(&other), chain, "change {number}");
        }
        assert_ne!(chain.extend(&message()), chain, "the value before is covered");
    }
}
