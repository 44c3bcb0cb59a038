//! Claims about the worker: what it erases, in which steps, and that it leaves alone what is not due.

use std::sync::atomic::{AtomicBool, Ordering};

use chat::Retention;

use super::*;
use crate::gateway::fake::{Fake, user, world};

/// Alice said `count` things to bob, one a second, and they are kept for a minute.
fn talk(count: u64) -> (Arc<Fake>, Worker, ConversationId) {
    let (fake, _) = world();
    let alice = fake.join("alice", 1);
    fake.join("bob", 2);
    for number in 0..count {
        fake.say(&alice, "bob", &format!("m{number}"));
        fake.clock.advance(1000);
    }
    let id = ConversationId::direct(&user("alice"), &user("bob"));
    keep(&fake, id, Some(Retention(60)));
    let worker = Worker {
        known: Known::default(),
        leads: Arc::new(|_| true),
        replica: Arc::clone(&fake) as Arc<dyn Replica>,
        router: Router::new(Arc::clone(&fake) as _),
        clock: Arc::clone(&fake.clock) as _,
    };
    (fake, worker, id)
}

fn keep(fake: &Fake, id: ConversationId, retention: Option<Retention>) {
    let by = user("bob");
    let outcome = fake.apply(id, &Command::SetRetention { by, retention });
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

fn expired(fake: &Fake, id: ConversationId) -> u64 {
    fake.head(id).expect("no disk").expect("they talked").expired.0
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_erased_in_bounded_steps_and_nothing_else() {
    let (fake, worker, id) = talk(400);
    let before = *fake.commands.lock();
    let next = worker.look(id).await.expect("no disk");
    // 400 s have passed; what was said in the last minute stays.
    assert_eq!(expired(&fake, id), 341, "the one said exactly a minute ago is over");
    assert_eq!(*fake.commands.lock() - before, 3, "128, 128 and the rest");
    let Next::In(pause) = next else { panic!("there is more to come") };
    assert_eq!(pause, Duration::from_secs(1), "the next one is due then");
    let all = Span { after: Seq(0), before: None, limit: 400, direction: Direction::OldestFirst };
    let texts = fake.messages(id, all).expect("no disk").into_iter();
    let kept = texts.filter(|message| !message.body.text.is_empty()).count();
    assert_eq!(kept, 59);
}

#[tokio::test(start_paused = true)]
async fn one_that_keeps_its_messages_for_ever_or_is_led_elsewhere_is_left_alone() {
    let (fake, mut worker, id) = talk(100);
    let leads = Arc::new(AtomicBool::new(false));
    let led = Arc::clone(&leads);
    worker.leads = Arc::new(move |_| led.load(Ordering::Relaxed));
    assert!(matches!(worker.look(id).await, Ok(Next::In(_))), "perhaps later");
    assert_eq!(expired(&fake, id), 0);
    leads.store(true, Ordering::Relaxed);
    keep(&fake, id, None);
    assert!(matches!(worker.look(id).await, Ok(Next::Never)));
    assert_eq!(expired(&fake, id), 0);
}

#[tokio::test(start_paused = true)]
async fn what_no_event_told_of_is_found_by_the_walk() {
    let (fake, worker, id) = talk(100);
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));
    while expired(&fake, id) < 41 {
        sleep(STEP).await;
    }
    stop.cancel();
    running.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn what_is_noted_while_one_is_looked_at_is_looked_at_again() {
    let (known, now) = (Known::default(), Instant::now());
    let (_, _, id) = talk(1);
    let later = now + AGAIN_MAX;
    known.note(id);
    assert_eq!(known.due(now, 9), [id]);
    known.begin(id, later);
    known.note(id);
    known.end(id, Some(later));
    assert_eq!(known.due(now, 9), [id], "the news is not lost");
    known.begin(id, later);
    known.end(id, Some(later));
    assert_eq!(known.due(now, 9), []);
    assert_eq!(known.due(later, 9), [id]);
    known.begin(id, later);
    known.end(id, None);
    assert_eq!(known.due(later, 9), []);
}
