//! Counts each call against what its address, its user and its device may do, and tells the client how it stands
//! (draft-ietf-httpapi-ratelimit-headers-10).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use proto::Problem;
use tokio::time::Instant;

use super::Parts;
use super::limits::{Class, Told};
use super::problems::Failure;
use super::tokens::Identity;
use crate::config::Rate;
use crate::figures::CallFigures;

const POLICY: &str = "ratelimit-policy";
const STANDING: &str = "ratelimit";

/// What one call was counted against. Goes with the request to whoever learns who calls.
#[derive(Clone)]
pub(super) struct Meter {
    class: Class,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Meter {
    /// Counts the call against its user and device.
    ///
    /// # Errors
    /// When either has spent its allowance.
    pub(super) fn caller(&self, parts: &Parts, who: &Identity) -> Result<(), Problem> {
        let told = parts.limits.caller(Instant::now(), self.class, who);
        let mut all = self.told.lock();
        for told in told.into_iter().flatten() {
            all.push(told);
            told.left?;
        }
        Ok(())
    }
}

/// Around every call.
pub(super) async fn meter(
    State((parts, class, figures)): State<(Arc<Parts>, Class, Arc<CallFigures>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = from.map(|ConnectInfo(address)| address.ip());
    let told = parts.limits.address(begun, class, address);
    let meter = Meter { class, told: Arc::new(Mutex::new(vec![told])) };
    let mut response = match told.left {
        Ok(_) => {
            request.extensions_mut().insert(meter.clone());
            next.run(request).await
        }
        Err(too_fast) => Failure(Problem::from(too_fast)).into_response(),
    };
    figures.answered(response.status().as_u16(), begun.elapsed().as_secs_f64());
    let told = meter.told.lock();
    write(response.headers_mut(), &told);
    response
}

/// All policies that applied, and the allowance of which least is left.
fn write(headers: &mut HeaderMap, told: &[Told]) {
    let policies: Vec<String> = told.iter().map(policy).collect();
    let share = |told: &Told| match told.left {
        Ok(left) => left.count.saturating_mul(1 << 20) / u64::from(told.rate.burst),
        Err(_) => 0,
    };
    let Some(least) = told.iter().min_by_key(|told| share(told)) else { return };
    for (name, value) in [(POLICY, policies.join(", ")), (STANDING, standing(least))] {
        let value = HeaderValue::from_str(&value).expect("names and numbers are ASCII");
        headers.insert(name, value);
    }
}

/// So many in the time in which all of them come back.
fn policy(told: &Told) -> String {
    let Rate { per_second, burst } = told.rate;
    format!("\"{}\";q={burst};w={}", told.name, burst.div_ceil(per_second))
}

fn standing(told: &Told) -> String {
    let (count, wait) = match told.left {
        Ok(left) => (left.count, left.full_in),
        Err(too_fast) => (0, too_fast.retry_after),
    };
    format!("\"{}\";r={count};t={}", told.name, seconds(wait))
}

fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
