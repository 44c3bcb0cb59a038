//! The links that stand, at most two: waiting on both at once, reading and writing.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::future::{Either, pending, select};
use std::pin::pin;
use transport::{CloseReason, Link, LinkError, LinkReader, LinkWriter};

use crate::core::LinkId;

/// What happened on a link.
pub(super) enum What {
    Frame(Bytes),
    /// It is over; `None`: the other side closed it properly.
    Ended(Option<LinkError>),
}

#[derive(Default)]
pub(super) struct Slots {
    all: Vec<Slot>,
}

struct Slot {
    id: LinkId,
    reader: LinkReader,
    writer: LinkWriter,
    queue: VecDeque<Bytes>,
    /// The transport has not taken everything yet.
    unsent: bool,
}

impl Slots {
    pub(super) fn insert(&mut self, id: LinkId, link: Link) {
        let Link { reader, writer, .. } = link;
        self.all.push(Slot { id, reader, writer, queue: VecDeque::new(), unsent: false });
    }

    pub(super) fn write(&mut self, id: LinkId, frame: Bytes) {
        if let Some(slot) = self.all.iter_mut().find(|slot| slot.id == id) {
            slot.queue.push_back(frame);
            slot.unsent = true;
        }
    }

    /// Forgets a link that is over. Dropping it frees what the transport holds.
    pub(super) fn remove(&mut self, id: LinkId) {
        self.all.retain(|slot| slot.id != id);
    }

    /// Ends a link without waiting: whoever is at its other end may be dead.
    pub(super) fn close(&mut self, id: LinkId) {
        let Some(place) = self.all.iter().position(|slot| slot.id == id) else { return };
        let mut slot = self.all.swap_remove(place);
        tokio::spawn(async move { slot.writer.close(CloseReason::Normal).await });
    }

    pub(super) async fn close_all(&mut self, reason: CloseReason) {
        for slot in &mut self.all {
            slot.writer.close(reason).await;
        }
        self.all.clear();
    }

    /// The next thing that happens on any link. Cancel-safe. Without `reading` only writing goes on.
    pub(super) async fn next(&mut self, reading: bool) -> (LinkId, What) {
        match self.all.as_mut_slice() {
            [] => pending().await,
            [one] => one.next(reading).await,
            [one, other, ..] => {
                let (one, other) = (pin!(one.next(reading)), pin!(other.next(reading)));
                match select(one, other).await {
                    Either::Left((happened, _)) | Either::Right((happened, _)) => happened,
                }
            }
        }
    }
}

impl Slot {
    async fn next(&mut self, reading: bool) -> (LinkId, What) {
        let id = self.id;
        loop {
            tokio::select! {
                read = self.reader.next(), if reading => {
                    let what = match read {
                        Ok(Some(frame)) => What::Frame(frame),
                        Ok(None) => What::Ended(None),
                        Err(error) => What::Ended(Some(error)),
                    };
                    return (id, what);
                }
                written = self.writer.send(&mut self.queue), if self.unsent => match written {
                    Ok(()) => self.unsent = false,
                    Err(error) => return (id, What::Ended(Some(error))),
                },
                else => pending().await,
            }
        }
    }
}
