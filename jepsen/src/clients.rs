//! The process of the clients: many devices in one process, in the namespace that can reach the nodes and is cut off from
//! them when the nemesis says so. It is told what goes on over its standard input, writes the history as it happens, and
//! tells how far it is over its standard output. It breaks nothing and judges nothing.

mod cast;
mod finale;
mod media;
mod moves;
mod native;
mod pace;
mod reads;
mod stranger;
mod wire;
mod world;

use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chat::UserId;
use checkers::{Conn, F, Kind};
use client::{CallError, Config, Credentials};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use transport::ClientTls;

use crate::dice::Dice;
use crate::record::{Reel, Spot, Tape};
use cast::{Cast, PASSWORD, Tongue};
use finale::Listeners;
use native::Native;
use stranger::Stranger;
use wire::Trust;
use world::{Phase, Seat, World};

pub use world::ClientsPlan;

/// Logins at once: each costs a node a slow hash.
const LOGINS_AT_ONCE: usize = 4;
/// A login or a group is tried so often.
const TRIES_MAX: u32 = 100;
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);
/// Between two writings of the tape.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Worker threads: the nodes need the cores more.
const THREADS: usize = 2;

/// What this process is told, one word a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The nemesis begins.
    Faults,
    /// All is whole again.
    Healed,
    /// Begin nothing new, then read everything back.
    Stop,
}

/// What this process tells, one line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// Everybody is there and talks.
    Ready,
    /// Nothing is under way any more.
    Stopped,
    /// Everything that could be was read back; this could not.
    Done(Vec<String>),
    /// It cannot be done.
    Failed(String),
}

/// Runs it to its end.
///
/// # Errors
/// One sentence when the run is none.
pub fn run(plan: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(plan).map_err(|error| error.to_string())?;
    let plan: ClientsPlan = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let (tell, phase) = watch::channel(Phase::Quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    listen(tell);
    let ended = runtime.block_on(act(plan, phase));
    if let Err(why) = &ended {
        report(&Report::Failed(why.clone()));
    }
    runtime.shutdown_background();
    ended
}

/// Takes orders, until nobody gives any: then it stops.
#[expect(clippy::disallowed_methods, reason = "standard input is read by a thread of its own")]
fn listen(tell: watch::Sender<Phase>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let order = serde_json::from_str(&line);
            tell.send_replace(match order {
                Ok(Order::Faults) => Phase::Faults,
                Ok(Order::Healed) => Phase::Healed,
                Ok(Order::Stop) | Err(_) => Phase::Stop,
            });
        }
        tell.send_replace(Phase::Stop);
    });
}

fn report(report: &Report) {
    println!("{}", serde_json::to_string(report).expect("plain words"));
}

async fn act(plan: ClientsPlan, phase: watch::Receiver<Phase>) -> Result<(), String> {
    let ca_pem = std::fs::read(&plan.ca).map_err(|error| error.to_string())?;
    let tls = ClientTls::from_ca_pem(&ca_pem).map_err(|error| error.to_string())?;
    let trust = Trust::new(&ca_pem)?;
    let mut reel = Reel::create(&plan.history).map_err(|error| error.to_string())?;
    let cast = Cast::new(&plan.workload, plan.seed);
    let tape = Tape::new(1);
    let seats = take_seats(&plan, &cast, &tape, &ca_pem).await?;
    let world = Arc::new(World::new((plan, cast, seats), (tape, ca_pem, tls), phase));
    let listeners = Arc::new(raise_devices(&world, &trust));
    let writing = {
        let world = Arc::clone(&world);
        let (halt, mut halted) = tokio::sync::oneshot::channel::<()>();
        let writing = tokio::spawn(async move {
            loop {
                let last = tokio::time::timeout(WRITE_EVERY, &mut halted).await.is_ok();
                reel.append(&world.tape)?;
                if last {
                    return Ok::<(), checkers::HistoryError>(());
                }
            }
        });
        (halt, writing)
    };
    open_chats(&world, &listeners).await?;
    let mut talk = start_talk(&world, &listeners);
    report(&Report::Ready);
    world.reaches(Phase::Stop).await;
    world.pacer.stop();
    while talk.join_next().await.is_some() {}
    report(&Report::Stopped);
    let missing = finale::read_back(&world, &listeners).await;
    // The history is whole once the writer has seen its end.
    let _ = writing.0.send(());
    writing.1.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    report(&Report::Done(missing));
    Ok(())
}

/// Registers everybody and opens a session for each.
async fn take_seats(
    plan: &ClientsPlan,
    cast: &Cast,
    tape: &Tape,
    ca_pem: &[u8],
) -> Result<Vec<Seat>, String> {
    let config = Config::new(plan.nodes.clone(), ca_pem.to_vec());
    let users: Vec<UserId> = cast.actors.iter().map(|actor| actor.user.clone()).collect();
    let logins = users.into_iter().map(|user| sign_in(&config, user));
    let all: Vec<Credentials> = stream::iter(logins).buffered(LOGINS_AT_ONCE).try_collect().await?;
    let seat = |credentials: Credentials| {
        let user = credentials.user.as_str();
        let d = tape.device(user, &credentials.device.to_string());
        let u = tape.user(user);
        Seat { credentials, d, u }
    };
    Ok(all.into_iter().map(seat).collect())
}

