//! After everything was told: lists of conversations are read at every node, and somebody goes away for good, so that
//! presence can be judged. By then replicas have been compared.

use std::sync::Arc;

use bytes::Bytes;
use checkers::{F, InboxLine};
use parking_lot::Mutex;
use serde_json::Value;

use super::World;
use crate::device::user_name;
use crate::wire::{SECOND, Time};

/// A node that has come to rest answers by then.
const ANSWER_MAX: Time = 10 * SECOND;
/// Offline no later than 5 s after the last sign of life, plus 1 s; and as much again for the way of a last sign.
const GONE_AFTER: Time = 8 * SECOND;
/// Conversations of a page of the list, the most that may be asked for; no user here has more.
const LIST_MAX: usize = 100;

/// Where an answer will be: status and body.
pub(crate) type Slot = Arc<Mutex<Option<(u16, Bytes)>>>;

/// A question to a node, about a user.
struct Question {
    node: usize,
    user: usize,
    slot: Slot,
}

impl World {
    /// See the module.
    pub(super) fn finale(&mut self) {
        let users = self.settings.users.min(self.settings.devices);
        let list = format!("/v1/conversations?limit={LIST_MAX}");
        let lists = self.ask_all(users, |user| (user, list.clone()));
        for (node, user, body) in lists {
            self.list(node, user, &body);
        }
        let gone = users - 1;
        for device in self.devices.iter_mut().filter(|device| device.is_of(gone)) {
            device.away_until = Time::MAX;
        }
        let end = self.now + GONE_AFTER;
        while self.now < end {
            self.step();
        }
        let seen = self.ask_all(users, |user| (0, format!("/v1/presence/{}", user_name(user))));
        for (node, user, body) in seen {
            let Some(online) = body["online"].as_bool() else { continue };
            let (observer, u) = (self.devices[0].d, self.book.recorder().user(&user_name(user)));
            self.book.saw(self.now, node, F::Presence { observer, u, online });
        }
        self.compared();
    }

    /// Replicas at rest have been compared, or nobody could have found that they differ.
    fn compared(&mut self) {
        let views = self.servers.iter().filter_map(|server| server.view());
        let count: u64 = views.map(|view| view.found_same()).sum();
        let found = self.book.broken.iter().any(|broken| broken.contains("digest: "));
        if self.settings.nodes > 1 && count == 0 && !found {
            self.book.broken(self.now, "digest: nothing was compared");
        }
        self.notes.push(format!("replicas were found the same {count} times"));
    }

    /// Asks every node about every user, as `of` says on behalf of whom and where. What was answered, where it was.
    fn ask_all(
        &mut self,
        users: usize,
        of: impl Fn(usize) -> (usize, String),
    ) -> Vec<(usize, usize, Value)> {
        let mut questions = Vec::new();
        for node in 0..self.servers.len() {
            for user in 0..users {
                let (asks, path) = of(user);
                let token = self.devices[asks].token.clone().unwrap_or_default();
                let Some(slot) = self.servers[node].ask(&path, &token) else { continue };
                questions.push(Question { node, user, slot });
            }
        }
        let answered = |_: &Self| questions.iter().all(|question| question.slot.lock().is_some());
        if !self.until(self.now + ANSWER_MAX, answered) {
            self.book.broken(self.now, "liveness: a node at rest does not answer");
        }
        let answer = |question: &Question| {
            let (status, body) = question.slot.lock().take()?;
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            (status == 200).then_some((question.node, question.user, body))
        };
        questions.iter().filter_map(answer).collect()
    }

    fn list(&mut self, node: usize, user: usize, body: &Value) {
        let number = |line: &Value, name: &str| line[name].as_u64().unwrap_or(u64::MAX);
        let lines = body["conversations"].as_array().map(Vec::as_slice).unwrap_or_default();
        let entries = lines
            .iter()
            .map(|line| InboxLine {
                c: self.book.recorder().conversation(line["conversationId"].as_str().unwrap_or("")),
                last: number(line, "lastSequence"),
                unread: number(line, "unread"),
            })
            .collect();
        let u = self.book.recorder().user(&user_name(user));
        self.book.saw(self.now, node, F::Inbox { u, entries });
    }
}
