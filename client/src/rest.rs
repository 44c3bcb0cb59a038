//! The REST calls: accounts, sessions, groups. Each is tried at one node after the other until one gives a final answer or
//! patience ends. What may have been done is never reported as not done.

mod answer;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use chat::{ConversationId, GroupId, UserId};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use transport::http::{Client, Method, Response};
use transport::{Certainty, ClientTls, DialError};

use crate::{CallError, Config, Credentials};

/// Pause after every node was tried once; doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest pause between rounds: a cluster that elects a leader is back within a second.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A REST client over all nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    http: Client,
    tls: ClientTls,
    nodes: Vec<SocketAddr>,
    patience: Duration,
}

/// One call. `repeatable`: doing it twice is like doing it once, or close enough to be worth an answer.
struct Call<'a> {
    method: Method,
    path: String,
    bearer: Option<&'a str>,
    body: Option<Value>,
    repeatable: bool,
}

/// What one attempt came to.
enum Attempt {
    Final(Response),
    /// Definitely not done; another node may do it.
    NotDone(String),
    /// Perhaps done.
    Unknown(String),
}

impl Rest {
    pub(crate) fn new(config: &Config) -> Result<Rest, CallError> {
        let tls = ClientTls::from_ca_pem(&config.ca_pem)
            .map_err(|error| CallError::BadConfig(error.to_string()))?;
        if config.nodes.is_empty() {
            return Err(CallError::BadConfig("no node is named".to_owned()));
        }
        let http = Client::new(tls.clone());
        Ok(Rest { http, tls, nodes: config.nodes.clone(), patience: config.ask_patience })
    }

    pub(crate) fn tls(&self) -> &ClientTls {
        &self.tls
    }

    pub(crate) async fn register(&self, user: &UserId, password: &str) -> Result<(), CallError> {
        let body = json!({"userId": user.as_str(), "password": password});
        // Not repeatable: a second attempt would find the name taken by the first.
        self.call(post("/v1/users", None, body, false)).await.map(drop)
    }

    pub(crate) async fn login(
        &self,
        user: &UserId,
        password: &str,
        device_name: &str,
    ) -> Result<Credentials, CallError> {
        let body =
            json!({"userId": user.as_str(), "password": password, "deviceName": device_name});
        // A second attempt opens a second session and leaves the first unused.
        let answer = self.call(post("/v1/sessions", None, body, true)).await?;
        answer::credentials(&answer, None)
    }

    pub(crate) async fn refresh(&self, old: &Credentials) -> Result<Credentials, CallError> {
        let body = json!({"refreshToken": old.refresh});
        let answer = self.call(post("/v1/sessions/refresh", None, body, true)).await?;
        answer::credentials(&answer, Some(old))
    }

    pub(crate) async fn logout(&self, access: &str) -> Result<(), CallError> {
        let path = "/v1/sessions/current".to_owned();
        let bearer = Some(access);
        let call = Call { method: Method::DELETE, path, bearer, body: None, repeatable: true };
        match self.call(call).await {
            // The session that an earlier attempt ended is ended.
            Err(error) if error.ends_session() => Ok(()),
            other => other.map(drop),
        }
    }

    pub(crate) async fn create_group(
        &self,
        access: &str,
        group: Option<&GroupId>,
        name: &str,
        members: &[UserId],
        sees_all: bool,
    ) -> Result<crate::Group, CallError> {
        let mut body = json!({"name": name, "members": names(members)});
        if let Some(group) = group {
            body["groupId"] = group.as_str().into();
        }
        if sees_all {
            body["history"] = "all".into();
        }
        let answer = self.call(post("/v1/groups", Some(access), body, false)).await?;
        answer::group(&answer)
    }

    pub(crate) async fn add_members(
        &self,
        access: &str,
        group: &GroupId,
        members: &[UserId],
    ) -> Result<(), CallError> {
        let path = format!("/v1/groups/{}/members", segment(group.as_str()));
        let body = json!({"members": names(members)});
        self.call(post(&path, Some(access), body, true)).await.map(drop)
    }

    pub(crate) async fn remove_member(
        &self,
        access: &str,
        group: &GroupId,
        member: &UserId,
    ) -> Result<(), CallError> {
        let (group, member) = (segment(group.as_str()), segment(member.as_str()));
        let path = format!("/v1/groups/{group}/members/{member}");
        let bearer = Some(access);
        let call = Call { method: Method::DELETE, path, bearer, body: None, repeatable: true };
        self.call(call).await.map(drop)
    }

    pub(crate) async fn search(
        &self,
        access: &str,
        question: &str,
        of: Option<ConversationId>,
        limit: u32,
    ) -> Result<Value, CallError> {
        let path = match of {
            Some(id) => format!("/v1/conversations/{id}/search"),
            None => "/v1/search".to_owned(),
        };
        let path = format!("{path}?q={}&limit={limit}", segment(question));
        self.ask(Method::GET, &path, Some(access), None, true).await
    }

    /// Any call, for those who know the paths themselves. Answers JSON; an empty body is `null`.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Option<Value>,
        repeatable: bool,
    ) -> Result<Value, CallError> {
        let call = Call { method, path: path.to_owned(), bearer, body, repeatable };
        let answer = self.call(call).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|error| CallError::BadAnswer(error.to_string()))
    }

    /// Tries the nodes in turn.
    async fn call(&self, call: Call<'_>) -> Result<Bytes, CallError> {
        let body = call.body.as_ref().map(|body| Bytes::from(body.to_string()));
        let deadline = Instant::now() + self.patience;
        let mut pause = PAUSE_FIRST;
        let mut unknown = None;
        loop {
            let mut reason = String::new();
            for node in &self.nodes {
                match self.attempt(&call, *node, body.clone()).await {
                    Attempt::Final(response) => return answer::body(response),
                    Attempt::NotDone(why) => reason = why,
                    Attempt::Unknown(why) if call.repeatable => {
                        unknown = Some(why.clone());
                        reason = why;
                    }
                    Attempt::Unknown(why) => return Err(CallError::Unknown(why)),
                }
            }
            if Instant::now() + pause >= deadline {
                return Err(unknown.map_or(CallError::Unavailable(reason), CallError::Unknown));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, call: &Call<'_>, node: SocketAddr, body: Option<Bytes>) -> Attempt {
        let method = call.method.clone();
        let sent = self.http.request(method, node, &call.path, call.bearer, body).await;
        match sent {
            Ok(response) => match response.status {
                429 | 503 => Attempt::NotDone(answer::detail(&response)),
                504 => Attempt::Unknown(answer::detail(&response)),
                _ => Attempt::Final(response),
            },
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &DialError) -> Attempt {
    match error.certainty() {
        Certainty::Definite => Attempt::NotDone(error.to_string()),
        Certainty::Unknown => Attempt::Unknown(error.to_string()),
    }
}

fn post<'a>(path: &str, bearer: Option<&'a str>, body: Value, repeatable: bool) -> Call<'a> {
    Call { method: Method::POST, path: path.to_owned(), bearer, body: Some(body), repeatable }
}

fn names(members: &[UserId]) -> Vec<&str> {
    members.iter().map(UserId::as_str).collect()
}

/// One segment of a path: everything but RFC 3986's unreserved characters is encoded, `/` above all.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_specification_fit_one_segment_of_a_path() {
        assert_eq!(segment("rLCkwH/SKG+k="), "rLCkwH%2FSKG%2Bk%3D");
        assert_eq!(segment("alice_1.x-y"), "alice_1.x-y");
    }
}
