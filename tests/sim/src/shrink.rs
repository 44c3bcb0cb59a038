//! A smaller plan that breaks the same promise: without faults, then with fewer devices, then shorter.

use crate::run::{Report, faults, run};
use crate::swarm::Plan;

/// Runs that a shrinking may cost.
const RUNS_MAX: usize = 200;

/// Makes a failing plan small. Tells of each success.
pub fn shrink(plan: &Plan, tell: &mut dyn FnMut(&Report)) -> Option<Report> {
    let first = run(plan, false);
    if !first.is_broken() {
        return None;
    }
    let mut best = first;
    let mut runs = 0;
    let mut attempt = |best: &mut Report, smaller: Plan| {
        runs += 1;
        if runs > RUNS_MAX || smaller == best.plan {
            return false;
        }
        let report = run(&smaller, false);
        let same = report.is_broken() && kind(&report) == kind(best);
        if same {
            tell(&report);
            *best = report;
        }
        same
    };
    // Halves first, then one by one.
    let all: Vec<usize> =
        (0..faults(plan).len()).filter(|fault| !plan.without.contains(fault)).collect();
    let mut size = all.len().div_ceil(2);
    while size > 0 {
        for some in all.chunks(size) {
            let mut smaller = best.plan.clone();
            smaller.without.extend(some);
            attempt(&mut best, smaller);
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    for devices in 2..6 {
        let smaller = Plan { devices, ..best.plan.clone() };
        if attempt(&mut best, smaller) {
            break;
        }
    }
    for lasts_ms in [500, 1000, 2000, 4000, 8000] {
        let smaller = Plan { lasts_ms, ..best.plan.clone() };
        if attempt(&mut best, smaller) {
            break;
        }
    }
    Some(best)
}

/// Which promise was broken: the name of the first finding, without times and numbers.
fn kind(report: &Report) -> String {
    let first = report.broken.first().map_or("", String::as_str);
    let words = first.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 2);
    words.take(4).collect::<Vec<_>>().join(" ")
}
