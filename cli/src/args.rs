//! The command line, as clap reads it. Nothing here acts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

mod backup;
mod certs;
mod config;
mod look;
mod moving;
mod operators;
mod recover;
mod upgrade;

pub(crate) use backup::{
    Backup, BackupFetch, BackupLs, BackupNow, BackupVerify, Restore, WhichBackup,
};
pub(crate) use certs::{Cert, RotateCert};
pub(crate) use config::Config;
pub(crate) use look::{Bundle, Debug, Doctor, Inspect, Top, Trace};
pub(crate) use moving::{
    ChangeNode, Decommission, FreezeShard, OneShard, Rebalance, ReplaceNode, SplitShard,
    TransferShard,
};
pub(crate) use operators::{
    Audit, Desk, Init, MakeJoinToken, Operations, Operator, Settings, ShowNode,
};
pub(crate) use recover::{ApplyRecovery, PlanRecovery, Recover};
pub(crate) use upgrade::{FinishUpgrade, Upgrade};

/// Synod: a messenger whose conversations are consensus logs. Server, tools and client in one.
#[derive(Debug, Parser)]
#[command(name = "synod", version, arg_required_else_help = true, propagate_version = true)]
pub(crate) struct Command {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Three real nodes on this machine, bots that chat, faults, and a verdict
    Demo(Demo),
    /// Prepare the first node of a new cluster, and print what lets the others and you in
    Init(Init),
    /// Run a node
    Start(Start),
    /// A node's file: what may stand in it, whether it is good, what holds
    #[command(subcommand)]
    Config(Config),
    /// What the cluster is, node by node
    Status(Operations),
    /// Whether the cluster serves and could lose a node (exit 0, 10 unhealthy, 11 degraded)
    Health(Operations),
    /// Nodes, hot groups, links and queues, live
    Top(Top),
    /// Whether this machine will do, before and after a start (exit 0, 10 failed, 11 warnings)
    Doctor(Doctor),
    /// What lies in the data folder of a node that does not run
    Inspect(Inspect),
    /// For those who help
    #[command(subcommand)]
    Debug(Debug),
    /// Nodes
    #[command(subcommand)]
    Node(Node),
    /// Who may change the cluster
    #[command(subcommand)]
    Operator(Operator),
    /// Settings that all nodes share
    #[command(subcommand)]
    Settings(Settings),
    /// Who changed what
    #[command(subcommand)]
    Audit(Audit),
    /// Certificates of nodes, and the authority that signs them
    #[command(subcommand)]
    Cert(Cert),
    /// From one release to the next, node by node
    #[command(subcommand)]
    Upgrade(Upgrade),
    /// Shards
    #[command(subcommand)]
    Shard(Shard),
    /// Backups of the whole cluster
    #[command(subcommand)]
    Backup(Backup),
    /// Prepare a node of a new cluster with the state of a backup
    Restore(Restore),
    /// When most nodes are gone for good: go on with one that is left
    #[command(subcommand)]
    Recover(Recover),
    /// Moves of votes and leaderships
    #[command(subcommand)]
    Rebalance(Rebalance),
    /// Create a user
    Register(Register),
    /// Log in and keep the session in the context
    Login(Login),
    /// Send one message
    Send(Send),
    /// Read a conversation
    History(History),
    /// Find messages by their words
    Search(Search),
    /// Print messages as they arrive
    Tail(Tail),
    /// Where messages spent their time
    #[command(subcommand)]
    Trace(Trace),
    /// Load a cluster and measure it
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Stop after this long and print the verdict; without it the demo runs until Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) run_for: Option<Duration>,
    /// Repeat the schedule of faults and chats of this number
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// First port of the first node; node i uses ten ports from here + 10 i
    #[arg(long, default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1024..=65500))]
    pub(crate) port_base: u16,
    /// Shards of a new cluster; without it two for each core of this machine, 4 to 16
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) shards: Option<u32>,
    /// Keep everything in this folder instead of a temporary one
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Break nothing
    #[arg(long)]
    pub(crate) no_chaos: bool,
    /// Print the verdict as JSON in the last line of stdout; everything else goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The node's file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Join a cluster first, unless this node has: what `synod init` or `synod node join-token` printed, or
    /// `@FILE` that holds it
    #[arg(long, value_name = "TOKEN")]
    pub(crate) join: Option<String>,
    /// Stop when stdin ends: whoever started this node holds the other end
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
    /// When stdin ended, remove this folder: whoever made it is gone
    #[arg(long, hide = true, value_name = "DIR", requires = "until_stdin_ends")]
    pub(crate) sweep: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List the nodes
    Ls(Operations),
    /// All about one node
    Show(ShowNode),
    /// Make a token that lets nodes in
    JoinToken(MakeJoinToken),
    /// Have a node lead nothing; it keeps its votes
    Drain(ChangeNode),
    /// End a drain
    Undrain(ChangeNode),
    /// Take a node's votes away and forget it
    Decommission(Decommission),
    /// Make a token for a node that takes another's place
    Replace(ReplaceNode),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Shard {
    /// List the shards and who leads them
    Ls(Operations),
    /// All about one shard
    Show(OneShard),
    /// Why a shard stands as it does, and what to do next
    Explain(OneShard),
    /// Have another of its voters lead a shard
    Transfer(TransferShard),
    /// Keep the planner from moving a shard
    Freeze(FreezeShard),
    /// Make half of a shard one of its own, while it serves
    Split(SplitShard),
}

