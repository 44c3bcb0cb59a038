//! Contract section 6, as far as one process can show it: nodes that stop, are cut off and come back. Each test has a
//! cluster of its own, because it breaks it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Chat, Cluster, PASSWORD, Shape, Stranger, http, in_time, items, problem};
use tokio::time::timeout;

/// In a minority partition a node refuses within this.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// The pause before a refused message is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(50);
/// How many conversations a story has: more than there are shards, so that each shard is in it.
const PAIRS: usize = 6;
/// How many users ask a cut node for everything at once.
const ASKING: usize = 3;

/// Says numbered messages to one peer, at whichever node takes them, until each is acknowledged.
struct Sender {
    who: Stranger,
    peer: String,
    nodes: Vec<SocketAddr>,
    chat: Option<Chat>,
    acknowledged: Vec<Value>,
}

impl Sender {
    async fn arrive(cluster: &Cluster, user: &str, peer: &str) -> Self {
        let nodes = addresses(cluster);
        let who = Stranger::arrive(nodes[0], user).await;
        Self { who, peer: peer.to_owned(), nodes, chat: None, acknowledged: Vec::new() }
    }

    fn next_message(&self) -> Value {
        let order = self.acknowledged.len() + 1;
        json!({
            "senderId": self.who.user, "receiverId": self.peer, "messageId": format!("m{order}"),
            "orderNumber": order, "messageText": format!("text {order}"),
        })
    }

    /// One more message: repeated, at another node when the link ends, until it is stored.
    async fn push(&mut self) {
        let message = self.next_message();
        let stored = in_time(async {
            loop {
                let chat = match self.chat.take() {
                    Some(chat) => Some(chat),
                    None => {
                        self.nodes.rotate_left(1);
                        self.who.at(self.nodes[0]).try_chat().await
                    }
                };
                let Some(mut chat) = chat else {
                    tokio::time::sleep(REPEAT_AFTER).await;
                    continue;
                };
                let Some(answer) = chat.try_sent(message.clone()).await else { continue };
                if answer["receivedServer"] == json!(true) {
                    self.chat = Some(chat);
                    return answer;
                }
                assert_eq!(answer["error"]["retryable"], json!(true), "{answer}");
                tokio::time::sleep(REPEAT_AFTER).await;
            }
        })
        .await;
        assert_eq!(stored["orderNumber"], json!(self.acknowledged.len() + 1), "{stored}");
        self.acknowledged.push(stored);
    }
}

/// Senders in pairs that talk to each other; a pair is a conversation.
async fn senders(cluster: &Cluster) -> Vec<Sender> {
    let mut all = Vec::new();
    for n in 0..PAIRS {
        let (one, other) = (format!("one-{n}"), format!("other-{n}"));
        all.push(Sender::arrive(cluster, &one, &other).await);
        all.push(Sender::arrive(cluster, &other, &one).await);
    }
    all
}

async fn each_pushes(senders: &mut [Sender], messages: usize) {
    let pushing = senders.iter_mut().map(|sender| async move {
        for _ in 0..messages {
            sender.push().await;
        }
    });
    futures::future::join_all(pushing).await;
}

