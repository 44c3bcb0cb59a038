//! Splits of any shard, in any order, between everything else that changes the map: the map stays a map.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::{
    Addresses, ClusterConfig, ClusterId, Command, Door, Founder, GroupId, NodeId, Outcome,
    PlanLimits, Refusal, SLOTS, Slot, TokenKey, apply, plan,
};
use proptest::prelude::*;

fn cluster(shards: u32) -> Option<ClusterConfig> {
    let at = || "h:1".to_owned();
    let addresses = Addresses { client: at(), peer: at(), operations: at() };
    let founder = Founder { addresses, zone: None, weight: 1 };
    let nodes: BTreeMap<_, _> = (1..=4).map(|id| (NodeId(id), founder.clone())).collect();
    let token_key = TokenKey { id: 1, seed: [1; 32], created_at_ms: 0, retired: false };
    let bootstrap = Command::Bootstrap {
        cluster: ClusterId::parse("demo").expect("legal"),
        nodes,
        shards,
        replication: 3,
        token_key,
        door: Door::default(),
    };
    let mut config = None;
    apply(&mut config, 0, "", &bootstrap);
    config
}

/// What may be asked, with numbers that choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Split { shard: usize, part: u16, upper: bool },
    Finish { shard: usize },
    Plan,
    Arrive { shard: usize },
    Freeze { shard: usize, on: bool },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<usize>(), 1..2000_u16, any::<bool>())
            .prop_map(|(shard, part, upper)| Step::Split { shard, part, upper }),
        4 => any::<usize>().prop_map(|shard| Step::Finish { shard }),
        1 => Just(Step::Plan),
        2 => any::<usize>().prop_map(|shard| Step::Arrive { shard }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(shard, on)| Step::Freeze { shard, on }),
    ]
}

fn commands(config: &ClusterConfig, step: &Step) -> Vec<Command> {
    let nth = |shard: usize| *config.shards.keys().nth(shard % config.shards.len()).expect("one");
    match *step {
        Step::Split { shard, part, upper } => {
            let group = nth(shard);
            let slots = config.shards[&group].slots.clone();
            let slots = match upper {
                true => slots.end.saturating_sub(part)..slots.end,
                false => slots.start..slots.start + part,
            };
            vec![Command::SplitShard { group, slots, if_epoch: config.epoch }]
        }
        Step::Finish { shard } => {
            let group = nth(shard);
            let split = config.shards[&group].splitting.as_ref();
            split.map(|split| Command::FinishSplit { group, to: split.to }).into_iter().collect()
        }
        Step::Plan => plan(config, PlanLimits::default()),
        Step::Arrive { shard } => {
            let group = nth(shard);
            let replicas = config.moving(group).map(<[NodeId]>::to_vec);
            replicas.map(|replicas| Command::FinishMove { group, replicas }).into_iter().collect()
        }
        Step::Freeze { shard, on } => vec![Command::FreezeShard { group: nth(shard), frozen: on }],
    }
}

proptest! {
    #[test]
    fn a_slot_is_owned_by_one_group_and_goes_only_to_one_that_came_of_it(
        shards in 1..6_u32, steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let mut this = cluster(shards);
        let mut given: BTreeSet<GroupId> = BTreeSet::new();
        for step in &steps {
            let before = this.clone().expect("founded");
            for command in commands(&before, step) {
                let applied = apply(&mut this, 0, "", &command);
                if let (Command::SplitShard { group, .. }, Outcome::Accepted { .. }) =
                    (&command, &applied.outcome)
                {
                    let after = this.as_ref().expect("founded");
                    let to = after.shards[group].splitting.as_ref().expect("wished").to;
                    prop_assert!(given.insert(to), "{to} was given twice");
                    prop_assert!(!before.shards.contains_key(&to));
                    prop_assert_eq!(after.split_into(to).map(|(of, _)| of), Some(*group));
                }
            }
            let after = this.as_ref().expect("founded");
            for slot in (0..SLOTS).step_by(97).map(Slot) {
                let (was, is) = (before.shard_of(slot), after.shard_of(slot));
                prop_assert!(was == is || after.shards[&is].parent == Some(was), "{was} to {is}");
                // What a group had at first only another that came of it has now.
                for group in after.shards.keys() {
                    let at_first = after.slots_at_first(*group).expect("it is there");
                    let mut of = is;
                    while of != *group && let Some(parent) = after.shards[&of].parent {
                        of = parent;
                    }
                    prop_assert_eq!(at_first.contains(&slot.0), of == *group);
                }
            }
        }
    }
}

#[test]
fn there_is_a_bound_on_shards_that_counts_those_to_come() {
    let mut this = cluster(cluster_config::SHARDS_MAX - 1);
    let epoch = |this: &Option<ClusterConfig>| this.as_ref().expect("founded").epoch;
    let split = |group, if_epoch, this: &Option<ClusterConfig>| {
        let slots = this.as_ref().expect("founded").shards[&GroupId(group)].slots.clone();
        Command::SplitShard { group: GroupId(group), slots: slots.start..slots.end - 1, if_epoch }
    };
    let first = split(1, epoch(&this), &this);
    assert!(apply(&mut this, 0, "", &first).event.is_some());
    let second = split(2, epoch(&this), &this);
    let refused = Outcome::Refused(Refusal::OutOfBounds { what: "shards".to_owned() });
    assert_eq!(apply(&mut this, 0, "", &second).outcome, refused);
}
