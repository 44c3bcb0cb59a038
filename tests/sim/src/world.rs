//! The world of one run: nodes, devices, the wire between them, and time. Phases: a cluster forms, people sign in, faults
//! and work at once, everything is healed, everything drains, every replica is read.
//!
//! Law: what happens is a function of the plan. Nodes take their turns in order, events in the order of their times.

mod finale;
mod laws;
mod mending;
mod reading;
mod watch;

use std::sync::Arc;

use chat::UserId;
use checkers::{F, Phase};

use crate::book::Book;
use crate::chance;
use crate::device::{Around, Device, LINKS, To, user_name};
use crate::faults::Planned;
use crate::server::{End, Server, State, door::Knock};
use crate::swarm::{Mood, Plan, Settings};
use crate::wire::{Arrival, Event, HEARTBEAT, Heard, MS, SECOND, Time, Wire};

pub(crate) use finale::Slot;
use watch::Watch;

/// A cluster that has not formed, or people who could not sign in, by then never will.
const BEGIN_MAX: Time = 60 * SECOND;
/// How long after healing everything may take to drain. Several elections of the slowest settings.
const DRAIN_MAX: Time = 90 * SECOND;
/// Work goes on for so long after everything was healed.
const BUSY_AFTER_HEAL: Time = 3 * SECOND;
/// A cluster that tells nobody anything new for so long has nothing more to tell.
const QUIET: Time = 3 * SECOND;
/// How many entries a replica may be behind when everything is quiet.
const LAG_MAX: u64 = 8;
/// A drain that takes longer is worth a note.
const DRAIN_SLOW: Time = 20 * SECOND;
/// A process that stopped by itself is started again after so long.
const RESTART_AFTER: Time = 500 * MS;

/// See the module.
pub(crate) struct World {
    pub(crate) settings: Arc<Settings>,
    pub(crate) wire: Wire,
    pub(crate) servers: Vec<Server>,
    devices: Vec<Device>,
    pub(crate) book: Book,
    now: Time,
    busy: bool,
    /// Calls for a node that stands still.
    held: Vec<(usize, u64, Arrival)>,
    /// Faults that are at work, with the number of each and when they end.
    active: Vec<(Time, usize, Planned)>,
    /// Nodes to start, and when.
    starts: Vec<(Time, usize)>,
    /// Machines and processes that end when their disk has done so much more, when at the latest, and how.
    failing: Vec<(Time, usize, End)>,
    next_beat: Vec<Time>,
    watch: Watch,
    pub(crate) notes: Vec<String>,
    pub(crate) bitten: u64,
    /// When replicas last differed in how far they are.
    agreed: Time,
}

impl World {
    pub(crate) fn new(plan: &Plan, traced: bool) -> Self {
        chance::seed(plan.seed);
        let settings = Arc::new(Settings::of(plan));
        let wire = Wire::new(plan.seed, settings.nodes, settings.delays, traced);
        let servers = (0..settings.nodes)
            .map(|index| Server::new(index, Arc::clone(&settings), wire.clone()))
            .collect();
        let book = Book::default();
        let devices = (0..settings.devices + settings.twins)
            .map(|index| Device::new(index, &settings, &book))
            .collect();
        Self {
            next_beat: (0..settings.nodes as u64).map(|node| node * 7 * MS).collect(),
            watch: Watch::default(),
            servers,
            devices,
            book,
            wire,
            settings,
            now: 0,
            busy: false,
            held: Vec::new(),
            active: Vec::new(),
            starts: Vec::new(),
            failing: Vec::new(),
            notes: Vec::new(),
            bitten: 0,
            agreed: 0,
        }
    }

    /// Runs all phases.
    pub(crate) fn run(&mut self) {
        self.servers.iter_mut().for_each(Server::start);
        let ready = |world: &Self| world.servers.iter().all(Server::is_ready);
        if !self.until(BEGIN_MAX, ready) {
            self.book.broken(self.now, "the cluster did not form");
            return;
        }
        let late = self.settings.latecomers;
        let there = |device: &Device| device.is_signed_in() && (late || device.has_caught_up());
        if !self.until(self.now + BEGIN_MAX, |world| world.devices.iter().all(there)) {
            self.book.broken(self.now, "not everybody could sign in");
            return;
        }
        self.acquaint();
        self.say("faults begin");
        self.busy = true;
        self.trouble();
        self.say("healing");
        self.heal();
        self.drain();
        self.read_all();
    }

