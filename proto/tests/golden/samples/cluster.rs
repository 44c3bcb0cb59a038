//! Commands, outcomes and state of group 0.

use std::collections::BTreeMap;

use proto::cluster;

use super::{Sample, sample};

pub(super) fn samples() -> Vec<Sample> {
    use cluster_config::{
        Addresses, AuthorityKey, Claim, ClusterId, Command, Door, Fingerprint, Founder, JoinToken,
        NodeId, NodeState, Operator, PushKey, Setting, TokenKey, apply,
    };
    let addresses = |port: u16| Addresses {
        client: format!("127.0.0.1:{port}"),
        peer: format!("127.0.0.1:{}", port + 1),
        operations: format!("127.0.0.1:{}", port + 2),
    };
    let founder = |zone: &str, port| Founder {
        addresses: addresses(port),
        zone: Some(zone.to_owned()),
        weight: 1,
    };
    let key = |id| TokenKey {
        id,
        seed: [id as u8; 32],
        created_at_ms: 1_700_000_000_000,
        retired: false,
    };
    let print = |byte| Fingerprint([byte; 32]);
    let token = |replaces| JoinToken {
        secret: print(1),
        uses: 1,
        expires_at_ms: 1_800_000_000_000,
        replaces,
    };
    let claim = Claim { secret: print(2), expires_at_ms: 1_800_000_000_000 };
    let door = Door {
        authority: Some(AuthorityKey {
            certificate: "c".to_owned(),
            key: "k".to_owned(),
            cross: None,
        }),
        join_tokens: vec![token(None)],
        claims: vec![claim.clone()],
        operators: vec![Operator { name: "ada".to_owned(), token: print(3), created_at_ms: 1 }],
        ..Door::default()
    };
    let bootstrap = Command::Bootstrap {
        cluster: ClusterId::parse("demo").expect("legal"),
        nodes: BTreeMap::from([
            (NodeId(1), founder("a", 7400)),
            (NodeId(2), founder("b", 7410)),
            (NodeId(3), founder("c", 7420)),
        ]),
        shards: 4,
        replication: 3,
        token_key: key(1),
        door: Door::default(),
    };
    let mut with_door = bootstrap.clone();
    if let Command::Bootstrap { door: empty, replication, .. } = &mut with_door {
        (*empty, *replication) = (door, 2);
    }
    let push_key = PushKey { private: vec![1, 2, 3], public: vec![4; 65] };
    let ttl = Setting::AccessTokenTtl(std::time::Duration::from_secs(60));
    let mut entered = None;
    for command in [&with_door, &Command::Introduce { node: NodeId(2), identity: print(5) }] {
        apply(&mut entered, 1_700_000_000_000, "system", command);
    }
    let admit = Command::Admit {
        secret: print(1),
        identity: print(4),
        node: founder("a", 7440),
        speaks: cluster_config::FeatureLevel::FIRST,
    };
    apply(&mut entered, 1_700_000_000_001, "system", &admit);
    let entered = entered.expect("founded");
    let mut config = None;
    let accepted = apply(&mut config, 1_700_000_000_000, "system", &bootstrap).outcome;
    let config = config.expect("founded");
    let refused = apply(&mut Some(config.clone()), 0, "operator", &bootstrap).outcome;
    let commands = [
        ("bootstrap", bootstrap),
        ("set_node_state", Command::SetNodeState { node: NodeId(2), state: NodeState::Draining }),
        ("set_addresses", Command::SetAddresses { node: NodeId(2), addresses: addresses(7500) }),
        ("change_setting", Command::ChangeSetting(ttl)),
        ("add_token_key", Command::AddTokenKey(key(2))),
        ("retire_token_key", Command::RetireTokenKey { id: 1 }),
        ("set_push_key", Command::SetPushKey(push_key.clone())),
        ("add_join_token", Command::AddJoinToken(token(Some(NodeId(2))))),
        ("bootstrap_with_door", with_door),
        ("admit", admit),
        ("introduce", Command::Introduce { node: NodeId(2), identity: print(5) }),
        ("add_claim", Command::AddClaim(claim)),
        ("claim", Command::Claim { secret: print(2), name: "bob".to_owned(), token: print(6) }),
        ("remove_operator", Command::RemoveOperator { name: "bob".to_owned() }),
    ];
    let commands = commands.into_iter().map(|(name, command)| {
        let bytes = cluster::encode_cluster_command("operator", &command);
        let value = cluster::ClusterCommand { actor: "operator".into(), command };
        sample(name, value, bytes, cluster::decode_cluster_command)
    });
    let outcome = |name, outcome: cluster_config::Outcome| {
        let bytes = cluster::encode_cluster_outcome(&outcome);
        sample(name, outcome, bytes, cluster::decode_cluster_outcome)
    };
    let bytes = cluster::encode_cluster_config(&config);
    let with_key = cluster_config::ClusterConfig { push_key: Some(push_key), ..config.clone() };
    let config = sample("config", config, bytes, cluster::decode_cluster_config);
    let bytes = cluster::encode_cluster_config(&with_key);
    let with_key = sample("config_with_push_key", with_key, bytes, cluster::decode_cluster_config);
    let bytes = cluster::encode_cluster_config(&entered);
    let entered = sample("config_with_door", entered, bytes, cluster::decode_cluster_config);
    let outcomes = [outcome("accepted", accepted), outcome("refused", refused)];
    commands.chain(outcomes).chain([config, with_key, entered]).chain(moving()).collect()
}

