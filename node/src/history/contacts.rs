//! Who is a contact of whom: two users who share a conversation. Nothing is kept for it; memberships say it, and a
//! membership that ends takes it along.

use chat::{ConversationId, LinkTo, UserId};
use proto::Problem;
use store::StoreError;

use super::Replica;
use crate::gateway::problems;
use crate::router::Router;

/// Groups looked at before other tasks get their turn.
const SLICE: usize = 64;

/// Whether these two are one, or share a conversation. As here; if they do not here, once more as fresh as the cluster.
///
/// # Errors
/// When that they share none cannot be proven now, or the disk fails.
pub(crate) async fn are(
    replica: &dyn Replica,
    router: &Router,
    one: &UserId,
    other: &UserId,
) -> Result<bool, Problem> {
    let store = |error| problems::of_store(&error);
    if one == other || share(replica, one, other).await.map_err(store)? {
        return Ok(true);
    }
    let direct = ConversationId::direct(one, other);
    for slot in [direct.slot(), one.slot()] {
        router.linearize(slot).await.map_err(|error| problems::of_route(&error))?;
    }
    share(replica, one, other).await.map_err(store)
}

/// Whether these two share a conversation, as here.
///
/// # Errors
/// When the disk fails.
pub(crate) async fn share(
    replica: &dyn Replica,
    one: &UserId,
    other: &UserId,
) -> Result<bool, StoreError> {
    let direct = ConversationId::direct(one, other);
    if replica.member(direct, one)?.is_some() {
        return Ok(true);
    }
    let groups = replica.links(one)?.into_iter();
    let groups = groups.filter(|(_, link)| matches!(link.to, LinkTo::Group(_)));
    for (count, (id, _)) in groups.enumerate() {
        // The list may still name a group that one of them has left.
        if replica.member(id, other)?.is_some() && replica.member(id, one)?.is_some() {
            return Ok(true);
        }
        if count % SLICE == SLICE - 1 {
            tokio::task::yield_now().await;
        }
    }
    Ok(false)
}
