//! One run of `uv pip compile`: requirements of components in, one wheel for each package out.
//!
//! uv is judged by its exit status (0: solved, 1: no solution, else: something broke) and by the
//! file that it writes. Its words go to people as they are. It sees no configuration, no
//! environment but what it needs to reach the index, and runs no code of any package. For projects
//! that are built from source it is told what their versions require, as far as that is known,
//! and that all other versions require nothing: so it never has to build one to find out. Projects that
//! have an index of their own it finds in a directory ([`super::routes`]). It wants some Python
//! interpreter on `PATH`, of any version, and does not run it for anything but its version.

use std::{
    env,
    ffi::OsString,
    fmt::{self, Write as _},
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use kiln_recipe::{ComponentId, Location, Requirement};

use super::{
    configuration::{Source, configuration, login_variables},
    conflict,
    metadata::parse_requirement,
    pylock::{self, Choice, Pin, PylockError},
    routes::{RoutedIndex, Routes},
    target::{Target, TargetError},
};

/// What uv inherits: where programs, certificates and proxies are.
const INHERITED: [&str; 13] = [
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSL_CLIENT_CERT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];
/// So many runs at most to find out which requirements contradict each other.
const MAX_PROBES: usize = 60;
/// So much of uv's words is shown at most, in bytes.
const MAX_WORDS: usize = 32 << 10;
/// The file that uv reads preferences from and writes its choice to. uv wants this form of name.
const OUTPUT: &str = "pylock.kiln.toml";
/// The only configuration that uv reads.
const CONFIGURATION: &str = "uv.toml";

/// Runs uv for one target.
#[derive(Clone)]
pub struct Compiler<'a> {
    /// The executable.
    pub uv: &'a Path,
    /// The primary index, with its login. Handed over through the environment.
    pub index_url: &'a str,
    /// The projects that come from elsewhere.
    pub routed: &'a RoutedIndex,
    /// uv's cache.
    pub cache_dir: &'a Path,
    /// What to solve for.
    pub target: &'a Target,
    /// Leave out files that were uploaded later (RFC 3339 or a date).
    pub exclude_newer: Option<&'a str>,
}

/// The Python requirements of one component.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// The component.
    pub component: &'a ComponentId,
    /// What it requires.
    pub requirements: &'a [Requirement],
}

/// What to solve.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The requirements.
    pub groups: &'a [Group<'a>],
    /// Versions that bind: those of the bundles below.
    pub constraints: &'a [Pin],
    /// Versions to keep where that is possible.
    pub preferences: &'a [Pin],
    /// Projects whose source distributions are chosen.
    pub sources: &'a [Source],
}

/// Something that takes part in a contradiction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Culprit {
    /// A requirement of a component.
    Requirement {
        /// The component.
        component: ComponentId,
        /// The requirement as written.
        text: String,
        /// Where it stands.
        at: Location,
    },
    /// A version that the bundles below have.
    Pin(Pin),
}

impl Culprit {
    /// The name of the project.
    fn project(&self) -> String {
        match self {
            Self::Requirement { text, .. } => parse_requirement(text)
                .map_or_else(|_| "NAME".to_owned(), |parsed| parsed.name.to_string()),
            Self::Pin(pin) => pin.name.to_string(),
        }
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requirement {
                component,
                text,
                at,
            } => write!(f, "`{text}` of {component} ({at})"),
            Self::Pin(Pin { name, version }) => {
                write!(f, "`{name}=={version}` of the bundle that it extends")
            }
        }
    }
}

/// Why uv chose nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// No versions satisfy the requirements.
    #[error("{}", no_solution(target, culprits, words))]
    NoSolution {
        /// What was solved for.
        target: Target,
        /// All that was asked; after [`Compiler::explain`] a smallest set of it that cannot be
        /// satisfied together, or nothing when that was not found.
        culprits: Vec<Culprit>,
        /// The projects whose source distributions were chosen from.
        sources: Vec<Source>,
        /// Where projects come from that do not come from the primary index.
        routes: Routes,
        /// uv's own explanation.
        words: String,
    },
    /// uv broke.
    #[error(
        "uv could not choose Python packages (status {status})\n{}",
        indent(words)
    )]
    Broken {
        /// Its exit status, or the signal that ended it.
        status: String,
        /// What it said.
        words: String,
    },
    /// uv could not be started, or its files not be written or read.
    #[error("uv could not be run: {doing}")]
    Run {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// What uv wrote cannot be used.
    #[error("what uv chose cannot be used{}", origin.as_ref().map(|it| format!(" for {it}")).unwrap_or_default())]
    Pylock {
        /// The requirement of the family that names the project, if one does.
        origin: Option<Box<Culprit>>,
        /// Why.
        #[source]
        cause: Box<PylockError>,
    },
    /// The target makes no sense.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl CompileError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSolution { culprits, .. } => Some(match culprits.as_slice() {
                [one] => format!(
                    "check the name and which versions the index has; when none of them has a \
                     wheel that fits, `[from-source.{}]` beside the requirement has it built \
                     from its source distribution",
                    one.project()
                ),
                all if all.iter().any(|it| matches!(it, Culprit::Pin(_))) => {
                    "loosen one of them, move the version in the bundle below with `kiln lock \
                     --upgrade`, or set `independent = true` in the bundle"
                        .to_owned()
                }
                _ => "loosen or remove one of them".to_owned(),
            }),
            Self::Broken { .. } => Some(
                "uv must reach the index, and needs some Python interpreter (of any version) on \
                 PATH"
                    .to_owned(),
            ),
            Self::Pylock { cause, .. } => cause.hint(),
            Self::Run { .. } | Self::Target(_) => None,
        }
    }
}

