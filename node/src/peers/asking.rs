//! What nodes ask each other beside commands and bytes: how they began, what they speak, and what their replicas come to.
//! Whoever is of an older release does not know the newest question, and refuses it.

use std::time::Duration;

use cluster_config::{FeatureLevel, RELEASE_BYTES_MAX};
use prost::Message as _;
use proto::peer::{self, ForwardRequest, ForwardResponse, forward_request, forward_response};
use transport::peer::{Lane, PeerError};

use super::{PRESENCE_DEADLINE, Peers};
use crate::upgrade::Spoken;

/// How long another node may take to say how far it is with a digest.
const DIGEST_DEADLINE: Duration = Duration::from_secs(2);

/// Forming.
impl Peers {
    /// Asks `node` whether group 0 has begun to decide there. `None` when it does not answer in time.
    pub(crate) async fn founded(&self, node: u64) -> Option<bool> {
        self.beginning(node).await.map(|answer| answer.founded)
    }

    /// Asks `node` what it speaks. `None` when it does not answer in time.
    pub(crate) async fn spoken(&self, node: u64) -> Option<Spoken> {
        let answer = self.beginning(node).await?;
        // Whoever leaves it out is of a release that had but one.
        let level = |said: u32| FeatureLevel(said.max(FeatureLevel::FIRST.0));
        let (min, max) = (level(answer.speaks_min), level(answer.speaks_max));
        let fits = answer.release.len() <= RELEASE_BYTES_MAX;
        let release = if fits { answer.release } else { String::new() };
        Some(Spoken { min, max, release })
    }

    async fn beginning(&self, node: u64) -> Option<peer::FoundedAnswer> {
        let plane = self.plane.get()?;
        let request = forward_request::Request::Founded(peer::FoundedQuery {});
        let request = ForwardRequest { request: Some(request) }.encode_to_vec().into();
        let call = plane.call(node, Lane::Forward, request, PRESENCE_DEADLINE);
        match ForwardResponse::decode(call.await.ok()?).ok()?.response? {
            forward_response::Response::Founded(answer) => Some(answer),
            _ => None,
        }
    }
}

/// Whether replicas are the same.
impl Peers {
    /// Asks `node` for the digest of a group's state. Otherwise why it cannot say; nothing when it may yet.
    pub(crate) async fn digest(
        &self,
        node: u64,
        query: peer::DigestQuery,
    ) -> Result<peer::DigestAnswer, Option<String>> {
        let plane = self.plane.get().ok_or(None)?;
        let request = ForwardRequest { request: Some(forward_request::Request::Digest(query)) };
        let request = request.encode_to_vec().into();
        let answer = match plane.call(node, Lane::Forward, request, DIGEST_DEADLINE).await {
            Ok(answer) => answer,
            // Of an older release, which does not know the question, above all.
            Err(PeerError::Refused(code)) => return Err(Some(format!("it refuses: {code}"))),
            Err(PeerError::Unreachable | PeerError::Lost | PeerError::Timeout) => return Err(None),
        };
        match ForwardResponse::decode(answer).ok().and_then(|answer| answer.response) {
            Some(forward_response::Response::Digest(answer)) => Ok(answer),
            _ => Err(Some("what it says is no digest".to_owned())),
        }
    }

    /// Tells `node` what came of a comparison.
    pub(crate) async fn compared(&self, node: u64, compared: &peer::Compared) {
        let Some(plane) = self.plane.get() else { return };
        let compared = forward_request::Request::Compared(compared.clone());
        let request = ForwardRequest { request: Some(compared) }.encode_to_vec().into();
        let _ = plane.call(node, Lane::Forward, request, DIGEST_DEADLINE).await;
    }
}
