//! Accounts for a benchmark: new users with one device each, made and logged in a few at a time.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use chat::limits::DEVICES_MAX;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::time::sleep;
use transport::http::{Client, Method};

use super::seats::{Seats, Table};
use crate::{
    exit::{Failure, exit_of_status},
    seed,
};

/// Logins at a time: each costs a node a password hash, and this machine has the nodes too.
const AT_A_TIME: usize = 8;
/// A node that is busy is asked again so often.
const TRIES_MAX: u32 = 50;
/// Between two tries, when the node does not say.
const AGAIN: Duration = Duration::from_millis(200);

/// One user with one device.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) token: String,
    /// The node this device connects to.
    pub(super) node: SocketAddr,
}

/// Where and how accounts are made.
pub(super) struct Office<'a> {
    pub(super) http: Client,
    pub(super) nodes: &'a [SocketAddr],
    /// What the names of this run begin with.
    pub(super) prefix: String,
    password: String,
}

impl<'a> Office<'a> {
    pub(super) fn new(http: Client, nodes: &'a [SocketAddr]) -> Office<'a> {
        let prefix = format!("bench-{}", seed::secret(6));
        Office { http, nodes, prefix, password: seed::secret(16) }
    }

    /// Registers and logs in `count` users.
    pub(super) async fn open(&self, count: usize) -> Result<Vec<Account>, Failure> {
        futures::stream::iter((0..count).map(|number| self.account(number)))
            .buffered(AT_A_TIME)
            .try_collect()
            .await
    }

    /// Registers as few users as have `count` devices, and logs in each device.
    pub(super) async fn devices(&self, count: usize) -> Result<Vec<Account>, Failure> {
        let users = count.div_ceil(DEVICES_MAX);
        futures::stream::iter((0..users).map(|number| self.register(number)))
            .buffered(AT_A_TIME)
            .try_collect::<Vec<()>>()
            .await?;
        futures::stream::iter((0..count).map(|number| self.log_in(number % users)))
            .buffered(AT_A_TIME)
            .try_collect()
            .await
    }

    async fn account(&self, number: usize) -> Result<Account, Failure> {
        self.register(number).await?;
        self.log_in(number).await
    }

    /// The node that user number `number` is served by, and the user's name and password.
    fn papers(&self, number: usize) -> (SocketAddr, String, Value) {
        let node = self.nodes[number % self.nodes.len()];
        let user = format!("{}-{number}", self.prefix);
        let body = json!({ "userId": user, "password": self.password, "deviceName": "bench" });
        (node, user, body)
    }

    async fn register(&self, number: usize) -> Result<(), Failure> {
        let (node, _, body) = self.papers(number);
        self.post(node, "/v1/users", None, &body).await.map(|_| ())
    }

    async fn log_in(&self, number: usize) -> Result<Account, Failure> {
        let (node, user, body) = self.papers(number);
        let session = self.post(node, "/v1/sessions", None, &body).await?;
        let token = session["accessToken"].as_str().unwrap_or_default().to_owned();
        Ok(Account { user, token, node })
    }

    /// Ends all sessions, so that nothing is left open. What fails is left to expire.
    pub(super) async fn close(&self, accounts: &[Account]) {
        let close = |account: &Account| {
            let (node, token) = (account.node, account.token.clone());
            async move {
                let path = "/v1/sessions/current";
                let _ = self.http.request(Method::DELETE, node, path, Some(&token), None).await;
            }
        };
        futures::stream::iter(accounts.iter().map(close)).buffered(AT_A_TIME).count().await;
    }

    /// Makes a group of these users; the first is its owner. Returns its id.
    pub(super) async fn group(
        &self,
        accounts: &[Account],
        table: &Table,
        number: usize,
    ) -> Result<String, Failure> {
        let group = format!("{}-g{number}", self.prefix);
        let members: Vec<&str> =
            table.members.iter().map(|user| accounts[*user].user.as_str()).collect();
        let body =
            json!({ "groupId": group, "name": "bench", "members": members, "history": "all" });
        let owner = &accounts[table.members[0]];
        self.post(owner.node, "/v1/groups", Some(&owner.token), &body).await?;
        Ok(group)
    }

    /// Makes all groups of an arrangement. Per table the group's id, or nothing for a direct one.
    pub(super) async fn groups(
        &self,
        accounts: &[Account],
        seats: &Seats,
    ) -> Result<Vec<Option<String>>, Failure> {
        futures::stream::iter(seats.tables.iter().enumerate())
            .map(|(number, table)| async move {
                if table.direct {
                    return Ok(None);
                }
                self.group(accounts, table, number).await.map(Some)
            })
            .buffered(AT_A_TIME)
            .try_collect()
            .await
    }

    async fn post(
        &self,
        node: SocketAddr,
        path: &str,
        bearer: Option<&str>,
        body: &Value,
    ) -> Result<Value, Failure> {
        let bytes = Bytes::from(body.to_string());
        let mut tries = 0;
        loop {
            let answer =
                self.http.request(Method::POST, node, path, bearer, Some(bytes.clone())).await;
            let answer = answer.map_err(|e| Failure::unavailable(format!("{node}: {e}")))?;
            let read = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
            match answer.status {
                200..=299 => return Ok(read),
                429 | 503 if tries < TRIES_MAX => {
                    let wait = read["retry_after_ms"].as_u64().map(Duration::from_millis);
                    sleep(wait.unwrap_or(AGAIN)).await;
                }
                status => {
                    let why = format!("{node} refused POST {path} with {status}: {read}");
                    return Err(Failure::new(exit_of_status(status), why));
                }
            }
            tries += 1;
        }
    }
}
