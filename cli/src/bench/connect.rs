//! `synod bench connect`: many connections to one node that do nothing. What each costs the node in memory, and all of
//! them in CPU time.
//!
//! Each connection is a device of its own. The node's memory is read after the accounts are made and before the first
//! connection, and again after all have been idle: what password hashing left behind is in both.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};
use transport::{ClientTls, http};

use super::{
    accounts::Office,
    crew::{Crew, Work},
    driver::{Load, Seat},
    measure::{Counts, Window, precise},
    site::Site,
    wire::Stamps,
};
use crate::{
    args::{BenchConnect, Transport},
    exit::{Exit, Failure, Outcome},
    operations,
};

/// Between two looks at the node's memory while it gives back what hashing passwords took.
const LOOK: Duration = Duration::from_secs(1);
/// Memory that was at its lowest for so many looks has settled.
const LOOKS_MIN: u32 = 8;
/// It is waited for no longer than this many looks.
const LOOKS_MAX: u32 = 90;
/// How long a connection is held beyond the window, while the node is asked what it spent.
const HOLD: Duration = Duration::from_secs(2);

/// Runs the benchmark and prints what it measured.
pub(crate) async fn connect(args: BenchConnect) -> Outcome {
    let site = Site::of(&args.cluster, &args.operations).await?;
    let (Some(node), Some(operations)) = (site.nodes.first(), site.operations.first()) else {
        return Err(Failure::usage(
            "the node's memory is read at its operations port: name it with --operations",
        ));
    };
    let tls = ClientTls::from_ca_pem(&site.ca_pem).map_err(Failure::usage)?;
    let office = Office::new(http::Client::new(tls), &site.nodes);
    let connections = args.connections as usize;
    eprintln!("signing in {connections} devices on {} nodes", site.nodes.len());
    let mut accounts = office.devices(connections).await?;
    let signed_in = accounts.clone();
    accounts.iter_mut().for_each(|account| account.node = *node);
    let seats = accounts
        .into_iter()
        .map(|account| Seat { account, writes: Vec::new(), beats: None })
        .collect();
    let idle =
        Idle { ca_pem: site.ca_pem.clone(), transport: args.cluster.transport, nodes: vec![*node] };
    let measured = measure(&args, *operations, idle, seats).await;
    office.close(&signed_in).await;
    let measured = measured?;
    if args.timing.json {
        say!("{}", measured.json(&args));
    } else {
        measured.print(&args);
    }
    Ok(if measured.lost == 0 { Exit::Ok } else { Exit::Partial })
}

/// What one run measured.
struct Measured {
    /// From the first dial to the last welcome.
    connecting: Duration,
    /// Resident bytes of the node before the first connection and with all of them.
    memory: (f64, f64),
    /// CPU seconds of the node while all were idle.
    cpu: f64,
    seconds: f64,
    /// Connections that ended while they should have been idle.
    lost: u64,
}

async fn measure(
    args: &BenchConnect,
    operations: SocketAddr,
    idle: Idle,
    seats: Vec<Seat>,
) -> Result<Measured, Failure> {
    eprintln!("waiting until the node has given back what signing in took");
    let memory_before = settled_memory(operations).await?;
    let began = Instant::now();
    let crew = Crew::start(vec![(idle, seats)])?;
    let crew = tokio::task::spawn_blocking(move || crew.connected())
        .await
        .map_err(Failure::internal)??;
    let connecting = began.elapsed();
    let window = Window::starting_in(args.timing.warmup, args.timing.duration);
    crew.go(window);
    tokio::time::sleep_until(window.from).await;
    let cpu_before = metric(operations, "process_cpu_seconds_total ").await?;
    tokio::time::sleep_until(window.until).await;
    let cpu_after = metric(operations, "process_cpu_seconds_total ").await?;
    let memory_after = metric(operations, "process_resident_memory_bytes ").await?;
    let tallies =
        tokio::task::spawn_blocking(move || crew.finish()).await.map_err(Failure::internal)??;
    Ok(Measured {
        connecting,
        memory: (memory_before, memory_after),
        cpu: cpu_after - cpu_before,
        seconds: window.seconds(),
        lost: tallies.iter().map(|tally| tally.errors).sum(),
    })
}

/// Resident bytes once they fall no more.
async fn settled_memory(operations: SocketAddr) -> Result<f64, Failure> {
    let (mut lowest, mut looks) = (f64::INFINITY, 0);
    for _ in 0..LOOKS_MAX {
        let bytes = metric(operations, "process_resident_memory_bytes ").await?;
        looks = if bytes < lowest { 0 } else { looks + 1 };
        lowest = lowest.min(bytes);
        if looks == LOOKS_MIN {
            break;
        }
        sleep(LOOK).await;
    }
    Ok(lowest)
}

async fn metric(operations: SocketAddr, name: &str) -> Result<f64, Failure> {
    let read = operations::metric(operations, name).await;
    read.map_err(|error| Failure::unavailable(format!("{operations}: {error}")))
}

/// What the thread needs to hold its connections.
struct Idle {
    ca_pem: Vec<u8>,
    transport: Transport,
    nodes: Vec<SocketAddr>,
}

impl Work for Idle {
    type Tally = Counts;

    fn load(&self) -> Load {
        Load {
            tls: ClientTls::from_ca_pem(&self.ca_pem).expect("read once before"),
            transport: self.transport,
            nodes: self.nodes.clone(),
            stamps: Stamps::new(),
            size: 0,
            confirm: false,
            counts: RefCell::new(Counts::new()),
            pages: None,
            arrivals: None,
            under_way: 1,
            arrived: Notify::new(),
        }
    }

    /// Holds the connection to the end of the window: reads, says nothing of itself.
    async fn drive(load: Rc<Load>, _seat: Seat, mut link: transport::Link, window: Window) {
        while let Ok(frame) = timeout_at(window.until + HOLD, link.reader.next()).await {
            if !matches!(frame, Ok(Some(_))) {
                load.counts.borrow_mut().errors += 1;
                return;
            }
        }
    }

    fn tally(load: Load) -> Counts {
        load.counts.into_inner()
    }
}

impl Measured {
    fn memory_per_connection(&self, connections: u32) -> f64 {
        (self.memory.1 - self.memory.0) / precise(u64::from(connections))
    }

    fn json(&self, args: &BenchConnect) -> Value {
        json!({
            "schema": "synod/bench/v1",
            "kind": "connect",
            "transport": args.cluster.transport.name(),
            "connections": args.connections,
            "connect_s": self.connecting.as_secs_f64(),
            "connected_per_s": precise(u64::from(args.connections)) / self.connecting.as_secs_f64(),
            "server_memory_bytes": { "before": self.memory.0, "after": self.memory.1 },
            "memory_bytes_per_connection": self.memory_per_connection(args.connections),
            "idle_s": self.seconds,
            "server_cpu_cores": self.cpu / self.seconds,
            "errors": self.lost,
        })
    }

    fn print(&self, args: &BenchConnect) {
        let kib = self.memory_per_connection(args.connections) / 1024.0;
        let all = self.connecting.as_secs_f64();
        say!("{} connections to one node in {all:.1} s", args.connections);
        say!("memory    {kib:.1} KiB each");
        say!("CPU       {:.2} % of a core for all of them", 100.0 * self.cpu / self.seconds);
        say!("errors    {}", self.lost);
    }
}
