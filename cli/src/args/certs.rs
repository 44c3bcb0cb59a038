//! Verbs about certificates.

use clap::{Args, Subcommand};

use super::Desk;

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Who holds which certificate, and for how many more days
    Ls(Desk),
    /// Print the authority's certificate: what clients and operators pin
    Ca(Desk),
    /// Have a node, or all of them, get a new certificate; nothing restarts
    Rotate(RotateCert),
    /// Have another authority take the present one's place, and wait until it has; nothing restarts
    RotateCa(Desk),
}

#[derive(Debug, Args)]
pub(crate) struct RotateCert {
    #[command(flatten)]
    pub(crate) desk: Desk,
    /// The node's id; all nodes without it
    pub(crate) node: Option<u64>,
}
