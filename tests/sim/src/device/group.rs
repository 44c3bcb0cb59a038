//! What the owner of groups does: makes them, and changes who is in them, over REST.

use std::collections::BTreeMap;

use bytes::Bytes;
use chat::{ConversationId, GroupId};
use checkers::{C, F, Kind, U};
use serde_json::{Value, json};

use super::{Around, Device, To, user_name};
use crate::book::Open;
use crate::server::door::Knock;
use crate::wire::{SECOND, Time};

/// A request that is not answered by then never will be.
const PATIENCE: Time = 12 * SECOND;

/// What is under way, one thing at a time.
#[derive(Default)]
pub(crate) struct Desk {
    asks: u64,
    under_way: Option<UnderWay>,
    /// Groups to make.
    pub(crate) to_make: Vec<String>,
    /// Groups that exist; who is in them as far as is known.
    pub(crate) made: BTreeMap<String, BTreeMap<usize, Option<bool>>>,
    next: Time,
    /// Changes of members are begun.
    pub(crate) changes: bool,
}

struct UnderWay {
    ask: u64,
    since: Time,
    open: Open,
    what: What,
}

enum What {
    Make { group: String, unresolved: bool },
    Change { group: String, member: usize, add: bool },
}

impl Desk {
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.to_make.is_empty()
    }
}

impl Device {
    /// Does what is due at the desk.
    pub(crate) fn administer(&mut self, around: &mut Around<'_>) {
        if self.token.is_none() || self.link.is_none() {
            return;
        }
        if let Some(waits) = &self.desk.under_way {
            if around.now > waits.since + PATIENCE {
                let ask = waits.ask;
                self.answered(ask, 504, &Bytes::new(), around);
            }
            return;
        }
        if around.now < self.desk.next {
            return;
        }
        if let Some(group) = self.desk.to_make.pop() {
            let open = around.book.invoke(around.now, 0, self.made_op(&group, around, None));
            self.ask(around, What::Make { group, unresolved: false }, open);
        } else if self.desk.changes && around.busy && !self.desk.made.is_empty() {
            self.change(around);
        }
    }

    fn change(&mut self, around: &mut Around<'_>) {
        self.desk.next = around.now + self.dice.within(SECOND / 5, 2 * SECOND);
        let groups: Vec<String> = self.desk.made.keys().cloned().collect();
        let group = self.dice.pick(&groups).clone();
        let member = 1 + self.dice.index(around.settings.users - 1);
        let known = self.desk.made[&group].get(&member).copied().flatten();
        // Whoever comes back may see what was said meanwhile, so somebody goes for good: to them nothing may come.
        let goes_for_good = around.settings.users > 2 && member == around.settings.users - 1;
        let add = match known {
            Some(false) if goes_for_good => return,
            _ if goes_for_good => false,
            Some(inside) => !inside,
            None => self.dice.happens(500),
        };
        let f = self.changed_op(&group, member, add, around, None);
        let open = around.book.invoke(around.now, 0, f);
        self.ask(around, What::Change { group, member, add }, open);
    }

    fn ask(&mut self, around: &mut Around<'_>, what: What, open: Open) {
        self.desk.asks += 1;
        let ask = self.desk.asks;
        let (method, path, body) = match &what {
            What::Make { group, .. } => {
                let members: Vec<String> = (1..around.settings.users).map(user_name).collect();
                let history = if is_open_to_the_past(group, around) { "all" } else { "since_join" };
                let body = json!({"groupId": group, "name": group, "members": members, "history": history});
                ("POST", "/v1/groups".to_owned(), body.to_string())
            }
            What::Change { group, member, add: true } => {
                let body = json!({"members": [user_name(*member)]});
                ("POST", format!("/v1/groups/{group}/members"), body.to_string())
            }
            What::Change { group, member, add: false } => (
                "DELETE",
                format!("/v1/groups/{group}/members/{}", user_name(*member)),
                String::new(),
            ),
        };
        let token = self.token.clone().unwrap_or_default();
        let node = self.link.map_or(0, |link| link.node);
        self.knock(around, node, Knock::Ask { device: self.index, ask, method, path, token, body });
        self.desk.under_way = Some(UnderWay { ask, since: around.now, open, what });
    }

    /// An answer over REST. 504 stands for none.
    pub(super) fn answered(
        &mut self,
        ask: u64,
        status: u16,
        body: &Bytes,
        around: &mut Around<'_>,
    ) {
        if self.desk.under_way.as_ref().is_none_or(|waits| waits.ask != ask) {
            return;
        }
        let Some(UnderWay { open, what, .. }) = self.desk.under_way.take() else { return };
        let now = around.now;
        let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let code = problem["code"].as_str().unwrap_or("none").to_owned();
        let done = (200..300).contains(&status);
        let refused = (400..500).contains(&status) && status != 429;
        match what {
            What::Make { group, unresolved } => {
                if done || (unresolved && code == "name_taken") {
                    let f = self.made_op(&group, around, None);
                    around.book.complete(now, open, Kind::Ok, f);
                    let members = (1..around.settings.users).map(|user| (user, Some(true)));
                    self.desk.made.insert(group, members.collect());
                } else {
                    self.desk.next = now + SECOND / 2;
                    if refused && code != "no_such_user" {
                        around.book.broken(now, format!("group {group} could not be made: {code}"));
                    }
                    // The same request again, whatever became of this one: the operation stays open.
                    self.ask(around, What::Make { group, unresolved: true }, open);
                }
            }
            What::Change { group, member, add } => {
                let kind = match (done, refused) {
                    (true, _) => Kind::Ok,
                    (false, true) => Kind::Fail,
                    (false, false) => Kind::Info,
                };
                let error = (!done).then(|| around.book.recorder().code(&code));
                let f = self.changed_op(&group, member, add, around, error);
                around.book.complete(now, open, kind, f);
                let known = match kind {
                    Kind::Ok => Some(add),
                    _ => None,
                };
                if let Some(members) = self.desk.made.get_mut(&group) {
                    members.insert(member, known);
                }
            }
        }
    }

    fn made_op(&self, group: &str, around: &Around<'_>, error: Option<checkers::Code>) -> F {
        let members = (0..around.settings.users).map(|user| number(user, around)).collect();
        let (c, all) = (conversation(group, around), is_open_to_the_past(group, around));
        F::Create { c, by: self.d, members, direct: false, all, error }
    }

    fn changed_op(
        &self,
        group: &str,
        member: usize,
        add: bool,
        around: &Around<'_>,
        error: Option<checkers::Code>,
    ) -> F {
        let member = vec![number(member, around)];
        let (add, remove) = if add { (member, Vec::new()) } else { (Vec::new(), member) };
        F::Members { c: conversation(group, around), by: self.d, add, remove, at: None, error }
    }

    /// A group exists: lanes to it are open.
    pub(crate) fn open_lane(&mut self, group: &str) {
        for lane in &mut self.lanes {
            if matches!(&lane.to, To::Group(name) if name == group) {
                lane.open = true;
            }
        }
    }
}

/// Whether members see what was before them. Who was away may read nothing where others read much, which no judge of
/// reads could tell from a stale one: so where members change, they see all.
fn is_open_to_the_past(group: &str, around: &Around<'_>) -> bool {
    group.ends_with('0') || around.settings.changes_members
}

fn number(user: usize, around: &Around<'_>) -> U {
    around.book.recorder().user(&user_name(user))
}

fn conversation(group: &str, around: &Around<'_>) -> C {
    around.book.conversation(ConversationId::group(&GroupId::parse(group).expect("a legal name")))
}
