//! P13, assets are durable at their acknowledgement: later the same bytes come or it is said that they are gone,
//! never others, never a part; and no message refers to what was never stored.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::{F, Kind};
use crate::verdict::{Findings, Verdict, Violation};

/// Stored bytes stay.
pub(super) struct Media;

impl Check for Media {
    fn name(&self) -> &'static str {
        "media"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let mut findings = Findings::default();
        let mut stored = Map::<u32, (u64, u64)>::default();
        for op in &history.ops {
            if let F::Upload { asset, h } = op.f
                && op.kind == Kind::Ok
            {
                stored.insert(asset, (h, op.index));
            }
        }
        for op in &history.ops {
            match op.f {
                F::Fetch { asset, h, gone, last } => {
                    let Some(&(hash, by)) = stored.get(&asset) else { continue };
                    let other = op.kind == Kind::Ok && !gone && h != hash;
                    findings.hold(!other, || {
                        Violation::new(
                            "other-bytes: an asset is not what was stored",
                            [by, op.index],
                        )
                    });
                    let lost = last && op.kind == Kind::Fail && !gone && by < op.index;
                    findings.hold(!lost, || {
                        Violation::new(
                            "lost-asset: an acknowledged asset cannot be read",
                            [by, op.index],
                        )
                    });
                }
                F::Mention { c, seq, asset } => findings.hold(stored.contains_key(&asset), || {
                    let what =
                        "dangling: a stored message refers to an asset that was never acknowledged";
                    Violation::new(what, [op.index]).at(c, [seq])
                }),
                _ => {}
            }
        }
        findings.verdict()
    }
}
