//! A snapshot that arrives: checked chunk by chunk, staged beside the running state, and handed to the
//! engine only when it is whole and does not contradict what this replica knows. What the engine would
//! answer with a panic is refused before.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use tokio::time::timeout;

use crate::{
    Error, NetworkError, NodeId,
    codec::{self, Chunk, SnapshotHead},
    core::Core,
    driver::ShardSnapshot,
    seat::Seat,
    types::Snapshot,
};

/// How long the sender may be silent between two chunks.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Chunks as the bulk lane delivers them.
pub(crate) type Chunks = BoxStream<'static, Result<Bytes, NetworkError>>;

impl Core {
    /// Receives, installs and answers with this replica's vote.
    pub(crate) async fn receive(
        self: Arc<Self>,
        from: NodeId,
        head: SnapshotHead,
        chunks: Chunks,
    ) -> Result<Bytes, Error> {
        if head.vote.leader_id().node_id != from.0 {
            return Err(Error::Refused(format!("node {from} sends another leader's snapshot")));
        }
        let view = self.view();
        if view.vote > head.vote {
            // Somebody else leads by now; the sender learns it from this.
            return Ok(codec::encode_vote(&view.vote));
        }
        self.check(&head).await?;
        let number = self.seat.begin_staging().await?;
        self.seat.stage_all(number, chunks).await?;
        // From here on no newer transfer may touch the staged rows.
        let _guard = self.seat.installing.lock().await;
        self.seat.check_staging(number)?;
        self.check(&head).await?;
        let snapshot = Snapshot { meta: head.meta(), snapshot: ShardSnapshot::Staged(number) };
        let answer = self.engine.install_full_snapshot(head.vote, snapshot).await;
        let answer = answer.map_err(|_| Error::Stopped)?;
        metrics::counter!("raft_snapshots_received_total").increment(1);
        Ok(codec::encode_vote(&answer.vote))
    }

    /// Refuses a snapshot that stands beyond what is committed here but at no later index: one of the
    /// two histories is foreign.
    async fn check(&self, head: &SnapshotHead) -> Result<(), Error> {
        let committed = self.engine.with_raft_state(|state| state.local_committed().copied());
        let committed = committed.await.map_err(|_| Error::Stopped)?;
        let foreign = |committed| head.last > committed && head.last.index <= committed.index;
        if committed.is_some_and(foreign) {
            return Err(Error::Refused("the snapshot contradicts what is committed here".into()));
        }
        Ok(())
    }
}

impl Seat {
    /// Stages all rows of a foreign state.
    pub(crate) async fn stage_all(&self, number: u64, mut chunks: Chunks) -> Result<(), Error> {
        let mut received = 0;
        loop {
            let chunk = timeout(SILENCE_MAX, chunks.next()).await;
            let chunk = chunk.map_err(|_| Error::Network(NetworkError::Timeout))?;
            let chunk = chunk.unwrap_or(Err(NetworkError::Lost))?;
            match codec::decode_chunk(chunk)? {
                Chunk::Rows(rows) => {
                    received += rows.len() as u64;
                    self.stage(number, rows)?;
                }
                Chunk::End(sent) if sent == received => return Ok(()),
                Chunk::End(sent) => {
                    return Err(Error::Refused(format!("{received} of {sent} rows arrived")));
                }
            }
        }
    }
}
