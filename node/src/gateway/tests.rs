//! Requests through the whole router, over a cluster of one value.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use chat::{ConversationId, GroupId, UserId};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::fake::{Fake, Trouble, user, world};
use super::tokens::Identity;
use super::*;

struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    media_type: String,
    body: Value,
}

async fn call(parts: &Arc<Parts>, request: Request<Body>) -> Answer {
    let response = router(Arc::clone(parts)).oneshot(request).await.expect("infallible");
    let header = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let (retry_after, media_type) = (header(header::RETRY_AFTER), header(header::CONTENT_TYPE));
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a whole body");
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Answer { status, retry_after, media_type: media_type.unwrap_or_default(), body }
}

async fn ask(
    parts: &Arc<Parts>,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    call(parts, request.body(body).expect("a legal request")).await
}

fn token(parts: &Parts, who: &Identity) -> String {
    parts.tokens.issue(parts.clock.now(), who).expect("there is a key").token
}

fn credentials(name: &str, password: &str) -> Value {
    json!({ "userId": name, "password": password, "deviceName": "laptop" })
}

async fn post(parts: &Arc<Parts>, path: &str, body: Value) -> Answer {
    ask(parts, "POST", path, None, body).await
}

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap_or_else(|| panic!("{field} in {body}"))
}

/// Alice, bob and a token of alice.
fn people() -> (Arc<Fake>, Arc<Parts>, Identity, String) {
    let (fake, parts) = world();
    let alice = fake.join("alice", 1);
    fake.join("bob", 2);
    let token = token(&parts, &alice);
    (fake, parts, alice, token)
}

fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.media_type, "application/problem+json");
    for field in ["type", "title", "status", "detail", "code", "retryable"] {
        assert!(!answer.body[field].is_null(), "{field} in {}", answer.body);
    }
    assert_eq!(text(&answer.body, "code"), code);
}

#[tokio::test]
async fn an_account_is_made_once_and_signed_in_to() {
    let (_fake, parts) = world();
    let made = post(&parts, "/v1/users", credentials("alice", "secret")).await;
    assert_eq!((made.status, made.body), (StatusCode::CREATED, json!({ "userId": "alice" })));
    let again = post(&parts, "/v1/users", credentials("alice", "other")).await;
    assert_problem(&again, 409, "name_taken");

    let session = post(&parts, "/v1/sessions", credentials("alice", "secret")).await;
    assert_eq!(session.status, StatusCode::CREATED);
    for field in ["userId", "deviceId", "accessToken", "refreshToken", "expiresAt"] {
        text(&session.body, field);
    }
    let token = text(&session.body, "accessToken");
    let answer = ask(&parts, "GET", "/v1/conversations", Some(token), Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK);

    let wrong = post(&parts, "/v1/sessions", credentials("alice", "wrong")).await;
    assert_problem(&wrong, 401, "wrong_credentials");
    let unknown = post(&parts, "/v1/sessions", credentials("nobody", "wrong")).await;
    assert_problem(&unknown, 401, "wrong_credentials");
    assert_eq!(wrong.body, unknown.body, "which of the two it was is not said");
}

