//! Which links there are, which one carries everything, and when to look for another. At most two at a time: the one that
//! carries, and one that may take its place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use chat::ConversationId;

use super::action::Ticket;
use super::limits::{
    FAILOVER_PAUSE, FAILOVER_PAUSE_MAX, LINK_DEADLINE, PING_AFTER, SILENCE_MAX, STALL_MAX,
};

/// One link of this client; never used again.
pub(crate) type LinkId = u64;

/// What an answer with a tag is the answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Send(Ticket),
    Confirm(ConversationId),
    ConfirmChanges(ConversationId),
    Read(Ticket),
    Gap(ConversationId),
    /// Whether history still says what is kept here.
    Compare(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The transport is being set up.
    Dialling,
    /// The client has said who it is.
    Greeting,
    /// The node has welcomed it.
    Live,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) node: usize,
    pub(super) phase: Phase,
    begun: Duration,
    /// When anything last came, or the link became busy.
    heard: Duration,
    /// A sign of life was asked for since then.
    pinged: bool,
    /// Until when nothing was read, so that what is unanswered since before is no fault of the node.
    excused: Duration,
    /// What is unanswered, by tag, with when it was written. Tags rise, so that the first is the oldest.
    asked: BTreeMap<u64, (Asked, Duration)>,
}

/// What is to be done about links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Dial,
    Ping(LinkId),
    /// Welcomed too late, or not at all.
    GiveUp(LinkId),
}

#[derive(Debug)]
pub(super) struct Links {
    nodes: Vec<SocketAddr>,
    /// The node to be dialled next.
    turn: usize,
    all: Vec<Link>,
    /// The one that carries everything.
    main: Option<LinkId>,
    next_id: LinkId,
    /// Links that came to nothing since the last welcome.
    failures: u32,
    /// Not before this time, when nothing stands.
    dial_at: Duration,
    /// Somebody wants another node although the present one lives.
    leaving: bool,
    failover_at: Duration,
    failover_pause: Duration,
}

impl Links {
    pub(super) fn new(nodes: Vec<SocketAddr>) -> Links {
        assert!(!nodes.is_empty(), "the client checks that a node is named");
        Links {
            nodes,
            turn: 0,
            all: Vec::new(),
            main: None,
            next_id: 1,
            failures: 0,
            dial_at: Duration::ZERO,
            leaving: false,
            failover_at: Duration::ZERO,
            failover_pause: FAILOVER_PAUSE,
        }
    }

    pub(super) fn main(&mut self) -> Option<&mut Link> {
        let id = self.main?;
        self.get(id)
    }

    pub(super) fn stands(&self) -> bool {
        self.main.is_some()
    }

    pub(super) fn main_id(&self) -> Option<LinkId> {
        self.main
    }

    pub(super) fn get(&mut self, id: LinkId) -> Option<&mut Link> {
        self.all.iter_mut().find(|link| link.id == id)
    }

    /// A new link, to the next node in turn that no other link leads to, if there is one.
    pub(super) fn dial(&mut self, now: Duration) -> (LinkId, SocketAddr) {
        assert!(self.all.len() < 2, "one that carries and one beside it");
        for _ in 0..self.nodes.len() {
            if self.all.iter().all(|link| link.node != self.turn) {
                break;
            }
            self.turn = (self.turn + 1) % self.nodes.len();
        }
        let (id, node) = (self.next_id, self.turn);
        self.next_id += 1;
        self.turn = (self.turn + 1) % self.nodes.len();
        self.all.push(Link {
            id,
            node,
            phase: Phase::Dialling,
            begun: now,
            heard: now,
            pinged: false,
            excused: Duration::ZERO,
            asked: BTreeMap::new(),
        });
        (id, self.nodes[node])
    }

    /// The link was welcomed: it carries everything from now on. The others are returned, to be closed.
    pub(super) fn promote(&mut self, now: Duration, id: LinkId) -> Vec<LinkId> {
        let others = self.all.iter().map(|link| link.id).filter(|other| *other != id).collect();
        self.all.retain(|link| link.id == id);
        let link = self.get(id).expect("promoted by a frame of this link");
        link.phase = Phase::Live;
        link.heard = now;
        self.main = Some(id);
        self.failures = 0;
        self.leaving = false;
        others
    }

    /// The link that carries everything has spoken: one that was begun because of its silence is not needed. It is
    /// returned, to be closed.
    pub(super) fn recovered(&mut self, id: LinkId) -> Option<LinkId> {
        if self.main != Some(id) || self.leaving {
            return None;
        }
        let beside = self.all.iter().find(|link| link.id != id).map(|link| link.id)?;
        self.all.retain(|link| link.id == id);
        Some(beside)
    }

