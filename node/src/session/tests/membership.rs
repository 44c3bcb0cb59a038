//! Coming, going and coming back while a link is live.

use chat::{Command, GroupId, History};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_removed_member_gets_nothing_more_and_a_new_one_begins_there() {
    let (fake, parts, alice, bob) = people();
    let carol = fake.join("carol", 3);
    let team = GroupId::parse("team").expect("legal");
    let id = ConversationId::group(&team);
    let (mut bobs, _) = caught_up(&parts, &bob).await;
    let (mut carols, _) = caught_up(&parts, &carol).await;
    fake.apply(
        id,
        &Command::CreateGroup {
            group: team,
            name: String::new(),
            owner: alice.user.clone(),
            members: [bob.user.clone()].into(),
            history: History::SinceJoin,
        },
    );
    fake.say_in(id, &alice, None, "one");
    assert_eq!(bobs.texts(1).await, ["one"]);
    let by = alice.user.clone();
    fake.apply(id, &Command::RemoveMember { by: by.clone(), member: bob.user.clone() });
    fake.apply(id, &Command::AddMembers { by, members: [carol.user.clone()].into() });
    fake.say_in(id, &alice, None, "two");
    assert_eq!(carols.texts(1).await, ["two"]);
    assert_eq!(bobs.until_pong().await, []);
}

#[tokio::test(start_paused = true)]
async fn who_left_and_came_back_is_not_given_what_was_said_meanwhile() {
    let (fake, parts, alice, bob) = people();
    let team = GroupId::parse("team").expect("legal");
    let id = ConversationId::group(&team);
    let members: std::collections::BTreeSet<_> = [bob.user.clone()].into();
    let (owner, history) = (alice.user.clone(), History::SinceJoin);
    let create = Command::CreateGroup {
        group: team,
        name: String::new(),
        owner,
        members: members.clone(),
        history,
    };
    fake.apply(id, &create);
    let (mut bobs, _) = caught_up(&parts, &bob).await;
    fake.say_in(id, &alice, None, "before");
    assert_eq!(bobs.texts(1).await, ["before"]);
    // The worst case: no hint of his leaving and coming back arrives.
    fake.mute.store(true, Ordering::Relaxed);
    let by = alice.user.clone();
    fake.apply(id, &Command::RemoveMember { by: by.clone(), member: bob.user.clone() });
    fake.say_in(id, &alice, None, "secret");
    fake.apply(id, &Command::AddMembers { by, members });
    fake.mute.store(false, Ordering::Relaxed);
    fake.say_in(id, &alice, None, "after");
    assert_eq!(bobs.texts(1).await, ["after"]);
    assert_eq!(bobs.until_pong().await, []);
}
