//! What the checkers make of a run's history, written down for people and programs. Nothing is decided here but which
//! expectations a run of which kind has.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;

use checkers::{Expectations, Faults, History, Judgement, Outcome, Verdict, export};
use serde_json::{Value, json};

/// A shard that has a quorum acknowledges again within this. Wide: the nodes share a small machine with everybody else.
const RECOVERY_NS: u64 = 20_000_000_000;
/// Violations that are written out.
const SHOWN_MAX: usize = 20;

/// What a run is expected to have done to count at all.
#[must_use]
pub fn expectations(faults: usize, ok_min: u64) -> Expectations {
    Expectations {
        ok_min,
        faults: if faults == 0 { Faults::None } else { Faults::AtLeast(1) },
        recovery_ns: RECOVERY_NS,
        ..Expectations::default()
    }
}

/// Reads a history from its lines.
///
/// # Errors
/// One sentence.
pub fn load(path: &Path) -> Result<History, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    History::read(BufReader::with_capacity(1 << 20, file)).map_err(|error| error.to_string())
}

/// Writes a whole history.
///
/// # Errors
/// One sentence.
pub fn store(history: &History, path: &Path) -> Result<(), String> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut out = std::io::BufWriter::with_capacity(1 << 20, file);
    for op in &history.ops {
        checkers::write_op(&mut out, &history.names, op).map_err(|error| error.to_string())?;
    }
    out.flush().map_err(|error| error.to_string())
}

/// The judgement as JSON.
#[must_use]
pub fn to_json(history: &History, judgement: &Judgement) -> Value {
    let checks: serde_json::Map<String, Value> = judgement
        .checks
        .iter()
        .map(|(name, verdict)| ((*name).to_owned(), check_to_json(history, verdict)))
        .collect();
    let faults: serde_json::Map<String, Value> = judgement
        .faults
        .iter()
        .map(|(name, (bit, skipped))| (name.clone(), json!({"bit": bit, "skipped": skipped})))
        .collect();
    json!({
        "schema": "synod/jepsen-verdict/v1",
        "outcome": judgement.outcome,
        "doubts": judgement.doubts,
        "operations": judgement.ops,
        "ok": judgement.ok,
        "acknowledged": judgement.acknowledged,
        "violations": judgement.violations(),
        "faults": faults,
        "checks": checks,
    })
}

fn check_to_json(history: &History, verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Valid { judged } => json!({"outcome": "valid", "judged": judged}),
        Verdict::Unknown { why } => json!({"outcome": "unknown", "why": why}),
        Verdict::Violated { violations, count } => {
            let shown = violations.iter().take(SHOWN_MAX).map(|violation| {
                let conversation = violation.conversation;
                json!({
                    "what": violation.what,
                    "operations": violation.ops,
                    "conversation": conversation.map(|c| history.names.conversation_name(c)),
                    "sequences": violation.seqs,
                })
            });
            json!({"outcome": "violated", "count": count, "violations": shown.collect::<Vec<_>>()})
        }
    }
}

/// The judgement for people.
#[must_use]
pub fn to_text(judgement: &Judgement) -> String {
    let mut text = format!(
        "{}: {} operations, {} messages acknowledged\n",
        name(judgement.outcome),
        judgement.ops,
        judgement.acknowledged
    );
    for (check, verdict) in &judgement.checks {
        match verdict {
            Verdict::Valid { judged: 0 } => {
                text.push_str(&format!("  {check}: nothing to judge\n"))
            }
            Verdict::Valid { judged } => {
                text.push_str(&format!("  {check}: valid, {judged} judged\n"))
            }
            Verdict::Unknown { why } => text.push_str(&format!("  {check}: unknown, {why}\n")),
            Verdict::Violated { violations, count } => {
                text.push_str(&format!("  {check}: VIOLATED {count} times\n"));
                for violation in violations.iter().take(5) {
                    text.push_str(&format!(
                        "    {} (operations {:?})\n",
                        violation.what, violation.ops
                    ));
                }
            }
        }
    }
    for (fault, (bit, skipped)) in &judgement.faults {
        text.push_str(&format!("  fault {fault}: bit {bit} times, skipped {skipped} times\n"));
    }
    for doubt in &judgement.doubts {
        text.push_str(&format!("  doubt: {doubt}\n"));
    }
    text
}

/// One word.
#[must_use]
pub fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Valid => "valid",
        Outcome::Unknown => "unknown",
        Outcome::Violated => "violated",
    }
}

/// Writes a history in a form that other judges read: `jsonl`, `edn`, `kafka`, `append`, `porcupine`.
///
/// # Errors
/// One sentence.
pub fn export(history: &History, form: &str, out: &mut impl std::io::Write) -> Result<(), String> {
    let written = match form {
        "jsonl" => history.write(out),
        "edn" => export::edn(history, out),
        "kafka" => export::kafka(history, out),
        "append" => export::append(history, out),
        "porcupine" => export::porcupine(history, out),
        other => return Err(format!("there is no form {other:?}")),
    };
    written.map_err(|error| error.to_string())
}
