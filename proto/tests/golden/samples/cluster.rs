//! Commands, outcomes and state of group 0.

use std::collections::BTreeMap;

use proto::cluster;

use super::{Sample, sample};

pub(super) fn samples() -> Vec<Sample> {
    use cluster_config::{
        Addresses, ClusterId, Command, Founder, NodeId, NodeState, PushKey, Setting, TokenKey,
        apply,
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
    };
    let push_key = PushKey { private: vec![1, 2, 3], public: vec![4; 65] };
    let ttl = Setting::AccessTokenTtl(std::time::Duration::from_secs(60));
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
    let outcomes = [outcome("accepted", accepted), outcome("refused", refused)];
    commands.chain(outcomes).chain([config, with_key]).collect()
}
