//! What reading documents, project pages and metadata promises.

use std::{collections::BTreeMap, io::Write as _};

use crate::fixture::{self, Log, download_into, fetcher, noise, options, rendered, wheel};
use crate::server::{Reply, Request, Server};
use flate2::{Compression, write::GzEncoder};
use kiln_digest::Digest;
use kiln_fetch::{CoreMetadata, FetchError, Fetcher, ProjectFile, SourceKind};

const WHEEL: &str = "a-1-py3-none-any.whl";
const WHEEL_PATH: &str = "/files/a-1-py3-none-any.whl";
const METADATA_PATH: &str = "/files/a-1-py3-none-any.whl.metadata";
const METADATA: &str = "Metadata-Version: 2.1\nName: a\nVersion: 1\nRequires-Dist: b>=2\n";

fn suite() -> SourceKind {
    SourceKind::Deb {
        suite: "trixie".to_owned(),
    }
}

fn get(fetcher: &Fetcher, limit: u64, expected: Option<Digest>) -> Result<Vec<u8>, FetchError> {
    fetcher.get(
        "debian",
        &suite(),
        "dists/trixie/InRelease",
        limit,
        expected,
    )
}

#[test]
fn a_document_is_read_within_its_bound() {
    let bytes = noise(5000);
    let server = Server::files([("/debian/dists/trixie/InRelease".to_owned(), bytes.clone())]);
    let fetcher = fetcher(&server.url("/debian"));
    assert_eq!(get(&fetcher, 5000, None).unwrap(), bytes);
    assert_eq!(
        get(&fetcher, 5000, Some(Digest::of(&bytes))).unwrap(),
        bytes
    );
    assert!(matches!(
        get(&fetcher, 4999, None),
        Err(FetchError::TooLarge { limit: 4999, .. })
    ));
    let other = Some(Digest::of(b"other"));
    assert!(get(&fetcher, 5000, other).unwrap_err().is_integrity());
}

#[test]
fn a_document_is_asked_for_again_when_it_breaks_off() {
    let bytes = noise(5000);
    let server = {
        let bytes = bytes.clone();
        Server::start(move |request| match request.earlier {
            0 => Reply::status(502),
            1 => Reply::ok(&bytes).cut(100),
            _ => Reply::ok(&bytes),
        })
    };
    assert_eq!(get(&fetcher(&server.url("/")), 5000, None).unwrap(), bytes);
}

#[test]
fn a_login_is_sent_to_its_own_origin_only() {
    let elsewhere = Server::start(|_| Reply::ok(b"x"));
    let target = elsewhere.url("/x");
    let server = Server::start(move |_| Reply::redirect(&target));
    let address = server.url("/").replace("://", "://user:secret@");
    assert_eq!(get(&fetcher(&address), 10, None).unwrap(), b"x");
    assert_eq!(
        server.requests()[0].header("authorization"),
        Some("Basic dXNlcjpzZWNyZXQ=")
    );
    assert_eq!(elsewhere.requests()[0].header("authorization"), None);
}

#[test]
fn a_login_of_netrc_is_used() {
    let server = Server::start(|request| match request.header("authorization") {
        Some("Basic dXNlcjpzZWNyZXQ=") => Reply::ok(b"x"),
        _ => Reply::status(401),
    });
    let root = tempfile::tempdir().unwrap();
    std::fs::write(
        root.path().join("netrc"),
        "machine 127.0.0.1 login user password secret",
    )
    .unwrap();
    let mut options = options(&server.url("/"), BTreeMap::new());
    assert!(matches!(
        get(&Fetcher::new(options).unwrap(), 10, None),
        Err(FetchError::Denied { status: 401, .. })
    ));
    let environment = BTreeMap::from([("NETRC".to_owned(), "/netrc".to_owned())]);
    options = fixture::options(&server.url("/"), environment.clone());
    options.sources = kiln_fetch::Sources::on(
        kiln_fetch::SourceConfig::new(BTreeMap::from([("debian".to_owned(), server.url("/"))])),
        kiln_fetch::Host::at(root.path(), environment),
    );
    assert_eq!(
        get(&Fetcher::new(options).unwrap(), 10, None).unwrap(),
        b"x"
    );
}

/// A page of project `a` with one wheel.
fn page(sha256: &Digest, extra: &str) -> String {
    format!(
        r#"{{"meta":{{"api-version":"1.1"}},"files":[{{"filename":"{WHEEL}",
            "url":"../../files/{WHEEL}","hashes":{{"sha256":"{}"}}{extra}}}]}}"#,
        sha256.hex()
    )
}

