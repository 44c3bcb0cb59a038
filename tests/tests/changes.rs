//! What becomes of what was said: edits, deletions for all, reactions, names and roles, over the real interface of three
//! nodes, and who is told when.

use serde_json::{Value, json};
use tests::{Chat, Cluster, Shape, Shared, Stranger, in_time, items};

async fn make(owner: &Stranger, group: &str, members: &[&str], history: &str) -> Value {
    let body =
        json!({ "groupId": group, "name": "A group", "members": members, "history": history });
    owner.granted("POST", "/v1/groups", Some(&body)).await
}

async fn say(chat: &mut Chat, group: &str, id: &str) -> Value {
    let item = chat.to_group(group, id, id);
    chat.accepted(item).await
}

/// The fields that name a message.
fn named(message: &Value, change_id: &str, kind: &str) -> Value {
    json!({ "changeId": change_id, "canonicalId": message["canonicalId"], "kind": kind })
}

fn edit(message: &Value, change_id: &str, text: &str) -> Value {
    let mut wish = named(message, change_id, "edit");
    wish["messageText"] = json!(text);
    wish
}

fn react(message: &Value, change_id: &str, reaction: &str) -> Value {
    let mut wish = named(message, change_id, "react");
    wish["reaction"] = json!(reaction);
    wish
}

fn path_of(message: &Value) -> String {
    format!("/v1/messages/{}", message["canonicalId"].as_str().expect("a message is named"))
}

