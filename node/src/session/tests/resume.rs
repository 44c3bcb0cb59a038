//! Coming back with what an earlier link was given: the same is delivered as without it, and less is looked at.

use std::collections::BTreeMap;

use chat::{ChangeMessage, Command, MessageId, Wish};

use super::*;
use crate::clock::{Entropy as _, SeededEntropy};
use crate::resume::{Noted, Recent};
use crate::shard::Publish as _;

/// What a link was sent until it had caught up: sequences and changes, by conversation.
type Sent = BTreeMap<Vec<u8>, (Vec<u64>, Vec<u64>)>;

/// How a link began.
struct Begun {
    client: Client,
    sent: Sent,
    /// What it was given last.
    token: String,
    reset: bool,
}

/// Connects with `resume`, and takes everything that is sent before a word of its own is answered.
async fn begin(parts: &Arc<Parts>, who: &Identity, resume: Option<&str>) -> Begun {
    let mut client = link(parts, Encoding::Binary, None, &CancellationToken::new());
    let resume = resume.map(str::to_owned);
    let hello = frames::Hello { token: token(parts, who), version: 1, resume };
    client.ask(ClientFrame::Hello(hello)).await;
    let ServerFrame::Welcome(welcome) = client.next().await else { panic!("a welcome first") };
    let (mut sent, mut token, mut reset) = (Sent::new(), welcome.resume, welcome.reset);
    let mut caught_up = false;
    // What is given after the catch-up is asked for twice, so that the second answer comes behind it.
    let mut after = 0;
    while after < 2 {
        let frames = match caught_up {
            true => client.until_pong().await,
            false => vec![client.next().await],
        };
        after += usize::from(caught_up);
        for frame in frames {
            match frame {
                ServerFrame::Deliver(deliver) => {
                    for message in deliver.messages {
                        let id = message.conversation.to_vec();
                        sent.entry(id).or_default().0.push(message.seq);
                    }
                }
                ServerFrame::Changes(changes) => {
                    for change in changes.changes {
                        let id = change.conversation.to_vec();
                        sent.entry(id).or_default().1.push(change.number);
                    }
                }
                ServerFrame::CaughtUp(_) => caught_up = true,
                ServerFrame::Resume(resume) if resume.reset => reset = true,
                ServerFrame::Resume(resume) => token = resume.token,
                ServerFrame::Status(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    Begun { client, sent, token, reset }
}

/// Those who write to bob.
const PEERS: u64 = 6;

fn peer(number: u64) -> Identity {
    Identity { user: user(&format!("p{number}")), device: DeviceId(100 + number) }
}

fn number(dice: &SeededEntropy, below: u64) -> u64 {
    dice.number() % below
}

/// One thing that happens: somebody says something, edits it, or bob's device confirms.
fn happen(fake: &Fake, dice: &SeededEntropy, bob: &Identity, step: u64) {
    let peer = peer(number(dice, PEERS));
    let id = ConversationId::direct(&peer.user, &bob.user);
    let last = fake.head(id).expect("memory").map_or(Seq(0), |head| head.last_seq);
    match number(dice, 5) {
        0 | 1 => {
            fake.say(&peer, "bob", &format!("s{step}"));
        }
        2 if last > Seq(0) => {
            let seq = Seq(1 + number(dice, last.0));
            let change = ChangeMessage {
                by: bob.user.clone(),
                device: bob.device,
                change_id: MessageId::parse(&format!("c{step}")).expect("legal"),
                seq,
                wish: Wish::React("+1".to_owned()),
            };
            fake.apply(id, &Command::Change(change));
        }
        3 if last > Seq(0) => {
            let (user, device, seq) = (bob.user.clone(), bob.device, last);
            fake.apply(id, &Command::Confirm { user, device, seq, read: false, hidden: false });
        }
        4 if last > Seq(0) => {
            let (user, device) = (bob.user.clone(), bob.device);
            let change = fake.head(id).expect("memory").expect("it exists").last_change;
            fake.apply(id, &Command::ConfirmChanges { user, device, change });
        }
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_resumes_is_sent_exactly_what_one_that_does_not_would_be() {
    let mut resumed = 0;
    for seed in 1..=30 {
        let dice = SeededEntropy::new(seed);
        let (fake, parts) = world();
        let bob = fake.join("bob", 2);
        for number in 0..PEERS {
            let peer = peer(number);
            fake.join(peer.user.as_str(), peer.device.0);
        }
        let mut given: Vec<String> = Vec::new();
        for step in 0..40 {
            happen(&fake, &dice, &bob, step);
            if number(&dice, 4) > 0 {
                continue;
            }
            let anew = begin(&parts, &bob, Some("")).await;
            // Also one that is not the newest: it says less, and is as true.
            let which = number(&dice, given.len() as u64 + 1) as usize;
            if let Some(token) = given.get(which) {
                let again = begin(&parts, &bob, Some(token)).await;
                assert_eq!(again.sent, anew.sent, "seed {seed}, step {step}");
                resumed += usize::from(!again.reset);
                given.push(again.token);
            }
            // What happens while a link is there is in what it is given when it leaves.
            given.push(anew.token);
        }
    }
    assert!(resumed > 100, "only {resumed} links resumed");
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_gives_what_holds_at_that_moment() {
    // Whether the link has taken the news when it hears of the stop is chance.
    for _ in 0..20 {
        stop_with_news_on_the_way().await;
    }
}

async fn stop_with_news_on_the_way() {
    let (fake, parts, alice, bob) = people();
    let stop = CancellationToken::new();
    let mut client = link(&parts, Encoding::Binary, Some(token(&parts, &bob)), &stop);
    while !matches!(client.next().await, ServerFrame::CaughtUp(_)) {}
    fake.say(&alice, "bob", "one");
    stop.cancel();
    let resume = loop {
        if let ServerFrame::GoAway(away) = client.next().await {
            break away.resume;
        }
    };
    // Elsewhere: what alice said is told for its own sake.
    let carol = fake.join("carol", 3);
    fake.say(&carol, "bob", "two");
    let begun = begin(&parts, &bob, Some(&resume)).await;
    let sent: Vec<_> = begun.sent.into_values().collect();
    assert!(!begun.reset);
    let once = (vec![1], vec![]);
    assert_eq!(sent, [once.clone(), once], "what was not confirmed, and what came since");
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_here_is_told_and_nothing_is_missed() {
    let (fake, parts, alice, bob) = people();
    fake.say(&alice, "bob", "one");
    let first = begin(&parts, &bob, Some("")).await;
    assert!(!first.reset && !first.token.is_empty());
    let theirs = begin(&parts, &alice, Some("")).await.token;
    // A node that began later does not remember so far back.
    let mut later = crate::gateway::fake::parts(&fake, crate::fanout::Directory::default());
    let recent = Recent::default();
    Arc::get_mut(&mut later).expect("nobody else has it").recent = recent.clone();
    let listener = crate::fanout::Fanout::new(crate::fanout::Directory::default());
    Noted::new(listener, recent).stands(raft::GroupId(1), 0..chat::SLOTS, 1_000_000);
    for (parts, given) in [(&parts, theirs.as_str()), (&parts, "x"), (&later, &first.token)] {
        let begun = begin(parts, &bob, Some(given)).await;
        assert!(begun.reset, "{given}");
        assert_eq!(begun.sent, first.sent);
    }
    let begun = begin(&parts, &bob, None).await;
    assert!(!begun.reset && begun.sent == first.sent);
    drop(begun.client);
}
