//! Verbs for a cluster that lost its quorum.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Recover {
    /// Say of each shard which survivor's log goes furthest; nothing is changed
    Plan(PlanRecovery),
    /// Make one survivor the whole cluster; what only the others had is lost
    Apply(ApplyRecovery),
}

#[derive(Debug, Args)]
pub(crate) struct PlanRecovery {
    /// The file of a survivor, which must not run; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) config: Vec<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyRecovery {
    /// The file of the survivor that goes on
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The cluster's name, typed out: what the lost nodes alone had is gone after this
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) confirm: String,
    /// What the audit log calls you
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
