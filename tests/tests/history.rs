//! Contract sections 5 and 6: history is one, whole, in order and fresh, at whichever node it is asked for.

use serde_json::{Value, json};
use tests::http::escape;
use tests::{Chat, Shared, Stranger, items};

fn sequences(page: &Value) -> Vec<u64> {
    items(page).iter().map(|one| one["sequence"].as_u64().expect("a place")).collect()
}

/// Sends messages `m1` … `m<count>`, alternating between the two.
async fn talk(one: (&Stranger, &mut Chat), other: (&Stranger, &mut Chat), count: u64) {
    for n in 1..=count {
        let (to, chat) = if n % 2 == 1 { (other.0, &mut *one.1) } else { (one.0, &mut *other.1) };
        chat.stored(&to.user, &format!("m{n}"), &format!("text {n}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_forwards_neither_skip_nor_repeat() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "fwd-anna").await;
    let ben = cluster.user(2, "fwd-ben").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    talk((&anna, &mut hers), (&ben, &mut his), 61).await;
    let whole = anna.granted("GET", "/messages/fwd-ben?limit=100", None).await;
    assert_eq!(sequences(&whole), (1..=61).collect::<Vec<_>>());
    assert!(
        whole["next_after_id"].is_null(),
        "nothing follows the end: {}",
        whole["next_after_id"]
    );
    let payloads = whole["messages"].as_array().expect("a list");
    assert!(payloads.iter().all(|one| one["payload"].is_array()), "messages hold payloads");
    for message in items(&whole) {
        for field in [
            "senderId",
            "receiverId",
            "messageId",
            "timestamp",
            "attachment",
            "attachmentURI",
            "messageText",
            "receivedServer",
            "delivered",
            "read",
            "conversationId",
            "sequence",
            "canonicalId",
            "orderNumber",
        ] {
            assert!(!message[field].is_null(), "{field} in {message}");
        }
    }
    let by_default = anna.granted("GET", "/messages/fwd-ben", None).await;
    assert_eq!(sequences(&by_default), (1..=50).collect::<Vec<_>>(), "50 unless told otherwise");

    for (who, other, limit) in
        [(&anna, "fwd-ben", 1), (&ben, "fwd-anna", 7), (&anna, "fwd-ben", 61)]
    {
        let (mut all, mut after) = (Vec::new(), String::new());
        for (round, node) in [1, 2, 3].into_iter().cycle().enumerate() {
            assert!(round <= 61, "pages end");
            let here = who.at(cluster.plain_address(node));
            let page =
                here.granted("GET", &format!("/messages/{other}?limit={limit}{after}"), None).await;
            assert!(sequences(&page).len() <= limit);
            all.extend(items(&page));
            // By the page's own word, by the canonical id and by the client's own id in turn.
            let Some(next) = page["next_after_id"].as_str() else { break };
            let last = all.last().expect("a page that goes on has messages");
            let marks = [
                next,
                last["canonicalId"].as_str().expect("an id"),
                last["messageId"].as_str().expect("an id"),
            ];
            after = format!("&after_id={}", marks[round % 3]);
        }
        assert_eq!(all, items(&whole), "limit {limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_backwards_neither_skip_nor_repeat() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "bwd-anna").await;
    let ben = cluster.user(2, "bwd-ben").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    talk((&anna, &mut hers), (&ben, &mut his), 33).await;
    for (node, limit) in [(1, 10), (2, 3), (3, 33)] {
        let here = ben.at(cluster.plain_address(node));
        let (mut all, mut before) = (vec![33], "m33".to_owned());
        loop {
            let page = here
                .granted(
                    "GET",
                    &format!("/messages/bwd-anna?before_id={before}&limit={limit}"),
                    None,
                )
                .await;
            let got = sequences(&page);
            assert!(
                got.len() <= limit && got.is_sorted(),
                "a page just before, ascending: {got:?}"
            );
            assert_eq!(got.last(), all.first().map(|first| first - 1).as_ref());
            all.splice(0..0, got);
            match page["next_before_id"].as_str() {
                Some(next) => before = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(all, (1..=33).collect::<Vec<_>>(), "limit {limit}");
    }
    let first = anna.granted("GET", "/messages/bwd-ben?before_id=m1", None).await;
    assert!(items(&first).is_empty() && first["next_before_id"].is_null(), "{first}");
    let both = anna.refused("GET", "/messages/bwd-ben?before_id=m1&after_id=m2", None).await;
    assert_eq!(both.0, 400, "{}", both.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_and_limits_that_cannot_be_are_refused() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "mark-anna").await;
    let ben = cluster.user(2, "mark-ben").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    hers.stored("mark-ben", "same", "mine").await;
    let second = his.stored("mark-anna", "same", "mine too").await;
    hers.stored("mark-ben", "odd/+= id?&", "mine again").await;
    for limit in ["0", "101", "-1", "x", "", "1e2", "4294967296"] {
        let (status, refused) =
            anna.refused("GET", &format!("/messages/mark-ben?limit={limit}"), None).await;
        assert_eq!((status, &refused["field"]), (400, &json!("limit")), "{limit}: {refused}");
    }
    for way in ["after_id", "before_id"] {
        let (status, refused) =
            anna.refused("GET", &format!("/messages/mark-ben?{way}=same"), None).await;
        assert_eq!((status, &refused["code"]), (409, &json!("ambiguous_id")), "{refused}");
        let canonical = second["canonicalId"].as_str().expect("an id");
        anna.granted("GET", &format!("/messages/mark-ben?{way}={canonical}"), None).await;
        let (status, refused) =
            anna.refused("GET", &format!("/messages/mark-ben?{way}=unheard-of"), None).await;
        assert_eq!((status, &refused["code"]), (404, &json!("not_found")), "{refused}");
    }
    let odd = anna
        .granted("GET", &format!("/messages/mark-ben?before_id={}", escape("odd/+= id?&")), None)
        .await;
    assert_eq!(sequences(&odd), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_not_found_and_somebody_without_messages_is_an_empty_list() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "empty-anna").await;
    cluster.user(2, "empty-ben").await;
    let group = json!({ "groupId": "empty-group", "name": "G", "members": [] });
    anna.granted("POST", "/v1/groups", Some(&group)).await;
    for node in 1..=3 {
        let here = anna.at(cluster.plain_address(node));
        for name in ["empty-ben", "empty-anna", "empty-group"] {
            let page = here.granted("GET", &format!("/messages/{name}"), None).await;
            assert_eq!(
                page,
                json!({ "messages": [], "next_after_id": null }),
                "{name} at node {node}"
            );
        }
        let (status, refused) = here.refused("GET", "/messages/empty-nobody", None).await;
        assert_eq!(status, 404, "{refused}");
        let local = here.granted("GET", "/messages/empty-anna?consistency=local", None).await;
        assert_eq!(local["messages"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_seen_by_every_node_at_once() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "lin-anna").await;
    let ben = cluster.user(2, "lin-ben").await;
    let mut writers = Vec::new();
    for node in 1..=3 {
        writers.push(
            anna.another(&format!("writer {node}"))
                .await
                .at(cluster.plain_address(node))
                .chat()
                .await,
        );
    }
    let mut count = 0;
    for round in 0..15 {
        for (node, chat) in (1..=3u64).zip(&mut writers) {
            let stored =
                chat.stored("lin-ben", &format!("m{round}-{node}"), "now you see it").await;
            count += 1;
            assert_eq!(stored["sequence"], json!(count));
            for reader in 1..=3 {
                let here = ben.at(cluster.plain_address(reader));
                let id = stored["canonicalId"].as_str().expect("an id");
                if reader == round % 3 + 1 {
                    here.granted("GET", &format!("/v1/messages/{id}"), None).await;
                    continue;
                }
                let after = (count > 1)
                    .then(|| id.replace(&format!("-{count}"), &format!("-{}", count - 1)));
                let after = after.map_or_else(String::new, |id| format!("?after_id={id}"));
                let page = here.granted("GET", &format!("/messages/lin-anna{after}"), None).await;
                assert_eq!(sequences(&page), [count], "written at {node}, read at {reader}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_whole_while_others_write() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "while-anna").await;
    let ben = cluster.user(2, "while-ben").await;
    anna.chat().await.stored("while-ben", "first", "first").await;
    let writing = async {
        for sender in [&anna, &ben] {
            let mut chat = sender.chat().await;
            let to = if sender.user == "while-anna" { "while-ben" } else { "while-anna" };
            for n in 0..60 {
                chat.stored(to, &format!("{}-{n}", sender.user), "text").await;
            }
        }
    };
    let reading = async {
        let (mut seen, mut after) = (0, String::new());
        for node in [1, 2, 3].into_iter().cycle() {
            let here = ben.at(cluster.plain_address(node));
            let page =
                here.granted("GET", &format!("/messages/while-anna?limit=9{after}"), None).await;
            for message in items(&page) {
                seen += 1;
                assert_eq!(message["sequence"], json!(seen), "no gap and no repeat");
                after = format!("&after_id={}", message["canonicalId"].as_str().expect("an id"));
            }
            if seen == 121 {
                return;
            }
        }
    };
    tests::in_time(futures::future::join(Box::pin(writing), Box::pin(reading))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_part_reads_nothing() {
    let cluster = Shared::cluster().await;
    let anna = cluster.user(1, "priv-anna").await;
    cluster.user(2, "priv-ben").await;
    let eve = cluster.user(3, "priv-eve").await;
    let stored = anna.chat().await.stored("priv-ben", "secret", "between us").await;
    let id = stored["canonicalId"].as_str().expect("an id");
    for other in ["priv-anna", "priv-ben"] {
        assert!(eve.history(other).await.is_empty(), "a conversation is between two");
        for mark in [id, "secret"] {
            let page = eve.ask("GET", &format!("/messages/{other}?before_id={mark}"), None).await.1;
            assert!(items(&page).is_empty(), "not even by its name: {page}");
        }
    }
}
