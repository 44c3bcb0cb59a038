//! The fast judge against a slow one: on small histories of one conversation, drawn at random, both say the same of
//! linearizability. The slow one tries every order of the operations.

use checkers::{C, Conn, D, Entry, F, History, Interner, Kind, Level, Op, Outcome, all_checks};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// What was drawn of one operation: its span, and what it claims.
#[derive(Clone, Copy, Debug)]
enum Claim {
    /// A send that was told this place; 0 is an unknown end.
    Send(u64),
    /// A strong read that saw this many messages.
    Read(usize),
}

#[derive(Clone, Copy, Debug)]
struct Span {
    from: u64,
    to: u64,
    claim: Claim,
}

/// A world of up to eight operations; the log is what the sends' places say, unknown ones at the places left.
fn worlds() -> impl Strategy<Value = Vec<Span>> {
    let span = (0u64..20, 1u64..12, 0usize..5, any::<bool>(), any::<bool>());
    prop::collection::vec(span, 1..=8).prop_map(|drawn| {
        let mut sends: Vec<usize> = (0..drawn.len()).filter(|at| !drawn[*at].3).collect();
        sends.sort_by_key(|at| {
            (drawn[*at].0 + drawn[*at].1 * u64::from(drawn[*at].4), drawn[*at].2)
        });
        let claim = |at: usize| match sends.iter().position(|of| *of == at) {
            Some(place) => Claim::Send(place as u64 + 1),
            None => Claim::Read(drawn[at].2),
        };
        let span = |(at, (from, long, ..)): (usize, &(u64, u64, usize, bool, bool))| Span {
            // Times of beginnings are even and of ends odd, so that none are equal.
            from: from * 2,
            to: (from + long) * 2 + 1,
            claim: claim(at),
        };
        drawn.iter().enumerate().map(span).collect()
    })
}

/// What each place holds: the operation that was told it.
fn log(world: &[Span]) -> Vec<usize> {
    let mut log: Vec<(u64, usize)> = Vec::new();
    for (at, span) in world.iter().enumerate() {
        if let Claim::Send(seq) = span.claim {
            log.push((seq, at));
        }
    }
    log.sort_unstable();
    log.into_iter().map(|(_, at)| at).collect()
}

fn history(world: &[Span]) -> History {
    let mut names = Interner::default();
    let c = names.conversation("c");
    let devices: Vec<D> = (0..world.len()).map(|at| names.device(&format!("u{at}"), "1")).collect();
    let entries: Vec<Entry> =
        log(world).iter().enumerate().map(|(place, at)| entry(&devices, place, *at)).collect();
    let mut ops = Vec::new();
    for (at, span) in world.iter().enumerate() {
        let (ask, end) = claims(c, devices[at], span, &entries, at);
        let op = |time, kind, f| Op {
            index: 0,
            time,
            process: at as u32,
            kind,
            node: 0,
            conn: Conn::None,
            f,
        };
        ops.push(op(span.from, Kind::Invoke, ask));
        ops.push(op(span.to, Kind::Ok, end));
    }
    let f = F::Final { c, replica: 1, entries, chain: 0 };
    ops.push(Op {
        index: 0,
        time: 1000,
        process: 99,
        kind: Kind::Ok,
        node: 0,
        conn: Conn::None,
        f,
    });
    History::new(ops, names)
}

fn entry(devices: &[D], place: usize, at: usize) -> Entry {
    Entry { seq: place as u64 + 1, from: devices[at], k: 1, h: at as u64 + 1, chain: 0, at: 0 }
}

fn claims(c: C, d: D, span: &Span, entries: &[Entry], at: usize) -> (F, F) {
    let (h, error) = (at as u64 + 1, None);
    match span.claim {
        Claim::Send(seq) => {
            let send = |seq| F::Send { c, d, k: 1, h, seq, duplicate: false, error };
            (send(0), send(seq))
        }
        Claim::Read(count) => {
            let count = count.min(entries.len());
            let read = |entries: Vec<Entry>, head| F::Read {
                c,
                d,
                level: Level::Linearizable,
                after: 0,
                entries,
                head,
                error,
            };
            (read(Vec::new(), None), read(entries[..count].to_vec(), Some(count as u64)))
        }
    }
}

/// Whether some order of the operations, true to real time, is a run of one log.
fn linearizable(world: &[Span]) -> bool {
    let ends = log(world).len();
    fn go(world: &[Span], done: u32, length: u64, ends: usize) -> bool {
        if done.count_ones() as usize == world.len() {
            return true;
        }
        let open = |at: &usize| done & (1 << at) == 0;
        let first_end =
            (0..world.len()).filter(open).map(|at| world[at].to).min().unwrap_or(u64::MAX);
        (0..world.len()).filter(open).filter(|at| world[*at].from < first_end).any(|at| match world
            [at]
            .claim
        {
            Claim::Send(seq) => seq == length + 1 && go(world, done | 1 << at, length + 1, ends),
            Claim::Read(count) => {
                count.min(ends) as u64 == length && go(world, done | 1 << at, length, ends)
            }
        })
    }
    go(world, 0, 0, ends)
}

fn judged(world: &[Span], name: &str) -> bool {
    let history = history(world);
    let checks = all_checks(&checkers::Expectations::default());
    let check = checks.iter().find(|check| check.name() == name).expect("there is such a check");
    check.check(&history).outcome() == Outcome::Valid
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_judge_and_the_search_agree_with_every_order_tried(world in worlds()) {
        let truth = linearizable(&world);
        prop_assert_eq!(judged(&world, "order"), truth, "{:?}", world);
        prop_assert_eq!(judged(&world, "search"), truth, "{:?}", world);
    }
}

#[test]
fn the_drawn_worlds_are_of_both_kinds() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let drawn = (0..2000).filter_map(|_| worlds().new_tree(&mut runner).ok());
    let good = drawn.filter(|tree| linearizable(&tree.current())).count();
    assert!((200..1800).contains(&good), "{good} of 2000 worlds are linearizable");
}
