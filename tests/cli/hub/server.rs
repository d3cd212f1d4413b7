//! As much of the hub's protocol as a download needs, on a port of this machine.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

/// The one model that the server has.
pub const MODEL_ID: &str = "tests/tiny";
/// Its only revision.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A client that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// What goes wrong.
#[derive(Clone, Copy)]
pub enum Refusal {
    None,
    /// Requests without this token.
    WithoutToken(&'static str),
    /// The second half of this file.
    HalfOf(&'static str),
}

/// Serves a model folder until it is dropped.
pub struct HubServer {
    address: SocketAddr,
    endpoint: String,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    folder: PathBuf,
    refusal: Refusal,
    requests: AtomicUsize,
    stop: AtomicBool,
}

/// What a client asks for.
struct Request {
    path: String,
    authorization: String,
    /// First and last byte; the last may be left open.
    range: Option<(usize, Option<usize>)>,
}

impl HubServer {
    pub fn start(folder: PathBuf, refusal: Refusal) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let state = Arc::new(State {
            folder,
            refusal,
            requests: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let serving = state.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::SeqCst) {
                    return;
                }
                // A client that breaks off is its own business; the run tells what it made of it.
                let _ = stream.and_then(|stream| serving.answer(stream));
            }
        });
        Self {
            address,
            endpoint: format!("http://{address}"),
            state,
            thread: Some(thread),
        }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How many there were so far.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        // It waits for a connection: this is the last one.
        let woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take()
            && woken.is_ok()
        {
            let _ = thread.join();
        }
    }
}

impl State {
    /// Answers one request and closes the connection.
    fn answer(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = read_request(&stream)?;
        self.requests.fetch_add(1, Ordering::SeqCst);

        if let Refusal::WithoutToken(token) = self.refusal
            && request.authorization != format!("Bearer {token}")
        {
            return respond(&stream, "401 Unauthorized", "", b"");
        }
        if request.path == format!("/api/models/{MODEL_ID}/revision/main") {
            let files = file_names(&self.folder, "");
            let siblings: Vec<_> = files
                .iter()
                .map(|name| json!({"rfilename": name}))
                .collect();
            let listing = json!({"siblings": siblings, "sha": COMMIT}).to_string();
            return respond(&stream, "200 OK", "", listing.as_bytes());
        }
        let name = request
            .path
            .strip_prefix(&format!("/{MODEL_ID}/resolve/main/"));
        match name.map(|name| (name, fs::read(self.folder.join(name)))) {
            Some((name, Ok(content))) => self.send(&stream, name, &content, &request),
            _ => respond(&stream, "404 Not Found", "", b""),
        }
    }

    fn send(
        &self,
        stream: &TcpStream,
        name: &str,
        content: &[u8],
        request: &Request,
    ) -> io::Result<()> {
        let size = content.len();
        let (first, last) = request.range.unwrap_or((0, None));
        let end = last.map_or(size, |last| size.min(last + 1));
        let headers = format!(
            "ETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {first}-{}/{size}\r\n",
            name.replace('/', "-"),
            end.saturating_sub(1),
        );
        let body = content.get(first..end).unwrap_or_default();
        match self.refusal {
            Refusal::HalfOf(half) if half == name && body.len() > 1 => {
                write_head(stream, "206 Partial Content", &headers, body.len())?;
                (&mut &*stream).write_all(&body[..body.len() / 2])
            }
            _ => respond(stream, "206 Partial Content", &headers, body),
        }
    }
}

fn respond(stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    write_head(stream, status, headers, body.len())?;
    (&mut &*stream).write_all(body)
}

fn write_head(
    mut stream: &TcpStream,
    status: &str,
    headers: &str,
    length: usize,
) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}

fn read_request(stream: &TcpStream) -> io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let mut next = move || {
        lines
            .next()
            .unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    };
    let first = next()?;
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        authorization: String::new(),
        range: None,
    };
    loop {
        let line = next()?;
        let Some((name, value)) = line.split_once(": ") else {
            return Ok(request); // the blank line behind the headers
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = value.to_owned(),
            "range" => request.range = parse_range(value),
            _ => {}
        }
    }
}

/// `bytes=FIRST-` or `bytes=FIRST-LAST`
fn parse_range(value: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}

/// All files below `folder`, with `prefix` before their names.
fn file_names(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)
        .expect("the model folder")
        .map(|entry| entry.expect("an entry"))
    {
        let name = format!("{prefix}{}", entry.file_name().to_str().expect("UTF-8"));
        if entry.path().is_dir() {
            names.extend(file_names(&entry.path(), &format!("{name}/")));
        } else {
            names.push(name);
        }
    }
    names
}
