//! Verbs about who votes where.

use clap::{Args, Subcommand};

use super::Desk;

#[derive(Debug, Args)]
pub(crate) struct ChangeNode {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// The node's id
    pub(crate) node: u64,
    /// Only show what would move
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Decommission {
    #[command(flatten)]
    pub(crate) change: ChangeNode,
    /// Keep it after all, while it has not gone
    #[arg(long)]
    pub(crate) undo: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplaceNode {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// The node whose place another takes
    pub(crate) node: u64,
}

#[derive(Debug, Args)]
pub(crate) struct OneShard {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// The shard's number; 0 is the cluster's own group
    pub(crate) shard: u32,
}

#[derive(Debug, Args)]
pub(crate) struct TransferShard {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// The shard's number
    pub(crate) shard: u32,
    /// Who should lead: one of its voters
    #[arg(long, value_name = "NODE")]
    pub(crate) to: u64,
}

#[derive(Debug, Args)]
pub(crate) struct FreezeShard {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// The shard's number
    pub(crate) shard: u32,
    /// Let the planner move it again
    #[arg(long)]
    pub(crate) off: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SplitShard {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// The shard's number
    pub(crate) shard: u32,
    /// The slots that become a shard of their own, at one end of the shard's; without it the upper half
    #[arg(long, value_name = "FIRST-LAST", value_parser = slots)]
    pub(crate) slots: Option<(u16, u16)>,
    /// Only show what would become of it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn slots(text: &str) -> Result<(u16, u16), String> {
    let parsed = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    match parsed {
        Some((first, last)) if first <= last => Ok((first, last)),
        _ => Err("must be the first and the last slot, like 4096-8191".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rebalance {
    /// Show everything that would move from here
    Plan(Desk),
    /// Begin the next moves now, also while moves are paused
    Apply(Desk),
    /// Show what moves and what is to come
    Status(Desk),
    /// Begin no move by itself
    Pause {
        #[command(flatten)]
        desk: Desk,
        /// Move again
        #[arg(long)]
        off: bool,
    },
}
