//! What a line says beside who and when: the field `value`, by the name in the field `f`.

use super::{Entry, F, InboxLine, Interner, Level, Phase};
use crate::history::{Code, U};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

type Text<'a> = Option<Cow<'a, str>>;

/// A hash as 16 hexadecimal digits.
#[derive(Clone, Copy)]
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Hex, De::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Hex).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct EntryLine<'a> {
    seq: u64,
    #[serde(borrow)]
    d: Cow<'a, str>,
    k: u64,
    h: Hex,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct InboxEntry<'a> {
    #[serde(borrow)]
    c: Cow<'a, str>,
    last: u64,
    unread: u64,
}

/// All fields that some kind of operation has; each kind uses some.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Value<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    c: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    d: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    by: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    from: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    u: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    observer: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    level: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    asset: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    place: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    name: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    detail: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    phase: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    add: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    remove: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<EntryLine<'a>>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    inbox: Option<Vec<InboxEntry<'a>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_least: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replica: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivered_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leader: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    applied: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    h: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivered: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    direct: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keeps_quorum: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<Vec<u64>>,
}

/// The field `f` of an operation.
pub(super) fn name_of(f: &F) -> &'static str {
    match f {
        F::Send { .. } => "send",
        F::Deliver { .. } => "deliver",
        F::Read { .. } => "read",
        F::Final { .. } => "final",
        F::Confirm { .. } => "confirm",
        F::Status { .. } => "status",
        F::Cursor { .. } => "cursor",
        F::Create { .. } => "create",
        F::Members { .. } => "members",
        F::Connect { .. } => "connect",
        F::Disconnect { .. } => "disconnect",
        F::CaughtUp { .. } => "caught-up",
        F::Inbox { .. } => "inbox",
        F::Presence { .. } => "presence",
        F::Leader { .. } => "leader",
        F::Digest { .. } => "digest",
        F::Owner { .. } => "owner",
        F::Commit { .. } => "commit",
        F::Sealed { .. } => "sealed",
        F::Upload { .. } => "upload",
        F::Fetch { .. } => "fetch",
        F::Mention { .. } => "mention",
        F::Scan { .. } => "scan",
        F::Fault { .. } => "fault",
    }
}

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

const PHASES: [(Phase, &str); 5] = [
    (Phase::Install, "install"),
    (Phase::Installed, "installed"),
    (Phase::Skipped, "skipped"),
    (Phase::Heal, "heal"),
    (Phase::Healed, "healed"),
];

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

    /// The operation of this name, its names numbered.
    pub(super) fn into_f(
        self,
        f: &str,
        names: &mut Interner,
        error: Option<Code>,
    ) -> Result<F, String> {
        Reading { value: self, names, error }.read(f)
    }
}

/// A value on its way to an operation.
struct Reading<'v, 'n> {
    value: Value<'v>,
    names: &'n mut Interner,
    error: Option<Code>,
}

impl Reading<'_, '_> {
    fn read(mut self, f: &str) -> Result<F, String> {
        match f {
            "send" | "deliver" | "read" | "final" => self.message(f),
            "confirm" | "create" | "members" => self.change(f),
            "status" | "cursor" | "connect" | "disconnect" | "caught-up" | "inbox" | "presence" => {
                self.sight(f)
            }
            "leader" | "digest" | "owner" | "scan" | "fault" => self.cluster(f),
            "commit" | "sealed" | "upload" | "fetch" | "mention" => self.later(f),
            other => Err(format!("no such operation as {other:?}")),
        }
    }

