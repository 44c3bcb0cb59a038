//! A user's sessions over three nodes: listed, ended from afar, ended with a new password; and the profile.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{PASSWORD, Shared, Stranger, http, in_time, problem};

/// How long a session that ended may still be good somewhere.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// A pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

async fn sessions(who: &Stranger) -> Vec<Value> {
    let answer = who.granted("GET", "/v1/sessions", None).await;
    answer["sessions"].as_array().expect("a list").clone()
}

/// Every node refuses it in time, and its links end.
async fn assert_over(cluster: &Shared, who: &Stranger, links: &mut [tests::Chat]) {
    for link in links {
        let (error, _) = link.end_within(ENDS_WITHIN).await;
        assert_eq!(error["code"], "session_ended", "{error}");
    }
    let refused = async {
        for node in 1..=3 {
            let here = who.at(cluster.plain_address(node));
            while here.ask("GET", "/v1/conversations", None).await.0 != 401 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    };
    tokio::time::timeout(ENDS_WITHIN, refused).await.expect("refused everywhere in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_sees_all_sessions_at_every_node_and_which_one_asks() {
    let cluster = Shared::cluster().await;
    let first = cluster.user(1, "lister").await;
    let second = first.another("tablet").await;
    for node in 1..=3 {
        for who in [&first, &second] {
            let seen = sessions(&who.at(cluster.plain_address(node))).await;
            let names: Vec<_> = seen.iter().map(|one| one["deviceName"].clone()).collect();
            assert_eq!(names, ["first", "tablet"]);
            let current: Vec<_> = seen.iter().filter(|one| one["current"] == true).collect();
            assert_eq!(current.len(), 1);
            assert_eq!(current[0]["deviceId"], json!(who.device));
        }
    }
    // The one that has a link is seen later than it began; the other one is not.
    let seen_at = |seen: &[Value], at: usize| seen[at]["lastSeen"].as_str().map(str::to_owned);
    let before = sessions(&first).await;
    let link = second.at(cluster.plain_address(3)).chat().await;
    in_time(async {
        while seen_at(&sessions(&first).await, 1) == seen_at(&before, 1) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    let after = sessions(&first).await;
    assert!(seen_at(&after, 1) > seen_at(&before, 1), "{after:?}");
    assert_eq!(seen_at(&after, 0), seen_at(&before, 0), "{after:?}");
    link.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_signed_out_from_afar_is_refused_everywhere_and_its_links_end() {
    let cluster = Shared::cluster().await;
    let here = cluster.user(1, "remote").await;
    let lost = here.another("lost phone").await;
    let stranger = cluster.user(2, "remote-stranger").await;
    let mut links = Vec::new();
    for node in 1..=3 {
        links.push(lost.at(cluster.plain_address(node)).chat().await);
    }
    let path = format!("/v1/sessions/{}", lost.device);
    let (status, refused) = stranger.refused("DELETE", &path, None).await;
    assert_eq!((status, &refused["code"]), (404, &json!("no_such_device")), "only one's own");
    assert_eq!(here.ask("DELETE", &path, None).await.0, 204);
    assert_over(&cluster, &lost, &mut links).await;
    let (status, refused) = here.refused("DELETE", &path, None).await;
    assert_eq!((status, &refused["code"]), (404, &json!("no_such_device")), "it is gone");
    // 0 stands for none in every encoding: a command about it must not get into the log.
    for nothing in ["xyz", "0000000000000000"] {
        let path = format!("/v1/sessions/{nothing}");
        let (status, refused) = here.refused("DELETE", &path, None).await;
        assert_eq!((status, &refused["field"]), (400, &json!("device")), "{nothing}");
    }
    let names: Vec<_> = sessions(&here).await.iter().map(|one| one["deviceName"].clone()).collect();
    assert_eq!(names, ["first"]);
    let shown = json!({ "refreshToken": lost.refresh });
    let node = cluster.plain_address(3);
    let (status, _) = http::json(node, "POST", "/v1/sessions/refresh", None, Some(&shown)).await;
    assert_eq!(status, 401, "nor does it come back by its refresh token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_ends_every_other_session_and_the_old_one_is_good_no_more() {
    let cluster = Shared::cluster().await;
    let here = cluster.user(2, "changer").await;
    let other = here.another("elsewhere").await;
    let mut links = [other.at(cluster.plain_address(3)).chat().await];
    let mut kept = here.at(cluster.plain_address(1)).chat().await;
    const PATH: &str = "/v1/users/me/password";
    let change = |old: &str, new: &str| json!({ "oldPassword": old, "newPassword": new });

    let (status, refused) = here.refused("PUT", PATH, Some(&change("a guess", "mine"))).await;
    assert_eq!((status, &refused["code"]), (401, &json!("wrong_credentials")));
    let (status, refused) = here.refused("PUT", PATH, Some(&change(PASSWORD, ""))).await;
    assert_eq!((status, &refused["field"]), (400, &json!("newPassword")));
    other.granted("GET", "/v1/conversations", None).await;

    let changed = here.ask("PUT", PATH, Some(&change(PASSWORD, "a better one"))).await;
    assert_eq!(changed.0, 204, "{}", changed.1);
    assert_over(&cluster, &other, &mut links).await;
    kept.stored("changer", "m1", "this session goes on").await;
    for (node, password, status) in [(1, PASSWORD, 401), (2, "a better one", 201)] {
        let login = json!({ "userId": "changer", "password": password }).to_string();
        let node = cluster.plain_address(node);
        let answer = http::request(node, "POST", "/v1/sessions", None, &login).await;
        let answer = answer.expect("the node answers");
        assert_eq!(answer.status, status, "{password}");
        if status == 401 {
            assert_eq!(problem(&answer)["code"], "wrong_credentials");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_is_what_its_user_says_and_is_seen_at_every_node() {
    let cluster = Shared::cluster().await;
    let shown = cluster.user(1, "shown").await;
    let reader = cluster.user(2, "profile-reader").await;
    let at_first = reader.granted("GET", "/v1/users/shown", None).await;
    assert_eq!(at_first["displayName"], "");
    for (node, name) in [(1, "Shown the First"), (3, "Shown ☂")] {
        let here = shown.at(cluster.plain_address(node));
        let profile = json!({ "displayName": name });
        assert_eq!(here.ask("PUT", "/v1/users/me/profile", Some(&profile)).await.0, 204);
        for node in 1..=3 {
            let there = reader.at(cluster.plain_address(node));
            let profile = there.granted("GET", "/v1/users/shown", None).await;
            assert_eq!(profile["displayName"], name);
            assert_eq!(profile["userId"], "shown");
        }
    }
    let too_long = json!({ "displayName": "x".repeat(257) });
    let (status, refused) = shown.refused("PUT", "/v1/users/me/profile", Some(&too_long)).await;
    assert_eq!((status, &refused["expected"]), (413, &json!(256)));
    let (status, refused) = reader.refused("GET", "/v1/users/nobody-at-all", None).await;
    assert_eq!((status, &refused["code"]), (404, &json!("no_such_user")));
}
