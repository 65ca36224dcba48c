//! What can be typed.

mod program;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(crate) use program::{ProgramOptions, Run, Shell, UserOption, Variable};

/// Container images for data science: declared once, locked byte by byte, built without an
/// engine.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// The family's directory [default: the nearest one with a `kiln.toml` above, else `family`]
    #[arg(long, global = true, value_name = "DIR", env = "KILN_FAMILY")]
    pub(crate) family: Option<PathBuf>,
    /// The store [default: `$XDG_DATA_HOME/kiln`]
    #[arg(long, global = true, value_name = "DIR", env = "KILN_HOME")]
    pub(crate) store: Option<PathBuf>,
    /// Use no network; what is missing is an error
    #[arg(long, global = true, env = "KILN_OFFLINE")]
    pub(crate) offline: bool,
    /// How results and progress are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
    /// Say more; twice, say all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

/// How results and progress are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// JSON lines on standard output: events and results.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Choose and pin every byte that the family's images are made from
    Lock(Lock),
    /// Show what a build would do, without doing it
    Plan(Plan),
    /// Build images into the store
    Build(Build),
    /// List the images of the family and what the store has of them
    Images,
    /// Show an image of the store: configuration, layers, history
    Inspect(Inspect),
    /// Write an image of the store as an archive or a directory
    Export(Export),
    /// Hand an image of the store to an engine
    Load(Load),
    /// Start an image of the store, without an engine
    Run(Run),
    /// Open a shell in an image of the store
    Shell(Shell),
    /// Open a shell in what an action that failed has left
    Debug(Debug),
    /// Look after the store
    #[command(subcommand)]
    Store(Store),
    /// Carry out single actions
    #[command(subcommand)]
    Action(ActionCommand),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Lock {
    /// Only say whether the lock fits the family; exit code 1 if it does not
    #[arg(long, conflicts_with_all = ["upgrade", "relock_gone"])]
    pub(crate) check: bool,
    /// Move everything to the newest versions that fit, not only what changed
    #[arg(long)]
    pub(crate) upgrade: bool,
    /// Move packages whose locked file the source no longer has, and only them
    #[arg(long)]
    pub(crate) relock_gone: bool,
    /// Ignore Python files uploaded after this day or instant (RFC 3339)
    #[arg(long, value_name = "WHEN", value_parser = day_or_instant)]
    pub(crate) exclude_newer: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Selection {
    /// Images: a full name, any unambiguous part of one, or a glob
    #[arg(value_name = "IMAGE", required_unless_present = "all")]
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

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct LayerOptions {
    /// How layers are compressed
    #[arg(long, value_enum, default_value_t = Compression::Gzip)]
    pub(crate) compression: Compression,
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
    #[arg(value_name = "IMAGE")]
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
    #[arg(value_name = "IMAGE")]
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
    #[arg(value_name = "IMAGE", required = true)]
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

#[derive(Debug, ClapArgs)]
pub(crate) struct Debug {
    /// The action: the first digits of its key, or a part of its title; all are listed without
    #[arg(value_name = "ACTION")]
    pub(crate) action: Option<String>,
    /// Remove what it has left
    #[arg(long, requires = "action")]
    pub(crate) discard: bool,
}

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

/// Accepts `2026-11-22` and RFC 3339 instants. uv would refuse others too, but only when something
/// must be chosen.
fn day_or_instant(text: &str) -> Result<String, String> {
    let is_day = text.parse::<jiff::civil::Date>().is_ok() && text.len() == "YYYY-MM-DD".len();
    if is_day || text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("not a day such as `2026-11-22` or an instant such as `2026-11-22T08:00:00Z`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    /// What `kiln help COMMAND` says, without the options of all commands.
    fn help(command: &str) -> String {
        use clap::CommandFactory as _;
        let mut args = Args::command().term_width(100);
        args.build();
        let command = args.find_subcommand_mut(command).unwrap();
        let own = command.clone().mut_args(|arg| {
            let hidden = arg.is_global_set();
            arg.hide(hidden)
        });
        own.clone().render_help().to_string()
    }

    #[test]
    fn run_explains_itself() {
        insta::assert_snapshot!(help("run"), @r"
        Start an image of the store, without an engine

        Usage: kiln run [OPTIONS] <IMAGE> [-- <COMMAND>...]

        Arguments:
          <IMAGE>       The image: a full name or any unambiguous part of one
          [COMMAND]...  What to run instead of the image's own command

        Options:
              --platform <OS/ARCH>           The platform, where the image is built for several [default:
                                             this machine's]
          -u, --user <UID[:GID]>             The user to run as, by number; the group is 0 unless given
                                             [default: the image's]
          -e, --env <NAME[=VALUE]>           Set a variable, or take it from here; may be given several
                                             times
              --volume <SOURCE:TARGET[:ro]>  Show a directory or file of this machine inside; may be given
                                             several times
          -w, --workdir <DIR>                The working directory [default: the image's]
              --read-only                    Let nothing be written but volumes and directories for
                                             temporary files
              --port <PORT>                  The port of 127.0.0.1 on which the image's server listens
                                             [default: the image's own, or the next one that is free]
          -h, --help                         Print help (see more with '--help')
        ");
    }

    #[test]
    fn shell_explains_itself() {
        insta::assert_snapshot!(help("shell"), @r"
        Open a shell in an image of the store

        Usage: kiln shell [OPTIONS] <IMAGE>

        Arguments:
          <IMAGE>  The image: a full name or any unambiguous part of one

        Options:
              --platform <OS/ARCH>           The platform, where the image is built for several [default:
                                             this machine's]
          -u, --user <UID[:GID]>             The user to run as, by number; the group is 0 unless given
                                             [default: the image's]
          -e, --env <NAME[=VALUE]>           Set a variable, or take it from here; may be given several
                                             times
              --volume <SOURCE:TARGET[:ro]>  Show a directory or file of this machine inside; may be given
                                             several times
          -w, --workdir <DIR>                The working directory [default: the image's]
              --read-only                    Let nothing be written but volumes and directories for
                                             temporary files
          -h, --help                         Print help (see more with '--help')
        ");
    }

    #[test]
    fn debug_explains_itself() {
        insta::assert_snapshot!(help("debug"), @r"
        Open a shell in what an action that failed has left

        Usage: kiln debug [OPTIONS] [ACTION]

        Arguments:
          [ACTION]  The action: the first digits of its key, or a part of its title; all are listed without

        Options:
              --discard  Remove what it has left
          -h, --help     Print help (see more with '--help')
        ");
    }

    #[test]
    fn times_are_days_or_instants() {
        for good in [
            "2026-11-22",
            "2026-11-22T08:00:00Z",
            "2026-11-22T08:00:00+01:00",
        ] {
            assert_eq!(day_or_instant(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "nonsense",
            "2026-13-01",
            "22.11.2026",
            "2026-11-22T08:00:00",
        ] {
            assert!(day_or_instant(bad).is_err(), "{bad}");
        }
    }
}
