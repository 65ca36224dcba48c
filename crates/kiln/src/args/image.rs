//! Options of commands that show images of the store or hand them on.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use clap_complete::ArgValueCandidates;

use crate::completion;

/// Which image of a name that has several.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct PlatformOption {
    /// The platform, where the image is built for several [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<kiln_recipe::Platform>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// The image: a full name or any unambiguous part of one
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(completion::stored_images))]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) platform: PlatformOption,
    /// Print the manifest or the configuration as it is, byte for byte
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) raw: Option<Raw>,
}

/// A document of an image.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Raw {
    /// The manifest.
    Manifest,
    /// The configuration.
    Config,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Export {
    /// The image: a full name or any unambiguous part of one
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(completion::stored_images))]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) platform: PlatformOption,
    /// Where to write; `-` is standard output (archives only)
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = ExportFormat::OciArchive)]
    pub(crate) format: ExportFormat,
}

/// Forms of an image outside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A tar archive of an OCI layout.
    OciArchive,
    /// A directory that is an OCI layout.
    OciDir,
    /// What `docker load` reads.
    DockerArchive,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Load {
    /// The engine
    #[arg(value_enum)]
    pub(crate) engine: Engine,
    /// Images: a full name, any unambiguous part of one, or a glob
    #[arg(value_name = "IMAGE", required = true, add = ArgValueCandidates::new(completion::stored_images))]
    pub(crate) images: Vec<String>,
    #[command(flatten)]
    pub(crate) platform: PlatformOption,
}

/// Engines that kiln can hand an image to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}
