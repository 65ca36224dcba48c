//! Requests: which client, which login, which failures are worth another try.

use std::{
    error::Error,
    fs,
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, RANGE, RETRY_AFTER},
    redirect,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{
    error::{FetchError, Subject, Transport},
    source::netrc::{self, Machine},
    url::Url,
};

const MAX_REDIRECTS: usize = 10;
/// A server that asks for more patience than this gets the next try anyway.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How patient kiln is with servers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Patience {
    /// How often something is tried before it counts as failed.
    pub tries: u32,
    /// The pause after the first failure; each further one is twice as long.
    pub pause: Duration,
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long a server may send nothing.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 5,
            pause: Duration::from_millis(500),
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
        }
    }
}

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another attempt would fail, too.
    Final(FetchError),
    /// Another attempt may succeed, at the earliest after the time that the server named.
    Passing(FetchError, Option<Duration>),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

/// The HTTP clients.
#[derive(Debug)]
pub(crate) struct Http {
    /// For bytes whose digest is known: no transfer compression.
    files: Client,
    /// For documents: gzip is undone.
    documents: Client,
    logins: Vec<Machine>,
    patience: Patience,
}

impl Http {
    pub(crate) fn new(
        patience: Patience,
        user_agent: &str,
        logins: Vec<Machine>,
        extra_certificates: Option<&Path>,
    ) -> Result<Self, FetchError> {
        let tls = tls(extra_certificates)?;
        let client = |gzip: bool| {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .gzip(gzip)
                .user_agent(user_agent)
                .referer(false)
                .redirect(redirects())
                .connect_timeout(patience.connect)
                .read_timeout(patience.stall)
                .build()
                .map_err(|error| FetchError::Setup(Transport::Client(words(error))))
        };
        Ok(Self {
            files: client(false)?,
            documents: client(true)?,
            logins,
            patience,
        })
    }

    /// Asks for the bytes of a file, from `offset` on. The answer has status 200, 206 or 416.
    pub(crate) async fn open_file(
        &self,
        subject: &Subject,
        range: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(Ok(range)) = range.map(HeaderValue::from_str) {
            headers.insert(RANGE, range);
        }
        self.send(&self.files, subject, headers).await
    }

    /// Reads a whole document of at most `limit` bytes: its bytes, its type, and where it
    /// finally came from. `exact` asks for the bytes as they are stored.
    pub(crate) async fn read(
        &self,
        subject: &Subject,
        accept: Option<&'static str>,
        exact: bool,
        limit: u64,
    ) -> Result<Document, FetchError> {
        let mut backoff = Backoff::new(&self.patience);
        loop {
            let client = if exact { &self.files } else { &self.documents };
            let mut headers = HeaderMap::new();
            headers.extend(accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept))));
            let outcome = match self.send(client, subject, headers).await {
                Ok(response) => self.document(response, subject, limit).await,
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(document) => return Ok(document),
                Err(failure) => {
                    let retry = backoff.after(failure)?;
                    tracing::info!(
                        what = subject.what,
                        attempt = retry.attempt,
                        why = retry.why,
                        "trying again"
                    );
                    tokio::time::sleep(retry.wait).await;
                }
            }
        }
    }

    async fn document(
        &self,
        mut response: Response,
        subject: &Subject,
        limit: u64,
    ) -> Result<Document, Failure> {
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let kind = header(reqwest::header::CONTENT_TYPE).unwrap_or_default();
        let url = subject
            .url
            .after_redirect(response.url())
            .map_err(|_| subject.malformed("it redirects to an unusable address"))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut response, subject).await? {
            if bytes.len() as u64 + chunk.len() as u64 > limit {
                return Err(subject.too_large(limit).into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Document { bytes, kind, url })
    }

    /// The next bytes of an answer; `None` at its end.
    pub(crate) async fn chunk(
        &self,
        response: &mut Response,
        subject: &Subject,
    ) -> Result<Option<bytes::Bytes>, Failure> {
        let chunk = response.chunk().await;
        chunk.map_err(|error| self.judge(error, subject))
    }

    async fn send(
        &self,
        client: &Client,
        subject: &Subject,
        headers: HeaderMap,
    ) -> Result<Response, Failure> {
        // An address is shown without its login and its query.
        tracing::debug!(source = subject.from, address = %subject.url, "asking");
        let mut request = client.get(subject.url.wire().clone()).headers(headers);
        let found = netrc::find(&self.logins, &subject.url);
        if let Some(login) = subject.url.login().or(found.as_ref()) {
            // reqwest marks the header as sensitive and drops it when it leaves the origin.
            request = request.basic_auth(&login.user, Some(&login.password));
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.judge(error, subject))?;
        match refusal(&response, subject) {
            None => Ok(response),
            Some(failure) => Err(failure),
        }
    }

    /// Whether a broken exchange is worth another try.
    fn judge(&self, error: reqwest::Error, subject: &Subject) -> Failure {
        let hopeless = error.is_redirect() || error.is_builder();
        let cause = if error.is_timeout() {
            let limit = if error.is_connect() {
                self.patience.connect
            } else {
                self.patience.stall
            };
            Transport::Stalled {
                seconds: limit.as_secs(),
            }
        } else if error.is_redirect() {
            Transport::Redirect(words(error))
        } else {
            Transport::Client(words(error))
        };
        let untrusted = matches!(&cause, Transport::Client(why) if why.contains("certificate"));
        let error = subject.unreachable(cause);
        if hopeless || untrusted {
            Failure::Final(error)
        } else {
            Failure::Passing(error, None)
        }
    }
}

