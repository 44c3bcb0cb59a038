//! What an operator does, through the binary's own verbs: the harness claims the cluster with the secret that is in every
//! node's file, and asks from the namespace of the clients. Whatever partitions clients meet, it meets too.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::setback::{Doing as _, Setback};
use super::time::within;
use super::{Cluster, shell};

/// The secret of the claim.
const SECRET: &str = "the harness of the black box claims this cluster";
/// What the cluster's audit log calls the harness.
const NAME: &str = "jepsen";
/// An operator asks again for so long: as long as a cluster may take to have a leader again.
const ASKS_FOR: Duration = Duration::from_secs(30);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(500);

/// What nodes know of the secret: its SHA-256 in hexadecimal digits.
pub(super) fn claim() -> String {
    Sha256::digest(SECRET.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Cluster {
    /// One verb of an operator with its words, such as `node drain 2`. Repeated until it is carried out: all verbs that
    /// the harness uses may be said twice.
    ///
    /// # Errors
    /// What the verb said last.
    pub(crate) fn operate(&mut self, words: &[&str]) -> Result<Value, Setback> {
        if !self.claimed {
            self.ask(&["operator", "claim", SECRET, "--name", NAME])?;
            self.claimed = true;
        }
        let said = self.ask(words)?;
        serde_json::from_str(&said).doing(words.join(" "))
    }

    fn ask(&self, words: &[&str]) -> Result<String, Setback> {
        let mut last = Setback::new("nothing was tried");
        let mut first = 0;
        let done = within(ASKS_FOR, AGAIN, || {
            // A node that is cut off from the others answers, and cannot help.
            first += 1;
            let ended = shell::finish(self.in_client_namespace(self.verb(words, first)), None);
            ended.map_err(|setback| last = setback).ok()
        });
        done.ok_or(last)
    }

    /// The verb, which asks the nodes from the `first` on.
    fn verb(&self, words: &[&str], first: usize) -> Command {
        let mut all = self.all();
        let count = all.len();
        all.rotate_left(first % count);
        let nodes: Vec<String> =
            all.into_iter().map(|node| self.client_addr(node).to_string()).collect();
        let mut command = Command::new(&self.plan.synod);
        command.args(words).args(["--json", "--addr", &nodes.join(",")]);
        command.arg("--ca").arg(self.home.join("ca.pem"));
        command.arg("--token-file").arg(self.home.join("operator.token"));
        // What the binary remembers of clusters is not to be mixed with what people's own remember.
        command.env("HOME", &self.home).env("XDG_CONFIG_HOME", &self.home);
        command
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_claim_is_a_digest_in_hexadecimal_digits() {
        let claim = super::claim();
        assert_eq!(claim.len(), 64);
        assert!(claim.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
