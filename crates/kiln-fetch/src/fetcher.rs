//! The face of this crate: a synchronous [`Fetcher`] with its own runtime behind it.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use kiln_digest::Digest;
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
};

use crate::{
    download::{Job, Notify, Wanted, blocking},
    error::{FetchError, Transport},
    event::Event,
    http::Patience,
    listing::Listings,
    network::Network,
    page::{ProjectFile, ProjectPage},
    part,
    source::{SourceKind, Sources},
};

/// How to fetch.
#[derive(Debug)]
#[non_exhaustive]
pub struct FetchOptions {
    /// Where sources live.
    pub sources: Sources,
    /// Whether the network must not be used. `file:` sources still work.
    pub offline: bool,
    /// How many files are fetched at once.
    pub jobs: usize,
    /// How kiln names itself to servers.
    pub user_agent: String,
    /// How patient kiln is with servers.
    pub patience: Patience,
}

impl FetchOptions {
    /// The defaults: online, 16 at once.
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            offline: false,
            jobs: 16,
            user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
            patience: Patience::default(),
        }
    }
}

/// Fetches from named sources. Its methods block and may be called from any thread, but not
/// from inside an async runtime.
pub struct Fetcher {
    network: Arc<Network>,
    jobs: usize,
    cancelled: watch::Sender<bool>,
    /// Taken only when the fetcher is dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher")
            .field("network", &self.network)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher. Touches neither the network nor the host's configuration yet.
    pub fn new(options: FetchOptions) -> Result<Self, FetchError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("kiln-fetch")
            .enable_all()
            .build()
            .map_err(|error| FetchError::Setup(Transport::Client(error.to_string())))?;
        Ok(Self {
            network: Arc::new(Network::new(
                options.sources,
                options.offline,
                options.user_agent,
                options.patience,
            )),
            jobs: options.jobs.max(1),
            cancelled: watch::Sender::new(false),
            runtime: Some(runtime),
        })
    }

    /// Where sources live.
    pub fn sources(&self) -> &Sources {
        self.network.sources()
    }

    /// Stops everything that is under way, and everything that is asked for later: it ends
    /// with [`FetchError::Cancelled`]. Parts of files are kept.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Fetches files into `directory`, each under the 64 hex digits of its sha256.
    ///
    /// Every digest has one result, in the order in which files are done: first those that
    /// are there already, then the largest first. `events` is called from other threads and
    /// must not block. Dropping the returned value stops what is still under way.
    pub fn download(
        &self,
        wanted: Vec<Wanted>,
        directory: &Path,
        events: impl Fn(Event) + Send + 'static,
    ) -> Downloads {
        let (sender, results) = mpsc::channel();
        let mut seen = BTreeSet::new();
        let mut wanted: Vec<Wanted> = wanted
            .into_iter()
            .filter(|wanted| seen.insert(wanted.sha256))
            .collect();
        wanted.sort_by(|a, b| (b.size, a.sha256).cmp(&(a.size, b.sha256)));
        let events = Mutex::new(events);
        let work = download_all(
            Arc::clone(&self.network),
            wanted,
            directory.to_owned(),
            Arc::new(move |event| {
                let events = events.lock().unwrap_or_else(PoisonError::into_inner);
                events(event);
            }),
            Batch {
                jobs: self.jobs,
                cancelled: self.cancelled.subscribe(),
                results: sender,
            },
        );
        Downloads {
            results,
            task: self.runtime().spawn(work).abort_handle(),
        }
    }

    /// Reads a file of a source whole, at most `max_bytes`. `path` is relative to the
    /// archive's root or the index.
    pub fn get(
        &self,
        source: &str,
        kind: &SourceKind,
        path: &str,
        max_bytes: u64,
        expected: Option<Digest>,
    ) -> Result<Vec<u8>, FetchError> {
        self.block_on(async {
            let subject = self.network.subject(source, kind, path).await?;
            let document = self.network.read(&subject, None, true, max_bytes).await?;
            let actual = expected.map(|_| Digest::of(&document.bytes));
            match (expected, actual) {
                (Some(expected), Some(actual)) if actual != expected => {
                    Err(subject.wrong_digest(expected, actual))
                }
                _ => Ok(document.bytes),
            }
        })
    }

    /// The files of a project at a Python index. Read once for each fetcher.
    pub fn project_page(
        &self,
        source: &str,
        project: &str,
    ) -> Result<Arc<ProjectPage>, FetchError> {
        let page = self.block_on(self.network.project_page(source, project))?;
        Ok(Arc::clone(&page.page))
    }

    /// `METADATA` of a wheel: fetched alone where the index has it so, else cut out of the
    /// wheel with range requests, else from the whole wheel.
    pub fn metadata(&self, file: &ProjectFile) -> Result<String, FetchError> {
        self.block_on(crate::metadata::read(&self.network, file))
    }

    /// [`metadata`](Self::metadata) of several wheels at once, in their order.
    pub fn metadata_all(&self, files: Vec<ProjectFile>) -> Vec<Result<String, FetchError>> {
        self.all(files, |network, file| async move {
            crate::metadata::read(&network, &file).await
        })
    }

    /// [`project_page`](Self::project_page) of several pairs of source and project at once, in
    /// their order.
    pub fn project_pages(
        &self,
        projects: Vec<(String, String)>,
    ) -> Vec<Result<Arc<ProjectPage>, FetchError>> {
        self.all(projects, |network, (source, project)| async move {
            let page = network.project_page(&source, &project).await?;
            Ok(Arc::clone(&page.page))
        })
    }

    /// Does something for each item, several at once, and keeps their order.
    fn all<I, T, W>(
        &self,
        items: Vec<I>,
        work: impl Fn(Arc<Network>, I) -> W,
    ) -> Vec<Result<T, FetchError>>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, FetchError>> + Send + 'static,
    {
        let permits = Arc::new(Semaphore::new(self.jobs));
        let tasks: Vec<_> = items
            .into_iter()
            .map(|item| {
                let work = work(Arc::clone(&self.network), item);
                let permits = Arc::clone(&permits);
                self.runtime().spawn(async move {
                    let _permit = permits.acquire().await;
                    work.await
                })
            })
            .collect();
        tasks
            .into_iter()
            .map(|task| {
                let stop = task.abort_handle();
                let result = self.block_on(async {
                    match task.await {
                        Ok(result) => result,
                        Err(error) if error.is_panic() => {
                            std::panic::resume_unwind(error.into_panic())
                        }
                        Err(_) => Err(FetchError::Cancelled),
                    }
                });
                stop.abort();
                result
            })
            .collect()
    }

    fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        let cancelled = self.cancelled.subscribe();
        self.runtime().block_on(unless_cancelled(cancelled, work))
    }

    #[expect(clippy::expect_used, reason = "taken only in `drop`")]
    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .expect("the runtime lives as long as the fetcher")
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Which file, and where it is now or why it is not.
pub type Fetched = (Digest, Result<PathBuf, FetchError>);

