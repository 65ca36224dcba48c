//! Projects that come from one index and from nowhere else.
//!
//! uv's explicit indexes hold for direct requirements alone: neither constraints nor overrides
//! carry them to what those require. What holds for every project, direct or transitive, is the
//! order of indexes: a project comes from the first that has it, and is looked for in no other.
//! So kiln reads the pages of routed projects from their sources, and puts them into a directory
//! that is uv's first index. It has these projects and no others, whatever else their sources
//! offer; and as it has a page for each, none of them ever comes from the primary index.

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use kiln_fetch::{FetchError, Fetcher, ProjectPage, SourceError, ToolLogin, Url};
use kiln_lock::Wheel;
use kiln_recipe::{Component, Location};
use pep508_rs::PackageName;

use super::SOURCE;

/// Where projects come from that do not come from the primary index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    by_project: BTreeMap<PackageName, Route>,
}

/// Where one project comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The source.
    pub source: String,
    /// Where that is said.
    pub at: Location,
}

/// Why the projects that have an index of their own cannot be had from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The index does not have a project.
    #[error("{at}: source `{from}` has no project `{project}`, which comes from there alone")]
    Missing {
        /// The project.
        project: PackageName,
        /// Its source.
        from: String,
        /// Where that is said.
        at: Location,
    },
    /// The page of a project cannot be read.
    #[error("{at}: the page of `{project}` at source `{from}` cannot be read")]
    Page {
        /// The project.
        project: PackageName,
        /// Its source.
        from: String,
        /// Where that is said.
        at: Location,
        /// Why.
        #[source]
        cause: Box<FetchError>,
    },
    /// Files are to be left out by a time that the index does not say.
    #[error("source `{from}` does not say when the files of `{project}` were uploaded")]
    NoTimes {
        /// The project.
        project: PackageName,
        /// Its source.
        from: String,
    },
    /// A bundle below has the project from elsewhere.
    #[error(
        "{at}: `{project}` comes from source `{from}` alone, but the bundle below has {file} from \
         `{other}`"
    )]
    Below {
        /// The project.
        project: String,
        /// Its source.
        from: String,
        /// Where that is said.
        at: Box<Location>,
        /// The wheel that is there.
        file: String,
        /// Where it comes from.
        other: String,
    },
    /// It is not known where a source lives.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The directory that uv reads cannot be made.
    #[error("the pages of `{project}` cannot be written for uv")]
    Disk {
        /// The project.
        project: PackageName,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl RouteError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { project, from, .. } => Some(format!(
                "take `{project}` out of `[python-index.{from}]`, or check the address of the \
                 source: nothing falls back to another index"
            )),
            Self::Page { cause, .. } => cause.hint(),
            Self::NoTimes { .. } => Some("lock without `--exclude-newer`".to_owned()),
            Self::Below { from, .. } => Some(format!(
                "move `[python-index.{from}]` to the bundle that brings the project or to the \
                 accelerator, or set `independent = true` in the bundle"
            )),
            Self::Source(error) => error.hint(),
            Self::Disk { .. } => None,
        }
    }

    /// Whether the network, or a source, is at fault rather than the family.
    pub fn is_network(&self) -> bool {
        match self {
            Self::Page { cause, .. } => !cause.is_gone(),
            Self::Source(_) => true,
            _ => false,
        }
    }
}

impl Routes {
    /// What these components say together.
    pub fn of<'c>(components: impl IntoIterator<Item = &'c Component>) -> Self {
        let indexes = components.into_iter().flat_map(|it| &it.python_indexes);
        let routes = indexes.flat_map(|(source, index)| {
            index.projects.iter().filter_map(|(project, at)| {
                let route = Route {
                    source: source.clone(),
                    at: at.clone(),
                };
                Some((project.parse().ok()?, route))
            })
        });
        Self {
            by_project: routes.collect(),
        }
    }

    /// The source of a project.
    pub fn source(&self, project: &PackageName) -> &str {
        self.by_project
            .get(project)
            .map_or(SOURCE, |route| &route.source)
    }

    /// Whether a wheel is from where its project comes from.
    pub fn fits(&self, wheel: &Wheel) -> bool {
        wheel
            .name
            .parse()
            .is_ok_and(|name| self.source(&name) == wheel.source)
    }

    /// Refuses wheels of bundles below that are from elsewhere.
    pub(crate) fn check_below(&self, wheels: &[&Wheel]) -> Result<(), RouteError> {
        let Some(wheel) = wheels.iter().find(|wheel| !self.fits(wheel)) else {
            return Ok(());
        };
        let route = wheel.name.parse().ok();
        let route = route.and_then(|name| self.by_project.get(&name));
        // A wheel of a bundle below was routed by a component below, which counts here as well.
        route.map_or(Ok(()), |route| {
            Err(RouteError::Below {
                project: wheel.name.clone(),
                from: route.source.clone(),
                at: Box::new(route.at.clone()),
                file: wheel.file.clone(),
                other: wheel.source.clone(),
            })
        })
    }

    /// The routed projects.
    pub fn projects(&self) -> impl Iterator<Item = &PackageName> {
        self.by_project.keys()
    }

    /// All that is asked from where: the key of what is read.
    fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        let routes = self.by_project.iter();
        routes.map(|(project, route)| (project.as_ref(), route.source.as_str()))
    }
}

