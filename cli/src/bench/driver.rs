//! Connections under load: each is one task on its thread's single-threaded runtime.
//!
//! What has arrived is handled together and what it leads to is sent together, so that a busy
//! connection costs few system calls. A broken link is dialled again at the next node and what was
//! unanswered is sent again with the same order number: the benchmark itself cannot duplicate.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use proto::frames::{Deliver, Sent, send, sent, server_frame::Frame};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until},
};
use transport::{ClientTls, Encoding, Link};

use super::{
    accounts::Account,
    arrivals::Arrivals,
    measure::{Counts, Window},
    wire::{self, Outgoing, Stamps},
};
use crate::args::Transport;

/// Frames handled before what they lead to is sent.
const FRAMES_PER_TURN: usize = 64;
/// Unanswered sends of one client in an open loop; beyond it, sends wait and their wait is measured.
const OUTSTANDING_MAX: usize = 256;
/// After the window, how long answers are waited for.
pub(super) const DRAIN: Duration = Duration::from_secs(3);
/// From dialling to the node's welcome.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// Before a broken link is dialled again.
const AGAIN: Duration = Duration::from_millis(100);
/// A node may ask for patience, but not for more than this.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// What the connections of one thread share.
pub(super) struct Load {
    pub(super) tls: ClientTls,
    pub(super) transport: Transport,
    pub(super) nodes: Vec<SocketAddr>,
    pub(super) stamps: Stamps,
    pub(super) size: usize,
    pub(super) confirm: bool,
    pub(super) counts: RefCell<Counts>,
    /// What is read, by connections that read.
    pub(super) pages: Option<Pages>,
    /// Where the last arrival of each message counts.
    pub(super) arrivals: Option<RefCell<Arrivals>>,
    /// Messages of one connection under way at once, in a closed loop: not answered, or, where arrivals are counted, not
    /// with everybody.
    pub(super) under_way: usize,
    /// Told when a message is with everybody.
    pub(super) arrived: Notify,
}

/// Which pages of history are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pages {
    /// Messages in a page.
    pub(super) page: u32,
    /// Pages in the conversation.
    pub(super) pages: u32,
    pub(super) consistency: proto::frames::Consistency,
}

/// What one connection is to do.
pub(super) struct Seat {
    pub(super) account: Account,
    /// The conversations it writes to, in turn.
    pub(super) writes: Vec<send::To>,
    /// When to send, in an open loop.
    pub(super) beats: Option<mpsc::Receiver<Instant>>,
}

/// Why a connection could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{0}: {1}")]
    Dial(SocketAddr, transport::DialError),
    #[error("{0} did not welcome {1}: {2}")]
    Unwelcome(SocketAddr, String, String),
}

/// Dials, says who it is, and waits for the welcome.
pub(super) async fn connect(
    load: &Load,
    account: &Account,
    node: SocketAddr,
) -> Result<Link, ConnectError> {
    let opening = async {
        let dialled = match load.transport {
            Transport::Quic => transport::dial::quic(&load.tls, node).await,
            Transport::Ws => {
                transport::dial::websocket(&load.tls, node, Encoding::Binary, None).await
            }
        };
        let mut link = dialled.map_err(|e| ConnectError::Dial(node, e))?;
        let unwelcome = |why: String| ConnectError::Unwelcome(node, account.user.clone(), why);
        let mut hello = VecDeque::from([wire::hello(&account.token)]);
        link.writer.send(&mut hello).await.map_err(|e| unwelcome(e.to_string()))?;
        loop {
            let frame = link.reader.next().await.map_err(|e| unwelcome(e.to_string()))?;
            let frame = frame.ok_or_else(|| unwelcome("the link ended".into()))?;
            match wire::decode(frame) {
                Ok(Some(Frame::Welcome(_))) => return Ok(link),
                Ok(Some(Frame::Problem(problem))) => return Err(unwelcome(problem.detail)),
                Ok(_) => {}
                Err(error) => return Err(unwelcome(error.to_string())),
            }
        }
    };
    tokio::time::timeout(WELCOME_WITHIN, opening).await.unwrap_or_else(|_| {
        Err(ConnectError::Unwelcome(node, account.user.clone(), "no answer in time".into()))
    })
}

