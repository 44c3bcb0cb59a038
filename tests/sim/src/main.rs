//! The simulator's commands: one seed, many seeds, or a smaller failing plan. Reached as `cargo xtask sim`.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sim::{Plan, Report, Sweep, faults, run, shrink, sweep};

/// Whole nodes on a virtual clock, network and disk, from one seed.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    one: One,
}

#[derive(Args)]
struct One {
    /// Runs this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Leaves out these faults, by number.
    #[arg(long, value_delimiter = ',')]
    without: Vec<usize>,
    /// At most so many devices.
    #[arg(long, default_value_t = 0)]
    devices: usize,
    /// At most so many milliseconds of faults.
    #[arg(long, default_value_t = 0)]
    lasts: u64,
    /// Prints every event.
    #[arg(long)]
    trace: bool,
    /// Lists the faults first.
    #[arg(long)]
    faults: bool,
    /// Prints what the nodes log, by a filter such as `info`.
    #[arg(long)]
    log: Option<String>,
}

#[derive(Subcommand)]
enum Task {
    /// Runs many seeds and prints the line of the ledger.
    Sweep {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 200)]
        count: u64,
        /// Runs at once.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// What the line of the ledger calls this state of the code.
        #[arg(long, default_value = "working tree")]
        commit: String,
        /// A folder of kept plans that are run first.
        #[arg(long)]
        kept: Option<std::path::PathBuf>,
        /// Ends with the first violation.
        #[arg(long)]
        fail_fast: bool,
        /// Looks for a violation of which one of these words is said: good is the sweep that finds one.
        #[arg(long = "sign")]
        signs: Vec<String>,
        /// One line for each run.
        #[arg(long)]
        verbose: bool,
    },
    /// Lists the planted bugs that a sweep must catch, and the signs of each.
    Planted,
    /// Makes a failing seed small.
    Shrink {
        /// The seed.
        seed: u64,
    },
}

fn main() -> ExitCode {
    sim::prepare();
    let arguments = Arguments::parse();
    if !cfg!(tokio_unstable) {
        eprintln!("built without --cfg tokio_unstable: runs do not repeat; use `cargo xtask sim`");
    }
    match arguments.task {
        Some(Task::Sweep { from, count, jobs, commit, kept, fail_fast, signs, verbose }) => {
            let kept = kept.map_or_else(Vec::new, |folder| read_kept(&folder));
            many(&Sweep { from, count, jobs, kept, fail_fast, signs }, &commit, verbose)
        }
        Some(Task::Shrink { seed }) => smaller(seed),
        Some(Task::Planted) => {
            for (name, signs) in sim::CAUGHT {
                println!("{name}\t{}", signs.join("\t"));
            }
            ExitCode::SUCCESS
        }
        None => one(&arguments.one),
    }
}

fn one(one: &One) -> ExitCode {
    let Some(seed) = one.seed else {
        eprintln!("name a seed: --seed N; or see --help");
        return ExitCode::from(2);
    };
    if let Some(filter) = &one.log {
        tracing_subscriber::fmt().with_env_filter(filter).without_time().init();
    }
    let without = one.without.iter().copied().collect();
    let plan = Plan { seed, without, devices: one.devices, lasts_ms: one.lasts };
    if one.faults {
        faults(&plan).iter().for_each(|fault| println!("{fault}"));
    }
    let report = run(&plan, one.trace);
    print!("{report}");
    verdict(!report.is_broken())
}

fn many(what: &Sweep, commit: &str, verbose: bool) -> ExitCode {
    let ledger = sweep(what, &|report: &Report| {
        if verbose || report.is_broken() {
            print!("{report}");
        }
    });
    println!("{}", ledger.line(commit, what.from));
    let found = ledger.broken.values().any(|report| what.finds(report));
    verdict(found != what.signs.is_empty())
}

fn smaller(seed: u64) -> ExitCode {
    let plan = Plan { seed, ..Plan::default() };
    let found = shrink(&plan, &mut |report| eprint!("smaller: {report}"));
    let Some(report) = found else {
        println!("seed {seed} breaks nothing");
        return ExitCode::SUCCESS;
    };
    print!("{report}");
    println!("again: cargo xtask sim {}", arguments(&report.plan));
    for fault in faults(&report.plan) {
        let number =
            fault.split(':').next().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX);
        if !report.plan.without.contains(&number) {
            println!("  {fault}");
        }
    }
    ExitCode::from(1)
}

fn arguments(plan: &Plan) -> String {
    let mut line = format!("--seed {}", plan.seed);
    if !plan.without.is_empty() {
        let without: Vec<String> = plan.without.iter().map(ToString::to_string).collect();
        line.push_str(&format!(" --without {}", without.join(",")));
    }
    if plan.devices > 0 {
        line.push_str(&format!(" --devices {}", plan.devices));
    }
    if plan.lasts_ms > 0 {
        line.push_str(&format!(" --lasts {}", plan.lasts_ms));
    }
    line
}

/// Kept plans: one file each, whose first line has the arguments of a single run.
fn read_kept(folder: &Path) -> Vec<Plan> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| read_plan(&std::fs::read_to_string(path).ok()?)).collect()
}

fn read_plan(text: &str) -> Option<Plan> {
    let line = text.lines().find(|line| line.starts_with("--seed"))?;
    let words = std::iter::once("sim").chain(line.split_whitespace());
    let One { seed, without, devices, lasts, .. } = Arguments::try_parse_from(words).ok()?.one;
    Some(Plan { seed: seed?, without: without.into_iter().collect(), devices, lasts_ms: lasts })
}

fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
