//! From an operation to the value of its line.

use super::value::{EntryLine, Hex, InboxEntry, PHASES, Text, Value};
use super::{Entry, F, InboxLine, Interner, Level};
use crate::history::{Code, U};
use std::borrow::Cow;

fn text(name: &str) -> Text<'_> {
    Some(Cow::Borrowed(name))
}

fn hex(hash: u64) -> Option<Hex> {
    (hash != 0).then_some(Hex(hash))
}

fn users<'a>(names: &'a Interner, users: &[U]) -> Option<Vec<Cow<'a, str>>> {
    Some(users.iter().map(|u| Cow::Borrowed(names.user_name(*u))).collect())
}

fn entries<'a>(names: &'a Interner, entries: &[Entry]) -> Option<Vec<EntryLine<'a>>> {
    let line = |entry: &Entry| EntryLine {
        seq: entry.seq,
        d: Cow::Borrowed(names.device_name(entry.from)),
        k: entry.k,
        h: Hex(entry.h),
        chain: hex(entry.chain),
        at: (entry.at != 0).then_some(entry.at),
    };
    Some(entries.iter().map(line).collect())
}

fn yes(flag: bool) -> Option<bool> {
    flag.then_some(true)
}

impl<'a> Value<'a> {
    /// The value of an operation, and the code of the problem it met.
    pub(super) fn of(names: &'a Interner, f: &'a F) -> (Value<'a>, Option<Code>) {
        match f {
            F::Send { .. } | F::Deliver { .. } | F::Read { .. } | F::Final { .. } => {
                Value::of_message(names, f)
            }
            F::Create { .. } | F::Members { .. } | F::Confirm { .. } => Value::of_change(names, f),
            _ => (Value::of_sight(names, f), None),
        }
    }

    fn of_message(names: &'a Interner, f: &F) -> (Value<'a>, Option<Code>) {
        let c = |c| text(names.conversation_name(c));
        let device = |d| text(names.device_name(d));
        match *f {
            F::Send { c: of, d, k, h, seq, duplicate, error } => {
                let seq = (seq != 0).then_some(seq);
                let value = Value {
                    c: c(of),
                    d: device(d),
                    k: Some(k),
                    h: Some(Hex(h)),
                    seq,
                    ..Value::default()
                };
                (Value { duplicate: yes(duplicate), ..value }, error)
            }
            F::Deliver { c: of, d, link, seq, from, k, h, chain } => {
                let value = Value {
                    c: c(of),
                    d: device(d),
                    link: Some(u64::from(link)),
                    seq: Some(seq),
                    ..Value::default()
                };
                (
                    Value {
                        from: device(from),
                        k: Some(k),
                        h: Some(Hex(h)),
                        chain: hex(chain),
                        ..value
                    },
                    None,
                )
            }
            F::Read { c: of, d, level, after, entries: ref read, head, error } => {
                let (level, at_least) = match level {
                    Level::Linearizable => ("linearizable", None),
                    Level::AtLeast(seq) => ("at_least", Some(seq)),
                    Level::Local => ("local", None),
                };
                let value = Value {
                    c: c(of),
                    d: device(d),
                    level: text(level),
                    at_least,
                    ..Value::default()
                };
                (Value { after: Some(after), entries: entries(names, read), head, ..value }, error)
            }
            F::Final { c: of, replica, entries: ref read, chain } => {
                let value = Value {
                    c: c(of),
                    replica: Some(u64::from(replica)),
                    chain: hex(chain),
                    ..Value::default()
                };
                (Value { entries: entries(names, read), ..value }, None)
            }
            _ => (Value::default(), None),
        }
    }

    fn of_change(names: &'a Interner, f: &F) -> (Value<'a>, Option<Code>) {
        let c = |c| text(names.conversation_name(c));
        let device = |d| text(names.device_name(d));
        match *f {
            F::Confirm { c: of, d, seq, read, error } => (
                Value {
                    c: c(of),
                    d: device(d),
                    seq: Some(seq),
                    read: Some(read),
                    ..Value::default()
                },
                error,
            ),
            F::Create { c: of, by, ref members, direct, all, error } => {
                let value = Value {
                    c: c(of),
                    by: device(by),
                    members: users(names, members),
                    ..Value::default()
                };
                (Value { direct: yes(direct), all: yes(all), ..value }, error)
            }
            F::Members { c: of, by, ref add, ref remove, at, error } => {
                let value = Value { c: c(of), by: device(by), at, ..Value::default() };
                (Value { add: users(names, add), remove: users(names, remove), ..value }, error)
            }
            _ => (Value::default(), None),
        }
    }

