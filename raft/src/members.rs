//! Who belongs to a group: takes one step at a time towards the membership that somebody wishes. The steps are chosen
//! by a pure function (`step`); here they are carried out through the engine, each only if the membership is still the
//! one that was looked at. Why a membership is wished is not known here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers, EmptyNode, async_runtime::watch::WatchReceiver as _, raft::Precondition,
};
use tokio::time::timeout;

use crate::{
    Error, NodeId,
    core::{Core, voters},
    types::{LogId, StoredMembership},
};

mod step;

pub(crate) use step::CAUGHT_UP_ENTRIES;
pub use step::Wish;
use step::{Standing, Step};

/// How long one change may take to be committed before the caller hears that it is not yet: a failover and a barrier.
const COMMIT_MAX: Duration = Duration::from_secs(5);

/// How a group begins on a node that has nothing of it yet. Where a log is, it says who the members are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Founding {
    /// This node founds the group together with the others of these, its first voters. Every founder names the same.
    Members(BTreeSet<NodeId>),
    /// The group was split off another: where its machine has the state that this left, its log begins behind it. Where it
    /// has none, waits like one who joins.
    Split,
    /// The group is elsewhere, or will be: waits until its leader adds this node.
    Join,
}

/// What one step towards a wished membership came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is as wished.
    Done,
    /// Something was changed; there may be more to do.
    Stepped,
    /// Whoever shall vote must catch up first; entries that each is behind, `None` while nothing is known of it.
    CatchingUp(BTreeMap<NodeId, Option<u64>>),
    /// The detector does not hear these, and without them no vote may be given away.
    Unheard(BTreeSet<NodeId>),
    /// Another replica leads now, and the rest is its to do.
    HandedOver(NodeId),
}

impl Core {
    /// One step towards `wish`. On the leader alone.
    pub(crate) async fn set_members(&self, wish: &Wish) -> Result<Progress, Error> {
        if wish.voters.is_empty() {
            return Err(Error::NotNow("a group needs voters".into()));
        }
        let Ok(_one) = self.stepping.try_lock() else {
            return Err(Error::NotNow("another step is being taken".into()));
        };
        let (standing, based_on) = self.standing(wish)?;
        let change = match standing.next(wish) {
            Step::Nothing => return Ok(Progress::Done),
            Step::AwaitCatchUp(late) => return Ok(Progress::CatchingUp(late)),
            Step::AwaitLife(unheard) => return Ok(Progress::Unheard(unheard)),
            Step::HandOver(to) => {
                self.transfer(to).await?;
                return Ok(Progress::HandedOver(to));
            }
            Step::AddObservers(nodes) => {
                ChangeMembers::AddNodes(nodes.iter().map(|node| (node.0, EmptyNode {})).collect())
            }
            Step::RemoveObservers(nodes) => ChangeMembers::RemoveNodes(numbers(&nodes)),
            Step::SetVoters(nodes) => ChangeMembers::ReplaceAllVoters(numbers(&nodes)),
        };
        self.change(change, based_on).await?;
        Ok(Progress::Stepped)
    }

    /// How the group stands, if this replica leads, and which entry says so.
    fn standing(&self, wish: &Wish) -> Result<(Standing, Option<LogId>), Error> {
        let view = self.view();
        if !view.leads || self.lead.handing_over(view.leads, view.term).is_some() {
            return Err(Error::NotNow("this replica does not lead".into()));
        }
        let metrics = self.engine.metrics();
        let metrics = metrics.borrow_watched();
        let stored = &metrics.membership_config;
        let sets: Vec<BTreeSet<NodeId>> = stored
            .membership()
            .get_joint_config()
            .iter()
            .map(|set| set.iter().copied().map(NodeId).collect())
            .collect();
        if sets.is_empty() {
            return Err(Error::NotNow("the membership is not known yet".into()));
        }
        let observers = observers(stored);
        let named = voters(stored).into_iter().chain(observers.iter().copied());
        let named = named.chain(wish.voters.iter().copied());
        let alive = named.filter(|node| self.alive(*node)).collect();
        let standing =
            Standing { leader: self.node, sets, observers, alive, behind: self.behind() };
        Ok((standing, *stored.log_id()))
    }

    /// Entries that each other replica is known to be behind. Empty unless this replica leads.
    pub(crate) fn behind(&self) -> BTreeMap<NodeId, u64> {
        let metrics = self.engine.metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log_index.map_or(0, |index| index + 1);
        let behind = |matched: Option<&LogId>| {
            let has = matched.map(|at| at.index + 1)?;
            Some(last.saturating_sub(has))
        };
        let all = metrics.replication.iter().flatten();
        all.filter_map(|(node, matched)| Some((NodeId(*node), behind(matched.as_ref())?))).collect()
    }

    /// Proposes a change, if the membership is still the one it is based on. Old voters stay as observers.
    async fn change(
        &self,
        change: ChangeMembers<u64, EmptyNode>,
        based_on: Option<LogId>,
    ) -> Result<(), Error> {
        const RETAIN: bool = true;
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: based_on };
        tracing::info!(group = %self.id, %change, "membership");
        let changed = self.engine.change_membership_if(change, RETAIN, [unchanged]);
        match timeout(COMMIT_MAX, changed).await {
            Ok(Ok(_)) => {
                metrics::counter!("raft_membership_changes_total").increment(1);
                self.observe();
                Ok(())
            }
            Ok(Err(error)) => Err(Error::NotNow(error.to_string())),
            // It may yet be; whoever takes the next step will see.
            Err(_) => Err(Error::NotNow("the change is not committed yet".into())),
        }
    }
}

/// Who has the log and does not vote.
pub(crate) fn observers(membership: &StoredMembership) -> BTreeSet<NodeId> {
    membership.membership().learner_ids().map(NodeId).collect()
}

fn numbers(nodes: &BTreeSet<NodeId>) -> BTreeSet<u64> {
    nodes.iter().map(|node| node.0).collect()
}
