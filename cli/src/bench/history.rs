//! `synod bench history`: pages of history a second, and how long one takes.

use std::{cell::RefCell, collections::VecDeque, net::SocketAddr, rc::Rc};

use bytes::Bytes;
use proto::frames::{Consistency, send, sent, server_frame::Frame};
use serde_json::json;
use tokio::{sync::Notify, time::Instant};
use transport::{ClientTls, http};

use super::{
    accounts::{Account, Office},
    crew::{Crew, Work},
    driver::{self, Load, Seat},
    measure::{Counts, Window},
    seats::{Seats, Table},
    site::Site,
    wire::{self, Outgoing, Stamps},
};
use crate::{
    args::{BenchHistory, Transport},
    exit::{Exit, Failure, Outcome},
};

/// Messages on their way at once while the conversation is filled.
const FILLING: usize = 64;
/// Bytes of text in each message.
const SIZE: usize = 300;

/// Fills a conversation, reads it with every client, and prints what was measured.
pub(crate) async fn history(args: BenchHistory) -> Outcome {
    let site = Site::of(&args.load.cluster, &args.load.operations).await?;
    let tls = ClientTls::from_ca_pem(&site.ca_pem).map_err(Failure::usage)?;
    let office = Office::new(http::Client::new(tls.clone()), &site.nodes);
    let readers = args.load.clients as usize;
    let accounts = office.open(readers.max(2)).await?;
    let table = Table { members: (0..accounts.len()).collect(), direct: false };
    let seats = Seats { tables: vec![table], writes: vec![vec![0]; readers], connected: readers };
    let groups = office.groups(&accounts, &seats).await?;
    let group = groups.into_iter().next().flatten().expect("one group was made");
    let reading = Reading {
        ca_pem: site.ca_pem.clone(),
        transport: args.load.cluster.transport,
        nodes: site.nodes.clone(),
        page: args.page,
        pages: args.pages,
        consistency: if args.local { Consistency::Local } else { Consistency::Linearizable },
    };
    let measured = measure(&args, &site, reading, &accounts, group).await;
    office.close(&accounts).await;
    let (counts, window, server_cpu) = measured?;
    print(&args, &counts, window, server_cpu);
    Ok(if counts.acks.count() == 0 { Exit::Unavailable } else { Exit::Ok })
}

async fn measure(
    args: &BenchHistory,
    site: &Site,
    reading: Reading,
    accounts: &[Account],
    group: String,
) -> Result<(Counts, Window, Option<f64>), Failure> {
    let messages = args.pages.saturating_mul(args.page);
    eprintln!("filling a conversation with {messages} messages");
    fill(&reading.load(), &accounts[0], &group, messages).await?;
    let seats = accounts[..args.load.clients as usize].iter().map(|account| Seat {
        account: account.clone(),
        writes: vec![send::To::Group(group.clone())],
        beats: None,
    });
    let crew = Crew::start(vec![(reading, seats.collect())])?;
    let crew = tokio::task::spawn_blocking(move || crew.connected())
        .await
        .map_err(Failure::internal)??;
    let window = Window::starting_in(args.load.timing.warmup, args.load.timing.duration);
    crew.go(window);
    tokio::time::sleep_until(window.from).await;
    let before = site.cpu_seconds().await;
    tokio::time::sleep_until(window.until).await;
    let after = site.cpu_seconds().await;
    let tallies =
        tokio::task::spawn_blocking(move || crew.finish()).await.map_err(Failure::internal)??;
    let mut counts = Counts::new();
    tallies.iter().for_each(|tally| counts.add(tally));
    Ok((counts, window, before.zip(after).map(|(before, after)| after - before)))
}

fn print(args: &BenchHistory, counts: &Counts, window: Window, server_cpu: Option<f64>) {
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark fit a float")]
    let pages = counts.acks.count() as f64;
    let per_second = pages / window.seconds();
    let cpu = server_cpu.filter(|_| pages > 0.0).map(|cpu| cpu * 1000.0 / pages);
    if args.load.timing.json {
        let mut told = json!({
            "schema": "synod/bench/v1",
            "kind": "history",
            "clients": args.load.clients,
            "pages": args.pages,
            "page": args.page,
            "consistency": if args.local { "local" } else { "linearizable" },
            "duration_s": window.seconds(),
            "pages_per_s": per_second,
            "page_ms": counts.acks.json(),
            "errors": counts.errors,
        });
        if let Some(cpu) = cpu {
            told["server_cpu_s_per_1000"] = cpu.into();
        }
        say!("{told}");
        return;
    }
    say!("{} readers, pages of {}", args.load.clients, args.page);
    say!("pages     {per_second:.0}/s   errors {}", counts.errors);
    say!("page      {}", counts.acks.words());
    if let Some(cpu) = cpu {
        say!("CPU       {cpu:.3} s per 1,000 pages by the servers");
    }
}