fn no_solution(target: &Target, culprits: &[Culprit], words: &str) -> String {
    let mut text = match culprits {
        [] => format!("no Python packages satisfy all requirements for {target}"),
        [one] => format!("no Python package satisfies {one} for {target}"),
        several => {
            let mut text = format!("these cannot be satisfied together for {target}:");
            for culprit in several {
                let _ = write!(text, "\n  - {culprit}");
            }
            text
        }
    };
    text.push_str("\nuv explains:\n");
    text.push_str(&indent(words));
    text
}

fn indent(words: &str) -> String {
    let lines: Vec<String> = words
        .trim_end()
        .lines()
        .map(|line| format!("  | {line}"))
        .collect();
    lines.join("\n")
}

impl Compiler<'_> {
    /// Chooses one wheel for each package, sorted by name.
    pub fn compile(&self, question: &Question) -> Result<Vec<Choice>, CompileError> {
        let items = items(question);
        if !items
            .iter()
            .any(|item| matches!(item, Culprit::Requirement { .. }))
        {
            return Ok(Vec::new());
        }
        match self.run(&items, question.preferences, question.sources)? {
            Answer::Solved(text) => {
                let sources = question.sources.iter().map(|it| &it.name).collect();
                let (tags, markers) = (self.target.tags(), self.target.markers()?);
                let routes = self.routed.routes();
                pylock::parse(&text, &tags, &markers, &sources, routes).map_err(|cause| {
                    CompileError::Pylock {
                        origin: origin(question, &cause).map(Box::new),
                        cause: Box::new(cause),
                    }
                })
            }
            Answer::NoSolution(words) => {
                let target = self.target.clone();
                Err(CompileError::NoSolution {
                    target,
                    culprits: items,
                    sources: question.sources.to_vec(),
                    routes: self.routed.routes().clone(),
                    words,
                })
            }
        }
    }

    /// A smallest contradiction among items that cannot be satisfied together; nothing when
    /// uv breaks or it would take too long. It runs uv some dozen times, so it is for the one
    /// error that people are shown.
    pub fn explain(&self, items: &[Culprit], sources: &[Source]) -> Vec<Culprit> {
        let mut probes = 0;
        let mut satisfiable = |subset: &[Culprit]| {
            probes += 1;
            if probes > MAX_PROBES {
                return Err(());
            }
            match self.run(subset, &[], sources) {
                Ok(Answer::Solved(_)) => Ok(true),
                Ok(Answer::NoSolution(_)) => Ok(false),
                Err(_) => Err(()),
            }
        };
        // Often the requirements contradict each other without any pin.
        let requirements: Vec<Culprit> = items
            .iter()
            .filter(|item| matches!(item, Culprit::Requirement { .. }))
            .cloned()
            .collect();
        let found = satisfiable(&requirements).and_then(|without_pins| {
            let items = if without_pins { items } else { &requirements };
            conflict::minimal(items, &mut satisfiable)
        });
        found.unwrap_or_default()
    }

    fn run(
        &self,
        items: &[Culprit],
        preferences: &[Pin],
        sources: &[Source],
    ) -> Result<Answer, CompileError> {
        let failed = |doing| move |cause| CompileError::Run { doing, cause };
        let directory = tempfile::tempdir().map_err(failed("make a temporary directory"))?;
        let mut files = files(items, preferences);
        let exclude_newer = self.exclude_newer.is_some();
        let configuration = configuration(sources, self.routed, exclude_newer);
        files.insert(PathBuf::from(CONFIGURATION), configuration);
        for (name, text) in &files {
            fs::write(directory.path().join(name), text)
                .map_err(failed("write its requirement files"))?;
        }
        fs::create_dir_all(self.cache_dir).map_err(failed("make its cache directory"))?;
        let mut command = Command::new(self.uv);
        command
            .args(self.arguments())
            .args(
                files
                    .keys()
                    .filter(|name| name.extension().is_some_and(|it| it == "in")),
            )
            .current_dir(directory.path())
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| Some((name, env::var_os(name)?))),
            )
            .env("UV_DEFAULT_INDEX", self.index_url)
            .envs(login_variables(self.routed))
            .env("UV_CACHE_DIR", self.cache_dir)
            .env("UV_PYTHON_DOWNLOADS", "never")
            .env("UV_NO_PROGRESS", "1")
            // The host's certificates, by the names of newer and of older versions of uv.
            .env("UV_SYSTEM_CERTS", "1")
            .env("UV_NATIVE_TLS", "1")
            .stdin(Stdio::null());
        let output = start(&mut command).map_err(failed("start it"))?;
        let mut words = words(&output.stderr);
        if let Some(address) = self.routed.address() {
            words = words.replace(address, "its own index");
        }
        match output.status.code() {
            Some(0) => {
                let text = read_bounded(&directory.path().join(OUTPUT))
                    .map_err(failed("read what it chose"))?;
                Ok(Answer::Solved(text))
            }
            Some(1) => Ok(Answer::NoSolution(words)),
            _ => {
                // `ExitStatus` displays as `exit status: 2` or `signal: 9 (SIGKILL)`.
                let status = output.status.to_string();
                let status = status.trim_start_matches("exit status: ").to_owned();
                Err(CompileError::Broken { status, words })
            }
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = [
            "pip",
            "compile",
            "--quiet",
            "--color=never",
            "--config-file",
            CONFIGURATION,
            "--no-header",
            "--no-annotate",
            "--generate-hashes",
            "--format=pylock.toml",
            "--constraints=constraints.txt",
            "--output-file",
        ]
        .map(OsString::from)
        .to_vec();
        arguments.push(OUTPUT.into());
        arguments.push(format!("--python-version={}", self.target.python_full_version()).into());
        arguments.push(format!("--python-platform={}", self.target.uv_platform()).into());
        if let Some(time) = self.exclude_newer {
            arguments.push(format!("--exclude-newer={time}").into());
        }
        arguments
    }
}

