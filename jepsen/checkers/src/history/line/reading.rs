//! From the value of a line to its operation.

use super::value::{EntryLine, InboxEntry, PHASES, Value};
use super::{Entry, F, InboxLine, Interner, Level, Phase};
use crate::history::{Code, U};
use std::borrow::Cow;

impl Value<'_> {
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
