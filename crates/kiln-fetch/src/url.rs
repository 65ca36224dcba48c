//! Addresses that keep their secrets.
//!
//! An index address often carries a user and a password (`https://user:token@host/…`), and
//! file addresses may carry signatures in their query. [`Url`] takes the login out of the
//! address as it is parsed; `Display` and `Debug` show scheme, host, port and path only.

use std::fmt;

use percent_encoding::percent_decode_str;

/// An address with scheme `http`, `https` or `file`. What it displays holds no secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// Without user, password and fragment.
    address: reqwest::Url,
    login: Option<Login>,
}

/// A user and a password for one host.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Why a text is no address that can be fetched from. Never shows the text, which may hold
/// a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not of the form `scheme://host/path`, nor an absolute path.
    #[error("not an address such as `https://mirror.example/path` or an absolute path")]
    Malformed,
    /// A scheme that kiln does not fetch from.
    #[error("addresses with `{0}:` are not supported")]
    Scheme(String),
}

impl UrlError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        Some("use an address that starts with `https://`, `http://` or `file:///`".to_owned())
    }
}

impl Url {
    /// Parses an address. An absolute path is taken as a `file:` address.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.starts_with('/') && !text.starts_with("//") {
            let address = reqwest::Url::from_file_path(text).map_err(|()| UrlError::Malformed)?;
            // Read again, as only that resolves `..`: whoever is handed the address does the same.
            let address = reqwest::Url::parse(address.as_str());
            return Self::from_parsed(address.map_err(|_| UrlError::Malformed)?);
        }
        Self::from_parsed(reqwest::Url::parse(text).map_err(|_| UrlError::Malformed)?)
    }

    /// Resolves a reference found in a document that was read from this address. The login
    /// goes along only where the reference stays on the same origin.
    pub(crate) fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let joined = self
            .address
            .join(reference.trim())
            .map_err(|_| UrlError::Malformed)?;
        let mut url = Self::from_parsed(joined)?;
        if url.address.scheme() == "file" && self.address.scheme() != "file" {
            // A page from the network must not make us read local files.
            return Err(UrlError::Scheme("file".to_owned()));
        }
        if url.login.is_none() && url.same_origin(self) {
            url.login.clone_from(&self.login);
        }
        Ok(url)
    }

    /// This address with path segments added, each of them quoted. `path` must be
    /// [plain](is_plain_path).
    pub(crate) fn with_path(&self, path: &str) -> Self {
        let mut url = self.clone();
        // Cannot fail: `from_parsed` admits only schemes whose addresses have segments.
        if let Ok(mut segments) = url.address.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }

    /// This address as a directory: with a slash at the end.
    pub(crate) fn as_directory(&self) -> Self {
        let mut url = self.clone();
        if let Ok(mut segments) = url.address.path_segments_mut() {
            segments.pop_if_empty().push("");
        }
        url
    }

    /// This address with `suffix` after its path (the query stays, for signed addresses).
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        let mut url = self.clone();
        let path = format!("{}{suffix}", url.address.path());
        url.address.set_path(&path);
        url
    }

    /// The address that a response came from, with the login of the request where the
    /// origin is still the same.
    pub(crate) fn after_redirect(&self, address: &reqwest::Url) -> Result<Self, UrlError> {
        self.join(address.as_str())
    }

    fn from_parsed(mut address: reqwest::Url) -> Result<Self, UrlError> {
        match address.scheme() {
            "http" | "https" if address.has_host() => {}
            "file" => {}
            other => return Err(UrlError::Scheme(other.chars().take(20).collect())),
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login =
            (!address.username().is_empty() || address.password().is_some()).then(|| Login {
                user: decode(address.username()),
                password: decode(address.password().unwrap_or_default()),
            });
        // Neither can fail for the schemes above; if one did, the address must not be used.
        address
            .set_username("")
            .and_then(|()| address.set_password(None))
            .or_else(|()| if login.is_none() { Ok(()) } else { Err(()) })
            .map_err(|()| UrlError::Malformed)?;
        address.set_fragment(None);
        Ok(Self { address, login })
    }

    /// The last segment of the path that is not empty, as written.
    pub fn last_segment(&self) -> Option<&str> {
        self.address.path_segments()?.rfind(|part| !part.is_empty())
    }

    /// The host, if the address has one.
    pub fn host(&self) -> Option<&str> {
        self.address.host_str()
    }

    /// The local path of a `file:` address.
    pub(crate) fn local_path(&self) -> Option<std::path::PathBuf> {
        (self.address.scheme() == "file")
            .then(|| self.address.to_file_path().ok())
            .flatten()
    }

    /// The address as it goes over the wire: query included, login not.
    pub(crate) fn wire(&self) -> &reqwest::Url {
        &self.address
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    pub(crate) fn path(&self) -> &str {
        self.address.path()
    }

    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.address.origin() == other.address.origin()
            && self.address.scheme() == other.address.scheme()
    }

    /// This address with a login, unless it has one.
    pub(crate) fn or_login(mut self, login: Option<Login>) -> Self {
        if self.login.is_none() {
            self.login = login;
        }
        self
    }

    /// The whole address **with its login**, for handing to a tool through its
    /// environment. Never log it, never put it on a command line.
    pub fn reveal(&self) -> String {
        let mut address = self.address.clone();
        if let Some(login) = &self.login {
            // Both quote what they are given.
            let _ = address.set_username(&login.user);
            if !login.password.is_empty() {
                let _ = address.set_password(Some(&login.password));
            }
        }
        address.into()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.address.scheme())?;
        if let Some(host) = self.address.host_str() {
            f.write_str(host)?;
        }
        if let Some(port) = self.address.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.address.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Whether a relative path stays below where it is joined to: no empty, `.` or `..` parts,
/// no backslash, no control characters.
pub(crate) fn is_plain_path(path: &str) -> bool {
    path.len() <= 4096
        && !path.contains(|c: char| c == '\\' || c.is_control())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_the_address_and_never_shown() {
        let url = Url::parse("https://us%40er:p%2Fw@index.example:8443/simple?sig=q#frag").unwrap();
        for shown in [
            url.to_string(),
            format!("{url:?}"),
            format!("{:?}", url.login()),
        ] {
            for secret in ["us", "p%2Fw", "p/w", "sig"] {
                assert!(!shown.replace("simple", "").contains(secret), "{shown}");
            }
        }
        let login = url.login().unwrap();
        assert_eq!((&*login.user, &*login.password), ("us@er", "p/w"));
        assert_eq!(
            url.reveal(),
            "https://us%40er:p%2Fw@index.example:8443/simple?sig=q"
        );
    }

    #[test]
    fn errors_do_not_repeat_the_text() {
        let error = Url::parse("ftp://user:secret@host/").unwrap_err();
        assert_eq!(error, UrlError::Scheme("ftp".to_owned()));
        let error = Url::parse("user:secret@host").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
        assert_eq!(Url::parse("https//typo").unwrap_err(), UrlError::Malformed);
    }

    #[test]
    fn a_path_is_the_address_that_its_text_is() {
        let url = Url::parse("/srv/x/../mirror of mine").unwrap();
        assert_eq!(url.reveal(), "file:///srv/mirror%20of%20mine");
        assert_eq!(Url::parse(&url.reveal()), Ok(url));
    }

    #[test]
    fn path_segments_are_quoted() {
        let base = Url::parse("http://mirror.example/debian").unwrap();
        for base in [&base, &base.as_directory()] {
            assert_eq!(
                base.with_path("pool/g++_1%3a2~b.deb").wire().as_str(),
                "http://mirror.example/debian/pool/g++_1%253a2~b.deb"
            );
        }
    }

    #[test]
    fn a_login_follows_a_reference_on_the_same_origin_only() {
        let page = Url::parse("https://u:p@index.example/simple/a/").unwrap();
        assert!(page.join("../../f/a.whl").unwrap().login().is_some());
        assert!(
            page.join("https://files.example/a.whl")
                .unwrap()
                .login()
                .is_none()
        );
        assert!(
            page.join("http://index.example/a.whl")
                .unwrap()
                .login()
                .is_none()
        );
        assert!(page.join("file:///etc/passwd").is_err());
    }

    #[test]
    fn paths_that_leave_their_root_are_not_plain() {
        assert!(is_plain_path("dists/trixie/InRelease"));
        for path in ["", "/etc", "a//b", "../x", "a/../b", "a/.", "a\\b", "a\n"] {
            assert!(!is_plain_path(path), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in ".*") {
            if let Ok(url) = Url::parse(&text) {
                let _ = (url.to_string(), url.reveal(), url.join(&text));
            }
        }
    }
}
