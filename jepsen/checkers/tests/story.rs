//! Every property has a history that keeps it, and for each way to break it a history in which it is broken and
//! the check says so by name.

mod story {
    //! Histories told in short sentences.
    pub(crate) mod teller;
}

use checkers::report::{About, NodeLog, html};
use checkers::{Expectations, F, Faults, Kind, Level, Outcome, Phase, judge};
use story::teller::{Teller, h};

/// The anomaly is found by the check, and a check is named only when it fails.
#[track_caller]
fn caught(teller: Teller, check: &str, anomaly: &str) {
    let judgement =
        judge(&teller.finish(), &Expectations { recovery_ns: 5_000, ..Expectations::default() });
    let verdict = &judgement.checks[check];
    let names: Vec<&str> = verdict.violations().iter().map(|violation| violation.name()).collect();
    assert!(names.contains(&anomaly), "{check} found {names:?} and not {anomaly}: {judgement:#?}");
    assert_eq!(judgement.outcome, Outcome::Violated);
}

#[track_caller]
fn kept(teller: Teller) {
    let judgement =
        judge(&teller.finish(), &Expectations { recovery_ns: 5_000, ..Expectations::default() });
    assert_eq!(judgement.outcome, Outcome::Valid, "{judgement:#?}");
}

/// Two users, one conversation, six messages, read back from three replicas.
fn ordinary() -> Teller {
    let mut t = Teller::new();
    t.devices(&["alice/1", "bob/1"]);
    t.direct("c", &["alice", "bob"]);
    for k in 1..=3 {
        t.sent("alice/1", "c", k);
        t.sent("bob/1", "c", k);
    }
    t
}

/// The same, with everything that a device and its user see.
fn whole() -> Teller {
    let mut t = ordinary();
    t.deliver_all("c", "alice/1", 1);
    t.deliver_all("c", "bob/1", 1);
    t.read("c", "bob/1", 0);
    t.confirm("c", "bob/1", 5, true);
    t.confirm("c", "alice/1", 6, false);
    t.status("c", "alice/1", 5, true, true);
    t.cursor("c", "bob/1", 5, 5, true);
    t.read_back("c");
    t.saw(F::Inbox { u: t.u("bob"), entries: vec![t.line("c", 6, 0)] });
    t.caught_up("alice/1", 1);
    t.caught_up("bob/1", 1);
    t
}

#[test]
fn a_run_that_kept_everything_is_valid() {
    kept(whole());
}

#[test]
fn lost_messages_are_told_apart_by_where_they_were() {
    for (from, to, anomaly) in [(0, 2, "lost-prefix"), (2, 3, "lost-middle"), (4, 6, "lost-tail")] {
        let mut t = ordinary();
        let mut entries = t.log("c");
        entries.drain(from..to);
        t.read_back_as("c", 1, entries);
        t.read_back("c");
        caught(t, "account", anomaly);
    }
    let mut t = ordinary();
    t.read_back_as("c", 1, Vec::new());
    caught(t, "account", "lost-tail");
}

#[test]
fn a_message_replaced_by_another_is_lost() {
    let mut t = ordinary();
    let mut entries = t.log("c");
    entries[2] = entries[4];
    entries[2].seq = 3;
    t.read_back_as("c", 1, entries);
    caught(t, "account", "lost-replaced");
}

#[test]
fn a_duplicate_under_retry_is_caught() {
    let mut t = ordinary();
    t.unknown("alice/1", "c", 4);
    t.stored("c", "alice/1", 4);
    t.sent("alice/1", "c", 4);
    t.read_back("c");
    caught(t, "account", "duplicate");
}

#[test]
fn a_retry_that_is_told_another_place_is_caught() {
    let mut t = ordinary();
    t.answer("alice/1", "c", 2, Kind::Ok, 4, None);
    t.read_back("c");
    caught(t, "account", "moved-ack");
}

