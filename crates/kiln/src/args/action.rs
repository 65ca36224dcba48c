//! Commands below `kiln action`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ActionCommand {
    /// Carry out one action from its canonical encoding and its inputs alone
    Exec {
        /// The action's encoding; `-` is standard input
        #[arg(value_name = "FILE")]
        action: PathBuf,
        /// A directory of inputs, each named by the 64 hex digits of its SHA-256; results of other
        /// actions likewise, with their records in a file `results`
        #[arg(long, value_name = "DIR")]
        inputs: PathBuf,
        /// Where to write the layer or the blob
        #[arg(long, value_name = "PATH")]
        layer: PathBuf,
    },
}
