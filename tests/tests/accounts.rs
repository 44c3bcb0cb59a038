//! Contract section 4: accounts, sessions and tokens, and how errors read everywhere.

use std::time::Duration;

use serde_json::{Value, json};
use tests::http::escape;
use tests::{Cluster, PASSWORD, Shared, Stranger, http, problem};

/// How long a session that ended may still be good somewhere.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

async fn post(cluster: &Cluster, node: u64, path: &str, body: &Value) -> http::Answer {
    let address = cluster.plain_address(node);
    let body = body.to_string();
    http::request(address, "POST", path, None, &body).await.expect("the node answers")
}

fn credentials(user: &str, password: &str) -> Value {
    json!({ "userId": user, "password": password, "deviceName": "laptop" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_id_of_the_alphabet_is_a_user_and_is_addressed_url_encoded() {
    let cluster = Shared::cluster().await;
    let reader = cluster.user(1, "alphabet-reader").await;
    let mut chat = reader.chat().await;
    let longest = "x".repeat(64);
    let ids = ["q", "aZ09._-=+/", "bm9ib2R5+/8=", "/", "a/b", "...", "+", longest.as_str()];
    for (node, id) in [1, 2, 3].into_iter().cycle().zip(ids) {
        let someone = cluster.user(node, id).await;
        assert_eq!(someone.user, id);
        let escaped = escape(id);
        let stored = chat.stored(id, "m1", "to you").await;
        assert_eq!(stored["receiverId"], id);
        let presence = reader.granted("GET", &format!("/v1/presence/{escaped}"), None).await;
        assert_eq!(presence["userId"], id);
        let page = reader.granted("GET", &format!("/messages/{escaped}"), None).await;
        assert_eq!(tests::items(&page).len(), 1, "{page}");
        let own = someone.granted("GET", "/messages/alphabet-reader", None).await;
        assert_eq!(tests::items(&own)[0]["receiverId"], id, "{own}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_ids_are_refused_with_the_fields_name() {
    let cluster = Shared::cluster().await;
    let too_long = "x".repeat(65);
    for id in ["", ".", "..", "a b", "ä", "a%", "a\n", "a@b", too_long.as_str()] {
        let answer = post(&cluster, 1, "/v1/users", &credentials(id, PASSWORD)).await;
        let refused = problem(&answer);
        assert!([400, 422].contains(&answer.status), "{id:?}: {refused}");
        assert_eq!(refused["field"], "userId", "{id:?}");
    }
    let who = cluster.user(2, "dotty").await;
    for path in ["/messages/%2E", "/messages/%2E%2E", "/v1/presence/%2E%2E", "/messages/a%20b"] {
        let (status, refused) = who.refused("GET", path, None).await;
        assert_eq!(status, 400, "{path}: {refused}");
    }
    let group = json!({ "groupId": "..", "name": "", "members": [] });
    let (status, refused) = who.refused("POST", "/v1/groups", Some(&group)).await;
    assert_eq!((status, &refused["field"]), (400, &json!("groupId")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_taken_once_by_a_user_or_a_group_at_every_node() {
    let cluster = Shared::cluster().await;
    let first = cluster.user(1, "taken").await;
    let group = json!({ "groupId": "taken-group", "name": "G", "members": [] });
    first.granted("POST", "/v1/groups", Some(&group)).await;
    for node in 1..=3 {
        for name in ["taken", "taken-group"] {
            let answer = post(&cluster, node, "/v1/users", &credentials(name, "other")).await;
            assert_eq!((answer.status, &problem(&answer)["code"]), (409, &json!("name_taken")));
            let group = json!({ "groupId": name, "name": "G", "members": [] });
            let at = first.at(cluster.plain_address(node));
            let (status, refused) = at.refused("POST", "/v1/groups", Some(&group)).await;
            assert_eq!((status, &refused["code"]), (409, &json!("name_taken")), "{name}");
        }
    }
    // The password is still the first one's.
    Stranger::log_in(cluster.plain_address(3), "taken", "again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_register_a_name_at_once_one_has_it() {
    let cluster = Shared::cluster().await;
    let attempts = (0..6u64).map(|n| {
        let body = credentials("raced", &format!("secret-{n}"));
        let cluster = &cluster;
        async move { post(cluster, n % 3 + 1, "/v1/users", &body).await.status }
    });
    let statuses = futures::future::join_all(attempts).await;
    let made = statuses.iter().filter(|status| **status == 201).count();
    let taken = statuses.iter().filter(|status| **status == 409).count();
    assert_eq!((made, taken), (1, 5), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_user_and_a_wrong_password_are_told_the_same() {
    let cluster = Shared::cluster().await;
    cluster.user(1, "guarded").await;
    for node in 1..=3 {
        let mut told = Vec::new();
        for (user, password) in
            [("guarded", "wrong"), ("nobody-here", "wrong"), ("no such id", "wrong")]
        {
            let answer = post(&cluster, node, "/v1/sessions", &credentials(user, password)).await;
            assert_eq!(answer.status, 401);
            let mut headers = answer.headers.clone();
            // What is left of the address's allowance tells of the attempts, not of the user.
            headers.retain(|(name, _)| name != "date" && name != "ratelimit");
            told.push((headers, problem(&answer)));
        }
        assert_eq!(told[0].1["retryable"], json!(false));
        assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_complete_and_good_at_every_node_at_once() {
    let cluster = Shared::cluster().await;
    cluster.user(1, "complete").await;
    let mut devices = Vec::new();
    for node in 1..=3 {
        let answer = post(&cluster, node, "/v1/sessions", &credentials("complete", PASSWORD)).await;
        assert_eq!(answer.status, 201);
        let session = answer.json();
        let (device, expires) = (&session["deviceId"], &session["expiresAt"]);
        assert_eq!(session["userId"], "complete");
        let device = device.as_str().expect("a device");
        assert_ne!(device, "0000000000000000", "0 is nobody's device");
        devices.push(device.to_owned());
        let expires = expires.as_str().expect("a moment");
        assert!(expires.ends_with('Z') && expires.contains('T'), "RFC 3339: {expires}");
        let who = Stranger::with(cluster.plain_address(node), &session);
        for other in 1..=3 {
            who.at(cluster.plain_address(other)).granted("GET", "/v1/conversations", None).await;
        }
    }
    devices.sort_unstable();
    devices.dedup();
    assert_eq!(devices.len(), 3, "each session is a device of its own");
    let nameless = json!({ "userId": "complete", "password": PASSWORD });
    assert_eq!(post(&cluster, 1, "/v1/sessions", &nameless).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_is_good_once_and_shown_twice_ends_the_session() {
    let cluster = Shared::cluster().await;
    let old = cluster.user(1, "fresh").await;
    let mut link = old.at(cluster.plain_address(3)).chat().await;
    let shown = json!({ "refreshToken": old.refresh });
    let answer = post(&cluster, 2, "/v1/sessions/refresh", &shown).await;
    assert_eq!(answer.status / 100, 2, "{}", answer.json());
    let new = Stranger::with(cluster.plain_address(2), &answer.json());
    assert_eq!((&new.user, &new.device), (&old.user, &old.device), "the same session");
    assert_ne!(new.refresh, old.refresh, "refresh tokens rotate");
    for node in 1..=3 {
        new.at(cluster.plain_address(node)).granted("GET", "/v1/conversations", None).await;
    }
    let next =
        post(&cluster, 3, "/v1/sessions/refresh", &json!({ "refreshToken": new.refresh })).await;
    let next = Stranger::with(cluster.plain_address(3), &next.json());

    for stale in [&old.refresh, &new.refresh] {
        let answer =
            post(&cluster, 1, "/v1/sessions/refresh", &json!({ "refreshToken": stale })).await;
        assert_eq!(answer.status, 401, "{}", problem(&answer));
    }
    let answer =
        post(&cluster, 1, "/v1/sessions/refresh", &json!({ "refreshToken": next.refresh })).await;
    assert_eq!(answer.status, 401, "somebody has a copy, so nobody keeps the session");
    let (error, _) = link.end_within(ENDS_WITHIN).await;
    assert_eq!(error["code"], "session_ended", "{error}");
    for garbage in ["", "x", "a.b.c"] {
        let answer =
            post(&cluster, 1, "/v1/sessions/refresh", &json!({ "refreshToken": garbage })).await;
        assert_eq!(answer.status, 401, "{}", problem(&answer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_session_is_refused_by_every_node_live_links_included() {
    let cluster = Shared::cluster().await;
    let leaving = cluster.user(1, "leaving").await;
    let staying = leaving.another("second").await;
    let mut links = Vec::new();
    for node in 1..=3 {
        links.push(leaving.at(cluster.plain_address(node)).chat().await);
    }
    let mut kept = staying.chat().await;
    let answer = leaving.answer("DELETE", "/v1/sessions/current", None).await;
    assert_eq!(answer.status, 204, "{:?}", answer.body);
    for link in &mut links {
        let (error, _) = link.end_within(ENDS_WITHIN).await;
        assert_eq!(error["code"], "session_ended", "{error}");
    }
    let refused = async {
        for node in 1..=3 {
            let here = leaving.at(cluster.plain_address(node));
            while here.ask("GET", "/v1/conversations", None).await.0 != 401 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut chat = here.chat_unnamed("").await;
            chat.raw(&json!({ "token": leaving.token }).to_string()).await;
            let (error, _) = chat.end_within(ENDS_WITHIN).await;
            assert_eq!(error["code"], "session_ended", "{error}");
        }
    };
    tokio::time::timeout(ENDS_WITHIN, refused).await.expect("refused everywhere in time");
    let shown = json!({ "refreshToken": leaving.refresh });
    assert_eq!(post(&cluster, 2, "/v1/sessions/refresh", &shown).await.status, 401);
    kept.stored("leaving", "m1", "the other device goes on").await;
    staying.granted("GET", "/v1/conversations", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_call_needs_a_bearer() {
    let cluster = Shared::cluster().await;
    let calls = [
        ("DELETE", "/v1/sessions/current"),
        ("GET", "/messages/anybody"),
        ("GET", "/v1/messages/00000000000000000000000000000000-1"),
        ("GET", "/v1/presence/anybody"),
        ("GET", "/v1/conversations"),
        ("POST", "/v1/groups"),
        ("GET", "/v1/groups/any"),
        ("POST", "/v1/groups/any/members"),
        ("DELETE", "/v1/groups/any/members/body"),
    ];
    for (method, path) in calls {
        for bearer in [None, Some("not.a.token")] {
            let answer = http::request(cluster.plain_address(2), method, path, bearer, "{}").await;
            let answer = answer.expect("the node answers");
            let refused = problem(&answer);
            assert_eq!(
                (answer.status, &refused["code"]),
                (401, &json!("unauthenticated")),
                "{path}"
            );
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_types_are_refused_by_name_and_unknown_fields_ignored() {
    let cluster = Shared::cluster().await;
    let who = cluster.user(1, "typist").await;
    let cases = [
        ("/v1/users", json!({ "userId": 5, "password": "p" }), "userId"),
        ("/v1/users", json!({ "userId": "typist-2", "password": ["p"] }), "password"),
        ("/v1/users", json!({ "userId": "typist-2" }), "password"),
        ("/v1/sessions", json!({ "userId": {}, "password": "p" }), "userId"),
        ("/v1/sessions", json!({ "userId": "typist", "password": 1 }), "password"),
        (
            "/v1/sessions",
            json!({ "userId": "typist", "password": PASSWORD, "deviceName": 5 }),
            "deviceName",
        ),
        ("/v1/sessions/refresh", json!({ "refreshToken": 7 }), "refreshToken"),
        ("/v1/sessions/refresh", json!({}), "refreshToken"),
        ("/v1/groups", json!({ "groupId": 1, "name": "G", "members": [] }), "groupId"),
        ("/v1/groups", json!({ "name": {}, "members": [] }), "name"),
        ("/v1/groups", json!({ "name": "G", "members": "typist" }), "members"),
        ("/v1/groups", json!({ "name": "G", "members": [1] }), "members"),
        ("/v1/groups", json!({ "name": "G", "members": [], "history": true }), "history"),
        ("/v1/groups", json!({ "name": "G", "members": [], "history": "none" }), "history"),
    ];
    for (path, body, field) in cases {
        let (status, refused) = who.refused("POST", path, Some(&body)).await;
        assert!([400, 422].contains(&status), "{path} {body}: {refused}");
        assert_eq!(refused["field"], field, "{path} {body}");
        assert!(refused["detail"].as_str().expect("text").contains(field), "{refused}");
    }
    let more = json!({ "userId": "typist-3", "password": PASSWORD, "colour": "red", "age": 7 });
    assert_eq!(post(&cluster, 1, "/v1/users", &more).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_unknown_paths_and_other_methods_are_problems() {
    let cluster = Shared::cluster().await;
    let who = cluster.user(3, "clumsy").await;
    let huge = format!("{{\"userId\":\"{}\"}}", "x".repeat(300 << 10));
    let cases = [
        ("POST", "/v1/users", "{\"userId\":", 400, "invalid_request"),
        ("POST", "/v1/users", "[1]", 400, "invalid_request"),
        ("POST", "/v1/users", "", 400, "invalid_request"),
        ("POST", "/v1/users", huge.as_str(), 413, "too_large"),
        ("GET", "/v1/messages/no-id", "", 400, "invalid_request"),
        ("GET", "/v1/presence/%FF", "", 400, "invalid_request"),
        ("GET", "/messages/clumsy?consistency=maybe", "", 400, "invalid_request"),
        ("GET", "/", "", 404, "not_found"),
        ("GET", "/v2/users", "", 404, "not_found"),
        ("GET", "/v1/users/clumsy/secrets", "", 404, "not_found"),
        ("POST", "/v1/nothing", "{}", 404, "not_found"),
        ("GET", "/v1/users", "", 405, "method_not_allowed"),
        ("PUT", "/v1/sessions", "{}", 405, "method_not_allowed"),
        ("DELETE", "/messages/clumsy", "", 405, "method_not_allowed"),
        ("PATCH", "/v1/groups", "{}", 405, "method_not_allowed"),
        ("GET", "/chat", "", 400, "invalid_request"),
        ("GET", "/chat?encoding=morse", "", 400, "invalid_request"),
    ];
    for (method, path, body, status, code) in cases {
        let address = cluster.plain_address(3);
        let answer = http::request(address, method, path, Some(&who.token), body).await;
        let answer = answer.expect("the node answers");
        let refused = problem(&answer);
        assert_eq!(
            (answer.status, &refused["code"]),
            (status, &json!(code)),
            "{method} {path} {refused}"
        );
        assert_eq!(refused["retryable"], json!(false));
    }
}
