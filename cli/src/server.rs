//! A small server for the page: static files over loopback, no special headers; and, for `aurora run --machine browser`,
//! a machine's byte streams as WebSockets.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context as _, Result};

use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::machines::disk::Disk;

/// The longest request that is read: a browser's are below 2 KB.
const MAX_REQUEST: u64 = 16 * 1024;
/// The most a request brings: what a disk is given at a time.
const MAX_BODY: u64 = 4 << 20;

/// A running server. It ends when dropped.
pub struct PageServer {
    address: SocketAddr,
    site: Arc<Site>,
}

/// What is served.
struct Site {
    folder: PathBuf,
    /// Files held in memory, by path.
    files: HashMap<String, Vec<u8>>,
    /// Disks of the machine in the page, under `/disk/` and their numbers.
    disks: Vec<Disk>,
    sent: AtomicU64,
    ended: AtomicBool,
}

impl PageServer {
    /// Serves `folder`, and files held in memory under paths of their own. Port 0 is any free one.
    pub fn start(folder: PathBuf, files: HashMap<String, Vec<u8>>, port: u16) -> Result<Self> {
        Self::start_with(folder, files, Vec::new(), port)
    }

    /// The same, with disks.
    pub(crate) fn start_with(
        folder: PathBuf,
        files: HashMap<String, Vec<u8>>,
        disks: Vec<Disk>,
        port: u16,
    ) -> Result<Self> {
        let listener =
            TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("cannot listen on port {port}"))?;
        let address = listener.local_addr()?;
        let site = Arc::new(Site { folder, files, disks, sent: AtomicU64::new(0), ended: AtomicBool::new(false) });
        let inside = site.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(io::Result::ok) {
                if inside.ended.load(Ordering::Relaxed) {
                    return;
                }
                let site = inside.clone();
                // A browser that goes away in the middle of an answer is no error of ours.
                std::thread::spawn(move || drop(site.serve(stream)));
            }
        });
        Ok(Self { address, site })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes sent so far, headers included.
    pub fn sent(&self) -> u64 {
        self.site.sent.load(Ordering::Relaxed)
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        self.site.ended.store(true, Ordering::Relaxed);
        // The thread that accepts sees it with the next connection: this one.
        let _ = TcpStream::connect(self.address);
    }
}

/// What of a request matters here.
struct Request {
    path: String,
    method: Method,
    accepts_gzip: bool,
    /// The bytes of the file it is about: the first, and the last.
    range: Option<(u64, u64)>,
    body: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Put,
    Post,
}

/// `bytes=0-511` as requests have it, or `bytes 0-511/*` as what they bring.
fn range(value: &str) -> Option<(u64, u64)> {
    let range = value.strip_prefix("bytes")?.trim_start_matches(['=', ' ']).split('/').next()?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// Reads one request; `None` when there is none, or none that is understood.
fn read_request(reader: &mut impl io::BufRead) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut limited = reader.by_ref().take(MAX_REQUEST);
    while !head.ends_with(b"\r\n\r\n") {
        if limited.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    if request.parse(&head).is_err() {
        return Ok(None);
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("PUT") => Method::Put,
        Some("POST") => Method::Post,
        _ => return Ok(None),
    };
    let Some(target) = request.path else { return Ok(None) };
    let path = match target.split('?').next() {
        None | Some("/") => "/index.html",
        Some(path) => path,
    };
    let header = |name: &str| {
        let found = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let length: u64 = header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    if length > MAX_BODY {
        return Ok(None);
    }
    let (path, accepts_gzip) = (path.to_owned(), header("accept-encoding").is_some_and(|v| v.contains("gzip")));
    let range = header("range").or(header("content-range")).and_then(range);
    let mut body = vec![0; length as usize];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { path, method, accepts_gzip, range, body }))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// The file a URL names inside `folder`.
fn locate(folder: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path.trim_start_matches('/'));
    let inside = relative.components().all(|c| matches!(c, Component::Normal(_)));
    inside.then(|| folder.join(relative))
}

impl Site {
    /// Answers a connection's requests until the browser ends it.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = read_request(&mut reader)? {
            if let Some(disk) = self.disk(&request.path) {
                let (head, body) = answer_for(disk, &request);
                stream.write_all(&[head.into_bytes(), body].concat())?;
                continue;
            }
            let (body, head) = match self.find(&request) {
                Some((body, encoding)) => {
                    let kind = content_type(&request.path);
                    // The same server shows the next build of the page as well: nothing is kept.
                    let fields = format!("Content-Type: {kind}\r\nCache-Control: no-cache\r\n{encoding}");
                    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
                    (body, head)
                }
                None => (Vec::new(), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()),
            };
            let mut answer = head.into_bytes();
            if request.method != Method::Head {
                answer.extend(body);
            }
            self.sent.fetch_add(answer.len() as u64, Ordering::Relaxed);
            stream.write_all(&answer)?;
        }
        Ok(())
    }

    fn disk(&self, path: &str) -> Option<&Disk> {
        self.disks.get(path.strip_prefix("/disk/")?.parse::<usize>().ok()?)
    }

    /// A file's bytes, and the header that says how they are encoded.
    fn find(&self, request: &Request) -> Option<(Vec<u8>, &'static str)> {
        if let Some(bytes) = self.files.get(&request.path) {
            return Some((bytes.clone(), ""));
        }
        let file = locate(&self.folder, &request.path)?;
        let mut compressed = file.clone().into_os_string();
        compressed.push(".gz");
        match fs::read(compressed) {
            Ok(bytes) if request.accepts_gzip => Some((bytes, "Content-Encoding: gzip\r\n")),
            _ => Some((fs::read(file).ok()?, "")),
        }
    }
}

