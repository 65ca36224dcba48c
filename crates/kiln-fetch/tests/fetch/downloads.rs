//! What downloads promise, each against a server that really behaves so.

use std::{collections::BTreeMap, fs, sync::Mutex, time::Duration};

use crate::fixture::{
    Log, deb, download_into, fetcher, file, names, noise, options, rendered, wheel,
};
use crate::server::{Reply, Request, Server};
use kiln_digest::Digest;
use kiln_fetch::{Event, FetchError, Fetcher};

const SIZE: usize = 700_000;
const HALF: usize = 300_000;

#[test]
fn a_verified_file_gets_its_digest_as_name() {
    let bytes = noise(SIZE);
    let server = Server::files([("/pool/a.deb".to_owned(), bytes.clone())]);
    let directory = tempfile::tempdir().unwrap();
    let log = Log::default();
    let target = directory.path().join("downloads/sha256");
    let path = download_into(
        &target,
        &fetcher(&server.url("/")),
        deb("a.deb", &bytes),
        &log,
    );
    let path = path.unwrap();
    assert_eq!(path, target.join(Digest::of(&bytes).hex()));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(names(&target).len(), 1);
    let events = log.events();
    assert!(matches!(
        events.first(),
        Some(Event::Started { resumed: 0, .. })
    ));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Progress { bytes, .. } if *bytes == SIZE as u64))
    );
    assert!(matches!(events.last(), Some(Event::Finished { name, .. }) if name == "a.deb"));
}

#[test]
fn a_plain_file_is_fetched_with_the_login_of_its_source() {
    let bytes = noise(1000);
    let content = bytes.clone();
    let server = Server::start(move |request| match request.header("authorization") {
        Some("Basic dXNlcjpzZWNyZXQ=") => Reply::ok(&content),
        _ => Reply::status(401),
    });
    let directory = tempfile::tempdir().unwrap();
    let address = server.url("/models/").replace("://", "://user:secret@");
    let wanted = file("a/b.tar.gz", &bytes);
    let path = download_into(
        directory.path(),
        &fetcher(&address),
        wanted,
        &Log::default(),
    );
    assert_eq!(fs::read(path.unwrap()).unwrap(), bytes);
    assert_eq!(server.requests()[0].path, "/models/a/b.tar.gz");
}

#[test]
fn the_hosts_own_index_is_no_source_of_plain_files() {
    let directory = tempfile::tempdir().unwrap();
    let index = (
        "UV_DEFAULT_INDEX".to_owned(),
        "http://127.0.0.1:1".to_owned(),
    );
    let options = options("http://127.0.0.1:1", BTreeMap::from([index]));
    let mut wanted = file("a.tar.gz", b"a");
    wanted.source = "pypi".to_owned();
    let fetcher = Fetcher::new(options).unwrap();
    let error = download_into(directory.path(), &fetcher, wanted, &Log::default()).unwrap_err();
    assert!(matches!(error, FetchError::Source(_)), "{error}");
    assert!(error.hint().unwrap().contains("KILN_SOURCE_PYPI"));
}

#[test]
fn a_file_that_is_there_is_taken_without_the_network() {
    let bytes = noise(1000);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(Digest::of(&bytes).hex()), &bytes).unwrap();
    let mut options = options("http://127.0.0.1:1", BTreeMap::new());
    options.offline = true;
    let log = Log::default();
    let fetcher = Fetcher::new(options).unwrap();
    download_into(directory.path(), &fetcher, deb("a.deb", &bytes), &log).unwrap();
    assert!(matches!(
        &log.events()[..],
        [Event::Reused { size: 1000, .. }]
    ));
}

#[test]
fn a_file_of_another_size_is_replaced() {
    let bytes = noise(1000);
    let server = Server::files([("/pool/a.deb".to_owned(), bytes.clone())]);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(Digest::of(&bytes).hex()), b"old").unwrap();
    let fetcher = fetcher(&server.url("/"));
    let path = download_into(
        directory.path(),
        &fetcher,
        deb("a.deb", &bytes),
        &Log::default(),
    );
    assert_eq!(fs::read(path.unwrap()).unwrap(), bytes);
}