fn numbers(changes: &[Value]) -> Vec<u64> {
    changes.iter().map(|one| one["change"].as_u64().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_keeps_the_place_and_everybody_reads_the_new_text() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "edit-anna").await;
    let ben = cluster.user(2, "edit-ben").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    let first = hers.stored("edit-ben", "m1", "helo").await;
    hers.stored("edit-ben", "m2", "second").await;
    assert_eq!(his.messages(2).await.len(), 2);

    let answer = hers.wish(edit(&first, "c1", "hello")).await;
    assert_eq!((&answer["change"], answer.get("error")), (&json!(1), None), "{answer}");
    assert_eq!(answer["canonicalId"], first["canonicalId"]);
    let told = his.changes(1).await.remove(0);
    let conversation = &first["conversationId"];
    let wanted = json!({
        "conversationId": conversation, "sequence": 1, "canonicalId": first["canonicalId"],
        "change": 1, "by": "edit-anna", "timestamp": answer["timestamp"], "kind": "edited",
        "messageText": "hello",
    });
    assert_eq!(told, wanted);

    let again = hers.wish(edit(&first, "c1", "hello")).await;
    assert_eq!(again["change"], json!(1), "the same wish is the same change: {again}");
    let other = hers.wish(edit(&first, "c1", "hallo")).await;
    assert_eq!(other["error"]["code"], "conflict", "{other}");
    let stranger = his.wish(edit(&first, "c1", "I said so")).await;
    assert_eq!(stranger["error"]["code"], "not_allowed", "{stranger}");

    let body = json!({ "messageText": "hello!", "changeId": "c2" });
    for node in [1, 3] {
        let here = anna.at(cluster.plain_address(node));
        let patched = here.granted("PATCH", &path_of(&first), Some(&body)).await;
        assert_eq!(patched["change"], json!(2), "wherever it is repeated: {patched}");
    }
    for node in 1..=3 {
        let page = ben.at(cluster.plain_address(node)).history("edit-anna").await;
        let texts: Vec<&Value> = page.iter().map(|one| &one["messageText"]).collect();
        assert_eq!(texts, [&json!("hello!"), &json!("second")]);
        assert_eq!((&page[0]["edited"], &page[0]["sequence"]), (&json!(true), &json!(1)));
        assert!(page[0]["editedAt"].is_string() && page[1].get("edited").is_none());
    }
    let one = ben.granted("GET", &path_of(&first), None).await;
    assert_eq!(numbers(one["trail"].as_array().expect("a trail")), [1, 2]);
    assert_eq!(one["trail"][0]["messageText"], "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_gone_for_everybody_and_its_trail_says_nothing() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "del-anna").await;
    let ben = cluster.user(2, "del-ben").await;
    let cara = cluster.user(3, "del-cara").await;
    make(&anna, "del-group", &["del-ben", "del-cara"], "all").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    let item = his.to_group("del-group", "m1", "the secret");
    let secret = his.accepted(item).await;
    let kept = say(&mut his, "del-group", "kept").await;
    assert_eq!(his.wish(edit(&secret, "e1", "the secret, again")).await["change"], json!(1));
    assert_eq!(his.wish(react(&secret, "r1", "+1")).await["change"], json!(2));

    let mut caras = cara.chat().await;
    let refused = caras.wish(named(&secret, "d1", "delete")).await;
    assert_eq!(refused["error"]["code"], "not_allowed", "{refused}");
    // The owner may delete what others said.
    let answer = hers.wish(named(&secret, "d1", "delete")).await;
    assert_eq!(answer["change"], json!(3), "{answer}");
    let told = caras.change(|item| item["kind"] == "deleted").await;
    assert_eq!((&told["by"], &told["sequence"]), (&json!("del-anna"), &json!(1)));

    for node in 1..=3 {
        let here = cara.at(cluster.plain_address(node));
        let one = here.granted("GET", &path_of(&secret), None).await;
        assert_eq!((&one["deleted"], &one["messageText"]), (&json!(true), &json!("")));
        assert_eq!(one.get("reactions"), None, "{one}");
        let path = format!(
            "/v1/conversations/{}/changes",
            secret["conversationId"].as_str().expect("an id")
        );
        let changes = here.granted("GET", &path, None).await;
        let page = here.granted("GET", "/messages/del-group", None).await;
        let list = here.granted("GET", "/v1/conversations", None).await;
        for answer in [&one, &changes, &page, &list] {
            assert!(!answer.to_string().contains("secret"), "{answer}");
        }
        assert_eq!(items(&page)[1]["messageText"], "kept");
    }
    for wish in [edit(&secret, "e9", "once more"), react(&secret, "r9", "+1")] {
        let refused = his.wish(wish).await;
        assert_eq!(refused["error"]["code"], "message_deleted", "{refused}");
    }
    let (status, problem) =
        ben.refused("PATCH", &path_of(&secret), Some(&json!({ "messageText": "once more" }))).await;
    assert_eq!((status, &problem["code"]), (409, &json!("message_deleted")));
    let twice = ben.granted("DELETE", &path_of(&secret), None).await;
    assert_eq!(twice["change"], json!(3), "it is deleted by the first one: {twice}");
    assert!(kept["sequence"] == json!(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_sees_a_message_reacts_to_it_once() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "rea-anna").await;
    let ben = cluster.user(2, "rea-ben").await;
    let cara = cluster.user(3, "rea-cara").await;
    make(&anna, "rea-group", &["rea-ben"], "since_join").await;
    let mut hers = anna.chat().await;
    let message = say(&mut hers, "rea-group", "hello").await;
    let reaction = format!("{}/reaction", path_of(&message));
    let put = |text: &str| json!({ "reaction": text });
    ben.granted("PUT", &reaction, Some(&put("+1"))).await;
    ben.granted("PUT", &reaction, Some(&put("\u{1F600}"))).await;
    anna.granted("PUT", &reaction, Some(&put("-1"))).await;
    let shown = anna.granted("GET", &path_of(&message), None).await;
    let wanted = json!([
        { "userId": "rea-anna", "reaction": "-1" },
        { "userId": "rea-ben", "reaction": "\u{1F600}" },
    ]);
    assert_eq!(shown["reactions"], wanted);
    anna.granted("DELETE", &reaction, None).await;
    let shown = ben.granted("GET", &path_of(&message), None).await;
    assert_eq!(shown["reactions"].as_array().map(Vec::len), Some(1), "{shown}");

    let (status, problem) = ben.refused("PUT", &reaction, Some(&put(&"x".repeat(33)))).await;
    assert_eq!(
        (status, &problem["code"], &problem["expected"]),
        (413, &json!("too_large"), &json!(32))
    );
    let (status, problem) = cara.refused("PUT", &reaction, Some(&put("+1"))).await;
    assert_eq!((status, &problem["code"]), (403, &json!("not_a_member")));
    // Who came later sees neither the message nor what became of it.
    let body = json!({ "members": ["rea-cara"] });
    anna.granted("POST", "/v1/groups/rea-group/members", Some(&body)).await;
    let (status, problem) = cara.refused("PUT", &reaction, Some(&put("+1"))).await;
    assert_eq!((status, &problem["code"]), (404, &json!("no_such_message")));
    let conversation = message["conversationId"].as_str().expect("an id");
    let path = format!("/v1/conversations/{conversation}/changes");
    let seen = cara.granted("GET", &path, None).await;
    let kinds: Vec<&Value> =
        seen["changes"].as_array().expect("changes").iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, [&json!("added")], "{seen}");
    let beyond = format!("/v1/messages/{conversation}-99/reaction");
    let (status, problem) = ben.refused("PUT", &beyond, Some(&put("+1"))).await;
    assert_eq!((status, &problem["code"]), (404, &json!("no_such_message")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_gets_the_changes_that_it_has_not_confirmed_each_after_its_message() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "dev-anna").await;
    let ben = cluster.user(2, "dev-ben").await;
    let mut hers = anna.chat().await;
    let first = hers.stored("dev-ben", "m1", "one").await;
    let mut his = ben.chat().await;
    assert_eq!(his.messages(1).await.len(), 1);
    his.confirm(&first, "delivered").await;
    assert_eq!(hers.wish(edit(&first, "c1", "one!")).await["change"], json!(1));
    assert_eq!(numbers(&his.changes(1).await), [1]);
    let id = &first["conversationId"];
    his.say(json!({ "conversationId": id, "change": 7, "delivered": true })).await;
    let refused = his.until(|item| item["error"].is_object()).await;
    assert_eq!((&refused["change"], &refused["error"]["code"]), (&json!(7), &json!("beyond_end")));
    his.say(json!({ "conversationId": id, "change": 1, "delivered": true })).await;
    // Only a refusal is answered; the answer to what follows proves that there is none.
    his.stored("dev-anna", "r1", "I see").await;
    his.leave().await;

    let second = hers.stored("dev-ben", "m2", "two").await;
    assert_eq!(hers.wish(edit(&second, "c2", "two!")).await["change"], json!(2));
    assert_eq!(hers.wish(react(&first, "c3", "+1")).await["change"], json!(3));
    // On connecting, whatever of it waits comes: the message first, as it reads now, then what was changed.
    let mut back = in_time(async {
        loop {
            let mut back = ben.at(cluster.plain_address(3)).chat().await;
            let frame = back.next().await;
            let one = items(&frame).into_iter().find(|item| item["sequence"] == json!(3));
            // The confirmation of change 1 may still be on its way to this node.
            let missed = back.changes_until(3).await;
            if numbers(&missed) == [2, 3] {
                let one = one.expect("the message that was missed");
                assert_eq!((&one["messageText"], &one["edited"]), (&json!("two!"), &json!(true)));
                return back;
            }
            back.leave().await;
        }
    })
    .await;
    assert_eq!(hers.wish(named(&first, "c4", "delete")).await["change"], json!(4));
    assert_eq!(numbers(&back.changes(1).await), [4], "and then what happens now");

    // A device that comes later begins at the end.
    let late = ben.another("late").await;
    let mut late = late.chat().await;
    assert_eq!(hers.wish(react(&second, "c5", "!")).await["change"], json!(5));
    let got = late.changes_until(5).await;
    assert!(numbers(&got).iter().all(|number| *number >= 2), "not what was before it: {got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_who_goes_and_what_the_group_is_called_is_told_in_the_order_of_the_changes() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "grp-anna").await;
    let ben = cluster.user(2, "grp-ben").await;
    let cara = cluster.user(3, "grp-cara").await;
    make(&anna, "grp-group", &["grp-ben"], "since_join").await;
    let mut his = ben.chat().await;
    let member = |name: &str| format!("/v1/groups/grp-group/members/{name}");
    let role = |role: &str| json!({ "role": role });

    let (status, problem) =
        ben.refused("PATCH", "/v1/groups/grp-group", Some(&json!({ "name": "Mine" }))).await;
    assert_eq!((status, &problem["code"]), (403, &json!("not_allowed")));
    anna.granted("PATCH", "/v1/groups/grp-group", Some(&json!({ "name": "Crew" }))).await;
    let (status, problem) = ben.refused("PUT", &member("grp-ben"), Some(&role("admin"))).await;
    assert_eq!((status, &problem["code"]), (403, &json!("not_allowed")));
    anna.granted("PUT", &member("grp-ben"), Some(&role("admin"))).await;
    let body = json!({ "members": ["grp-cara"] });
    ben.granted("POST", "/v1/groups/grp-group/members", Some(&body)).await;
    let (status, problem) = anna.refused("PUT", &member("grp-anna"), Some(&role("member"))).await;
    assert_eq!((status, &problem["code"]), (403, &json!("not_allowed")), "the last owner stays");
    anna.granted("PUT", &member("grp-cara"), Some(&role("owner"))).await;
    anna.granted("PUT", &member("grp-anna"), Some(&role("member"))).await;
    assert_eq!(anna.ask("DELETE", &member("grp-anna"), None).await.0, 204, "everybody may leave");

    let told = his.changes(6).await;
    assert_eq!(numbers(&told), [1, 2, 3, 4, 5, 6]);
    let kinds: Vec<&str> = told.iter().map(|one| one["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["renamed", "role", "added", "role", "role", "removed"]);
    assert_eq!((&told[0]["name"], &told[2]["members"]), (&json!("Crew"), &json!(["grp-cara"])));
    assert_eq!((&told[3]["userId"], &told[3]["role"]), (&json!("grp-cara"), &json!("owner")));
    let shown = cara.granted("GET", "/v1/groups/grp-group", None).await;
    assert_eq!(shown["name"], "Crew");
    let members = json!([
        { "userId": "grp-ben", "role": "admin" }, { "userId": "grp-cara", "role": "owner" },
    ]);
    assert_eq!(shown["members"], members);
    let (status, problem) = cara.refused("PUT", &member("grp-anna"), Some(&role("admin"))).await;
    assert_eq!((status, &problem["code"]), (404, &json!("no_such_user")));
    let (status, problem) = cara.refused("PUT", &member("grp-ben"), Some(&role("king"))).await;
    assert_eq!((status, &problem["field"]), (400, &json!("role")));
    // Whoever has left reads nothing of it any more.
    let id = told[0]["conversationId"].as_str().expect("an id");
    let (status, problem) =
        anna.refused("GET", &format!("/v1/conversations/{id}/changes"), None).await;
    assert_eq!((status, &problem["code"]), (403, &json!("not_a_member")));
    // And who came hears first that they did.
    let mut caras = cara.chat().await;
    assert_eq!(numbers(&caras.changes_until(6).await), [3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_answers_another_and_calls_members_only() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "ref-anna").await;
    let ben = cluster.user(2, "ref-ben").await;
    cluster.user(3, "ref-cara").await;
    make(&anna, "ref-group", &["ref-ben"], "since_join").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    let first = say(&mut hers, "ref-group", "who comes?").await;
    let answering = |chat: &Chat, id: &str, to: Value| {
        let mut item = chat.to_group("ref-group", id, "me");
        item["replyTo"] = to;
        item
    };
    let mut item = answering(&his, "a1", first["canonicalId"].clone());
    item["threadId"] = json!(1);
    item["mentions"] = json!(["ref-anna", "ref-cara"]);
    his.accepted(item.clone()).await;
    let again = his.accepted(item).await;
    assert_eq!(again["sequence"], json!(2), "a repetition is compared with what was asked for");
    let got = hers.messages(1).await.remove(0);
    assert_eq!((&got["replyTo"], &got["threadId"]), (&first["canonicalId"], &first["canonicalId"]));
    assert_eq!(got["mentions"], json!(["ref-anna"]), "who is no member hears nothing anyway");
    assert_eq!(anna.history("ref-group").await[1]["replyTo"], first["canonicalId"]);

    let item = answering(&his, "a2", json!(99));
    assert_eq!(his.failed(item).await["code"], "no_such_message");
    let elsewhere = format!("{}-1", "0123456789abcdef".repeat(2));
    let item = answering(&his, "a3", json!(elsewhere));
    assert_eq!(his.failed(item).await["code"], "no_such_message", "of another conversation");
    let item = answering(&his, "a4", json!({}));
    let refused = his.failed(item).await;
    assert_eq!(
        (&refused["code"], &refused["field"]),
        (&json!("invalid_request"), &json!("replyTo"))
    );
    let mut item = his.to_group("ref-group", "a5", "everybody!");
    item["mentions"] = (0..65).map(|n| format!("ref-{n}")).collect();
    let refused = his.failed(item).await;
    assert_eq!((&refused["code"], &refused["expected"]), (&json!("too_many_mentions"), &json!(64)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_hides_to_have_read_is_delivered_and_no_more() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "hid-anna").await;
    let ben = cluster.user(2, "hid-ben").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    let on = json!({ "hideRead": true });
    let settings = "/v1/users/me/settings";
    assert_eq!(ben.granted("GET", settings, None).await, json!({ "hideRead": false }));
    assert_eq!(ben.granted("PUT", settings, Some(&on)).await, on);
    for node in 1..=3 {
        let here = ben.at(cluster.plain_address(node));
        assert_eq!(here.granted("GET", settings, None).await, on, "now on every node");
    }
    let (status, problem) = ben.refused("PUT", settings, Some(&json!({ "hideRead": 1 }))).await;
    assert_eq!((status, &problem["field"]), (400, &json!("hideRead")));

    let message = hers.stored("hid-ben", "m1", "have you read this?").await;
    his.messages(1).await;
    his.confirm(&message, "read").await;
    let status = hers.until(|item| item["delivered"] == json!(true)).await;
    assert_eq!(status["read"], json!(false), "{status}");
    let list = ben.granted("GET", "/v1/conversations", None).await;
    let line = &list["conversations"][0];
    assert_eq!((&line["unread"], &line["read"]), (&json!(0), &json!(1)), "their own devices agree");
    let one = anna.granted("GET", &path_of(&message), None).await;
    assert_eq!((&one["delivered"], &one["read"]), (&json!(true), &json!(false)));

    let off = json!({ "hideRead": false });
    ben.granted("PUT", settings, Some(&off)).await;
    for node in 1..=3 {
        let here = ben.at(cluster.plain_address(node));
        assert_eq!(here.granted("GET", settings, None).await, off);
    }
    let message = hers.stored("hid-ben", "m2", "and this?").await;
    his.messages(1).await;
    his.confirm(&message, "read").await;
    hers.until(|item| item["messageId"] == "m2" && item["read"] == json!(true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_on_any_node_see_who_is_writing_and_it_ends_by_itself() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "typ-anna").await;
    let ben = cluster.user(2, "typ-ben").await;
    let cara = cluster.user(3, "typ-cara").await;
    let made = make(&anna, "typ-group", &["typ-ben"], "all").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    let mut caras = cara.chat().await;
    // A message on the way proves that the link has begun.
    say(&mut hers, "typ-group", "hello").await;
    his.messages(1).await;
    caras.typing(json!({ "groupId": "typ-group" }), true).await;
    hers.typing(json!({ "groupId": "typ-group" }), true).await;
    let heard = his.heard_typing().await;
    let wanted = json!({
        "conversationId": made["conversationId"], "userId": "typ-anna", "on": true,
    });
    assert_eq!(heard, wanted, "and not who is no member");
    hers.typing(json!({ "conversationId": made["conversationId"] }), false).await;
    assert_eq!(his.heard_typing().await["on"], json!(false));
    his.typing(json!({ "groupId": "typ-group" }), true).await;
    assert_eq!(hers.heard_typing().await["userId"], "typ-ben");
    his.leave().await;
    let over = hers.heard_typing().await;
    assert_eq!((&over["userId"], &over["on"]), (&json!("typ-ben"), &json!(false)), "it expires");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_around_a_message_has_both_sides_of_it() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "aro-anna").await;
    cluster.user(2, "aro-ben").await;
    let mut hers = anna.chat().await;
    for n in 1..=9 {
        hers.stored("aro-ben", &format!("m{n}"), &format!("text {n}")).await;
    }
    for (around, limit, wanted, before, after) in [
        ("m5", 4, vec![3, 4, 5, 6], true, true),
        ("m1", 4, vec![1, 2, 3, 4], false, true),
        ("m9", 4, vec![6, 7, 8, 9], true, false),
        ("m5", 1, vec![5], true, true),
        ("m5", 100, (1..=9).collect(), false, false),
    ] {
        let path = format!("/messages/aro-ben?around_id={around}&limit={limit}");
        let page = anna.granted("GET", &path, None).await;
        let seqs: Vec<u64> =
            items(&page).iter().filter_map(|one| one["sequence"].as_u64()).collect();
        assert_eq!(seqs, wanted, "around {around}");
        assert_eq!(page["next_before_id"].is_string(), before, "{page}");
        assert_eq!(page["next_after_id"].is_string(), after, "{page}");
    }
    let path = "/messages/aro-ben?around_id=m1&after_id=m2";
    let (status, problem) = anna.refused("GET", path, None).await;
    assert_eq!((status, &problem["field"]), (400, &json!("around_id")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_outlive_their_nodes() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "out-anna").await;
    let ben = Stranger::arrive(cluster.plain_address(2), "out-ben").await;
    let mut hers = anna.chat().await;
    let message = hers.stored("out-ben", "m1", "helo").await;
    assert_eq!(hers.wish(edit(&message, "c1", "hello")).await["change"], json!(1));
    drop(hers);
    for node in 1..=3 {
        cluster.stop_node(node).await;
        cluster.start_node(node);
        cluster.wait_ready(node).await;
    }
    // The same wish is still the same change, and the next one takes the next number.
    let body = json!({ "messageText": "hello", "changeId": "c1" });
    let here = anna.at(cluster.plain_address(2));
    assert_eq!(here.granted("PATCH", &path_of(&message), Some(&body)).await["change"], json!(1));
    let deleted = here.granted("DELETE", &path_of(&message), None).await;
    assert_eq!(deleted["change"], json!(2));
    let mut his = ben.at(cluster.plain_address(3)).chat().await;
    let frame = his.next().await;
    assert_eq!(items(&frame)[0]["deleted"], json!(true), "{frame}");
    assert_eq!(numbers(&his.changes_until(2).await), [1, 2]);
    cluster.stop().await;
}
