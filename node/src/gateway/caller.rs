//! Who calls: the bearer of an access token whose session exists, and from which address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts as RequestParts;
use proto::{Problem, ProblemCode};

use super::Parts;
use super::meter::Meter;
use super::problems::Failure;
use super::tokens::Identity;

/// An authenticated caller.
pub(super) struct Caller(pub(super) Identity);

impl FromRequestParts<Arc<Parts>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(
        request: &mut RequestParts,
        parts: &Arc<Parts>,
    ) -> Result<Self, Failure> {
        let token = bearer(request).ok_or_else(|| Problem::of(ProblemCode::Unauthenticated))?;
        let claimed = parts.claimed(token).await?;
        parts.settle(&claimed).await?;
        let who = claimed.who().clone();
        if let Some(meter) = request.extensions.get::<Meter>() {
            meter.caller(parts, &who)?;
        }
        Ok(Self(who))
    }
}

/// The token of an `Authorization: Bearer` header; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(request: &RequestParts) -> Option<&str> {
    let value = request.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Where a request came from, if the client plane said so.
pub(super) struct Address(pub(super) Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        request: &mut RequestParts,
        _state: &S,
    ) -> Result<Self, Self::Rejection> {
        let from = request.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(from.map(|ConnectInfo(address)| address.ip())))
    }
}
