//! Contract section 5: groups, who belongs to them, and what those see who come and go.

use serde_json::{Value, json};
use tests::{Chat, Shared, Stranger, in_time, items};

/// Makes a group and returns what the server said.
async fn make(owner: &Stranger, group: &str, members: &[&str], history: Option<&str>) -> Value {
    let mut body = json!({ "groupId": group, "name": "A group", "members": members });
    if let Some(history) = history {
        body["history"] = json!(history);
    }
    let answer = owner.answer("POST", "/v1/groups", Some(&body)).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()
}

async fn say(chat: &mut Chat, group: &str, id: &str) -> Value {
    let item = chat.to_group(group, id, id);
    chat.accepted(item).await
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|one| one["messageText"].as_str().expect("a text")).collect()
}

async fn add(by: &Stranger, group: &str, members: &[&str]) -> (u16, Value) {
    by.ask("POST", &format!("/v1/groups/{group}/members"), Some(&json!({ "members": members })))
        .await
}

async fn remove(by: &Stranger, group: &str, member: &str) -> (u16, Value) {
    by.ask("DELETE", &format!("/v1/groups/{group}/members/{member}"), None).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_has_the_id_it_was_given_or_one_of_its_own_and_the_caller_owns_it() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "own-anna").await;
    cluster.user(2, "own-ben").await;
    let made = make(&anna, "own/group+1=", &["own-ben", "own-ben"], None).await;
    assert_eq!(made["groupId"], "own/group+1=");
    assert_eq!(made["conversationId"].as_str().map(str::len), Some(32), "{made}");
    let shown = anna.granted("GET", "/v1/groups/own%2Fgroup%2B1%3D", None).await;
    assert_eq!(shown["conversationId"], made["conversationId"]);
    let members = json!([{ "userId": "own-anna", "role": "owner" }, { "userId": "own-ben", "role": "member" }]);
    assert_eq!(shown["members"], members);
    assert_eq!(shown["history"], "since_join", "unless it is said otherwise");

    let nameless = json!({ "name": "No id", "members": [] });
    let one = anna.granted("POST", "/v1/groups", Some(&nameless)).await;
    let other = anna.granted("POST", "/v1/groups", Some(&nameless)).await;
    assert_ne!(one["groupId"], other["groupId"]);
    let missing = json!({ "name": "G", "members": ["own-ben", "own-nobody"] });
    let (status, refused) = anna.refused("POST", "/v1/groups", Some(&missing)).await;
    assert_eq!((status, &refused["field"]), (404, &json!("members")), "{refused}");
    assert!(refused["detail"].as_str().expect("text").contains("own-nobody"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_in_a_group_reaches_every_member_in_one_order() {
    let cluster = Shared::cluster().await;
    let names = ["all-anna", "all-ben", "all-cara", "all-dora"];
    let mut members = Vec::new();
    for (node, name) in [1, 2, 3, 1].into_iter().zip(names) {
        members.push(cluster.user(node, name).await);
    }
    make(&members[0], "all-group", &names[1..], None).await;
    let mut chats = Vec::new();
    for member in &members {
        chats.push(member.chat().await);
    }
    // Each says five at once; who hears what first is for the group to decide.
    for chat in &mut chats {
        let five: Vec<Value> = (0..5)
            .map(|n| chat.to_group("all-group", &format!("m{n}"), &format!("text {n}")))
            .collect();
        chat.say_all(&five).await;
    }
    let history = in_time(async {
        loop {
            let history = members[0].history("all-group").await;
            if history.len() == 20 {
                break history;
            }
        }
    });
    let history = history.await;
    for (chat, name) in chats.iter_mut().zip(names) {
        let others: Vec<&Value> = history.iter().filter(|one| one["senderId"] != name).collect();
        let got = chat.messages(15).await;
        for (one, other) in got.iter().zip(others) {
            assert_eq!(
                (&one["canonicalId"], &one["messageText"]),
                (&other["canonicalId"], &other["messageText"])
            );
            assert_eq!((&one["groupId"], one.get("receiverId")), (&json!("all-group"), None));
        }
    }
    for (node, member) in [2, 3, 1].into_iter().zip(&members) {
        assert_eq!(member.at(cluster.plain_address(node)).history("all-group").await, history);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_sees_what_is_said_from_then_on_or_all_of_it_as_the_group_was_made() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "join-anna").await;
    let ben = cluster.user(2, "join-ben").await;
    let second = ben.another("second").await.at(cluster.plain_address(3));
    let mut hers = anna.chat().await;
    let mut live = second.chat().await;
    for (group, history, seen) in [
        ("join-since", None, vec!["after 1", "after 2"]),
        ("join-since-too", Some("since_join"), vec!["after 1", "after 2"]),
        ("join-all", Some("all"), vec!["before 1", "before 2", "after 1", "after 2"]),
    ] {
        make(&anna, group, &[], history).await;
        let first = say(&mut hers, group, "before 1").await;
        say(&mut hers, group, "before 2").await;
        assert_eq!(add(&anna, group, &["join-ben"]).await.0, 200);
        say(&mut hers, group, "after 1").await;
        say(&mut hers, group, "after 2").await;
        for node in 1..=3 {
            let here = ben.at(cluster.plain_address(node));
            assert_eq!(texts(&here.history(group).await), seen, "{group}");
            let path = format!("/v1/messages/{}", first["canonicalId"].as_str().expect("an id"));
            assert_eq!(
                here.ask("GET", &path, None).await.0,
                if seen.len() == 4 { 200 } else { 404 }
            );
            let path = format!("/messages/{group}?before_id={}", escape_id(&here, group).await);
            let back = here.granted("GET", &path, None).await;
            assert_eq!(items(&back).len(), seen.len() - 1);
            assert!(
                back["next_before_id"].is_null(),
                "nothing lies before what may be seen: {back}"
            );
        }
        assert_eq!(texts(&live.messages(seen.len()).await), seen, "{group}");
    }
}

/// The canonical id of the last message that `who` sees in `group`.
async fn escape_id(who: &Stranger, group: &str) -> String {
    let history = who.history(group).await;
    history.last().expect("there is one")["canonicalId"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_refused_everything_and_hears_nothing_more() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "rem-anna").await;
    let ben = cluster.user(2, "rem-ben").await;
    let cara = cluster.user(3, "rem-cara").await;
    for (group, history) in [("rem-since", None), ("rem-all", Some("all"))] {
        make(&anna, group, &["rem-ben", "rem-cara"], history).await;
        let (mut hers, mut his, mut caras) =
            (anna.chat().await, ben.chat().await, cara.chat().await);
        let stored = say(&mut hers, group, "with ben").await;
        his.until(|item| item["canonicalId"] == stored["canonicalId"]).await;
        assert_eq!(remove(&anna, group, "rem-ben").await.0, 204);
        let without = say(&mut hers, group, "without ben").await;
        let got = caras.until(|item| item["canonicalId"] == without["canonicalId"]).await;
        assert_eq!(got["messageText"], "without ben");

        let id = stored["canonicalId"].as_str().expect("an id");
        let more = json!({ "members": ["rem-ben"] });
        for node in 1..=3 {
            let here = ben.at(cluster.plain_address(node));
            for (method, path, body) in [
                ("GET", format!("/messages/{group}"), None),
                ("GET", format!("/v1/messages/{id}"), None),
                ("GET", format!("/v1/groups/{group}"), None),
                ("POST", format!("/v1/groups/{group}/members"), Some(&more)),
                ("DELETE", format!("/v1/groups/{group}/members/rem-cara"), None),
            ] {
                let (status, refused) = here.refused(method, &path, body).await;
                assert_eq!(
                    (status, &refused["code"]),
                    (403, &json!("not_a_member")),
                    "{method} {path}"
                );
            }
            let mut chat = here.chat().await;
            let item = chat.to_group(group, "from outside", "let me in");
            assert_eq!(chat.failed(item).await["code"], "not_a_member");
            chat.confirm(&stored, "read").await;
            let refused = chat.until(|item| item["error"].is_object()).await;
            assert_eq!(refused["error"]["code"], "not_a_member");
        }
        // The next message that the removed member hears is one for them, not the group's.
        let direct = hers.stored("rem-ben", &format!("d-{group}"), "sorry").await;
        let next = his.messages(1).await.remove(0);
        assert_eq!(next["canonicalId"], direct["canonicalId"], "{next}");
        let now = anna.granted("GET", &format!("/v1/messages/{id}"), None).await;
        assert_eq!(now["readBy"], json!([]), "{now}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_sees_from_there_again() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "back-anna").await;
    let ben = cluster.user(2, "back-ben").await;
    make(&anna, "back-group", &["back-ben"], None).await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    say(&mut hers, "back-group", "one").await;
    assert_eq!(texts(&his.messages(1).await), ["one"]);
    assert_eq!(remove(&ben, "back-group", "back-ben").await.0, 204, "everybody may leave");
    say(&mut hers, "back-group", "two").await;
    assert_eq!(add(&anna, "back-group", &["back-ben"]).await.0, 200);
    say(&mut hers, "back-group", "three").await;
    assert_eq!(texts(&his.messages(1).await), ["three"], "what was said meanwhile is not theirs");
    assert_eq!(texts(&ben.history("back-group").await), ["three"]);
    say(&mut his, "back-group", "four").await;
    assert_eq!(texts(&hers.messages(1).await), ["four"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_added_and_removed_by_those_who_may() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "may-anna").await;
    let ben = cluster.user(2, "may-ben").await;
    let cara = cluster.user(3, "may-cara").await;
    make(&anna, "may-group", &["may-ben"], None).await;
    for (by, code) in [(&ben, "not_allowed"), (&cara, "not_a_member")] {
        let (status, refused) = add(by, "may-group", &["may-cara"]).await;
        assert_eq!((status, &refused["code"]), (403, &json!(code)), "{refused}");
        let (status, refused) = remove(by, "may-group", "may-anna").await;
        assert_eq!((status, &refused["code"]), (403, &json!(code)), "{refused}");
    }
    let (status, refused) = add(&anna, "may-group", &["may-nobody"]).await;
    assert_eq!((status, &refused["field"]), (404, &json!("members")), "{refused}");
    let (status, refused) = add(&anna, "may-nowhere", &["may-ben"]).await;
    assert_eq!((status, &refused["code"]), (404, &json!("no_such_conversation")), "{refused}");
    // Doing it twice is doing it once.
    for _ in 0..2 {
        assert_eq!(add(&anna, "may-group", &["may-cara", "may-ben"]).await.0, 200);
    }
    for _ in 0..2 {
        assert_eq!(remove(&anna, "may-group", "may-cara").await.0, 204);
    }
    // The last owner leaves: somebody owns the group after them.
    assert_eq!(remove(&anna, "may-group", "may-anna").await.0, 204);
    let shown = ben.granted("GET", "/v1/groups/may-group", None).await;
    assert_eq!(shown["members"], json!([{ "userId": "may-ben", "role": "owner" }]));
    assert_eq!(add(&ben, "may-group", &["may-anna"]).await.0, 200);
}
