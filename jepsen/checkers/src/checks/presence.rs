//! P12, presence is eventual: what has been so for long enough, everybody who asks is told. Nothing is said of
//! moments soon after a change, of the user's links or of the faults.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::F;
use crate::verdict::{Findings, Verdict, Violation};

/// Stable presence is seen.
pub(super) struct Presence {
    /// Nanoseconds after which a change counts as stable.
    pub(super) stable_ns: u64,
}

/// A user's links.
#[derive(Clone, Copy, Debug, Default)]
struct Links {
    live: u32,
    changed: u64,
    op: u64,
}

impl Check for Presence {
    fn name(&self) -> &'static str {
        "presence"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let mut findings = Findings::default();
        let mut users = Map::<u32, Links>::default();
        let mut calm_since = 0;
        for op in &history.ops {
            match op.f {
                F::Connect { d, .. } | F::Disconnect { d, .. } => {
                    let links = users.entry(history.names.user_of(d).0).or_default();
                    let comes = matches!(op.f, F::Connect { .. });
                    links.live = if comes { links.live + 1 } else { links.live.saturating_sub(1) };
                    (links.changed, links.op) = (op.time, op.index);
                }
                F::Fault { .. } => calm_since = op.time,
                F::Presence { u, online, .. } => {
                    let Some(links) = users.get(&u.0) else { continue };
                    let since = links.changed.max(calm_since);
                    if op.time.saturating_sub(since) > self.stable_ns {
                        findings.hold(online == (links.live > 0), || {
                            let what =
                                "stale-presence: what was stable for long is not what was told";
                            Violation::new(what, [links.op, op.index])
                        });
                    }
                }
                _ => {}
            }
        }
        findings.verdict()
    }
}
