//! A small server for the page: static files over loopback, no special headers; and, for `aurora run --machine browser`,
//! a machine's byte streams as WebSockets.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context as _, Result, anyhow};
use tiny_http::{Header, Request, Response, Server, StatusCode};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

/// A running server. It ends when dropped.
pub struct PageServer {
    server: Arc<Server>,
    sent: Arc<AtomicU64>,
}

impl PageServer {
    /// Serves `folder`, and files held in memory under names of their own. Port 0 is any free one.
    pub fn start(folder: PathBuf, files: HashMap<String, Vec<u8>>, port: u16) -> Result<Self> {
        let server = Server::http(("127.0.0.1", port)).map_err(|e| anyhow!("cannot listen on port {port}: {e}"))?;
        let server = Arc::new(server);
        let sent = Arc::new(AtomicU64::new(0));
        let files = Arc::new(files);
        // A few threads: a browser asks for several files at once.
        for _ in 0..4 {
            let (server, sent, folder, files) = (server.clone(), sent.clone(), folder.clone(), files.clone());
            std::thread::spawn(move || {
                for request in server.incoming_requests() {
                    answer(request, &folder, &files, &sent);
                }
            });
        }
        Ok(Self { server, sent })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.server.server_addr().to_ip().context("a server on loopback has an address")
    }

    /// Bytes of files sent so far, as they went over the wire.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        // Wakes all threads' `incoming_requests`, each once.
        (0..4).for_each(|_| self.server.unblock());
    }
}

fn header(name: &str, value: &str) -> Option<Header> {
    Header::from_bytes(name, value).ok()
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

fn answer(request: Request, folder: &Path, files: &HashMap<String, Vec<u8>>, sent: &AtomicU64) {
    let path = match request.url().split('?').next() {
        None | Some("/") => "/index.html".to_owned(),
        Some(path) => path.to_owned(),
    };
    let accepts_gzip = request
        .headers()
        .iter()
        .any(|h| h.field.equiv("Accept-Encoding") && h.value.as_str().split(',').any(|e| e.trim().starts_with("gzip")));
    let mut compressed = false;
    let body = files.get(&path).cloned().or_else(|| {
        let file = locate(folder, &path)?;
        let mut gz = file.clone().into_os_string();
        gz.push(".gz");
        if accepts_gzip && let Ok(bytes) = fs::read(&gz) {
            compressed = true;
            return Some(bytes);
        }
        fs::read(file).ok()
    });
    let Some(body) = body else {
        let _ = request.respond(Response::empty(StatusCode(404)));
        return;
    };
    sent.fetch_add(body.len() as u64, Ordering::Relaxed);
    let mut response = Response::from_data(body);
    // The same server shows the next build of the page as well.
    let mut headers = vec![("Content-Type", content_type(&path)), ("Cache-Control", "no-cache")];
    if compressed {
        headers.push(("Content-Encoding", "gzip"));
    }
    for header in headers.into_iter().filter_map(|(name, value)| header(name, value)) {
        response.add_header(header);
    }
    let _ = request.respond(response);
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
