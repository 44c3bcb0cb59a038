//! Names as numbers: a history says `C(4)` where its lines say a conversation's id. Judges nothing.

use super::{C, Code, D, Entry, F, InboxLine, U};
use std::collections::HashMap;

/// What the numbers of a history stand for.
///
/// A device is named `user/device`, so that a device's user is known from its name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interner {
    conversations: Table,
    devices: Table,
    users: Table,
    codes: Table,
    assets: Table,
    owners: Vec<U>,
}

impl Interner {
    /// The number of a conversation's id.
    pub fn conversation(&mut self, name: &str) -> C {
        C(self.conversations.number(name))
    }

    /// The number of a user.
    pub fn user(&mut self, name: &str) -> U {
        U(self.users.number(name))
    }

    /// The number of a user's device.
    pub fn device(&mut self, user: &str, device: &str) -> D {
        self.device_called(&format!("{user}/{device}"))
    }

    /// The number of a device by its whole name, `user/device`.
    pub fn device_called(&mut self, name: &str) -> D {
        let number = self.devices.number(name);
        if number as usize == self.owners.len() {
            let user = name.rsplit_once('/').map_or(name, |(user, _)| user);
            let user = self.user(user);
            self.owners.push(user);
        }
        D(number)
    }

    /// The number of a problem's code.
    pub fn code(&mut self, name: &str) -> Code {
        Code(self.codes.number(name))
    }

    /// The number of an asset's id.
    pub fn asset(&mut self, name: &str) -> u32 {
        self.assets.number(name)
    }

    /// Whose device this is.
    pub fn user_of(&self, d: D) -> U {
        self.owners.get(d.0 as usize).copied().unwrap_or(U(u32::MAX))
    }

    /// A conversation's id.
    pub fn conversation_name(&self, c: C) -> &str {
        self.conversations.name(c.0)
    }

    /// A device as `user/device`.
    pub fn device_name(&self, d: D) -> &str {
        self.devices.name(d.0)
    }

    /// A user's name.
    pub fn user_name(&self, u: U) -> &str {
        self.users.name(u.0)
    }

    /// A problem's code.
    pub fn code_name(&self, code: Code) -> &str {
        self.codes.name(code.0)
    }

    /// An asset's id.
    pub fn asset_name(&self, asset: u32) -> &str {
        self.assets.name(asset)
    }

    /// How many conversations have a number.
    pub fn conversations_len(&self) -> usize {
        self.conversations.names.len()
    }

    /// How many devices have a number.
    pub fn devices_len(&self) -> usize {
        self.devices.names.len()
    }

    /// How many users have a number.
    pub fn users_len(&self) -> usize {
        self.users.names.len()
    }

    /// Takes in the names of another history and says what they are called here.
    pub(crate) fn absorb(&mut self, other: &Interner) -> Renamed {
        Renamed {
            conversations: other
                .conversations
                .names
                .iter()
                .map(|name| self.conversation(name))
                .collect(),
            devices: other.devices.names.iter().map(|name| self.device_called(name)).collect(),
            users: other.users.names.iter().map(|name| self.user(name)).collect(),
            codes: other.codes.names.iter().map(|name| self.code(name)).collect(),
            assets: other.assets.names.iter().map(|name| self.asset(name)).collect(),
        }
    }
}

/// Numbers of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl Table {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).expect("a run has fewer names than 2^32");
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("?", |name| name)
    }
}

/// From the numbers of one history to those of another.
pub(crate) struct Renamed {
    conversations: Vec<C>,
    devices: Vec<D>,
    users: Vec<U>,
    codes: Vec<Code>,
    assets: Vec<u32>,
}

impl Renamed {
    fn c(&self, c: &mut C) {
        *c = self.conversations.get(c.0 as usize).copied().unwrap_or(*c);
    }

    fn d(&self, d: &mut D) {
        *d = self.devices.get(d.0 as usize).copied().unwrap_or(*d);
    }

    fn u(&self, u: &mut U) {
        *u = self.users.get(u.0 as usize).copied().unwrap_or(*u);
    }

    fn error(&self, error: &mut Option<Code>) {
        if let Some(code) = error {
            *code = self.codes.get(code.0 as usize).copied().unwrap_or(*code);
        }
    }

    fn asset(&self, asset: &mut u32) {
        *asset = self.assets.get(*asset as usize).copied().unwrap_or(*asset);
    }

    fn entries(&self, entries: &mut [Entry]) {
        entries.iter_mut().for_each(|entry| self.d(&mut entry.from));
    }

    /// Renames everything in one operation.
    pub(crate) fn apply(&self, f: &mut F) {
        match f {
            F::Send { c, d, error, .. } | F::Confirm { c, d, error, .. } => {
                self.c(c);
                self.d(d);
                self.error(error);
            }
            F::Deliver { c, d, from, .. } => {
                self.c(c);
                self.d(d);
                self.d(from);
            }
            F::Read { c, d, entries, error, .. } => {
                self.c(c);
                self.d(d);
                self.error(error);
                self.entries(entries);
            }
            F::Final { c, entries, .. } => {
                self.c(c);
                self.entries(entries);
            }
            F::Status { c, d, .. } | F::Cursor { c, d, .. } | F::Commit { c, d, .. } => {
                self.c(c);
                self.d(d);
            }
            F::Create { c, by, members, error, .. } => {
                self.c(c);
                self.d(by);
                self.error(error);
                members.iter_mut().for_each(|u| self.u(u));
            }
            F::Members { c, by, add, remove, error, .. } => {
                self.c(c);
                self.d(by);
                self.error(error);
                add.iter_mut().chain(remove).for_each(|u| self.u(u));
            }
            F::Connect { d, .. } | F::Disconnect { d, .. } | F::CaughtUp { d, .. } => self.d(d),
            F::Inbox { u, entries } => {
                self.u(u);
                entries.iter_mut().for_each(|InboxLine { c, .. }| self.c(c));
            }
            F::Presence { observer, u, .. } => {
                self.d(observer);
                self.u(u);
            }
            F::Owner { c, .. } | F::Sealed { c, .. } => self.c(c),
            F::Mention { c, asset, .. } => {
                self.c(c);
                self.asset(asset);
            }
            F::Upload { asset, .. } | F::Fetch { asset, .. } => self.asset(asset),
            F::Leader { .. } | F::Digest { .. } | F::Scan { .. } | F::Fault { .. } => {}
        }
    }
}
