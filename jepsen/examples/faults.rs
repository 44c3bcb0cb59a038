//! Tries every fault against a real cluster and prints what was seen: `faults [--nodes N] SYNOD [FAULT …]`, as root.
//! With `--mix SEED` instead of names, a nemesis breaks an idle cluster for three minutes with a mix of everything, quorum or not.

use std::process::ExitCode;
use std::time::Duration;

use jepsen::cluster::{Cluster, Plan, interrupts};
use jepsen::nemesis::{Fault, Mode, Nemesis, Terms, catalogue, doctor, named, try_each};

fn main() -> ExitCode {
    for finding in doctor() {
        println!("{:<34} {}", finding.mechanism, finding.missing.as_deref().unwrap_or("works"));
    }
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut nodes = 3;
    if words.first().is_some_and(|word| word == "--nodes") {
        nodes = words[1].parse().expect("a number of nodes");
        words.drain(..2);
    }
    let Some(synod) = words.first() else {
        println!("usage: faults [--nodes N] SYNOD [FAULT …]");
        return ExitCode::from(3);
    };
    let seed =
        words.iter().skip_while(|word| *word != "--mix").nth(1).and_then(|word| word.parse().ok());
    let faults = match &words[1..] {
        [] => Ok(catalogue()),
        [mix, ..] if mix == "--mix" => Ok(catalogue()),
        names => {
            let find = |name: &String| named(name).ok_or_else(|| format!("no fault `{name}`"));
            names.iter().map(find).collect()
        }
    };
    let mut plan = Plan::new(synod, format!("f{}", std::process::id()));
    plan.nodes = nodes;
    let raised = faults.and_then(|faults| {
        Cluster::raise(&plan).map(|cluster| (cluster, faults)).map_err(|error| error.to_string())
    });
    let (mut cluster, faults) = match raised {
        Ok(raised) => raised,
        Err(error) => {
            println!("{error}");
            return ExitCode::from(3);
        }
    };
    println!("raised in {}", cluster.home().display());
    if let Some(seed) = seed {
        return mix(cluster, faults, seed);
    }
    let trials = try_each(&mut cluster, faults, 1, &mut |trial| {
        let (installed, bit) = (&trial.installed, &trial.bit);
        println!(
            "{:<20} {installed:?}\n{:<20} bit after {:?}: {bit:?}\n{:<20} healed after {:?}: {:?}",
            trial.name, "", trial.bit_after, "", trial.healed_after, trial.healed
        );
    });
    let bitten = trials.iter().filter(|trial| trial.bit.is_ok()).count();
    println!(
        "{bitten} of {} bit; {} nodes ended by themselves",
        trials.len(),
        cluster.ends().len()
    );
    for end in cluster.ends() {
        println!("n{} {}: {}", end.node, end.status, end.last.lines().last().unwrap_or_default());
    }
    cluster.teardown();
    ExitCode::SUCCESS
}

fn mix(mut cluster: Cluster, faults: Vec<Box<dyn Fault>>, seed: u64) -> ExitCode {
    let period = Duration::from_secs(12);
    let terms = Terms { nodes: cluster.nodes(), keep_quorum: false, period, length: period * 15 };
    let stop = interrupts().expect("this process may listen to signals");
    let nemesis = Nemesis::schedule(seed, faults, Mode::Mix, &terms);
    let sum = nemesis.run(&mut cluster, &stop, &mut |deed| {
        println!(
            "{:>12} {:<20} {:?} {}",
            deed.at_ns / 1_000_000,
            deed.fault,
            deed.phase,
            deed.detail
        );
    });
    println!("{sum:?}");
    cluster.teardown();
    if sum.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(3) }
}
