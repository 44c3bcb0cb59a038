//! Who takes part and who talks to whom, from the workload and the seed. Names carry the seed, so that a cluster that was
//! used before can be used again. It opens no connection.

use chat::{ConversationId, GroupId, UserId};
use client::{Credentials, To};

use crate::dice::Dice;
use crate::scenario::Workload;

/// How a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tongue {
    /// The real client over QUIC.
    Quic,
    /// The real client over a WebSocket.
    WebSocket,
    /// The specification's JSON, by a client that knows nothing else.
    Text,
}

/// A user with one device.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) user: UserId,
    pub(crate) tongue: Tongue,
    /// The conversations it is in, by number.
    pub(crate) chats: Vec<usize>,
    /// Away while nodes are broken.
    pub(crate) offline: bool,
    /// Comes and goes all the time.
    pub(crate) restless: bool,
}

/// A conversation.
#[derive(Debug, Clone)]
pub(crate) struct Chat {
    pub(crate) id: ConversationId,
    /// Its name when it is a group.
    pub(crate) group: Option<GroupId>,
    /// By number; the first made it and never leaves.
    pub(crate) members: Vec<usize>,
    /// The member that is removed and taken in again, if one is.
    pub(crate) rover: Option<usize>,
}

/// Everybody and everything.
#[derive(Debug, Clone)]
pub(crate) struct Cast {
    pub(crate) actors: Vec<Actor>,
    pub(crate) chats: Vec<Chat>,
}

/// One password for all: it is not what is tested here.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

impl Cast {
    pub(crate) fn new(work: &Workload, seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let natives = work.natives.max(2) as usize;
        let strangers = work.strangers as usize;
        let mut cast = Self { actors: Vec::new(), chats: Vec::new() };
        for number in 0..natives + strangers {
            let native = number < natives;
            let tongue = match (native, number % 2) {
                (false, _) => Tongue::Text,
                (true, 0) => Tongue::Quic,
                (true, _) => Tongue::WebSocket,
            };
            let letter = if native { 'n' } else { 's' };
            let user = UserId::parse(&format!("{letter}{number}-{seed:x}"));
            cast.actors.push(Actor {
                user: user.expect("letters and digits"),
                tongue,
                chats: Vec::new(),
                // The first two stay: they own groups and read for others.
                offline: native && number >= 2 && number < 2 + work.offline as usize,
                restless: false,
            });
        }
        cast.pair_off(work, natives, &mut dice);
        cast.gather(work, seed, natives, &mut dice);
        for lonely in 0..natives {
            if cast.actors[lonely].chats.is_empty() {
                cast.direct(lonely, (lonely + 1) % natives);
            }
        }
        if work.reconnects > 0 {
            let calm = cast.actors[..natives].iter_mut().rev().filter(|actor| !actor.offline);
            calm.take(natives / 4 + 1).for_each(|actor| actor.restless = true);
        }
        cast
    }

    /// Direct conversations: natives in a ring and by chance, each stranger with a native and with the next stranger.
    fn pair_off(&mut self, work: &Workload, natives: usize, dice: &mut Dice) {
        let mut made = 0;
        let mut tries = 0;
        while made < work.directs as usize && tries < 50 * work.directs as usize {
            tries += 1;
            let one = if made < natives { made } else { dice.index(natives) };
            let other = if tries > made + 1 { dice.index(natives) } else { (one + 1) % natives };
            made += usize::from(self.direct(one, other));
        }
        let all = self.actors.len();
        for stranger in natives..all {
            self.direct(stranger, (stranger * 7) % natives);
            let next = if stranger + 1 < all { stranger + 1 } else { natives };
            self.direct(stranger, next);
        }
    }

    fn direct(&mut self, one: usize, other: usize) -> bool {
        let id = ConversationId::direct(&self.actors[one].user, &self.actors[other].user);
        if one == other || self.chats.iter().any(|chat| chat.id == id) {
            return false;
        }
        self.open(Chat { id, group: None, members: vec![one, other], rover: None });
        true
    }

    fn gather(&mut self, work: &Workload, seed: u64, natives: usize, dice: &mut Dice) {
        let size = (work.group_size.max(2) as usize).min(self.actors.len());
        for number in 0..work.groups as usize {
            let group = GroupId::parse(&format!("g{number}-{seed:x}"));
            let group = group.expect("letters and digits");
            let mut members = vec![number % natives.min(2)];
            // A stranger in every other group.
            if number % 2 == 1 && natives < self.actors.len() {
                members.push(natives + number % (self.actors.len() - natives));
            }
            while members.len() < size {
                let next = dice.index(self.actors.len());
                if !members.contains(&next) {
                    members.push(next);
                }
            }
            let rover = (work.moves > 0).then(|| members[members.len() - 1]);
            let id = ConversationId::group(&group);
            self.open(Chat { id, group: Some(group), members, rover });
        }
    }

    fn open(&mut self, chat: Chat) {
        for member in &chat.members {
            self.actors[*member].chats.push(self.chats.len());
        }
        self.chats.push(chat);
    }

    /// Where `actor` sends to reach `chat`.
    pub(crate) fn to(&self, chat: usize, actor: usize) -> To {
        match &self.chats[chat].group {
            Some(group) => To::Group(group.clone()),
            None => To::User(self.actors[self.other(chat, actor)].user.clone()),
        }
    }

    /// The name of it in paths: the other user, or the group.
    pub(crate) fn path_name(&self, chat: usize, actor: usize) -> &str {
        match &self.chats[chat].group {
            Some(group) => group.as_str(),
            None => self.actors[self.other(chat, actor)].user.as_str(),
        }
    }

    fn other(&self, chat: usize, actor: usize) -> usize {
        let members = &self.chats[chat].members;
        if members[0] == actor { members[1] } else { members[0] }
    }
}

/// What a message of the harness is called: whose, where, which.
pub(crate) fn message_id(credentials: &Credentials, chat: usize, k: u64) -> String {
    format!("{}.{chat}.{k}", credentials.device)
}

/// The device and the count in a message's name; `None` when it is none of ours.
pub(crate) fn read_id(id: &str) -> Option<(&str, u64)> {
    let mut parts = id.split('.');
    let (device, _chat, k) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = k.trim_end_matches(|c: char| !c.is_ascii_digit());
    Some((device, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_brings_the_same_people_together() {
        let work = Workload::default();
        let (one, same) = (Cast::new(&work, 5), Cast::new(&work, 5));
        let ids = |cast: &Cast| cast.chats.iter().map(|chat| chat.id).collect::<Vec<_>>();
        assert_eq!(ids(&one), ids(&same));
        assert_ne!(ids(&one), ids(&Cast::new(&work, 6)));
    }

    #[test]
    fn every_actor_talks_and_no_conversation_is_there_twice() {
        for seed in 0..20 {
            let cast = Cast::new(&Workload::default(), seed);
            assert!(cast.actors.iter().all(|actor| !actor.chats.is_empty()), "seed {seed}");
            for (number, chat) in cast.chats.iter().enumerate() {
                let first = cast.chats.iter().position(|other| other.id == chat.id);
                assert_eq!(first, Some(number), "seed {seed}");
                assert_ne!(chat.rover, Some(chat.members[0]));
            }
        }
    }

    #[test]
    fn a_name_tells_whose_and_which() {
        assert_eq!(read_id("00ff.3.17"), Some(("00ff", 17)));
        assert_eq!(read_id("00ff.3.17x"), Some(("00ff", 17)));
        assert_eq!(read_id("hello"), None);
    }
}