/// A directory that uv reads as an index, and the logins of the sources that its files are at.
/// Nothing in it where nothing is routed.
#[derive(Debug, Default)]
pub struct RoutedIndex {
    routes: Routes,
    directory: Option<tempfile::TempDir>,
    /// The address of `directory`; there exactly when that is.
    address: Option<String>,
    logins: Vec<ToolLogin>,
}

impl RoutedIndex {
    /// Reads the pages of all routed projects. Files that were uploaded at `exclude_newer` (a date
    /// or RFC 3339) or later are left out.
    pub fn read(
        routes: &Routes,
        fetcher: &Fetcher,
        exclude_newer: Option<&str>,
    ) -> Result<Self, RouteError> {
        if routes.by_project.is_empty() {
            return Ok(Self::default());
        }
        let wanted = routes.sources();
        let wanted = wanted.map(|(project, source)| (source.to_owned(), project.to_owned()));
        let pages = fetcher.project_pages(wanted.collect());
        let disk = |project: &PackageName| {
            let project = project.clone();
            |cause| RouteError::Disk { project, cause }
        };
        let mut directory = None;
        for ((project, route), page) in routes.by_project.iter().zip(pages) {
            let page = page.map_err(|cause| unread(project, route, cause))?;
            let page = match exclude_newer {
                Some(time) => uploaded_before(&page, time).ok_or_else(|| RouteError::NoTimes {
                    project: project.clone(),
                    from: route.source.clone(),
                })?,
                None => Arc::unwrap_or_clone(page),
            };
            let directory = match &directory {
                Some(made) => made,
                None => directory.insert(tempfile::tempdir().map_err(disk(project))?),
            };
            write(directory.path(), project, &page).map_err(disk(project))?;
        }
        // Without an address uv would look for these projects in the primary index.
        let address = match (&directory, routes.by_project.keys().next()) {
            (Some(directory), Some(project)) => {
                Some(address_of(directory.path()).map_err(disk(project))?)
            }
            _ => None,
        };
        let mut sources: Vec<&str> = routes.sources().map(|(_, source)| source).collect();
        sources.sort_unstable();
        sources.dedup();
        let logins = sources
            .into_iter()
            .map(|source| fetcher.sources().login_for_tools(source))
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            routes: routes.clone(),
            directory,
            address,
            logins,
        })
    }

    /// Where projects come from.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The address of the directory.
    pub(super) fn address(&self) -> Option<&str> {
        self.directory.as_ref().and(self.address.as_deref())
    }

    /// The logins of the files' sources.
    pub(super) fn logins(&self) -> &[ToolLogin] {
        &self.logins
    }

    /// Whether this is what was read for such routes.
    pub(crate) fn is_of(&self, routes: &Routes) -> bool {
        self.routes.sources().eq(routes.sources())
    }
}

/// The address of a directory. Paths have no logins, so that it shows all of it.
fn address_of(directory: &Path) -> io::Result<String> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidFilename);
    let path = directory.canonicalize()?;
    let url = Url::parse(path.to_str().ok_or_else(invalid)?).map_err(|_| invalid())?;
    Ok(url.to_string())
}

fn unread(project: &PackageName, route: &Route, cause: FetchError) -> RouteError {
    let (project, from, at) = (project.clone(), route.source.clone(), route.at.clone());
    if cause.is_gone() {
        RouteError::Missing { project, from, at }
    } else {
        RouteError::Page {
            project,
            from,
            at,
            cause: Box::new(cause),
        }
    }
}

fn write(directory: &Path, project: &PackageName, page: &ProjectPage) -> io::Result<()> {
    let directory = directory.join(project.as_ref());
    fs::create_dir(&directory)?;
    fs::write(directory.join("index.html"), page.to_html())
}

/// The files of a page that were uploaded before a time; nothing where the page has files and says
/// of none when that was. A date means its end, as uv has it.
fn uploaded_before(page: &ProjectPage, time: &str) -> Option<ProjectPage> {
    let end_of_day = |date: Date| {
        let next = date.tomorrow().ok()?;
        Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let limit = match time.parse::<Date>() {
        Ok(date) if !time.contains(['T', 't', ' ']) => end_of_day(date)?,
        _ => time.parse().ok()?,
    };
    let uploaded = |text: &String| text.parse::<Timestamp>().ok();
    let times = page.files.iter().map(|it| it.uploaded.as_ref());
    if !page.files.is_empty() && times.clone().all(|it| it.and_then(uploaded).is_none()) {
        return None;
    }
    let mut page = page.clone();
    page.files.retain(|file| {
        let time = file.uploaded.as_ref().and_then(uploaded);
        time.is_some_and(|time| time < limit)
    });
    Some(page)
}