/// An index with project `a`, whose page names `bytes`, and files as `script` says.
fn index(
    bytes: &[u8],
    extra: &str,
    script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Server {
    let page = page(&Digest::of(bytes), extra);
    Server::start(move |request| match request.path.as_str() {
        "/simple/a/" => {
            Reply::ok(page.as_bytes()).header("content-type", "application/vnd.pypi.simple.v1+json")
        }
        _ => script(request),
    })
}

#[test]
fn a_download_reads_the_page_of_a_project_once_for_all_its_files() {
    let (bytes, other) = (noise(3000), noise(2000));
    let entry = |name: &str, bytes: &[u8]| {
        let sha256 = Digest::of(bytes).hex();
        format!(
            r#"{{"filename":"{name}","url":"../../files/{name}","hashes":{{"sha256":"{sha256}"}}}}"#
        )
    };
    let entries = [
        entry("a-0.tar.gz", b"nobody asks for it"),
        entry(WHEEL, &bytes),
        entry("a-2.whl", &other),
    ];
    let page = format!(r#"{{"files":[{}]}}"#, entries.join(","));
    let files = BTreeMap::from([
        (WHEEL_PATH, bytes.clone()),
        ("/files/a-2.whl", other.clone()),
    ]);
    let server = Server::start(move |request| match &*request.path {
        "/simple/a/" => {
            Reply::ok(page.as_bytes()).header("content-type", "application/vnd.pypi.simple.v1+json")
        }
        path => match files.get(path) {
            Some(bytes) => Reply::file(request, bytes),
            None => Reply::status(404),
        },
    });
    let fetcher = fetcher(&server.url("/simple/"));
    let directory = tempfile::tempdir().unwrap();
    let gone = wheel("a-1-py3-none-any.whl.old", b"old");
    let wanted = vec![wheel(WHEEL, &bytes), gone.clone(), wheel("a-2.whl", &other)];
    let results: BTreeMap<Digest, _> = fetcher.download(wanted, directory.path(), |_| {}).collect();
    assert!(results[&Digest::of(&bytes)].is_ok());
    assert!(results[&Digest::of(&other)].is_ok());
    let error = results[&gone.sha256].as_ref().unwrap_err();
    assert!(error.is_gone());
    let mut paths: Vec<String> = server.requests().into_iter().map(|r| r.path).collect();
    paths.sort();
    assert_eq!(paths, [WHEEL_PATH, "/files/a-2.whl", "/simple/a/"]);
    insta::assert_snapshot!(rendered(error, server.port()), @r"
    error: source `corp` has no a-1-py3-none-any.whl.old (any more): http://127.0.0.1:PORT/simple/a/
    hint: mirrors drop old versions: lock again with `kiln lock --relock-gone`, or point `KILN_SOURCE_CORP` to a mirror that still has it
    ");
}

#[test]
fn another_digest_on_the_page_is_an_error_before_anything_is_fetched() {
    let server = index(&noise(3000), "", |_| Reply::status(500));
    let fetcher = fetcher(&server.url("/simple"));
    let directory = tempfile::tempdir().unwrap();
    let wanted = wheel(WHEEL, &noise(2000));
    let error = download_into(directory.path(), &fetcher, wanted, &Log::default()).unwrap_err();
    assert!(error.is_integrity());
    assert_eq!(server.requests().len(), 1);
    insta::assert_snapshot!(rendered(&error, server.port()), @r"
    error: source `corp` now announces another a-1-py3-none-any.whl: expected sha256:19ea0399c746940f0be6e7315ea557bb4970c62636118d6a340a972cdc527b19, announced sha256:256577388135122a5c055a8a90485a4ad324d49931158c72a16bfa2a7d1198b9
    hint: the mirror, or somebody between it and here, changed the file; nothing of it was kept. Try another mirror; if the change is meant, lock again
    ");
}

#[test]
fn a_page_may_come_compressed_or_as_html() {
    let html = format!("<a href='{WHEEL}#sha256={}'>x</a>", Digest::of(b"x").hex());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(html.as_bytes()).unwrap();
    let body = gzip.finish().unwrap();
    let server = Server::start(move |request| {
        assert!(request.header("accept").unwrap().contains("simple.v1+json"));
        Reply::ok(&body)
            .header("content-type", "text/html")
            .header("content-encoding", "gzip")
    });
    let page = fetcher(&server.url("/simple"))
        .project_page("corp", "A")
        .unwrap();
    let file = page.file(WHEEL).unwrap();
    assert_eq!(file.sha256, Some(Digest::of(b"x")));
    assert_eq!(
        file.url.to_string(),
        server.url(&format!("/simple/a/{WHEEL}"))
    );
}

#[test]
fn a_page_that_makes_no_sense_is_said_plainly() {
    let server = Server::start(|_| Reply::ok(b"{\"files\": 3}"));
    let fetcher = fetcher(&server.url("/simple"));
    let error = fetcher.project_page("corp", "a").unwrap_err();
    insta::assert_snapshot!(rendered(&error, server.port()), @r"
    error: page of project `a` from source `corp` cannot be read: no project page: invalid type: integer `3`, expected a list of files at line 1 column 11 (http://127.0.0.1:PORT/simple/a/)
    hint: perhaps a proxy or a login page answered instead of the source: look at the address, or use another mirror
    ");
    let error = fetcher.project_page("corp", "../a").unwrap_err();
    assert!(matches!(error, FetchError::BadPath { .. }));
}

#[test]
fn pages_are_read_in_the_order_they_are_asked_for() {
    let server = Server::start(|request| match request.path.as_str() {
        "/simple/b/" => Reply::status(404),
        _ => Reply::ok(b"{\"files\":[]}"),
    });
    let fetcher = fetcher(&server.url("/simple"));
    let projects = ["a", "b", "c"].map(|it| ("corp".to_owned(), it.to_owned()));
    let pages = fetcher.project_pages(projects.to_vec());
    let found: Vec<bool> = pages.iter().map(Result::is_ok).collect();
    assert_eq!(found, [true, false, true]);
}

/// A wheel whose metadata stands at its beginning, before `ballast` bytes.
fn wheel_bytes(ballast: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    let members = [
        ("a-1.dist-info/METADATA", METADATA.as_bytes().to_vec()),
        ("a/b.dist-info/METADATA", b"not this one".to_vec()),
        ("a/data", noise(ballast)),
    ];
    for (name, content) in members {
        let (mut entry, config) = archive
            .new_file(name)
            .compression_method(rawzip::CompressionMethod::DEFLATE)
            .start()
            .unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, Compression::fast());
        let mut writer = config.wrap(encoder);
        writer.write_all(&content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

fn only_file(fetcher: &Fetcher) -> ProjectFile {
    fetcher.project_page("corp", "a").unwrap().files[0].clone()
}

#[test]
fn announced_metadata_is_fetched_alone_and_verified() {
    let hashed = |text: &str| {
        format!(
            r#","core-metadata":{{"sha256":"{}"}}"#,
            Digest::of(text.as_bytes()).hex()
        )
    };
    for (announced, right) in [(METADATA, true), ("other", false)] {
        let server = index(b"", &hashed(announced), |request| match &*request.path {
            METADATA_PATH => Reply::ok(METADATA.as_bytes()),
            _ => Reply::status(500),
        });
        let fetcher = fetcher(&server.url("/simple"));
        let file = only_file(&fetcher);
        assert!(matches!(file.core_metadata, CoreMetadata::Hashed(_)));
        match fetcher.metadata(&file) {
            Ok(text) => assert!(right && text == METADATA),
            Err(error) => assert!(!right && error.is_integrity(), "{error}"),
        }
    }
}

#[test]
fn metadata_that_is_there_without_being_announced_is_found() {
    let server = index(b"", "", |request| match &*request.path {
        METADATA_PATH => Reply::ok(METADATA.as_bytes()),
        _ => Reply::status(500),
    });
    let fetcher = fetcher(&server.url("/simple"));
    let file = only_file(&fetcher);
    assert_eq!(file.core_metadata, CoreMetadata::Unannounced);
    assert_eq!(fetcher.metadata(&file).unwrap(), METADATA);
}

#[test]
fn metadata_is_cut_out_of_a_wheel_with_ranges() {
    let bytes = wheel_bytes(3 << 20);
    let server = {
        let served = bytes.clone();
        index(&bytes, "", move |request| match &*request.path {
            WHEEL_PATH => Reply::file(request, &served),
            _ => Reply::ok(b"<html>not found, but politely</html>"),
        })
    };
    let fetcher = fetcher(&server.url("/simple"));
    assert_eq!(fetcher.metadata(&only_file(&fetcher)).unwrap(), METADATA);
    let ranges: Vec<String> = server
        .requests()
        .iter()
        .filter(|request| request.path == WHEEL_PATH)
        .map(|request| request.header("range").unwrap().to_owned())
        .collect();
    assert_eq!(ranges, ["bytes=-131072", "bytes=0-131071"]);
}

#[test]
fn metadata_of_a_server_without_ranges_comes_from_the_whole_wheel() {
    let bytes = wheel_bytes(1000);
    for honest in [true, false] {
        let mut content = bytes.clone();
        if !honest {
            content.push(0);
        }
        let server = index(&bytes, "", move |request| match &*request.path {
            WHEEL_PATH => Reply::ok(&content),
            _ => Reply::status(404),
        });
        let fetcher = fetcher(&server.url("/simple"));
        match fetcher.metadata(&only_file(&fetcher)) {
            Ok(text) => assert!(honest && text == METADATA),
            Err(error) => assert!(!honest && error.is_integrity(), "{error}"),
        }
    }
}

#[test]
fn metadata_of_several_wheels_keeps_their_order() {
    let bytes = wheel_bytes(10);
    let server = {
        let served = bytes.clone();
        index(&bytes, "", move |request| match &*request.path {
            WHEEL_PATH => Reply::file(request, &served),
            _ => Reply::status(404),
        })
    };
    let fetcher = fetcher(&server.url("/simple"));
    let file = only_file(&fetcher);
    let mut gone = file.clone();
    gone.url = kiln_fetch::Url::parse(&server.url("/gone.whl")).unwrap();
    let all = fetcher.metadata_all(vec![file.clone(), gone, file]);
    assert_eq!(all[0].as_ref().unwrap(), METADATA);
    assert!(all[1].as_ref().is_err_and(FetchError::is_gone));
    assert_eq!(all[2].as_ref().unwrap(), METADATA);
}

#[test]
fn a_file_that_is_no_wheel_has_no_metadata() {
    let server = index(b"", "", |request| match &*request.path {
        WHEEL_PATH => Reply::file(request, &noise(500)),
        _ => Reply::status(404),
    });
    let fetcher = fetcher(&server.url("/simple"));
    let error = fetcher.metadata(&only_file(&fetcher));
    assert!(
        matches!(error, Err(FetchError::Malformed { .. })),
        "{error:?}"
    );
}

#[test]
fn a_local_index_needs_no_network() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("a")).unwrap();
    let bytes = wheel_bytes(1000);
    std::fs::write(root.path().join("a").join(WHEEL), &bytes).unwrap();
    let html = format!("<a href='{WHEEL}'>{WHEEL}</a>");
    std::fs::write(root.path().join("a/index.html"), html).unwrap();
    let mut options = options(root.path().to_str().unwrap(), BTreeMap::new());
    options.offline = true;
    let fetcher = Fetcher::new(options).unwrap();
    assert_eq!(fetcher.metadata(&only_file(&fetcher)).unwrap(), METADATA);
    let directory = tempfile::tempdir().unwrap();
    download_into(
        directory.path(),
        &fetcher,
        wheel(WHEEL, &bytes),
        &Log::default(),
    )
    .unwrap();
}

#[test]
fn no_error_and_no_event_shows_a_secret() {
    use std::{error::Error, fmt::Write};
    let mut shown = String::new();
    let script = |request: &Request| match request.path.split(['/', '?']).next_back() {
        _ if request.path.contains("gone") => Reply::status(404),
        _ if request.path.contains("denied") => Reply::status(403),
        _ if request.path.contains("broken") => Reply::status(500),
        _ if request.path.contains("loop") => Reply::redirect(&request.path),
        _ if request.path.contains("cut") => Reply::ok(&noise(2000)).cut(10),
        _ if request.path.contains("other") => Reply::ok(&noise(2000)[1..]),
        _ if request.path.contains("/a/") => Reply::ok(
            br#"{"files":[{"filename":"loop","url":"/loop?token=hunter2"},
                {"filename":"gone","url":"/gone?token=hunter2"},
                {"filename":"other","url":"/other?token=hunter2"},
                {"filename":"cut","url":"/cut?token=hunter2"}]}"#,
        ),
        _ => Reply::ok(b"{"),
    };
    let server = Server::start(script);
    let address = server.url("/").replace("://", "://user:hunter2@");
    let fetcher = fetcher(&address);
    writeln!(shown, "{fetcher:?} {:?}", fetcher.sources()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let log = Log::default();
    let mut errors = Vec::new();
    for name in ["gone", "denied", "broken", "loop", "cut", "other"] {
        let bytes = &noise(2000)[..1999];
        for wanted in [fixture::deb(name, bytes), wheel(name, bytes)] {
            errors.extend(download_into(directory.path(), &fetcher, wanted, &log).err());
        }
    }
    assert_eq!(errors.len(), 12);
    errors.extend(fetcher.project_page("corp", "b").err());
    errors.extend(get(&fetcher, 0, None).err());
    let closed = address.replace(&server.port().to_string(), "1");
    errors.extend(get(&fixture::fetcher(&closed), 1, None).err());
    let malformed = format!("ftp{}", address.trim_start_matches("http"));
    errors.extend(get(&fixture::fetcher(&malformed), 1, None).err());
    assert_eq!(errors.len(), 16);
    for error in &errors {
        writeln!(shown, "{error} {error:?} {:?}", error.hint()).unwrap();
        let mut cause = error.source();
        while let Some(inner) = cause {
            writeln!(shown, "{inner} {inner:?}").unwrap();
            cause = inner.source();
        }
    }
    writeln!(shown, "{:?}", log.events()).unwrap();
    assert!(!log.retries().is_empty());
    for secret in ["hunter2", "user:", "dXNlcjpodW50ZXIy", "token"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    let revealed = fetcher.sources().url_for_tools("corp").unwrap();
    assert_eq!(revealed, address);
}
