//! What this host says about its sources: files, environment and installed tools.
//!
//! Everything here only *reads*; what it means is parsed elsewhere.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    apt::{self, AptEntry},
    netrc::{self, Machine},
    python,
};

/// No configuration file is read further than this.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// A host: its root directory and an environment. `Debug` shows neither values nor files.
#[derive(Clone)]
pub struct Host {
    root: PathBuf,
    environment: BTreeMap<String, String>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.root.display())
    }
}

/// A setting and where it was found. Has no `Debug`, because an address may hold a login.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: String,
    pub(crate) place: String,
}

impl Host {
    /// The host that this process runs on.
    pub fn current() -> Self {
        Self {
            root: PathBuf::from("/"),
            // Variables that are not UTF-8 cannot name an address.
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        }
    }

    /// A host whose files stand below `root` and whose environment is `environment`.
    pub fn at(root: impl Into<PathBuf>, environment: BTreeMap<String, String>) -> Self {
        Self {
            root: root.into(),
            environment,
        }
    }

    /// A variable of the environment that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A path of the host, where this process finds it.
    fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file, if it is there and can be read.
    fn read(&self, path: &Path) -> Option<String> {
        let file = fs::File::open(self.path(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_CONFIG_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from)
    }

    fn user_config(&self) -> Option<PathBuf> {
        self.variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(self.home()?.join(".config")))
    }

    fn system_config(&self) -> Vec<PathBuf> {
        self.variable("XDG_CONFIG_DIRS")
            .unwrap_or("/etc/xdg")
            .split(':')
            .filter(|directory| !directory.is_empty())
            .map(PathBuf::from)
            .collect()
    }

