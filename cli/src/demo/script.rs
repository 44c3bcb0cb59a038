//! Who talks in the demo, where, and what they say. Pure.
//!
//! Each text ends with a mark that says which message of which bot it is: the judge goes by nothing
//! else. People's messages carry none and are left alone.

use chat::{ConversationId, GroupId, UserId};

use super::verdict::{Bot, Chat, Mark};
use crate::seed::Dice;

const NAMES: [&str; 6] = ["ada", "ben", "cleo", "dan", "eva", "finn"];

/// What bots talk about.
const LINES: [&str; 24] = [
    "did you see the heron on the roof?",
    "the kettle is on",
    "train is late again, save me a seat",
    "found your umbrella, it was in the tram",
    "who took the blue bicycle?",
    "the bread came out well this time",
    "meeting moved to four",
    "no, the other left",
    "it is snowing sideways",
    "I counted the chairs twice, eleven",
    "the printer only believes in tuesdays",
    "your cat is on the neighbours' balcony",
    "soup or dumplings?",
    "dumplings. always dumplings",
    "the map is upside down",
    "left the key under the third pot",
    "that was the fourth pot",
    "the lighthouse keeper says hello",
    "rehearsal at seven, bring the cello",
    "can you hear the owls?",
    "the ferry runs until midnight",
    "I owe you two coffees",
    "three, but who is counting",
    "everything survives if you write it down thrice",
];

/// One conversation of the bots.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// For people, and for the screen.
    pub(crate) name: String,
    pub(crate) members: Vec<Bot>,
    pub(crate) address: Address,
    pub(crate) id: ConversationId,
}

/// How a conversation is addressed.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// The two users of a direct conversation.
    Direct(UserId, UserId),
    Group(GroupId),
}

/// Everybody and every conversation of one run.
#[derive(Debug, Clone)]
pub(crate) struct Cast {
    pub(crate) users: Vec<UserId>,
    pub(crate) places: Vec<Place>,
}

impl Cast {
    /// The cast of the `run`-th run in this folder: new names each time, so that every run's
    /// conversations begin at nothing.
    pub(crate) fn new(run: u64) -> Cast {
        let suffix = if run == 1 { String::new() } else { format!("-{run}") };
        let user = |name: &&str| UserId::parse(&format!("{name}{suffix}")).expect("a legal id");
        let users: Vec<UserId> = NAMES.iter().map(user).collect();
        let mut places = Vec::new();
        for a in 0..users.len() {
            let b = (a + 1) % users.len();
            let (low, high) = (users[a].clone(), users[b].clone());
            places.push(Place {
                name: format!("{} & {}", NAMES[a], NAMES[b]),
                members: vec![a, b],
                id: ConversationId::direct(&low, &high),
                address: Address::Direct(low, high),
            });
        }
        for (name, members) in [
            ("lobby", (0..users.len()).collect::<Vec<_>>()),
            ("kitchen", vec![0, 1, 2, 3]),
            ("garden", vec![2, 3, 4, 5]),
        ] {
            let group = GroupId::parse(&format!("{name}{suffix}")).expect("a legal id");
            places.push(Place {
                name: name.to_owned(),
                members,
                id: ConversationId::group(&group),
                address: Address::Group(group),
            });
        }
        Cast { users, places }
    }

    /// The conversations a bot may write to.
    pub(crate) fn places_of(&self, bot: Bot) -> Vec<Chat> {
        (0..self.places.len()).filter(|chat| self.places[*chat].members.contains(&bot)).collect()
    }

    /// The conversation with this id.
    pub(crate) fn chat(&self, id: &[u8]) -> Option<Chat> {
        self.places.iter().position(|place| place.id.as_bytes().as_slice() == id)
    }

    /// How `bot` finds a conversation in `/messages/…`: the other user, or the group.
    pub(crate) fn path_of(&self, chat: Chat, bot: Bot) -> &str {
        match &self.places[chat].address {
            Address::Direct(low, high) if *low == self.users[bot] => high.as_str(),
            Address::Direct(low, _) => low.as_str(),
            Address::Group(group) => group.as_str(),
        }
    }

    /// The fewest bots that together may read every conversation.
    pub(crate) fn readers(&self) -> Vec<Bot> {
        let mut unread: Vec<Chat> = (0..self.places.len()).collect();
        let mut readers = Vec::new();
        for bot in 0..self.users.len() {
            let before = unread.len();
            unread.retain(|chat| !self.places[*chat].members.contains(&bot));
            if unread.len() < before {
                readers.push(bot);
            }
        }
        readers
    }
}

/// A line with its mark.
pub(crate) fn write(dice: &mut Dice, mark: Mark) -> String {
    format!("{} #{}.{}.{}", dice.pick(&LINES), mark.chat, mark.bot, mark.n)
}

/// The mark in a text, and what stands before it.
pub(crate) fn read(text: &str) -> (Option<Mark>, &str) {
    let marked = || {
        let (line, mark) = text.rsplit_once(" #")?;
        let mut numbers = mark.split('.');
        let mark = Mark {
            chat: numbers.next()?.parse().ok()?,
            bot: numbers.next()?.parse().ok()?,
            n: numbers.next()?.parse().ok()?,
        };
        numbers.next().is_none().then_some((Some(mark), line))
    };
    marked().unwrap_or((None, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_text_and_people_have_none() {
        let mark = Mark { chat: 7, bot: 2, n: 123 };
        let text = write(&mut Dice::new(1, 1), mark);
        let (read_mark, line) = read(&text);
        assert_eq!(read_mark, Some(mark));
        assert!(LINES.contains(&line));
        for text in ["hello", "we are #1", "see #1.2", "issue #1.2.3.4", "#", ""] {
            assert_eq!(read(text), (None, text));
        }
    }

    #[test]
    fn the_readers_can_read_everything() {
        let cast = Cast::new(1);
        let readers = cast.readers();
        assert!(readers.len() < cast.users.len());
        for place in &cast.places {
            assert!(readers.iter().any(|bot| place.members.contains(bot)), "{}", place.name);
        }
    }

    #[test]
    fn every_run_has_its_own_conversations_and_each_is_found_by_its_id() {
        let (first, second) = (Cast::new(1), Cast::new(2));
        for (chat, place) in first.places.iter().enumerate() {
            assert_eq!(first.chat(place.id.as_bytes()), Some(chat));
            assert_eq!(second.chat(place.id.as_bytes()), None);
        }
        assert_eq!(first.path_of(0, 0), "ben");
        assert_eq!(first.path_of(0, 1), "ada");
    }
}
