//! Reads every conversation back from every node over the public REST interface, twice: linearizable,
//! and whatever that node alone has. It only reads; what it means is the judge's affair.

use std::{net::SocketAddr, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use transport::http::{Client, Method};

use super::{
    script::{self, Cast},
    verdict::{Bot, Chat, Row, Shelf},
};

/// The largest page of the interface.
const PAGE: u32 = 100;
/// A healed node must answer within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// A follower that is alive has caught up with the leader within this.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(100);

/// Why a conversation could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be read at {node}: {why}")]
pub(crate) struct ReadError {
    node: SocketAddr,
    place: String,
    why: String,
}

/// What reads: the session of one bot, used at every node. Its client keeps the token fresh.
pub(crate) struct Reader {
    pub(crate) bot: Bot,
    pub(crate) client: client::Client,
}

/// All shelves of all nodes after `base`.
pub(crate) async fn read_all(
    http: &Client,
    cast: &Cast,
    readers: &[Reader],
    nodes: &[(u64, SocketAddr)],
    base: &[u64],
) -> Result<Vec<Shelf>, ReadError> {
    let mut reads = Vec::new();
    for &(id, node) in nodes {
        for (chat, place) in cast.places.iter().enumerate() {
            let reader = readers.iter().find(|reader| place.members.contains(&reader.bot));
            let reader = reader.expect("the readers together may read everything");
            reads.push(read_both(http, cast, reader, (id, node), (chat, base[chat])));
        }
    }
    // A few at a time: the nodes share this machine.
    let shelves: Vec<Result<Vec<Shelf>, ReadError>> =
        futures::StreamExt::collect(futures::StreamExt::buffered(futures::stream::iter(reads), 6))
            .await;
    let shelves: Result<Vec<Vec<Shelf>>, ReadError> = shelves.into_iter().collect();
    Ok(shelves?.into_iter().flatten().collect())
}

/// The linearizable shelf, and the node's own once it had time to reach the same end.
async fn read_both(
    http: &Client,
    cast: &Cast,
    reader: &Reader,
    (id, node): (u64, SocketAddr),
    (chat, base): (Chat, u64),
) -> Result<Vec<Shelf>, ReadError> {
    let read = |local| Read {
        http,
        node,
        reader,
        local,
        path: cast.path_of(chat, reader.bot),
        place: &cast.places[chat].name,
        id: cast.places[chat].id.to_string(),
    };
    let whole = read(false).patiently(base).await?;
    let last = |rows: &[Row]| rows.iter().map(|row| row.seq).max().unwrap_or(base);
    let deadline = Instant::now() + CATCH_UP_WITHIN;
    let mut own = read(true).patiently(base).await?;
    while last(&own) < last(&whole) && Instant::now() < deadline {
        sleep(AGAIN).await;
        own = read(true).patiently(base).await?;
    }
    let place = &cast.places[chat].name;
    let shelf = |kind: &str, rows| Shelf { label: format!("node {id} {kind} {place}"), chat, rows };
    Ok(vec![shelf("linearizable", whole), shelf("local", own)])
}

/// One conversation at one node.
struct Read<'a> {
    http: &'a Client,
    node: SocketAddr,
    reader: &'a Reader,
    local: bool,
    /// The other user or the group, as it stands in the path.
    path: &'a str,
    place: &'a str,
    /// The conversation's id, as it stands in canonical ids.
    id: String,
}

#[derive(Deserialize)]
struct Page {
    messages: Vec<Payload>,
    next_after_id: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    payload: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    sequence: u64,
    #[serde(default, rename = "messageText")]
    text: String,
}

impl Read<'_> {
    /// All rows after `base`, tried again while the node says that it cannot for now.
    async fn patiently(&self, base: u64) -> Result<Vec<Row>, ReadError> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            match self.rows(base).await {
                Ok(rows) => return Ok(rows),
                Err(why) if Instant::now() >= deadline => {
                    let (node, place) = (self.node, self.place.to_owned());
                    return Err(ReadError { node, place, why });
                }
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    async fn rows(&self, base: u64) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        let mut after = (base > 0).then(|| format!("{}-{base}", self.id));
        loop {
            let page = self.page(after.as_deref()).await?;
            let items = page.messages.into_iter().flat_map(|payload| payload.payload);
            rows.extend(
                items.map(|item| Row { seq: item.sequence, mark: script::read(&item.text).0 }),
            );
            match page.next_after_id {
                Some(next) => after = Some(next),
                None => return Ok(rows),
            }
        }
    }

    async fn page(&self, after: Option<&str>) -> Result<Page, String> {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut path = format!("/messages/{}?limit={PAGE}", encode(self.path));
        if let Some(after) = after {
            path.push_str(&format!("&after_id={}", encode(after)));
        }
        if self.local {
            path.push_str("&consistency=local");
        }
        let bearer = self.reader.client.credentials().access;
        let answer = self.http.request(Method::GET, self.node, &path, Some(&bearer), None).await;
        let answer = answer.map_err(|e| e.to_string())?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body).map_err(|e| e.to_string()),
            status => {
                let body = String::from_utf8_lossy(&answer.body);
                Err(format!("{status}: {}", body.trim()))
            }
        }
    }
}
