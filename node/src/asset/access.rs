//! Who may read an asset, judged each time, and how the right spreads: by sending it to a conversation.

use std::collections::BTreeSet;

use chat::{Asset, AssetCommand, AssetId, ConversationId, Refusal, UserId};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use proto::{Problem, ProblemCode};

use super::Assets;
use crate::gateway::problems;
use crate::gateway::propose::{accepted, propose};
use crate::history::Consistency;

/// Shards that are made fresh at a time for one question about a right.
const FRESH_MAX: usize = 64;

impl Assets {
    /// The record of an asset that `who` may read now.
    ///
    /// # Errors
    /// `not_found`, `asset_not_accessible`, or why it cannot be told from here for now.
    pub(crate) async fn readable(
        &self,
        who: &UserId,
        id: AssetId,
        consistency: Consistency,
    ) -> Result<Asset, Problem> {
        let fresh = !matches!(consistency, Consistency::Local);
        if fresh {
            self.freshen(id.slot()).await?;
        }
        let asset = self.record(id)?;
        let asset =
            asset.ok_or_else(|| Problem::new(ProblemCode::NotFound, "there is no such asset"))?;
        if asset.owner == *who || self.takes_part(who, &asset, fresh).await? {
            return Ok(asset);
        }
        Err(Problem::of(ProblemCode::AssetNotAccessible))
    }

    /// Whether `who` is in one of the conversations that the asset was sent to.
    async fn takes_part(&self, who: &UserId, asset: &Asset, fresh: bool) -> Result<bool, Problem> {
        for id in &asset.grants {
            if self.is_member(who, *id)? {
                if fresh {
                    // A removal may have been acknowledged that is not applied here yet.
                    self.freshen(id.slot()).await?;
                }
                if self.is_member(who, *id)? {
                    return Ok(true);
                }
            }
        }
        if !fresh {
            return Ok(false);
        }
        // Somebody may have been added whom this node does not know of yet.
        let slots: BTreeSet<u16> = asset.grants.iter().map(ConversationId::slot).collect();
        let fresh = slots.into_iter().map(|slot| self.freshen(slot));
        futures::stream::iter(fresh).buffer_unordered(FRESH_MAX).try_collect::<()>().await?;
        for id in &asset.grants {
            if self.is_member(who, *id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends assets to a conversation, in the name of `who`, who must be allowed to read each.
    ///
    /// # Errors
    /// `asset_not_accessible` when not, `too_many_grants`, or why it cannot be done from here for now.
    pub(crate) async fn hand_on(
        &self,
        who: &UserId,
        assets: &BTreeSet<AssetId>,
        to: ConversationId,
    ) -> Result<(), Problem> {
        for id in assets {
            if self.record(*id)?.is_some_and(|asset| asset.grants.contains(&to)) {
                continue;
            }
            let asset = self.readable(who, *id, Consistency::Linearizable).await;
            let asset = asset.map_err(not_accessible)?;
            if !asset.grants.contains(&to) {
                self.grant(who, *id, to).await?;
            }
        }
        Ok(())
    }

    async fn grant(&self, who: &UserId, id: AssetId, to: ConversationId) -> Result<(), Problem> {
        let command = AssetCommand::Grant { conversation: to, by: who.clone() };
        let command = proto::encode_asset_command(id, &command);
        let proposed = propose(&self.ports.router, id.slot(), command).await?;
        if proposed.outcome == chat::Outcome::Refused(Refusal::NoSuchAsset) {
            return Err(Problem::of(ProblemCode::AssetNotAccessible));
        }
        accepted(&proposed.outcome)
    }

    pub(super) fn record(&self, id: AssetId) -> Result<Option<Asset>, Problem> {
        self.ports.replica.asset(id).map_err(|error| problems::of_store(&error))
    }

    fn is_member(&self, who: &UserId, id: ConversationId) -> Result<bool, Problem> {
        let member = self.ports.replica.member(id, who);
        Ok(member.map_err(|error| problems::of_store(&error))?.is_some())
    }

    pub(super) async fn freshen(&self, slot: u16) -> Result<(), Problem> {
        self.ports.router.linearize(slot).await.map_err(|error| problems::of_route(&error))
    }
}

/// A sender is told the same of an asset that never was and of one that is somebody else's.
fn not_accessible(problem: Problem) -> Problem {
    match problem.code {
        ProblemCode::NotFound => Problem::of(ProblemCode::AssetNotAccessible),
        _ => problem,
    }
}
