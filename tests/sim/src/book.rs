//! What a run writes down: the history for the judges, and what the simulator itself finds wrong.

use std::collections::BTreeMap;

use bytes::Bytes;
use chat::{ConversationId, Message};
use checkers::{C, Conn, D, Entry, F, History, Kind, Recorder, payload_hash};

use crate::wire::Time;

/// See the module.
#[derive(Default)]
pub(crate) struct Book {
    recorder: Recorder,
    processes: u32,
    /// What must not be, in the order in which it was found.
    pub(crate) broken: Vec<String>,
    pub(crate) acknowledged: u64,
    /// How often a sender was told lower floors than before.
    pub(crate) floors_fell: u64,
    /// What each message said when it was sent: it may be told edited, or without its text.
    texts: BTreeMap<String, String>,
}

/// An operation that was asked for and not answered: its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open(u32);

fn ns(time: Time) -> u64 {
    time * 1000
}

impl Book {
    /// Something is asked for.
    pub(crate) fn invoke(&mut self, now: Time, node: usize, f: F) -> Open {
        self.processes += 1;
        let at = (node as u8 + 1, Conn::None);
        self.recorder.note(ns(now), self.processes, Kind::Invoke, at, f);
        Open(self.processes)
    }

    /// It was answered, or nobody will ever know.
    pub(crate) fn complete(&mut self, now: Time, open: Open, kind: Kind, f: F) {
        if kind == Kind::Ok && matches!(f, F::Send { .. }) {
            self.acknowledged += 1;
        }
        self.recorder.note(ns(now), open.0, kind, (0, Conn::None), f);
    }

    /// Something was seen.
    pub(crate) fn saw(&mut self, now: Time, node: usize, f: F) {
        self.recorder.note(ns(now), 0, Kind::Ok, (node as u8 + 1, Conn::None), f);
    }

    /// Something was seen by one observer of many, of whom each sees for itself.
    pub(crate) fn saw_by(&mut self, now: Time, observer: u32, node: usize, f: F) {
        self.recorder.note(ns(now), observer, Kind::Ok, (node as u8 + 1, Conn::None), f);
    }

    /// Something was made that nobody asked for in an operation.
    pub(crate) fn made(&mut self, now: Time, f: F) {
        let open = self.invoke(now, 0, f.clone());
        self.complete(now, open, Kind::Ok, f);
    }

    /// Something must not be.
    pub(crate) fn broken(&mut self, now: Time, what: impl std::fmt::Display) {
        self.broken.push(format!("at {:.3} s: {what}", now as f64 / 1e6));
    }

    /// Names and faults go straight to the recorder.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// A device sends this for the first time.
    pub(crate) fn said(&mut self, message_id: &str, text: &str) {
        self.texts.insert(message_id.to_owned(), text.to_owned());
    }

    /// The hash of a message of which only the digest of what it first said is left. 0: it is not what was sent.
    fn hash_by_digest(&self, message_id: &str, digest: &[u8]) -> u64 {
        let Some(text) = self.texts.get(message_id) else { return 0 };
        let body = chat::Body { text: text.clone(), ..chat::Body::default() };
        if body.digest().0 == digest { payload_hash(message_id, text) } else { 0 }
    }

    /// The number of a conversation.
    pub(crate) fn conversation(&self, id: ConversationId) -> C {
        self.recorder.conversation(&id.to_string())
    }

    /// The number of a device.
    pub(crate) fn device(&self, user: &str, device: u64) -> D {
        self.recorder.device(user, &device.to_string())
    }

    /// A message that a replica holds.
    pub(crate) fn entry(&self, message: &Message) -> Entry {
        Entry {
            seq: message.seq.0,
            from: self.device(message.sender.as_str(), message.device.0),
            k: message.order.0,
            h: match &message.erased {
                Some(digest) => self.hash_by_digest(message.message_id.as_str(), &digest.0),
                None => payload_hash(message.message_id.as_str(), &message.body.text),
            },
            chain: first_bytes(message.chain.0.as_ref()),
            at: message.at.0,
        }
    }

    /// A message in a frame.
    pub(crate) fn entry_of_frame(&self, message: &proto::frames::Message) -> Entry {
        let text = message.body.as_ref().map_or("", |body| &body.text);
        let first = message.state.as_ref().map(|state| &state.digest);
        let h = match first.filter(|digest| !digest.is_empty()) {
            Some(digest) => self.hash_by_digest(&message.message_id, digest),
            None => payload_hash(&message.message_id, text),
        };
        Entry {
            seq: message.seq,
            from: self.device(&message.sender, message.device),
            k: message.order,
            h,
            chain: first_bytes(&message.chain),
            at: message.at_ms,
        }
    }

    /// Everything, in order of time.
    pub(crate) fn finish(self) -> History {
        self.recorder.finish()
    }
}

/// The first eight bytes of a chain value.
fn first_bytes(chain: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = chain.len().min(8);
    bytes[..len].copy_from_slice(&chain[..len]);
    u64::from_be_bytes(bytes)
}

/// A conversation's id as frames carry it.
pub(crate) fn id_of(bytes: &Bytes) -> Option<ConversationId> {
    ConversationId::from_bytes(bytes).ok()
}