/// Fills the group with messages, many on their way at once.
async fn fill(load: &Load, account: &Account, group: &str, count: u32) -> Result<(), Failure> {
    let mut link =
        driver::connect(load, account, account.node).await.map_err(Failure::unavailable)?;
    let to = send::To::Group(group.to_owned());
    let (mut begun, mut stored) = (0u32, 0u32);
    let mut out = VecDeque::new();
    while stored < count {
        while begun < count && ((begun - stored) as usize) < FILLING {
            begun += 1;
            let order = u64::from(begun);
            let meant_at = Instant::now();
            let message = Outgoing { tag: order, table: 0, to: to.clone(), order, meant_at };
            out.push_back(message.frame(load.stamps, SIZE));
        }
        link.writer.send(&mut out).await.map_err(Failure::unavailable)?;
        let frame = link.reader.next().await.map_err(Failure::unavailable)?;
        let frame = frame.ok_or_else(|| Failure::unavailable("the link ended"))?;
        if let Some(Frame::Sent(answer)) = wire::decode(frame).map_err(Failure::internal)? {
            match answer.result {
                Some(sent::Result::Stored(_)) => stored += 1,
                Some(sent::Result::Problem(problem)) => {
                    return Err(Failure::unavailable(format!(
                        "{}: {}",
                        problem.code, problem.detail
                    )));
                }
                None => {}
            }
        }
    }
    Ok(())
}

/// What a thread needs to read.
struct Reading {
    ca_pem: Vec<u8>,
    transport: Transport,
    nodes: Vec<SocketAddr>,
    page: u32,
    pages: u32,
    consistency: Consistency,
}

impl Reading {
    fn load(&self) -> Load {
        Load {
            tls: ClientTls::from_ca_pem(&self.ca_pem).expect("read once before"),
            transport: self.transport,
            nodes: self.nodes.clone(),
            stamps: Stamps::new(),
            size: SIZE,
            confirm: false,
            counts: RefCell::new(Counts::new()),
            pages: Some(driver::Pages {
                page: self.page,
                pages: self.pages,
                consistency: self.consistency,
            }),
            arrivals: None,
            under_way: 1,
            arrived: Notify::new(),
        }
    }
}

impl Work for Reading {
    type Tally = Counts;

    fn load(&self) -> Load {
        Reading::load(self)
    }

    async fn drive(load: Rc<Load>, seat: Seat, link: transport::Link, window: Window) {
        let errors = read_pages(&load, &seat, link, window).await;
        load.counts.borrow_mut().errors += errors;
    }

    fn tally(load: Load) -> Counts {
        load.counts.into_inner()
    }
}

/// Reads page after page until the window is over. Returns how many failed.
async fn read_pages(load: &Load, seat: &Seat, mut link: transport::Link, window: Window) -> u64 {
    let pages = load.pages.expect("a thread that reads was told what");
    let conversation = match &seat.writes[0] {
        send::To::Group(group) => match chat::GroupId::parse(group) {
            Ok(group) => Bytes::copy_from_slice(chat::ConversationId::group(&group).as_bytes()),
            Err(_) => return 1,
        },
        _ => return 1,
    };
    let mut errors = 0;
    let mut out = VecDeque::new();
    for turn in 0u64.. {
        let begun = Instant::now();
        if begun >= window.until {
            break;
        }
        let after = (turn % u64::from(pages.pages)) * u64::from(pages.page);
        let frame =
            wire::read_page(turn, conversation.clone(), after, pages.page, pages.consistency);
        out.push_back(frame);
        if link.writer.send(&mut out).await.is_err() {
            return errors + 1;
        }
        match answer(&mut link, turn).await {
            Some(true) if window.holds(Instant::now()) => {
                load.counts.borrow_mut().acks.note(begun.elapsed());
            }
            Some(true) => {}
            Some(false) => errors += 1,
            None => return errors + 1,
        }
    }
    errors
}

/// Whether the page came; `None` when the link broke.
async fn answer(link: &mut transport::Link, tag: u64) -> Option<bool> {
    loop {
        let frame = link.reader.next().await.ok()??;
        if let Some(Frame::HistoryPage(page)) = wire::decode(frame).ok()?
            && page.tag == tag
        {
            return Some(page.problem.is_none() && !page.messages.is_empty());
        }
    }
}
