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
        authority: Some(AuthorityKey { certificate: "c".to_owned(), key: "k".to_owned() }),
        join_tokens: vec![token(None)],
        claims: vec![claim.clone()],
        operators: vec![Operator { name: "ada".to_owned(), token: print(3), created_at_ms: 1 }],
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
    let admit = Command::Admit { secret: print(1), identity: print(4), node: founder("a", 7440) };
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
    let refused = Command::RemoveNode { node: NodeId(4) };
    let refused = apply(&mut config.clone(), 0, "operator", &refused).outcome;
    let bytes = cluster::encode_cluster_outcome(&refused);
    let refused = sample("refused_move", refused, bytes, cluster::decode_cluster_outcome);
    let config = config.expect("founded");
    let bytes = cluster::encode_cluster_config(&config);
    let config = sample("config_with_moves", config, bytes, cluster::decode_cluster_config);
    let commands = commands.into_iter().chain(others).map(|(name, command)| {
        let bytes = cluster::encode_cluster_command("operator", &command);
        let value = cluster::ClusterCommand { actor: "operator".into(), command };
        sample(name, value, bytes, cluster::decode_cluster_command)
    });
    commands.chain([config, refused]).collect()
}
