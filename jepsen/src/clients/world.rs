//! What all devices of a run share: the cast with its sessions, the tape, the pace, the phase of the run, and how far each
//! conversation is known to have got.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat::ConversationId;
use checkers::{C, D, Entry, U, payload_hash};
use client::{Config, Credentials, Transport};
use proto::frames;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use transport::{ClientTls, http};

use super::cast::{self, Cast, Tongue};
use super::media::Shelf;
use super::pace::Pacer;
use crate::record::Tape;
use crate::scenario::Workload;

/// What the process of the clients is told when it starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientsPlan {
    /// The client plane of every node; the first is node 1.
    pub nodes: Vec<SocketAddr>,
    /// The file of the authority that signs the nodes.
    pub ca: PathBuf,
    /// What repeats the cast and every choice.
    pub seed: u64,
    /// What to do.
    pub workload: Workload,
    /// Where the history goes.
    pub history: PathBuf,
    /// Shards of the cluster, to say where conversations live.
    pub shards: u32,
    /// How long after the end everything must have come in, seconds.
    pub drain_seconds: u64,
}

/// What goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nothing is broken yet.
    Quiet,
    /// Nodes are being broken.
    Faults,
    /// All is whole again.
    Healed,
    /// Nothing new is begun.
    Stop,
}

/// An actor with its session.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) credentials: Credentials,
    pub(crate) d: D,
    pub(crate) u: U,
}

/// What all devices share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: ClientsPlan,
    pub(crate) cast: Cast,
    pub(crate) seats: Vec<Seat>,
    pub(crate) cs: Vec<C>,
    pub(crate) tape: Tape,
    pub(crate) pacer: Pacer,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) ca_pem: Vec<u8>,
    pub(crate) http: http::Client,
    pub(crate) shelf: Shelf,
    numbers: BTreeMap<ConversationId, usize>,
    heads: Vec<AtomicU64>,
}

impl World {
    pub(crate) fn new(
        (plan, cast, seats): (ClientsPlan, Cast, Vec<Seat>),
        (tape, ca_pem, tls): (Tape, Vec<u8>, ClientTls),
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let cs = cast.chats.iter().map(|chat| tape.conversation(&chat.id.to_string())).collect();
        let numbers = cast.chats.iter().enumerate().map(|(at, chat)| (chat.id, at)).collect();
        let heads = cast.chats.iter().map(|_| AtomicU64::new(0)).collect();
        let pacer = Pacer::start(plan.workload.rate.max(1));
        let http = http::Client::with_deadline(tls, Duration::from_secs(6));
        let shelf = Shelf::default();
        Self { plan, cast, seats, cs, tape, pacer, phase, ca_pem, http, shelf, numbers, heads }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn stopping(&self) -> bool {
        self.phase() >= Phase::Stop
    }

    /// Waits until the run has got this far.
    pub(crate) async fn reaches(&self, phase: Phase) {
        let mut told = self.phase.clone();
        // Whoever tells is gone: the run is over.
        let _ = told.wait_for(|now| *now >= phase).await;
    }

    /// The conversation of this id, when it is one of ours.
    pub(crate) fn chat_of(&self, id: &[u8]) -> Option<usize> {
        self.numbers.get(&ConversationId::from_bytes(id).ok()?).copied()
    }

    /// Somebody was told of this sequence.
    pub(crate) fn saw(&self, chat: usize, seq: u64) {
        self.heads[chat].fetch_max(seq, Ordering::Relaxed);
    }

    /// The highest sequence that anybody was told of.
    pub(crate) fn head(&self, chat: usize) -> u64 {
        self.heads[chat].load(Ordering::Relaxed)
    }

    /// How to reach the cluster, beginning at node `first`, counted from 0.
    pub(crate) fn config(&self, tongue: Tongue, first: usize) -> Config {
        let mut nodes = self.plan.nodes.clone();
        let count = nodes.len();
        nodes.rotate_left(first % count);
        let transport = match tongue {
            Tongue::Quic => Transport::Quic,
            Tongue::WebSocket | Tongue::Text => Transport::WebSocket,
        };
        Config {
            transport,
            send_patience: Duration::from_secs(self.plan.workload.patience_seconds),
            confirm_delivered: false,
            ..Config::new(nodes, self.ca_pem.clone())
        }
    }

    /// A text of the right length that is no other message's.
    pub(crate) fn text(&self, chat: usize, actor: usize, k: u64) -> String {
        let mut text = format!("{actor} to {chat}, {k}: ");
        let length = self.plan.workload.text_bytes as usize;
        while text.len() < length {
            text.push(char::from(b'a' + (k % 26) as u8));
        }
        text
    }

    /// A message as it was read, for the history.
    pub(crate) fn entry(&self, message: &frames::Message) -> Entry {
        let text = message.body.as_ref().map_or("", |body| body.text.as_str());
        let device = chat::DeviceId(message.device).to_string();
        let k = cast::read_id(&message.message_id).map_or(0, |(_, k)| k);
        Entry {
            seq: message.seq,
            from: self.tape.device(&message.sender, &device),
            k,
            h: payload_hash(&message.message_id, text),
            chain: chain_head(&message.chain),
            at: message.at_ms,
        }
    }
}

/// The first eight bytes of a chain; 0 when there are none.
pub(crate) fn chain_head(chain: &[u8]) -> u64 {
    chain.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}
