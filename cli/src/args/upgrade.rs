//! Verbs about the cluster's feature level.

use clap::{Args, Subcommand};

use super::Desk;

#[derive(Debug, Subcommand)]
pub(crate) enum Upgrade {
    /// Show the feature level, what each node speaks, and what the next level waits for
    Status(Desk),
    /// Raise the feature level now: no release from before it starts in this cluster again
    Finish(FinishUpgrade),
}

#[derive(Debug, Args)]
pub(crate) struct FinishUpgrade {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// Only say whether it could be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}
