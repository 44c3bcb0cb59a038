//! From errors of the rooms below to problems on the wire.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use proto::{Problem, ProblemCode};
use store::StoreError;

use super::limits::TooFast;
use super::passwords::Busy;
use super::tokens::TokenError;
use crate::router::RouteError;

/// When to come back to a node that is stopping: at once, elsewhere.
const STOPPED_RETRY_AFTER: Duration = Duration::from_millis(50);

/// A command or a fresh read that could not be carried through.
pub(crate) fn of_route(error: &RouteError) -> Problem {
    match error {
        RouteError::Overloaded { retry_after } => {
            Problem::of(ProblemCode::Overloaded).after(*retry_after)
        }
        RouteError::Unavailable { retry_after } => {
            Problem::of(ProblemCode::Unavailable).after(*retry_after)
        }
        RouteError::Unknown => {
            let detail = "the answer was lost; repeating the same request is safe";
            Problem::new(ProblemCode::UnknownOutcome, detail).after(error.retry_after())
        }
        RouteError::Stopped => Problem::new(ProblemCode::Unavailable, "this node is stopping")
            .after(STOPPED_RETRY_AFTER),
    }
}

/// The disk failed: the client learns that, the operator what.
pub(crate) fn of_store(error: &StoreError) -> Problem {
    tracing::error!(%error, "the local replica cannot be read");
    Problem::of(ProblemCode::Internal)
}

/// No session: which of the reasons it was is not the caller's business, except that it expired or ended.
pub(crate) fn of_token(error: TokenError) -> Problem {
    match error {
        TokenError::NoKey => {
            Problem::new(ProblemCode::Unavailable, "the cluster has no signing key yet")
                .after(Duration::from_secs(1))
        }
        TokenError::NoIssuerKeys => Problem::new(
            ProblemCode::Unavailable,
            "the keys of the token's issuer are not known yet",
        )
        .after(Duration::from_secs(1)),
        TokenError::Expired => {
            Problem::new(ProblemCode::Unauthenticated, "the access token has expired")
        }
        TokenError::Malformed | TokenError::UnknownKey | TokenError::BadSignature => {
            Problem::of(ProblemCode::Unauthenticated)
        }
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        Self::new(ProblemCode::Overloaded, "too many sign-ins are waiting").after(busy.retry_after)
    }
}

impl From<TooFast> for Problem {
    fn from(too_fast: TooFast) -> Self {
        Self::of(ProblemCode::RateLimited).after(too_fast.retry_after)
    }
}

/// A problem as an HTTP answer.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        metrics::counter!("synod_problems_total", "code" => problem.code.as_str()).increment(1);
        let status = StatusCode::from_u16(problem.code.status())
            .expect("codes carry legal statuses, which their own test checks");
        let mut answer = (status, problem.to_json()).into_response();
        let headers = answer.headers_mut();
        let media_type = HeaderValue::from_static(Problem::MEDIA_TYPE);
        headers.insert(header::CONTENT_TYPE, media_type);
        if let Some(after) = problem.retry_after {
            // Whole seconds (RFC 9110, 10.2.3), rounded up; the body has the milliseconds.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}
