//! How certificates are renewed and one authority takes another's place: each step when every node is ready for it.

use super::within;
use crate::{AuthorityKey, ClusterConfig, Event, Held, NodeId, NodeState, Refusal, Rotation};

type Decided = Result<Option<Event>, Refusal>;

/// Authorities that a node may trust at once: the one that signs, and the one before or after it.
const TRUSTED_MAX: usize = 2;

/// A node says what it holds. When it was the last that a change of authority waited for, the next step is taken.
pub(super) fn hold(config: &mut ClusterConfig, node: NodeId, held: &Held) -> Decided {
    config.nodes.get(&node).ok_or(Refusal::NoSuchNode(node))?;
    within((1..=TRUSTED_MAX).contains(&held.trusts.len()), "trusts")?;
    within(held.trusts.is_sorted_by(|a, b| a < b), "trusts")?;
    let trust = &mut config.door.trust;
    if trust.held.get(&node) == Some(held) {
        // Whoever it waited for may have been forgotten meanwhile.
        return Ok(advance(config));
    }
    trust.held.insert(node, held.clone());
    trust.asked.retain(|id, asked| *id != node || *asked > held.issued_at_ms);
    let expires_at_ms = held.expires_at_ms;
    Ok(advance(config).or(Some(Event::CertificateHeld { node, expires_at_ms })))
}

/// A node should get a new certificate.
pub(super) fn renew(config: &mut ClusterConfig, at_ms: u64, node: NodeId) -> Decided {
    config.nodes.get(&node).ok_or(Refusal::NoSuchNode(node))?;
    must_hold(config, node)?;
    config.door.trust.asked.insert(node, at_ms);
    Ok(Some(Event::RenewalAsked { node }))
}

/// Another authority shall take the present one's place. Refused while anybody could be left behind: a node that is away
/// would come back and trust nobody who speaks to it.
pub(super) fn rotate(config: &mut ClusterConfig, next: &AuthorityKey) -> Decided {
    within(next.is_within_bounds(), "authority")?;
    let authority = config.door.authority.as_ref().ok_or(Refusal::NoAuthority)?;
    within(next.certificate != authority.certificate, "authority")?;
    none_under_way(config)?;
    for (id, node) in &config.nodes {
        if matches!(node.state, NodeState::Joining | NodeState::Lost) {
            let why = format!("it is {}", node.state.as_str());
            return Err(Refusal::NotYetAll { node: *id, why });
        }
        must_hold(config, *id)?;
    }
    // They pin the old one: whoever came by them would trust nobody.
    config.door.join_tokens.clear();
    config.door.trust.rotation = Some(Rotation::Spreading { next: next.clone() });
    Ok(Some(Event::RotationBegun))
}

/// Nobody comes in while the authority changes: a token and a certificate would speak of two.
pub(super) fn none_under_way(config: &ClusterConfig) -> Result<(), Refusal> {
    match config.door.trust.rotation {
        None => Ok(()),
        Some(_) => Err(Refusal::RotationUnderWay),
    }
}

fn must_hold(config: &ClusterConfig, node: NodeId) -> Result<(), Refusal> {
    if config.door.trust.held.contains_key(&node) {
        return Ok(());
    }
    let why = "its certificates come from files of its own, or it has not said yet which it holds";
    Err(Refusal::NotYetAll { node, why: why.to_owned() })
}

/// A node that is forgotten holds nobody up: the next one that says what it holds takes the step.
pub(super) fn forget(config: &mut ClusterConfig, node: NodeId) {
    config.door.trust.held.remove(&node);
    config.door.trust.asked.remove(&node);
}

/// Takes the next step, if no node holds it up.
fn advance(config: &mut ClusterConfig) -> Option<Event> {
    if !config.rotation_waits_for().is_empty() {
        return None;
    }
    let trust = &mut config.door.trust;
    match trust.rotation.take()? {
        Rotation::Spreading { next } => {
            let before = config.door.authority.replace(next);
            let old = before.expect("there was one when it began").certificate;
            trust.generation += 1;
            trust.rotation = Some(Rotation::Issuing { old });
            Some(Event::AuthorityChanged { generation: trust.generation })
        }
        Rotation::Issuing { .. } => Some(Event::RotationEnded { generation: trust.generation }),
    }
}
