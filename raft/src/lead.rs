//! Who leads, and how quickly somebody else does. The engine's own timers are slow and only a net
//! below this: the node-level detector says that a leader is gone, and one well-chosen voter campaigns
//! at once; the next ones follow if nothing came of it.
//!
//! A campaign always begins with a pre-vote, so a node that cannot win raises no term. Voters refuse
//! inside a leader's lease; a voter whose own detector holds that leader for dead gives the lease up
//! first (`inbox`). Sound, because no read here rests on a lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openraft::async_runtime::watch::WatchReceiver as _;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Error, NodeId,
    core::{Core, View},
    members::CAUGHT_UP_ENTRIES,
    types::{LeaderId, TransferRequest},
};

/// The lead of one candidate over the next: an election takes two rounds and two barriers.
const STEP: Duration = Duration::from_millis(60);
/// The longest pause between two campaigns of one replica: slow disks must be able to finish one.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Campaigns of one call; after that the steward begins again while nobody leads.
const CAMPAIGNS_MAX: u32 = 8;
/// How long nobody may lead before the steward has this replica campaign. Longer than an election.
const LEADERLESS_MAX: Duration = Duration::from_millis(300);
/// How long a handed-over leadership may take to be taken up before a third replica campaigns.
const TAKE_UP_MAX: Duration = Duration::from_millis(300);

/// What is known about this group's leadership besides what the engine knows.
#[derive(Default)]
pub(crate) struct Lead {
    campaigning: AtomicBool,
    /// To whom, and in which term, this leader hands over.
    handing_over: Mutex<Option<(NodeId, u64)>>,
    /// Since when nobody leads.
    leaderless: Mutex<Option<Instant>>,
    /// Since when the preferred leader could take over.
    ready: Mutex<Option<Instant>>,
}

impl Lead {
    /// To whom this leadership is being handed over. The engine never takes that back within a term.
    pub(crate) fn handing_over(&self, leads: bool, term: u64) -> Option<NodeId> {
        let mut handing_over = self.handing_over.lock();
        handing_over.take_if(|(_, since)| !leads || *since != term);
        handing_over.map(|(to, _)| to)
    }
}

impl Core {
    /// Tries to get a leader for this group. `stuck`: this leadership was given away, although the
    /// detector hears the one who had it.
    pub(crate) fn campaign(self: &Arc<Self>, stuck: Option<LeaderId>) {
        if self.lead.campaigning.swap(true, Ordering::AcqRel) {
            return;
        }
        let core = self.clone();
        self.runtime.spawn(async move {
            core.run_campaigns(stuck).await;
            core.lead.campaigning.store(false, Ordering::Release);
        });
    }

    async fn run_campaigns(&self, stuck: Option<LeaderId>) {
        let view = self.view();
        let Some(rank) = self.rank(&view) else {
            return;
        };
        let cycle = STEP * u32::try_from(view.voters.len()).unwrap_or(1);
        sleep(STEP * rank).await;
        if self.view().term > view.term {
            // Somebody campaigns already: let it finish.
            self.wait_settled(stuck, cycle).await;
        }
        for campaign in 0..CAMPAIGNS_MAX {
            let view = self.view();
            if self.is_settled(&view, stuck) || !self.quorum_alive() {
                return;
            }
            metrics::counter!("raft_campaigns_total").increment(1);
            if stuck.is_some() && stuck == view.leadership() {
                self.take_up(&view).await;
            } else {
                self.campaign_now(&view).await;
            }
            self.wait_settled(stuck, (cycle * (1 << campaign)).min(PAUSE_MAX)).await;
        }
    }

    /// Campaigns this moment, beginning with a pre-vote.
    pub(crate) async fn campaign_now(&self, view: &View) {
        self.release_lease(view).await;
        // An engine that has ended is noticed by `follow`.
        let _ = self.engine.trigger().elect(true).await;
    }

    /// Takes up what another replica should have: the leader itself gave this term away, but would
    /// refuse pre-votes while a quorum still acknowledged it lately. A vote request that says why it
    /// is made is not refused.
    async fn take_up(&self, view: &View) {
        let request = TransferRequest::new(view.vote, self.node.0, None);
        // An engine that has ended is noticed by `follow`.
        let _ = self.engine.handle_transfer_leader(request).await;
    }

    /// Somebody leads, and later than the stuck one.
    fn is_settled(&self, view: &View, stuck: Option<LeaderId>) -> bool {
        self.live_leader(view).is_some() && (stuck.is_none() || view.leadership() > stuck)
    }

    async fn wait_settled(&self, stuck: Option<LeaderId>, at_most: Duration) {
        let mut server = self.engine.server_metrics();
        let settled = async {
            while !self.is_settled(&self.view(), stuck) && server.changed().await.is_ok() {}
        };
        // Running out of time is what the caller's loop is for.
        let _ = timeout(at_most, settled).await;
    }

    /// Gives up the lease that this replica grants to the leader it follows.
    pub(crate) async fn release_lease(&self, view: &View) {
        if view.leader.is_none() {
            return;
        }
        /// No node has this number: the request only releases the lease.
        const NOBODY: u64 = u64::MAX;
        let request = TransferRequest::new(view.vote, NOBODY, None);
        // An engine that has ended is noticed by `follow`.
        let _ = self.engine.handle_transfer_leader(request).await;
    }

