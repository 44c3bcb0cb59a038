//! Verbs that look at a machine, a folder or nodes, and change nothing.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{Desk, Operations, duration};

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The node's file; without it only what needs none is checked
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Operations port of another node, to compare clocks with; may be repeated
    #[arg(long = "operations", value_name = "HOST:PORT")]
    pub(crate) operations: Vec<SocketAddr>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) operations: Operations,
    /// One look instead of a live view; also when stdout is no terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// How long is measured for each look
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
    /// When a recent message passed each station on each node: times, never content
    Msg {
        #[command(flatten)]
        desk: Desk,
        /// The message's canonical id, as senders and recipients are told it
        #[arg(value_name = "CANONICAL-ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The data folder of a node that does not run
    pub(crate) data: PathBuf,
    /// Leave out the tables, which are copied to be read
    #[arg(long)]
    pub(crate) no_tables: bool,
    /// Where the tables are copied to; by default the folder for temporary files
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Debug {
    /// Gather what a supporter needs into one file, without secrets and without names of users
    Bundle(Bundle),
}

#[derive(Debug, Args)]
pub(crate) struct Bundle {
    #[command(flatten)]
    pub(crate) operations: Operations,
    /// A node's file, of which everything secret is left out
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The file to write, a tar archive; must not be there yet
    #[arg(long, value_name = "FILE", default_value = "synod-bundle.tar")]
    pub(crate) output: PathBuf,
    /// Say what would be gathered, and write nothing
    #[arg(long)]
    pub(crate) list: bool,
}
