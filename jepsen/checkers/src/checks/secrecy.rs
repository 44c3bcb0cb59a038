//! P19, secrecy: secrets that a run planted in messages and passwords are looked for in files, logs and captures.
//! The search is here, reading the files is the harness's.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::F;
use crate::verdict::{Findings, Verdict, Violation};

/// No scan found a secret.
pub(super) struct Secrecy;

impl Check for Secrecy {
    fn name(&self) -> &'static str {
        "secrecy"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let mut findings = Findings::default();
        for op in &history.ops {
            let F::Scan { place, tokens, found, bytes } = &op.f else { continue };
            if *tokens == 0 || *bytes == 0 {
                continue;
            }
            findings.hold(found.is_empty(), || {
                let what = format!("leak: {} secrets lie open in {place}", found.len());
                Violation::new(what, [op.index])
            });
        }
        findings.verdict()
    }
}

/// Bytes of a secret that are compared first; shorter secrets are refused.
const HEAD: usize = 8;

/// Secrets to be looked for, all in one pass.
#[derive(Debug, Default)]
pub struct Secrets {
    by_head: Map<u64, Vec<Vec<u8>>>,
    /// Which pairs of bytes a secret begins with, to pass over most places quickly.
    starts: Vec<bool>,
    longest: usize,
    count: u32,
}

impl Secrets {
    /// These secrets. Those of fewer than eight bytes are left out: they would be found by chance.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Secrets {
        let mut all = Secrets { starts: vec![false; 1 << 16], ..Secrets::default() };
        for secret in secrets.into_iter().filter(|secret| secret.len() >= HEAD) {
            all.by_head.entry(head(secret)).or_default().push(secret.to_vec());
            all.starts[usize::from(u16::from_be_bytes([secret[0], secret[1]]))] = true;
            all.longest = all.longest.max(secret.len());
            all.count += 1;
        }
        all
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes by which consecutive pieces of one file have to overlap, so that nothing is missed between them.
    pub fn overlap(&self) -> usize {
        self.longest.saturating_sub(1)
    }

    /// Where in these bytes a secret begins.
    pub fn find(&self, bytes: &[u8]) -> Vec<u64> {
        let begins = |at: &usize| {
            let rest = &bytes[*at..];
            self.starts.get(usize::from(u16::from_be_bytes([rest[0], rest[1]]))) == Some(&true)
                && self
                    .by_head
                    .get(&head(rest))
                    .is_some_and(|secrets| secrets.iter().any(|s| rest.starts_with(s)))
        };
        let places = 0..(bytes.len() + 1).saturating_sub(HEAD);
        places.filter(begins).map(|at| at as u64).collect()
    }
}

fn head(bytes: &[u8]) -> u64 {
    bytes.iter().take(HEAD).fold(0, |head, byte| (head << 8) | u64::from(*byte))
}
