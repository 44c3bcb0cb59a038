//! Verbs about a node's file.

use std::{net::SocketAddr, path::PathBuf};

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Read and check a node's file
    Check {
        /// The node's file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a file in which every key is told and commented out
    Default {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print every value that holds for a node's file
    Show {
        /// The node's file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Say of each value where it comes from
        #[arg(long)]
        origin: bool,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Have a running node read its file again: what can change does at once, of the rest is said that it needs a restart
    Reload {
        /// The node's operations port
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7402")]
        operations: SocketAddr,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of a node's file
    Schema,
}
