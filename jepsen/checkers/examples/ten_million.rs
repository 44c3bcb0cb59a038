//! Makes a valid history of so many operations (ten million unless told otherwise) and judges it; prints how long that
//! took and how much memory. `cargo run --release -p checkers --example ten_million [operations]`

#![expect(clippy::disallowed_methods, reason = "measures how long judging takes")]

use checkers::{
    C, Conn, D, Entry, Expectations, F, History, Interner, Kind, Level, NEMESIS, Op, Phase, U,
    judge,
};
use std::time::Instant;

const CONVERSATIONS: usize = 10_000;
const MEMBERS: usize = 4;
/// A strong read after so many messages of a conversation.
const READ_EVERY: u64 = 20;
/// A confirmation of every member after so many.
const CONFIRM_EVERY: u64 = 10;

struct Talk {
    c: C,
    devices: Vec<D>,
    orders: Vec<u64>,
    log: Vec<Entry>,
}

struct Maker {
    ops: Vec<Op>,
    time: u64,
    dice: u64,
}

impl Maker {
    fn roll(&mut self, sides: usize) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice % sides as u64) as usize
    }

    fn note(&mut self, process: u32, kind: Kind, f: F) {
        self.time += 1_000;
        let index = self.ops.len() as u64;
        self.ops.push(Op { index, time: self.time, process, kind, node: 1, conn: Conn::Quic, f });
    }

    fn ask(&mut self, process: u32, ask: F, answer: F) {
        self.note(process, Kind::Invoke, ask);
        self.note(process, Kind::Ok, answer);
    }

    fn message(&mut self, talk: &mut Talk) {
        let sender = self.roll(talk.devices.len());
        let (c, d) = (talk.c, talk.devices[sender]);
        talk.orders[sender] += 1;
        let (k, seq) = (talk.orders[sender], talk.log.len() as u64 + 1);
        let h = self.dice | 1;
        let chain = talk.log.last().map_or(1, |last| last.chain).wrapping_mul(31) ^ h;
        let send = |seq| F::Send { c, d, k, h, seq, duplicate: false, error: None };
        self.ask(d.0, send(0), send(seq));
        talk.log.push(Entry { seq, from: d, k, h, chain, at: self.time / 1_000_000 });
        for to in talk.devices.iter().copied().filter(|to| *to != d) {
            self.note(0, Kind::Ok, F::Deliver { c, d: to, link: 1, seq, from: d, k, h, chain });
        }
        if seq.is_multiple_of(CONFIRM_EVERY) {
            for of in talk.devices.clone() {
                let confirm = F::Confirm { c, d: of, seq, read: true, error: None };
                self.ask(of.0, confirm.clone(), confirm);
            }
        }
        if seq.is_multiple_of(READ_EVERY) {
            self.read(talk, d, seq - READ_EVERY);
        }
    }

    fn read(&mut self, talk: &Talk, d: D, after: u64) {
        let level = Level::Linearizable;
        let read =
            |entries, head| F::Read { c: talk.c, d, level, after, entries, head, error: None };
        let page = talk.log[after as usize..].to_vec();
        self.ask(d.0, read(Vec::new(), None), read(page, Some(talk.log.len() as u64)));
    }

    fn end(&mut self, talk: Talk) {
        let chain = talk.log.last().map_or(0, |last| last.chain);
        for replica in 1..=3 {
            self.note(
                0,
                Kind::Ok,
                F::Final { c: talk.c, replica, entries: talk.log.clone(), chain },
            );
        }
    }
}

fn make(operations: usize) -> History {
    let mut names = Interner::default();
    let mut maker = Maker {
        ops: Vec::with_capacity(operations + 200_000),
        time: 0,
        dice: 88_172_645_463_325_252,
    };
    let mut talks: Vec<Talk> = (0..CONVERSATIONS)
        .map(|at| {
            let device = |of: usize| names_device(&mut names, at, of);
            let devices: Vec<D> = (0..MEMBERS).map(device).collect();
            let c = names.conversation(&format!("c{at}"));
            let members: Vec<U> = devices.iter().map(|d| names.user_of(*d)).collect();
            devices.iter().for_each(|d| maker.note(0, Kind::Ok, F::Connect { d: *d, link: 1 }));
            let create =
                F::Create { c, by: devices[0], members, direct: false, all: false, error: None };
            maker.ask(devices[0].0, create.clone(), create);
            Talk { c, orders: vec![0; devices.len()], devices, log: Vec::new() }
        })
        .collect();
    let mut faults = 0;
    while maker.ops.len() < operations {
        let at = maker.roll(CONVERSATIONS);
        maker.message(&mut talks[at]);
        if maker.ops.len() / 100_000 > faults {
            faults += 1;
            let phase = if faults % 2 == 1 { Phase::Installed } else { Phase::Healed };
            let f = F::Fault {
                name: "kill".to_owned(),
                detail: "n1".to_owned(),
                phase,
                keeps_quorum: true,
            };
            maker.note(NEMESIS, Kind::Info, f);
        }
    }
    let devices: Vec<D> = talks.iter().flat_map(|talk| talk.devices.clone()).collect();
    talks.into_iter().for_each(|talk| maker.end(talk));
    devices
        .iter()
        .for_each(|d| maker.note(0, Kind::Ok, F::CaughtUp { d: *d, link: 1, last: true }));
    History::new(maker.ops, names)
}

/// Every user has one device and talks in two conversations.
fn names_device(names: &mut Interner, conversation: usize, of: usize) -> D {
    names.device(&format!("u{}", (conversation * 2 + of) % (CONVERSATIONS * 2)), "1")
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn main() {
    let operations =
        std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let history = make(operations);
    println!("{} operations made, {} MiB", history.ops.len(), peak_mib());
    let begun = Instant::now();
    let expectations = Expectations { recovery_ns: 10_000_000_000, ..Expectations::default() };
    let judgement = judge(&history, &expectations);
    for (name, verdict) in &judgement.checks {
        println!("{name}: {:?}", verdict.outcome());
        verdict.violations().iter().take(1).for_each(|violation| println!("  {}", violation.what));
    }
    println!(
        "{:?} in {:.1} s, {} MiB at most",
        judgement.outcome,
        begun.elapsed().as_secs_f64(),
        peak_mib()
    );
}
