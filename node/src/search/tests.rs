//! Claims about the index over a fake replica: what is found, and that it is what the rows say.

use chat::{ChangeMessage, Command, MessageId, Outcome, Retention, Seq, Wish};
use store::{MemoryDisk, OneFolder, Pace};

use super::worker::look;
use super::*;
use crate::gateway::fake::{Fake, user, world};
use crate::gateway::tokens::Identity;

fn blobs() -> Blobs {
    Blobs::new(Arc::new(OneFolder(Arc::new(MemoryDisk::new(Pace::Inline)))), None)
}

struct World {
    fake: Arc<Fake>,
    alice: Identity,
    id: ConversationId,
    blobs: Blobs,
    search: Search,
}

/// Alice said these to bob.
fn talk(texts: &[&str]) -> World {
    let (fake, _) = world();
    let alice = fake.join("alice", 1);
    fake.join("bob", 2);
    let id = ConversationId::direct(&user("alice"), &user("bob"));
    let blobs = blobs();
    let search = Search::open(blobs.clone(), Arc::clone(&fake.clock) as _).expect("memory");
    let world = World { fake, alice, id, blobs, search };
    texts.iter().for_each(|text| world.say(text));
    world.look();
    world
}

impl World {
    fn say(&self, text: &str) {
        self.fake.say(&self.alice, "bob", text);
        self.fake.clock.advance(1000);
        self.search.notes().note(&[self.id].into());
    }

    fn change(&self, seq: u64, wish: Wish) {
        let command = Command::Change(ChangeMessage {
            by: self.alice.user.clone(),
            device: self.alice.device,
            change_id: MessageId::parse(&format!("c{seq}{wish:?}")).expect("legal"),
            seq: Seq(seq),
            wish,
        });
        self.apply(&command);
    }

    fn apply(&self, command: &Command) {
        let outcome = self.fake.apply(self.id, command);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        self.search.notes().note(&[self.id].into());
    }

    fn look(&self) {
        self.search.look(&*self.fake);
    }

    /// The sequences of what is found, the newest first.
    fn find(&self, question: &str) -> Vec<u64> {
        find(&self.search, self.id, question)
    }
}

fn find(search: &Search, id: ConversationId, question: &str) -> Vec<u64> {
    let wanted = Wanted::parse(question).expect("a question");
    let found = search.0.finder.read().find(&[id].into(), &wanted, None, 100).expect("memory");
    found.0.into_iter().map(|hit| hit.seq.0).collect()
}

#[test]
fn what_was_said_is_found_by_all_of_its_words_the_newest_first() {
    let world = talk(&["the red fox", "a red hen", "Fox and hen", "nothing"]);
    assert_eq!(world.find("red"), [2, 1]);
    assert_eq!(world.find("FOX "), [3, 1]);
    assert_eq!(world.find("hen fo"), [3], "the last one is unfinished");
    assert!(world.find("red fox hen").is_empty());
    let other = ConversationId::direct(&user("alice"), &user("carol"));
    assert!(find(&world.search, other, "red").is_empty());
}

#[test]
fn an_edited_message_is_found_by_its_new_text_and_a_deleted_one_not_at_all() {
    let world = talk(&["the red fox", "a red hen"]);
    world.change(1, Wish::Edit("the blue fox".to_owned()));
    world.change(2, Wish::Delete);
    world.look();
    assert!(world.find("red").is_empty());
    assert_eq!(world.find("blue"), [1]);
    world.change(1, Wish::React("red".to_owned()));
    world.look();
    assert_eq!(world.find("blue"), [1], "once, however often it is looked at");
}

#[test]
fn what_was_edited_before_it_was_looked_at_is_found_once() {
    let world = talk(&[]);
    world.say("one");
    world.change(1, Wish::Edit("two".to_owned()));
    world.look();
    assert_eq!((world.find("one"), world.find("two")), (vec![], vec![1]));
}

#[test]
fn what_has_expired_is_not_found() {
    let world = talk(&["red one", "red two", "red three"]);
    world.apply(&Command::SetRetention { by: user("bob"), retention: Some(Retention(2)) });
    world.apply(&Command::Expire { up_to: Seq(1) });
    world.look();
    assert_eq!(world.find("red"), [3, 2]);
}