#[test]
fn a_retry_of_a_stored_message_that_is_refused_is_caught() {
    let mut t = ordinary();
    t.answer("alice/1", "c", 2, Kind::Fail, 0, Some("conflict"));
    t.read_back("c");
    caught(t, "account", "refused-retry");
}

#[test]
fn a_phantom_an_alteration_and_a_resurrection_are_caught() {
    let mut t = ordinary();
    t.stored("c", "bob/1", 9);
    t.read_back("c");
    caught(t, "account", "phantom");

    let mut t = ordinary();
    t.unknown("bob/1", "c", 4);
    t.stored_as("c", "bob/1", 4, 77);
    t.read_back("c");
    caught(t, "account", "altered");

    let mut t = ordinary();
    t.answer("bob/1", "c", 4, Kind::Fail, 0, Some("unavailable"));
    t.stored("c", "bob/1", 4);
    t.read_back("c");
    caught(t, "account", "resurrected");
}

#[test]
fn an_unknown_send_may_be_stored_or_not() {
    for stored in [false, true] {
        let mut t = ordinary();
        t.unknown("bob/1", "c", 4);
        if stored {
            t.stored("c", "bob/1", 4);
        }
        t.read_back("c");
        kept(t);
    }
}

#[test]
fn a_refused_try_after_an_unknown_one_proves_nothing() {
    let mut t = ordinary();
    t.unknown("bob/1", "c", 4);
    t.answer("bob/1", "c", 4, Kind::Fail, 0, Some("unavailable"));
    t.stored("c", "bob/1", 4);
    t.read_back("c");
    kept(t);
}

#[test]
fn two_payloads_under_one_order_may_not_both_be_stored() {
    let mut t = ordinary();
    t.unknown("bob/1", "c", 4);
    t.invoke_as("bob/1", "c", 4, 99);
    t.stored("c", "bob/1", 4);
    t.stored_as("c", "bob/1", 4, 99);
    t.read_back("c");
    caught(t, "account", "duplicate-order");
}

#[test]
fn messages_without_an_order_are_known_by_what_they_say() {
    let mut t = ordinary();
    t.sent_without_order("alice/1", "c", 500);
    t.read_back("c");
    kept(t);
    let mut t = ordinary();
    t.sent_without_order("alice/1", "c", 500);
    t.stored_as("c", "alice/1", 5, 500);
    t.read_back("c");
    caught(t, "account", "duplicate");
}

#[test]
fn acknowledgements_that_nobody_read_back_are_unknown() {
    let t = ordinary();
    let judgement = judge(&t.finish(), &Expectations::default());
    assert_eq!(judgement.outcome, Outcome::Unknown);
    assert_eq!(judgement.exit_code(), 2);
}

#[test]
fn replicas_that_disagree_are_caught() {
    let mut t = ordinary();
    let mut entries = t.log("c");
    entries.swap(0, 1);
    entries[0].seq = 1;
    entries[1].seq = 2;
    t.read_back_as("c", 2, entries);
    caught(t, "prefix", "divergence");

    let mut t = ordinary();
    t.read_back("c");
    let mut entries = t.log("c");
    entries.pop();
    t.read_back_as("c", 3, entries);
    caught(t, "prefix", "replicas-differ");

    let mut t = ordinary();
    t.read_back("c");
    let mut entries = t.log("c");
    entries[5].chain ^= 1;
    t.read_back_as("c", 3, entries);
    caught(t, "prefix", "chain-divergence");

    let mut t = ordinary();
    let mut entries = t.log("c");
    entries[5].chain = entries[4].chain;
    t.read_back_as("c", 1, entries);
    caught(t, "prefix", "chain-still");
}