async fn sign_in(config: &Config, user: UserId) -> Result<Credentials, String> {
    let mut last = String::new();
    for _ in 0..TRIES_MAX {
        let registered = client::register(config, &user, PASSWORD).await;
        // Taken: an earlier try that was not answered, or an earlier run with the same seed.
        if !matches!(registered, Ok(()) | Err(CallError::Refused { status: 409, .. })) {
            sleep(AGAIN).await;
            continue;
        }
        match client::login(config, &user, PASSWORD, "black box").await {
            Ok(credentials) => return Ok(credentials),
            Err(error) => last = error.to_string(),
        }
        sleep(AGAIN).await;
    }
    Err(format!("{user} cannot sign in: {last}"))
}

fn raise_devices(world: &Arc<World>, trust: &Trust) -> Listeners {
    let mut listeners = Listeners { natives: Vec::new(), strangers: Vec::new() };
    for (number, actor) in world.cast.actors.iter().enumerate() {
        if actor.tongue == Tongue::Text {
            let stranger = Stranger::new(Arc::clone(world), trust.clone(), number);
            tokio::spawn(Arc::clone(&stranger).live());
            listeners.strangers.push(stranger);
        } else {
            let native = Native::new(Arc::clone(world), number);
            native.arrive(number);
            listeners.natives.push(native);
        }
    }
    listeners
}

/// Makes the groups and says what there is.
async fn open_chats(world: &Arc<World>, listeners: &Listeners) -> Result<(), String> {
    let slots = u32::from(chat::SLOTS);
    for (number, chat) in world.cast.chats.iter().enumerate() {
        let c = world.cs[number];
        let members: Vec<_> = chat.members.iter().map(|member| world.seats[*member].u).collect();
        let by = world.seats[chat.members[0]].d;
        let direct = chat.group.is_none();
        let said = F::Create { c, by, members, direct, all: false, error: None };
        let spot = Spot { process: world.tape.process(), node: 0, conn: Conn::Rest };
        if let Some(group) = &chat.group {
            world.tape.note(spot, Kind::Invoke, said.clone());
            let owner = &listeners.natives[chat.members[0]];
            let others: Vec<UserId> = chat.members[1..]
                .iter()
                .map(|member| world.cast.actors[*member].user.clone())
                .collect();
            let client = owner.client().expect("nobody has left yet");
            let made = client.create_group(Some(group), "black box", &others, false).await;
            made.map_err(|error| format!("{group} cannot be made: {error}"))?;
        }
        world.tape.note(spot, Kind::Ok, said);
        // Shards share the slots evenly and in order.
        let shard = 1 + u32::from(chat.id.slot()) * world.plan.shards / slots;
        world.tape.saw(0, Conn::None, F::Owner { c, shard, epoch: 1 });
    }
    Ok(())
}

/// Everybody begins to talk. Gives what must have ended before the run is over.
fn start_talk(world: &Arc<World>, listeners: &Listeners) -> JoinSet<()> {
    let (seed, work) = (world.plan.seed, &world.plan.workload);
    let mut talk = JoinSet::new();
    for native in &listeners.natives {
        let actor = &world.cast.actors[native.actor()];
        let dice =
            |purpose: usize| Dice::new(seed, (native.actor() * 1000 + purpose + 10_000) as u64);
        for slot in 0..work.in_flight as usize {
            talk.spawn(Arc::clone(native).talk(dice(slot)));
        }
        for mine in 0..actor.chats.len() {
            talk.spawn(Arc::clone(native).confirm(mine, dice(500 + mine)));
        }
        if actor.offline {
            talk.spawn(Arc::clone(native).be_away());
        } else if actor.restless {
            let restless = world.cast.actors.iter().filter(|actor| actor.restless).count() as u64;
            let every = Duration::from_millis(1_000_000 * restless / u64::from(work.reconnects));
            talk.spawn(Arc::clone(native).be_restless(every, dice(900)));
        }
    }
    for stranger in &listeners.strangers {
        let chats = world.cast.actors[stranger.actor()].chats.len();
        for mine in 0..chats {
            let dice = |purpose: usize| {
                Dice::new(seed, (stranger.actor() * 1000 + purpose + mine + 10_000) as u64)
            };
            talk.spawn(Arc::clone(stranger).talk(mine, dice(0)));
            talk.spawn(Arc::clone(stranger).confirm(mine, dice(500)));
        }
    }
    for (number, chat) in world.cast.chats.iter().enumerate() {
        if chat.rover.is_some() {
            let owner = Arc::clone(&listeners.natives[chat.members[0]]);
            let dice = Dice::new(seed, 5000 + number as u64);
            talk.spawn(moves::rove(Arc::clone(world), owner, number, dice));
        }
    }
    media::start(world, seed, &mut talk);
    reads::start(world, seed);
    talk
}
