//! The dialling end: keeps one link to one peer and lane, for as long as the peer is known.
//!
//! One task per link: it dials, opens the lane's stream, then reads answers until the link ends.
//! What is sent is pulled by the connection itself (see `calls`). It never resends a call.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use proto::peer::Batch;
use rustls::ClientConfig;
use tokio::{net::TcpStream, sync::watch, time::Instant};
use tonic::{Streaming, transport::Channel};

use super::{
    Lane, LinkFailure,
    calls::{Life, Requests},
    detector::Detector,
    disk::SaidDisk,
    gate::Gated,
    identity,
    limits::{BACKOFF_MAX, BACKOFF_MIN, DIAL_PATIENCE, LINK_LIFE_MIN},
    pace::Pace,
    peers::Peer,
    service,
};

/// What every link of this node shares.
pub(super) struct Dialler {
    pub(super) cluster: String,
    /// What the next handshake shows and trusts.
    pub(super) tls: RwLock<Arc<ClientConfig>>,
    pub(super) detector: Arc<Detector>,
    pub(super) heartbeat: Duration,
    pub(super) dead_after: Duration,
    /// How this node's disk is: its requests say so.
    pub(super) disk: Arc<SaidDisk>,
}

impl Dialler {
    fn life(&self) -> Life {
        Life { heartbeat: self.heartbeat, disk: self.disk.clone() }
    }
}

/// Keeps the link up until the peer's token is cancelled.
pub(super) async fn keep(dialler: Arc<Dialler>, peer: Arc<Peer>, lane: Lane) {
    let stop = peer.stop.clone();
    let link = Link { dialler, peer, lane };
    tokio::select! {
        () = stop.cancelled() => {}
        () = link.run() => {}
    }
    link.peer.line(lane).down();
}

struct Link {
    dialler: Arc<Dialler>,
    peer: Arc<Peer>,
    lane: Lane,
}

impl Link {
    async fn run(&self) {
        let mut pause = BACKOFF_MIN;
        // The link stood until just now: whether the next dial succeeds is evidence.
        let mut just_lost = false;
        loop {
            // From before the link is opened: no death goes unnoticed.
            let deaths = self.peer.pulse.deaths();
            match self.open().await {
                Ok(answers) => {
                    self.note(None);
                    let since = Instant::now();
                    let failure = self.read(answers, deaths).await;
                    self.peer.line(self.lane).down();
                    self.note(Some(failure));
                    just_lost = true;
                    if since.elapsed() >= LINK_LIFE_MIN {
                        pause = BACKOFF_MIN;
                        continue;
                    }
                }
                Err(failure) => {
                    if just_lost && self.lane == Lane::Raft && failure != LinkFailure::Hung {
                        self.dialler.detector.lost(&self.peer);
                    }
                    just_lost = false;
                    self.note(Some(failure));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    fn note(&self, failure: Option<LinkFailure>) {
        let (peer, lane) = (self.peer.node, self.lane.name());
        metrics::gauge!("synod_peer_link_up", "peer" => peer.to_string(), "lane" => lane)
            .set(if failure.is_none() { 1.0 } else { 0.0 });
        if self.peer.note(self.lane, failure.clone()) {
            match failure {
                None => tracing::info!(peer, lane, "link is up"),
                Some(failure) => tracing::info!(peer, lane, %failure, "link is down"),
            }
        }
    }

    /// From nothing to the peer's first answer on the lane.
    async fn open(&self) -> Result<Streaming<Batch>, LinkFailure> {
        // A shut gate is a network that swallows everything: nothing is even tried.
        self.peer.gate.open().await;
        let opening = async {
            let channel = self.dial().await?;
            let line = self.peer.line(self.lane);
            let number = line.renew();
            let life = (self.lane == Lane::Raft).then(|| self.dialler.life());
            let requests = Requests::new(line.clone(), number, life);
            let answers = service::exchange(channel.clone(), self.lane, requests)
                .await
                .map_err(|status| failure_of(&status))?;
            // Held for dead while it was opened: that was another life of the peer.
            line.up(number, channel).then_some(answers).ok_or(LinkFailure::Silent)
        };
        tokio::time::timeout(DIAL_PATIENCE, opening).await.unwrap_or(Err(LinkFailure::Hung))
    }

    async fn dial(&self) -> Result<Channel, LinkFailure> {
        let connect = |e: std::io::Error| LinkFailure::Connect(e.to_string());
        let address = self.peer.address.lock().clone();
        let stream = TcpStream::connect(address).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let stream = Gated::new(stream, Some(self.peer.gate.clone()));
        let name = identity::server_name(self.peer.node, &self.dialler.cluster)
            .ok_or_else(|| LinkFailure::Certificate("the peer's name is not a host name".into()))?;
        let tls = self.dialler.tls.read().clone();
        let tls = tokio_rustls::TlsConnector::from(tls)
            .connect(name, stream)
            .await
            .map_err(|e| tls_failure(&e).unwrap_or_else(|| LinkFailure::Broken(e.to_string())))?;
        service::channel(tls, self.lane).await.map_err(|e| failure_of(&e))
    }

    /// Reads answers until the link ends, and says why it did.
    async fn read(
        &self,
        mut answers: Streaming<Batch>,
        mut deaths: watch::Receiver<u64>,
    ) -> LinkFailure {
        let line = self.peer.line(self.lane);
        // Only the raft lane promises signs of life; the others are pinged by h2.
        let mut silence = (self.lane == Lane::Raft).then(|| Pace::new(self.dialler.dead_after * 2));
        loop {
            let silent = std::future::poll_fn(|cx| match &mut silence {
                Some(pace) => pace.poll_due(cx),
                None => std::task::Poll::Pending,
            });
            let next = tokio::select! {
                biased;
                next = answers.message() => next,
                _ = deaths.changed() => return LinkFailure::Silent,
                () = silent => return LinkFailure::Silent,
            };
            match next {
                Ok(Some(batch)) => {
                    if let Some(pace) = &mut silence {
                        pace.touch();
                    }
                    self.dialler.detector.heard(&self.peer);
                    line.answer(batch);
                }
                Ok(None) => return LinkFailure::Broken("the peer ended the stream".into()),
                Err(status) => return failure_of(&status),
            }
        }
    }
}

/// Finds the reason of a failed connection beneath the layers that wrapped it.
fn failure_of(error: &(dyn std::error::Error + 'static)) -> LinkFailure {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && let Some(failure) = tls_failure(io)
        {
            return failure;
        }
        cause = error.source();
    }
    LinkFailure::Broken(error.to_string())
}

fn tls_failure(error: &std::io::Error) -> Option<LinkFailure> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(LinkFailure::Certificate(tls.to_string()))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_tls_alert_is_found_beneath_the_layers_that_wrapped_it() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, alert);
        let status = tonic::Status::from_error(Box::new(io));
        assert!(matches!(failure_of(&status), LinkFailure::Certificate(_)));
        let other = tonic::Status::unavailable("gone");
        assert!(other.source().is_none());
        assert!(matches!(failure_of(&other), LinkFailure::Broken(_)));
    }
}
