//! Commands below `kiln store`.

use clap::Subcommand;
use clap_complete::ArgValueCandidates;

use crate::completion;

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Print where the store is
    Path,
    /// Rehash everything; what is corrupt is dropped, so that the next build makes it again
    Verify,
    /// Take the names of images out of the store, so that `gc` can free what only they needed
    Rm {
        /// Images: a full name, any unambiguous part of one, or a glob
        #[arg(value_name = "IMAGE", required = true, add = ArgValueCandidates::new(completion::stored_images))]
        images: Vec<String>,
    },
    /// Remove what neither an image nor the lock of this family reaches
    Gc {
        /// Say what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}