    /// Who speaks with whom, and which groups there are.
    fn acquaint(&mut self) {
        let settings = Arc::clone(&self.settings);
        let groups: Vec<String> = (0..settings.groups).map(|group| format!("g{group}")).collect();
        let now = self.now;
        let users = settings.users.min(settings.devices);
        for one in 0..users {
            for other in one + 1..users {
                let names = (user_name(one), user_name(other));
                let parse = |name: &str| UserId::parse(name).expect("a legal name");
                let id = chat::ConversationId::direct(&parse(&names.0), &parse(&names.1));
                let c = self.book.conversation(id);
                let members =
                    vec![self.book.recorder().user(&names.0), self.book.recorder().user(&names.1)];
                let by = self.book.device(&names.0, 1000 + one as u64);
                self.book
                    .made(now, F::Create { c, by, members, direct: true, all: true, error: None });
            }
        }
        for device in self.devices.iter_mut().take(settings.devices) {
            let own = device.user.clone();
            let all = (0..users).map(|user| UserId::parse(&user_name(user)).expect("a legal name"));
            for other in all.filter(|other| *other != own) {
                device.add_lane(To::User(other), &settings, &self.book);
            }
            if users == settings.users {
                for group in &groups {
                    device.add_lane(To::Group(group.clone()), &settings, &self.book);
                }
            }
        }
        if users == settings.users {
            self.devices[0].desk.to_make = groups;
            self.devices[0].desk.changes = settings.changes_members;
        }
    }

    /// The phase with faults.
    fn trouble(&mut self) {
        let began = self.now;
        let mut planned: Vec<(usize, Planned)> =
            self.settings.faults.iter().cloned().enumerate().collect();
        // The first is last; of one moment, in the order of their numbers.
        planned.reverse();
        planned.sort_by_key(|(_, fault)| std::cmp::Reverse(fault.at));
        let end = began + self.settings.faults_last;
        while self.now < end {
            while planned.last().is_some_and(|(_, fault)| began + fault.at <= self.now) {
                let (number, fault) = planned.pop().expect("there is one");
                self.install(number, fault);
            }
            self.step();
        }
    }

    /// Runs until a condition holds; `false`: it did not in time.
    fn until(&mut self, end: Time, holds: impl Fn(&Self) -> bool) -> bool {
        while self.now < end {
            self.step();
            if holds(self) {
                return true;
            }
        }
        false
    }

    /// After healing: some more work, then none, then everything must have been answered and told.
    fn drain(&mut self) {
        let end = self.now + BUSY_AFTER_HEAL;
        while self.now < end {
            self.step();
        }
        self.busy = false;
        self.devices.iter_mut().for_each(|device| device.away_until = 0);
        if self.too_much_lost() {
            self.notes.push("a majority is lost for good: safety only".to_owned());
            self.end_devices(false);
            return;
        }
        let drained = |world: &Self| {
            world
                .servers
                .iter()
                .all(|server| server.is_ready() || matches!(server.state, State::Lost(_)))
                && world.devices.iter().all(Device::is_drained)
                && world.agreed + QUIET < world.now
                && world.devices.iter().all(|device| device.moved + QUIET < world.now)
        };
        let began = self.now;
        let done = self.until(began + DRAIN_MAX, drained);
        if done && self.now > began + DRAIN_SLOW {
            self.notes.push(format!(
                "slow: drained only {} s after healing",
                (self.now - began + BUSY_AFTER_HEAL) / SECOND
            ));
        }
        if !done {
            self.not_drained();
        }
        self.end_devices(done);
        if done {
            self.finale();
        }
    }

    /// Whether every replica that runs has applied about as much as the others: a little is always being written.
    fn replicas_agree(&self) -> bool {
        let mut most = std::collections::BTreeMap::<u32, u64>::new();
        let groups: Vec<_> = self
            .servers
            .iter()
            .filter_map(|server| server.view())
            .flat_map(|view| view.groups())
            .collect();
        for group in &groups {
            let known = most.entry(group.group).or_default();
            *known = (*known).max(group.applied.unwrap_or(0));
        }
        groups.iter().all(|group| group.applied.unwrap_or(0) + LAG_MAX >= most[&group.group])
    }

    fn end_devices(&mut self, drained: bool) {
        let mut devices = std::mem::take(&mut self.devices);
        for device in &mut devices {
            let mut around = self.around();
            if drained {
                device.finish(&mut around);
            }
            device.give_up(&mut around);
        }
        self.devices = devices;
    }