    fn message(&mut self, f: &str) -> Result<F, String> {
        let c = self.c()?;
        Ok(match f {
            "send" => F::Send {
                c,
                d: self.d()?,
                k: need(self.value.k, "k")?,
                h: self.h(),
                seq: self.value.seq.unwrap_or(0),
                duplicate: self.value.duplicate.unwrap_or(false),
                error: self.error,
            },
            "deliver" => F::Deliver {
                c,
                d: self.d()?,
                link: small(self.value.link, "link")?,
                seq: need(self.value.seq, "seq")?,
                from: self.names.device_called(&need(self.value.from.take(), "from")?),
                k: need(self.value.k, "k")?,
                h: self.h(),
                chain: self.value.chain.map_or(0, |hash| hash.0),
            },
            "read" => F::Read {
                c,
                d: self.d()?,
                level: self.level()?,
                after: self.value.after.unwrap_or(0),
                entries: self.entries(),
                head: self.value.head,
                error: self.error,
            },
            _ => F::Final {
                c,
                replica: small(self.value.replica, "replica")?,
                entries: self.entries(),
                chain: self.value.chain.map_or(0, |hash| hash.0),
            },
        })
    }

    fn change(&mut self, f: &str) -> Result<F, String> {
        let c = self.c()?;
        Ok(match f {
            "confirm" => F::Confirm {
                c,
                d: self.d()?,
                seq: need(self.value.seq, "seq")?,
                read: self.value.read.unwrap_or(false),
                error: self.error,
            },
            "create" => F::Create {
                c,
                by: self.by()?,
                members: users_of(self.names, self.value.members.take()),
                direct: self.value.direct.unwrap_or(false),
                all: self.value.all.unwrap_or(false),
                error: self.error,
            },
            _ => F::Members {
                c,
                by: self.by()?,
                add: users_of(self.names, self.value.add.take()),
                remove: users_of(self.names, self.value.remove.take()),
                at: self.value.at,
                error: self.error,
            },
        })
    }

    fn sight(&mut self, f: &str) -> Result<F, String> {
        Ok(match f {
            "status" => F::Status {
                c: self.c()?,
                d: self.d()?,
                seq: need(self.value.seq, "seq")?,
                delivered: self.value.delivered.unwrap_or(false),
                read: self.value.read.unwrap_or(false),
            },
            "cursor" => F::Cursor {
                c: self.c()?,
                d: self.d()?,
                delivered: need(self.value.delivered_to, "delivered_to")?,
                read: need(self.value.read_to, "read_to")?,
                last: self.value.last.unwrap_or(false),
            },
            "connect" => F::Connect { d: self.d()?, link: small(self.value.link, "link")? },
            "disconnect" => F::Disconnect { d: self.d()?, link: small(self.value.link, "link")? },
            "caught-up" => {
                let last = self.value.last.unwrap_or(false);
                F::CaughtUp { d: self.d()?, link: small(self.value.link, "link")?, last }
            }
            "inbox" => F::Inbox { u: self.u()?, entries: self.inbox() },
            _ => F::Presence {
                observer: self.names.device_called(&need(self.value.observer.take(), "observer")?),
                u: self.u()?,
                online: need(self.value.online, "online")?,
            },
        })
    }

    fn cluster(&mut self, f: &str) -> Result<F, String> {
        Ok(match f {
            "leader" => F::Leader {
                shard: small(self.value.shard, "shard")?,
                node: small(self.value.leader, "leader")?,
                term: need(self.value.term, "term")?,
            },
            "digest" => F::Digest {
                replica: small(self.value.replica, "replica")?,
                shard: small(self.value.shard, "shard")?,
                index: need(self.value.applied, "applied")?,
                digest: need(self.value.digest, "digest")?.0,
            },
            "owner" => F::Owner {
                c: self.c()?,
                shard: small(self.value.shard, "shard")?,
                epoch: self.value.epoch.unwrap_or(0),
            },
            "scan" => F::Scan {
                place: need(self.value.place.take(), "place")?.into_owned(),
                bytes: self.value.bytes.unwrap_or(0),
                tokens: small(self.value.tokens, "tokens")?,
                found: self.value.found.take().unwrap_or_default(),
            },
            _ => F::Fault {
                name: need(self.value.name.take(), "name")?.into_owned(),
                detail: self.value.detail.take().unwrap_or_default().into_owned(),
                phase: self.phase()?,
                keeps_quorum: self.value.keeps_quorum.unwrap_or(false),
            },
        })
    }

