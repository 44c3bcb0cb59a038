//! A network in memory. A node that is down refuses at once; a cut swallows both calls and answers;
//! a delay holds calls back. What each node's detector believes is set by the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream::BoxStream,
};
use raft::{Fatal, Network, NetworkError, NodeId, Raft};

/// The cables between all nodes.
#[derive(Default)]
pub(crate) struct Wire {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rafts: BTreeMap<NodeId, Raft>,
    /// One way: nothing from the first reaches the second.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// The first holds the second for dead.
    dead: BTreeSet<(NodeId, NodeId)>,
    delay: Duration,
    calls: u64,
    snapshots: u64,
}

impl Wire {
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().expect("no test panics with it"))
    }

    pub(crate) fn end(self: &Arc<Self>, me: NodeId) -> Arc<dyn Network> {
        Arc::new(End { me, wire: self.clone() })
    }

    pub(crate) fn plug(&self, node: NodeId, raft: Raft) {
        self.with(|state| state.rafts.insert(node, raft));
    }

    pub(crate) fn unplug(&self, node: NodeId) {
        self.with(|state| state.rafts.remove(&node));
    }

    pub(crate) fn cut(&self, from: NodeId, to: NodeId) {
        self.with(|state| state.cut.insert((from, to)));
    }

    pub(crate) fn heal(&self) {
        self.with(|state| state.cut.clear());
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.with(|state| state.delay = delay);
    }

    pub(crate) fn believe(&self, who: NodeId, of: NodeId, alive: bool) {
        self.with(|state| {
            if alive {
                state.dead.remove(&(who, of));
            } else {
                state.dead.insert((who, of));
            }
        });
    }

    pub(crate) fn snapshots(&self) -> u64 {
        self.with(|state| state.snapshots)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.with(|state| state.calls)
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.with(|state| state.cut.contains(&(from, to)))
    }
}

struct End {
    me: NodeId,
    wire: Arc<Wire>,
}

impl Network for End {
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetworkError>> {
        let (me, wire) = (self.me, self.wire.clone());
        let (raft, delay) = wire.with(|state| {
            state.calls += 1;
            (state.rafts.get(&to).cloned(), state.delay)
        });
        let Some(raft) = raft else {
            return futures::future::ready(Err(NetworkError::Unreachable)).boxed();
        };
        if wire.is_cut(me, to) {
            return async move {
                tokio::time::sleep(deadline).await;
                Err(NetworkError::Timeout)
            }
            .boxed();
        }
        let answer = delay.is_zero().then(|| raft.handle(me, request.clone()));
        async move {
            let answer = match answer {
                Some(answer) => answer,
                None => {
                    tokio::time::sleep(delay).await;
                    raft.handle(me, request)
                }
            };
            let answer = tokio::time::timeout(deadline, answer).await;
            let answer = answer.map_err(|_| NetworkError::Timeout)?;
            if wire.is_cut(to, me) {
                tokio::time::sleep(deadline).await;
                return Err(NetworkError::Timeout);
            }
            answer.map_err(|error| NetworkError::Refused(error.to_string()))
        }
        .boxed()
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, Fatal>>,
    ) -> BoxFuture<'static, Result<Bytes, NetworkError>> {
        let (me, wire) = (self.me, self.wire.clone());
        let raft = wire.with(|state| {
            state.snapshots += 1;
            state.rafts.get(&to).cloned()
        });
        async move {
            let raft = raft.ok_or(NetworkError::Unreachable)?;
            if wire.is_cut(me, to) {
                return Err(NetworkError::Lost);
            }
            let chunks = chunks.map_err(|_| NetworkError::Lost).boxed();
            let answer = raft.receive_snapshot(me, header, chunks).await;
            answer.map_err(|error| NetworkError::Refused(error.to_string()))
        }
        .boxed()
    }

    fn slow(&self, node: NodeId) -> bool {
        let raft = self.wire.with(|state| state.rafts.get(&node).cloned());
        raft.is_some_and(|raft| raft.disk_is_slow())
    }

    fn alive(&self, node: NodeId) -> bool {
        !self.wire.with(|state| state.dead.contains(&(self.me, node)))
    }
}