/// A document that was read whole.
pub(crate) struct Document {
    pub(crate) bytes: Vec<u8>,
    /// Its `Content-Type`, or nothing.
    pub(crate) kind: String,
    /// Where it finally came from.
    pub(crate) url: Url,
}

/// What the status of an answer means, if it is not one to read on from.
fn refusal(response: &Response, subject: &Subject) -> Option<Failure> {
    let status = response.status();
    Some(match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            return None;
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Failure::Final(subject.gone()),
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Failure::Final(FetchError::Denied {
            subject: Box::new(subject.clone()),
            status: status.as_u16(),
        }),
        _ => {
            let error = FetchError::Status {
                subject: Box::new(subject.clone()),
                status: status.as_u16(),
            };
            let passing = status.is_server_error()
                || matches!(
                    status,
                    StatusCode::REQUEST_TIMEOUT
                        | StatusCode::TOO_EARLY
                        | StatusCode::TOO_MANY_REQUESTS
                );
            if passing {
                Failure::Passing(error, retry_after(response))
            } else {
                Failure::Final(error)
            }
        }
    })
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3). Its other form, a date, is not used
/// by servers that limit rates; it counts as absent.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Counts failures and says how long to wait: exponentially longer, with jitter so that many
/// clients do not come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    tries: u32,
    pause: Duration,
    failed: u32,
}

/// What to do after a failure that may pass.
#[derive(Debug)]
pub(crate) struct Retry {
    /// The number of the attempt that failed, from 1.
    pub(crate) attempt: u32,
    pub(crate) why: String,
    pub(crate) wait: Duration,
}

impl Backoff {
    pub(crate) fn new(patience: &Patience) -> Self {
        Self {
            tries: patience.tries,
            pause: patience.pause,
            failed: 0,
        }
    }

    /// Forgets earlier failures, because there was progress.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }

    /// What to do after `failure`; its error when there is nothing to be done.
    pub(crate) fn after(&mut self, failure: Failure) -> Result<Retry, FetchError> {
        let (error, asked) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing(error, asked) => (error, asked),
        };
        self.failed += 1;
        if self.failed >= self.tries {
            return Err(error);
        }
        let why = match &error {
            FetchError::Unreachable { cause, .. } => cause.to_string(),
            FetchError::Status { status, .. } => format!("status {status}"),
            other => other.to_string(),
        };
        let doubled = self.pause.saturating_mul(1 << (self.failed - 1).min(10));
        // Between half of it and all of it.
        let share = u32::try_from(RandomState::new().hash_one(self.failed) % 512).unwrap_or(0);
        let jittered = doubled / 2 + doubled / 1024 * share;
        Ok(Retry {
            attempt: self.failed,
            why,
            wait: asked.unwrap_or(Duration::ZERO).max(jittered).min(MAX_WAIT),
        })
    }
}

/// Follows a bounded number of redirects, and none from https to http.
fn redirects() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let secure = attempt
            .previous()
            .last()
            .is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if secure && attempt.url().scheme() != "https" {
            attempt.error("it redirects from https to http")
        } else {
            attempt.follow()
        }
    })
}

/// TLS with `ring`, trusting what the host trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR`
/// included) and the certificates in one more file. A host without any certificate can still
/// use http and file sources; https then fails with a clear error.
fn tls(extra: Option<&Path>) -> Result<rustls::ClientConfig, FetchError> {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        tracing::debug!(%error, "a certificate of the host was passed over");
    }
    roots.add_parsable_certificates(native.certs);
    match extra.map(fs::read) {
        Some(Ok(pem)) => {
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        }
        // pip's setting; where it matters, the handshake fails and says so.
        Some(Err(error)) => tracing::warn!(%error, "pip's certificates cannot be read"),
        None => {}
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Setup(Transport::Client(error.to_string())))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// An error of the client in one line, without any address: what failed, and the innermost cause.
/// Those between say the same in the words of each library.
fn words(error: reqwest::Error) -> String {
    let what = if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the connection broke off"
    } else if error.is_redirect() {
        "it cannot be followed"
    } else {
        "the request failed"
    };
    let error = error.without_url();
    let mut innermost: &dyn Error = &error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    format!("{what}: {innermost}")
}
