//! Within a batch later commands see earlier ones, though no row of them is written yet.

use chat::{Conflict, Refusal};

use super::*;

/// Applies the commands as one entry, as one batch of one entry each, and as one batch for each: the answers must agree.
fn outcomes(commands: &[Command]) -> Vec<Outcome> {
    let one_entry = Shard::new().run(commands);
    let entries: Vec<_> =
        commands.iter().map(|command| entry(1000, std::slice::from_ref(command))).collect();
    let one_batch = Shard::new().apply(&entries).expect("the disk is sound");
    let mut shard = Shard::new();
    let batches = entries
        .iter()
        .flat_map(|entry| shard.apply(std::slice::from_ref(entry)).expect("the disk is sound"));
    let batches: Vec<_> = batches.collect();
    assert_eq!(one_batch, batches);
    assert_eq!(one_entry, batches.into_iter().flatten().collect::<Vec<_>>());
    one_entry
}

fn place(outcome: &Outcome) -> (u64, u64) {
    match outcome {
        Outcome::Accepted(place) | Outcome::Duplicate(place) => (place.seq.0, place.order.0),
        other => panic!("no place: {other:?}"),
    }
}

#[test]
fn two_sends_of_one_device_in_one_batch_are_two_messages() {
    let sends = [say("alice", "bob", 1, "m1", Some(1)), say("alice", "bob", 1, "m2", Some(2))];
    let outcomes = outcomes(&sends);
    assert_eq!(outcomes.iter().map(place).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
}

#[test]
fn one_send_twice_in_one_batch_is_one_message() {
    let counted = say("alice", "bob", 1, "m1", Some(1));
    let uncounted = say("alice", "bob", 1, "m1", None);
    for sends in [
        [counted.clone(), counted.clone()],
        [uncounted.clone(), uncounted],
        [counted.clone(), say("alice", "bob", 1, "m1", None)],
    ] {
        let outcomes = outcomes(&sends);
        assert!(matches!(outcomes[0], Outcome::Accepted(_)));
        assert!(matches!(outcomes[1], Outcome::Duplicate(_)), "{outcomes:?}");
        assert_eq!(place(&outcomes[0]), place(&outcomes[1]));
    }
}

#[test]
fn a_conflict_within_one_batch_is_seen() {
    let outcomes = outcomes(&[
        say("alice", "bob", 1, "m1", Some(1)),
        say("alice", "bob", 1, "m1", Some(2)),
        say("alice", "bob", 1, "m2", Some(1)),
    ]);
    assert_eq!(outcomes[1], Outcome::Conflict(Conflict::MessageIdUsed));
    assert_eq!(outcomes[2], Outcome::Conflict(Conflict::OrderUsed));
}

#[test]
fn a_name_is_taken_once_within_one_batch() {
    let taken = Outcome::Refused(Refusal::NameTaken);
    assert_eq!(outcomes(&[register("team"), create("team", "alice", &[])])[1], taken);
    assert_eq!(outcomes(&[create("team", "alice", &[]), register("team")])[1], taken);
    assert_eq!(outcomes(&[register("alice"), register("alice")])[1], taken);
}

#[test]
fn membership_is_judged_in_the_order_of_the_batch() {
    let team_message = |id| {
        let command = chat::Command::Send(message("bob", 2, id, None));
        Command::Conversation { id: team(), command }
    };
    let outcomes = outcomes(&[
        create("team", "alice", &["bob"]),
        team_message("m1"),
        remove("alice", "bob"),
        team_message("m2"),
        add("alice", "bob"),
        team_message("m3"),
    ]);
    assert_eq!(place(&outcomes[1]), (1, 1));
    assert_eq!(outcomes[3], Outcome::Refused(Refusal::NotAMember));
    assert_eq!(place(&outcomes[5]), (2, 2));
}