/// Runs a command to its end. A program that was just written is busy for a moment when another
/// thread forked meanwhile: the child holds the file open until it executes something.
fn start(command: &mut Command) -> io::Result<Output> {
    let mut patience = 100;
    loop {
        match command.output() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && patience > 0 => {
                patience -= 1;
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

enum Answer {
    Solved(String),
    NoSolution(String),
}

/// Requirements and constraints of a question, one by one.
fn items(question: &Question) -> Vec<Culprit> {
    let requirements = question.groups.iter().flat_map(|group| {
        group
            .requirements
            .iter()
            .map(|requirement| Culprit::Requirement {
                component: group.component.clone(),
                text: requirement.text.clone(),
                at: requirement.at.clone(),
            })
    });
    requirements
        .chain(question.constraints.iter().cloned().map(Culprit::Pin))
        .collect()
}

/// The files of a run. One requirement file for each component, so that uv's words name it.
fn files(items: &[Culprit], preferences: &[Pin]) -> std::collections::BTreeMap<PathBuf, String> {
    let mut files = std::collections::BTreeMap::new();
    files.insert(PathBuf::from("constraints.txt"), String::new());
    for item in items {
        let (file, line) = match item {
            Culprit::Requirement {
                component, text, ..
            } => {
                // A requirement is one line; a line break inside it means no more than a space.
                let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                (format!("{}-{}.in", component.kind, component.name), line)
            }
            Culprit::Pin(Pin { name, version }) => {
                ("constraints.txt".to_owned(), format!("{name}=={version}"))
            }
        };
        let text: &mut String = files.entry(PathBuf::from(file)).or_default();
        text.push_str(&line);
        text.push('\n');
    }
    if !preferences.is_empty() {
        files.insert(PathBuf::from(OUTPUT), pylock::preferences(preferences));
    }
    files
}

/// The requirement that names the project that an error is about.
fn origin(question: &Question, error: &PylockError) -> Option<Culprit> {
    let project = error.project()?;
    question.groups.iter().find_map(|group| {
        let found = group
            .requirements
            .iter()
            .find(|it| it.parsed.name == *project)?;
        Some(Culprit::Requirement {
            component: group.component.clone(),
            text: found.text.clone(),
            at: found.at.clone(),
        })
    })
}

fn words(stderr: &[u8]) -> String {
    let end = stderr.len().min(MAX_WORDS);
    String::from_utf8_lossy(&stderr[..end]).trim().to_owned()
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // One byte more than is taken, so that the parser sees that it is too large.
    fs::File::open(path)?
        .take(pylock::MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    Ok(text)
}