    /// The link is over. True: it carried everything.
    pub(super) fn remove(&mut self, now: Duration, id: LinkId, pause: Duration) -> bool {
        let before = self.all.len();
        self.all.retain(|link| link.id != id);
        if self.all.len() == before {
            return false;
        }
        let was_main = self.main == Some(id);
        if was_main {
            self.main = None;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        // Every node has its chance at once; only then the client waits.
        let round_over = self.failures as usize >= self.nodes.len();
        self.dial_at = if round_over { now + pause } else { now };
        was_main
    }

    /// How often in a row no link came about, in rounds over all nodes.
    pub(super) fn rounds_failed(&self) -> u32 {
        self.failures / u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn clear(&mut self) -> Vec<LinkId> {
        self.main = None;
        self.all.drain(..).map(|link| link.id).collect()
    }

    /// The present node is of no use although it lives: another one is looked for, not too often.
    pub(super) fn fail_over(&mut self, now: Duration) {
        if self.main.is_some() && !self.leaving && self.nodes.len() > 1 && now >= self.failover_at {
            self.leaving = true;
            self.failover_at = now + self.failover_pause;
            self.failover_pause = (self.failover_pause * 2).min(FAILOVER_PAUSE_MAX);
        }
    }

    /// The present node wants to be left. It may name others.
    pub(super) fn go_away(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let known =
            addresses.into_iter().find_map(|to| self.nodes.iter().position(|node| *node == to));
        if let Some(known) = known {
            self.turn = known;
        }
        self.leaving = true;
    }

    /// The present node does its work.
    pub(super) fn is_useful(&mut self) {
        self.failover_pause = FAILOVER_PAUSE;
    }

    /// What is to be done now. Asked again until there is nothing.
    pub(super) fn need(&mut self, now: Duration, may_dial: bool) -> Option<Need> {
        let late = |link: &Link| link.phase != Phase::Live && now >= link.begun + LINK_DEADLINE;
        if let Some(link) = self.all.iter().find(|link| late(link)) {
            return Some(Need::GiveUp(link.id));
        }
        if self.main.is_some_and(|id| self.get(id).expect("it stands").stalled(now)) {
            self.fail_over(now);
        }
        let leaving = self.leaving;
        let wants_another = match self.all.as_slice() {
            [] => now >= self.dial_at,
            [only] => only.is_silent(now) || (leaving && only.phase == Phase::Live),
            _ => false,
        };
        if wants_another && may_dial {
            return Some(Need::Dial);
        }
        let main = self.main()?;
        if main.wants_ping(now) {
            main.pinged = true;
            return Some(Need::Ping(main.id));
        }
        None
    }

    /// When [`Links::need`] may have something to say at the latest.
    pub(super) fn timeout(&self, may_dial: bool, congested: bool) -> Option<Duration> {
        if self.all.is_empty() {
            return may_dial.then_some(self.dial_at);
        }
        let alone = self.all.len() == 1 && may_dial;
        let times = self.all.iter().flat_map(|link| match link.phase {
            Phase::Live if congested || link.asked.is_empty() => [None, None, None],
            Phase::Live => [
                (!link.pinged).then_some(link.heard + PING_AFTER),
                alone.then_some(link.heard + SILENCE_MAX),
                (alone && !self.leaving && self.nodes.len() > 1)
                    .then(|| link.oldest().map(|at| (at + STALL_MAX).max(self.failover_at)))
                    .flatten(),
            ],
            Phase::Dialling | Phase::Greeting => {
                [Some(link.begun + LINK_DEADLINE), alone.then_some(link.begun + SILENCE_MAX), None]
            }
        });
        times.flatten().min()
    }
}

impl Link {
    /// Something came.
    pub(super) fn hear(&mut self, now: Duration) {
        self.heard = now;
        self.pinged = false;
    }

    /// Nothing is read for now: silence is this side's own.
    pub(super) fn excuse(&mut self, now: Duration) {
        self.hear(now);
        self.excused = now;
    }

    /// A question is written.
    pub(super) fn ask(&mut self, now: Duration, tag: u64, asked: Asked) {
        if self.asked.is_empty() {
            self.hear(now);
        }
        self.asked.insert(tag, (asked, now));
    }

    /// What the answer with this tag is the answer to.
    pub(super) fn answered(&mut self, tag: u64) -> Option<Asked> {
        self.asked.remove(&tag).map(|(asked, _)| asked)
    }

    /// Since when the oldest question waits for its answer.
    fn oldest(&self) -> Option<Duration> {
        self.asked.values().map(|(_, at)| (*at).max(self.excused)).next()
    }

    fn wants_ping(&self, now: Duration) -> bool {
        !self.asked.is_empty() && !self.pinged && now >= self.heard + PING_AFTER
    }

    /// Nothing is heard of a link that owes an answer, or that does not come about.
    fn is_silent(&self, now: Duration) -> bool {
        match self.phase {
            Phase::Live => !self.asked.is_empty() && now >= self.heard + SILENCE_MAX,
            Phase::Dialling | Phase::Greeting => now >= self.begun + SILENCE_MAX,
        }
    }

    /// The node speaks, and leaves a question unanswered.
    fn stalled(&self, now: Duration) -> bool {
        self.oldest().is_some_and(|at| now >= at + STALL_MAX)
    }
}
