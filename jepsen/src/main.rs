//! `cargo run --release -p jepsen -- …`: the black box from the command line. Exit 0 valid, 1 violated, 2 unknown,
//! 3 the harness failed. What each verb does is said in the library; here are only words.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use jepsen::campaign::Campaign;
use jepsen::lifecycle::Lifecycle;
use jepsen::matrix::{Matrix, Place};
use jepsen::run::Failure;
use jepsen::scenario::Scenario;
use jepsen::{canary, ledger, page, verdict};

/// Breaks real Synod processes from outside and judges what their clients saw.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Where {
    /// The binary to break; by default the one beside this program.
    #[arg(long)]
    synod: Option<PathBuf>,
    /// Where folders of runs go.
    #[arg(long, default_value = "target/jepsen")]
    runs: PathBuf,
    /// Keep the histories of runs that held, too.
    #[arg(long)]
    keep: bool,
    /// Write nothing into the ledger.
    #[arg(long)]
    off_the_record: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs one scenario.
    Run {
        /// Its name in `jepsen/scenarios`, or a file.
        scenario: String,
        /// What repeats it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds of faults instead of the scenario's.
        #[arg(long)]
        seconds: Option<u64>,
        #[command(flatten)]
        at: Where,
    },
    /// Runs all scenarios of a tier.
    Matrix {
        /// `ci`, `night`, `power`, `rot`.
        #[arg(long, default_value = "ci")]
        tier: String,
        /// The first seed; the others follow it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        at: Where,
    },
    /// Judges a history again.
    Check {
        /// A file of JSON lines.
        history: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Runs again what a run's folder says.
    Replay {
        /// The folder of a run.
        run: PathBuf,
        #[command(flatten)]
        at: Where,
    },
    /// Writes a history for other judges.
    Export {
        /// A file of JSON lines.
        history: PathBuf,
        /// `jsonl`, `edn`, `kafka`, `append`, `porcupine`.
        #[arg(long, default_value = "edn")]
        form: String,
        /// Where to; standard output when not said.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Writes the page of all runs, or of one.
    Report {
        /// The folder of a run; all runs when not said.
        run: Option<PathBuf>,
    },
    /// Builds a binary with planted bugs, or takes the one that `--synod` names, and runs what should catch each.
    Canary {
        /// Only this one.
        #[arg(long)]
        only: Option<String>,
        #[command(flatten)]
        at: Where,
    },
    /// Says which faults work on this machine.
    Doctor,
    /// Repeats the demonstration with consecutive seeds; needs no root.
    Demo {
        /// The binary to break; by default the one beside this program.
        #[arg(long)]
        synod: Option<PathBuf>,
        /// How many runs.
        #[arg(long, default_value_t = 10)]
        runs: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds of chat in each run.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// First port.
        #[arg(long, default_value_t = 7600)]
        port_base: u16,
    },
    /// Grows, drains, replaces, shrinks and kills a cluster under load, and measures what clients see; needs no root.
    Lifecycle {
        /// The binary to live with; by default the one beside this program.
        #[arg(long)]
        synod: Option<PathBuf>,
        /// Seconds before each step that it is compared with.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Nodes that are killed at the end, one after the other.
        #[arg(long, default_value_t = 30)]
        kills: u32,
        /// Times that an operator hands a shard over.
        #[arg(long, default_value_t = 20)]
        handovers: u32,
        /// Do nothing but hand over.
        #[arg(long)]
        only_handovers: bool,
        /// Messages a second; half of what the cluster can take when not said.
        #[arg(long)]
        rate: Option<f64>,
        /// First port.
        #[arg(long, default_value_t = 7800)]
        port_base: u16,
    },
    /// The process of the clients; started by a run.
    #[command(hide = true)]
    Clients {
        /// What it is to do.
        plan: PathBuf,
    },
}

/// What a verb ends with when it is no verdict.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    match act(Arguments::parse().verb) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(FAILED)
        }
    }
}

