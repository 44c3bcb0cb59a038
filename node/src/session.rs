//! Stations 3 (converse) and 10 (deliver): one device's presence above one link.
//!
//! [`core`] decides without IO, [`face`] translates, [`driver`] is the one task of a link that carries bytes and
//! waits. What a message means is decided in `chat`; where it goes, by the router.

mod confirms;
mod core;
mod deliveries;
mod driver;
mod face;
mod freshness;
mod leaving;
mod line;
mod open;
mod sends;
mod typing;
pub(crate) mod words;

pub(crate) use core::NoOutcome;
pub(crate) use leaving::Leaving;

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use transport::{Encoding, Link, OnLink};

use crate::clock::Clock;
use crate::gateway::Parts;
use crate::history::Replica;

/// Where else clients may go when this node stops: addresses of the client plane.
pub(crate) type Elsewhere = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Makes a session of each link.
#[derive(Clone)]
pub(crate) struct Sessions {
    parts: Arc<Parts>,
    elsewhere: Elsewhere,
    leaving: Leaving,
    stop: CancellationToken,
}

impl Sessions {
    /// Sessions over `parts`; when `stop` is cancelled, each link is told of `elsewhere` and closed. While `leaving` says
    /// so, each is told at a moment of its own, and has time to go.
    pub(crate) fn new(
        parts: Arc<Parts>,
        elsewhere: Elsewhere,
        leaving: Leaving,
        stop: CancellationToken,
    ) -> Self {
        Self { parts, elsewhere, leaving, stop }
    }

    /// What the client plane does with each link. The future ends when the link has.
    pub(crate) fn on_link(&self) -> OnLink {
        let sessions = self.clone();
        Arc::new(move |link| {
            let sessions = sessions.clone();
            Box::pin(async move { sessions.serve(link).await })
        })
    }

    async fn serve(&self, link: Link) {
        let links = metrics::gauge!("synod_links", "kind" => link.kind.name());
        links.increment(1.0);
        let parts = Arc::clone(&self.parts);
        let ways = driver::Ways {
            elsewhere: Arc::clone(&self.elsewhere),
            leaving: self.leaving.clone(),
            stop: self.stop.clone(),
        };
        driver::run(link, parts, ways).await;
        links.decrement(1.0);
    }
}

/// Reads one frame as a link would, and does nothing with it: for tests that throw bytes.
pub(crate) fn hear(
    encoding: Encoding,
    clock: Arc<dyn Clock>,
    replica: Arc<dyn Replica>,
    frame: Bytes,
) {
    let mut asks = Vec::new();
    let _ = face::Face::new(encoding, 1, clock, replica).hear(frame, &mut asks);
}

#[cfg(test)]
mod tests;
