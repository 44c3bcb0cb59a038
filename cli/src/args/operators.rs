//! Verbs of operators that go to the cluster itself.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

/// Where operators find the cluster, and by what they are known.
#[derive(Debug, Clone, Args)]
pub(crate) struct Desk {
    /// A context: `synod operator claim` writes one, and a running demo writes `demo`
    #[arg(long, value_name = "NAME", default_value = "demo")]
    pub(crate) ctx: String,
    /// Client address of a node, instead of a context; may be repeated
    #[arg(long, value_name = "HOST:PORT", requires = "ca", value_delimiter = ',')]
    pub(crate) addr: Vec<SocketAddr>,
    /// Certificate of the authority that signs the nodes
    #[arg(long, value_name = "FILE", requires = "addr")]
    pub(crate) ca: Option<PathBuf>,
    /// File that holds the operator's token; by default the one kept in the context
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where operators find each node by itself.
#[derive(Debug, Args)]
pub(crate) struct Operations {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// Ask this operations port instead, which wants no token; may be repeated
    #[arg(long = "operations", value_name = "HOST:PORT")]
    pub(crate) operations: Vec<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The node's file; an empty one will do
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// How many other nodes the printed line lets in
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) others: u32,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operator {
    /// Become an operator, once, with the secret that `synod init` or `operator invite` printed
    Claim {
        #[command(flatten)]
        desk: Desk,
        /// The secret
        secret: String,
        /// What the audit log calls you
        #[arg(long, value_name = "NAME")]
        name: String,
    },
    /// Make a secret by which another operator comes in
    Invite(Desk),
    /// List the operators
    Ls(Desk),
    /// End an operator's rights
    Rm {
        #[command(flatten)]
        desk: Desk,
        /// Whose
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ShowNode {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// The node's id
    pub(crate) node: u64,
}

#[derive(Debug, Args)]
pub(crate) struct MakeJoinToken {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// How many nodes it lets in
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) uses: u32,
    /// How long it is good for
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = super::duration)]
    pub(crate) ttl: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Settings {
    /// Show the replicated settings
    Get(Desk),
    /// Change some: NAME=VALUE, durations in seconds
    Set {
        #[command(flatten)]
        desk: Desk,
        /// NAME=VALUE
        #[arg(required = true)]
        changes: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List who changed what, the latest last
    Ls(Desk),
}
