//! Changes in, each once and after its messages; what the next link begins with; whom a link is told to watch.

use super::*;

fn change(number: u64) -> frames::Change {
    let what = frames::what::What::Deleted(1);
    frames::Change {
        conversation: Bytes::copy_from_slice(with_bob().as_bytes()),
        number,
        by: "bob".to_owned(),
        what: Some(frames::What { what: Some(what) }),
        ..Default::default()
    }
}

fn changes(numbers: &[u64]) -> ServerFrame {
    let changes = numbers.iter().copied().map(change).collect();
    ServerFrame::Changes(frames::Changes { changes })
}

/// What came in: messages by sequence, changes below zero.
fn came(script: &mut Script) -> Vec<i64> {
    let number = |number: u64| i64::try_from(number).expect("small");
    let came = script.incoming().into_iter().filter_map(|item| match item {
        Incoming::Message(message) => Some(number(message.seq)),
        Incoming::Change(change) => Some(-number(change.number)),
        _ => None,
    });
    came.collect()
}

fn confirms(script: &mut Script, link: LinkId) -> Vec<frames::ConfirmChanges> {
    let queue = script.written.remove(&link).unwrap_or_default();
    let confirms = queue.into_iter().filter_map(|frame| match frame {
        ClientFrame::ConfirmChanges(confirm) => Some(confirm),
        _ => None,
    });
    confirms.collect()
}

#[test]
fn a_change_comes_once_however_often_links_repeat_it() {
    let (mut script, link) = Script::connected(2);
    script.say(link, deliver(&[1]));
    script.say(link, changes(&[1, 2]));
    script.say(link, changes(&[2, 4]));
    assert_eq!(came(&mut script), [1, -1, -2, -4], "some may not be this user's to see");
    script.lose(link);
    let link = script.welcome();
    script.say(link, changes(&[1, 2, 4, 5]));
    assert_eq!(came(&mut script), [-5]);
}

#[test]
fn a_change_waits_until_the_messages_before_it_have_come() {
    let (mut script, link) = Script::connected(2);
    script.say(link, deliver(&[1]));
    script.say(link, deliver(&[3]));
    script.say(link, changes(&[1, 2]));
    assert_eq!(came(&mut script), [1]);
    script.say(link, deliver(&[2]));
    assert_eq!(came(&mut script), [2, 3, -1, -2]);
}

#[test]
fn only_the_furthest_change_is_confirmed_and_again_on_the_next_link() {
    let (mut script, link) = Script::connected(2);
    script.say(link, changes(&[1, 2, 3]));
    for number in 1..=3 {
        script.core.confirm_changes(script.now, with_bob(), number);
    }
    script.act();
    let asked = confirms(&mut script, link);
    assert_eq!(asked.iter().map(|ask| ask.change).collect::<Vec<_>>(), [1], "one at a time");
    let answer = frames::ChangesConfirmed { tag: asked[0].tag, change: 1, ..Default::default() };
    script.say(link, ServerFrame::ChangesConfirmed(answer));
    let asked = confirms(&mut script, link);
    assert_eq!(asked.iter().map(|ask| ask.change).collect::<Vec<_>>(), [3]);
    script.lose(link);
    let link = script.welcome();
    let asked = confirms(&mut script, link);
    assert_eq!(asked.iter().map(|ask| ask.change).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_link_begins_with_the_newest_that_the_ones_before_were_given() {
    let (mut script, link) = Script::connected(2);
    let resume = |token: &str| frames::Resume { token: token.to_owned(), reset: false };
    assert_eq!(script.said_hello(link), Some(String::new()), "it wants to be given some");
    script.say(link, ServerFrame::Resume(resume("one")));
    script.say(link, ServerFrame::Resume(resume("two")));
    script.lose(link);
    let link = script.welcome();
    assert_eq!(script.said_hello(link), Some("two".to_owned()));
    let away = frames::GoAway { resume: "three".to_owned(), ..Default::default() };
    script.say(link, ServerFrame::GoAway(away));
    let next = script.welcome();
    assert_eq!(script.said_hello(next), Some("three".to_owned()));
}

#[test]
fn whom_to_watch_is_said_on_every_link() {
    let (mut script, link) = Script::connected(2);
    script.core.watch(vec![bob()]);
    script.act();
    let watched = |script: &mut Script, link| {
        let queue = script.written.remove(&link).unwrap_or_default();
        let watched = queue.into_iter().filter_map(|frame| match frame {
            ClientFrame::WatchPresence(watch) => Some(watch.users),
            _ => None,
        });
        watched.collect::<Vec<_>>()
    };
    assert_eq!(watched(&mut script, link), [["bob"]]);
    let seen = frames::Seen { user: "bob".to_owned(), online: true, ..Default::default() };
    let presence = frames::Presence { seen: vec![seen], ..Default::default() };
    script.say(link, ServerFrame::Presence(presence));
    let (user, online, last_seen, allowed) = (bob(), true, None, true);
    assert_eq!(script.incoming(), [Incoming::Presence { user, online, last_seen, allowed }]);
    script.lose(link);
    let link = script.welcome();
    assert_eq!(watched(&mut script, link), [["bob"]]);
}
