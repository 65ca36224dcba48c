//! A Python index on loopback, and wheels for it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use kiln_digest::Digest;

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// An index whose files can change while it serves.
pub(crate) struct Index {
    pub(crate) url: String,
    files: Files,
    requests: Arc<AtomicUsize>,
}

impl Index {
    /// An index for everybody, or for one user and password.
    pub(crate) fn serve(login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = login.map_or_else(String::new, |login| format!("{login}@"));
        let url = format!("http://{at}{}/simple/", listener.local_addr().unwrap());
        let files = Files::default();
        let requests = Arc::new(AtomicUsize::new(0));
        let (served, counter) = (Arc::clone(&files), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, counter) = (Arc::clone(&served), Arc::clone(&counter));
                thread::spawn(move || answer(&stream, &files, &counter, login));
            }
        });
        Self {
            url,
            files,
            requests,
        }
    }

    /// Offers a file; gives its SHA-256 in hex.
    pub(crate) fn add(&self, (name, bytes): (String, Vec<u8>)) -> String {
        let sha256 = Digest::of(&bytes).hex();
        self.files.lock().unwrap().insert(name, bytes);
        sha256
    }

    pub(crate) fn remove(&self, name: &str) {
        self.files.lock().unwrap().remove(name).unwrap();
    }

    /// How often it was asked.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// What tells a user and a password to a server (RFC 7617).
const LOGINS: [(&str, &str); 1] = [("me:pa55-of-corp", "basic bWU6cGE1NS1vZi1jb3Jw")];

fn answer(
    mut stream: &TcpStream,
    files: &Files,
    counter: &AtomicUsize,
    login: Option<&'static str>,
) {
    let mut request = String::new();
    let mut reader = BufReader::new(stream);
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let mut line = String::new();
    let wanted = login.map(|login| LOGINS.iter().find(|it| it.0 == login).unwrap().1);
    let mut is_welcome = wanted.is_none();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some((name, value)) = line.split_once(": ") {
            let value = value.trim().replacen("Basic", "basic", 1);
            is_welcome |= name.eq_ignore_ascii_case("authorization") && wanted == Some(&value);
        }
        line.clear();
    }
    counter.fetch_add(1, Ordering::SeqCst);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, kind, body) = match content(path, &files.lock().unwrap()) {
        _ if !is_welcome => ("401 Unauthorized", "text/plain", Vec::new()),
        Some((kind, body)) => ("200 OK", kind, body),
        None => ("404 Not Found", "text/plain", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         WWW-Authenticate: Basic realm=\"x\"\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if request.starts_with("HEAD") {
        &[][..]
    } else {
        &body
    };
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
}

fn content(path: &str, files: &BTreeMap<String, Vec<u8>>) -> Option<(&'static str, Vec<u8>)> {
    if let Some(project) = path.strip_prefix("/simple/") {
        let page = page(project.trim_end_matches('/'), files)?;
        return Some(("application/vnd.pypi.simple.v1+json", page.into_bytes()));
    }
    let file = path.strip_prefix("/files/")?.replace("%2B", "+");
    let file = file.as_str();
    if let Some(wheel) = file.strip_suffix(".metadata") {
        return Some(("text/plain", metadata(files.get(wheel)?)));
    }
    Some(("application/octet-stream", files.get(file)?.clone()))
}

fn page(project: &str, files: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    let of_project = |name: &&String| name.split('-').next() == Some(project);
    let entries: Vec<String> = files
        .keys()
        .filter(of_project)
        .map(|name| {
            let bytes = &files[name];
            format!(
                r#"{{"filename": "{name}", "url": "/files/{}", "size": {}, "yanked": {},
                {}{}"core-metadata": {}, "hashes": {{"sha256": "{}"}}}}"#,
                name.replace('+', "%2B"),
                bytes.len(),
                // Versions `N.9` are withdrawn.
                if name.contains(".9-") {
                    r#""wrong licence""#
                } else {
                    "false"
                },
                uploaded(name),
                pythons(name),
                // Wheels of these tests hold their metadata first; others have none apart.
                !metadata(bytes).is_empty(),
                Digest::of(bytes).hex(),
            )
        })
        .collect();
    (!entries.is_empty()).then(|| {
        format!(
            r#"{{"meta": {{"api-version": "1.1"}}, "name": "{project}", "versions": [],
            "files": [{}]}}"#,
            entries.join(", ")
        )
    })
}

/// When a file was uploaded: versions `N.0` of projects whose names begin with `timed`, in `200N`.
fn uploaded(name: &str) -> String {
    let version = name
        .strip_prefix("timed")
        .and_then(|it| it.split('-').nth(1));
    version
        .and_then(|it| it.strip_suffix(".0"))
        .map(|year| format!(r#""upload-time": "200{year}-06-01T00:00:00Z", "#))
        .unwrap_or_default()
}

/// Which Pythons a file is for: version `2.0` of `snake` for newer ones than those of these tests.
fn pythons(name: &str) -> &'static str {
    if name.starts_with("snake-2.0") {
        r#""requires-python": ">=3.12", "#
    } else {
        ""
    }
}

/// The metadata of a wheel that [`wheel`] made: its first member, stored.
pub(crate) fn metadata(wheel: &[u8]) -> Vec<u8> {
    let field = |at: usize| {
        wheel
            .get(at..at + 2)
            .map_or(0, |it| usize::from(it[0]) | usize::from(it[1]) << 8)
    };
    let (length, name) = (field(18), field(26));
    let is_metadata = wheel
        .get(30..30 + name)
        .is_some_and(|it| it.ends_with(b"/METADATA"));
    if is_metadata {
        wheel[30 + name..30 + name + length].to_vec()
    } else {
        Vec::new()
    }
}

/// A wheel: its file name and its bytes.
pub(crate) fn wheel(name: &str, version: &str, tag: &str, requires: &[&str]) -> (String, Vec<u8>) {
    let mut metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    for requirement in requires {
        let _ = writeln!(metadata, "Requires-Dist: {requirement}");
        if let Some((_, extra)) = requirement.split_once("extra == ") {
            let _ = writeln!(metadata, "Provides-Extra: {}", extra.trim_matches('\''));
        }
    }
    let about = format!("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n");
    let info = format!("{name}-{version}.dist-info");
    let bytes = zip(&[
        (&format!("{info}/METADATA"), metadata.as_bytes()),
        (&format!("{info}/WHEEL"), about.as_bytes()),
        (&format!("{info}/RECORD"), b""),
    ]);
    (format!("{name}-{version}-{tag}.whl"), bytes)
}

/// A zip of stored members (APPNOTE 4.3).
pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in members {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let offset = u32::try_from(body.len()).unwrap().to_le_bytes();
        let mut shared = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        shared.extend(crc.sum().to_le_bytes());
        shared.extend(size);
        shared.extend(size);
        shared.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        shared.extend([0, 0]);
        body.extend(*b"PK\x03\x04");
        body.extend(&shared);
        body.extend(name.as_bytes());
        body.extend(*content);
        directory.extend(*b"PK\x01\x02\x14\x00");
        directory.extend(&shared);
        directory.extend([0; 10]);
        directory.extend(offset);
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend(count);
    end.extend(count);
    end.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    end.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    end.extend([0, 0]);
    [body, directory, end].concat()
}
