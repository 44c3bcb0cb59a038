//! `synod doctor`: whether this machine will do, before and after a start. Each check that fails names what to do.

mod certificates;
mod disk;
mod network;

use std::path::Path;

use node::config::Config;
use serde_json::{Value, json};

use crate::{
    args::Doctor,
    exit::{Exit, Failure, Outcome},
    start,
};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Ok,
    Skipped,
    Warning,
    Failed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Skipped => "skipped",
            State::Warning => "warning",
            State::Failed => "failed",
        }
    }
}

/// One check: what was found and, where it is not well, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) state: State,
    pub(crate) found: String,
    pub(crate) fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, state: State::Ok, found: found.into(), fix: None }
    }

    fn skipped(name: &'static str, why: impl Into<String>) -> Check {
        Check { name, state: State::Skipped, found: why.into(), fix: None }
    }

    fn warning(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, state: State::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    fn failed(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, state: State::Failed, found: found.into(), fix: Some(fix.into()) }
    }

    pub(crate) fn json(&self) -> Value {
        let Check { name, state, found, fix } = self;
        json!({ "check": name, "state": state.word(), "found": found, "fix": fix })
    }
}

/// `synod doctor`.
pub(crate) async fn doctor(args: Doctor) -> Outcome {
    let checks = checks(args.config.as_deref(), &args.operations).await?;
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Ok);
    if args.json {
        say!("{}", json(&checks));
    } else {
        for check in &checks {
            say!("{:<8} {:<13} {}", check.state.word(), check.name, check.found);
            if let Some(fix) = &check.fix {
                say!("{:<22} → {fix}", "");
            }
        }
    }
    Ok(match worst {
        State::Ok | State::Skipped => Exit::Ok,
        State::Warning => Exit::Degraded,
        State::Failed => Exit::Unhealthy,
    })
}

/// All checks as one object.
pub(crate) fn json(checks: &[Check]) -> Value {
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Ok);
    let checks: Vec<Value> = checks.iter().map(Check::json).collect();
    json!({ "schema": "synod/doctor/v1", "worst": worst.word(), "checks": checks })
}

/// Every check. What needs the node's file is skipped without one.
///
/// # Errors
/// When the file cannot be used.
pub(crate) async fn checks(
    config: Option<&Path>,
    operations: &[std::net::SocketAddr],
) -> Result<Vec<Check>, Failure> {
    let config = config.map(start::load).transpose()?;
    let mut checks = vec![disk::files(), network::udp().await];
    match &config {
        Some(config) => {
            checks.push(disk::space(&config.data));
            checks.push(disk::barriers(&config.data));
            checks.extend(network::ports(&config.listen).await);
            checks.extend(certificates::all(&config.tls));
        }
        None => {
            let without = ["space", "barriers", "ports", "certificates"];
            let skipped = |name| Check::skipped(name, "needs --config");
            checks.extend(without.map(skipped));
        }
    }
    checks.push(network::clocks(&known(config.as_ref(), operations)).await);
    Ok(checks)
}

/// Operations ports of the other nodes.
fn known(config: Option<&Config>, named: &[std::net::SocketAddr]) -> Vec<std::net::SocketAddr> {
    let own = config.map(|config| config.listen.operations);
    let of_file = config.iter().flat_map(|config| &config.cluster.nodes);
    let mut all: Vec<_> = of_file.map(|member| member.operations).collect();
    all.extend(named);
    all.sort_unstable();
    all.dedup();
    all.retain(|address| Some(*address) != own);
    all
}