/// One connection and what is under way on it.
pub(super) struct Driver {
    load: Rc<Load>,
    seat: Seat,
    link: Link,
    window: Window,
    /// So many messages at a time, the next one sent when one is through.
    closed_loop: bool,
    /// Messages that were begun.
    begun: u64,
    unanswered: BTreeMap<u64, Outgoing>,
    /// Per conversation the last order number used, where one message is sent at a time. Otherwise the node
    /// counts: there a refusal would leave a gap behind which everything else is refused as well.
    orders: Vec<u64>,
    turn: usize,
    last_tag: u64,
    out: VecDeque<Bytes>,
    /// No new send before this: a node asked for patience.
    not_before: Option<Instant>,
}

impl Driver {
    pub(super) fn new(load: Rc<Load>, seat: Seat, link: Link, window: Window) -> Driver {
        let orders = vec![0; seat.writes.len()];
        Driver {
            closed_loop: seat.beats.is_none(),
            load,
            seat,
            link,
            window,
            unanswered: BTreeMap::new(),
            orders,
            turn: 0,
            begun: 0,
            last_tag: 0,
            out: VecDeque::new(),
            not_before: None,
        }
    }

    /// Drives until the window and the time for its last answers are over.
    pub(super) async fn run(mut self) {
        let end = sleep_until(self.window.until);
        tokio::pin!(end);
        let mut beats = self.seat.beats.take();
        self.send_next();
        loop {
            if !self.out.is_empty() && self.link.writer.send(&mut self.out).await.is_err() {
                self.reconnect().await;
                continue;
            }
            let late = Instant::now() >= self.window.until;
            if late && self.unanswered.is_empty() {
                return;
            }
            let room = self.unanswered.len() < OUTSTANDING_MAX;
            tokio::select! {
                biased;
                frame = self.link.reader.next() => if !self.handle(frame) {
                    self.reconnect().await;
                },
                beat = next_beat(&mut beats), if room => self.begin_all(beat, &mut beats),
                () = patience(self.not_before) => self.send_again(),
                () = self.load.arrived.notified(), if self.closed_loop && self.writes() => {}
                () = &mut end => {
                    if late {
                        break;
                    }
                    end.as_mut().reset(self.window.until + DRAIN);
                }
            }
            self.send_next();
        }
        self.load.counts.borrow_mut().errors += self.unanswered.len() as u64;
    }

    /// Sends for this beat and for those that have come meanwhile.
    fn begin_all(&mut self, beat: Instant, beats: &mut Option<mpsc::Receiver<Instant>>) {
        self.begin(beat);
        while self.unanswered.len() < OUTSTANDING_MAX
            && let Some(Ok(beat)) = beats.as_mut().map(mpsc::Receiver::try_recv)
        {
            self.begin(beat);
        }
    }

    /// Handles what has arrived. False: the link is broken.
    fn handle(&mut self, first: Result<Option<Bytes>, transport::LinkError>) -> bool {
        let mut arrived = first;
        for _ in 0..FRAMES_PER_TURN {
            let Ok(Some(frame)) = arrived else { return false };
            let Ok(frame) = wire::decode(frame) else { return false };
            match frame {
                Some(Frame::Sent(sent)) => self.answered(sent),
                Some(Frame::Deliver(deliver)) => self.delivered(deliver),
                Some(Frame::GoAway(_)) => return false,
                _ => {}
            }
            let Some(next) = self.link.reader.next().now_or_never() else { break };
            arrived = next;
        }
        true
    }

    fn writes(&self) -> bool {
        !self.seat.writes.is_empty()
    }

    /// In a closed loop: the next messages, while there is room for them.
    fn send_next(&mut self) {
        if !self.closed_loop || !self.writes() || self.not_before.is_some() {
            return;
        }
        while self.under_way() < self.load.under_way {
            // Arrivals are told apart by when their message was meant to be sent.
            let now = Instant::now();
            if now >= self.window.until {
                return;
            }
            self.begin(now);
        }
    }

    fn counts_orders(&self) -> bool {
        self.closed_loop && self.load.under_way == 1
    }

    /// Messages that are not answered yet, or not with everybody.
    fn under_way(&self) -> usize {
        let arrivals = self.load.arrivals.as_ref();
        let everywhere = arrivals.map_or(self.begun, |counted| counted.borrow().everywhere());
        let coming = usize::try_from(self.begun.saturating_sub(everywhere)).unwrap_or(usize::MAX);
        coming.max(self.unanswered.len())
    }