#[test]
fn holes_and_pages_that_go_back_are_caught() {
    let mut t = ordinary();
    let mut entries = t.log("c");
    entries.remove(2);
    t.page("c", "bob/1", 0, entries, Some(6), Level::Local);
    caught(t, "prefix", "hole");

    let mut t = ordinary();
    let entries = t.log("c").split_off(2);
    t.page("c", "bob/1", 0, entries, Some(6), Level::Local);
    caught(t, "prefix", "hole");

    let mut t = ordinary();
    let mut entries = t.log("c");
    entries.swap(2, 3);
    t.page("c", "bob/1", 0, entries, Some(6), Level::Local);
    caught(t, "prefix", "reorder");

    let mut t = ordinary();
    let mut far = t.log("c").pop().expect("six messages");
    far.seq = 1 << 60;
    t.page("c", "bob/1", (1 << 60) - 1, vec![far], None, Level::Local);
    caught(t, "prefix", "hole");
}

#[test]
fn what_somebody_saw_and_no_replica_has_is_caught() {
    let mut t = ordinary();
    t.read_back("c");
    t.unknown("bob/1", "c", 4);
    t.stored("c", "bob/1", 4);
    t.deliver("c", "alice/1", 1, 7);
    caught(t, "prefix", "vanished");
}

#[test]
fn a_message_before_what_was_acknowledged_before_it_is_caught() {
    let mut t = Teller::new();
    t.devices(&["alice/1", "bob/1"]);
    t.direct("c", &["alice", "bob"]);
    t.stored("c", "bob/1", 1);
    t.sent("alice/1", "c", 1);
    t.answer("bob/1", "c", 1, Kind::Ok, 1, None);
    t.read_back("c");
    caught(t, "order", "reorder");
}

#[test]
fn concurrent_sends_may_lie_in_any_order() {
    let mut t = Teller::new();
    t.devices(&["alice/1", "bob/1"]);
    t.direct("c", &["alice", "bob"]);
    let bob = t.invoke("bob/1", "c", 1);
    t.sent("alice/1", "c", 1);
    t.stored("c", "bob/1", 1);
    t.complete(bob, "bob/1", "c", 1, Kind::Ok, 2, None);
    t.read_back("c");
    kept(t);
}

#[test]
fn stale_strong_reads_are_caught_and_local_ones_are_not() {
    let mut t = ordinary();
    let entries = t.log("c")[..4].to_vec();
    t.page("c", "bob/1", 0, entries.clone(), Some(4), Level::Local);
    t.read_back("c");
    kept(t);
    let mut t = ordinary();
    t.page("c", "bob/1", 0, entries, Some(4), Level::Linearizable);
    t.read_back("c");
    caught(t.clone(), "search", "not-linearizable");
    caught(t, "order", "stale-read");
    let mut t = ordinary();
    t.page("c", "bob/1", 2, Vec::new(), None, Level::Linearizable);
    t.read_back("c");
    caught(t, "order", "stale-read");
}

#[test]
fn strong_reads_that_go_back_are_caught() {
    let mut t = ordinary();
    t.unknown("bob/1", "c", 4);
    t.stored("c", "bob/1", 4);
    let all = t.log("c");
    t.page("c", "alice/1", 0, all.clone(), Some(7), Level::Linearizable);
    t.page("c", "bob/1", 0, all[..6].to_vec(), Some(6), Level::Linearizable);
    t.read_back("c");
    caught(t, "order", "stale-read");
}

#[test]
fn a_read_of_what_is_asked_for_later_is_caught() {
    let mut t = ordinary();
    t.stored("c", "bob/1", 4);
    let all = t.log("c");
    t.page("c", "alice/1", 0, all, Some(7), Level::Linearizable);
    t.answer("bob/1", "c", 4, Kind::Ok, 7, None);
    t.read_back("c");
    caught(t, "order", "future-read");
}

#[test]
fn a_device_whose_messages_change_places_is_caught() {
    let mut t = ordinary();
    let four = t.invoke("bob/1", "c", 4);
    t.sent("bob/1", "c", 5);
    t.stored("c", "bob/1", 4);
    t.complete(four, "bob/1", "c", 4, Kind::Ok, 8, None);
    t.read_back("c");
    caught(t, "session", "nonmonotonic-writes");

    let mut t = ordinary();
    t.sent("bob/1", "c", 5);
    t.read_back("c");
    caught(t, "session", "lost-write");
}