#[test]
fn a_window_goes_on_where_the_last_one_ended_and_repeats_nothing() {
    let texts: Vec<String> = (0..50).map(|number| format!("word {number}")).collect();
    let world = talk(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let wanted = Wanted::parse("word ").expect("a question");
    let (mut after, mut seen) = (None, Vec::new());
    for page in 0.. {
        assert!(page < 10, "it ends");
        let finder = world.search.0.finder.read().clone();
        let (hits, more) = finder.find(&[world.id].into(), &wanted, after, 7).expect("memory");
        seen.extend(hits.iter().map(|hit| hit.seq.0));
        after = hits.last().copied();
        if !more {
            break;
        }
    }
    assert_eq!(seen, (1..=50).rev().collect::<Vec<u64>>());
}

#[test]
fn messages_of_one_millisecond_are_all_found_once() {
    let world = talk(&[]);
    let all = 400;
    for number in 0..all {
        world.fake.say(&world.alice, "bob", &format!("same {number}"));
    }
    world.search.notes().note(&[world.id].into());
    world.look();
    let wanted = Wanted::parse("same ").expect("a question");
    let (mut after, mut seen) = (None, Vec::new());
    for page in 0.. {
        assert!(page < 10, "it ends");
        let finder = world.search.0.finder.read().clone();
        let (hits, more) = finder.find(&[world.id].into(), &wanted, after, 100).expect("memory");
        seen.extend(hits.iter().map(|hit| hit.seq.0));
        after = hits.last().copied();
        if !more {
            break;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=all).collect::<Vec<u64>>());
}

#[test]
fn what_was_kept_is_there_after_a_restart_and_the_rest_is_read_again() {
    let world = talk(&["red one", "red two"]);
    world.search.0.index.lock().keep().expect("memory");
    world.say("red three");
    world.look();
    let again = Search::open(world.blobs.clone(), Arc::clone(&world.fake.clock) as _);
    let again = again.expect("memory");
    assert_eq!(find(&again, world.id, "red"), [2, 1], "before anything was read");
    again.look(&*world.fake);
    assert_eq!(find(&again, world.id, "red"), [3, 2, 1]);
}

#[test]
fn an_index_that_is_damaged_is_made_anew_from_the_rows() {
    let world = talk(&["red one", "red two"]);
    world.search.0.index.lock().keep().expect("memory");
    let names = world.blobs.names().expect("memory");
    assert!(names.len() > 2, "{names:?}");
    let lists = |name: &String| name.ends_with("6a736f6e");
    names.iter().filter(|name| !lists(name)).for_each(|name| {
        world.blobs.remove(name).expect("memory");
    });
    let again = Search::open(world.blobs.clone(), Arc::clone(&world.fake.clock) as _);
    let again = again.expect("memory");
    again.look(&*world.fake);
    assert_eq!(find(&again, world.id, "red"), [2, 1]);
}

/// Calls within which everything that thirty small commits lead to has been merged and kept.
const KEEPS_MAX: usize = 100_000;

#[test]
fn what_rests_on_the_disk_is_what_the_index_is_and_no_more() {
    let world = talk(&["red one"]);
    for number in 0..30 {
        world.say(&format!("red {number}"));
        world.look();
        let mut index = world.search.0.index.lock();
        index.keep().expect("memory");
        if let Some(merge) = index.begin_merge().expect("memory") {
            merge.wait().expect("memory");
        }
    }
    // The engine removes files on threads of its own, and what that writes is kept by the next call.
    let kept = |_| {
        let index = world.search.0.index.lock();
        index.keep().expect("memory");
        std::thread::yield_now();
        index.unkept_bytes() == 0
    };
    assert!((0..KEEPS_MAX).any(kept), "something is written again and again");
    let names = world.blobs.names().expect("memory").len();
    assert!(names < 60, "{names} files for some segments");
    assert_eq!(world.find("red").len(), 31);
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_for_what_was_applied_before_it() {
    let world = talk(&["red one"]);
    let stop = CancellationToken::new();
    let running =
        tokio::spawn(world.search.clone().run(Arc::clone(&world.fake) as _, stop.clone()));
    world.say("red two");
    world.search.catch_up().await;
    assert_eq!(world.find("red"), [2, 1]);
    assert!(world.search.through().is_some());
    stop.cancel();
    running.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn small_segments_become_few_while_it_runs() {
    let world = talk(&["red one"]);
    let stop = CancellationToken::new();
    let running =
        tokio::spawn(world.search.clone().run(Arc::clone(&world.fake) as _, stop.clone()));
    for number in 0..40 {
        world.say(&format!("red {number}"));
        world.search.catch_up().await;
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    }
    let segments = world.search.0.index.lock().segments();
    assert!(segments < 20, "{segments} segments after forty rounds");
    stop.cancel();
    running.await.expect("no panic");
}

#[test]
fn a_hit_is_named_by_its_conversation_and_place() {
    let world = talk(&["red"]);
    let wanted = Wanted::parse("red ").expect("a question");
    let finder = world.search.0.finder.read().clone();
    let (hits, _) = finder.find(&[world.id].into(), &wanted, None, 1).expect("memory");
    let (at, conversation) = (Timestamp(1_700_000_000_000), world.id);
    assert_eq!(hits, [Hit { at, seq: Seq(1), conversation }]);
}

impl Search {
    /// Looks at everything, as the task would.
    pub(crate) fn look(&self, replica: &dyn Replica) {
        for _ in 0..100 {
            let round = self.notes().take(usize::MAX, chat::SLOTS);
            let looked = look(&mut self.0.index.lock(), replica, &round);
            let Ok((left, slot)) = looked else { panic!("memory") };
            self.notes().end(&round, self.0.clock.now(), left, slot);
            let done = *self.notes().done().borrow();
            if done.through.is_some() && done.count >= self.notes().count() {
                return;
            }
        }
        panic!("it does not end");
    }
}
