//! `synod bench send`: messages a second, how long an acknowledgement takes, how long a delivery.

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
    crew::{Crew, Work},
    driver::{Driver, Load, Seat},
    measure::{Counts, Window, precise},
    pacer,
    seats::Seats,
    site::Site,
    wire::Stamps,
};
use crate::{
    args::{BenchSend, Readers, Transport},
    exit::{Exit, Failure, Outcome},
    operations,
};

/// Connections that justify a second thread: one thread drives some twenty thousand answers a second.
const CLIENTS_PER_THREAD: usize = 128;
/// The servers need the cores more than the load does.
const THREADS_MAX: usize = 2;

/// Runs the benchmark and prints what it measured.
pub(crate) async fn send(args: BenchSend) -> Outcome {
    let site = Site::of(&args.load.cluster, &args.load.operations).await?;
    let tls = ClientTls::from_ca_pem(&site.ca_pem).map_err(Failure::usage)?;
    let clients = args.load.clients as usize;
    let conversations = args.conversations.unwrap_or(args.load.clients) as usize;
    let seats = Seats::new(clients, conversations, args.readers == Readers::All);
    let office = Office::new(http::Client::new(tls), &site.nodes);
    eprintln!("opening {} accounts on {} nodes", seats.writes.len(), site.nodes.len());
    let accounts = office.open(seats.writes.len()).await?;
    let groups = office.groups(&accounts, &seats).await?;
    let measured = measure(&args, &site, &accounts, &seats, &groups).await;
    office.close(&accounts).await;
    let measured = measured?;
    if args.load.timing.json {
        say!("{}", measured.json(&args, &site));
    } else {
        measured.print(&args);
    }
    Ok(if measured.counts.acks.count() == 0 { Exit::Unavailable } else { Exit::Ok })
}

/// What one run measured.
struct Measured {
    counts: Counts,
    seconds: f64,
    server_cpu: Option<f64>,
    client_cpu: Option<f64>,
}

async fn measure(
    args: &BenchSend,
    site: &Site,
    accounts: &[Account],
    seats: &Seats,
    groups: &[Option<String>],
) -> Result<Measured, Failure> {
    let (beats, ends) = beats(args, seats.connected);
    let seats = take_seats(accounts, seats, groups, ends);
    let crew = Crew::start(share(args, site, seats))?;
    let crew = tokio::task::spawn_blocking(move || crew.connected())
        .await
        .map_err(Failure::internal)??;
    let window = Window::starting_in(args.load.timing.warmup, args.load.timing.duration);
    crew.go(window);
    let pacer = args.rate.map(|rate| {
        // The metronome beats through the warm-up as well: load does not begin with the window.
        tokio::task::spawn_blocking(move || pacer::beat(rate, &beats, Instant::now(), window.until))
    });
    let before = cpu_at(site, window.from).await;
    let after = cpu_at(site, window.until).await;
    let missed = match pacer {
        Some(pacer) => pacer.await.map_err(Failure::internal)?,
        None => 0,
    };
    let tallies =
        tokio::task::spawn_blocking(move || crew.finish()).await.map_err(Failure::internal)??;
    let mut counts = Counts::new();
    tallies.iter().for_each(|tally| counts.add(tally));
    counts.errors += missed;
    let spent = |(before, after): (Option<f64>, Option<f64>)| Some(after? - before?);
    Ok(Measured {
        counts,
        seconds: window.seconds(),
        server_cpu: spent((before.0, after.0)),
        client_cpu: spent((before.1, after.1)),
    })
}

/// CPU seconds of the servers and of this process at a moment.
async fn cpu_at(site: &Site, at: Instant) -> (Option<f64>, Option<f64>) {
    tokio::time::sleep_until(at).await;
    (site.cpu_seconds().await, operations::own_cpu_seconds())
}

type Beats = (Vec<mpsc::Sender<Instant>>, Vec<Option<mpsc::Receiver<Instant>>>);

/// A metronome's lines to the clients that write, in an open loop.
fn beats(args: &BenchSend, users: usize) -> Beats {
    let mut senders = Vec::new();
    let ends = (0..users).map(|user| {
        let writes = args.rate.is_some() && user < args.load.clients as usize;
        writes.then(|| {
            let (sender, end) = mpsc::channel(pacer::BACKLOG_MAX);
            senders.push(sender);
            end
        })
    });
    let ends = ends.collect();
    (senders, ends)
}

