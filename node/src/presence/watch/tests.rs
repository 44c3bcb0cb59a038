//! Claims about watch lists: who may watch, who is told when, and what silence means.

use std::time::Duration;

use chat::{ConversationId, DeviceId, GroupId, History};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::advance;

use super::round::Memory;
use super::*;
use crate::fanout::{Directory, Typing};
use crate::gateway::fake::{Fake, user, world};
use crate::gateway::tokens::Identity;
use crate::history::Replica;
use crate::presence::OtherNodes;
use crate::router::Router;

/// Another node, as it is scripted.
#[derive(Default)]
struct Other {
    online: Mutex<BTreeSet<UserId>>,
    silent: std::sync::atomic::AtomicBool,
}

struct Others(Arc<Other>);

impl OtherNodes for Others {
    fn any_online(&self, _user: &UserId) -> BoxFuture<'static, bool> {
        Box::pin(async { panic!("a round asks for all at once") })
    }

    fn which_online(
        &self,
        users: Arc<[UserId]>,
    ) -> BoxFuture<'static, Vec<(u64, Option<Vec<bool>>)>> {
        let online = self.0.online.lock();
        let answer = users.iter().map(|user| online.contains(user)).collect();
        let answer = (!self.0.silent.load(Ordering::Relaxed)).then_some(answer);
        Box::pin(async move { vec![(2, answer)] })
    }

    fn tell_typing(&self, _typing: &Typing) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

struct Stage {
    fake: Arc<Fake>,
    other: Arc<Other>,
    watcher: Watcher,
    memory: Memory,
    watching: Watching,
}

impl Stage {
    /// Alice watches, and has written to bob.
    fn new() -> Self {
        let (fake, _) = world();
        let alice = fake.join("alice", 1);
        fake.join("bob", 2);
        fake.join("carol", 3);
        fake.say(&alice, "bob", "hello");
        let other = Arc::new(Other::default());
        let watches = Watches::default();
        let watching = watches.begin(&alice.user);
        let watcher = Watcher {
            watches,
            directory: Directory::default(),
            others: Arc::new(Others(Arc::clone(&other))),
            replica: Arc::clone(&fake) as Arc<dyn Replica>,
            router: Router::new(Arc::clone(&fake) as _),
            clock: Arc::clone(&fake.clock) as _,
        };
        Self { fake, other, watcher, memory: Memory::default(), watching }
    }

    fn set(&self, users: &[&str]) {
        self.watching.set(users.iter().map(|name| user(name)).collect());
    }

    fn elsewhere(&self, users: &[&str]) {
        *self.other.online.lock() = users.iter().map(|name| user(name)).collect();
    }

    /// One round, and what alice is told.
    async fn round(&mut self) -> Vec<(String, Result<bool, ProblemCode>)> {
        self.watcher.round(&mut self.memory).await.expect("no disk");
        advance(Duration::from_millis(400)).await;
        let news = self.watching.news().now_or_never().unwrap_or_default();
        let told = |told| match told {
            Told::Seen(seen) => Ok(seen.online),
            Told::Refused(code) => Err(code),
        };
        news.into_iter().map(|(user, news)| (user.as_str().to_owned(), told(news))).collect()
    }
}

fn told(user: &str, online: bool) -> (String, Result<bool, ProblemCode>) {
    (user.to_owned(), Ok(online))
}

fn refused(user: &str) -> (String, Result<bool, ProblemCode>) {
    (user.to_owned(), Err(ProblemCode::NotAllowed))
}

#[tokio::test(start_paused = true)]
async fn contacts_are_told_of_once_and_then_when_it_is_news_and_strangers_are_refused() {
    let mut stage = Stage::new();
    stage.set(&["alice", "bob", "carol", "nobody"]);
    let first = stage.round().await;
    let wanted = [told("alice", false), told("bob", false), refused("carol"), refused("nobody")];
    assert_eq!(first, wanted);
    assert_eq!(stage.round().await, []);
    let bob = Identity { user: user("bob"), device: DeviceId(2) };
    let here = stage.watcher.directory.enter(&bob);
    assert_eq!(stage.round().await, [told("bob", true)]);
    stage.elsewhere(&["bob", "carol"]);
    drop(here);
    assert_eq!(stage.round().await, [], "from one node to another nobody is away");
    stage.elsewhere(&["carol"]);
    assert_eq!(stage.round().await, [], "perhaps on their way");
    assert_eq!(stage.round().await, [told("bob", false)]);
    stage.set(&["bob"]);
    assert_eq!(stage.round().await, [told("bob", false)], "a new list is answered");
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_keeps_its_word_for_as_long_as_its_links_may_live() {
    let mut stage = Stage::new();
    stage.set(&["bob"]);
    stage.elsewhere(&["bob"]);
    assert_eq!(stage.round().await, [told("bob", true)]);
    stage.other.silent.store(true, Ordering::Relaxed);
    let mut rounds = 0;
    while stage.round().await.is_empty() {
        rounds += 1;
        assert!(rounds < 20, "somebody on a dead node is away at last");
    }
    let took = Duration::from_millis(400) * rounds;
    assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_contact_ends() {
    let mut stage = Stage::new();
    let team = GroupId::parse("team").expect("legal");
    let id = ConversationId::group(&team);
    let create = chat::Command::CreateGroup {
        group: team,
        name: String::new(),
        owner: user("alice"),
        members: [user("carol")].into(),
        history: History::All,
    };
    stage.fake.apply(id, &create);
    stage.set(&["bob", "carol"]);
    assert_eq!(stage.round().await, [told("bob", false), told("carol", false)]);
    let remove = chat::Command::RemoveMember { by: user("alice"), member: user("carol") };
    stage.fake.apply(id, &remove);
    let removed = vec![user("carol")];
    let event = ShardEvent::Members { conversation: id, added: Vec::new(), removed };
    let listener = crate::fanout::Fanout::new(Directory::default());
    Departures::new(listener, stage.watcher.watches.clone()).publish(vec![event]);
    assert_eq!(stage.round().await, [refused("carol")]);
    stage.elsewhere(&["bob", "carol"]);
    assert_eq!(stage.round().await, [told("bob", true)], "and nothing more of her");
}

#[tokio::test(start_paused = true)]
async fn the_newest_news_takes_the_place_of_what_was_not_fetched() {
    let mut stage = Stage::new();
    stage.set(&["bob"]);
    stage.watcher.round(&mut stage.memory).await.expect("no disk");
    stage.elsewhere(&["bob"]);
    stage.watcher.round(&mut stage.memory).await.expect("no disk");
    assert_eq!(stage.watching.watch.news.lock().len(), 1);
    assert_eq!(stage.round().await, [told("bob", true)]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_that_they_share_nothing_by_a_node_that_may_lag() {
    let mut stage = Stage::new();
    stage.set(&["carol"]);
    stage.fake.partitioned.store(true, Ordering::Relaxed);
    assert_eq!(stage.round().await, []);
    stage.fake.partitioned.store(false, Ordering::Relaxed);
    assert_eq!(stage.round().await, [refused("carol")]);
}
