//! How nodes and operators come in. Time arrives with the command; a right that has expired is as good as none.

use super::{is_name, out_of_bounds, within};
use crate::door::{CLAIMS_MAX, JOIN_TOKEN_USES_MAX, JOIN_TOKENS_MAX, OPERATORS_MAX};
use crate::{
    Claim, ClusterConfig, Event, FeatureLevel, Fingerprint, Founder, JoinToken, Node, NodeId,
    NodeState, Operator, Refusal, config::NODES_MAX,
};

type Decided = Result<Option<Event>, Refusal>;

/// Forgets what has expired; called only when something is accepted, since a refusal writes nothing.
fn sweep(config: &mut ClusterConfig, at_ms: u64) {
    config.door.join_tokens.retain(|token| token.expires_at_ms > at_ms);
    config.door.claims.retain(|claim| claim.expires_at_ms > at_ms);
}

/// `None`: that token is known already.
pub(super) fn add_join_token(config: &mut ClusterConfig, at_ms: u64, token: &JoinToken) -> Decided {
    within((1..=JOIN_TOKEN_USES_MAX).contains(&token.uses), "uses")?;
    within(token.expires_at_ms > at_ms, "expires_at_ms")?;
    super::trusting::none_under_way(config)?;
    if config.door.authority.is_none() {
        return Err(Refusal::NoAuthority);
    }
    if let Some(replaced) = token.replaces {
        within(token.uses == 1, "uses")?;
        config.nodes.get(&replaced).ok_or(Refusal::NoSuchNode(replaced))?;
    }
    let good = || config.door.join_tokens.iter().filter(|known| known.expires_at_ms > at_ms);
    if good().any(|known| known == token) {
        return Ok(None);
    }
    within(good().count() < JOIN_TOKENS_MAX, "join tokens")?;
    within(good().all(|known| known.secret != token.secret), "secret")?;
    sweep(config, at_ms);
    config.door.join_tokens.push(token.clone());
    Ok(Some(Event::JoinTokenAdded { uses: token.uses, replaces: token.replaces }))
}

/// Lets a node in. Who comes again with the same identity, because the answer was lost, is in already.
pub(super) fn admit(
    config: &mut ClusterConfig,
    at_ms: u64,
    (secret, identity): (Fingerprint, Fingerprint),
    wish: &Founder,
    speaks: FeatureLevel,
) -> Decided {
    super::check_founder(wish)?;
    if config.node_of(identity).is_some() {
        return Ok(None);
    }
    if let Some(raised) = config.raised.as_ref().filter(|raised| raised.level > speaks) {
        let (level, release) = (raised.level, raised.release.clone());
        return Err(Refusal::SpeaksTooLittle { level, speaks, release });
    }
    super::trusting::none_under_way(config)?;
    let good = |token: &JoinToken| token.secret == secret && token.expires_at_ms > at_ms;
    let place = config.door.join_tokens.iter().position(good);
    let place = place.ok_or(Refusal::NoSuchJoinToken)?;
    within(config.nodes.len() < NODES_MAX, "nodes")?;
    let replaces = config.door.join_tokens[place].replaces;
    let mut node = Node {
        addresses: wish.addresses.clone(),
        zone: wish.zone.clone(),
        weight: wish.weight,
        state: NodeState::Joining,
        identity: Some(identity),
    };
    if let Some(old) = replaces {
        let known = config.nodes.get_mut(&old).ok_or(Refusal::NoSuchNode(old))?;
        (node.zone, node.weight) = (known.zone.clone(), known.weight);
        known.state = NodeState::Leaving;
    }
    let token = &mut config.door.join_tokens[place];
    token.uses -= 1;
    if token.uses == 0 {
        config.door.join_tokens.remove(place);
    }
    let id = config.next_node();
    config.last_node = id;
    assert!(config.nodes.insert(id, node).is_none(), "an id is given once");
    Ok(Some(Event::NodeAdmitted { node: id, replaces }))
}

/// A node that was named at the founding says by which key it is known; another disk under its id is then refused.
pub(super) fn introduce(
    config: &mut ClusterConfig,
    node: NodeId,
    identity: Fingerprint,
) -> Decided {
    let owner = config.node_of(identity);
    let known = config.nodes.get_mut(&node).ok_or(Refusal::NoSuchNode(node))?;
    match known.identity {
        Some(before) if before == identity => Ok(None),
        Some(_) => Err(Refusal::OtherIdentity(node)),
        None if owner.is_some() => Err(Refusal::OtherIdentity(node)),
        None => {
            known.identity = Some(identity);
            Ok(Some(Event::NodeIntroduced { node }))
        }
    }
}

/// `None`: that claim is open already.
pub(super) fn add_claim(config: &mut ClusterConfig, at_ms: u64, claim: &Claim) -> Decided {
    within(claim.expires_at_ms > at_ms, "expires_at_ms")?;
    let good = || config.door.claims.iter().filter(|known| known.expires_at_ms > at_ms);
    if good().any(|known| known == claim) {
        return Ok(None);
    }
    within(good().count() < CLAIMS_MAX, "claims")?;
    within(good().all(|known| known.secret != claim.secret), "secret")?;
    sweep(config, at_ms);
    config.door.claims.push(claim.clone());
    Ok(Some(Event::ClaimAdded))
}

/// Makes an operator of whoever holds the secret. Who comes again with the same token is one already.
pub(super) fn claim(
    config: &mut ClusterConfig,
    at_ms: u64,
    secret: Fingerprint,
    name: &str,
    token: Fingerprint,
) -> Decided {
    within(is_name(name), "name")?;
    if config.door.operator(token).is_some_and(|known| known.name == name) {
        return Ok(None);
    }
    let good = |claim: &Claim| claim.secret == secret && claim.expires_at_ms > at_ms;
    let place = config.door.claims.iter().position(good);
    let place = place.ok_or(Refusal::NoSuchClaim)?;
    let taken = |operator: &Operator| operator.name == name || operator.token == token;
    if config.door.operators.iter().any(taken) {
        return Err(Refusal::NameTaken(name.to_owned()));
    }
    within(config.door.operators.len() < OPERATORS_MAX, "operators")?;
    config.door.claims.remove(place);
    let name = name.to_owned();
    let operator = Operator { name: name.clone(), token, created_at_ms: at_ms };
    config.door.operators.push(operator);
    Ok(Some(Event::OperatorAdded(name)))
}

/// Ends the rights of an operator. The last one stays: nobody else could let another in.
pub(super) fn remove_operator(config: &mut ClusterConfig, name: &str) -> Decided {
    let operators = &mut config.door.operators;
    let place = operators.iter().position(|operator| operator.name == name);
    let place = place.ok_or_else(|| Refusal::NoSuchOperator(name.to_owned()))?;
    if operators.len() == 1 {
        return Err(Refusal::LastOperator);
    }
    operators.remove(place);
    Ok(Some(Event::OperatorRemoved(name.to_owned())))
}

/// What is founded with must already be within its bounds.
pub(super) fn check_door(config: &ClusterConfig) -> Result<(), Refusal> {
    if config.door.is_within_bounds() { Ok(()) } else { Err(out_of_bounds("door")) }
}
