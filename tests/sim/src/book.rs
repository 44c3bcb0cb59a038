//! What a run writes down: the history for the judges, and what the simulator itself finds wrong.

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
            h: payload_hash(message.message_id.as_str(), &message.body.text),
            chain: first_bytes(message.chain.0.as_ref()),
            at: message.at.0,
        }
    }

    /// A message in a frame.
    pub(crate) fn entry_of_frame(&self, message: &proto::frames::Message) -> Entry {
        let text = message.body.as_ref().map_or("", |body| &body.text);
        Entry {
            seq: message.seq,
            from: self.device(&message.sender, message.device),
            k: message.order,
            h: payload_hash(&message.message_id, text),
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