    /// Files of a directory with one of two extensions, sorted by name as apt does.
    fn list(&self, directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path(directory)) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(directory.join(entry.ok()?.file_name())))
            .filter(|path| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                extension.is_some_and(|extension| extensions.contains(&extension))
            })
            .collect();
        paths.sort();
        paths
    }

    /// All enabled entries of apt's sources, mirror lists replaced by what they list.
    pub(crate) fn apt_entries(&self) -> Vec<AptEntry> {
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        files.extend(self.list(Path::new("/etc/apt/sources.list.d"), &["list", "sources"]));
        let mut entries = Vec::new();
        for file in files {
            let Some(text) = self.read(&file) else {
                continue;
            };
            entries.extend(if file.extension().is_some_and(|e| e == "sources") {
                apt::parse_deb822(&text)
            } else {
                apt::parse_one_line(&text)
            });
        }
        for entry in &mut entries {
            entry.uris = std::mem::take(&mut entry.uris)
                .into_iter()
                .flat_map(|uri| self.mirrors(uri))
                .collect();
        }
        entries
    }

    fn mirrors(&self, uri: String) -> Vec<String> {
        let Some(list) = uri.strip_prefix("mirror+file:") else {
            return vec![uri];
        };
        let path = format!("/{}", list.trim_start_matches('/'));
        self.read(Path::new(&path))
            .map(|text| apt::parse_mirror_list(&text))
            .filter(|mirrors| !mirrors.is_empty())
            .unwrap_or_else(|| vec![uri])
    }

    /// Logins of the user and of apt, strongest first.
    pub(crate) fn logins(&self) -> Vec<Machine> {
        let mut files = Vec::new();
        files.extend(
            self.variable("NETRC")
                .map(PathBuf::from)
                .or_else(|| Some(self.home()?.join(".netrc"))),
        );
        files.extend(self.list(Path::new("/etc/apt/auth.conf.d"), &["conf"]));
        files.push(PathBuf::from("/etc/apt/auth.conf"));
        files
            .iter()
            .filter_map(|file| self.read(file))
            .flat_map(|text| netrc::parse(&text))
            .collect()
    }

    /// Certificates that pip is told to trust, beside the host's own.
    pub(crate) fn pip_certificates(&self) -> Option<PathBuf> {
        let path = match self.variable("PIP_CERT") {
            Some(path) => path.to_owned(),
            None => python::pip_setting(&self.pip_files(), "cert")?,
        };
        Some(self.path(Path::new(&path)))
    }

    /// The primary Python index that the environment or a configuration file names.
    pub(crate) fn configured_python_index(&self) -> Option<Found> {
        for name in ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"] {
            if let Some(value) = self.variable(name) {
                return Some(Found {
                    value: python::strip_index_name(value).to_owned(),
                    place: format!("the variable `{name}`"),
                });
            }
        }
        let uv = self.uv_files().into_iter().find_map(|path| {
            Some(Found {
                value: python::parse_uv_toml(&self.read(&path)?)?,
                place: path.display().to_string(),
            })
        });
        uv.or_else(|| {
            Some(Found {
                value: python::pip_setting(&self.pip_files(), "index-url")?,
                place: "pip's configuration".to_owned(),
            })
        })
    }

    /// Where uv looks for `uv.toml`, strongest first.
    fn uv_files(&self) -> Vec<PathBuf> {
        if let Some(file) = self.variable("UV_CONFIG_FILE") {
            return vec![PathBuf::from(file)];
        }
        if self.variable("UV_NO_CONFIG").is_some() {
            return Vec::new();
        }
        self.user_config()
            .into_iter()
            .chain(self.system_config())
            .map(|directory| directory.join("uv/uv.toml"))
            .chain([PathBuf::from("/etc/uv/uv.toml")])
            .collect()
    }

    /// The contents of pip's configuration files, weakest first.
    fn pip_files(&self) -> Vec<Vec<(String, String, String)>> {
        if self.variable("PIP_CONFIG_FILE") == Some("/dev/null") {
            return Vec::new(); // pip: no file at all
        }
        let mut files: Vec<PathBuf> = self
            .system_config()
            .into_iter()
            .map(|directory| directory.join("pip/pip.conf"))
            .collect();
        files.push(PathBuf::from("/etc/pip.conf"));
        files.extend(self.home().map(|home| home.join(".pip/pip.conf")));
        files.extend(
            self.user_config()
                .map(|directory| directory.join("pip/pip.conf")),
        );
        files.extend(
            self.variable("VIRTUAL_ENV")
                .map(|venv| Path::new(venv).join("pip.conf")),
        );
        files.extend(self.variable("PIP_CONFIG_FILE").map(PathBuf::from));
        files
            .iter()
            .filter_map(|file| self.read(file))
            .map(|text| python::parse_pip_conf(&text))
            .collect()
    }

    /// The index that the installed pip or uv uses when nothing is configured, asked of the
    /// tool itself. Takes some tenths of a second.
    pub(crate) fn built_in_python_index(&self) -> Option<Found> {
        let pips: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];
        for pip in pips {
            let Some(help) = self.run(pip, &["install", "--help"]) else {
                continue;
            };
            let Some(mut value) = python::index_in_pip_help(&help) else {
                continue;
            };
            if value.contains("****") {
                // A site-wide file names the index with a login, which the help masks.
                match self.run(pip, &["config", "get", "global.index-url"]) {
                    Some(full) => full.trim().clone_into(&mut value),
                    None => continue,
                }
            }
            let place = format!("what `{}` uses", pip.join(" "));
            return Some(Found { value, place });
        }
        let help = self.run(&["uv"], &["pip", "install", "--help"])?;
        Some(Found {
            value: python::index_in_uv_help(&help)?,
            place: "what `uv` uses".to_owned(),
        })
    }

    /// What a tool on the host's `PATH` prints, if it succeeds.
    fn run(&self, tool: &[&str], arguments: &[&str]) -> Option<String> {
        let (name, first) = tool.split_first()?;
        let program = self
            .variable("PATH")?
            .split(':')
            .map(|directory| self.path(Path::new(directory)).join(name))
            .find(|program| program.is_file())?;
        let output = Command::new(program)
            .args(first)
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            // So wide that no line is wrapped; no questions, no colours, no network.
            .env("COLUMNS", "10000")
            .env("NO_COLOR", "1")
            .env("PIP_NO_INPUT", "1")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            // `python -m` imports from the working directory: not from somebody's project.
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