/// Downloads with a script that also gets the bytes; gives the server, the events, and what
/// came of it with the names that are left.
fn with_script(
    script: impl Fn(&Request, &[u8]) -> Reply + Send + Sync + 'static,
) -> (Server, Log, Result<Vec<u8>, FetchError>, Vec<String>) {
    let bytes = noise(SIZE);
    let wanted = deb("a.deb", &bytes);
    let server = Server::start(move |request| script(request, &bytes));
    let directory = tempfile::tempdir().unwrap();
    let log = Log::default();
    let mut options = options(&server.url("/"), BTreeMap::new());
    options.patience.stall = Duration::from_secs(1);
    let fetcher = Fetcher::new(options).unwrap();
    let result = download_into(directory.path(), &fetcher, wanted, &log);
    let result = result.map(|path| fs::read(path).unwrap());
    let names = names(directory.path());
    (server, log, result, names)
}

#[test]
fn a_truncated_download_goes_on_where_it_broke_off() {
    let (server, log, result, _) = with_script(|request, bytes| match request.earlier {
        0 => Reply::ok(bytes).cut(HALF),
        _ => Reply::file(request, bytes),
    });
    assert_eq!(result.unwrap(), noise(SIZE));
    assert_eq!(log.retries().len(), 1);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(
        requests[1].header("range"),
        Some(&*format!("bytes={HALF}-"))
    );
}

#[test]
fn a_truncated_answer_without_a_length_is_noticed() {
    let (_, log, result, _) = with_script(|request, bytes| match request.earlier {
        0 => Reply::unmeasured(&bytes[..HALF]),
        _ => Reply::file(request, bytes),
    });
    assert_eq!(result.unwrap(), noise(SIZE));
    assert_eq!(
        log.retries(),
        ["the connection closed after 300000 of 700000 bytes"]
    );
}

#[test]
fn a_server_that_always_truncates_is_given_up() {
    let (server, log, result, names) = with_script(|_, bytes| Reply::ok(bytes).cut(HALF / 2));
    assert!(matches!(result, Err(FetchError::Unreachable { .. })));
    assert_eq!((server.requests().len(), log.retries().len()), (5, 4));
    // What came is kept for the next run.
    assert_eq!(names, [format!("{}.part", Digest::of(&noise(SIZE)).hex())]);
}

#[test]
fn a_file_of_another_length_is_refused_and_nothing_kept() {
    for length in [SIZE - 1, SIZE + 1] {
        let (server, _, result, names) = with_script(move |_, _| Reply::ok(&noise(length)));
        let Err(FetchError::WrongSize {
            expected, actual, ..
        }) = result
        else {
            panic!("{result:?}");
        };
        assert_eq!((expected, actual), (SIZE as u64, length.to_string()));
        assert_eq!((server.requests().len(), names.len()), (1, 0));
    }
}

#[test]
fn no_more_bytes_than_promised_are_accepted() {
    let (server, _, result, names) = with_script(|_, _| Reply::unmeasured(&noise(SIZE + 100_000)));
    assert!(
        matches!(result, Err(FetchError::WrongSize { .. })),
        "{result:?}"
    );
    assert_eq!((server.requests().len(), names.len()), (1, 0));
}

