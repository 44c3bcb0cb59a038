//! The one binary `synod`: starts a node, shows a cluster at work, measures it, and talks to it.
//!
//! Thin on purpose: a node is `node::run`, a client is `client::Client`; what is written here is how
//! people and scripts reach them, and the demo that breaks them in front of your eyes.

use clap::Parser as _;

#[macro_use]
mod say;
mod args;
mod backup;
mod bench;
mod bundle;
mod certs;
mod config;
mod context;
mod demo;
mod desk;
mod doctor;
mod exit;
mod inspect;
mod moving;
mod operations;
mod recover;
mod scrape;
mod seed;
mod start;
mod status;
mod talk;
mod top;
mod trace;
mod upgrade;

use args::{Backup, Bench, Command, Config, Debug, Node, Shard, Verb};
use exit::{Failure, Outcome};

/// Sessions, entries and rows are many small pieces that one thread makes and another drops, for which the system's
/// allocator pays: measured, an eighth of a loaded node's CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Enough for tools; a node brings its own threads.
const TOOL_THREADS: usize = 2;

fn main() -> std::process::ExitCode {
    let command = Command::parse();
    match run(command.verb) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("synod: {failure}");
            failure.exit.into()
        }
    }
}

fn run(verb: Verb) -> Outcome {
    match verb {
        Verb::Init(args) => desk::init(&args),
        Verb::Start(args) => start::start(&args),
        Verb::Config(Config::Check { config }) => start::check(&config),
        Verb::Config(Config::Default { json }) => config::default(json),
        Verb::Config(Config::Show { config, origin, json }) => config::show(&config, origin, json),
        Verb::Config(Config::Reload { operations, json }) => tool(config::reload(operations, json)),
        Verb::Config(Config::Schema) => config::schema(),
        Verb::Demo(args) => tool(demo::demo(args)),
        Verb::Status(args) => tool(status::status(args)),
        Verb::Health(args) => tool(status::health(args)),
        Verb::Top(args) => tool(top::top(args)),
        Verb::Doctor(args) => tool(doctor::doctor(args)),
        Verb::Inspect(args) => inspect::inspect(&args),
        Verb::Debug(Debug::Bundle(args)) => tool(bundle::bundle(args)),
        Verb::Node(Node::Ls(args)) => tool(desk::nodes(args)),
        Verb::Node(Node::Show(args)) => tool(desk::node(args)),
        Verb::Node(Node::JoinToken(args)) => tool(desk::join_token(args)),
        Verb::Node(Node::Drain(args)) => tool(moving::drain(args)),
        Verb::Node(Node::Undrain(args)) => tool(moving::undrain(args)),
        Verb::Node(Node::Decommission(args)) => tool(moving::decommission(args)),
        Verb::Node(Node::Replace(args)) => tool(moving::replace(args)),
        Verb::Operator(args) => tool(desk::operator(args)),
        Verb::Settings(args) => tool(desk::settings(args)),
        Verb::Audit(args) => tool(desk::audit(args)),
        Verb::Cert(args) => tool(certs::cert(args)),
        Verb::Upgrade(args) => tool(upgrade::upgrade(args)),
        Verb::Shard(Shard::Ls(args)) => tool(status::shards(args)),
        Verb::Backup(Backup::Now(args)) => tool(backup::now(args)),
        Verb::Backup(Backup::Ls(args)) => tool(backup::list(args)),
        Verb::Backup(Backup::Fetch(args)) => tool(backup::fetch(args)),
        Verb::Backup(Backup::Verify(args)) => backup::verify(&args),
        Verb::Restore(args) => backup::restore(&args),
        Verb::Shard(Shard::Show(args)) => tool(moving::shard(args)),
        Verb::Shard(Shard::Explain(args)) => tool(moving::explain(args)),
        Verb::Shard(Shard::Transfer(args)) => tool(moving::transfer(args)),
        Verb::Shard(Shard::Freeze(args)) => tool(moving::freeze(args)),
        Verb::Shard(Shard::Split(args)) => tool(moving::split(args)),
        Verb::Recover(args) => recover::recover(&args),
        Verb::Rebalance(args) => tool(moving::rebalance(args)),
        Verb::Register(args) => tool(talk::register(args)),
        Verb::Login(args) => tool(talk::login(args)),
        Verb::Send(args) => tool(talk::send(args)),
        Verb::History(args) => tool(talk::history(args)),
        Verb::Search(args) => tool(talk::search(args)),
        Verb::Tail(args) => tool(talk::tail(args)),
        Verb::Trace(args) => tool(trace::trace(args)),
        Verb::Bench(Bench::Send(args)) => tool(bench::send(args)),
        Verb::Bench(Bench::Fanout(args)) => tool(bench::fanout(args)),
        Verb::Bench(Bench::Connect(args)) => tool(bench::connect(args)),
        Verb::Bench(Bench::History(args)) => tool(bench::history(args)),
    }
}

/// Runs a tool to its end.
fn tool(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(TOOL_THREADS)
        .enable_all()
        .build()
        .map_err(|e| Failure::internal(format!("cannot start threads: {e}")))?;
    let outcome = runtime.block_on(work);
    // Nothing that is still being waited for may keep the process.
    runtime.shutdown_background();
    outcome
}