    fn around(&mut self) -> Around<'_> {
        Around {
            wire: &self.wire,
            book: &mut self.book,
            settings: &self.settings,
            now: self.now,
            busy: self.busy,
        }
    }

    /// One step of time.
    fn step(&mut self) {
        self.now += self.settings.tick;
        self.wire.0.lock().now = self.now;
        self.mend();
        while let Some(event) = self.wire.due() {
            self.dispatch(event);
        }
        for index in 0..self.servers.len() {
            let server = &mut self.servers[index];
            server.wall.tick(self.now / MS);
            if server.state == State::Up && self.now >= self.next_beat[index] {
                self.next_beat[index] = self.now + HEARTBEAT;
                self.wire.beat(index);
            }
            if server.state == State::Up {
                self.wire.listen(index);
            }
            if let Some(reason) = server.run() {
                self.exited(index, &reason);
            }
        }
        let mut devices = std::mem::take(&mut self.devices);
        for device in &mut devices {
            let mut around = self.around();
            device.tick(&mut around);
            device.administer(&mut around);
        }
        self.devices = devices;
        self.open_lanes();
        if !self.busy && !self.replicas_agree() {
            self.agreed = self.now;
        }
        self.watch.look(self.now, &self.servers, &mut self.book);
        if self.watch.is_time_for_cursors(self.now) {
            let conversations = self.conversations();
            self.watch.cursors(self.now, &self.servers, &conversations, &mut self.book);
        }
        for panic in crate::panics::take() {
            // The engine panics when a follower has lost what it had acknowledged.
            if self.watch.has_damage() && panic.contains("log reversion") {
                self.notes.push(format!("panic: {panic}"));
            } else {
                self.book.broken(self.now, format!("panic: {panic}"));
            }
        }
    }

    fn open_lanes(&mut self) {
        let made: Vec<String> = self
            .devices
            .first()
            .into_iter()
            .flat_map(|owner| owner.desk.made.keys().cloned())
            .collect();
        for group in made {
            self.devices.iter_mut().for_each(|device| device.open_lane(&group));
        }
    }

    /// A process has stopped by itself: it is started again, as an operator's supervisor does.
    fn exited(&mut self, index: usize, reason: &str) {
        self.say(&format!("node {} stopped: {reason}", index + 1));
        self.notes.push(format!("node {} stopped by itself: {reason}", index + 1));
        self.watch.stopped(index, reason, self.now, &self.settings, &mut self.book);
        let end = self.was_ended(index).unwrap_or(End::Kill);
        self.servers[index].end(end);
        self.hang_up_on(index, end == End::Kill);
        self.starts.push((self.now + RESTART_AFTER, index));
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Node { node, life, what } => self.arrive(node, life, what),
            Event::Answer { to, call, result, .. } => {
                if self.servers[to].state == State::Paused {
                    // It is read when the process goes on; the caller's timers decide meanwhile.
                    self.held_answers(to, call, result);
                } else {
                    self.wire.settle(call, result);
                }
            }
            Event::Beat { from, to } => {
                if self.servers[to].state == State::Up {
                    self.wire.heard(from, to);
                }
            }
            Event::Device { device, what } => {
                let mut devices = std::mem::take(&mut self.devices);
                devices[device].hear(what, &mut self.around());
                self.devices = devices;
            }
        }
    }

    fn held_answers(
        &mut self,
        to: usize,
        call: u64,
        result: Result<bytes::Bytes, transport::peer::PeerError>,
    ) {
        let life = self.servers[to].life().unwrap_or_default();
        self.held.push((to, life, Arrival::Settled { call, result }));
    }

    fn arrive(&mut self, node: usize, life: u64, what: Arrival) {
        let server = &mut self.servers[node];
        if server.life() != Some(life) {
            self.refuse(node, what);
        } else if server.state == State::Paused {
            self.held.push((node, life, what));
        } else if let Arrival::Settled { call, result } = what {
            self.wire.settle(call, result);
        } else {
            server.take(what);
        }
    }

    /// Nobody is there any more: a connection is refused, if the machine runs at all.
    fn refuse(&mut self, node: usize, what: Arrival) {
        let link = match what {
            Arrival::Frame { link, .. } | Arrival::Knock(Knock::Connect { link, .. }) => link,
            _ => return,
        };
        let device = usize::try_from(link / LINKS).expect("links are numbered by their devices");
        self.wire.to_device(node, device, Heard::Gone { link });
    }

    /// Devices learn at once that a process has ended, unless the whole machine has.
    fn hang_up_on(&mut self, node: usize, resets: bool) {
        if resets {
            let links: Vec<(usize, u64)> = self
                .devices
                .iter()
                .enumerate()
                .filter_map(|(index, device)| device.link_to(node).map(|link| (index, link)))
                .collect();
            for (device, link) in links {
                self.wire.to_device(node, device, Heard::Gone { link });
            }
        }
    }

    fn too_much_lost(&self) -> bool {
        let lost =
            self.servers.iter().filter(|server| matches!(server.state, State::Lost(_))).count();
        lost * 2 >= self.servers.len()
    }

    pub(crate) fn say(&self, sentence: &str) {
        self.wire.0.lock().trace.say(self.now, sentence);
    }

    fn fault(&self, planned: &Planned, phase: Phase) {
        let keeps_quorum = self.settings.mood != Mood::Anybody;
        let (name, detail) = (planned.fault.name(), planned.to_string());
        self.book.recorder().fault(self.now * 1000, name, &detail, phase, keeps_quorum);
        self.say(&format!("{phase:?}: {planned}"));
    }
}