/// Results of a download, as they come. Dropping it stops what is still under way.
#[derive(Debug)]
pub struct Downloads {
    results: mpsc::Receiver<Fetched>,
    task: AbortHandle,
}

impl Downloads {
    /// The next result, if it comes within `timeout`. `Disconnected` when all have come, or when
    /// what fetches them has died.
    pub fn next_within(&self, timeout: Duration) -> Result<Fetched, mpsc::RecvTimeoutError> {
        self.results.recv_timeout(timeout)
    }
}

impl Iterator for Downloads {
    type Item = Fetched;

    fn next(&mut self) -> Option<Self::Item> {
        self.results.recv().ok()
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How the jobs of one download are run.
struct Batch {
    jobs: usize,
    cancelled: watch::Receiver<bool>,
    results: mpsc::Sender<Fetched>,
}

async fn download_all(
    network: Arc<Network>,
    wanted: Vec<Wanted>,
    directory: PathBuf,
    notify: Notify,
    batch: Batch,
) {
    let missing = {
        let (directory, results, notify) = (
            directory.clone(),
            batch.results.clone(),
            Arc::clone(&notify),
        );
        blocking(move || {
            let missing = wanted.into_iter().filter(|wanted| {
                let Some(path) = part::whole(&directory, wanted.sha256, wanted.size) else {
                    return true;
                };
                notify(wanted.reused());
                let _ = results.send((wanted.sha256, Ok(path)));
                false
            });
            Ok(missing.collect::<Vec<_>>())
        })
        .await
    };
    let missing = missing.unwrap_or_default();
    let listings = Arc::new(Listings::new(&missing));
    let permits = Arc::new(Semaphore::new(batch.jobs));
    // Dropped with this future, and all its tasks with it.
    let mut running = JoinSet::new();
    for wanted in missing {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            break;
        };
        let (cancelled, results) = (batch.cancelled.clone(), batch.results.clone());
        let job = Job {
            network: Arc::clone(&network),
            listings: Arc::clone(&listings),
            directory: directory.clone(),
            notify: Arc::clone(&notify),
            wanted,
        };
        running.spawn(async move {
            let digest = job.wanted.sha256;
            let result = unless_cancelled(cancelled, job.run()).await;
            let _ = results.send((digest, result));
            drop(permit);
        });
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
}

async fn unless_cancelled<T>(
    mut cancelled: watch::Receiver<bool>,
    work: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    tokio::select! {
        biased;
        // An error means that the fetcher is gone.
        _ = cancelled.wait_for(|cancelled| *cancelled) => Err(FetchError::Cancelled),
        result = work => result,
    }
}