    /// Sends the next message, which was meant to be sent at `meant_at`.
    fn begin(&mut self, meant_at: Instant) {
        let table = self.turn;
        self.turn = (self.turn + 1) % self.seat.writes.len();
        self.last_tag += 1;
        self.begun += 1;
        let order = if self.counts_orders() { self.orders[table] + 1 } else { 0 };
        self.orders[table] = order;
        let to = self.seat.writes[table].clone();
        let outgoing = Outgoing { tag: self.last_tag, table, to, order, meant_at };
        self.out.push_back(outgoing.frame(self.load.stamps, self.load.size));
        self.unanswered.insert(outgoing.tag, outgoing);
    }

    fn answered(&mut self, answer: Sent) {
        let Some(outgoing) = self.unanswered.get(&answer.tag) else { return };
        let now = Instant::now();
        match answer.result {
            Some(sent::Result::Stored(_)) => {
                if self.window.holds(now) {
                    let wait = now.saturating_duration_since(outgoing.meant_at);
                    self.load.counts.borrow_mut().acks.note(wait);
                }
                self.unanswered.remove(&answer.tag);
            }
            Some(sent::Result::Problem(problem)) => {
                self.load.counts.borrow_mut().errors += 1;
                if problem.retryable || problem.unknown {
                    let wait = Duration::from_millis(problem.retry_after_ms.max(5));
                    self.not_before = Some(now + wait.min(PATIENCE_MAX));
                } else {
                    let (code, detail) = (problem.code, problem.detail);
                    tracing::warn!(code, detail, "a send was refused");
                    // Its order number was not used up; the node may say which one is.
                    let unused = outgoing.order.max(1).max(problem.expected);
                    self.orders[outgoing.table] = unused - 1;
                    self.unanswered.remove(&answer.tag);
                }
            }
            None => {}
        }
    }

    fn delivered(&mut self, deliver: Deliver) {
        let now = Instant::now();
        let counted = self.window.holds(now);
        let mut counts = self.load.counts.borrow_mut();
        for message in &deliver.messages {
            let text = message.body.as_ref().map_or("", |body| body.text.as_str());
            let Some(meant_at) = self.load.stamps.read(text) else { continue };
            let wait = now.saturating_duration_since(meant_at);
            let mut arrivals = self.load.arrivals.as_ref().map(RefCell::borrow_mut);
            let everywhere = arrivals.as_mut().is_some_and(|arrivals| arrivals.note(meant_at));
            if counted {
                counts.deliveries.note(wait);
            }
            if counted && everywhere {
                counts.last_arrivals.note(wait);
            }
            if everywhere {
                self.load.arrived.notify_one();
            }
        }
        drop(counts);
        if self.load.confirm
            && let Some(last) = deliver.messages.last()
        {
            self.last_tag += 1;
            let frame = wire::confirm(self.last_tag, last.conversation.clone(), last.seq);
            self.out.push_back(frame);
        }
    }

    /// Sends everything unanswered once more, oldest first, each with its own order number.
    fn send_again(&mut self) {
        self.not_before = None;
        let (stamps, size) = (self.load.stamps, self.load.size);
        self.out.extend(self.unanswered.values().map(|outgoing| outgoing.frame(stamps, size)));
    }

    /// Until a node welcomes this device again, or the window is over.
    async fn reconnect(&mut self) {
        self.load.counts.borrow_mut().errors += 1;
        self.out.clear();
        let nodes = self.load.nodes.clone();
        let own = nodes.iter().position(|node| *node == self.seat.account.node).unwrap_or(0);
        let mut attempt = own;
        while Instant::now() < self.window.until + DRAIN {
            sleep(AGAIN).await;
            attempt += 1;
            let node = nodes[attempt % nodes.len()];
            match connect(&self.load, &self.seat.account, node).await {
                Ok(link) => {
                    self.link = link;
                    self.send_again();
                    return;
                }
                Err(error) => tracing::warn!(%error, "cannot connect again"),
            }
        }
    }
}

/// The next beat of an open loop; never in a closed one, or when the metronome has stopped.
async fn next_beat(beats: &mut Option<mpsc::Receiver<Instant>>) -> Instant {
    match beats {
        Some(receiver) => match receiver.recv().await {
            Some(beat) => beat,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn patience(not_before: Option<Instant>) {
    match not_before {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
