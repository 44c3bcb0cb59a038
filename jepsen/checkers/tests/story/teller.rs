//! Tells a history sentence by sentence; keeps the one log that an honest system would have.

use checkers::*;
use std::collections::BTreeMap;

/// A hash of a message's words.
pub(crate) fn h(words: u64) -> u64 {
    payload_hash("m", &words.to_string())
}

/// What an order of a device says, unless told otherwise.
fn words(device: &str, k: u64) -> u64 {
    payload_hash(device, &k.to_string())
}

#[derive(Clone, Default)]
pub(crate) struct Teller {
    names: Interner,
    ops: Vec<Op>,
    logs: BTreeMap<String, Vec<Entry>>,
    time: u64,
    process: u32,
}

impl Teller {
    pub(crate) fn new() -> Teller {
        Teller::default()
    }

    pub(crate) fn finish(self) -> History {
        History::new(self.ops, self.names)
    }

    pub(crate) fn c(&self, name: &str) -> C {
        self.names.clone().conversation(name)
    }

    pub(crate) fn d(&self, name: &str) -> D {
        self.names.clone().device_called(name)
    }

    pub(crate) fn u(&self, name: &str) -> U {
        self.names.clone().user(name)
    }

    pub(crate) fn asset(&mut self, name: &str) -> u32 {
        self.names.asset(name)
    }

    pub(crate) fn line(&self, c: &str, last: u64, unread: u64) -> InboxLine {
        InboxLine { c: self.c(c), last, unread }
    }

    pub(crate) fn wait(&mut self, time: u64) {
        self.time += time;
    }

    fn note(&mut self, process: u32, kind: Kind, f: F) {
        self.time += 10;
        let index = self.ops.len() as u64;
        self.ops.push(Op { index, time: self.time, process, kind, node: 1, conn: Conn::Quic, f });
    }

    fn fresh(&mut self) -> u32 {
        self.process += 1;
        self.process
    }

    pub(crate) fn saw(&mut self, f: F) {
        self.note(0, Kind::Ok, f);
    }

    pub(crate) fn asked(&mut self, f: F, kind: Kind, answer: F) {
        let process = self.fresh();
        self.note(process, Kind::Invoke, f);
        self.note(process, kind, answer);
    }

    pub(crate) fn fault(&mut self, name: &str, phase: Phase, keeps_quorum: bool) {
        let f = F::Fault { name: name.to_owned(), detail: "n1".to_owned(), phase, keeps_quorum };
        self.note(NEMESIS, Kind::Info, f);
    }

    pub(crate) fn devices(&mut self, names: &[&str]) {
        for name in names {
            self.names.device_called(name);
            self.connect(name, 1);
        }
    }

    pub(crate) fn connect(&mut self, d: &str, link: u32) {
        self.saw(F::Connect { d: self.d(d), link });
    }

    pub(crate) fn caught_up(&mut self, d: &str, link: u32) {
        self.saw(F::CaughtUp { d: self.d(d), link, last: true });
    }

    pub(crate) fn direct(&mut self, c: &str, members: &[&str]) {
        self.create(c, members, true);
    }

    pub(crate) fn group(&mut self, c: &str, members: &[&str]) {
        self.create(c, members, false);
    }

    fn create(&mut self, c: &str, members: &[&str], direct: bool) {
        let c = self.names.conversation(c);
        let by = self.d(&format!("{}/1", members[0]));
        let members = members.iter().map(|name| self.u(name)).collect();
        let f = F::Create { c, by, members, direct, all: false, error: None };
        self.asked(f.clone(), Kind::Ok, f);
    }

    pub(crate) fn members(&mut self, c: &str, by: &str, add: &[&str], remove: &[&str]) {
        let users = |names: &[&str]| names.iter().map(|name| self.u(name)).collect();
        let (c, by, add, remove) = (self.c(c), self.d(by), users(add), users(remove));
        let f = F::Members { c, by, add, remove, at: None, error: None };
        self.asked(f.clone(), Kind::Ok, f);
    }

    fn send(&mut self, c: &str, d: &str, (k, h): (u64, u64), seq: u64, error: Option<&str>) -> F {
        let error = error.map(|code| self.names.code(code));
        F::Send { c: self.c(c), d: self.d(d), k, h, seq, duplicate: false, error }
    }

    pub(crate) fn invoke(&mut self, d: &str, c: &str, k: u64) -> u32 {
        self.invoke_as(d, c, k, words(d, k))
    }

    pub(crate) fn invoke_as(&mut self, d: &str, c: &str, k: u64, h: u64) -> u32 {
        let process = self.fresh();
        let f = self.send(c, d, (k, h), 0, None);
        self.note(process, Kind::Invoke, f);
        process
    }

    #[expect(clippy::too_many_arguments, reason = "a sentence of a test reads in one line")]
    pub(crate) fn complete(
        &mut self,
        process: u32,
        d: &str,
        c: &str,
        k: u64,
        kind: Kind,
        seq: u64,
        error: Option<&str>,
    ) {
        let f = self.send(c, d, (k, words(d, k)), seq, error);
        self.note(process, kind, f);
    }

    /// Asks and is answered at once.
    #[expect(clippy::too_many_arguments, reason = "a sentence of a test reads in one line")]
    pub(crate) fn answer(
        &mut self,
        d: &str,
        c: &str,
        k: u64,
        kind: Kind,
        seq: u64,
        error: Option<&str>,
    ) {
        let process = self.invoke(d, c, k);
        self.complete(process, d, c, k, kind, seq, error);
    }

