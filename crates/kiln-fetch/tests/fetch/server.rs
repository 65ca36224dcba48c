//! A loopback HTTP server that does what a script says, wrong things included.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// How many requests for this path came before.
    pub(crate) earlier: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What the server sends, and how it ends.
#[derive(Clone)]
pub(crate) struct Reply {
    head: String,
    pieces: Vec<Vec<u8>>,
    end: End,
}

#[derive(Clone)]
enum End {
    Close,
    /// Sends nothing more, and waits until the client goes away.
    Stall,
    /// Waits for the gate, then sends the rest.
    Gate(Arc<Gate>, Vec<u8>),
    /// A pause between pieces.
    Drip(Duration),
}

impl Reply {
    fn new(status: &str, body: &[u8]) -> Self {
        Self {
            head: format!("HTTP/1.1 {status}\r\nconnection: close\r\n"),
            pieces: vec![body.to_vec()],
            end: End::Close,
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::new(&format!("{status} Whatever"), b"").header("content-length", "0")
    }

    /// The whole body with its true length.
    pub(crate) fn ok(body: &[u8]) -> Self {
        Self::new("200 OK", body).header("content-length", &body.len().to_string())
    }

    /// The whole body, ended by closing, without a length.
    pub(crate) fn unmeasured(body: &[u8]) -> Self {
        Self::new("200 OK", body)
    }

    /// What a good server sends: the range that was asked for, or all.
    pub(crate) fn file(request: &Request, body: &[u8]) -> Self {
        let total = body.len();
        let Some(range) = request
            .header("range")
            .and_then(|r| r.strip_prefix("bytes="))
        else {
            return Self::ok(body);
        };
        let (first, last) = match range.split_once('-').unwrap() {
            ("", suffix) => (total.saturating_sub(suffix.parse().unwrap()), total - 1),
            (first, "") => (first.parse().unwrap(), total - 1),
            (first, last) => (
                first.parse().unwrap(),
                last.parse::<usize>().unwrap().min(total - 1),
            ),
        };
        if first >= total {
            return Self::status(416);
        }
        Self::partial(
            &format!("bytes {first}-{last}/{total}"),
            &body[first..=last],
        )
    }

    pub(crate) fn partial(content_range: &str, body: &[u8]) -> Self {
        Self::new("206 Partial Content", body)
            .header("content-range", content_range)
            .header("content-length", &body.len().to_string())
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self::status(302).header("location", location)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        use std::fmt::Write as _;
        write!(self.head, "{name}: {value}\r\n").unwrap();
        self
    }

    /// Only the first bytes of the body, then the connection closes.
    pub(crate) fn cut(mut self, length: usize) -> Self {
        self.pieces[0].truncate(length);
        self
    }

    /// Only the first bytes of the body, then nothing.
    pub(crate) fn stall(mut self, length: usize) -> Self {
        self.pieces[0].truncate(length);
        self.end = End::Stall;
        self
    }

    /// The first bytes, and the rest when the gate opens.
    pub(crate) fn gated(mut self, length: usize, gate: &Arc<Gate>) -> Self {
        let rest = self.pieces[0].split_off(length);
        self.end = End::Gate(Arc::clone(gate), rest);
        self
    }

    /// The body in pieces, with pauses.
    pub(crate) fn drip(mut self, pieces: usize, pause: Duration) -> Self {
        let size = self.pieces[0].len().div_ceil(pieces);
        self.pieces = self.pieces[0].chunks(size).map(<[u8]>::to_vec).collect();
        self.end = End::Drip(pause);
        self
    }

    /// Says nothing, and waits until the client goes away.
    pub(crate) fn silence() -> Self {
        Self {
            end: End::Stall,
            ..Self::hang_up()
        }
    }

    /// Closes without a word.
    pub(crate) fn hang_up() -> Self {
        Self {
            head: String::new(),
            pieces: Vec::new(),
            end: End::Close,
        }
    }

    fn send(self, stream: &mut TcpStream, gone: &Gate) -> std::io::Result<()> {
        if !self.head.is_empty() {
            stream.write_all(self.head.as_bytes())?;
            stream.write_all(b"\r\n")?;
        }
        for piece in &self.pieces {
            stream.write_all(piece)?;
            if let End::Drip(pause) = self.end {
                thread::sleep(pause);
            }
        }
        match self.end {
            End::Close | End::Drip(_) => {}
            End::Stall => {
                let _ = stream.read(&mut [0]);
                gone.open();
            }
            End::Gate(gate, rest) => {
                gate.wait();
                stream.write_all(&rest)?;
            }
        }
        Ok(())
    }
}

/// Something that happens once, and can be waited for.
#[derive(Default)]
pub(crate) struct Gate(Mutex<bool>, Condvar);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    /// Waits for it; panics after a minute, so that a wrong test ends.
    pub(crate) fn wait(&self) {
        let guard = self.0.lock().unwrap();
        let wait = self
            .1
            .wait_timeout_while(guard, Duration::from_secs(60), |open| !*open);
        assert!(*wait.unwrap().0, "nobody opened the gate");
    }
}

/// The server. It ends with the test process.
pub(crate) struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
    /// Opened when a client leaves a stalled answer.
    pub(crate) client_left: Arc<Gate>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            log: Arc::default(),
            client_left: Arc::default(),
        };
        let script = Arc::new(script);
        let (log, gone) = (Arc::clone(&server.log), Arc::clone(&server.client_left));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, log, gone) =
                    (Arc::clone(&script), Arc::clone(&log), Arc::clone(&gone));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(mut request) = read_request(&stream) else {
                        return;
                    };
                    {
                        let mut log = log.lock().unwrap();
                        request.earlier = log.iter().filter(|r| r.path == request.path).count();
                        log.push(request.clone());
                    }
                    // The client may leave at any time.
                    let _ = script(&request).send(&mut stream, &gone);
                });
            }
        });
        server
    }

    /// A server that serves these files and nothing else.
    pub(crate) fn files(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let files: BTreeMap<_, _> = files.into_iter().collect();
        Self::start(move |request| match files.get(&request.path) {
            Some(body) => Reply::file(request, body),
            None => Reply::status(404),
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let headers = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect();
    Some(Request {
        path,
        headers,
        earlier: 0,
    })
}
