//! What the demo says at its end: one line of JSON for programs, a few lines for people.

use serde_json::{Value, json};

use super::{
    board::Board,
    paint::{Paint, Tone},
    verdict::{Run, Verdict},
    view::counted,
};

/// What a run came to.
pub(crate) struct Report<'a> {
    pub(crate) board: &'a Board,
    pub(crate) verdict: Verdict,
    pub(crate) run: Run,
    /// Why it ended early, if it did.
    pub(crate) failure: Option<&'a str>,
}

impl Report<'_> {
    fn word(&self) -> &'static str {
        match (self.failure, self.verdict) {
            (Some(_), _) | (None, Verdict::Fail) => "fail",
            (None, Verdict::Pass) => "pass",
            (None, Verdict::Incomplete(_)) => "incomplete",
        }
    }

    /// The object of the contract; further fields say more.
    pub(crate) fn json(&self) -> Value {
        let board = self.board;
        let found = &board.findings;
        let faults: Vec<Value> = board
            .faults
            .iter()
            .enumerate()
            .map(|(number, fault)| {
                json!({
                    "kind": fault.kind.name(),
                    "node": fault.node,
                    "at_ms": millis(fault.at),
                    "send_stall_ms": millis(board.stalls.longest(number)),
                    "led": fault.led,
                    "held": fault.held,
                })
            })
            .collect();
        let why = match (self.failure, self.verdict) {
            (Some(failure), _) => Some(failure),
            (None, Verdict::Incomplete(why)) => Some(why),
            _ => None,
        };
        json!({
            "schema": "synod/demo-verdict/v1",
            "sent": board.sent,
            "acked": board.acked,
            "refused": board.refused,
            "delivered": board.delivered,
            "verified": board.verified,
            "lost": found.lost,
            "duplicated": found.duplicated,
            "reordered": found.reordered,
            "undelivered": found.undelivered,
            "phantom": found.phantom,
            "unanswered": found.open,
            "crashes": board.crashes,
            "faults": faults,
            "ack_ms": {
                "p50": board.wait(50).as_secs_f64() * 1000.0,
                "p99": board.wait(99).as_secs_f64() * 1000.0,
            },
            "examples": found.examples,
            "seed": board.seed,
            "why": why,
            "verdict": self.word(),
        })
    }

    /// A few lines.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let board = self.board;
        let found = &board.findings;
        let worst = (0..board.faults.len()).map(|n| board.stalls.longest(n)).max();
        let mut lines = vec![
            String::new(),
            format!(
                " {} sent, {} acknowledged, {} deliveries; {} messages compared with {} histories",
                board.sent, board.acked, board.delivered, board.verified, self.run.shelves
            ),
        ];
        if let Some(worst) = worst {
            let (faults, worst) = (counted(board.faults.len(), "fault"), worst.as_millis());
            lines.push(format!(" {faults}; the slowest send around them waited {worst} ms"));
        }
        lines.push(format!(
            " lost {}   duplicated {}   reordered {}   undelivered {}",
            found.lost, found.duplicated, found.reordered, found.undelivered
        ));
        for (count, what) in [
            (found.phantom, "stored although refused or never sent"),
            (found.open, "sends never answered"),
            (board.crashes as u64, "nodes that ended by themselves"),
        ] {
            if count > 0 {
                lines.push(paint.paint(Tone::Bad, &format!(" {count} {what}")));
            }
        }
        lines.extend(found.examples.iter().map(|example| format!("   {example}")));
        if let Some(failure) = self.failure {
            lines.push(format!(" {failure}"));
        }
        let (tone, word) = match self.word() {
            "pass" => (
                Tone::Good,
                "pass: everything that was acknowledged is everywhere, once, in order".to_owned(),
            ),
            "fail" => (Tone::Bad, "FAIL".to_owned()),
            _ => match self.verdict {
                Verdict::Incomplete(why) => (Tone::Warning, format!("incomplete: {why}")),
                _ => (Tone::Warning, "incomplete".to_owned()),
            },
        };
        lines.push(format!(" {}   seed {}", paint.paint(tone, &word), board.seed));
        lines
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::{
        board::{NodeLine, NodeState},
        plan::Kind,
    };

    #[test]
    fn the_last_line_is_what_the_contract_says() {
        let mut board = Board::new(42, true, None);
        board.nodes.push(NodeLine {
            id: 1,
            state: NodeState::Serving,
            leads: 3,
            shards: 17,
            links: 0,
            address: String::new(),
        });
        let fault = board.fault(Kind::Kill, 0, Duration::from_secs(2)).expect("the first");
        board.acked(Duration::from_secs(2), Duration::from_millis(2400));
        board.fault_over(fault, Duration::from_secs(4));
        board.sent = 1;
        let report =
            Report { board: &board, verdict: Verdict::Pass, run: Run::default(), failure: None };
        let said = report.json();
        for (field, value) in [
            ("schema", json!("synod/demo-verdict/v1")),
            ("sent", json!(1)),
            ("acked", json!(1)),
            ("lost", json!(0)),
            ("duplicated", json!(0)),
            ("reordered", json!(0)),
            ("undelivered", json!(0)),
            ("seed", json!(42)),
            ("verdict", json!("pass")),
        ] {
            assert_eq!(said[field], value, "{field}");
        }
        assert_eq!(said["faults"][0]["kind"], "kill");
        assert_eq!(said["faults"][0]["node"], 1);
        assert_eq!(said["faults"][0]["at_ms"], 2000);
        assert_eq!(said["faults"][0]["send_stall_ms"], 400);
        let failed = Report { failure: Some("no quorum"), ..report };
        assert_eq!(failed.json()["verdict"], "fail");
    }
}