#[test]
fn a_read_below_what_was_asked_for_is_caught() {
    let mut t = ordinary();
    let entries = t.log("c")[..4].to_vec();
    t.page("c", "bob/1", 0, entries, Some(4), Level::AtLeast(5));
    t.read_back("c");
    caught(t, "session", "stale-session");
}

#[test]
fn deliveries_that_skip_repeat_or_go_back_are_caught() {
    let tries: [(&[u64], &str); 3] =
        [(&[2, 6], "skip"), (&[2, 4, 4], "duplicate"), (&[2, 6, 4], "nonmonotonic")];
    for (seqs, anomaly) in tries {
        let mut t = ordinary();
        seqs.iter().for_each(|seq| t.deliver("c", "alice/1", 1, *seq));
        t.read_back("c");
        caught(t, "delivery", anomaly);
    }
}

#[test]
fn what_a_link_gets_begins_after_the_cursor_or_before_it() {
    let mut t = ordinary();
    [2, 4].iter().for_each(|seq| t.deliver("c", "alice/1", 1, *seq));
    t.confirm("c", "alice/1", 2, false);
    t.connect("alice/1", 2);
    [4, 6].iter().for_each(|seq| t.deliver("c", "alice/1", 2, *seq));
    t.caught_up("alice/1", 2);
    t.read_back("c");
    kept(t);
    let mut t = ordinary();
    [2, 4].iter().for_each(|seq| t.deliver("c", "alice/1", 1, *seq));
    t.confirm("c", "alice/1", 2, false);
    t.connect("alice/1", 2);
    t.deliver("c", "alice/1", 2, 6);
    t.read_back("c");
    caught(t, "delivery", "skip");
}

#[test]
fn a_device_that_waited_and_lacks_something_is_caught() {
    let mut t = ordinary();
    [2, 4].iter().for_each(|seq| t.deliver("c", "alice/1", 1, *seq));
    t.caught_up("alice/1", 1);
    t.read_back("c");
    caught(t, "delivery", "unseen");
    let mut t = ordinary();
    t.caught_up("alice/1", 1);
    t.read_back("c");
    caught(t, "delivery", "unseen");
}

#[test]
fn receipts_that_are_taken_back_or_invented_are_caught() {
    let mut t = whole();
    t.status("c", "alice/1", 3, false, false);
    caught(t, "receipts", "status-back");
    let mut t = whole();
    t.status("c", "alice/1", 5, true, false);
    caught(t, "receipts", "status-back");
    let mut t = whole();
    t.status("c", "bob/1", 6, true, true);
    caught(t, "receipts", "invented-receipt");
    let mut t = whole();
    t.status("c", "bob/1", 6, false, true);
    caught(t, "receipts", "read-undelivered");
}

#[test]
fn cursors_that_go_back_are_lost_or_run_ahead_are_caught() {
    let mut t = whole();
    t.cursor("c", "bob/1", 4, 4, false);
    caught(t, "receipts", "cursor-back");
    let mut t = whole();
    t.cursor("c", "alice/1", 5, 0, true);
    caught(t, "receipts", "lost-receipt");
    let mut t = whole();
    t.cursor("c", "alice/1", 6, 6, true);
    caught(t, "receipts", "invented-receipt");
}

/// A group of three; carol goes after two messages, dave comes after four.
fn changing() -> Teller {
    let mut t = Teller::new();
    t.devices(&["alice/1", "bob/1", "carol/1", "dave/1"]);
    t.group("g", &["alice", "bob", "carol"]);
    t.sent("carol/1", "g", 1);
    t.sent("alice/1", "g", 1);
    t.members("g", "alice/1", &[], &["carol"]);
    t.sent("alice/1", "g", 2);
    t.sent("bob/1", "g", 1);
    t.members("g", "alice/1", &["dave"], &[]);
    t.sent("dave/1", "g", 1);
    t.sent("alice/1", "g", 3);
    t
}

