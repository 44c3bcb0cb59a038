//! Linearizable reads by read index: the leader confirms with a quorum that it still leads, names the
//! index that covers everything committed before, and the reader waits until its own machine has
//! applied that far. Never by lease. Callers that come while a round is running share the next one.

use std::{sync::Arc, time::Duration};

use openraft::LinearizerOption;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    Certainty, NodeId, Position, ReadError,
    codec::{self, Answer, Call},
    core::Core,
    figures,
    types::position,
};

/// How long one round may take before the read is refused: a few heartbeats of a slow network.
const ROUND_MAX: Duration = Duration::from_secs(1);
/// How long the local machine may take to catch up with a confirmed index.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// How long a reader waits at most: for the round that runs already, and for its own.
const READ_MAX: Duration = Duration::from_secs(6);
/// Readers that may wait for one round; more would only pile up behind a dead leader.
const READERS_MAX: usize = 65_536;

/// Who waits for a round.
#[derive(Default)]
pub(crate) struct Rounds(Mutex<State>);

#[derive(Default)]
struct State {
    running: bool,
    closed: bool,
    next: Vec<oneshot::Sender<Result<(), ReadError>>>,
}

impl Rounds {
    /// Answers all readers that the group has stopped, and all later ones.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        // Dropping its sender tells a reader.
        state.next.clear();
    }
}

impl Core {
    /// Joins the next round. A round that runs already may have begun before this caller's question,
    /// so it does not count.
    pub(crate) async fn linearize(self: &Arc<Self>) -> Result<(), ReadError> {
        if planted::bug(planted::Bug::ReadIndexSkipped) {
            return Ok(());
        }
        let (answer, confirmed) = oneshot::channel();
        let begin = {
            let mut state = self.rounds.0.lock();
            if state.closed {
                return Err(ReadError::Stopped);
            }
            if state.next.len() >= READERS_MAX {
                return Err(ReadError::Unavailable);
            }
            state.next.push(answer);
            !std::mem::replace(&mut state.running, true)
        };
        if begin {
            self.runtime.spawn(run_rounds(self.clone()));
        }
        match timeout(READ_MAX, confirmed).await {
            Ok(confirmed) => confirmed.unwrap_or(Err(ReadError::Stopped)),
            Err(_) => Err(ReadError::Unavailable),
        }
    }

    /// The index that covers everything committed so far, confirmed by a quorum. Leader only.
    pub(crate) async fn read_index(&self) -> Result<Position, ReadError> {
        if !self.quorum_alive() {
            return Err(ReadError::Unavailable);
        }
        if planted::bug(planted::Bug::ReadIndexWithoutQuorum)
            && let Some(at) = self.seat.state().position
        {
            return Ok(at);
        }
        let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(ROUND_MAX);
        let confirmed = self.engine.get_read_linearizer(option).await;
        match confirmed {
            Ok(linearizer) => Ok(position(linearizer.read_log_id().log_id())),
            Err(error) if error.fatal().is_some() => Err(ReadError::Stopped),
            Err(_) => Err(ReadError::Unavailable),
        }
    }

    async fn round(&self) -> Result<(), ReadError> {
        // Stale knowledge costs a refusal, never a stale answer: the leader asks its quorum.
        let (leader, leads) = {
            let status = self.status.borrow();
            (status.leader, status.is_leader)
        };
        let at = match leader {
            _ if leads => self.read_index().await?,
            Some(leader) => self.ask(leader).await?,
            None => return Err(ReadError::Unavailable),
        };
        let applied = timeout(CATCH_UP_MAX, self.seat.wait_applied(at.index)).await;
        applied.map_err(|_| ReadError::Unavailable)
    }

    async fn ask(&self, leader: NodeId) -> Result<Position, ReadError> {
        let request = codec::encode_call(self.id, Call::ReadIndex);
        let call = self.network.call(leader, request, ROUND_MAX);
        let answer = timeout(ROUND_MAX, call).await.map_err(|_| ReadError::Unavailable)?;
        match answer.map(codec::decode_answer) {
            Ok(Ok(Answer::ReadIndex(at))) => Ok(at),
            _ => Err(ReadError::Unavailable),
        }
    }
}

async fn run_rounds(core: Arc<Core>) {
    loop {
        let readers = {
            let mut state = core.rounds.0.lock();
            if state.next.is_empty() {
                state.running = false;
                return;
            }
            std::mem::take(&mut state.next)
        };
        figures::ROUND_READERS.record(readers.len() as f64);
        let result = core.round().await;
        for reader in readers {
            // Nobody waits any more: then nobody needs to know.
            let _ = reader.send(result.clone());
        }
    }
}

impl ReadError {
    /// A failed read changed nothing.
    pub fn certainty(&self) -> Certainty {
        Certainty::Definite
    }
}
