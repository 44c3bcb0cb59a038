//! By which certificates nodes know each other: what each of them holds, and how one authority takes another's place.
//!
//! A change of authority has two steps, and the cluster takes each when every node has said that it is where the step wants
//! it. First everybody trusts both; then the new one signs, and everybody gets a certificate of it; then the old one is
//! dropped. At no moment does anybody show what somebody else does not trust. Generations count authorities from 0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::door::AUTHORITY_BYTES_MAX;
use crate::{AuthorityKey, ClusterConfig, Door, NodeId};

/// What a node says of the certificates that it shows and trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Generation of the authority that signed what it shows.
    pub issuer: u32,
    /// Generations of the authorities that it trusts, ascending.
    pub trusts: Vec<u32>,
    /// Milliseconds since 1970.
    pub issued_at_ms: u64,
    /// Milliseconds since 1970.
    pub expires_at_ms: u64,
}

/// A change of authority that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// Every node learns to trust the next one, which signs nothing yet.
    Spreading {
        /// What will sign.
        next: AuthorityKey,
    },
    /// The next one has become the authority; every node gets a certificate of it.
    Issuing {
        /// Certificate of the one before, PEM; trusted until the end.
        old: String,
    },
}

/// Everything about certificates but the authority itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trust {
    /// Authorities before the present one.
    #[serde(skip_serializing_if = "is_first")]
    pub generation: u32,
    /// What each node holds. Nodes whose certificates come from files of their own are not here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<NodeId, Held>,
    /// Who was asked for a new certificate, and when, milliseconds since 1970.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<NodeId, u64>,
    /// A change of authority that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_first(generation: &u32) -> bool {
    *generation == 0
}

impl Trust {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn is_within_bounds(&self) -> bool {
        match &self.rotation {
            Some(Rotation::Spreading { next }) => next.is_within_bounds(),
            Some(Rotation::Issuing { old }) => old.len() <= AUTHORITY_BYTES_MAX,
            None => true,
        }
    }
}

impl Door {
    /// The authorities that nodes trust now: generation and certificate, ascending.
    pub fn trusted(&self) -> Vec<(u32, &str)> {
        let Some(authority) = &self.authority else { return Vec::new() };
        let (now, signs) = (self.trust.generation, authority.certificate.as_str());
        match &self.trust.rotation {
            None => vec![(now, signs)],
            Some(Rotation::Spreading { next }) => {
                vec![(now, signs), (now + 1, next.certificate.as_str())]
            }
            Some(Rotation::Issuing { old }) => vec![(now - 1, old.as_str()), (now, signs)],
        }
    }
}

impl ClusterConfig {
    /// The nodes for which the step under way waits; empty when none is.
    pub fn rotation_waits_for(&self) -> Vec<NodeId> {
        let trust = &self.door.trust;
        let is_there = |held: &Held| match &trust.rotation {
            None => true,
            Some(Rotation::Spreading { .. }) => held.trusts.contains(&(trust.generation + 1)),
            Some(Rotation::Issuing { .. }) => held.issuer == trust.generation,
        };
        if trust.rotation.is_none() {
            return Vec::new();
        }
        let waits = |id: &NodeId| !trust.held.get(id).is_some_and(is_there);
        self.nodes.keys().copied().filter(waits).collect()
    }
}