fn take_seats(
    accounts: &[Account],
    seats: &Seats,
    groups: &[Option<String>],
    ends: Vec<Option<mpsc::Receiver<Instant>>>,
) -> Vec<Seat> {
    let address = |user: usize, table: usize| match &groups[table] {
        Some(group) => send::To::Group(group.clone()),
        None => {
            let other = seats.tables[table].members.iter().find(|member| **member != user);
            let other = other.expect("a direct conversation has two members");
            send::To::Receiver(accounts[*other].user.clone())
        }
    };
    let seat = |(user, beats): (usize, Option<mpsc::Receiver<Instant>>)| Seat {
        account: accounts[user].clone(),
        writes: seats.writes[user].iter().map(|table| address(user, *table)).collect(),
        beats,
    };
    ends.into_iter().enumerate().map(seat).collect()
}

/// The seats of each thread.
fn share(args: &BenchSend, site: &Site, seats: Vec<Seat>) -> Vec<(Sending, Vec<Seat>)> {
    let threads = seats.len().div_ceil(CLIENTS_PER_THREAD).clamp(1, THREADS_MAX);
    let stamps = Stamps::new();
    let sending = || Sending {
        ca_pem: site.ca_pem.clone(),
        transport: args.load.cluster.transport,
        nodes: site.nodes.clone(),
        stamps,
        size: args.size as usize,
        confirm: args.confirm,
    };
    let mut parts: Vec<_> = (0..threads).map(|_| (sending(), Vec::new())).collect();
    for (number, seat) in seats.into_iter().enumerate() {
        parts[number % threads].1.push(seat);
    }
    parts
}

/// What a thread needs to make its load.
struct Sending {
    ca_pem: Vec<u8>,
    transport: Transport,
    nodes: Vec<SocketAddr>,
    stamps: Stamps,
    size: usize,
    confirm: bool,
}

impl Work for Sending {
    type Tally = Counts;

    fn load(&self) -> Load {
        Load {
            // Each thread has its own sockets: they belong to the runtime that made them.
            tls: ClientTls::from_ca_pem(&self.ca_pem).expect("read once before"),
            transport: self.transport,
            nodes: self.nodes.clone(),
            stamps: self.stamps,
            size: self.size,
            confirm: self.confirm,
            counts: RefCell::new(Counts::new()),
            pages: None,
            arrivals: None,
            under_way: 1,
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
    fn per_second(&self) -> f64 {
        precise(self.counts.acks.count()) / self.seconds
    }

    fn per_thousand(&self, cpu: Option<f64>) -> Option<f64> {
        let acked = self.counts.acks.count();
        (acked > 0).then(|| cpu.map(|cpu| cpu * 1000.0 / precise(acked))).flatten()
    }

    fn json(&self, args: &BenchSend, site: &Site) -> Value {
        let mut told = json!({
            "schema": "synod/bench/v1",
            "kind": "send",
            "transport": args.load.cluster.transport.name(),
            "nodes": site.nodes.len(),
            "clients": args.load.clients,
            "readers": args.readers.name(),
            "conversations": args.conversations.unwrap_or(args.load.clients),
            "size": args.size,
            "duration_s": self.seconds,
            "rate": args.rate,
            "acked": self.counts.acks.count(),
            "acked_per_s": self.per_second(),
            "ack_ms": self.counts.acks.json(),
            "delivered": self.counts.deliveries.count(),
            "deliver_ms": self.counts.deliveries.json(),
            "errors": self.counts.errors,
        });
        for (name, cpu) in
            [("server_cpu_s_per_1000", self.server_cpu), ("client_cpu_s_per_1000", self.client_cpu)]
        {
            if let Some(cpu) = self.per_thousand(cpu) {
                told[name] = cpu.into();
            }
        }
        told
    }

    fn print(&self, args: &BenchSend) {
        let conversations = args.conversations.unwrap_or(args.load.clients);
        say!("{} clients, {conversations} conversations, {} bytes", args.load.clients, args.size);
        say!("acked     {:.0}/s   errors {}", self.per_second(), self.counts.errors);
        say!("ack       {}", self.counts.acks.words());
        say!("delivery  {}", self.counts.deliveries.words());
        for (name, cpu) in [("servers", self.server_cpu), ("this load", self.client_cpu)] {
            if let Some(cpu) = self.per_thousand(cpu) {
                say!("CPU       {cpu:.3} s per 1,000 messages by the {name}");
            }
        }
    }
}
