//! One group of this node, as the rest of the node sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    AppliedState, Error, GroupId, NodeId, Progress, ProposeError, ReadError, Rows, Wish,
    appoint::Moment, core::Core, line::AnswerReceiver,
};

/// How a group stands on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// Who leads, as far as this replica knows. Never a node that the detector holds for dead.
    pub leader: Option<NodeId>,
    /// This replica leads.
    pub is_leader: bool,
    /// The current term.
    pub term: u64,
    /// The last index in the log here.
    pub last_index: Option<u64>,
    /// The last index applied here.
    pub applied_index: Option<u64>,
    /// The voters in force: those of both sets while a change goes on.
    pub voters: BTreeSet<NodeId>,
    /// Those who have the log and do not vote.
    pub observers: BTreeSet<NodeId>,
    /// A joint change of the voters goes on.
    pub changing: bool,
}

/// A handle on one group. Cheap to clone.
#[derive(Clone)]
pub struct Group(pub(crate) Arc<Core>);

/// A submitted command; resolves to its outcome.
#[must_use = "the outcome of a command is only known here"]
pub struct Pending(AnswerReceiver);

impl Future for Pending {
    type Output = Result<Bytes, ProposeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(ProposeError::Unknown)))
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

impl Group {
    /// Which group this is.
    pub fn id(&self) -> GroupId {
        self.0.id
    }

    /// Takes a permit and a place in line now: the order of calls is the order of proposals. A command
    /// that finds the line empty is proposed before this returns.
    ///
    /// # Errors
    /// All definite, nothing was written: this replica does not lead, too much waits, no quorum is
    /// alive or the entry in flight takes too long, the group has stopped.
    pub fn submit(&self, command: Bytes) -> Result<Pending, ProposeError> {
        self.0.line.submit(command).map(Pending)
    }

    /// Submits and waits for the outcome.
    ///
    /// # Errors
    /// Those of [`Group::submit`], and [`ProposeError::Unknown`] when the command was handed over and
    /// its outcome is not known.
    pub async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        self.submit(command)?.await
    }

    /// Returns when the local machine has applied everything that was committed when this was called.
    /// Works on leaders and followers; callers at the same time share one round.
    ///
    /// # Errors
    /// When no leader confirms, or this replica is too far behind. Nothing was read.
    pub async fn linearize(&self) -> Result<(), ReadError> {
        self.0.linearize().await
    }

    /// A consistent view of this replica's whole state, and where it stands: the rows that a snapshot would stream. What the
    /// group does meanwhile is not in it; it may be read anywhere, and should not be held for longer than that takes.
    ///
    /// # Errors
    /// When the tables cannot be read, or the group has stopped.
    pub async fn view(&self) -> Result<(AppliedState, Box<dyn Rows>), Error> {
        let core = self.0.clone();
        let viewed = self.0.runtime.spawn(async move { core.seat.view() }).await;
        Ok(viewed.map_err(|_| Error::Stopped)??)
    }

    /// A view of this replica's state behind exactly the entry at `index`, as soon as that is applied here. `None`: this
    /// replica is beyond it, was carried beyond it by a snapshot, or too many wait. Every replica that answers has applied
    /// the same log, so they have the same rows. Nothing is flushed for it. To be asked with a deadline: the entry may
    /// never come.
    ///
    /// # Errors
    /// When the tables cannot be read, or the group has stopped.
    pub async fn view_at(
        &self,
        index: u64,
    ) -> Result<Option<(AppliedState, Box<dyn Rows>)>, Error> {
        let core = self.0.clone();
        let asked = self.0.runtime.spawn(async move { core.seat.view_at(index) }).await;
        match asked.map_err(|_| Error::Stopped)?? {
            Moment::Now(viewed) => Ok(Some(viewed)),
            Moment::Later(view) => Ok(view.await.ok()),
            Moment::Never => Ok(None),
        }
    }

    /// How the group stands here, now.
    pub fn status(&self) -> GroupStatus {
        self.0.known()
    }

    /// The same, as it changes. Leadership is told at once, indexes within a tenth of a second.
    pub fn watch(&self) -> watch::Receiver<GroupStatus> {
        self.0.status.subscribe()
    }

    /// Hands leadership over, gracefully. Returns when another replica leads.
    ///
    /// # Errors
    /// When this replica does not lead, the other cannot take over or does not in time. In the last
    /// case this replica proposes nothing more in its term.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), Error> {
        let core = self.0.clone();
        let transfer = self.0.runtime.spawn(async move { core.transfer(to).await });
        transfer.await.unwrap_or(Err(Error::Stopped))
    }

    /// One step towards a wished membership; to be called until it is [`Progress::Done`], by whoever leads. Learners
    /// come first, then a joint change of the voters, and old voters stay as observers if they are wished as such.
    ///
    /// # Errors
    /// When this replica does not lead, another step is being taken, or the change is not committed in time. Asking
    /// again is always safe: what was begun is seen and gone on with.
    pub async fn set_members(&self, wish: Wish) -> Result<Progress, Error> {
        let core = self.0.clone();
        let step = self.0.runtime.spawn(async move { core.set_members(&wish).await });
        step.await.unwrap_or(Err(Error::Stopped))
    }

    /// Who should lead this group from now on, while it is alive and votes.
    pub fn prefer(&self, node: NodeId) {
        self.0.preferred.store(node.0, Ordering::Release);
    }

    /// Entries that each other replica is known to be behind this one. Empty unless this replica leads.
    pub fn behind(&self) -> BTreeMap<NodeId, u64> {
        self.0.behind()
    }
}