#[test]
fn members_read_and_write_while_they_are_members() {
    let mut t = changing();
    [2].iter().for_each(|seq| t.deliver("g", "carol/1", 1, *seq));
    t.deliver("g", "dave/1", 1, 6);
    t.deliver_all("g", "bob/1", 1);
    t.answer_failed("carol/1", "g", 2, "not_a_member");
    t.read_back("g");
    t.caught_up("carol/1", 1);
    t.caught_up("bob/1", 1);
    kept(t);
}

#[test]
fn a_message_after_its_sender_was_removed_is_caught() {
    let mut t = changing();
    t.sent("carol/1", "g", 2);
    t.read_back("g");
    caught(t, "authz", "write-after-removal");
}

#[test]
fn a_stranger_who_writes_is_caught() {
    let mut t = ordinary();
    t.devices(&["mallory/1"]);
    t.sent("mallory/1", "c", 1);
    t.read_back("c");
    caught(t, "authz", "write-after-removal");
}

#[test]
fn a_removed_member_who_still_gets_messages_is_caught() {
    let mut t = changing();
    t.deliver("g", "carol/1", 1, 4);
    t.read_back("g");
    caught(t, "authz", "read-after-removal");
    let mut t = changing();
    t.page("g", "carol/1", 0, Vec::new(), None, Level::Linearizable);
    t.read_back("g");
    caught(t, "authz", "read-after-removal");
}

#[test]
fn a_new_member_who_sees_what_was_before_is_caught() {
    let mut t = changing();
    t.deliver("g", "dave/1", 1, 2);
    t.read_back("g");
    caught(t, "authz", "read-before-join");
}

#[test]
fn a_member_who_is_turned_away_is_caught() {
    let mut t = changing();
    t.answer_failed("bob/1", "g", 2, "not_a_member");
    t.read_back("g");
    caught(t, "authz", "refused-member");
}

#[test]
fn a_send_that_races_with_the_removal_may_end_either_way() {
    for stored in [false, true] {
        let mut t = Teller::new();
        t.devices(&["alice/1", "carol/1"]);
        t.group("g", &["alice", "carol"]);
        let racing = t.invoke("carol/1", "g", 1);
        t.members("g", "alice/1", &[], &["carol"]);
        if stored {
            t.stored("g", "carol/1", 1);
            t.complete(racing, "carol/1", "g", 1, Kind::Ok, 1, None);
        } else {
            t.complete(racing, "carol/1", "g", 1, Kind::Fail, 0, Some("not_a_member"));
        }
        t.sent("alice/1", "g", 1);
        t.read_back("g");
        kept(t);
    }
}

#[test]
fn a_stall_with_a_quorum_is_caught_and_one_without_is_not() {
    let stall = |keeps_quorum: bool| {
        let mut t = ordinary();
        t.fault("pause", Phase::Install, keeps_quorum);
        t.fault("pause", Phase::Installed, keeps_quorum);
        let send = t.invoke("alice/1", "c", 4);
        t.wait(50_000);
        t.stored("c", "alice/1", 4);
        t.complete(send, "alice/1", "c", 4, Kind::Ok, 7, None);
        t.fault("pause", Phase::Healed, keeps_quorum);
        t.read_back("c");
        t
    };
    kept(stall(false));
    caught(stall(true), "live", "stall");
}

