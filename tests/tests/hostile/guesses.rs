//! Guessing: ids that cannot be told apart from those that do not exist, passwords, refresh tokens.

use futures::future::join_all;
use serde_json::json;
use tests::{Stranger, http};

use crate::process::Process;

/// How many guesses run at once.
const AT_ONCE: usize = 20;

/// Conversations, messages and users that are somebody else's business.
pub(crate) async fn ids(node: &Process) {
    let eve = Stranger::arrive(node.plain(), "eve").await;
    let id = |name: &str| chat::UserId::parse(name).expect("legal");
    // Alice and Bob write to each other all the time; their conversation's id can be computed by anybody.
    let theirs = chat::ConversationId::direct(&id("alice"), &id("bob"));
    let nobodys = chat::ConversationId::direct(&id("alice"), &id("eve"));
    let mut answers = Vec::new();
    for conversation in [theirs, nobodys] {
        for seq in [1, 2, 1_000_000] {
            let path = format!("/v1/messages/{conversation}-{seq}");
            answers.push(eve.refused("GET", &path, None).await);
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "a conversation of others looks like none: {answers:?}");
    for batch in 0..25_u64 {
        let guesses = (0..AT_ONCE as u64).map(async |n| {
            let guess = u128::from(batch * 1000 + n)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
            let slot = format!("{:04x}", guess as u16 % 16384);
            let path = format!("/v1/messages/{slot}{:028x}-1", guess >> 16);
            let (status, refused) = eve.refused("GET", &path, None).await;
            assert_eq!((status, &refused["code"]), (404, &json!("not_found")), "{refused}");
        });
        join_all(guesses).await;
    }
}

/// Passwords, by many at once: every answer is typed, and none is a session.
pub(crate) async fn passwords(node: &Process) {
    let guesses = (0..60).map(async |n| {
        let login =
            json!({ "userId": "alice", "password": format!("guess {n}"), "deviceName": "x" });
        let body = login.to_string();
        let answer = http::request(node.plain(), "POST", "/v1/sessions", None, &body).await;
        let answer = answer.expect("the node answers");
        let code = tests::problem(&answer)["code"].clone();
        let typed = ["wrong_credentials", "rate_limited", "overloaded"].map(|code| json!(code));
        assert!(typed.contains(&code), "{code}");
    });
    join_all(guesses).await;
    // A made-up refresh token of somebody else's device ends nobody's session.
    let mallory = Stranger::arrive(node.plain(), "mallory").await;
    let guesses = (0..AT_ONCE).map(async |n| {
        let real: Vec<&str> = mallory.refresh.split('.').collect();
        let guess = format!("{}.{}.{:A>43}", real[0], real[1], n);
        let body = json!({ "refreshToken": guess });
        let (status, refused) =
            http::json(node.plain(), "POST", "/v1/sessions/refresh", None, Some(&body)).await;
        assert_eq!((status, &refused["code"]), (401, &json!("stale_refresh")), "{refused}");
    });
    join_all(guesses).await;
    mallory.granted("GET", "/v1/conversations", None).await;
}