    pub(crate) fn answer_failed(&mut self, d: &str, c: &str, k: u64, code: &str) {
        self.answer(d, c, k, Kind::Fail, 0, Some(code));
    }

    /// Sent, stored, acknowledged.
    pub(crate) fn sent(&mut self, d: &str, c: &str, k: u64) {
        let process = self.invoke(d, c, k);
        let seq = self.stored(c, d, k);
        self.complete(process, d, c, k, Kind::Ok, seq, None);
    }

    pub(crate) fn sent_without_order(&mut self, d: &str, c: &str, h: u64) {
        let process = self.fresh();
        let f = self.send(c, d, (0, h), 0, None);
        self.note(process, Kind::Invoke, f);
        let k = 1 + self.log(c).iter().filter(|entry| entry.from == self.d(d)).count() as u64;
        let seq = self.stored_as(c, d, k, h);
        let f = self.send(c, d, (0, h), seq, None);
        self.note(process, Kind::Ok, f);
    }

    pub(crate) fn unknown(&mut self, d: &str, c: &str, k: u64) {
        self.answer(d, c, k, Kind::Info, 0, None);
    }

    /// The log holds it from now on.
    pub(crate) fn stored(&mut self, c: &str, d: &str, k: u64) -> u64 {
        self.stored_as(c, d, k, words(d, k))
    }

    pub(crate) fn stored_as(&mut self, c: &str, d: &str, k: u64, h: u64) -> u64 {
        let from = self.d(d);
        let log = self.logs.entry(c.to_owned()).or_default();
        let seq = log.len() as u64 + 1;
        let chain = log.last().map_or(1, |last| last.chain.wrapping_mul(31)) ^ h;
        log.push(Entry { seq, from, k, h, chain, at: 1000 + seq });
        seq
    }

    pub(crate) fn log(&self, c: &str) -> Vec<Entry> {
        self.logs.get(c).cloned().unwrap_or_default()
    }

    pub(crate) fn deliver(&mut self, c: &str, d: &str, link: u32, seq: u64) {
        let entry = self.log(c)[seq as usize - 1];
        let Entry { seq, from, k, h, chain, .. } = entry;
        self.saw(F::Deliver { c: self.c(c), d: self.d(d), link, seq, from, k, h, chain });
    }

    /// Everything but its own.
    pub(crate) fn deliver_all(&mut self, c: &str, d: &str, link: u32) {
        let own = self.d(d);
        let foreign: Vec<u64> =
            self.log(c).iter().filter(|entry| entry.from != own).map(|entry| entry.seq).collect();
        foreign.into_iter().for_each(|seq| self.deliver(c, d, link, seq));
    }

    pub(crate) fn read(&mut self, c: &str, d: &str, after: u64) {
        let entries = self.log(c).split_off(after as usize);
        let head = self.log(c).len() as u64;
        self.page(c, d, after, entries, Some(head), Level::Linearizable);
    }

    #[expect(clippy::too_many_arguments, reason = "a sentence of a test reads in one line")]
    pub(crate) fn page(
        &mut self,
        c: &str,
        d: &str,
        after: u64,
        entries: Vec<Entry>,
        head: Option<u64>,
        level: Level,
    ) {
        let (c, d, error) = (self.c(c), self.d(d), None);
        let ask = F::Read { c, d, level, after, entries: Vec::new(), head: None, error };
        self.asked(ask, Kind::Ok, F::Read { c, d, level, after, entries, head, error });
    }

    pub(crate) fn read_back(&mut self, c: &str) {
        (1..=3).for_each(|replica| self.read_back_as(c, replica, self.log(c)));
    }

    pub(crate) fn read_back_as(&mut self, c: &str, replica: u8, entries: Vec<Entry>) {
        let chain = entries.last().map_or(0, |last| last.chain);
        self.saw(F::Final { c: self.c(c), replica, entries, chain });
    }

    pub(crate) fn confirm(&mut self, c: &str, d: &str, seq: u64, read: bool) {
        let f = F::Confirm { c: self.c(c), d: self.d(d), seq, read, error: None };
        self.asked(f.clone(), Kind::Ok, f);
    }

    pub(crate) fn status(&mut self, c: &str, d: &str, seq: u64, delivered: bool, read: bool) {
        self.saw(F::Status { c: self.c(c), d: self.d(d), seq, delivered, read });
    }

    pub(crate) fn cursor(&mut self, c: &str, d: &str, delivered: u64, read: u64, last: bool) {
        self.saw(F::Cursor { c: self.c(c), d: self.d(d), delivered, read, last });
    }

    pub(crate) fn commit(
        &mut self,
        c: &str,
        d: &str,
        (epoch, h): (u64, u64),
        kind: Kind,
        at: Option<u64>,
    ) {
        let (c, d) = (self.c(c), self.d(d));
        let ask = F::Commit { c, d, epoch, h, at: None, stale: false };
        self.asked(ask, kind, F::Commit { c, d, epoch, h, at, stale: kind == Kind::Fail });
    }

    pub(crate) fn upload(&mut self, asset: u32, h: u64, kind: Kind) {
        self.asked(F::Upload { asset, h }, kind, F::Upload { asset, h });
    }

    pub(crate) fn fetch(&mut self, asset: u32, (h, gone): (u64, bool), kind: Kind, last: bool) {
        let ask = F::Fetch { asset, h: 0, gone: false, last };
        self.asked(ask, kind, F::Fetch { asset, h, gone, last });
    }
}