#[tokio::test]
async fn a_lost_answer_does_not_take_the_name_from_its_maker() {
    let (fake, parts) = world();
    fake.troubles.lock().push_back(Trouble::AnswerLost);
    let made = post(&parts, "/v1/users", credentials("alice", "secret")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    fake.troubles.lock().extend([Trouble::AnswerLost, Trouble::AnswerLost]);
    let unknown = post(&parts, "/v1/users", credentials("bob", "secret")).await;
    assert_problem(&unknown, 504, "unknown_outcome");
    assert_eq!(unknown.body["retryable"], true);
}

#[tokio::test]
async fn without_a_quorum_writes_are_refused_with_a_hint() {
    let (fake, parts, _, token) = people();
    fake.partitioned.store(true, Ordering::Relaxed);
    let refused = post(&parts, "/v1/users", credentials("carol", "secret")).await;
    assert_problem(&refused, 503, "unavailable");
    assert_eq!(refused.body["retry_after_ms"], 200);
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
    let path = "/messages/bob?consistency=local";
    let local = ask(&parts, "GET", path, Some(&token), Value::Null).await;
    assert_eq!(local.status, StatusCode::OK);
}

#[tokio::test]
async fn an_ended_session_is_refused_everywhere() {
    let (_fake, parts, _, token) = people();
    let end = ask(&parts, "DELETE", "/v1/sessions/current", Some(&token), Value::Null).await;
    assert_eq!(end.status, StatusCode::NO_CONTENT);
    for (method, path) in [
        ("GET", "/v1/conversations"),
        ("GET", "/messages/bob"),
        ("GET", "/v1/presence/bob"),
        ("POST", "/v1/groups"),
        ("DELETE", "/v1/sessions/current"),
    ] {
        let refused = ask(&parts, method, path, Some(&token), Value::Null).await;
        assert_problem(&refused, 401, "session_ended");
    }
    for token in [None, Some("garbage")] {
        let refused = ask(&parts, "GET", "/v1/conversations", token, Value::Null).await;
        assert_problem(&refused, 401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_reuse_ends_the_session() {
    let (_fake, parts) = world();
    post(&parts, "/v1/users", credentials("alice", "secret")).await;
    let first = post(&parts, "/v1/sessions", credentials("alice", "secret")).await.body;
    let refresh = |body: &Value| json!({ "refreshToken": text(body, "refreshToken") });
    let second = post(&parts, "/v1/sessions/refresh", refresh(&first)).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_eq!(second.body["deviceId"], first["deviceId"]);
    let access = text(&second.body, "accessToken").to_owned();

    // Somebody who knows no more than the device's id ends nothing.
    let made_up =
        text(&first, "refreshToken").rsplit_once('.').expect("it has a mark").0.to_owned();
    let refused = post(&parts, "/v1/sessions/refresh", json!({ "refreshToken": made_up })).await;
    assert_problem(&refused, 401, "stale_refresh");
    let alive = ask(&parts, "GET", "/v1/conversations", Some(&access), Value::Null).await;
    assert_eq!(alive.status, StatusCode::OK);

    let reused = post(&parts, "/v1/sessions/refresh", refresh(&first)).await;
    assert_problem(&reused, 401, "stale_refresh");
    let dead = ask(&parts, "GET", "/v1/conversations", Some(&access), Value::Null).await;
    assert_problem(&dead, 401, "session_ended");
    let dead = post(&parts, "/v1/sessions/refresh", refresh(&second.body)).await;
    assert_problem(&dead, 401, "stale_refresh");
}

/// The worst source of entropy there is.
struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[tokio::test]
async fn no_session_is_given_the_device_0_which_stands_for_none() {
    let (_fake, mut parts) = world();
    Arc::get_mut(&mut parts).expect("nobody else has it yet").entropy = Arc::new(Zeros);
    post(&parts, "/v1/users", credentials("alice", "secret")).await;
    let session = post(&parts, "/v1/sessions", credentials("alice", "secret")).await;
    assert_eq!(session.status, StatusCode::CREATED, "{}", session.body);
    assert_eq!(text(&session.body, "deviceId"), "0000000000000001");
}

#[tokio::test]
async fn a_new_device_begins_at_the_end_of_what_exists() {
    let (fake, parts) = world();
    post(&parts, "/v1/users", credentials("alice", "secret")).await;
    let bob = fake.join("bob", 2);
    fake.say(&bob, "alice", "one");
    fake.say(&bob, "alice", "two");
    let session = post(&parts, "/v1/sessions", credentials("alice", "secret")).await.body;
    let device = text(&session, "deviceId").parse().expect("a device");
    let device = parts.replica.device(&user("alice"), device).expect("memory").expect("it exists");
    let id = ConversationId::direct(&user("alice"), &user("bob"));
    assert_eq!(device.starts.get(&id), Some(&chat::Seq(2)));
}

#[tokio::test]
async fn a_wrong_request_is_refused_with_the_fields_name() {
    let (_fake, parts, _, token) = people();
    for (body, field) in [
        (json!({ "password": "p" }), "userId"),
        (json!({ "userId": 7, "password": "p" }), "userId"),
        (json!({ "userId": "a b", "password": "p" }), "userId"),
        (json!({ "userId": "..", "password": "p" }), "userId"),
        (json!({ "userId": "x" }), "password"),
        (json!({ "userId": "x", "password": "" }), "password"),
        (json!({ "userId": "x", "password": ["p"] }), "password"),
    ] {
        let refused = post(&parts, "/v1/users", body).await;
        assert_problem(&refused, 400, "invalid_request");
        assert_eq!(text(&refused.body, "field"), field);
    }
    let malformed = Request::post("/v1/users").body(Body::from("{\"userId\":")).expect("legal");
    assert_problem(&call(&parts, malformed).await, 400, "invalid_request");
    let list = post(&parts, "/v1/users", json!([1, 2])).await;
    assert_problem(&list, 400, "invalid_request");
    let members = json!({ "name": "x", "members": "bob" });
    let refused = ask(&parts, "POST", "/v1/groups", Some(&token), members).await;
    assert_eq!(text(&refused.body, "field"), "members");
    let large = Request::post("/v1/users").body(Body::from(vec![b' '; 300 << 10])).expect("legal");
    assert_problem(&call(&parts, large).await, 413, "too_large");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too() {
    let (_fake, parts) = world();
    assert_problem(&ask(&parts, "GET", "/nowhere", None, Value::Null).await, 404, "not_found");
    let wrong = ask(&parts, "PUT", "/v1/users", None, Value::Null).await;
    assert_problem(&wrong, 405, "method_not_allowed");
}

#[tokio::test]
async fn a_group_is_made_joined_and_left() {
    let (fake, parts, alice, token) = people();
    let token = Some(token.as_str());
    let body = json!({ "groupId": "team/one", "name": "Team", "members": ["bob"] });
    let made = ask(&parts, "POST", "/v1/groups", token, body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let id = ConversationId::group(&GroupId::parse("team/one").expect("legal"));
    assert_eq!(made.body, json!({ "groupId": "team/one", "conversationId": id.to_string() }));
    assert_problem(&ask(&parts, "POST", "/v1/groups", token, body).await, 409, "name_taken");
    let named_as_a_user = json!({ "groupId": "bob", "name": "x", "members": [] });
    let taken = ask(&parts, "POST", "/v1/groups", token, named_as_a_user).await;
    assert_problem(&taken, 409, "name_taken");

    let stranger = json!({ "members": ["nobody"] });
    let path = "/v1/groups/team%2Fone/members";
    let refused = ask(&parts, "POST", path, token, stranger).await;
    assert_problem(&refused, 404, "no_such_user");
    fake.join("carol", 3);
    let added = ask(&parts, "POST", path, token, json!({ "members": ["carol"] })).await;
    assert_eq!(added.status, StatusCode::OK);
    let shown = ask(&parts, "GET", "/v1/groups/team%2Fone", token, Value::Null).await;
    let members = shown.body["members"].as_array().expect("a list").len();
    assert_eq!((members, &shown.body["history"]), (3, &json!("since_join")));

    let path = "/v1/groups/team%2Fone/members/bob";
    let removed = ask(&parts, "DELETE", path, token, Value::Null).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(parts.replica.member(id, &user("bob")).expect("memory"), None);
    fake.say_in(id, &alice, None, "hello");
    let bob = self::token(&parts, &Identity { user: user("bob"), device: chat::DeviceId(2) });
    let refused = ask(&parts, "GET", "/messages/team%2Fone", Some(&bob), Value::Null).await;
    assert_problem(&refused, 403, "not_a_member");
}

#[tokio::test]
async fn a_group_without_a_name_for_itself_gets_one() {
    let (_fake, parts, _, token) = people();
    let body = json!({ "name": "Team", "members": [] });
    let one = ask(&parts, "POST", "/v1/groups", Some(&token), body.clone()).await.body;
    let other = ask(&parts, "POST", "/v1/groups", Some(&token), body).await.body;
    assert_ne!(one["groupId"], other["groupId"]);
    UserId::parse(text(&one, "groupId")).expect("a legal name");
}

#[tokio::test]
async fn history_is_paged_in_the_specifications_form() {
    let (fake, parts, alice, token) = people();
    for number in 1..=3 {
        fake.say(&alice, "bob", &format!("m{number}"));
    }
    let get = async |path: &str| ask(&parts, "GET", path, Some(&token), Value::Null).await;
    let page = get("/messages/bob?limit=2").await;
    assert_eq!(page.status, StatusCode::OK);
    let items = &page.body["messages"][0]["payload"];
    assert_eq!(items.as_array().map(Vec::len), Some(2));
    assert_eq!((&items[0]["messageText"], &items[1]["sequence"]), (&json!("m1"), &json!(2)));
    assert_eq!(items[0]["receiverId"], "bob");
    let next = text(&page.body, "next_after_id");
    let rest = get(&format!("/messages/bob?after_id={next}")).await;
    assert_eq!(rest.body["messages"][0]["payload"][0]["messageId"], "m3");
    assert_eq!(rest.body["next_after_id"], Value::Null);
    let before = get("/messages/bob?before_id=m3&limit=1").await;
    assert_eq!(before.body["messages"][0]["payload"][0]["messageId"], "m2");
    assert!(before.body["next_before_id"].is_string());

    let empty = get("/messages/alice").await;
    assert_eq!((empty.status, &empty.body["messages"]), (StatusCode::OK, &json!([])));
    assert_problem(&get("/messages/nobody").await, 404, "no_such_user");
    for limit in ["0", "101", "x", "-1", "1.5", ""] {
        let refused = get(&format!("/messages/bob?limit={limit}")).await;
        assert_problem(&refused, 400, "limit_out_of_range");
    }
    for query in ["after_id=m1&before_id=m2", "consistency=perfect", "consistency=at_least"] {
        assert_problem(&get(&format!("/messages/bob?{query}")).await, 400, "invalid_request");
    }
    let seen = get("/messages/bob?consistency=at_least&at_least=3").await;
    assert_eq!(seen.status, StatusCode::OK);
}

#[tokio::test]
async fn one_message_tells_who_has_it() {
    let (fake, parts, alice, token) = people();
    let body = json!({ "groupId": "team", "name": "Team", "members": ["bob"] });
    ask(&parts, "POST", "/v1/groups", Some(&token), body).await;
    let id = ConversationId::group(&GroupId::parse("team").expect("legal"));
    fake.say_in(id, &alice, None, "hello");
    let path = format!("/v1/messages/{id}-1");
    let get = async || ask(&parts, "GET", &path, Some(&token), Value::Null).await;
    let fresh = get().await;
    assert_eq!(fresh.status, StatusCode::OK, "{}", fresh.body);
    assert_eq!((&fresh.body["delivered"], &fresh.body["deliveredTo"]), (&json!(false), &json!([])));
    let device = chat::DeviceId(2);
    let read = chat::Command::Confirm {
        user: user("bob"),
        device,
        seq: chat::Seq(1),
        read: true,
        hidden: false,
    };
    fake.apply(id, &read);
    let read = get().await.body;
    assert_eq!((&read["delivered"], &read["read"]), (&json!(true), &json!(true)));
    assert_eq!((&read["readBy"], &read["readCount"]), (&json!(["bob"]), &json!(1)));
    for (path, status, code) in [
        (format!("/v1/messages/{id}-2"), 404, "not_found"),
        (format!("/v1/messages/{id}-0"), 400, "invalid_request"),
        ("/v1/messages/x".to_owned(), 400, "invalid_request"),
    ] {
        let refused = ask(&parts, "GET", &path, Some(&token), Value::Null).await;
        assert_problem(&refused, status, code);
    }
}

#[tokio::test]
async fn the_list_of_conversations_counts_what_is_unread() {
    let (fake, parts, alice, token) = people();
    let bob = Identity { user: user("bob"), device: chat::DeviceId(2) };
    let carol = fake.join("carol", 3);
    fake.say(&bob, "alice", "b1");
    fake.say(&alice, "bob", "a1");
    fake.say(&bob, "alice", "b2");
    fake.clock.advance(5);
    fake.say(&carol, "alice", "c1");
    let get = async |path: &str| ask(&parts, "GET", path, Some(&token), Value::Null).await.body;
    let all = get("/v1/conversations").await;
    let list = all["conversations"].as_array().expect("a list");
    let names: Vec<_> = list.iter().map(|one| text(one, "userId")).collect();
    assert_eq!(names, ["carol", "bob"], "newest first");
    assert_eq!(
        (&list[1]["unread"], &list[1]["lastMessage"]["messageId"]),
        (&json!(2), &json!("b2"))
    );

    let first = get("/v1/conversations?limit=1").await;
    let next = text(&first, "next_after");
    let second = get(&format!("/v1/conversations?limit=1&after={next}")).await;
    assert_eq!(second["conversations"][0]["userId"], "bob");
    assert_eq!(second["next_after"], Value::Null);
}

#[tokio::test]
async fn unread_is_exact_for_those_who_wrote_thousands_since_they_read() {
    let (fake, parts, alice, token) = people();
    let bob = Identity { user: user("bob"), device: chat::DeviceId(2) };
    let unread = async || {
        let all = ask(&parts, "GET", "/v1/conversations", Some(&token), Value::Null).await.body;
        all["conversations"][0]["unread"].as_u64().expect("a number")
    };
    let say = |from: &Identity, to: &str, count: u64, what: &str| {
        (0..count).fold(None, |_, n| Some(fake.say(from, to, &format!("{what}{n}"))))
    };
    say(&bob, "alice", 3, "before");
    say(&alice, "bob", 1200, "much");
    say(&bob, "alice", 2, "after");
    assert_eq!(unread().await, 5, "nothing was read yet");

    let read = say(&alice, "bob", 40, "more").expect("something was said");
    let id = chat::ConversationId::direct(&alice.user, &bob.user);
    fake.apply(
        id,
        &chat::Command::Confirm {
            user: alice.user.clone(),
            device: alice.device,
            seq: read,
            read: true,
            hidden: false,
        },
    );
    say(&bob, "alice", 4, "news");
    say(&alice, "bob", 1500, "yet more");
    assert_eq!(unread().await, 4, "what was said before is read");
}

#[tokio::test]
async fn presence_is_told_of_those_who_exist() {
    let (fake, parts, alice, token) = people();
    let get = async |path: &str| ask(&parts, "GET", path, Some(&token), Value::Null).await;
    assert_problem(&get("/v1/presence/nobody").await, 404, "no_such_user");
    assert_problem(&get("/v1/presence/bob").await, 403, "not_allowed");
    fake.say(&alice, "bob", "now we know each other");
    let never = get("/v1/presence/bob").await.body;
    assert_eq!(never, json!({ "userId": "bob", "online": false, "lastSeen": null }));
    let mailbox = parts.directory.enter(&alice);
    let online = get("/v1/presence/alice").await.body;
    assert_eq!(online["online"], true);
    drop(mailbox);
    parts.presence.left(&alice).await;
    let gone = get("/v1/presence/alice").await.body;
    assert_eq!(
        (&gone["online"], text(&gone, "lastSeen")),
        (&json!(false), "2023-11-14T22:13:20.000Z")
    );
}

#[tokio::test]
async fn logins_beyond_the_rate_are_told_to_wait() {
    let (fake, _) = world();
    let mut parts =
        Arc::into_inner(super::fake::parts(&fake, Default::default())).expect("unshared");
    let sign_in = crate::config::Rate { per_second: 1, burst: 1 };
    parts.limits = Limits::new(&crate::config::Limits { sign_in, ..Default::default() });
    let parts = Arc::new(parts);
    post(&parts, "/v1/sessions", credentials("alice", "x")).await;
    let limited = post(&parts, "/v1/sessions", credentials("alice", "x")).await;
    assert_problem(&limited, 429, "rate_limited");
    assert_eq!(
        (limited.retry_after.as_deref(), &limited.body["retryable"]),
        (Some("1"), &json!(true))
    );
}
