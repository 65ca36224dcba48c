//! Hosts made of files: what is found where, and in which order.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;

/// A host with these files and variables.
struct TestHost {
    root: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl TestHost {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            environment: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
        }
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn program(self, path: &str, script: &str) -> Self {
        let host = self.file(path, &format!("#!/bin/sh\n{script}\n"));
        let file = host.root.path().join(path.trim_start_matches('/'));
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn sources(&self) -> Sources {
        let host = Host::at(self.root.path(), self.environment.clone());
        Sources::on(SourceConfig::default(), host)
    }

    fn python(&self) -> Result<String, SourceError> {
        let located = self.sources().locate("pypi", &SourceKind::Python)?;
        Ok(located.url.to_string())
    }

    fn deb(&self, name: &str, suite: &str) -> Result<String, SourceError> {
        let suite = suite.to_owned();
        let located = self.sources().locate(name, &SourceKind::Deb { suite })?;
        Ok(located.url.to_string())
    }
}

#[test]
fn the_family_wins_over_the_variable_and_the_variable_over_the_host() {
    let host = TestHost::new()
        .variable("KILN_SOURCE_DEBIAN_SECURITY", "http://variable.example/d")
        .file(
            "/etc/apt/sources.list",
            "deb http://host.example/debian-security x main",
        );
    let kind = SourceKind::Deb {
        suite: "x".to_owned(),
    };
    let found = host.sources().locate("debian-security", &kind).unwrap();
    assert_eq!(found.url.to_string(), "http://variable.example/d");
    assert_eq!(found.place, "the variable `KILN_SOURCE_DEBIAN_SECURITY`");
    let family = SourceConfig::new(BTreeMap::from([(
        "debian-security".to_owned(),
        "/srv/mirror".to_owned(),
    )]));
    let sources = Sources::on(family, Host::at(host.root.path(), host.environment.clone()));
    let found = sources.locate("debian-security", &kind).unwrap();
    assert_eq!(found.url.to_string(), "file:///srv/mirror");
}

#[test]
fn apt_sources_are_read_from_all_files_and_mirror_lists() {
    let host = TestHost::new()
        .file("/etc/apt/sources.list", "deb http://old.example/ubuntu noble main\n")
        .file(
            "/etc/apt/sources.list.d/debian.sources",
            "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie\nComponents: main\n",
        )
        .file("/etc/apt/mirrors/debian.list", "https://m.example/debian\n")
        .file("/etc/apt/sources.list.d/off.list.disabled", "deb http://off.example/debian sid main");
    assert_eq!(
        host.deb("debian", "trixie").unwrap(),
        "https://m.example/debian"
    );
    assert_eq!(
        host.deb("ubuntu", "noble").unwrap(),
        "http://old.example/ubuntu"
    );
    let error = host.deb("debian-security", "sid").unwrap_err();
    assert!(
        error
            .hint()
            .unwrap()
            .contains("KILN_SOURCE_DEBIAN_SECURITY")
    );
}

#[test]
fn an_archive_that_cannot_be_fetched_from_is_an_error_with_a_hint() {
    let tor = "deb tor+http://m.example/debian trixie main\n";
    let host = TestHost::new().file("/etc/apt/sources.list", tor);
    let error = host.deb("debian", "trixie").unwrap_err();
    assert_eq!(
        error.to_string(),
        "source `debian` has an unusable address in apt's sources"
    );
    assert!(error.hint().unwrap().contains("[sources]"));
    let host = host.file(
        "/etc/apt/sources.list.d/other.list",
        "deb http://n.example/debian bookworm main\n",
    );
    assert_eq!(
        host.deb("debian", "trixie").unwrap(),
        "http://n.example/debian"
    );
}

#[test]
fn variables_win_over_uv_and_uv_over_pip() {
    let mut host = TestHost::new().file(
        "/etc/pip.conf",
        "[global]\nindex-url = https://global.example/simple\n",
    );
    assert_eq!(host.python().unwrap(), "https://global.example/simple");
    host = host.file(
        "/home/me/.config/pip/pip.conf",
        "[global]\nindex-url = https://user.example\n",
    );
    assert_eq!(host.python().unwrap(), "https://user.example/");
    host = host
        .file(
            "/venv/pip.conf",
            "[global]\nindex-url = https://venv.example\n",
        )
        .variable("VIRTUAL_ENV", "/venv");
    assert_eq!(host.python().unwrap(), "https://venv.example/");
    host = host.file("/etc/uv/uv.toml", "index-url = \"https://uv.example\"");
    assert_eq!(host.python().unwrap(), "https://uv.example/");
    host = host.file(
        "/home/me/.config/uv/uv.toml",
        "[[index]]\nurl = \"https://my-uv.example\"\ndefault = true",
    );
    assert_eq!(host.python().unwrap(), "https://my-uv.example/");
    host = host.variable("PIP_INDEX_URL", "https://pip-variable.example");
    assert_eq!(host.python().unwrap(), "https://pip-variable.example/");
    host = host.variable("UV_DEFAULT_INDEX", "corp=https://uv-variable.example");
    assert_eq!(host.python().unwrap(), "https://uv-variable.example/");
}

#[test]
fn extra_indexes_are_never_taken() {
    let host = TestHost::new()
        .variable("PIP_EXTRA_INDEX_URL", "https://extra.example")
        .variable("UV_INDEX", "https://extra.example")
        .variable("PIP_FIND_LINKS", "https://extra.example")
        .file(
            "/etc/pip.conf",
            "[global]\nextra-index-url = https://extra.example\n",
        )
        .file(
            "/etc/uv/uv.toml",
            "[[index]]\nurl = \"https://extra.example\"\n",
        );
    let error = host.python().unwrap_err();
    assert_eq!(
        error.to_string(),
        "it is not known where source `pypi` lives"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("set `KILN_SOURCE_PYPI` to its address, or name it under `[sources]` in kiln.toml")
    );
}

#[test]
fn only_the_primary_source_falls_back_to_the_host() {
    let host = TestHost::new().variable("PIP_INDEX_URL", "https://pip.example");
    assert!(host.sources().locate("torch", &SourceKind::Python).is_err());
}

/// What pip prints, as much as matters here.
const HELP: &str = r#"[ "$COLUMNS" = 10000 ] && echo '  -i, --index-url <url>  Base URL (default https://INDEX/simple). More
  --extra-index-url <url>  Extra'"#;

#[test]
fn the_installed_pip_is_asked_once_for_what_is_built_in() {
    let host = TestHost::new().variable("PATH", "/nowhere:/bin").program(
        "/bin/python3",
        &format!("[ \"$*\" = '-m pip install --help' ] || exit 1\n echo x >> \"$COUNT\"\n{HELP}"),
    );
    let count = host.root.path().join("count");
    let host = host.variable("COUNT", count.to_str().unwrap());
    let sources = host.sources();
    for _ in 0..2 {
        let found = sources.locate("pypi", &SourceKind::Python).unwrap();
        assert_eq!(found.url.to_string(), "https://index/simple");
        assert_eq!(found.place, "what `python3 -m pip` uses");
    }
    assert_eq!(fs::read_to_string(count).unwrap(), "x\n");
}

#[test]
fn a_login_that_the_help_masks_is_asked_for_in_another_way() {
    let host = TestHost::new().variable("PATH", "/bin").program(
        "/bin/pip3",
        "case \"$*\" in\n 'install --help') echo '--index-url <url> (default https://me:****@i.example)';;\n\
         'config get global.index-url') echo https://me:pw@i.example;;\nesac",
    );
    let sources = host.sources();
    assert_eq!(
        sources.url_for_tools("pypi").unwrap(),
        "https://me:pw@i.example/"
    );
    let found = sources.locate("pypi", &SourceKind::Python).unwrap();
    assert_eq!(found.url.to_string(), "https://i.example/");
}

#[test]
fn uv_is_asked_where_there_is_no_pip() {
    let host = TestHost::new().variable("PATH", "/bin").program(
        "/bin/uv",
        "[ \"$*\" = 'pip install --help' ] || exit 1\n\
         echo '      --default-index <DEFAULT_INDEX>\n          The URL (by default: <https://i.example/simple>)'",
    );
    assert_eq!(host.python().unwrap(), "https://i.example/simple");
}

#[test]
fn the_tools_get_the_login_of_netrc() {
    let host = TestHost::new()
        .variable("PIP_INDEX_URL", "https://i.example/simple")
        .file("/home/me/.netrc", "machine i.example login me password p/w");
    assert_eq!(
        host.sources().url_for_tools("pypi").unwrap(),
        "https://me:p%2Fw@i.example/simple"
    );
}

#[test]
fn nothing_that_can_be_shown_holds_a_login() {
    let config = SourceConfig::new(BTreeMap::from([(
        "corp".to_owned(),
        "https://alice:hunter2@i.example".to_owned(),
    )]));
    let environment = BTreeMap::from([(
        "PIP_INDEX_URL".to_owned(),
        "ftp://alice:hunter2@i".to_owned(),
    )]);
    let sources = Sources::on(config, Host::at("/nonexistent", environment));
    let located = sources.locate("corp", &SourceKind::Python);
    let error = sources.locate("pypi", &SourceKind::Python).unwrap_err();
    let shown = format!(
        "{sources:?} {located:?} {error} {error:?} {:?}",
        error.hint()
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("alice"),
        "{shown}"
    );
}

#[test]
fn certificates_of_pip_are_found() {
    let host = TestHost::new().file("/etc/pip.conf", "[global]\ncert = /etc/corp.pem\n");
    assert_eq!(
        host.sources().extra_certificates().as_deref(),
        Some(host.root.path().join("etc/corp.pem").as_path())
    );
    let host = host.variable("PIP_CERT", "/other.pem");
    let found = host.sources().extra_certificates().unwrap();
    assert!(found.ends_with(Path::new("other.pem")));
}
