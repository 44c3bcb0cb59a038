//! P12, presence is eventual: what has been so for long enough, everybody who asks is told. Nothing is said of
//! moments soon after a change, of the user's links or of the faults, and of those in which a fault is in place: whoever is
//! linked to a node that nobody hears is there for nobody.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{F, Phase};
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
        let mut in_place = Map::<&str, u32>::default();
        for op in &history.ops {
            match op.f {
                F::Connect { d, .. } | F::Disconnect { d, .. } => {
                    let links = users.entry(history.names.user_of(d).0).or_default();
                    let comes = matches!(op.f, F::Connect { .. });
                    links.live = if comes { links.live + 1 } else { links.live.saturating_sub(1) };
                    (links.changed, links.op) = (op.time, op.index);
                }
                F::Fault { ref name, phase, .. } => {
                    calm_since = op.time;
                    let count = in_place.entry(name).or_default();
                    match phase {
                        Phase::Install => *count += 1,
                        Phase::Skipped | Phase::Healed => *count = count.saturating_sub(1),
                        Phase::Installed | Phase::Heal => {}
                    }
                }
                F::Presence { u, online, .. } if in_place.values().all(|count| *count == 0) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Recorder;
    use crate::verdict::Outcome;

    fn told_offline(heals: bool) -> Outcome {
        let tape = Recorder::new();
        let (d, u) = (tape.device("alice", "1"), tape.user("alice"));
        tape.saw(1, 1, F::Connect { d, link: 1 });
        tape.fault(2, "isolate", "", Phase::Install, true);
        tape.fault(3, "isolate", "", Phase::Installed, true);
        if heals {
            tape.fault(4, "isolate", "", Phase::Heal, true);
            tape.fault(5, "isolate", "", Phase::Healed, true);
        }
        tape.saw(100, 2, F::Presence { observer: d, u, online: false });
        Presence { stable_ns: 50 }.check(&tape.finish()).outcome()
    }

    #[test]
    fn who_is_there_and_told_to_be_away_is_wronged_unless_a_fault_is_in_place() {
        assert_eq!(told_offline(true), Outcome::Violated);
        assert_ne!(told_offline(false), Outcome::Violated);
    }
}
