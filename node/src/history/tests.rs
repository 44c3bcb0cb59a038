//! Claims about reading: who sees which messages, in which order, and how fresh they are.
//! The replica is one of memory; what a page looks like on a wire is tested there.

use std::sync::atomic::Ordering;

use chat::{DeviceId, GroupId, History as Shown};

use super::*;
use crate::gateway::fake::{Fake, user, world};
use crate::gateway::tokens::Identity;

fn query(name: &str, cut: Cut, limit: u32) -> Query {
    let consistency = Consistency::Linearizable;
    Query { of: Of::Name(user(name)), cut, limit, consistency, bytes_max: None }
}

fn named(id: &str) -> Mark {
    Mark::Named(id.to_owned())
}

fn seqs(page: &Page) -> Vec<u64> {
    page.messages.iter().map(|message| message.seq.0).collect()
}

fn history(fake: &Arc<Fake>) -> History {
    History::new(Arc::clone(fake) as Arc<dyn Replica>, Router::new(Arc::clone(fake) as _))
}

/// Alice has said `1` to `n` to bob.
fn talk(n: u64) -> (Arc<Fake>, History, Identity) {
    let (fake, _) = world();
    let alice = fake.join("alice", 1);
    fake.join("bob", 2);
    for number in 1..=n {
        fake.say(&alice, "bob", &format!("m{number}"));
    }
    let history = history(&fake);
    (fake, history, alice)
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_in_either_direction() {
    let (_fake, history, alice) = talk(23);
    let mut forwards = Vec::new();
    let mut cut = Cut::After(None);
    loop {
        let page = history.page(&alice.user, &query("bob", cut, 5)).await.expect("she may");
        forwards.extend(seqs(&page));
        match page.next_after() {
            Some(next) => cut = Cut::After(Some(named(&next.to_string()))),
            None => break,
        }
    }
    assert_eq!(forwards, (1..=23).collect::<Vec<_>>());

    let mut backwards: Vec<u64> = Vec::new();
    let mut cut = Cut::Before(Mark::Seq(Seq(24)));
    loop {
        let page = history.page(&alice.user, &query("bob", cut, 5)).await.expect("she may");
        backwards.splice(0..0, seqs(&page));
        match page.next_before() {
            Some(next) => cut = Cut::Before(named(&next.to_string())),
            None => break,
        }
    }
    assert_eq!(backwards, forwards);
}

#[tokio::test]
async fn a_message_is_found_by_its_clients_id_unless_two_devices_used_it() {
    let (fake, history, alice) = talk(3);
    let after = |id: &str| query("bob", Cut::After(Some(named(id))), 50);
    assert_eq!(seqs(&history.page(&alice.user, &after("m2")).await.expect("it is there")), [3]);
    let phone = Identity { user: user("alice"), device: DeviceId(9) };
    fake.device(&phone);
    fake.say(&phone, "bob", "m2");
    let problem = history.page(&alice.user, &after("m2")).await.expect_err("there are two");
    assert_eq!(problem.code, ProblemCode::AmbiguousId);
    let problem = history.page(&alice.user, &after("nothing")).await.expect_err("there is none");
    assert_eq!((problem.code, problem.field.as_deref()), (ProblemCode::NotFound, Some("after_id")));
}

#[tokio::test]
async fn who_is_not_a_member_reads_nothing_and_a_removed_member_nothing_more() {
    let (fake, _, alice) = talk(0);
    let history = history(&fake);
    let team = GroupId::parse("team").expect("legal");
    let id = ConversationId::group(&team);
    fake.apply(
        id,
        &chat::Command::CreateGroup {
            group: team,
            name: String::new(),
            owner: alice.user.clone(),
            members: [user("bob")].into(),
            history: Shown::All,
        },
    );
    fake.say_in(id, &alice, None, "hello");
    fake.join("carol", 3);
    let all = query("team", Cut::After(None), 50);
    let code = |result: Result<Page, Problem>| result.expect_err("not a member").code;
    assert_eq!(code(history.page(&user("carol"), &all).await), ProblemCode::NotAMember);
    assert_eq!(seqs(&history.page(&user("bob"), &all).await.expect("a member")), [1]);
    let remove = chat::Command::RemoveMember { by: alice.user.clone(), member: user("bob") };
    fake.apply(id, &remove);
    assert_eq!(code(history.page(&user("bob"), &all).await), ProblemCode::NotAMember);
}

#[tokio::test]
async fn a_newcomer_sees_what_was_said_since_they_came() {
    let (fake, _, alice) = talk(0);
    let history = history(&fake);
    let team = GroupId::parse("team").expect("legal");
    let id = ConversationId::group(&team);
    fake.apply(
        id,
        &chat::Command::CreateGroup {
            group: team,
            name: String::new(),
            owner: alice.user.clone(),
            members: Default::default(),
            history: Shown::SinceJoin,
        },
    );
    fake.say_in(id, &alice, None, "before");
    let add = chat::Command::AddMembers { by: alice.user.clone(), members: [user("bob")].into() };
    fake.apply(id, &add);
    fake.say_in(id, &alice, None, "after");
    let page = history.page(&user("bob"), &query("team", Cut::After(None), 50)).await;
    assert_eq!(seqs(&page.expect("a member")), [2]);
    let before = query("team", Cut::Before(Mark::Seq(Seq(3))), 50);
    let page = history.page(&user("bob"), &before).await.expect("a member");
    assert_eq!((seqs(&page), page.next_before()), (vec![2], None));
    let hidden = query("team", Cut::After(Some(named("before"))), 50);
    let problem = history.page(&user("bob"), &hidden).await.expect_err("it is not visible");
    assert_eq!(problem.code, ProblemCode::NotFound);
}

#[tokio::test]
async fn silence_is_an_empty_page_and_a_stranger_is_not_found() {
    let (_fake, history, alice) = talk(0);
    let page = history.page(&alice.user, &query("bob", Cut::After(None), 50)).await;
    assert_eq!(page.expect("bob exists").messages, []);
    let nobody = history.page(&alice.user, &query("nobody", Cut::After(None), 50)).await;
    assert_eq!(nobody.expect_err("no such name").code, ProblemCode::NoSuchUser);
}

#[tokio::test]
async fn limits_are_kept() {
    let (_fake, history, alice) = talk(3);
    for limit in [0, 101] {
        let refused = history.page(&alice.user, &query("bob", Cut::After(None), limit)).await;
        assert_eq!(refused.expect_err("out of range").code, ProblemCode::LimitOutOfRange);
    }
    let query = Query { bytes_max: Some(3), ..query("bob", Cut::After(None), 50) };
    let page = history.page(&alice.user, &query).await.expect("she may");
    assert_eq!(seqs(&page), [1], "the page ends early, after at least one message");
    assert!(page.next_after().is_some());
}

#[tokio::test(start_paused = true)]
async fn only_a_local_read_is_answered_without_a_quorum() {
    let (fake, history, alice) = talk(3);
    fake.partitioned.store(true, Ordering::Relaxed);
    let with = |consistency| Query { consistency, ..query("bob", Cut::After(None), 50) };
    let fresh = history.page(&alice.user, &with(Consistency::Linearizable)).await;
    assert_eq!(fresh.expect_err("no quorum").code, ProblemCode::Unavailable);
    assert_eq!(
        seqs(&history.page(&alice.user, &with(Consistency::Local)).await.expect("local")),
        [1, 2, 3]
    );
    let seen = history.page(&alice.user, &with(Consistency::AtLeast(Seq(3)))).await;
    assert_eq!(seqs(&seen.expect("it is here")), [1, 2, 3]);
    let future = history.page(&alice.user, &with(Consistency::AtLeast(Seq(4)))).await;
    let problem = future.expect_err("it does not come");
    assert!(problem.code == ProblemCode::Unavailable && problem.retry_after.is_some());
}

#[tokio::test(start_paused = true)]
async fn at_least_waits_for_a_message_that_is_on_its_way() {
    let (fake, history, alice) = talk(3);
    let query =
        Query { consistency: Consistency::AtLeast(Seq(4)), ..query("bob", Cut::After(None), 50) };
    let reader = alice.user.clone();
    let reading = tokio::spawn(async move { history.page(&reader, &query).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    fake.say(&alice, "bob", "late");
    let page = reading.await.expect("no panic").expect("it came");
    assert_eq!(seqs(&page), [1, 2, 3, 4]);
}
