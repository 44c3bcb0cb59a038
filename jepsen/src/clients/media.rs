//! Assets: devices upload bytes to any node and read them again from any other while everything goes on; at the end every
//! acknowledged asset is read from every node. Bytes are text, so that what was damaged on the way still has a hash.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use checkers::{Conn, F, Kind, payload_hash};
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use transport::http::{Method, Response};
use transport::{Certainty, DialError};

use super::world::World;
use crate::dice::Dice;
use crate::record::Spot;

/// Those who upload, each one asset at a time.
const UPLOADERS: u64 = 4;
/// Assets that are read at once at the end.
const FETCHES_AT_ONCE: usize = 8;
/// Between two attempts to read an asset at the end.
const AGAIN: Duration = Duration::from_millis(100);
/// Assets of a run at most: each is read from every node at the end.
const ASSETS_MAX: usize = 2000;
/// The asset of an upload that was given no name.
const NAMELESS: &str = "-";

/// An asset that was acknowledged.
#[derive(Debug, Clone)]
struct Asset {
    uri: String,
    number: u32,
    owner: usize,
}

/// All assets of a run that were acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<Vec<Asset>>);

impl Shelf {
    fn is_full(&self) -> bool {
        self.0.lock().len() >= ASSETS_MAX
    }

    fn put(&self, asset: Asset) {
        self.0.lock().push(asset);
    }

    fn any(&self, dice: &mut Dice) -> Option<Asset> {
        let assets = self.0.lock();
        (!assets.is_empty()).then(|| dice.pick(&assets).clone())
    }
}

/// Starts those who upload and read.
pub(crate) fn start(world: &Arc<World>, seed: u64, talk: &mut JoinSet<()>) {
    if world.plan.workload.uploads > 0 {
        for uploader in 0..UPLOADERS {
            let dice = Dice::new(seed, 7000 + uploader);
            talk.spawn(upload_on(Arc::clone(world), dice));
        }
    }
}

async fn upload_on(world: Arc<World>, mut dice: Dice) {
    let per_mille = u64::from(world.plan.workload.uploads);
    let mut process = world.tape.process();
    let mut next = Instant::now();
    while !world.stopping() {
        next += Duration::from_micros(1_000_000_000 * UPLOADERS / per_mille);
        next = next.max(Instant::now());
        sleep_until(next).await;
        if !world.shelf.is_full() && !upload(&world, process, &mut dice).await {
            process = world.tape.process();
        }
        let Some(asset) = world.shelf.any(&mut dice) else { continue };
        let node = dice.index(world.plan.nodes.len());
        if fetch(&world, process, node, &asset, false).await == Kind::Info {
            process = world.tape.process();
        }
    }
}

fn spot(process: u32, node: usize) -> Spot {
    Spot { process, node: u8::try_from(node + 1).unwrap_or(0), conn: Conn::Rest }
}

/// Uploads one asset; `false` when nobody answered.
async fn upload(world: &World, process: u32, dice: &mut Dice) -> bool {
    let (owner, node) = (dice.index(world.seats.len()), dice.index(world.plan.nodes.len()));
    let most = u64::from(world.plan.workload.asset_bytes).max(2);
    let bytes = 1 + dice.below(most);
    let text = text(dice, bytes);
    let hash = payload_hash("asset", &text);
    let spot = spot(process, node);
    let nameless = world.tape.asset(NAMELESS);
    world.tape.note(spot, Kind::Invoke, F::Upload { asset: nameless, h: hash });
    let answer = request(world, Method::POST, node, owner, "/asset", Some(text.into())).await;
    let (kind, asset) = match answer {
        Ok(answer) if answer.status == 201 => match uri(&answer.body) {
            Some(uri) => {
                let number = world.tape.asset(&uri);
                world.shelf.put(Asset { uri, number, owner });
                (Kind::Ok, number)
            }
            None => (Kind::Info, nameless),
        },
        // Refused: whoever refuses may have stored the bytes, and nobody was told a name for them.
        Ok(_) | Err(Certainty::Definite) => (Kind::Fail, nameless),
        Err(Certainty::Unknown) => (Kind::Info, nameless),
    };
    world.tape.note(spot, kind, F::Upload { asset, h: hash });
    kind != Kind::Info
}

fn text(dice: &mut Dice, bytes: u64) -> String {
    let mut text = String::new();
    while (text.len() as u64) < bytes {
        text.push_str(&format!("{:016x}", dice.roll()));
    }
    text
}

fn uri(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body["uri"].as_str().map(str::to_owned)
}

/// Reads one asset from one node. What came of it, which is in the history.
async fn fetch(world: &World, process: u32, node: usize, asset: &Asset, last: bool) -> Kind {
    let spot = spot(process, node);
    let said = |h, gone| F::Fetch { asset: asset.number, h, gone, last };
    world.tape.note(spot, Kind::Invoke, said(0, false));
    let answer = request(world, Method::GET, node, asset.owner, &asset.uri, None).await;
    let (kind, said) = match answer {
        Ok(answer) if answer.status == 200 => {
            let text = String::from_utf8_lossy(&answer.body);
            (Kind::Ok, said(payload_hash("asset", &text), false))
        }
        Ok(answer) => (Kind::Fail, said(0, answer.status == 410)),
        Err(Certainty::Definite) => (Kind::Fail, said(0, false)),
        Err(Certainty::Unknown) => (Kind::Info, said(0, false)),
    };
    world.tape.note(spot, kind, said);
    kind
}

async fn request(
    world: &World,
    method: Method,
    node: usize,
    actor: usize,
    path: &str,
    body: Option<Bytes>,
) -> Result<Response, Certainty> {
    let token = &world.seats[actor].credentials.access;
    let address = world.plan.nodes[node];
    let answer = world.http.request(method, address, path, Some(token), body).await;
    answer.map_err(|error| DialError::certainty(&error))
}

/// Reads every acknowledged asset from every node, until all came or time is over. Gives what could not be asked at all.
pub(crate) async fn read_back(world: &World, deadline: Instant) -> Vec<String> {
    let assets = world.shelf.0.lock().clone();
    let nodes = world.plan.nodes.len();
    let all = assets.iter().flat_map(|asset| (0..nodes).map(move |node| (node, asset)));
    let reads = all.map(|(node, asset)| async move {
        loop {
            // Attempts before the last are no verdict: the node may still be catching up.
            let is_last = Instant::now() + AGAIN >= deadline;
            let process = world.tape.process();
            match fetch(world, process, node, asset, is_last).await {
                Kind::Ok => return None,
                _ if is_last => return Some(format!("asset {} at n{}", asset.uri, node + 1)),
                _ => sleep(AGAIN).await,
            }
        }
    });
    let missing: Vec<Option<String>> =
        stream::iter(reads).buffer_unordered(FETCHES_AT_ONCE).collect().await;
    missing.into_iter().flatten().collect()
}
