//! The judge is believed because it was shown to catch each kind of harm, planted one at a time.

use super::*;

fn mark(chat: Chat, bot: Bot, n: u64) -> Mark {
    Mark { chat, bot, n }
}

fn row(seq: u64, bot: Bot, n: u64) -> Row {
    Row { seq, mark: Some(mark(0, bot, n)) }
}

/// Three bots in one conversation, two replicas; four messages, all well.
fn good() -> Evidence {
    let rows = vec![row(1, 0, 1), row(2, 1, 1), row(3, 0, 2), row(4, 2, 1)];
    let sent = rows
        .iter()
        .map(|row| Sent { mark: row.mark.expect("a bot's"), fate: Fate::Acked { seq: row.seq } });
    let received = (0..3).map(|bot| {
        let others = rows.iter().filter(|row| row.mark.expect("a bot's").bot != bot);
        others.map(|row| (0, *row)).collect()
    });
    Evidence {
        members: vec![vec![0, 1, 2]],
        base: vec![0],
        settled: BTreeMap::new(),
        sent: sent.collect(),
        received: received.collect(),
        shelves: ["node 1", "node 2"]
            .map(|label| Shelf { label: label.into(), chat: 0, rows: rows.clone() })
            .to_vec(),
    }
}

/// (lost, duplicated, reordered, undelivered, phantom, open)
fn counts(evidence: &Evidence) -> (u64, u64, u64, u64, u64, u64) {
    let f = judge(evidence);
    assert_eq!(f.examples.is_empty(), f.clean(), "a finding comes with an example");
    (f.lost, f.duplicated, f.reordered, f.undelivered, f.phantom, f.open)
}

#[test]
fn a_run_without_harm_has_no_findings() {
    assert_eq!(judge(&good()), Findings::default());
}

#[test]
fn a_lost_tail_on_one_replica_is_caught() {
    let mut evidence = good();
    evidence.shelves[1].rows.pop();
    assert_eq!(counts(&evidence), (1, 0, 0, 0, 0, 0));
}

#[test]
fn a_lost_message_in_the_middle_is_caught_on_every_replica_and_counted_as_message_and_gap() {
    let mut evidence = good();
    for shelf in &mut evidence.shelves {
        shelf.rows.remove(1);
    }
    let found = judge(&evidence);
    assert!(found.lost >= 1, "{found:?}");
}

#[test]
fn an_empty_replica_has_lost_everything() {
    let mut evidence = good();
    evidence.shelves[0].rows.clear();
    assert_eq!(counts(&evidence).0, 4);
}

#[test]
fn a_message_stored_twice_is_caught() {
    let mut evidence = good();
    for shelf in &mut evidence.shelves {
        shelf.rows.push(row(5, 2, 1));
    }
    for bot in [0, 1] {
        evidence.received[bot].push((0, row(5, 2, 1)));
    }
    let found = counts(&evidence);
    assert_eq!((found.1, found.3), (1, 0), "{found:?}");
}

#[test]
fn a_message_of_an_earlier_round_that_comes_back_is_a_duplicate() {
    let mut evidence = good();
    evidence.settled.insert((0, 2), 1);
    evidence.sent.retain(|sent| sent.mark.bot != 2);
    assert_eq!(counts(&evidence).1, 1);
}

#[test]
fn a_message_delivered_twice_is_caught() {
    let mut evidence = good();
    let again = evidence.received[1][0];
    evidence.received[1].push(again);
    assert_eq!(counts(&evidence), (0, 1, 0, 0, 0, 0));
}

#[test]
fn messages_stored_against_their_senders_order_are_caught() {
    let mut evidence = good();
    // Bot 0's second message took the place of its first, and the acknowledgements agree.
    for shelf in &mut evidence.shelves {
        shelf.rows[0] = row(1, 0, 2);
        shelf.rows[2] = row(3, 0, 1);
    }
    for sent in &mut evidence.sent {
        if sent.mark.bot == 0 {
            sent.fate = Fate::Acked { seq: if sent.mark.n == 1 { 3 } else { 1 } };
        }
    }
    for bot in [1, 2] {
        evidence.received[bot][0].1 = row(1, 0, 2);
    }
    evidence.received[1][1].1 = row(3, 0, 1);
    evidence.received[2][2].1 = row(3, 0, 1);
    assert_eq!(counts(&evidence), (0, 0, 1, 0, 0, 0));
}

#[test]
fn a_replica_that_tells_another_order_is_caught() {
    let mut evidence = good();
    evidence.shelves[1].rows[1] = row(2, 2, 1);
    evidence.shelves[1].rows[3] = row(4, 1, 1);
    assert!(counts(&evidence).2 >= 2);
}

