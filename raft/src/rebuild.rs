//! A machine's state is gone, its tables were damaged and set aside, while its log and its vote are whole: another replica
//! sends the state as it is there, before the group starts.
//!
//! It is what Raft does with any snapshot, only asked for: a state at a committed position, at or beyond what the log here
//! begins with. Vote and log stay, so nothing that this replica ever promised is forgotten, and what it acknowledged beyond
//! that position is still in its log. Whoever sends need not lead: what is applied anywhere is committed. The group takes
//! part in nothing until it has the state.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::{
    Error, Fatal, GroupId, Machine, NodeId, Position,
    codec::{self, Answer, Call, SnapshotHead},
    core::Core,
    log::LogStore,
    peers::chunks,
    raft::Inner,
    receive::Chunks,
    seat::{Seat, our_state},
    types::{Vote, log_id, position},
};

/// How long a replica may take to say whether it will send.
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// How long to wait for the state to begin to arrive before all are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// States that are offered at a time; the first is taken, others are told to go.
const OFFERS_MAX: usize = 4;

/// A state that arrives.
pub(crate) struct Offer {
    head: SnapshotHead,
    chunks: Chunks,
    taken: oneshot::Sender<Result<Bytes, Error>>,
}

/// Where states for one group go that is not started yet.
pub(crate) type Offers = mpsc::Sender<Offer>;

/// Hands a state to the group that waits for it.
pub(crate) fn offer(
    to: &Offers,
    head: SnapshotHead,
    chunks: Chunks,
) -> BoxFuture<'static, Result<Bytes, Error>> {
    let (taken, answer) = oneshot::channel();
    let busy = || Error::Refused("another state is being received".into());
    match to.try_send(Offer { head, chunks, taken }) {
        Ok(()) => async move { answer.await.unwrap_or_else(|_| Err(busy())) }.boxed(),
        Err(_) => std::future::ready(Err(busy())).boxed(),
    }
}

/// Whether the log begins beyond a machine that has nothing. One that has something, but less than the log relies on, is no
/// damage of a disk but of this program's laws, and nothing that is to be healed in silence.
fn is_needed(seat: &Seat, log: &LogStore) -> bool {
    log.begins_after().is_some() && seat.state().position.is_none()
}

/// Sees to it that the machine has a state that goes with its log, and the log nothing that contradicts it.
pub(crate) async fn go_together(
    inner: &Arc<Inner>,
    group: GroupId,
    seat: &Seat,
    log: &LogStore,
) -> Result<(), Error> {
    if is_needed(seat, log) {
        rebuild(inner, group, seat, log).await?;
    }
    Ok(agree(seat, log).await?)
}

/// Gives the machine a state that goes with its log. Returns when it has one.
async fn rebuild(
    inner: &Arc<Inner>,
    group: GroupId,
    seat: &Seat,
    log: &LogStore,
) -> Result<(), Error> {
    let begins = log.begins_after().map_or(0, |at| at.index);
    tracing::warn!(%group, begins, "the state of this group is gone, others are asked for theirs");
    let (offers, mut arriving) = mpsc::channel(OFFERS_MAX);
    inner.rebuilding.lock().insert(group, offers);
    let rebuilt = loop {
        ask(inner, group, begins).await;
        let Ok(Some(offer)) = timeout(ASK_AGAIN, arriving.recv()).await else { continue };
        match take(offer, begins, seat).await {
            Ok(at) => break Ok(at),
            Err(Error::Fatal(fatal)) => break Err(Error::Fatal(fatal)),
            Err(error) => tracing::info!(%group, %error, "a state did not arrive whole"),
        }
    };
    inner.rebuilding.lock().remove(&group);
    let at = rebuilt?;
    metrics::counter!("raft_states_rebuilt_total").increment(1);
    tracing::warn!(%group, index = at.index, "the state of this group is here again");
    Ok(())
}

/// Asks all that are known; whoever can begins to send.
async fn ask(inner: &Arc<Inner>, group: GroupId, at_least: u64) {
    let known: BTreeSet<NodeId> = inner.known.lock().clone();
    let asked = known.into_iter().filter(|node| *node != inner.config.node).map(|node| {
        let request = codec::encode_call(group, Call::Fetch { at_least });
        timeout(ASK_WITHIN, inner.network.call(node, request, ASK_WITHIN))
    });
    join_all(asked).await;
}

async fn take(offer: Offer, begins: u64, seat: &Seat) -> Result<Position, Error> {
    let Offer { head, chunks, taken } = offer;
    let installed = install(&head, chunks, begins, seat).await;
    let answer = match &installed {
        Ok(_) => Ok(codec::encode_vote(&head.vote)),
        Err(error) => Err(Error::Refused(error.to_string())),
    };
    // Whoever sent it may have gone.
    let _ = taken.send(answer);
    installed
}

async fn install(
    head: &SnapshotHead,
    chunks: Chunks,
    begins: u64,
    seat: &Seat,
) -> Result<Position, Error> {
    let at = position(&head.last);
    if at.index < begins {
        return Err(Error::Refused(format!("a state at {} for a log from {begins}", at.index)));
    }
    let number = seat.begin_staging().await?;
    seat.stage_all(number, chunks).await?;
    let state = our_state(at, &head.membership);
    let installed = state.clone();
    seat.with(|machine: &mut dyn Machine| machine.install(installed))?;
    seat.moved(state, true);
    Ok(at)
}

/// The log and the machine, of which the machine's position is committed: what the log has there instead was never committed
/// and goes, with all that follows it.
async fn agree(seat: &Seat, log: &LogStore) -> Result<(), Fatal> {
    match seat.state().position {
        Some(at) => Ok(log.agree_with(at).await?),
        None => Ok(()),
    }
}

impl Core {
    /// Sends this replica's state to a member that lost its own, if it goes far enough.
    pub(crate) fn give(self: &Arc<Self>, to: NodeId, at_least: u64) -> Answer {
        let view = self.view();
        if !view.voters.contains(&to) && !view.observers.contains(&to) {
            return Answer::Failure("not_a_member".to_owned());
        }
        if self.seat.applied_index().is_none_or(|applied| applied < at_least) {
            return Answer::Failure("behind".to_owned());
        }
        let core = self.clone();
        self.runtime.spawn(async move {
            if let Err(error) = core.send_state(to).await {
                tracing::info!(group = %core.id, %to, %error, "the state was not taken");
            }
        });
        Answer::Fetch
    }

    async fn send_state(&self, to: NodeId) -> Result<(), Error> {
        let permit = self.sending.acquire().await;
        let _permit = permit.map_err(|_| Error::Stopped)?;
        let (state, rows) = self.seat.view()?;
        let last = log_id(state.position.expect("it has applied something"));
        let membership = codec::decode_membership(state.membership)?;
        // Nobody's claim to lead: the leadership that wrote the last entry, which is committed.
        let vote = Vote { leader_id: last.leader_id, committed: true };
        let head = SnapshotHead { group: self.id, vote, last, membership };
        let rows = chunks(rows, self.config.chunk_bytes).boxed();
        self.network.send_snapshot(to, codec::encode_head(&head), rows).await?;
        Ok(())
    }
}
