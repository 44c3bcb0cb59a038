//! Looking for somebody here first and, when they are not here, once more as fresh as the cluster is.
//!
//! Users are never deleted, so what the local replica has is true; only absence has to be proven.

use chat::{DeviceId, UserId};
use proto::Problem;
use proto::row::Account;

use super::Replica;
use crate::gateway::problems;
use crate::router::Router;

/// The account of `user`, or proof that there is none.
///
/// # Errors
/// When absence cannot be proven now, or the disk fails.
pub(crate) async fn account(
    replica: &dyn Replica,
    router: &Router,
    user: &UserId,
) -> Result<Option<Account>, Problem> {
    let here = replica.user(user).map_err(|error| problems::of_store(&error))?;
    if here.is_some() {
        return Ok(here);
    }
    router.linearize(user.slot()).await.map_err(|error| problems::of_route(&error))?;
    replica.user(user).map_err(|error| problems::of_store(&error))
}

/// Whether the session of this device exists. A session that ended elsewhere is gone here as soon as that is applied.
///
/// # Errors
/// When absence cannot be proven now, or the disk fails.
pub(crate) async fn seen(
    replica: &dyn Replica,
    router: &Router,
    user: &UserId,
    device: DeviceId,
) -> Result<bool, Problem> {
    if replica.device(user, device).map_err(|error| problems::of_store(&error))?.is_some() {
        return Ok(true);
    }
    router.linearize(user.slot()).await.map_err(|error| problems::of_route(&error))?;
    Ok(replica.device(user, device).map_err(|error| problems::of_store(&error))?.is_some())
}