    /// This replica's place among the live voters; the same on every node that sees the same.
    fn rank(&self, view: &View) -> Option<u32> {
        let mut live: Vec<_> = view.voters.iter().filter(|node| self.alive(**node)).collect();
        let preferred = self.preferred();
        live.sort_by_key(|node| (self.slow(**node), **node != preferred, self.weight(**node)));
        let rank = live.iter().position(|node| **node == self.node)?;
        u32::try_from(rank).ok()
    }

    /// Spreads the groups of a lost node over the others.
    fn weight(&self, node: NodeId) -> u64 {
        let mut x = self.config.seed ^ (u64::from(self.id.0) << 32) ^ node.0;
        // SplitMix64's finisher: every bit of the input moves every bit of the result.
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// The detector lost or heard a node.
    pub(crate) fn liveness_changed(self: &Arc<Self>, node: NodeId, alive: bool) {
        self.observe();
        let view = self.view();
        if alive && view.leads {
            let engine = self.engine.clone();
            self.runtime.spawn(async move {
                // An engine that has ended is noticed by `follow`.
                let _ = engine.trigger().reset_backoff([node.0]).await;
            });
        }
        if !alive && view.leader == Some(node) || alive && self.live_leader(&view).is_none() {
            self.campaign(None);
        }
    }

    /// A leader said that it hands over: if nobody takes up, somebody must.
    pub(crate) fn expect_take_up(self: &Arc<Self>, stuck: LeaderId) {
        let core = self.clone();
        self.runtime.spawn(async move {
            core.wait_settled(Some(stuck), TAKE_UP_MAX).await;
            if !core.is_settled(&core.view(), Some(stuck)) {
                core.campaign(Some(stuck));
            }
        });
    }

    /// Hands over and waits until it is taken up.
    pub(crate) async fn transfer(&self, to: NodeId) -> Result<(), Error> {
        let view = self.view();
        if to == self.node && view.leads {
            return Ok(());
        }
        if !view.leads {
            return Err(Error::NotNow("this replica does not lead".into()));
        }
        if !view.voters.contains(&to) || !self.alive(to) {
            return Err(Error::NotNow(format!("node {to} cannot take over")));
        }
        *self.lead.handing_over.lock() = Some((to, view.term));
        self.observe();
        let begun = self.engine.trigger().transfer_leader(to.0).await;
        begun.map_err(|_| Error::Stopped)?;
        self.wait_settled(view.leadership(), self.config.election_min).await;
        if self.view().leads && self.view().term == view.term {
            return Err(Error::NotNow(format!("node {to} did not take over in time")));
        }
        metrics::counter!("raft_transfers_total").increment(1);
        Ok(())
    }

    /// Looks after a group without a leader.
    pub(crate) fn tick_lead(self: &Arc<Self>, now: Instant) {
        let view = self.view();
        let leaderless = {
            let mut since = self.lead.leaderless.lock();
            if self.live_leader(&view).is_some() {
                *since = None;
                return;
            }
            now.duration_since(*since.get_or_insert(now))
        };
        if leaderless >= LEADERLESS_MAX && self.quorum_alive() {
            self.campaign(None);
        }
    }

    /// Whether this leader should give its group to the preferred node now.
    pub(crate) fn should_give_back(&self, now: Instant) -> bool {
        let ready = self.preferred_is_ready();
        let mut since = self.lead.ready.lock();
        if !ready {
            *since = None;
            return false;
        }
        now.duration_since(*since.get_or_insert(now)) >= self.config.balance_after
    }

    fn preferred_is_ready(&self) -> bool {
        let preferred = self.preferred();
        preferred != self.node && !self.slow(preferred) && self.could_lead(preferred)
    }

    /// Whether another voter is there and has nearly all of this leader's log.
    fn could_lead(&self, node: NodeId) -> bool {
        if !self.alive(node) {
            return false;
        }
        let metrics = self.engine.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref().and_then(|all| all.get(&node.0)?.as_ref());
        let voter = metrics.membership_config.voter_ids().any(|id| id == node.0);
        let behind = |matched: u64| metrics.last_log_index.unwrap_or(0).saturating_sub(matched);
        voter && matched.is_some_and(|matched| behind(matched.index) <= CAUGHT_UP_ENTRIES)
    }

    /// Who should lead instead of this node, whose disk is slow: nobody whose disk is slow as well. `None` while this
    /// replica does not lead, hands over already, or nobody is better.
    pub(crate) fn successor(&self) -> Option<NodeId> {
        let view = self.view();
        if !view.leads || self.lead.handing_over(view.leads, view.term).is_some() {
            return None;
        }
        let better =
            |node: &NodeId| *node != self.node && !self.slow(*node) && self.could_lead(*node);
        let preferred = self.preferred();
        let order = |node: &NodeId| (*node != preferred, self.weight(*node));
        view.voters.iter().copied().filter(better).min_by_key(order)
    }
}