#[test]
fn leaders_that_go_back_two_owners_and_two_states_are_caught() {
    let mut t = whole();
    t.saw(F::Leader { shard: 1, node: 1, term: 3 });
    t.saw(F::Leader { shard: 1, node: 2, term: 4 });
    t.saw(F::Leader { shard: 1, node: 3, term: 4 });
    t.saw(F::Leader { shard: 2, node: 2, term: 3 });
    t.saw(F::Digest { replica: 1, shard: 1, index: 10, digest: 7 });
    t.saw(F::Digest { replica: 2, shard: 1, index: 10, digest: 7 });
    t.saw(F::Owner { c: t.c("c"), shard: 1, epoch: 1 });
    t.saw(F::Owner { c: t.c("c"), shard: 2, epoch: 2 });
    kept(t.clone());
    for (node, term) in [(2, 4), (3, 3)] {
        let mut back = t.clone();
        back.saw(F::Leader { shard: 1, node, term });
        caught(back, "leaders", "leader-back");
    }
    let mut two = t.clone();
    two.saw(F::Digest { replica: 3, shard: 1, index: 10, digest: 8 });
    caught(two, "digest", "states-differ");
    t.saw(F::Owner { c: t.c("c"), shard: 3, epoch: 2 });
    caught(t, "placement", "two-owners");
}

#[test]
fn presence_that_stays_wrong_is_caught() {
    const LONG: u64 = 20_000_000_000;
    let told = |wait: u64, online: bool| {
        let mut t = whole();
        t.saw(F::Disconnect { d: t.d("bob/1"), link: 1 });
        t.wait(wait);
        t.saw(F::Presence { observer: t.d("alice/1"), u: t.u("bob"), online });
        t
    };
    kept(told(10, true));
    kept(told(LONG, false));
    caught(told(LONG, true), "presence", "stale-presence");
}

#[test]
fn inboxes_that_differ_from_the_logs_are_caught() {
    let with = |lines: &[(&str, u64, u64)]| {
        let mut t = whole();
        let entries = lines.iter().map(|(c, last, unread)| t.line(c, *last, *unread)).collect();
        t.saw(F::Inbox { u: t.u("alice"), entries });
        t
    };
    kept(with(&[("c", 6, 3)]));
    caught(with(&[]), "inbox", "inbox-missing");
    caught(with(&[("c", 5, 3)]), "inbox", "inbox-last");
    caught(with(&[("c", 6, 2)]), "inbox", "inbox-unread");
    let mut t = changing();
    t.read_back("g");
    t.saw(F::Inbox { u: t.u("carol"), entries: vec![t.line("g", 6, 0)] });
    caught(t, "inbox", "inbox-stranger");
}

#[test]
fn time_that_runs_back_or_changes_is_caught() {
    let mut t = ordinary();
    let mut entries = t.log("c");
    entries[3].at = 1;
    t.read_back_as("c", 1, entries);
    caught(t, "clock", "time-back");
    let mut t = ordinary();
    t.read_back("c");
    let mut entries = t.log("c");
    entries[5].at += 1;
    t.read_back_as("c", 2, entries);
    caught(t, "clock", "time-changed");
}

#[test]
fn secrets_that_lie_open_are_caught() {
    let secrets = checkers::Secrets::new([b"the-secret-token".as_slice(), b"short".as_slice()]);
    assert_eq!(secrets.count(), 1);
    assert_eq!(secrets.find(b"xx the-secret-token yy the-secret-toke"), [3]);
    assert_eq!(secrets.find(b"the-secret-token"), [0]);
    assert!(secrets.find(b"").is_empty());
    let scan = |found: Vec<u64>| {
        let mut t = whole();
        t.saw(F::Scan { place: "n1/journal".to_owned(), bytes: 1000, tokens: 1, found });
        t
    };
    kept(scan(Vec::new()));
    caught(scan(vec![3]), "secrecy", "leak");
}

