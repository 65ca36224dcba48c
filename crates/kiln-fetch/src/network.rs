//! What all fetching shares: where sources live, the HTTP clients, and project pages.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::{
    download::blocking,
    error::{FetchError, Subject},
    http::{Document, Http, Patience},
    page::{self, ProjectPage},
    source::{SourceKind, Sources},
    url::{self, Url},
};

/// What downloads share: sources, clients, project pages.
pub(crate) struct Network {
    sources: Arc<Sources>,
    offline: bool,
    user_agent: String,
    pub(crate) patience: Patience,
    /// Made when it is first needed: reading the host's certificates takes a while.
    http: OnceCell<Arc<Http>>,
    pages: Mutex<Pages>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("sources", &self.sources)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// By source and normalized project name.
type Pages = BTreeMap<(String, String), Arc<OnceCell<LocatedPage>>>;

/// A project page and where it was read.
#[derive(Debug, Clone)]
pub(crate) struct LocatedPage {
    pub(crate) page: Arc<ProjectPage>,
    pub(crate) url: Url,
}

impl Network {
    pub(crate) fn new(
        sources: Sources,
        offline: bool,
        user_agent: String,
        patience: Patience,
    ) -> Self {
        Self {
            sources: Arc::new(sources),
            offline,
            user_agent,
            patience,
            http: OnceCell::new(),
            pages: Mutex::default(),
        }
    }

    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.offline
    }

    /// The clients, for a subject that needs them.
    pub(crate) async fn http(&self, subject: &Subject) -> Result<Arc<Http>, FetchError> {
        if self.offline {
            return Err(subject.offline());
        }
        let make = || async {
            let sources = Arc::clone(&self.sources);
            let (patience, user_agent) = (self.patience.clone(), self.user_agent.clone());
            let made = blocking(move || {
                let extra = sources.extra_certificates();
                Http::new(patience, &user_agent, sources.logins(), extra.as_deref())
            });
            made.await.map(Arc::new)
        };
        self.http.get_or_try_init(make).await.cloned()
    }

    async fn locate(&self, source: &str, kind: &SourceKind) -> Result<Url, FetchError> {
        let sources = Arc::clone(&self.sources);
        let (source, kind) = (source.to_owned(), kind.clone());
        // May read files and run pip.
        blocking(move || Ok(sources.locate(&source, &kind)?.url)).await
    }

    /// A file of a source.
    pub(crate) async fn subject(
        &self,
        source: &str,
        kind: &SourceKind,
        path: &str,
    ) -> Result<Subject, FetchError> {
        if !url::is_plain_path(path) {
            return Err(FetchError::BadPath {
                from: source.to_owned(),
                path: path.chars().take(200).collect(),
            });
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        Ok(Subject {
            from: source.to_owned(),
            what: name.to_owned(),
            url: self.locate(source, kind).await?.with_path(path),
        })
    }

    /// Reads a document whole, from the network or a local file.
    pub(crate) async fn read(
        &self,
        subject: &Subject,
        accept: Option<&'static str>,
        exact: bool,
        limit: u64,
    ) -> Result<Document, FetchError> {
        let Some(path) = subject.url.local_path() else {
            let http = self.http(subject).await?;
            return http.read(subject, accept, exact, limit).await;
        };
        let subject = subject.clone();
        let bytes = blocking(move || read_local(&path, limit, &subject)).await;
        bytes.map(|(bytes, url)| Document {
            bytes,
            kind: String::new(),
            url,
        })
    }

    /// A project's page, from the cache if it was read before.
    pub(crate) async fn project_page(
        &self,
        source: &str,
        project: &str,
    ) -> Result<LocatedPage, FetchError> {
        let name = normalized(source, project)?;
        let cell = {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(pages.entry((source.to_owned(), name)).or_default())
        };
        let read = || self.read_project_page(source, project);
        cell.get_or_try_init(read).await.cloned()
    }

    /// A project's page, read anew.
    pub(crate) async fn read_project_page(
        &self,
        source: &str,
        project: &str,
    ) -> Result<LocatedPage, FetchError> {
        let name = normalized(source, project)?;
        let index = self.locate(source, &SourceKind::Python).await?;
        let subject = Subject {
            from: source.to_owned(),
            what: format!("page of project `{name}`"),
            url: index.with_path(&name).as_directory(),
        };
        let document = self
            .read(&subject, Some(page::ACCEPT), false, page::MAX_PAGE_BYTES)
            .await?;
        let page = page::parse(&document.bytes, &document.kind, &document.url, source)
            .map_err(|why| subject.malformed(why))?;
        Ok(LocatedPage {
            page: Arc::new(page),
            url: document.url,
        })
    }
}

/// A project's name as indexes spell it in addresses.
fn normalized(source: &str, project: &str) -> Result<String, FetchError> {
    page::normalize(project).ok_or_else(|| FetchError::BadPath {
        from: source.to_owned(),
        path: project.chars().take(200).collect(),
    })
}

/// A local file, or the `index.html` of a local directory, and its address.
fn read_local(path: &Path, limit: u64, subject: &Subject) -> Result<(Vec<u8>, Url), FetchError> {
    use io::Read as _;
    let (path, url) = if path.is_dir() {
        (path.join("index.html"), subject.url.as_directory())
    } else {
        (path.to_owned(), subject.url.clone())
    };
    let disk = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => subject.gone(),
        _ => FetchError::Disk {
            action: "read",
            path: path.clone(),
            cause,
        },
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).map_err(disk)?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(disk)?;
    if bytes.len() as u64 > limit {
        return Err(subject.too_large(limit));
    }
    Ok((bytes, url))
}
