//! Commands below `kiln store`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Print where the store is
    Path,
    /// Rehash everything; what is corrupt is dropped, so that the next build makes it again
    Verify,
    /// Remove what neither an image nor the lock of this family reaches
    Gc {
        /// Say what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}
