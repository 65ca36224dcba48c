//! What happens to downloads that are interrupted, and to those of several processes.

use std::{
    fs,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use kiln_digest::Digest;
use kiln_fetch::{Event, FetchError};

use crate::fixture::{Log, deb, download_into, fetcher, names, noise};
use crate::server::{Gate, Reply, Server};

const SIZE: usize = 700_000;
const HALF: usize = 300_000;

#[test]
fn a_damaged_part_of_an_earlier_run_is_fetched_again() {
    let bytes = noise(SIZE);
    let server = Server::files([("/pool/a.deb".to_owned(), bytes.clone())]);
    for damaged in [vec![0; HALF], vec![0; SIZE], vec![0; SIZE + 1]] {
        let directory = tempfile::tempdir().unwrap();
        let part = directory
            .path()
            .join(format!("{}.part", Digest::of(&bytes).hex()));
        fs::write(part, damaged).unwrap();
        let fetcher = fetcher(&server.url("/"));
        let path = download_into(
            directory.path(),
            &fetcher,
            deb("a.deb", &bytes),
            &Log::default(),
        );
        assert_eq!(fs::read(path.unwrap()).unwrap(), bytes);
        assert_eq!(names(directory.path()).len(), 1);
    }
}

#[test]
fn two_fetchers_of_one_file_share_one_download() {
    let bytes = noise(SIZE);
    let gate = Arc::new(Gate::default());
    let server = {
        let (bytes, gate) = (bytes.clone(), Arc::clone(&gate));
        Server::start(move |_| Reply::ok(&bytes).gated(HALF, &gate))
    };
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (fetcher(&server.url("/")), fetcher(&server.url("/")));
    let started = Arc::new(Gate::default());
    let opened = Arc::clone(&started);
    let wanted = deb("a.deb", &bytes);
    let mut one = first.download(vec![wanted.clone()], directory.path(), move |_| {
        opened.open();
    });
    started.wait();
    // The second one waits; then the first one's server goes on.
    let mut two = second.download(vec![wanted], directory.path(), move |event| {
        if matches!(event, Event::Waiting { .. }) {
            gate.open();
        }
    });
    assert_eq!(
        one.next().unwrap().1.unwrap(),
        two.next().unwrap().1.unwrap()
    );
    assert_eq!(server.requests().len(), 1);
    assert_eq!(names(directory.path()).len(), 1);
}

#[test]
fn cancelling_ends_every_download_and_keeps_its_part() {
    let bytes = noise(SIZE);
    let server = {
        let bytes = bytes.clone();
        Server::start(move |request| match request.path.as_str() {
            "/pool/a.deb" => Reply::ok(&bytes).stall(HALF),
            _ => Reply::ok(&bytes[1..]).stall(0),
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let fetcher = fetcher(&server.url("/"));
    let halfway = Arc::new(Gate::default());
    let gate = Arc::clone(&halfway);
    let other = deb("b.deb", &noise(SIZE - 1));
    let downloads = fetcher.download(
        vec![deb("a.deb", &bytes), other],
        directory.path(),
        move |e| {
            if matches!(e, Event::Progress { .. }) {
                gate.open();
            }
        },
    );
    halfway.wait();
    fetcher.cancel();
    let results: Vec<_> = downloads.collect();
    assert_eq!(results.len(), 2);
    assert!(
        results
            .iter()
            .all(|(_, r)| matches!(r, Err(FetchError::Cancelled))),
        "{results:?}"
    );
    let part = directory
        .path()
        .join(format!("{}.part", Digest::of(&bytes).hex()));
    assert!(part.exists());
}

#[test]
fn dropping_the_results_closes_the_connections() {
    let bytes = noise(SIZE);
    let server = {
        let bytes = bytes.clone();
        Server::start(move |_| Reply::ok(&bytes).stall(HALF))
    };
    let directory = tempfile::tempdir().unwrap();
    let fetcher = fetcher(&server.url("/"));
    let halfway = Arc::new(Gate::default());
    let gate = Arc::clone(&halfway);
    let downloads = fetcher.download(vec![deb("a.deb", &bytes)], directory.path(), move |e| {
        if matches!(e, Event::Progress { .. }) {
            gate.open();
        }
    });
    halfway.wait();
    drop(downloads);
    server.client_left.wait();
}

const CHILD_SOURCE: &str = "KILN_TEST_CHILD_SOURCE";
const CHILD_DIRECTORY: &str = "KILN_TEST_CHILD_DIRECTORY";

#[test]
#[ignore = "the process that the next test kills"]
fn a_process_that_downloads() {
    let source = std::env::var(CHILD_SOURCE).unwrap();
    let directory = std::env::var(CHILD_DIRECTORY).unwrap();
    let wanted = deb("a.deb", &noise(SIZE));
    let _ = download_into(
        directory.as_ref(),
        &fetcher(&source),
        wanted,
        &Log::default(),
    );
}

#[test]
fn a_killed_process_leaves_a_part_that_the_next_one_continues() {
    let bytes = noise(SIZE);
    let server = {
        let bytes = bytes.clone();
        Server::start(move |request| match request.earlier {
            0 => Reply::ok(&bytes).stall(HALF),
            _ => Reply::file(request, &bytes),
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "interruption::a_process_that_downloads",
            "--ignored",
        ])
        .env(CHILD_SOURCE, server.url("/"))
        .env(CHILD_DIRECTORY, directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let part = directory
        .path()
        .join(format!("{}.part", Digest::of(&bytes).hex()));
    while fs::metadata(&part).map_or(0, |found| found.len()) < HALF as u64 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the process ended by itself"
        );
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(directory.path()).len(), 1);

    let log = Log::default();
    let fetcher = fetcher(&server.url("/"));
    let path = download_into(directory.path(), &fetcher, deb("a.deb", &bytes), &log).unwrap();
    assert_eq!(fs::read(path).unwrap(), bytes);
    assert!(matches!(log.events()[0], Event::Started { resumed, .. } if resumed == HALF as u64));
    assert_eq!(
        server.requests()[1].header("range"),
        Some(&*format!("bytes={HALF}-"))
    );
}