/// Does what a page asks of a disk: `web/src/disk-server.js` has the protocol.
fn answer_for(disk: &Disk, request: &Request) -> (String, Vec<u8>) {
    const EMPTY: &str = "Content-Length: 0\r\n\r\n";
    let (first, last) = request.range.unwrap_or((0, 0));
    let done = match request.method {
        Method::Head => disk.file.metadata().map(|metadata| {
            let allowed = if disk.read_only { "GET, HEAD" } else { "GET, HEAD, PUT, POST" };
            let head = format!("HTTP/1.1 200 OK\r\nAllow: {allowed}\r\nContent-Length: {}\r\n\r\n", metadata.len());
            (head, Vec::new())
        }),
        Method::Get if last - first < MAX_BODY => {
            let mut bytes = vec![0; (last - first + 1) as usize];
            disk.file.read_exact_at(&mut bytes, first).map(|()| {
                let fields = format!("Content-Range: bytes {first}-{last}/*\r\nCache-Control: no-store\r\n");
                let head = format!("HTTP/1.1 206 Partial Content\r\n{fields}Content-Length: {}\r\n\r\n", bytes.len());
                (head, bytes)
            })
        }
        Method::Put if request.range.is_some() && !disk.read_only => disk
            .file
            .write_all_at(&request.body, first)
            .map(|()| ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Vec::new())),
        Method::Post => disk.file.sync_data().map(|()| ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Vec::new())),
        Method::Get | Method::Put => return (format!("HTTP/1.1 400 Bad Request\r\n{EMPTY}"), Vec::new()),
    };
    done.unwrap_or_else(|error| {
        let status = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "507 Insufficient Storage",
            _ => "500 Internal Server Error",
        };
        (format!("HTTP/1.1 {status}\r\n{EMPTY}"), Vec::new())
    })
}

/// Waits for a browser's connections on `/stream/console` and `/stream/link`.
pub struct StreamServer {
    address: SocketAddr,
    console: Receiver<TcpStream>,
    link: Receiver<TcpStream>,
}

impl StreamServer {
    /// Listens on any free port of loopback.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let address = listener.local_addr()?;
        let ((to_console, console), (to_link, link)) = (channel(), channel());
        std::thread::spawn(move || accept(&listener, &to_console, &to_link));
        Ok(Self { address, console, link })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The two streams, once the browser has opened them: console first.
    pub fn streams(self, timeout: std::time::Duration) -> Result<[(StreamReader, StreamWriter); 2]> {
        let take = |from: Receiver<TcpStream>| -> Result<_> {
            let stream = from.recv_timeout(timeout).context("the browser did not open the page")?;
            stream.set_nodelay(true)?;
            let reader = WebSocket::from_raw_socket(stream.try_clone()?, Role::Server, None);
            let writer = WebSocket::from_raw_socket(stream, Role::Server, None);
            Ok((StreamReader { socket: reader, rest: Vec::new() }, StreamWriter { socket: writer }))
        };
        Ok([take(self.console)?, take(self.link)?])
    }
}

fn accept(listener: &TcpListener, console: &Sender<TcpStream>, link: &Sender<TcpStream>) {
    // Two connections are all there will ever be.
    let mut expected = 2;
    for stream in listener.incoming().map_while(io::Result::ok) {
        let Ok(mine) = stream.try_clone() else { continue };
        let mut path = String::new();
        #[allow(clippy::result_large_err, reason = "the error is the handshake library's")]
        let note = |request: &tungstenite::handshake::server::Request, response| {
            path = request.uri().path().to_owned();
            Ok(response)
        };
        if tungstenite::accept_hdr(stream, note).is_err() {
            continue;
        }
        let _ = match path.as_str() {
            "/stream/console" => console.send(mine),
            "/stream/link" => link.send(mine),
            _ => continue,
        };
        expected -= 1;
        if expected == 0 {
            return;
        }
    }
}

/// The browser's bytes.
pub struct StreamReader {
    socket: WebSocket<TcpStream>,
    rest: Vec<u8>,
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.rest = bytes.to_vec(),
                Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => return Ok(0),
                Ok(_) => {}
                // A browser that is killed closes nothing.
                Err(tungstenite::Error::Io(_) | tungstenite::Error::Protocol(_)) => return Ok(0),
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        let n = self.rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.rest[..n]);
        self.rest.drain(..n);
        Ok(n)
    }
}

/// Bytes for the browser.
pub struct StreamWriter {
    socket: WebSocket<TcpStream>,
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            self.socket.send(Message::Binary(bytes.to_vec().into())).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn requests_on_one_connection_are_answered_in_order_and_nothing_outside_is_served() {
        let files =
            HashMap::from([("/a".to_owned(), b"first".to_vec()), ("/index.html".to_owned(), b"index".to_vec())]);
        let server = PageServer::start(std::env::temp_dir(), files, 0).unwrap();
        let two = ask(server.address(), "GET /a?x HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(two.find("first").unwrap() < two.find("index").unwrap(), "{two}");
        for path in ["/../etc/passwd", "//etc/passwd", "/none"] {
            let answer = ask(server.address(), &format!("GET {path} HTTP/1.1\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        }
        assert_eq!(ask(server.address(), "nonsense\r\n\r\n"), "");
    }
}
