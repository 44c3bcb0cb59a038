//! Each fault with the verdict that it gets: a table, as an operator could provoke them.

use cluster_config::{Addresses, ClusterId, Door, Founder, Setting, TokenKey, apply};

use super::*;

const GROUP: GroupId = GroupId(1);

fn cluster(zones: &[Option<&str>], replication: u32) -> ClusterConfig {
    let at = || "h:1".to_owned();
    let founder = |zone: &Option<&str>| Founder {
        addresses: Addresses { client: at(), peer: at(), operations: at() },
        zone: zone.map(str::to_owned),
        weight: 1,
    };
    let bootstrap = Command::Bootstrap {
        cluster: ClusterId::parse("demo").expect("legal"),
        nodes: (1..).map(NodeId).zip(zones.iter().map(founder)).collect(),
        shards: 1,
        replication,
        token_key: TokenKey { id: 1, seed: [1; 32], created_at_ms: 0, retired: false },
        door: Door::default(),
    };
    let mut config = None;
    apply(&mut config, 0, "test", &bootstrap);
    config.expect("founded")
}

/// Everybody is heard, caught up and where the map says.
fn sound(map: &ClusterConfig) -> Picture<'_> {
    let voters: BTreeSet<NodeId> = map.replicas(GROUP).iter().copied().collect();
    Picture {
        group: GROUP,
        map,
        here: NodeId(1),
        heard: map.nodes.keys().copied().collect(),
        leader: map.replicas(GROUP).first().copied(),
        changing: false,
        last: 100,
        applied: 100,
        behind: voters.iter().map(|node| (*node, 0)).collect(),
        full: BTreeSet::new(),
        slow: BTreeSet::new(),
        damaged: Vec::new(),
        divergence: None,
        voters,
    }
}

