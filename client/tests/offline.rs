//! A client with a store and no node in reach: what it promises, and what it says when it cannot.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat::{ConversationId, DeviceId, Seq, UserId};
use client::store::{
    Commit, Head, Kept, KeptConversation, KeptPage, KeptRefusal, KeptSend, Memory, Owner, Record,
    Store, StoreError,
};
use client::{
    AskError, BeginError, CallError, Client, Config, Connect, Credentials, Inbox, Incoming,
    Outgoing, SendError, To,
};
use futures::future::BoxFuture;
use tokio::time::timeout;
use transport::{DialError, Link};

/// A test that waits longer has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where no node is.
struct Nowhere;

impl Connect for Nowhere {
    fn dial(&self, _: SocketAddr) -> BoxFuture<'static, Result<Link, DialError>> {
        Box::pin(async { Err(DialError::Refused { status: 503 }) })
    }

    fn refresh(&self, _: Credentials) -> BoxFuture<'static, Result<Credentials, CallError>> {
        Box::pin(async { Err(CallError::Unavailable("nowhere".into())) })
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("legal")
}

fn begin(name: &str, store: Box<dyn Store>) -> Result<(Client, Inbox), BeginError> {
    let mut config = Config::new(vec![([127, 0, 0, 1], 9).into()], Vec::new());
    config.send_patience = Duration::from_millis(50);
    let credentials = Credentials {
        user: user(name),
        device: DeviceId(1),
        access: "good".into(),
        refresh: "none".into(),
        expires_at: None,
    };
    Client::connect_kept_with(&config, credentials, Arc::new(Nowhere), store)
}

fn hello(text: &str) -> Outgoing {
    Outgoing::text(To::User(user("bob")), text)
}

async fn texts(client: &Client) -> Vec<String> {
    let pending = client.pending().await.expect("there is a store");
    pending.into_iter().map(|kept| kept.request.body.text).collect()
}

#[tokio::test]
async fn what_is_enqueued_without_a_node_is_pending_in_this_life_and_the_next() {
    let memory = Memory::new();
    let (client, _inbox) = begin("alice", Box::new(memory.clone())).expect("hers");
    let first = client.enqueue(hello("one")).await.expect("there is room");
    let sent = timeout(DEADLINE, client.send_message(hello("two"))).await.expect("in time");
    assert_eq!(sent, Err(SendError::Pending), "patience ends, the message stays");
    assert_eq!(texts(&client).await, ["one", "two"]);
    client.stop().await;
    assert_eq!(timeout(DEADLINE, first).await.expect("in time"), Err(SendError::Pending));

    let (client, _inbox) = begin("alice", Box::new(memory.clone())).expect("hers");
    client.enqueue(hello("three")).await.expect("there is room");
    assert_eq!(texts(&client).await, ["one", "two", "three"]);
    let list = client.kept_conversations().await.expect("there is a store");
    assert_eq!((list.len(), list[0].pending), (1, 3));
    client.stop().await;

    let refused = begin("carol", Box::new(memory)).expect_err("alice's");
    assert!(matches!(refused, BeginError::Store(StoreError::OtherAccount { .. })), "{refused}");
}

#[tokio::test]
async fn the_message_beyond_the_last_place_is_refused_and_the_others_stay() {
    let (client, _inbox) = begin("alice", Box::new(Memory::new())).expect("hers");
    for at in 0..4096 {
        client.enqueue(hello(&at.to_string())).await.expect("there is room");
    }
    let refused = client.enqueue(hello("one too many")).await.err();
    assert_eq!(refused, Some(SendError::OutboxFull));
    assert_eq!(texts(&client).await.len(), 4096);
    client.stop().await;
}

#[tokio::test]
async fn a_client_without_a_store_promises_nothing() {
    let config = Config::new(vec![([127, 0, 0, 1], 9).into()], Vec::new());
    let credentials = Credentials {
        user: user("alice"),
        device: DeviceId(1),
        access: "good".into(),
        refresh: "none".into(),
        expires_at: None,
    };
    let connect = Arc::new(Nowhere);
    let (client, _inbox) = Client::connect_with(&config, credentials, connect).expect("named");
    assert_eq!(client.enqueue(hello("x")).await.err(), Some(SendError::Stopped));
    assert_eq!(client.pending().await, Err(AskError::Stopped));
    client.stop().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_written_stops_the_client_with_the_reason() {
    let (client, mut inbox) = begin("alice", Box::new(Full(Memory::new()))).expect("hers");
    let refused = timeout(DEADLINE, client.enqueue(hello("x"))).await.expect("in time").err();
    assert!(matches!(refused, Some(SendError::Unknown | SendError::Stopped)), "{refused:?}");
    let mut reason = None;
    while let Some(item) = timeout(DEADLINE, inbox.next()).await.expect("in time") {
        if let Incoming::StoreFailed { reason: said } = item {
            reason = Some(said);
        }
    }
    assert!(reason.expect("it is said").contains("the disk is full"));
}

/// A store on a full disk.
struct Full(Memory);

impl Store for Full {
    fn begin(&mut self, who: &Owner) -> Result<Kept, StoreError> {
        self.0.begin(who)
    }

    fn commit(&mut self, _: &[Record], _: Commit) -> Result<Vec<ConversationId>, StoreError> {
        Err(StoreError::Failed("the disk is full".into()))
    }

    fn heads(&mut self) -> Result<Vec<Head>, StoreError> {
        self.0.heads()
    }

    fn history(
        &mut self,
        conversation: ConversationId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<KeptPage, StoreError> {
        self.0.history(conversation, before, limit)
    }

    fn conversations(&mut self) -> Result<Vec<KeptConversation>, StoreError> {
        self.0.conversations()
    }

    fn pending(&mut self) -> Result<Vec<KeptSend>, StoreError> {
        self.0.pending()
    }

    fn refusals(&mut self) -> Result<Vec<KeptRefusal>, StoreError> {
        self.0.refusals()
    }
}