fn act(verb: Verb) -> Result<u8, String> {
    match verb {
        Verb::Run { scenario, seed, seconds, at } => {
            let mut scenario = find(&scenario)?;
            scenario.fault_seconds = seconds.unwrap_or(scenario.fault_seconds);
            matrix(&at)?.run_one(scenario, seed)
        }
        Verb::Matrix { tier, seed, at } => matrix(&at)?.run_tier(&scenarios()?, &tier, seed),
        Verb::Check { history, json } => check(&history, json),
        Verb::Replay { run, at } => {
            let (scenario, seed) = jepsen::run::options_of(&run)?;
            matrix(&at)?.run_one(scenario, seed)
        }
        Verb::Export { history, form, out } => export(&history, &form, out.as_deref()),
        Verb::Report { run: Some(run) } => report(&run),
        Verb::Report { run: None } => {
            let page = ledger::render(&project()).map_err(|error| error.to_string())?;
            println!("{}", page.display());
            Ok(0)
        }
        Verb::Canary { only, at } => {
            let planted = match &at.synod {
                Some(named) => named.canonicalize().map_err(|error| error.to_string())?,
                None => canary::build(&project())?,
            };
            let matrix = matrix(&Where { synod: Some(planted.clone()), ..at })?;
            canary::run(&project(), &scenarios()?, &matrix, &planted, only.as_deref())
        }
        Verb::Doctor => Ok(doctor()),
        Verb::Demo { synod, runs, seed, seconds, port_base } => {
            let synod = binary(synod)?;
            let campaign = Campaign { synod: &synod, runs, seed, seconds, port_base };
            let tally = campaign.run(|line| println!("{line}"));
            println!("{tally}");
            Ok(tally.code())
        }
        Verb::Lifecycle { synod, seconds, kills, handovers, only_handovers, rate, port_base } => {
            let synod = binary(synod)?;
            let synod = synod.as_path();
            let life =
                Lifecycle { synod, seconds, kills, handovers, only_handovers, rate, port_base };
            let tale = life.run(|line| println!("{line}"))?;
            println!("{tale}");
            Ok(tale.code())
        }
        Verb::Clients { plan } => jepsen::clients::run(&plan).map(|()| 0),
    }
}

fn matrix(at: &Where) -> Result<Matrix, String> {
    let place = Place {
        synod: binary(at.synod.clone())?,
        runs: at.runs.clone(),
        project: project(),
        keep: at.keep,
        on_record: !at.off_the_record,
    };
    Matrix::new(place).map_err(|failure: Failure| failure.to_string())
}

/// The project is where this program was built from, wherever it is called.
fn project() -> PathBuf {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    room.parent().unwrap_or(room).to_owned()
}

fn scenarios() -> Result<Vec<Scenario>, String> {
    let folder = project().join("jepsen/scenarios");
    Scenario::all(&folder).map_err(|error| error.to_string())
}

fn find(name: &str) -> Result<Scenario, String> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension == "toml") {
        return Scenario::load(path).map_err(|error| error.to_string());
    }
    let found = scenarios()?.into_iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| format!("there is no scenario {name:?} in jepsen/scenarios"))
}

fn binary(named: Option<PathBuf>) -> Result<PathBuf, String> {
    let beside = || std::env::current_exe().ok().map(|exe| exe.with_file_name("synod"));
    let path = named.or_else(beside).ok_or("name the binary with --synod")?;
    match path.is_file() {
        true => Ok(path),
        false => Err(format!(
            "{} is not there: cargo build --release -p synod, or name it with --synod",
            path.display()
        )),
    }
}

fn check(path: &Path, json: bool) -> Result<u8, String> {
    let history = verdict::load(path)?;
    let judgement = checkers::judge(&history, &verdict::expectations(0, 1));
    match json {
        true => println!("{}", verdict::to_json(&history, &judgement)),
        false => print!("{}", verdict::to_text(&judgement)),
    }
    Ok(judgement.exit_code())
}

fn export(history: &Path, form: &str, out: Option<&Path>) -> Result<u8, String> {
    let history = verdict::load(history)?;
    match out {
        Some(path) => {
            let mut file = std::fs::File::create(path).map_err(|error| error.to_string())?;
            verdict::export(&history, form, &mut file)?;
        }
        None => verdict::export(&history, form, &mut std::io::stdout().lock())?,
    }
    Ok(0)
}

fn report(run: &Path) -> Result<u8, String> {
    let history = verdict::load(&run.join("history.jsonl"))?;
    let judgement = checkers::judge(&history, &verdict::expectations(0, 1));
    page::write(&history, &judgement, run)?;
    println!("{}", run.join("report.html").display());
    Ok(0)
}

fn doctor() -> u8 {
    let findings = jepsen::nemesis::doctor();
    for finding in &findings {
        match &finding.missing {
            None => println!("works    {:<24} {}", finding.mechanism, finding.faults),
            Some(missing) => {
                println!("missing  {:<24} {}: {missing}", finding.mechanism, finding.faults);
            }
        }
    }
    0
}
