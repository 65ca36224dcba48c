//! Options of commands that plan and build.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use clap_complete::ArgValueCandidates;

use crate::completion;

#[derive(Debug, ClapArgs)]
pub(crate) struct Selection {
    /// Images: a full name, any unambiguous part of one, or a glob
    #[arg(value_name = "IMAGE", required_unless_present = "all", add = ArgValueCandidates::new(completion::locked_images))]
    pub(crate) images: Vec<String>,
    /// All images of the family
    #[arg(long, conflicts_with = "images")]
    pub(crate) all: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Write the plan as a graph
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub(crate) graph: Option<Graph>,
    #[command(flatten)]
    pub(crate) layers: LayerOptions,
}

/// The language of a graph.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Graph {
    /// Graphviz.
    Dot,
    /// Mermaid.
    Mermaid,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) layers: LayerOptions,
    /// First move locked packages that their source no longer has, and only them
    #[arg(long)]
    pub(crate) relock_gone: bool,
    /// Carry out every action that executes programs twice, and fail if the results differ
    #[arg(long)]
    pub(crate) twice: bool,
    /// Steps that run at once [default: the number of cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyBuild {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) layers: LayerOptions,
    /// Compare with this OCI archive or directory instead of the store
    #[arg(long, value_name = "PATH")]
    pub(crate) against: Option<PathBuf>,
    /// Compare with the digest of a manifest or an index alone
    #[arg(long, value_name = "DIGEST", conflicts_with = "against")]
    pub(crate) digest: Option<kiln_digest::Digest>,
    /// Steps that run at once [default: the number of cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct LayerOptions {
    /// How layers are compressed
    #[arg(long, value_enum, default_value_t = Compression::Gzip)]
    pub(crate) compression: Compression,
    /// Make layers of which engines that can do so fetch single files when they are read
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) lazy: Option<Lazy>,
    /// Run nothing of the packages: no maintainer scripts, no compiler, no commands of the family
    #[arg(long)]
    pub(crate) pack_only: bool,
    /// Leave Python modules uncompiled
    #[arg(long)]
    pub(crate) no_bytecode: bool,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// Understood everywhere; free for wheels.
    Gzip,
    /// Smaller and faster to unpack; dearer to make.
    Zstd,
}

/// How engines find single files in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lazy {
    /// A table of contents at the end of gzip layers, as containerd's stargz snapshotter reads it.
    Estargz,
}
