//! One device of a user as a process of its own, with a store, for a test that kills it at any moment.
//!
//! `device say FILE NAME`: puts messages `NAME-0000` … into its outbox without end, and tells on standard output what is
//! `pending`, `sent` and `got`. `device finish FILE COUNT`: sends what waits and ends when nothing does and it has got
//! everything up to sequence COUNT. `device show FILE`: tells what the store has, without any node. FILE is JSON: where the
//! cluster is, who this is, and where the store is.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chat::{ConversationId, DeviceId, MessageId, Seq, UserId};
use client::store::{Owner, Sqlite, Store as _};
use client::{Client, Config, Credentials, Inbox, Incoming, Outgoing, To};
use serde_json::Value;

/// Messages of one life: more than any test lets it say.
const MESSAGES_MAX: u32 = 5_000;
/// What `show` reads.
const SHOWN_MAX: usize = 100_000;

type Failure = Box<dyn std::error::Error>;

struct Device {
    config: Config,
    credentials: Credentials,
    store: PathBuf,
    peer: UserId,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let done = match words.as_slice() {
        ["say", file, name] => say(file, name).await,
        ["finish", file, count] => finish(file, count).await,
        ["show", file] => show(file),
        _ => Err("say, finish or show".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("device: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Device {
    fn read(file: &str) -> Result<Device, Failure> {
        let told: Value = serde_json::from_slice(&std::fs::read(file)?)?;
        let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
        let nodes = told["nodes"].as_array().into_iter().flatten();
        let nodes: Vec<SocketAddr> = nodes.filter_map(|node| node.as_str()?.parse().ok()).collect();
        let credentials = Credentials {
            user: UserId::parse(&text("user"))?,
            device: DeviceId(u64::from_str_radix(&text("device"), 16)?),
            access: text("access"),
            refresh: text("refresh"),
            expires_at: None,
        };
        Ok(Device {
            config: Config::new(nodes, text("ca").into_bytes()),
            credentials,
            store: text("store").into(),
            peer: UserId::parse(&text("peer"))?,
        })
    }

    fn begin(&self) -> Result<(Client, Inbox), Failure> {
        let store = Box::new(Sqlite::open(Path::new(&self.store))?);
        Ok(Client::connect_kept(self.config.clone(), self.credentials.clone(), store)?)
    }

    fn conversation(&self) -> ConversationId {
        ConversationId::direct(&self.credentials.user, &self.peer)
    }
}

async fn say(file: &str, name: &str) -> Result<(), Failure> {
    let device = Device::read(file)?;
    let (client, inbox) = device.begin()?;
    tokio::spawn(hear(inbox));
    for count in 0..MESSAGES_MAX {
        let id = format!("{name}-{count:04}");
        let mut message = Outgoing::text(To::User(device.peer.clone()), format!("text of {id}"));
        message.message_id = Some(MessageId::parse(&id)?);
        let sending = client.enqueue(message).await?;
        tell(&format!("pending {id}"));
        tokio::spawn(async move {
            match sending.await {
                Ok(receipt) => tell(&format!("sent {id} {}", receipt.seq.0)),
                Err(error) => tell(&format!("failed {id} {error}")),
            }
        });
    }
    Ok(())
}

async fn hear(mut inbox: Inbox) {
    while let Some(item) = inbox.next().await {
        if let Incoming::Message(message) = item {
            tell(&format!("got {} {}", message.seq, message.message_id));
        }
    }
}

async fn finish(file: &str, count: &str) -> Result<(), Failure> {
    let device = Device::read(file)?;
    let count: u64 = count.parse()?;
    let (client, mut inbox) = device.begin()?;
    let mut got = kept(&client, &device).await?;
    while got < count {
        match inbox.next().await {
            Some(Incoming::Message(message)) => {
                tell(&format!("got {} {}", message.seq, message.message_id));
                got = got.max(message.seq);
            }
            Some(_) => {}
            None => return Err("the client ended".into()),
        }
    }
    // What was taken last is confirmed by asking for more, which may never come.
    let conversation = device.conversation();
    if count > 0 {
        client.confirm(conversation, Seq(count), false).await?;
    }
    while !client.pending().await?.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    client.stop().await;
    Ok(())
}

/// How far the application has dealt with what came in.
async fn kept(client: &Client, device: &Device) -> Result<u64, Failure> {
    let all = client.kept_conversations().await?;
    let ours = all.iter().find(|kept| kept.conversation == device.conversation());
    Ok(ours.map_or(0, |kept| kept.standing.delivered.0))
}

fn show(file: &str) -> Result<(), Failure> {
    let device = Device::read(file)?;
    let mut store = Sqlite::open(&device.store)?;
    let (user, id) = (device.credentials.user.clone(), device.credentials.device);
    store.begin(&Owner { user, device: id })?;
    let page = store.history(device.conversation(), None, SHOWN_MAX)?;
    for message in page.messages {
        tell(&format!("kept {} {}", message.seq, message.message_id));
    }
    tell(if page.whole { "whole" } else { "with gaps" });
    for waiting in store.pending()? {
        tell(&format!("waiting {}", waiting.request.message_id.as_str()));
    }
    Ok(())
}

/// One line, out at once: what is told was true before.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: whoever started this is gone.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