    fn of_sight(names: &'a Interner, f: &'a F) -> Value<'a> {
        let c = |c| text(names.conversation_name(c));
        let device = |d| text(names.device_name(d));
        let none = Value::default();
        match *f {
            F::Status { c: of, d, seq, delivered, read } => Value {
                c: c(of),
                d: device(d),
                seq: Some(seq),
                delivered: Some(delivered),
                read: Some(read),
                ..none
            },
            F::Cursor { c: of, d, delivered, read, last } => {
                let value = Value { c: c(of), d: device(d), last: yes(last), ..none };
                Value { delivered_to: Some(delivered), read_to: Some(read), ..value }
            }
            F::Connect { d, link } | F::Disconnect { d, link } => {
                Value { d: device(d), link: Some(u64::from(link)), ..none }
            }
            F::CaughtUp { d, link, last } => {
                Value { d: device(d), link: Some(u64::from(link)), last: yes(last), ..none }
            }
            F::Inbox { u, entries: ref lines } => {
                let line = |line: &InboxLine| InboxEntry {
                    c: Cow::Borrowed(names.conversation_name(line.c)),
                    last: line.last,
                    unread: line.unread,
                };
                Value {
                    u: text(names.user_name(u)),
                    inbox: Some(lines.iter().map(line).collect()),
                    ..none
                }
            }
            F::Presence { observer, u, online } => Value {
                observer: device(observer),
                u: text(names.user_name(u)),
                online: Some(online),
                ..none
            },
            _ => Value::of_cluster(names, f),
        }
    }

    fn of_cluster(names: &'a Interner, f: &'a F) -> Value<'a> {
        let c = |c| text(names.conversation_name(c));
        let none = Value::default();
        match *f {
            F::Leader { shard, node, term } => Value {
                shard: Some(u64::from(shard)),
                leader: Some(u64::from(node)),
                term: Some(term),
                ..none
            },
            F::Digest { replica, shard, index, digest } => {
                let value = Value {
                    replica: Some(u64::from(replica)),
                    shard: Some(u64::from(shard)),
                    ..none
                };
                Value { applied: Some(index), digest: Some(Hex(digest)), ..value }
            }
            F::Owner { c: of, shard, epoch } => {
                Value { c: c(of), shard: Some(u64::from(shard)), epoch: Some(epoch), ..none }
            }
            F::Commit { c: of, d, epoch, h, at, stale } => {
                let value =
                    Value { c: c(of), d: text(names.device_name(d)), epoch: Some(epoch), ..none };
                Value { h: Some(Hex(h)), at, stale: yes(stale), ..value }
            }
            F::Sealed { c: of, seq, epoch } => {
                Value { c: c(of), seq: Some(seq), epoch: Some(epoch), ..none }
            }
            F::Upload { asset, h } => {
                Value { asset: text(names.asset_name(asset)), h: Some(Hex(h)), ..none }
            }
            F::Fetch { asset, h, gone, last } => {
                let value = Value { asset: text(names.asset_name(asset)), h: Some(Hex(h)), ..none };
                Value { gone: yes(gone), last: yes(last), ..value }
            }
            F::Mention { c: of, seq, asset } => {
                Value { c: c(of), seq: Some(seq), asset: text(names.asset_name(asset)), ..none }
            }
            F::Scan { ref place, bytes, tokens, ref found } => {
                let value = Value { place: text(place), bytes: Some(bytes), ..none };
                Value { tokens: Some(u64::from(tokens)), found: Some(found.clone()), ..value }
            }
            F::Fault { ref name, ref detail, phase, keeps_quorum } => {
                let phase = PHASES
                    .iter()
                    .find(|(of, _)| *of == phase)
                    .map(|(_, name)| Cow::Borrowed(*name));
                let value = Value { name: text(name), detail: text(detail), phase, ..none };
                Value { keeps_quorum: Some(keeps_quorum), ..value }
            }
            _ => none,
        }
    }
}
