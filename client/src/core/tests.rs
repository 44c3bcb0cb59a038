//! The core on scripted frames: every order of events that a network can bring about, played without one.

mod changes;
mod keeping;
mod links;
mod random;
mod receiving;
mod sending;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use chat::{Body, ConversationId, DeviceId, MessageId, Timestamp, UserId};
use proto::ProblemCode;
use proto::frame::{ClientFrame, SendRequest, SendTo, ServerFrame, decode_client_frame};
use proto::frames::{self, Problem, sent};

use super::{Action, Core, LinkId, Settled, Ticket};
use crate::{Config, Credentials, Incoming, Receipt, SendError};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn bob() -> UserId {
    UserId::parse("bob").expect("legal")
}

fn with_bob() -> ConversationId {
    ConversationId::direct(&alice().user, &bob())
}

fn alice() -> Credentials {
    Credentials {
        user: UserId::parse("alice").expect("legal"),
        device: DeviceId(1),
        access: "access".into(),
        refresh: "refresh".into(),
        expires_at: Some(Timestamp(1_000_000)),
    }
}

/// A core with its clock, and what it asked for.
struct Script {
    core: Core,
    now: Duration,
    ticket: Ticket,
    dialled: VecDeque<(LinkId, u16)>,
    written: BTreeMap<LinkId, VecDeque<ClientFrame>>,
    closed: Vec<LinkId>,
    sent: BTreeMap<Ticket, Result<Receipt, SendError>>,
    others: Vec<Settled>,
    refreshes: Vec<Credentials>,
    /// What each link began with.
    begun: BTreeMap<LinkId, Option<String>>,
}

impl Script {
    fn new(nodes: u16) -> Script {
        let nodes = (0..nodes).map(|at| ([127, 0, 0, 1], 7400 + at).into()).collect();
        let config = Config::new(nodes, Vec::new());
        let mut script = Script {
            core: Core::new(&config, alice(), 7),
            now: Duration::ZERO,
            ticket: 0,
            dialled: VecDeque::new(),
            written: BTreeMap::new(),
            closed: Vec::new(),
            sent: BTreeMap::new(),
            others: Vec::new(),
            refreshes: Vec::new(),
            begun: BTreeMap::new(),
        };
        script.core.tick(script.now);
        script.act();
        script
    }

    /// With a link that stands.
    fn connected(nodes: u16) -> (Script, LinkId) {
        let mut script = Script::new(nodes);
        let link = script.welcome();
        assert_eq!(script.incoming(), [Incoming::LinkUp { node: 1 }]);
        (script, link)
    }

    fn act(&mut self) {
        self.act_kept(&mut false);
    }

    /// Does all that is wanted; what only a store can answer is left to the caller.
    fn act_kept(&mut self, wants_heads: &mut bool) {
        while let Some(action) = self.core.poll() {
            match action {
                Action::Dial(id, node) => self.dialled.push_back((id, node.port() - 7400)),
                Action::Write(id, bytes) => {
                    let frame = decode_client_frame(bytes).expect("a frame");
                    self.written.entry(id).or_default().push_back(frame);
                }
                Action::Close(id) => self.closed.push(id),
                Action::Settle(Settled::Sent(ticket, result)) => {
                    let before = self.sent.insert(ticket, result);
                    assert!(before.is_none(), "a ticket is settled once");
                }
                Action::Heads => *wants_heads = true,
                Action::Settle(other) => self.others.push(other),
                Action::Refresh(old) => self.refreshes.push(old),
            }
        }
    }

    /// Time passes, and the core is woken whenever it wants to be.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.tick(self.now);
            self.act();
            wakes += 1;
            assert!(wakes < 10_000, "the core wakes for something");
        }
        self.now = end;
        self.core.tick(self.now);
        self.act();
    }

    /// The next dialled link comes about and is welcomed.
    fn welcome(&mut self) -> LinkId {
        let (id, _) = self.dialled.pop_front().expect("somebody was dialled");
        assert!(self.core.dialled(self.now, id), "the link is wanted");
        self.act();
        let hello = self.next(id);
        let ClientFrame::Hello(hello) = hello else { panic!("{hello:?}") };
        self.begun.insert(id, hello.resume);
        self.say(id, ServerFrame::Welcome(frames::Welcome { node: 1, ..Default::default() }));
        id
    }

    fn said_hello(&self, link: LinkId) -> Option<String> {
        self.begun.get(&link).cloned().flatten()
    }

    fn say(&mut self, link: LinkId, frame: ServerFrame) {
        self.core.frame(self.now, link, frame);
        self.act();
    }

    fn lose(&mut self, link: LinkId) {
        self.core.link_lost(self.now, link, "lost".into());
        self.act();
    }

    fn send(&mut self, id: &str) -> Ticket {
        self.ticket += 1;
        let request = SendRequest {
            tag: 0,
            to: SendTo::Receiver(bob()),
            order: None,
            message_id: MessageId::parse(id).expect("legal"),
            body: Body { text: id.into(), ..Body::default() },
        };
        self.core.send(self.now, self.ticket, with_bob(), request);
        self.act();
        self.ticket
    }

    fn next(&mut self, link: LinkId) -> ClientFrame {
        let queue = self.written.get_mut(&link).expect("something was written there");
        queue.pop_front().expect("something was written there")
    }

    /// The sends that were written to a link since the last look: message id and order.
    fn sends(&mut self, link: LinkId) -> Vec<frames::Send> {
        let queue = self.written.remove(&link).unwrap_or_default();
        let sends = queue.into_iter().filter_map(|frame| match frame {
            ClientFrame::Send(send) => Some(send),
            _ => None,
        });
        sends.collect()
    }

    fn stored(&mut self, link: LinkId, send: &frames::Send, seq: u64, order: u64) {
        let stored = frames::Stored { seq, at_ms: 1, duplicate: false, order };
        self.answer(link, send, sent::Result::Stored(stored));
    }

    fn refuse(&mut self, link: LinkId, send: &frames::Send, code: ProblemCode) {
        let problem = proto::Problem::of(code).expecting(1);
        self.answer(link, send, sent::Result::Problem(problem.into()));
    }

    fn answer(&mut self, link: LinkId, send: &frames::Send, result: sent::Result) {
        let sent = frames::Sent {
            tag: send.tag,
            conversation: Bytes::copy_from_slice(with_bob().as_bytes()),
            message_id: send.message_id.clone(),
            result: Some(result),
        };
        self.say(link, ServerFrame::Sent(sent));
    }

    fn incoming(&mut self) -> Vec<Incoming> {
        std::iter::from_fn(|| self.core.poll_incoming()).collect()
    }

    /// Sequence numbers of the messages that came in since the last look.
    fn received(&mut self) -> Vec<u64> {
        let messages = self.incoming().into_iter().filter_map(|item| match item {
            Incoming::Message(message) => Some(message.seq),
            _ => None,
        });
        messages.collect()
    }
}

/// Message ids and orders, as they were written.
fn shown(sends: &[frames::Send]) -> Vec<(&str, u64)> {
    sends.iter().map(|send| (send.message_id.as_str(), send.order)).collect()
}

fn message(seq: u64) -> frames::Message {
    frames::Message {
        conversation: Bytes::copy_from_slice(with_bob().as_bytes()),
        seq,
        sender: "bob".into(),
        receiver: "alice".into(),
        message_id: format!("b{seq}"),
        ..Default::default()
    }
}

fn deliver(seqs: &[u64]) -> ServerFrame {
    let messages = seqs.iter().map(|seq| message(*seq)).collect();
    ServerFrame::Deliver(frames::Deliver { messages, catching_up: false })
}
