//! The bytes of an asset in order, from this disk, or from whoever has them when it does not.

use std::ops::Range;

use bytes::Bytes;
use chat::{Asset, AssetId, Holder};
use futures::stream::{BoxStream, StreamExt as _};
use store::blobs::Blob;

use super::{Assets, PIECE_BYTES};

/// Nobody who should have the bytes gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no node that has this asset can be reached")]
pub(crate) struct NobodyHasIt;

/// A stream of pieces.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes, NobodyHasIt>>;

/// Where a reader is.
struct Reading {
    assets: Assets,
    id: AssetId,
    blob: Option<Blob>,
    /// Nodes to ask, the ones that are alive first.
    others: Vec<u64>,
    range: Range<u64>,
}

impl Assets {
    /// The bytes in `range`, which lies inside the asset. The first piece is read before this returns, so that
    /// whoever answers a request knows whether it can be answered.
    ///
    /// # Errors
    /// When nobody has them.
    pub(crate) async fn pieces(
        &self,
        id: AssetId,
        asset: &Asset,
        range: Range<u64>,
    ) -> Result<Pieces, NobodyHasIt> {
        assert!(range.start <= range.end && range.end <= asset.size, "{range:?} lies inside");
        let blob = self.ports.local.open(id).await.ok().flatten();
        if blob.is_none() && asset.holders.contains(&Holder::STORE) {
            return self.stored(id, range).await;
        }
        let others = self.others(id, asset);
        let reading = Reading { assets: self.clone(), id, blob, others, range: range.clone() };
        let mut pieces = reading.stream();
        match pieces.next().await {
            None => Ok(pieces),
            Some(Err(nobody)) => Err(nobody),
            Some(first) => Ok(futures::stream::iter([first]).chain(pieces).boxed()),
        }
    }

    /// All bytes of an asset as the other nodes have them.
    pub(super) fn elsewhere(&self, id: AssetId, asset: &Asset) -> Pieces {
        let (assets, others, range) = (self.clone(), self.others(id, asset), 0..asset.size);
        Reading { assets, id, blob: None, others, range }.stream()
    }

    /// The other nodes that may have the bytes: those that said so, then those that ought to.
    fn others(&self, id: AssetId, asset: &Asset) -> Vec<u64> {
        let mut others: Vec<u64> = asset.holders.iter().map(|holder| holder.0).collect();
        for node in (self.ports.placement)(id.slot()) {
            if !others.contains(&node) {
                others.push(node);
            }
        }
        others.retain(|node| *node != self.ports.node && *node != Holder::STORE.0);
        others.sort_by_key(|node| !self.ports.peers.alive(*node));
        others
    }
}

impl Reading {
    fn stream(self) -> Pieces {
        let steps = futures::stream::unfold(Some(self), |reading| async move {
            let reading = reading.filter(|reading| !reading.range.is_empty())?;
            Some(match reading.step().await {
                Some((piece, reading)) => (Ok(piece), Some(reading)),
                None => (Err(NobodyHasIt), None),
            })
        });
        steps.boxed()
    }

    /// The next piece; `None` when nobody has it.
    async fn step(mut self) -> Option<(Bytes, Self)> {
        let left = self.range.end - self.range.start;
        let up_to = |max: usize| usize::try_from(left).unwrap_or(max).min(max);
        if let Some(blob) = &self.blob {
            let local = &self.assets.ports.local;
            match local.read(blob, self.range.start, up_to(PIECE_BYTES)).await {
                Some(piece) => return Some(self.advance(piece)),
                None => {
                    self.assets.suspect(self.id);
                    self.blob = None;
                }
            }
        }
        // No larger than a batch of the forward lane, where proposals travel, too.
        let length = up_to(PIECE_BYTES);
        // Each node is given up after one failure, so this ends.
        while let Some(node) = self.others.first().copied() {
            let peers = &self.assets.ports.peers;
            let asked = peers.asset_piece(node, self.id, self.range.start, length).await;
            match asked.filter(|piece| piece.len() == length) {
                Some(piece) => return Some(self.advance(piece)),
                None => {
                    self.others.remove(0);
                }
            }
        }
        None
    }

    fn advance(mut self, piece: Bytes) -> (Bytes, Self) {
        self.range.start += piece.len() as u64;
        (piece, self)
    }
}
