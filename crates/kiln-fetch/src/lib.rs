//! Named sources and verified downloads.
//!
//! # Words
//!
//! - A **source** has a name (`debian`, `pypi`, a bundle's own index), never a host. Where it
//!   lives is [located](Sources::locate) when it is needed: the family's `[sources]`, then
//!   `KILN_SOURCE_<NAME>`, then what the host itself uses (apt's sources, the *primary* index
//!   of pip or uv).
//! - A **[`Wanted`]** file is what a lock names: source, file, sha256, size.
//! - A **part** is a file on its way, `<hex>.part`, locked by the process that writes it.
//!
//! # Algorithm
//!
//! A download opens its part, hashes what an earlier process left there, asks for the rest
//! (a range request), hashes and writes what comes, and renames the part when size and
//! sha256 are right. Failures that may pass (5xx, 429, timeouts, resets, truncation) are tried
//! again, up to five times, with growing pauses; progress of a mebibyte starts the count anew.
//! A file of a Python index is looked up on its project's page first.
//!
//! # Invariants
//!
//! - Only verified, synced files get their final name; no more bytes than the lock says are
//!   ever accepted.
//! - No log line, error or event shows a login, a query or a header. A login goes to its own
//!   origin only: a redirect elsewhere, or a page's reference elsewhere, loses it.
//! - Offline, no connection is opened.
//! - Everything read from a server is bounded.

mod download;
mod error;
mod event;
mod fetcher;
#[doc(hidden)]
pub mod fuzzing;
mod html;
mod http;
mod listing;
mod metadata;
mod network;
mod page;
mod part;
mod source;
mod url;

pub use download::{Artifact, Wanted};
pub use error::{FetchError, Subject, Transport};
pub use event::Event;
pub use fetcher::{Downloads, FetchOptions, Fetched, Fetcher};
pub use http::Patience;
pub use page::{CoreMetadata, ProjectFile, ProjectPage};
pub use source::{
    Host, Located, PRIMARY_PYTHON_INDEX, SourceConfig, SourceError, SourceKind, Sources, ToolLogin,
    variable,
};
pub use url::{Url, UrlError};
