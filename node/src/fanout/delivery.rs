//! A message on its way to many sessions: encoded once for each face, shared by all.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chat::{Kind, Message};

use crate::shard::Audience;

/// A stored message and its encodings, made when the first session needs them.
pub(crate) struct Delivery {
    message: Arc<Message>,
    audience: Arc<Audience>,
    binary: OnceLock<Bytes>,
    text: OnceLock<Bytes>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("id", &self.message.canonical_id()).finish_non_exhaustive()
    }
}

impl Delivery {
    pub(crate) fn new(message: Arc<Message>, audience: Arc<Audience>) -> Self {
        Self { message, audience, binary: OnceLock::new(), text: OnceLock::new() }
    }

    pub(crate) fn message(&self) -> &Arc<Message> {
        &self.message
    }

    /// The whole binary frame; `encode` is called at most once for all sessions.
    pub(crate) fn binary(&self, encode: impl FnOnce(&Message, &Kind) -> Bytes) -> Bytes {
        self.binary.get_or_init(|| encode(&self.message, &self.audience.kind)).clone()
    }

    /// The payload item of the JSON face; `encode` is called at most once for all sessions.
    pub(crate) fn text(&self, encode: impl FnOnce(&Message, &Kind) -> Bytes) -> &Bytes {
        self.text.get_or_init(|| encode(&self.message, &self.audience.kind))
    }
}