#[test]
fn a_page_out_of_order_is_caught() {
    let mut evidence = good();
    evidence.shelves[0].rows.swap(1, 2);
    assert_eq!(counts(&evidence), (0, 0, 1, 0, 0, 0));
}

#[test]
fn messages_delivered_out_of_order_are_caught() {
    let mut evidence = good();
    evidence.received[2].swap(0, 1);
    assert_eq!(counts(&evidence), (0, 0, 1, 0, 0, 0));
}

#[test]
fn a_delivery_with_another_text_is_caught() {
    let mut evidence = good();
    evidence.received[2][1].1.mark = Some(mark(0, 1, 7));
    assert_eq!(counts(&evidence), (0, 0, 1, 0, 0, 0));
}

#[test]
fn an_undelivered_message_is_caught() {
    let mut evidence = good();
    evidence.received[0].remove(0);
    evidence.received[2].pop();
    assert_eq!(counts(&evidence), (0, 0, 0, 2, 0, 0));
}

#[test]
fn a_stored_message_without_an_answer_must_still_be_delivered() {
    let mut evidence = good();
    evidence.sent[3].fate = Fate::Open;
    assert_eq!(counts(&evidence), (0, 0, 0, 0, 0, 1));
    evidence.received[0].pop();
    assert_eq!(counts(&evidence), (0, 0, 0, 1, 0, 1));
}

#[test]
fn a_refused_message_that_is_stored_is_caught() {
    let mut evidence = good();
    evidence.sent[3].fate = Fate::Refused;
    assert_eq!(counts(&evidence), (0, 0, 0, 0, 1, 0));
    evidence.sent.pop();
    assert_eq!(counts(&evidence), (0, 0, 0, 0, 1, 0), "nor may it come from nowhere");
}

#[test]
fn what_people_write_between_the_bots_is_delivered_too_and_is_no_phantom() {
    let mut evidence = good();
    for shelf in &mut evidence.shelves {
        shelf.rows.push(Row { seq: 5, mark: None });
    }
    assert_eq!(counts(&evidence), (0, 0, 0, 3, 0, 0));
    for bot in 0..3 {
        evidence.received[bot].push((0, Row { seq: 5, mark: None }));
    }
    assert_eq!(judge(&evidence), Findings::default());
}

#[test]
fn a_later_round_is_judged_from_where_the_last_one_ended() {
    let mut evidence = good();
    evidence.base = vec![10];
    evidence.settled = BTreeMap::from([((0, 0), 5), ((0, 1), 5), ((0, 2), 5)]);
    let later = |row: &mut Row| {
        row.seq += 10;
        if let Some(mark) = &mut row.mark {
            mark.n += 5;
        }
    };
    evidence.shelves.iter_mut().flat_map(|shelf| &mut shelf.rows).for_each(later);
    evidence.received.iter_mut().flatten().for_each(|(_, row)| later(row));
    for sent in &mut evidence.sent {
        sent.mark.n += 5;
        let Fate::Acked { seq } = &mut sent.fate else { continue };
        *seq += 10;
    }
    assert_eq!(judge(&evidence), Findings::default());
    evidence.shelves[0].rows.remove(0);
    assert_eq!(counts(&evidence).0, 2, "the message and the gap it left");
}

#[test]
fn a_run_that_proves_nothing_is_not_a_pass() {
    let whole = Run { acked: 9, shelves: 6, chaos: true, faults: 2, faults_held: 2, crashes: 0 };
    let clean = Findings::default();
    assert_eq!(conclude(&clean, whole), Verdict::Pass);
    let incomplete = |run| matches!(conclude(&clean, run), Verdict::Incomplete(_));
    assert!(incomplete(Run { acked: 0, ..whole }), "nothing was sent");
    assert!(incomplete(Run { shelves: 0, ..whole }), "nothing was read back");
    assert!(incomplete(Run { faults: 0, faults_held: 0, ..whole }), "no fault");
    assert!(incomplete(Run { faults_held: 1, ..whole }), "a fault that did not take hold");
    let calm = Run { chaos: false, faults: 0, faults_held: 0, ..whole };
    assert_eq!(conclude(&clean, calm), Verdict::Pass, "no faults were asked for");
    assert_eq!(conclude(&clean, Run { crashes: 1, ..whole }), Verdict::Fail);
    for harm in [
        Findings { lost: 1, ..clean.clone() },
        Findings { duplicated: 1, ..clean.clone() },
        Findings { reordered: 1, ..clean.clone() },
        Findings { undelivered: 1, ..clean.clone() },
        Findings { phantom: 1, ..clean.clone() },
        Findings { open: 1, ..clean.clone() },
    ] {
        assert_eq!(conclude(&harm, whole), Verdict::Fail);
    }
}
