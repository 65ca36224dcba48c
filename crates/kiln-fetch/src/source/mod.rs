//! Where a named source lives.
//!
//! Order: `[sources]` of the family, `KILN_SOURCE_<NAME>`, then what the host itself uses:
//! apt's sources for Debian archives, the primary index of pip or uv for the Python source
//! [`PRIMARY_PYTHON_INDEX`]. Other sources are never guessed: a package that is bound to one
//! index must not come from another one.

pub(crate) mod apt;
mod host;
pub(crate) mod netrc;
pub(crate) mod python;

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::OnceLock};

pub use host::Host;

use crate::url::{Url, UrlError};

/// The name of the Python source that is the host's own primary index.
pub const PRIMARY_PYTHON_INDEX: &str = "pypi";

/// What kind of source it is: decides where on the host it is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceKind {
    /// A Debian or Ubuntu archive (its root has `dists/` and `pool/`).
    Deb {
        /// The suite that is wanted from it: `bookworm`, `noble-updates`, …
        suite: String,
    },
    /// A Python index with the simple API (PEP 503 or PEP 691).
    Python,
    /// Files below an address, which only the family or a variable can name.
    Files,
}

/// What the family says about its sources. `Debug` shows names only: addresses may hold logins.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SourceConfig {
    /// `[sources]`: name to address (or an absolute path).
    pub overrides: BTreeMap<String, String>,
}

impl fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.overrides.keys()).finish()
    }
}

impl SourceConfig {
    /// The configuration with these overrides.
    pub fn new(overrides: BTreeMap<String, String>) -> Self {
        Self { overrides }
    }
}

/// A source that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where it lives: an archive's root, or an index whose children are project pages.
    pub url: Url,
    /// What named it, for `kiln sources` and error messages.
    pub place: String,
}

/// A login and the index that it is for. `Debug` shows the index alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolLogin {
    /// Scheme, host, port and path of the index.
    pub address: String,
    /// Who.
    pub user: String,
    /// The password; perhaps empty.
    pub password: String,
}

impl fmt::Debug for ToolLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolLogin({})", self.address)
    }
}

/// Why it is not known where a source lives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Nothing names it.
    #[error("it is not known where source `{name}` lives{}", for_suite(suite.as_deref()))]
    Unknown {
        /// The source.
        name: String,
        /// The suite wanted from it, for archives.
        suite: Option<String>,
    },
    /// What names it is not an address that kiln can use.
    #[error("source `{name}` has an unusable address in {place}")]
    Address {
        /// The source.
        name: String,
        /// What names it.
        place: String,
        /// What is wrong with it.
        #[source]
        cause: UrlError,
    },
}

fn for_suite(suite: Option<&str>) -> String {
    suite.map_or_else(String::new, |suite| format!(" (suite `{suite}`)"))
}

impl SourceError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        let (Self::Unknown { name, .. } | Self::Address { name, .. }) = self;
        Some(format!(
            "set `{}` to its address, or name it under `[sources]` in kiln.toml",
            variable(name)
        ))
    }
}

/// The environment variable that says where a source lives.
pub fn variable(name: &str) -> String {
    format!(
        "KILN_SOURCE_{}",
        name.to_ascii_uppercase().replace(['-', '.'], "_")
    )
}

/// Finds sources by their names. The host's tools are asked once at most.
pub struct Sources {
    config: SourceConfig,
    host: Host,
    built_in_python_index: OnceLock<Option<host::Found>>,
    apt_entries: OnceLock<Vec<apt::AptEntry>>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("config", &self.config)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// The sources of a family on this host.
    pub fn new(config: SourceConfig) -> Self {
        Self::on(config, Host::current())
    }

    /// The sources of a family on some host.
    pub fn on(config: SourceConfig, host: Host) -> Self {
        Self {
            config,
            host,
            built_in_python_index: OnceLock::new(),
            apt_entries: OnceLock::new(),
        }
    }

    /// Where a source lives. May run the host's pip, so it can take some tenths of a second
    /// the first time.
    pub fn locate(&self, name: &str, kind: &SourceKind) -> Result<Located, SourceError> {
        let found = self.find(name, kind).ok_or_else(|| SourceError::Unknown {
            name: name.to_owned(),
            suite: match kind {
                SourceKind::Deb { suite } => Some(suite.clone()),
                SourceKind::Python | SourceKind::Files => None,
            },
        })?;
        match Url::parse(&found.value) {
            Ok(url) => Ok(Located {
                url,
                place: found.place,
            }),
            Err(cause) => Err(SourceError::Address {
                name: name.to_owned(),
                place: found.place,
                cause,
            }),
        }
    }

    /// The address of a Python index **with its login**, for handing to uv through its
    /// environment. Never log it, never put it on a command line.
    pub fn url_for_tools(&self, name: &str) -> Result<String, SourceError> {
        let located = self.locate(name, &SourceKind::Python)?;
        let login = netrc::find(&self.host.logins(), &located.url);
        Ok(located.url.or_login(login).reveal())
    }

    /// The login of a Python index, for a tool that reads the index's files itself: to be handed
    /// over through its environment. Never log it, never put it on a command line.
    pub fn login_for_tools(&self, name: &str) -> Result<Option<ToolLogin>, SourceError> {
        let located = self.locate(name, &SourceKind::Python)?;
        let login = netrc::find(&self.host.logins(), &located.url);
        let url = located.url.or_login(login);
        Ok(url.login().map(|login| ToolLogin {
            address: url.to_string(),
            user: login.user.clone(),
            password: login.password.clone(),
        }))
    }

    fn find(&self, name: &str, kind: &SourceKind) -> Option<host::Found> {
        if let Some(value) = self.config.overrides.get(name) {
            return Some(host::Found {
                value: value.clone(),
                place: "`[sources]` of the family".to_owned(),
            });
        }
        let variable = variable(name);
        if let Some(value) = self.host.variable(&variable) {
            return Some(host::Found {
                value: value.to_owned(),
                place: format!("the variable `{variable}`"),
            });
        }
        match kind {
            SourceKind::Deb { suite } => {
                let entries = self.apt_entries.get_or_init(|| self.host.apt_entries());
                apt::find(entries, name, suite).map(|uri| host::Found {
                    value: uri.to_owned(),
                    place: "apt's sources".to_owned(),
                })
            }
            SourceKind::Python if name == PRIMARY_PYTHON_INDEX => {
                self.host.configured_python_index().or_else(|| {
                    self.built_in_python_index
                        .get_or_init(|| self.host.built_in_python_index())
                        .clone()
                })
            }
            SourceKind::Python | SourceKind::Files => None,
        }
    }

    /// Logins of this host, strongest first.
    pub(crate) fn logins(&self) -> Vec<netrc::Machine> {
        self.host.logins()
    }

    /// A file of certificates to trust beside the host's own.
    pub(crate) fn extra_certificates(&self) -> Option<PathBuf> {
        self.host.pip_certificates()
    }
}

#[cfg(test)]
mod tests;