/// Where clients find the cluster, and as whom they come.
#[derive(Debug, Clone, Args)]
pub(crate) struct Cluster {
    /// A context: a running demo writes `demo`
    #[arg(long, value_name = "NAME", default_value = "demo")]
    pub(crate) ctx: String,
    /// Client address of a node, instead of a context; may be repeated
    #[arg(long, value_name = "HOST:PORT", requires = "ca", value_delimiter = ',')]
    pub(crate) addr: Vec<SocketAddr>,
    /// Certificate of the authority that signs the nodes
    #[arg(long, value_name = "FILE", requires = "addr")]
    pub(crate) ca: Option<PathBuf>,
    /// What `synod login` wrote; by default the session kept in the context
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How to connect
    #[arg(long, value_enum, default_value_t = Transport::Quic)]
    pub(crate) transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Quic,
    Ws,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Quic => "quic",
            Transport::Ws => "ws",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// The new user's id
    pub(crate) user: String,
    /// File that holds the password; by default the first line of stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// The user's id
    pub(crate) user: String,
    /// File that holds the password; by default the first line of stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// What this device is called
    #[arg(long, default_value = "terminal")]
    pub(crate) device: String,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// The receiver's user id
    #[arg(required_unless_present = "group")]
    pub(crate) to: Option<String>,
    /// The text; by default all of stdin
    pub(crate) text: Option<String>,
    /// Send to this group
    #[arg(long, conflicts_with = "to")]
    pub(crate) group: Option<String>,
    /// The text, where `--group` takes the receiver's place
    #[arg(long = "text", value_name = "TEXT", conflicts_with = "text")]
    pub(crate) long_text: Option<String>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// The other user, or a group's id
    pub(crate) of: String,
    /// How many messages, the newest ones
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Whatever the node has, without asking the others
    #[arg(long)]
    pub(crate) local: bool,
    /// One JSON object for each message
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Words that all have to be there; the last one may be unfinished
    #[arg(required = true)]
    pub(crate) words: Vec<String>,
    /// Only what was said with this user
    #[arg(long, value_name = "USER", conflicts_with = "group")]
    pub(crate) with: Option<String>,
    /// Only what was said in this group
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// How many messages, the newest ones
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: u32,
    /// The server's answer, one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Stop after so many messages
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// One JSON object for each message
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Send messages and measure acknowledgement and delivery
    Send(BenchSend),
    /// Send to one group whose members are all connected, and measure when each has it
    Fanout(BenchFanout),
    /// Connect many devices to one node and measure what each costs it while idle
    Connect(BenchConnect),
    /// Read pages of history
    History(BenchHistory),
}

/// What every benchmark needs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Operations port of a node on this machine, for the servers' CPU time; may be repeated
    #[arg(long = "operations", value_name = "HOST:PORT")]
    pub(crate) operations: Vec<SocketAddr>,
    /// Connections, each an authenticated device
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) clients: u32,
    #[command(flatten)]
    pub(crate) timing: Timing,
}

/// When is measured, and how it is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct Timing {
    /// How long is measured
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// How long runs before that
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub(crate) warmup: Duration,
    /// One JSON object in the last line of stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchSend {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Conversations the clients write to; as many as clients by default
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) conversations: Option<u32>,
    /// Bytes of text in each message
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) size: u32,
    /// Messages a second over all clients, however slow the answers (open loop); without it each
    /// client sends when its last message was acknowledged (closed loop)
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Receivers confirm what they received
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Which receivers are connected: one in sixteen, by which deliveries are measured, or all
    #[arg(long, default_value = "sample")]
    pub(crate) readers: Readers,
}

/// Which receivers of a benchmark are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Readers {
    /// One in sixteen.
    Sample,
    /// Everyone.
    All,
}

impl Readers {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Readers::Sample => "sample",
            Readers::All => "all",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct BenchFanout {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Operations port of a node on this machine, for the servers' CPU time; may be repeated
    #[arg(long = "operations", value_name = "HOST:PORT")]
    pub(crate) operations: Vec<SocketAddr>,
    /// Members of the group besides the sender
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1023))]
    pub(crate) members: u32,
    /// Bytes of text in each message
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) size: u32,
    /// Messages under way at once: the next one is sent when one of them is with every member (closed loop)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) under_way: u32,

    /// Messages a second, however slow the answers (open loop), instead
    #[arg(long, conflicts_with = "under_way")]
    pub(crate) rate: Option<f64>,
    /// Members confirm what they received
    #[arg(long)]
    pub(crate) confirm: bool,
    #[command(flatten)]
    pub(crate) timing: Timing,
}

#[derive(Debug, Args)]
pub(crate) struct BenchConnect {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// The node's operations port, where its memory is read
    #[arg(long = "operations", value_name = "HOST:PORT")]
    pub(crate) operations: Vec<SocketAddr>,
    /// Connections, each an authenticated device, all to the first node
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) connections: u32,
    #[command(flatten)]
    pub(crate) timing: Timing,
}

#[derive(Debug, Args)]
pub(crate) struct BenchHistory {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Pages in the conversation that is read
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) pages: u32,
    /// Messages in a page
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) page: u32,
    /// Whatever the node has, without asking the others
    #[arg(long)]
    pub(crate) local: bool,
}

/// Reads `500ms`, `30s`, `5m`, `1h`; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| format!("`{text}` is no time: try `30s`"))?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        unit => return Err(format!("`{unit}` is no unit of time: use ms, s, m or h")),
    };
    if !(0.0..=31_536_000.0).contains(&seconds) {
        return Err("a time is between 0 and a year".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("8"), Ok(Duration::from_secs(8)));
        for wrong in ["", "s", "10 parsecs", "-1s", "1d", "nan", "inf"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