/// Groups on their way to other voters.
fn moving() -> Vec<Sample> {
    use cluster_config::{
        Addresses, ClusterId, Command, Door, Founder, GroupId, NodeId, Setting, TokenKey, apply,
    };
    let at = |plane: &str| format!("{plane}:1");
    let addresses =
        || Addresses { client: at("client"), peer: at("peer"), operations: at("operations") };
    let founder = |id| (NodeId(id), Founder { addresses: addresses(), zone: None, weight: 1 });
    let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
    let (group, to) = (GroupId(2), nodes(&[3, 4, 1]));
    let bootstrap = Command::Bootstrap {
        cluster: ClusterId::parse("moved").expect("legal"),
        nodes: (1..=4).map(founder).collect(),
        shards: 3,
        replication: 3,
        token_key: TokenKey { id: 1, seed: [1; 32], created_at_ms: 0, retired: false },
        door: Door::default(),
    };
    let mut config = None;
    apply(&mut config, 0, "system", &bootstrap);
    let commands = [
        ("move_shard", Command::MoveShard { group, to: to.clone(), if_epoch: 1 }),
        ("finish_move", Command::FinishMove { group, replicas: to.clone() }),
        ("move_group_0", Command::MoveShard { group: GroupId(0), to, if_epoch: 3 }),
        ("freeze_shard", Command::FreezeShard { group, frozen: true }),
        ("rebalance_off", Command::ChangeSetting(Setting::Rebalance(false))),
    ];
    commands.iter().for_each(|(name, command)| {
        let applied = apply(&mut config, 1_700_000_000_000, "operator", command);
        assert!(applied.event.is_some(), "{name}: {:?}", applied.outcome);
    });
    let others = [
        ("cancel_move", Command::CancelMove { group }),
        ("remove_node", Command::RemoveNode { node: NodeId(4) }),
    ];
    let next = cluster_config::AuthorityKey {
        certificate: "next".into(),
        key: "secret".into(),
        cross: Some("cross".into()),
    };
    let held = cluster_config::Held {
        issuer: 1,
        trusts: vec![0, 1],
        issued_at_ms: 1_700_000_000_000,
        expires_at_ms: 1_707_776_000_000,
    };
    let trust = [
        ("hold_certificate", Command::HoldCertificate { node: NodeId(1), held }),
        ("recover", Command::Recover { survivor: NodeId(1) }),
        ("renew_certificate", Command::RenewCertificate { node: NodeId(1) }),
        ("rotate_authority", Command::RotateAuthority { next }),
    ];
    let refused = Command::RemoveNode { node: NodeId(4) };
    let refused = apply(&mut config.clone(), 0, "operator", &refused).outcome;
    let bytes = cluster::encode_cluster_outcome(&refused);
    let refused = sample("refused_move", refused, bytes, cluster::decode_cluster_outcome);
    let config = config.expect("founded");
    let bytes = cluster::encode_cluster_config(&config);
    let config = sample("config_with_moves", config, bytes, cluster::decode_cluster_config);
    let commands = commands.into_iter().chain(others).chain(trust).map(|(name, command)| {
        let bytes = cluster::encode_cluster_command("operator", &command);
        let value = cluster::ClusterCommand { actor: "operator".into(), command };
        sample(name, value, bytes, cluster::decode_cluster_command)
    });
    let raised = raising(bootstrap.clone());
    commands.chain([config, refused]).chain(splitting(bootstrap)).chain(raised).collect()
}