type Zones = &'static [Option<&'static str>];
type Provoke = fn(&mut ClusterConfig);
type Show = fn(&mut Picture<'_>);

fn nothing(_: &mut ClusterConfig) {}
fn as_it_is(_: &mut Picture<'_>) {}

fn state(map: &mut ClusterConfig, node: u64, state: NodeState) {
    map.nodes.get_mut(&NodeId(node)).expect("there").state = state;
}

fn said(other: bool) -> crate::digest::Digest {
    crate::digest::Digest([u8::from(other); 32])
}

fn shard(map: &mut ClusterConfig) -> &mut cluster_config::Shard {
    map.shards.get_mut(&GROUP).expect("there")
}

const FOUR: &[Option<&str>] = &[None; 4];
const THREE: &[Option<&str>] = &[None; 3];

/// What is broken, in a cluster of these zones; what else the picture shows; the verdict and what to run next.
type Fault = (&'static str, Zones, Provoke, Show, Verdict, Option<&'static str>);

const FAULTS: &[Fault] = &[
    ("nothing", THREE, nothing, as_it_is, Verdict::Sound, None),
    (
        "a split that has not ended",
        THREE,
        |map| {
            let splitting = cluster_config::Split { to: GroupId(2), slots: 100..200 };
            shard(map).splitting = Some(splitting);
        },
        as_it_is,
        Verdict::Splitting,
        None,
    ),
    (
        "two of three voters are silent",
        THREE,
        nothing,
        |picture| picture.heard = [NodeId(1)].into(),
        Verdict::NoQuorum,
        Some("synod node show 2"),
    ),
    (
        "the leader is gone and nobody was elected yet",
        THREE,
        nothing,
        |picture| picture.leader = None,
        Verdict::NoLeader,
        Some("synod shard explain 1"),
    ),
    (
        "the leader is heard by the others and not here",
        THREE,
        nothing,
        |picture| {
            (picture.here, picture.leader) = (NodeId(3), None);
            picture.heard.remove(&NodeId(1));
        },
        Verdict::LeaderUnheard,
        Some("synod node show 1"),
    ),
    (
        "the leader's disk is full",
        THREE,
        nothing,
        |picture| picture.full = [NodeId(1)].into(),
        Verdict::DiskFull,
        Some("synod shard transfer 1 --to 2"),
    ),
    (
        "all disks are full",
        THREE,
        nothing,
        |picture| picture.full = [1, 2, 3].map(NodeId).into(),
        Verdict::DiskFull,
        Some("synod node show 1"),
    ),
    (
        "the disk of one who follows is slow",
        THREE,
        nothing,
        |picture| picture.slow = [NodeId(2)].into(),
        Verdict::DiskSlow,
        Some("synod node show 2"),
    ),
    (
        "something is damaged on the disk here",
        THREE,
        nothing,
        |picture| picture.damaged = vec!["0000000000000001.segment: a record".to_owned()],
        Verdict::Damaged,
        Some("synod node show 1"),
    ),
    (
        "a replica has another state behind the same entry",
        THREE,
        nothing,
        |picture| {
            let said: BTreeMap<_, _> = [1, 2, 3].map(|node| (NodeId(node), said(node == 3))).into();
            let (group, differing) = (GROUP, [NodeId(3)].into());
            let divergence = Divergence { group, index: 70, said, differing, parts: vec![7] };
            picture.divergence = Some(divergence);
        },
        Verdict::Diverged,
        Some("synod node show 3"),
    ),
    (
        "a newcomer died in the middle of a joint change",
        FOUR,
        |map| shard(map).moving = Some([1, 2, 4].map(NodeId).to_vec()),
        |picture| {
            picture.changing = true;
            picture.voters.insert(NodeId(4));
            picture.heard.remove(&NodeId(4));
        },
        Verdict::ChangeHeldUp,
        Some("synod node show 4"),
    ),
    (
        "a voter is lost and there is no other node",
        THREE,
        |map| state(map, 3, NodeState::Lost),
        |picture| {
            picture.heard.remove(&NodeId(3));
        },
        Verdict::LostVoter,
        Some("synod node replace 3"),
    ),
    (
        "a voter has just fallen silent",
        THREE,
        nothing,
        |picture| {
            picture.heard.remove(&NodeId(2));
        },
        Verdict::SilentVoter,
        Some("synod node show 2"),
    ),
    (
        "a voter leaves and the shard is frozen",
        FOUR,
        |map| {
            state(map, 2, NodeState::Leaving);
            shard(map).frozen = true;
        },
        as_it_is,
        Verdict::Frozen,
        Some("synod shard freeze 1 --off"),
    ),
    (
        "a voter leaves and all moves are paused",
        FOUR,
        |map| {
            state(map, 2, NodeState::Leaving);
            let mut changed = Some(map.clone());
            apply(&mut changed, 0, "test", &Command::ChangeSetting(Setting::Rebalance(false)));
            *map = changed.expect("there");
        },
        as_it_is,
        Verdict::Paused,
        Some("synod rebalance pause --off"),
    ),
    (
        "a voter leaves",
        FOUR,
        |map| state(map, 2, NodeState::Leaving),
        as_it_is,
        Verdict::MovePlanned,
        None,
    ),
    (
        "whoever shall vote is silent",
        FOUR,
        |map| shard(map).moving = Some([1, 2, 4].map(NodeId).to_vec()),
        |picture| {
            picture.heard.remove(&NodeId(4));
        },
        Verdict::NewcomerSilent,
        Some("synod node show 4"),
    ),
    (
        "whoever shall vote is behind",
        FOUR,
        |map| shard(map).moving = Some([1, 2, 4].map(NodeId).to_vec()),
        |picture| {
            picture.behind.insert(NodeId(4), 70_000);
        },
        Verdict::NewcomerBehind,
        None,
    ),
    (
        "a move has begun",
        FOUR,
        |map| shard(map).moving = Some([1, 2, 4].map(NodeId).to_vec()),
        as_it_is,
        Verdict::Moving,
        None,
    ),
    (
        "the group does not vote as the map says",
        FOUR,
        nothing,
        |picture| {
            picture.voters.remove(&NodeId(3));
        },
        Verdict::NotAsMapped,
        Some("synod node show 1"),
    ),
    (
        "the replica here has a backlog",
        THREE,
        nothing,
        |picture| picture.last = 9_000,
        Verdict::BehindHere,
        Some("synod node show 1"),
    ),
    (
        "the replica here has nothing yet",
        THREE,
        nothing,
        |picture| picture.voters.clear(),
        Verdict::BehindHere,
        None,
    ),
    (
        "another replica is slow",
        THREE,
        nothing,
        |picture| {
            picture.behind.insert(NodeId(3), 50_000);
        },
        Verdict::ReplicaBehind,
        Some("synod node show 3"),
    ),
    (
        "one node is not three",
        &[None],
        nothing,
        as_it_is,
        Verdict::TooFewNodes,
        Some("synod node join-token"),
    ),
    (
        "two voters in one zone, and no third zone",
        &[Some("a"), Some("a"), Some("b")],
        nothing,
        as_it_is,
        Verdict::SharedZone,
        Some("synod node join-token"),
    ),
    (
        "another leads than the one who should",
        THREE,
        nothing,
        |picture| picture.leader = Some(NodeId(2)),
        Verdict::LedElsewhere,
        None,
    ),
];

#[test]
fn every_fault_gets_its_verdict_and_the_next_command() {
    for (fault, zones, provoke, show, verdict, next) in FAULTS {
        let mut map = cluster(zones, 3);
        provoke(&mut map);
        let mut picture = sound(&map);
        show(&mut picture);
        let explained = explain(&picture);
        assert_eq!(explained.verdict, *verdict, "{fault}: {explained:?}");
        assert_eq!(explained.next.as_deref(), *next, "{fault}: {explained:?}");
        assert!(!explained.evidence.is_empty(), "{fault}: a verdict needs evidence");
        let bad = verdict.health() != Health::Good;
        assert!(!bad || explained.evidence.len() > 1 || *verdict == Verdict::BehindHere, "{fault}");
    }
}

#[test]
fn every_verdict_has_a_name_of_its_own_and_is_provoked() {
    let provoked: BTreeSet<&str> = FAULTS.iter().map(|fault| fault.4.code()).collect();
    assert_eq!(provoked.len(), 24, "{provoked:?}");
}