    fn later(&mut self, f: &str) -> Result<F, String> {
        Ok(match f {
            "commit" => F::Commit {
                c: self.c()?,
                d: self.d()?,
                epoch: need(self.value.epoch, "epoch")?,
                h: self.h(),
                at: self.value.at,
                stale: self.value.stale.unwrap_or(false),
            },
            "sealed" => F::Sealed {
                c: self.c()?,
                seq: need(self.value.seq, "seq")?,
                epoch: need(self.value.epoch, "epoch")?,
            },
            "upload" => F::Upload { asset: self.asset()?, h: self.h() },
            "fetch" => F::Fetch {
                asset: self.asset()?,
                h: self.h(),
                gone: self.value.gone.unwrap_or(false),
                last: self.value.last.unwrap_or(false),
            },
            _ => {
                F::Mention { c: self.c()?, seq: need(self.value.seq, "seq")?, asset: self.asset()? }
            }
        })
    }

    fn c(&mut self) -> Result<crate::history::C, String> {
        Ok(self.names.conversation(&need(self.value.c.take(), "c")?))
    }

    fn d(&mut self) -> Result<crate::history::D, String> {
        Ok(self.names.device_called(&need(self.value.d.take(), "d")?))
    }

    fn by(&mut self) -> Result<crate::history::D, String> {
        Ok(self.names.device_called(&need(self.value.by.take(), "by")?))
    }

    fn u(&mut self) -> Result<U, String> {
        Ok(self.names.user(&need(self.value.u.take(), "u")?))
    }

    fn asset(&mut self) -> Result<u32, String> {
        Ok(self.names.asset(&need(self.value.asset.take(), "asset")?))
    }

    fn h(&self) -> u64 {
        self.value.h.map_or(0, |hash| hash.0)
    }

    fn level(&self) -> Result<Level, String> {
        match self.value.level.as_deref() {
            Some("linearizable") | None => Ok(Level::Linearizable),
            Some("at_least") => Ok(Level::AtLeast(need(self.value.at_least, "at_least")?)),
            Some("local") => Ok(Level::Local),
            Some(other) => Err(format!("no such level as {other:?}")),
        }
    }

    fn phase(&self) -> Result<Phase, String> {
        let name = self.value.phase.as_deref().unwrap_or("");
        let phase = PHASES.iter().find(|(_, of)| *of == name);
        phase.map(|(phase, _)| *phase).ok_or_else(|| format!("no such phase as {name:?}"))
    }

    fn entries(&mut self) -> Vec<Entry> {
        let lines = self.value.entries.take().unwrap_or_default();
        let names = &mut *self.names;
        let entry = |line: EntryLine<'_>| Entry {
            seq: line.seq,
            from: names.device_called(&line.d),
            k: line.k,
            h: line.h.0,
            chain: line.chain.map_or(0, |hash| hash.0),
            at: line.at.unwrap_or(0),
        };
        lines.into_iter().map(entry).collect()
    }

    fn inbox(&mut self) -> Vec<InboxLine> {
        let lines = self.value.inbox.take().unwrap_or_default();
        let names = &mut *self.names;
        let line = |line: InboxEntry<'_>| InboxLine {
            c: names.conversation(&line.c),
            last: line.last,
            unread: line.unread,
        };
        lines.into_iter().map(line).collect()
    }
}

fn users_of(names: &mut Interner, list: Option<Vec<Cow<'_, str>>>) -> Vec<U> {
    list.unwrap_or_default().iter().map(|name| names.user(name)).collect()
}

fn need<T>(value: Option<T>, field: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("the field {field:?} is missing"))
}

fn small<T: TryFrom<u64>>(value: Option<u64>, field: &str) -> Result<T, String> {
    T::try_from(need(value, field)?).map_err(|_| format!("the field {field:?} is too large"))
}
