//! `synod bench fanout`: one sender, one group, everybody connected. How many deliveries a second, and how long until the
//! last member has a message.

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use proto::frames::send;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use transport::{ClientTls, http};

use super::{
    accounts::{Account, Office},
    arrivals::Arrivals,
    crew::{Crew, Work},
    driver::{Driver, Load, Seat},
    measure::{Counts, Window, precise},
    pacer,
    seats::Table,
    site::Site,
    wire::Stamps,
};
use crate::{
    args::{BenchFanout, Transport},
    exit::{Exit, Failure, Outcome},
};

/// Runs the benchmark and prints what it measured.
pub(crate) async fn fanout(args: BenchFanout) -> Outcome {
    let site = Site::of(&args.cluster, &args.operations).await?;
    let tls = ClientTls::from_ca_pem(&site.ca_pem).map_err(Failure::usage)?;
    let office = Office::new(http::Client::new(tls), &site.nodes);
    let members = args.members as usize;
    eprintln!("opening {} accounts on {} nodes", members + 1, site.nodes.len());
    let accounts = office.open(members + 1).await?;
    let table = Table { members: (0..accounts.len()).collect(), direct: false };
    let group = office.group(&accounts, &table, 0).await?;
    let measured = measure(&args, &site, &accounts, group).await;
    office.close(&accounts).await;
    let measured = measured?;
    if args.timing.json {
        say!("{}", measured.json(&args, &site));
    } else {
        measured.print(&args);
    }
    Ok(if measured.counts.deliveries.count() == 0 { Exit::Unavailable } else { Exit::Ok })
}

/// What one run measured.
struct Measured {
    counts: Counts,
    seconds: f64,
    server_cpu: Option<f64>,
}

async fn measure(
    args: &BenchFanout,
    site: &Site,
    accounts: &[Account],
    group: String,
) -> Result<Measured, Failure> {
    let (beats, beat) = match args.rate {
        Some(_) => {
            let (beats, beat) = mpsc::channel(pacer::BACKLOG_MAX);
            (vec![beats], Some(beat))
        }
        None => (Vec::new(), None),
    };
    // One thread: the last arrival of a message is known only where all arrivals are seen.
    let crew = Crew::start(vec![(fan(args, site), seats(accounts, group, beat))])?;
    let crew = tokio::task::spawn_blocking(move || crew.connected())
        .await
        .map_err(Failure::internal)??;
    let window = Window::starting_in(args.timing.warmup, args.timing.duration);
    crew.go(window);
    let pacer = args.rate.map(|rate| {
        tokio::task::spawn_blocking(move || pacer::beat(rate, &beats, Instant::now(), window.until))
    });
    tokio::time::sleep_until(window.from).await;
    let before = site.cpu_seconds().await;
    tokio::time::sleep_until(window.until).await;
    let after = site.cpu_seconds().await;
    let missed = match pacer {
        Some(pacer) => pacer.await.map_err(Failure::internal)?,
        None => 0,
    };
    let tallies =
        tokio::task::spawn_blocking(move || crew.finish()).await.map_err(Failure::internal)??;
    let mut counts = Counts::new();
    tallies.iter().for_each(|tally| counts.add(tally));
    counts.errors += missed;
    let server_cpu = before.zip(after).map(|(before, after)| after - before);
    Ok(Measured { counts, seconds: window.seconds(), server_cpu })
}

/// The first account writes, all others only read.
fn seats(
    accounts: &[Account],
    group: String,
    mut beat: Option<mpsc::Receiver<Instant>>,
) -> Vec<Seat> {
    let seat = |(number, account): (usize, &Account)| Seat {
        account: account.clone(),
        writes: if number == 0 { vec![send::To::Group(group.clone())] } else { Vec::new() },
        beats: beat.take_if(|_| number == 0),
    };
    accounts.iter().enumerate().map(seat).collect()
}

fn fan(args: &BenchFanout, site: &Site) -> Fan {
    Fan {
        ca_pem: site.ca_pem.clone(),
        transport: args.cluster.transport,
        nodes: site.nodes.clone(),
        members: args.members,
        size: args.size as usize,
        confirm: args.confirm,
        under_way: args.under_way as usize,
    }
}

/// What the thread needs to make its load.
struct Fan {
    ca_pem: Vec<u8>,
    transport: Transport,
    nodes: Vec<SocketAddr>,
    members: u32,
    size: usize,
    confirm: bool,
    under_way: usize,
}

impl Work for Fan {
    type Tally = Counts;

    fn load(&self) -> Load {
        Load {
            tls: ClientTls::from_ca_pem(&self.ca_pem).expect("read once before"),
            transport: self.transport,
            nodes: self.nodes.clone(),
            stamps: Stamps::new(),
            size: self.size,
            confirm: self.confirm,
            counts: RefCell::new(Counts::new()),
            pages: None,
            arrivals: Some(RefCell::new(Arrivals::of(self.members))),
            under_way: self.under_way,
            arrived: Notify::new(),
        }
    }

    async fn drive(load: Rc<Load>, seat: Seat, link: transport::Link, window: Window) {
        Driver::new(load, seat, link, window).run().await;
    }

    fn tally(load: Load) -> Counts {
        load.counts.into_inner()
    }
}

impl Measured {
    fn deliveries_per_second(&self) -> f64 {
        precise(self.counts.deliveries.count()) / self.seconds
    }

    fn cpu_per_thousand(&self) -> Option<f64> {
        let deliveries = self.counts.deliveries.count();
        self.server_cpu.filter(|_| deliveries > 0).map(|cpu| cpu * 1000.0 / precise(deliveries))
    }

    fn json(&self, args: &BenchFanout, site: &Site) -> Value {
        let mut told = json!({
            "schema": "synod/bench/v1",
            "kind": "fanout",
            "transport": args.cluster.transport.name(),
            "nodes": site.nodes.len(),
            "members": args.members,
            "size": args.size,
            "duration_s": self.seconds,
            "rate": args.rate,
            "under_way": args.under_way,
            "acked": self.counts.acks.count(),
            "acked_per_s": precise(self.counts.acks.count()) / self.seconds,
            "ack_ms": self.counts.acks.json(),
            "delivered": self.counts.deliveries.count(),
            "delivered_per_s": self.deliveries_per_second(),
            "deliver_ms": self.counts.deliveries.json(),
            "last_member_ms": self.counts.last_arrivals.json(),
            "errors": self.counts.errors,
        });
        if let Some(cpu) = self.cpu_per_thousand() {
            told["server_cpu_s_per_1000"] = cpu.into();
        }
        told
    }

    fn print(&self, args: &BenchFanout) {
        say!("one sender, {} members, {} bytes", args.members, args.size);
        say!("deliveries  {:.0}/s   errors {}", self.deliveries_per_second(), self.counts.errors);
        say!("ack         {}", self.counts.acks.words());
        say!("delivery    {}", self.counts.deliveries.words());
        say!("last member {}", self.counts.last_arrivals.words());
        if let Some(cpu) = self.cpu_per_thousand() {
            say!("CPU         {cpu:.4} s per 1,000 deliveries by the servers");
        }
    }
}