#[test]
fn corrupt_bytes_are_an_integrity_error_at_once_and_nothing_is_kept() {
    let (server, _, result, names) = with_script(|_, bytes| {
        let mut bytes = bytes.to_vec();
        bytes[HALF] ^= 1;
        Reply::ok(&bytes)
    });
    let error = result.unwrap_err();
    assert!(error.is_integrity());
    assert_eq!((server.requests().len(), names.len()), (1, 0));
    insta::assert_snapshot!(rendered(&error, server.port()), @r"
    error: a.deb from source `debian` is not the file that was asked for: expected sha256:6209c924f98f07dd03bec6accd1fac6382ed19b86d90f32913ca1d619fab8600, got sha256:7ff7a7f5742ff107d0e324e25ce440e61153a0c2da784f823d3d041bf06528e2 (http://127.0.0.1:PORT/pool/a.deb)
    hint: the mirror, or somebody between it and here, changed the file; nothing of it was kept. Try another mirror; if the change is meant, lock again
    ");
}

#[test]
fn a_file_that_is_gone_says_what_to_do() {
    let (server, _, result, names) = with_script(|_, _| Reply::status(404));
    let error = result.unwrap_err();
    assert!(error.is_gone());
    assert_eq!((server.requests().len(), names.len()), (1, 0));
    insta::assert_snapshot!(rendered(&error, server.port()), @r"
    error: source `debian` has no a.deb (any more): http://127.0.0.1:PORT/pool/a.deb
    hint: mirrors drop old versions: lock again with `kiln lock --relock-gone`, or point `KILN_SOURCE_DEBIAN` to a mirror that still has it
    ");
}

#[test]
fn server_errors_pass() {
    let (server, log, result, _) = with_script(|request, bytes| match request.earlier {
        0 => Reply::status(500),
        1 => Reply::hang_up(),
        _ => Reply::file(request, bytes),
    });
    assert_eq!(result.unwrap(), noise(SIZE));
    assert_eq!(log.retries().len(), 2);
    assert_eq!(log.retries()[0], "status 500");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn server_errors_that_stay_are_given_up() {
    let (server, _, result, names) = with_script(|_, _| Reply::status(503));
    let error = result.unwrap_err();
    assert_eq!((server.requests().len(), names.len()), (5, 0));
    insta::assert_snapshot!(rendered(&error, server.port()), @r"
    error: source `debian` answered with status 503 for a.deb: http://127.0.0.1:PORT/pool/a.deb
    hint: try again later, or use another mirror
    ");
}

#[test]
fn a_server_that_limits_rates_is_given_the_time_it_asks_for() {
    let (_, log, result, _) = with_script(|request, bytes| match request.earlier {
        0 => Reply::status(429).header("retry-after", "1"),
        _ => Reply::file(request, bytes),
    });
    assert!(result.is_ok());
    let waits: Vec<Duration> = log
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Retried { wait, .. } => Some(wait),
            _ => None,
        })
        .collect();
    assert_eq!(waits, [Duration::from_secs(1)]);
}

#[test]
fn redirects_are_followed_up_to_a_bound() {
    let (server, _, result, _) = with_script(|request, bytes| match request.path.as_str() {
        "/pool/a.deb" => Reply::redirect("/elsewhere"),
        _ => Reply::file(request, bytes),
    });
    assert!(result.is_ok());
    assert_eq!(server.requests().len(), 2);

    let (server, _, result, _) = with_script(|request, _| Reply::redirect(&request.path));
    let error = result.unwrap_err();
    assert_eq!(server.requests().len(), 11);
    insta::assert_snapshot!(rendered(&error, server.port()), @r"
    error: a.deb could not be fetched from source `debian`: http://127.0.0.1:PORT/pool/a.deb
      because: it cannot be followed: too many redirects
    hint: the server is set up wrongly: use another mirror
    ");
}

#[test]
fn a_slow_server_is_no_stalled_server() {
    // Longer than the stall limit in all, never between two pieces.
    let (server, log, result, _) =
        with_script(|_, bytes| Reply::ok(bytes).drip(12, Duration::from_millis(100)));
    assert!(result.is_ok());
    assert_eq!((server.requests().len(), log.retries().len()), (1, 0));
}

#[test]
fn a_stalled_download_is_dropped_and_resumed() {
    let (server, log, result, _) = with_script(|request, bytes| match request.earlier {
        0 => Reply::ok(bytes).stall(HALF),
        _ => Reply::file(request, bytes),
    });
    assert_eq!(result.unwrap(), noise(SIZE));
    assert_eq!(log.retries(), ["nothing arrived for 1 s"]);
    assert_eq!(
        server.requests()[1].header("range"),
        Some(&*format!("bytes={HALF}-"))
    );
}

#[test]
fn a_server_that_says_nothing_is_asked_again() {
    let (_, log, result, _) = with_script(|request, bytes| match request.earlier {
        0 => Reply::silence(),
        _ => Reply::file(request, bytes),
    });
    assert_eq!(result.unwrap(), noise(SIZE));
    assert_eq!(log.retries(), ["nothing arrived for 1 s"]);
}

#[test]
fn a_server_without_ranges_sends_the_whole_file_again() {
    let (_, _, result, _) = with_script(|request, bytes| match request.earlier {
        0 => Reply::ok(bytes).cut(HALF),
        _ => Reply::ok(bytes),
    });
    assert_eq!(result.unwrap(), noise(SIZE));
}

#[test]
fn a_wrong_range_is_not_written_into_the_file() {
    for wrong in [
        "bytes 0-399999/700000",
        "bytes 300001-699999/700000",
        "nonsense",
    ] {
        let (server, log, result, _) = with_script(move |request, bytes| match request.earlier {
            0 => Reply::ok(bytes).cut(HALF),
            1 => Reply::partial(wrong, &bytes[HALF..]),
            _ => Reply::file(request, bytes),
        });
        assert_eq!(result.unwrap(), noise(SIZE), "{wrong}");
        assert_eq!(log.retries().len(), 2);
        assert_eq!(server.requests()[2].header("range"), None);
    }
}

#[test]
fn a_range_of_another_file_is_refused() {
    let (_, _, result, names) = with_script(|request, bytes| match request.earlier {
        0 => Reply::ok(bytes).cut(HALF),
        _ => Reply::partial("bytes 300000-699999/800000", &bytes[HALF..]),
    });
    assert!(matches!(result, Err(FetchError::WrongSize { .. })));
    assert_eq!(names.len(), 0);
}

#[test]
fn transfer_compression_is_not_undone() {
    // Some servers label what they store as gzip; the file's digest is of the stored bytes.
    let (server, _, result, _) =
        with_script(|_, bytes| Reply::ok(bytes).header("content-encoding", "gzip"));
    assert_eq!(result.unwrap(), noise(SIZE));
    assert_eq!(server.requests()[0].header("accept-encoding"), None);
}

#[test]
fn a_directory_that_cannot_be_written_is_said_plainly() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let fetcher = fetcher("http://127.0.0.1:1");
    let error = download_into(
        &file.join("below"),
        &fetcher,
        deb("a.deb", b"x"),
        &Log::default(),
    );
    let text = rendered(&error.unwrap_err(), 0);
    assert!(
        text.starts_with("error: cannot create ") && text.contains("Not a directory"),
        "{text}"
    );
}

#[test]
fn the_largest_files_come_first_and_duplicates_once() {
    let sizes = [10, 3000, 200];
    let server = Server::files(sizes.map(|size| (format!("/pool/{size}"), noise(size))));
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&server.url("/"), BTreeMap::new());
    options.jobs = 1;
    let fetcher = Fetcher::new(options).unwrap();
    let mut wanted: Vec<_> = sizes
        .map(|size| deb(&size.to_string(), &noise(size)))
        .into();
    wanted.extend(wanted.clone());
    let results: Vec<_> = fetcher.download(wanted, directory.path(), |_| ()).collect();
    assert_eq!(results.len(), 3);
    let paths: Vec<String> = server.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(paths, ["/pool/3000", "/pool/200", "/pool/10"]);
}

#[test]
fn one_failure_leaves_the_other_files_alone() {
    let server = Server::files([("/pool/a".to_owned(), noise(500))]);
    let directory = tempfile::tempdir().unwrap();
    let fetcher = fetcher(&server.url("/"));
    let wanted = vec![deb("gone", &noise(400)), deb("a", &noise(500))];
    let results: BTreeMap<_, _> = fetcher.download(wanted, directory.path(), |_| ()).collect();
    assert!(results[&Digest::of(&noise(500))].is_ok());
    assert!(
        results[&Digest::of(&noise(400))]
            .as_ref()
            .is_err_and(FetchError::is_gone)
    );
}

#[test]
fn offline_names_what_is_missing_and_opens_no_connection() {
    let server = Server::start(|_| Reply::status(500));
    let mut options = options(&server.url("/"), BTreeMap::new());
    options.offline = true;
    let fetcher = Fetcher::new(options).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut errors = Vec::new();
    for wanted in [deb("a.deb", b"x"), wheel("a-1-py3-none-any.whl", b"y")] {
        let error = download_into(directory.path(), &fetcher, wanted, &Log::default()).unwrap_err();
        errors.push(rendered(&error, server.port()));
    }
    assert_eq!(
        (server.requests().len(), names(directory.path()).len()),
        (0, 0)
    );
    insta::assert_snapshot!(errors.join("\n\n"), @r"
    error: a.deb of source `debian` is not here, and the network is off
    hint: run once without `--offline`, or point `KILN_SOURCE_DEBIAN` to a local mirror

    error: a-1-py3-none-any.whl of source `corp` is not here, and the network is off
    hint: run once without `--offline`, or point `KILN_SOURCE_CORP` to a local mirror
    ");
}

#[test]
fn a_local_mirror_needs_no_network() {
    let mirror = tempfile::tempdir().unwrap();
    let bytes = noise(SIZE);
    fs::create_dir(mirror.path().join("pool")).unwrap();
    fs::write(mirror.path().join("pool/a.deb"), &bytes).unwrap();
    let mut options = options(mirror.path().to_str().unwrap(), BTreeMap::new());
    options.offline = true;
    let fetcher = Fetcher::new(options).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let download = |wanted| download_into(directory.path(), &fetcher, wanted, &Log::default());
    assert_eq!(
        fs::read(download(deb("a.deb", &bytes)).unwrap()).unwrap(),
        bytes
    );
    assert!(download(deb("b.deb", b"x")).unwrap_err().is_gone());
    let mut other = deb("a.deb", &noise(SIZE - 1));
    assert!(download(other.clone()).unwrap_err().is_integrity());
    other.size += 1;
    assert!(download(other).unwrap_err().is_integrity());
    assert_eq!(names(directory.path()).len(), 1);
}

#[test]
fn a_path_that_leaves_the_source_is_refused() {
    let server = Server::start(|_| Reply::status(500));
    let directory = tempfile::tempdir().unwrap();
    let fetcher = fetcher(&server.url("/"));
    let error = download_into(
        directory.path(),
        &fetcher,
        deb("../../etc/passwd", b"x"),
        &Log::default(),
    );
    assert!(matches!(error, Err(FetchError::BadPath { .. })));
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_source_that_nobody_named_is_an_error_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let fetcher = fetcher("http://127.0.0.1:1");
    let mut wanted = deb("a.deb", b"x");
    wanted.source = "debian-security".to_owned();
    let error = download_into(directory.path(), &fetcher, wanted, &Log::default()).unwrap_err();
    insta::assert_snapshot!(rendered(&error, 0), @r"
    error: it is not known where source `debian-security` lives (suite `trixie`)
    hint: set `KILN_SOURCE_DEBIAN_SECURITY` to its address, or name it under `[sources]` in kiln.toml
    ");
}

#[test]
fn an_unreachable_server_is_said_plainly() {
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let directory = tempfile::tempdir().unwrap();
    let fetcher = fetcher(&format!("http://127.0.0.1:{port}"));
    let error = download_into(
        directory.path(),
        &fetcher,
        deb("a.deb", b"x"),
        &Log::default(),
    );
    insta::assert_snapshot!(rendered(&error.unwrap_err(), port), @r"
    error: a.deb could not be fetched from source `debian`: http://127.0.0.1:PORT/pool/a.deb
      because: cannot connect: Connection refused (os error 111)
    hint: check the network and the proxy settings (`HTTPS_PROXY`, `NO_PROXY`); what was fetched is kept, and the next run goes on from there
    ");
}

#[test]
fn events_may_come_from_a_sink_that_is_not_shareable() {
    // `Fn + Send` is enough; `Sync` is not asked for.
    let bytes = noise(100);
    let server = Server::files([("/pool/a.deb".to_owned(), bytes.clone())]);
    let directory = tempfile::tempdir().unwrap();
    let (sender, events) = std::sync::mpsc::channel();
    let count = Mutex::new(std::cell::Cell::new(0));
    let fetcher = fetcher(&server.url("/"));
    let results = fetcher.download(vec![deb("a.deb", &bytes)], directory.path(), move |event| {
        let count = count.lock().unwrap();
        count.set(count.get() + 1);
        let _ = sender.send(event);
    });
    assert_eq!(results.count(), 1);
    assert!(events.try_iter().count() >= 2);
}