#[test]
fn epochs_are_a_compare_and_set() {
    let mut t = whole();
    t.commit("c", "alice/1", (0, 10), Kind::Ok, Some(2));
    t.commit("c", "bob/1", (0, 11), Kind::Fail, None);
    t.commit("c", "bob/1", (1, 12), Kind::Ok, Some(4));
    for (seq, epoch) in [(1, 0), (3, 1), (5, 1), (5, 2)] {
        t.saw(F::Sealed { c: t.c("c"), seq, epoch });
    }
    kept(t.clone());
    let mut two = t.clone();
    two.commit("c", "bob/1", (1, 13), Kind::Ok, Some(4));
    caught(two, "epoch", "two-commits");
    let mut gap = t.clone();
    gap.commit("c", "bob/1", (3, 13), Kind::Ok, Some(6));
    caught(gap, "epoch", "epoch-gap");
    let mut stale = t.clone();
    stale.commit("c", "bob/1", (2, 13), Kind::Fail, None);
    caught(stale, "epoch", "false-stale");
    t.saw(F::Sealed { c: t.c("c"), seq: 1, epoch: 1 });
    caught(t, "epoch", "wrong-epoch");
}

#[test]
fn assets_stay_what_they_were() {
    let mut t = whole();
    let asset = t.asset("a");
    t.upload(asset, 5, Kind::Ok);
    t.fetch(asset, (5, false), Kind::Ok, false);
    t.fetch(asset, (0, true), Kind::Ok, true);
    t.saw(F::Mention { c: t.c("c"), seq: 3, asset });
    kept(t.clone());
    let mut other = t.clone();
    other.fetch(asset, (6, false), Kind::Ok, false);
    caught(other, "media", "other-bytes");
    let mut lost = t.clone();
    lost.fetch(asset, (0, false), Kind::Fail, true);
    caught(lost, "media", "lost-asset");
    let never = t.asset("b");
    t.saw(F::Mention { c: t.c("c"), seq: 3, asset: never });
    caught(t, "media", "dangling");
}

#[test]
fn a_run_whose_faults_did_not_bite_is_no_pass() {
    let of = |phase: Phase, faults: Faults| {
        let mut t = whole();
        t.fault("kill", Phase::Install, true);
        t.fault("kill", phase, true);
        judge(&t.finish(), &Expectations { faults, ..Expectations::default() }).outcome
    };
    assert_eq!(of(Phase::Installed, Faults::Every), Outcome::Valid);
    assert_eq!(of(Phase::Installed, Faults::AtLeast(1)), Outcome::Valid);
    assert_eq!(of(Phase::Installed, Faults::AtLeast(2)), Outcome::Unknown);
    assert_eq!(of(Phase::Skipped, Faults::Every), Outcome::Unknown);
}

#[test]
fn a_run_that_did_too_little_or_nothing_of_a_kind_is_no_pass() {
    let history = whole().finish();
    let few = Expectations { ok_min: 1000, ..Expectations::default() };
    assert_eq!(judge(&history, &few).outcome, Outcome::Unknown);
    let media = Expectations { required: vec!["media"], ..Expectations::default() };
    assert_eq!(judge(&history, &media).outcome, Outcome::Unknown);
}

#[test]
fn a_history_survives_its_lines_and_a_bad_line_is_named() {
    let mut t = whole();
    t.fault("kill", Phase::Installed, true);
    t.commit("c", "alice/1", (0, 10), Kind::Ok, Some(2));
    let asset = t.asset("a");
    t.upload(asset, h(5), Kind::Ok);
    t.fetch(asset, (5, true), Kind::Ok, true);
    t.answer_failed("bob/1", "c", 9, "unavailable");
    t.saw(F::Leader { shard: 1, node: 2, term: 4 });
    t.saw(F::Digest { replica: 1, shard: 1, index: 10, digest: u64::MAX });
    t.saw(F::Scan { place: "log".to_owned(), bytes: 9, tokens: 1, found: vec![4] });
    t.page("c", "bob/1", 6, Vec::new(), Some(6), Level::AtLeast(6));
    let history = t.finish();
    let mut lines = Vec::new();
    history.write(&mut lines).expect("memory can be written");
    let again = checkers::History::read(lines.as_slice()).expect("what was written can be read");
    assert_eq!(again.ops.len(), history.ops.len());
    let mut twice = Vec::new();
    again.write(&mut twice).expect("memory can be written");
    assert_eq!(String::from_utf8(lines.clone()), String::from_utf8(twice));
    lines.extend_from_slice(
        b"{\"time\":1,\"process\":1,\"type\":\"ok\",\"f\":\"sing\",\"value\":{}}\n",
    );
    let error = checkers::History::read(lines.as_slice()).expect_err("nobody sings");
    assert!(error.to_string().contains(&format!("line {}", history.ops.len() + 1)), "{error}");
}