/// Every node tells the same history: dense, with everything that was acknowledged once and at its place.
async fn assert_equal_everywhere(cluster: &Cluster, senders: &[Sender]) {
    for pair in senders.chunks(2) {
        let mut told = Vec::new();
        for node in 1..=3 {
            told.push(pair[0].who.at(cluster.plain_address(node)).history(&pair[0].peer).await);
        }
        assert!(told.iter().all(|one| *one == told[0]), "all nodes tell the same");
        let history = &told[0];
        let places = history.iter().map(|one| one["sequence"].as_u64());
        assert!(places.eq((1..=history.len() as u64).map(Some)), "1..n without a gap");
        let acknowledged: usize = pair.iter().map(|sender| sender.acknowledged.len()).sum();
        assert_eq!(history.len(), acknowledged, "each is stored once, and nothing else is");
        for (sender, stored) in
            pair.iter().flat_map(|one| one.acknowledged.iter().map(move |stored| (one, stored)))
        {
            let place =
                usize::try_from(stored["sequence"].as_u64().expect("a place")).expect("small");
            let kept = &history[place - 1];
            assert_eq!(
                (&kept["messageId"], &kept["senderId"]),
                (&stored["messageId"], &json!(sender.who.user))
            );
            assert_eq!(kept["orderNumber"], stored["orderNumber"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_stop_one_after_the_other_cost_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let mut senders = senders(&cluster).await;
    each_pushes(&mut senders, 2).await;
    for node in 1..=3 {
        let stopping = cluster.stop_node(node);
        let pushing = each_pushes(&mut senders, 10);
        tokio::join!(stopping, pushing);
        each_pushes(&mut senders, 2).await;
        cluster.start_node(node);
        each_pushes(&mut senders, 2).await;
        cluster.wait_ready(node).await;
        assert_equal_everywhere(&cluster, &senders).await;
    }
    cluster.stop().await;
}

/// Whatever is asked of a cut node that needs the others is refused in time, and may be repeated.
async fn assert_asks_refused(cluster: &Cluster, node: u64, sender: &Sender) {
    let address = cluster.plain_address(node);
    let name = &sender.who.user;
    let user = json!({ "userId": format!("new-{node}-{name}"), "password": PASSWORD });
    let login = json!({ "userId": name, "password": PASSWORD });
    let group = json!({ "groupId": format!("group-{node}-{name}"), "name": "G", "members": [] });
    let bearer = Some(sender.who.token.as_str());
    let history = format!("/messages/{}", sender.peer);
    let asks = [
        ("POST", "/v1/users", None, user.to_string()),
        ("POST", "/v1/sessions", None, login.to_string()),
        ("POST", "/v1/groups", bearer, group.to_string()),
        ("GET", history.as_str(), bearer, String::new()),
    ];
    let asked = asks.iter().map(|(method, path, bearer, body)| async move {
        let answer = http::request(address, method, path, *bearer, body);
        let answer = timeout(REFUSED_WITHIN, answer).await.expect("in time").expect("an answer");
        let refused = problem(&answer);
        assert_eq!(refused["retryable"], json!(true), "{method} {path}: {refused}");
        assert!(refused["retry_after_ms"].is_u64(), "{method} {path}: {refused}");
        assert!([503, 504].contains(&answer.status), "{method} {path}: {refused}");
    });
    futures::future::join_all(asked).await;
    let local = format!("{history}?consistency=local");
    let local = sender.who.at(address).granted("GET", &local, None).await;
    assert!(!items(&local).is_empty(), "what is here may be read as such");
}

/// So is whatever is said there.
async fn assert_message_refused(sender: &Sender, chat: &mut Chat) {
    let answer = timeout(REFUSED_WITHIN, chat.sent(sender.next_message())).await.expect("in time");
    assert_eq!(answer["receivedServer"], json!(false), "{answer}");
    assert_eq!(answer["error"]["retryable"], json!(true), "{answer}");
    assert!(answer["error"]["retry_after_ms"].is_u64(), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_refuses_in_time_while_the_others_go_on_and_catches_up_when_healed() {
    let cluster = Cluster::start(Shape::default()).await;
    let mut senders = senders(&cluster).await;
    each_pushes(&mut senders, 2).await;
    for node in 1..=3 {
        // At the cut node: a client of each conversation that writes, and one that listens.
        let address = cluster.plain_address(node);
        let mut there = Vec::new();
        let mut listening = Vec::new();
        for sender in &senders {
            there.push(sender.who.at(address).chat().await);
            listening
                .push(sender.who.another(&format!("at {node}")).await.at(address).chat().await);
        }
        let from = senders.iter().map(|sender| sender.acknowledged.len()).collect::<Vec<_>>();
        let others: Vec<u64> = (1..=3).filter(|other| *other != node).collect();
        cluster.cut(node, &others).await;
        // At once, while nobody has noticed, and again when everybody has.
        for _ in 0..2 {
            let said = senders.iter().zip(&mut there);
            let said = said.map(|(sender, chat)| assert_message_refused(sender, chat));
            let asked = senders.iter().take(ASKING);
            let asked = asked.map(|sender| assert_asks_refused(&cluster, node, sender));
            let (said, asked) = (futures::future::join_all(said), futures::future::join_all(asked));
            tokio::join!(said, asked);
        }
        for sender in &mut senders {
            sender.nodes = others.iter().map(|other| cluster.plain_address(*other)).collect();
            sender.chat = None;
        }
        each_pushes(&mut senders, 5).await;
        cluster.cut(node, &[]).await;
        // Who stayed at the node hears what was missed, in order, once.
        for (n, chat) in listening.iter_mut().enumerate() {
            let pair = n / 2 * 2;
            let missed = senders[pair].acknowledged.len() - from[pair]
                + senders[pair + 1].acknowledged.len()
                - from[pair + 1];
            let first = from[pair] + from[pair + 1];
            let mut next = first;
            while next < first + missed {
                let frame = chat.next().await;
                for one in items(&frame).iter().filter(|item| item.get("messageText").is_some()) {
                    next += 1;
                    assert_eq!(one["sequence"], json!(next), "no gap, no repeat: {one}");
                }
            }
        }
        // What was refused there was not written, and is taken now.
        for sender in &mut senders {
            sender.nodes = vec![address];
            sender.chat = None;
        }
        each_pushes(&mut senders, 1).await;
        for sender in &mut senders {
            sender.nodes = addresses(&cluster);
        }
        assert_equal_everywhere(&cluster, &senders).await;
    }
    cluster.stop().await;
}

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    (1..=3).map(|node| cluster.plain_address(node)).collect()
}

/// A cluster with a past, all of which must be there after everything has stopped and started again.
async fn everything_survives(engine: &'static str) {
    let mut cluster = Cluster::start(Shape { engine, ..Shape::default() }).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "anna").await;
    let ben = Stranger::arrive(cluster.plain_address(2), "ben").await;
    let gone = ben.another("gone").await;
    let (mut hers, mut his) = (anna.chat().await, ben.chat().await);
    let group = json!({ "groupId": "crew", "name": "Crew", "members": ["ben"], "history": "all" });
    let made = anna.granted("POST", "/v1/groups", Some(&group)).await;
    let item = hers.to_group("crew", "g1", "hello all");
    hers.accepted(item).await;
    for n in 1..=10 {
        hers.stored("ben", &format!("m{n}"), &format!("text {n}")).await;
    }
    let got = his.messages(11).await;
    let of = |n: usize| {
        got.iter().filter(|one| one["receiverId"] == "ben").nth(n - 1).expect("it came").clone()
    };
    his.confirm(&of(5), "read").await;
    his.confirm(&of(8), "delivered").await;
    hers.until(|item| item["sequence"] == json!(8) && item["delivered"] == json!(true)).await;
    gone.granted("DELETE", "/v1/sessions/current", None).await;
    let before = (anna.history("ben").await, anna.history("crew").await);
    let members = ben.granted("GET", "/v1/groups/crew", None).await;

    cluster.stop_all().await;
    for node in 1..=3 {
        cluster.start_node(node);
    }
    for node in 1..=3 {
        cluster.wait_ready(node).await;
    }
    for node in 1..=3 {
        let (anna, ben) =
            (anna.at(cluster.plain_address(node)), ben.at(cluster.plain_address(node)));
        assert_eq!(
            (anna.history("ben").await, anna.history("crew").await),
            before,
            "messages and what became of them"
        );
        assert_eq!(
            ben.granted("GET", "/v1/groups/crew", None).await,
            members,
            "members and their roles"
        );
        let (status, _) =
            gone.at(cluster.plain_address(node)).refused("GET", "/v1/conversations", None).await;
        assert_eq!(status, 401, "an ended session stays so");
        let list = ben.granted("GET", "/v1/conversations", None).await;
        assert_eq!(list["conversations"].as_array().map(Vec::len), Some(2), "{list}");
        let seen = anna.granted("GET", "/v1/presence/ben", None).await;
        assert!(seen["lastSeen"].is_string() && seen["online"] == json!(false), "{seen}");
    }
    let (status, body) = http::json(
        cluster.plain_address(3),
        "POST",
        "/v1/users",
        None,
        Some(&json!({ "userId": "anna", "password": "other" })),
    )
    .await;
    assert_eq!(status, 409, "{body}");
    Stranger::log_in(cluster.plain_address(3), "anna", "after").await;
    let refreshed = json!({ "refreshToken": anna.refresh });
    let (status, body) = http::json(
        cluster.plain_address(2),
        "POST",
        "/v1/sessions/refresh",
        None,
        Some(&refreshed),
    )
    .await;
    assert_eq!(status / 100, 2, "{body}");

    // Devices and orders go on where they were.
    let mut his = ben.at(cluster.plain_address(1)).chat().await;
    let missed = his.messages(3).await;
    let texts: Vec<&Value> = missed
        .iter()
        .filter(|one| one["receiverId"] == "ben")
        .map(|one| &one["messageText"])
        .collect();
    assert_eq!(texts, ["text 9", "text 10"], "the cursor stands where it stood");
    assert!(missed.iter().any(|one| one["conversationId"] == made["conversationId"]));
    let mut hers = anna.at(cluster.plain_address(3)).chat().await;
    let again = hers.stored("ben", "m3", "text 3").await;
    assert_eq!(
        (&again["sequence"], &again["read"]),
        (&json!(3), &json!(true)),
        "a repetition is known"
    );
    let next = hers.stored("ben", "m11", "text 11").await;
    assert_eq!((&next["sequence"], &next["orderNumber"]), (&json!(11), &json!(11)));
    assert_eq!(his.messages(1).await[0]["messageText"], "text 11");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_survives_a_restart_of_the_whole_cluster() {
    everything_survives("fjall").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_survives_on_the_other_engine_too() {
    everything_survives("sled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_tells_its_links_where_else_to_go() {
    let mut cluster = Cluster::start(Shape::default()).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "anna").await;
    let mut chat = anna.chat().await;
    chat.stored("anna", "m1", "before").await;
    cluster.stop_node(1).await;
    // What became of the message may still come before it.
    let mut told = chat.next().await;
    while told["goAway"].is_null() {
        told = chat.next().await;
    }
    let addresses = told["goAway"]["addresses"].as_array().expect("where else").clone();
    assert_eq!(addresses.len(), 2, "{told}");
    assert_eq!(chat.end_within(REFUSED_WITHIN).await.1, Some(1001), "the link ends as leaving");
    let mut chat = anna.at(cluster.plain_address(2)).chat().await;
    assert_eq!(
        chat.stored("anna", "m2", "after").await["sequence"],
        json!(2),
        "the session is good elsewhere"
    );
    cluster.stop().await;
}