/// A cluster beyond the first feature level, whose row says so outside.
fn raising(bootstrap: cluster_config::Command) -> Vec<Sample> {
    use cluster_config::{Command, FeatureLevel, Fingerprint, Founder, NodeId, Setting, apply};
    let mut config = None;
    apply(&mut config, 0, "system", &bootstrap);
    let speak = |level: u32| (1..=4).map(|node| (NodeId(node), FeatureLevel(level))).collect();
    let raise = |to: u32| Command::RaiseLevel {
        from: FeatureLevel::FIRST,
        to: FeatureLevel(to),
        release: "0.2.0".to_owned(),
        speak: speak(2),
    };
    let Command::Bootstrap { nodes, .. } = bootstrap else { unreachable!("it founds") };
    let node: Founder = nodes[&NodeId(1)].clone();
    let (secret, identity) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
    let admit = |speaks| Command::Admit { secret, identity, node: node.clone(), speaks };
    let outcome = |name, command: &Command, config: &mut Option<cluster_config::ClusterConfig>| {
        let outcome = apply(config, 1_700_000_000_000, "operator", command).outcome;
        let bytes = cluster::encode_cluster_outcome(&outcome);
        sample(name, outcome, bytes, cluster::decode_cluster_outcome)
    };
    let refused_raise = outcome("refused_raise", &raise(3), &mut config);
    let raised = outcome("accepted_raise", &raise(2), &mut config);
    let again = outcome("refused_raise_again", &raise(3), &mut config);
    let old = outcome("refused_admit_of_an_old_node", &admit(FeatureLevel::FIRST), &mut config);
    let commands = [
        ("raise_level", raise(2)),
        ("admit_beyond_the_first_level", admit(FeatureLevel(2))),
        ("upgrade_automatic_off", Command::ChangeSetting(Setting::UpgradeAutomatic(false))),
    ];
    apply(&mut config, 1_700_000_000_001, "operator", &commands[2].1);
    let config = config.expect("founded");
    let bytes = cluster::encode_cluster_config(&config);
    let config = sample("config_of_level_2", config, bytes, cluster::decode_cluster_config);
    let commands = commands.into_iter().map(|(name, command)| {
        let bytes = cluster::encode_cluster_command("operator", &command);
        let value = cluster::ClusterCommand { actor: "operator".into(), command };
        sample(name, value, bytes, cluster::decode_cluster_command)
    });
    commands.chain([config, refused_raise, raised, again, old]).collect()
}

/// Shards on their way to be two.
fn splitting(bootstrap: cluster_config::Command) -> Vec<Sample> {
    use cluster_config::{Command, GroupId, apply};
    let mut config = None;
    apply(&mut config, 0, "system", &bootstrap);
    let (group, to) = (GroupId(2), GroupId(4));
    let commands = [
        ("split_shard", Command::SplitShard { group, slots: 5461..8000, if_epoch: 1 }),
        ("finish_split", Command::FinishSplit { group, to }),
    ];
    commands.iter().for_each(|(name, command)| {
        let applied = apply(&mut config, 1_700_000_000_000, "operator", command);
        assert!(applied.event.is_some(), "{name}: {:?}", applied.outcome);
    });
    let again = Command::SplitShard { group, slots: 10_000..10_922, if_epoch: 3 };
    apply(&mut config, 1_700_000_000_001, "operator", &again);
    let refused = Command::SplitShard { group, slots: 9_000..10_922, if_epoch: 4 };
    let refused = apply(&mut config.clone(), 0, "operator", &refused).outcome;
    let bytes = cluster::encode_cluster_outcome(&refused);
    let refused = sample("refused_split", refused, bytes, cluster::decode_cluster_outcome);
    let config = config.expect("founded");
    let bytes = cluster::encode_cluster_config(&config);
    let config = sample("config_with_splits", config, bytes, cluster::decode_cluster_config);
    let commands = commands.into_iter().map(|(name, command)| {
        let bytes = cluster::encode_cluster_command("operator", &command);
        let value = cluster::ClusterCommand { actor: "operator".into(), command };
        sample(name, value, bytes, cluster::decode_cluster_command)
    });
    commands.chain([config, refused]).collect()
}