#[test]
fn two_recorders_of_one_run_make_one_history() {
    let (one, other) = (whole().finish(), whole().finish());
    let mut merged = one.clone();
    merged.merge(other.clone());
    assert_eq!(merged.ops.len(), one.ops.len() + other.ops.len());
    assert!(merged.ops.is_sorted_by_key(|op| op.time));
}

/// A run with a fault, a leader, a violation and a log.
fn eventful() -> Teller {
    let mut t = ordinary();
    t.fault("kill", Phase::Installed, true);
    t.saw(F::Leader { shard: 3, node: 2, term: 7 });
    t.answer_failed("bob/1", "c", 4, "unavailable");
    t.unknown("bob/1", "c", 5);
    t.read("c", "bob/1", 0);
    t.fault("kill", Phase::Healed, true);
    let mut entries = t.log("c");
    entries.remove(3);
    t.read_back_as("c", 1, entries);
    t
}

#[test]
fn a_report_shows_verdicts_faults_leaders_and_what_is_around_a_violation() {
    let history = eventful().finish();
    let judgement = judge(&history, &Expectations::default());
    let lost = history.ops.iter().find(|op| matches!(op.f, F::Send { seq: 4, .. }));
    let time = lost.expect("the fourth message was acknowledged").time;
    let log = NodeLog { node: 1, lines: vec![(time, "<entry 9> applied".to_owned())] };
    let facts = vec![("seed".to_owned(), "42".to_owned())];
    let page =
        html(&history, &judgement, &About { title: "a & b".to_owned(), facts, logs: vec![log] });
    for part in [
        "a &amp; b",
        "lost-middle",
        "class=\"violated\"",
        "bit 1 times",
        "n2, term 7",
        "shard 3",
        "&lt;entry 9&gt; applied",
        "acknowledged",
        "42",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert!(!page.contains("<script") && !page.contains("href=") && !page.contains("src="));
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn a_report_of_nothing_is_a_page_too() {
    let history = Teller::new().finish();
    let page = html(&history, &judge(&history, &Expectations::default()), &About::default());
    assert!(page.contains("unknown") && page.ends_with("</html>\n") && !page.contains("NaN"));
}

#[test]
fn exports_speak_of_messages_and_of_reads_that_saw_everything() {
    let history = eventful().finish();
    let text =
        |export: fn(&checkers::History, &mut Vec<u8>) -> Result<(), checkers::HistoryError>| {
            let mut out = Vec::new();
            export(&history, &mut out).expect("memory can be written");
            String::from_utf8(out).expect("exports are text")
        };
    let edn = text(checkers::export::edn);
    assert_eq!(edn.lines().count(), history.ops.len());
    assert!(
        edn.contains(":type :ok") && edn.contains(":f :send") && edn.contains(":process :nemesis")
    );
    let append = text(checkers::export::append);
    assert!(
        append.contains("[[:append \"c\" 0]]") && append.contains("[[:r \"c\" [0 1 2 3 4 5]]]")
    );
    assert!(append.contains(":type :fail") && append.contains(":type :info"));
    let kafka = text(checkers::export::kafka);
    assert!(kafka.contains("[[:send \"c\" [6 5]]]"));
    let porcupine = text(checkers::export::porcupine);
    assert!(
        porcupine.lines().all(|line| line.starts_with('{'))
            && porcupine.contains("\"saw\":[0,1,2,3,4,5]")
    );
}
