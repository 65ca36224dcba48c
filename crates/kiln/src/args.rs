//! What can be typed.

mod action;
mod build;
mod edit;
mod family;
mod image;
mod lock;
mod manual;
mod program;
mod store;
mod understand;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(crate) use action::ActionCommand;
pub(crate) use build::{Build, Compression, Graph, LayerOptions, Lazy, Plan, VerifyBuild};
pub(crate) use edit::{Add, EditOptions, Remove};
pub(crate) use family::{Init, Schema, Suite};
pub(crate) use image::{Engine, Export, ExportFormat, Inspect, Load, PlatformOption, Raw};
pub(crate) use lock::{Lint, Lock};
pub(crate) use manual::{Completions, Man, ShellName};
pub(crate) use program::{Debug, ProgramOptions, Run, Shell, UserOption, Variable};
pub(crate) use store::Store;
pub(crate) use understand::{Diff, DiffFormat, Outdated, Size, Why};

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
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Global {
    /// The family's directory [default: the nearest one with a `kiln.toml` above, else `family`]
    #[arg(long, global = true, value_name = "DIR", env = "KILN_FAMILY")]
    pub(crate) family: Option<PathBuf>,
    /// The release, where the family has several side by side [default: that of `kiln.toml`]
    #[arg(long, global = true, value_name = "NAME", env = "KILN_RELEASE")]
    pub(crate) release: Option<String>,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// JSON lines on standard output: events and results.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begin a family: a few files that lock and build as they are
    Init(Init),
    /// Choose and pin every byte that the family's images are made from
    Lock(Lock),
    /// Add packages to a component's file, and lock
    Add(Add),
    /// Remove packages from a component's file, and lock
    Remove(Remove),
    /// Say which locked packages have newer versions, and what holds them back
    Outdated(Outdated),
    /// Say what is wrong with the locked images, before anything is built
    Lint(Lint),
    /// Show what a build would do, without doing it
    Plan(Plan),
    /// Build images into the store
    Build(Build),
    /// Rebuild images from the lock and compare them with those that are there
    VerifyBuild(VerifyBuild),
    /// Say which requirements bring a package into images
    Why(Why),
    /// Compare images or locks: packages, layers, bytes to pull
    Diff(Diff),
    /// Say where the bytes of an image are: components, packages, directories
    Size(Size),
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
    /// Print the JSON Schema of a kind of file, for editors
    Schema(Schema),
    /// Print what makes a shell complete commands, options and names of images
    Completions(Completions),
    /// Print the manual page, or write the pages of all commands
    Man(Man),
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
}
