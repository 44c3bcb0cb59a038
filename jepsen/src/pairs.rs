//! Which faults came together: two whose times in place overlap and that both were seen to bite. A pair counts for the
//! campaign when a run that came out valid had it.

use std::collections::BTreeSet;

use checkers::{F, History, Phase};

use crate::ledger::Line;
use crate::nemesis::Schedule;

/// The time of one fault in place, in places of the history.
struct Stay<'h> {
    name: &'h str,
    begin: u64,
    end: u64,
    bit: bool,
}

/// Pairs that bit at the same time, as the ledger names them.
#[must_use]
pub fn of(history: &History) -> Vec<String> {
    let mut stays: Vec<Stay<'_>> = Vec::new();
    for op in &history.ops {
        let F::Fault { name, phase, .. } = &op.f else { continue };
        if *phase == Phase::Install {
            stays.push(Stay { name, begin: op.index, end: u64::MAX, bit: false });
        }
        let Some(stay) = stays.iter_mut().rfind(|stay| stay.name == name) else { continue };
        match phase {
            Phase::Installed => stay.bit = true,
            Phase::Heal => stay.end = op.index,
            Phase::Install | Phase::Skipped | Phase::Healed => {}
        }
    }
    stays.retain(|stay| stay.bit);
    let mut pairs = BTreeSet::new();
    for (place, one) in stays.iter().enumerate() {
        let later = stays[place + 1..].iter().filter(|other| other.name != one.name);
        let met = later.filter(|other| other.begin < one.end && one.begin < other.end);
        pairs.extend(met.map(|other| named(one.name, other.name)));
    }
    pairs.into_iter().collect()
}

fn named(one: &str, other: &str) -> String {
    let (first, second) = if one < other { (one, other) } else { (other, one) };
    format!("{first} + {second}")
}

/// The part of the ledger's page that says which pairs of these faults a valid run had.
#[must_use]
pub fn page(lines: &[Line], faults: &[String]) -> String {
    let valid: Vec<&Line> = lines.iter().filter(|line| line.verdict == "valid").collect();
    let together: BTreeSet<&str> =
        valid.iter().flat_map(|line| &line.pairs).map(String::as_str).collect();
    let bit = |line: &Line, fault: &String| line.faults.get(fault).is_some_and(|times| *times > 0);
    let (mut at_once, mut in_one_run, mut missing) = (0, 0, Vec::new());
    for (place, one) in faults.iter().enumerate() {
        for other in &faults[place + 1..] {
            let pair = named(one, other);
            in_one_run += usize::from(valid.iter().any(|line| bit(line, one) && bit(line, other)));
            if together.contains(pair.as_str()) {
                at_once += 1;
            } else {
                missing.push(pair);
            }
        }
    }
    let all = Schedule::pairs(faults.len());
    let mut page = format!(
        "\n## Pairs of the {} most dangerous faults\n\nOf {all} pairs {at_once} bit at the same moment of a valid run, \
         {in_one_run} at some time of one. Runs before pairs were written down count for the second figure alone.\n",
        faults.len()
    );
    if !missing.is_empty() {
        page.push_str(&format!("\nNever at the same moment: {}.\n", missing.join(", ")));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkers::Recorder;

    #[test]
    fn a_pair_is_two_faults_that_both_bit_while_both_were_there() {
        let tape = Recorder::new();
        let say = |time, name, phase| {
            tape.fault(time, name, "", phase, true);
        };
        say(1, "ring", Phase::Install);
        say(2, "kill", Phase::Install);
        say(3, "kill", Phase::Installed);
        say(4, "delay", Phase::Install);
        say(5, "delay", Phase::Skipped);
        say(6, "kill", Phase::Heal);
        // Seen to bite at last, when it is about to go.
        say(7, "ring", Phase::Installed);
        say(8, "pause", Phase::Install);
        say(9, "ring", Phase::Heal);
        say(10, "pause", Phase::Installed);
        say(11, "kill", Phase::Install);
        say(12, "pause", Phase::Heal);
        say(13, "kill", Phase::Skipped);
        say(14, "kill", Phase::Heal);
        assert_eq!(of(&tape.finish()), ["kill + ring", "pause + ring"]);
    }

    #[test]
    fn the_page_names_the_pairs_that_no_valid_run_had() {
        let line = |verdict: &str, pairs: &[&str]| {
            let text = format!(
                r#"{{"at":1,"commit":"","binary":"","scenario":"","seed":1,"faults":{{"kill":1,"ring":1}},"fault_seconds":1,
                "seconds":1,"operations":1,"acknowledged":1,"acknowledged_per_second":1,"verdict":"{verdict}","pairs":{}}}"#,
                serde_json::to_string(pairs).expect("words")
            );
            serde_json::from_str::<Line>(&text).expect("a line")
        };
        let faults = ["kill", "ring", "delay"].map(str::to_owned);
        let lines = [line("valid", &["kill + ring"]), line("violated", &["delay + ring"])];
        let page = page(&lines, &faults);
        assert!(page.contains("Of 3 pairs 1 bit at the same moment"), "{page}");
        assert!(page.contains("Never at the same moment: delay + kill, delay + ring."), "{page}");
    }
}
