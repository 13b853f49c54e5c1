//! Starting programs in a machine through its host link.
//!
//! [`Client`] runs the protocol ([`Session`]) over a pair of byte streams with a thread that reads. What always holds: a
//! program's output is acknowledged when it is taken from here, so what nobody takes fills no more than its window.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use aurora_abi::link::News;

pub use aurora_abi::link::{Event, Request, Session, Spawn, Stream, environment};

/// How a program ended, from its wait status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited.
    Exited(u8),
    /// A signal killed it.
    Killed(u8),
}

impl Status {
    /// Reads what `wait4` gives.
    pub fn from_wait(status: u32) -> Self {
        match (status & 0x7f) as u8 {
            0 => Self::Exited((status >> 8) as u8),
            signal => Self::Killed(signal),
        }
    }

    /// The status as a shell shows it.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128 + signal,
        }
    }
}

#[derive(Default)]
struct State {
    session: Session,
    programs: HashMap<u32, Sender<Event>>,
    /// Replies nobody has taken yet.
    replies: HashMap<u32, Result<Vec<u8>, u32>>,
    /// Why there is no more link.
    closed: Option<String>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    writer: Mutex<Box<dyn Write + Send>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host's end of a link.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

impl Client {
    /// Speaks the link over these streams. A thread reads until the stream ends.
    pub fn new(mut reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> Self {
        let shared =
            Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), writer: Mutex::new(Box::new(writer)) });
        let inside = shared.clone();
        std::thread::spawn(move || {
            let why = inside.read_all(&mut reader);
            let mut state = lock(&inside.state);
            state.closed = Some(why);
            // Whoever waits for a program's events hears that no more come.
            state.programs.clear();
            inside.changed.notify_all();
        });
        Self(shared)
    }

    /// Waits until programs can be started.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        let not_yet = |state: &mut State| !state.session.is_ready() && state.closed.is_none();
        let state = lock(&self.0.state);
        let (state, _) =
            self.0.changed.wait_timeout_while(state, timeout, not_yet).unwrap_or_else(PoisonError::into_inner);
        match &state.closed {
            _ if state.session.is_ready() => Ok(()),
            Some(why) => bail!("the machine did not start: {why}"),
            None => bail!("the machine did not start within {timeout:?}"),
        }
    }

    /// Starts a program.
    pub fn spawn(&self, spawn: &Spawn) -> Result<Program> {
        let (sender, events) = channel();
        let id = {
            let mut state = lock(&self.0.state);
            if let Some(why) = &state.closed {
                bail!("the machine is gone: {why}");
            }
            let id = state.session.spawn(spawn).context("the arguments and the environment are too long")?;
            state.programs.insert(id, sender);
            id
        };
        self.0.send()?;
        Ok(Program { input: Input { id, shared: self.0.clone() }, events })
    }

    /// Asks for a file operation and waits for its answer; the inner error is its errno.
    pub fn request(&self, request: &Request) -> Result<Result<Vec<u8>, u32>> {
        let id = lock(&self.0.state).session.request(request);
        self.0.send()?;
        let pending = |state: &mut State| !state.replies.contains_key(&id) && state.closed.is_none();
        let state = lock(&self.0.state);
        let mut state = self.0.changed.wait_while(state, pending).unwrap_or_else(PoisonError::into_inner);
        state.replies.remove(&id).context("the machine is gone")
    }

    /// Asks the machine to turn itself off.
    pub fn shutdown(&self) -> io::Result<()> {
        lock(&self.0.state).session.shutdown();
        self.0.send()
    }

    /// Waits until the machine is gone; whether it is.
    pub fn wait_gone(&self, timeout: Duration) -> bool {
        let here = |state: &mut State| state.closed.is_none();
        let state = lock(&self.0.state);
        let waited = self.0.changed.wait_timeout_while(state, timeout, here);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed.is_some()
    }

    /// Runs a program to its end with `stdin` as its input.
    pub fn output(&self, spawn: &Spawn, stdin: &[u8], timeout: Duration) -> Result<Output> {
        let deadline = Instant::now() + timeout;
        let program = self.spawn(spawn)?;
        let feeder = program.input.clone();
        let stdin = stdin.to_vec();
        // On its own thread: a program may need its output taken before it reads on.
        std::thread::spawn(move || feeder.send_all(&stdin).and_then(|()| feeder.end()));
        let mut output = Output::default();
        loop {
            let event = program.next(deadline).inspect_err(|_| {
                // Nobody waits for it any more; whether it can still be told makes no difference.
                let _ = program.input.signal(9);
            })?;
            match event {
                Event::Stdout(bytes) => output.stdout.extend(bytes),
                Event::Stderr(bytes) => output.stderr.extend(bytes),
                Event::Failed(errno) => {
                    output.errno = Some(errno);
                    return Ok(output);
                }
                Event::Exit(status) => {
                    output.status = Some(Status::from_wait(status));
                    return Ok(output);
                }
            }
        }
    }
}

/// What a program that ended has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// How it ended; `None` when it could not be started.
    pub status: Option<Status>,
    /// Why it could not be started.
    pub errno: Option<u32>,
}

/// A program in the machine.
pub struct Program {
    /// What can be sent to it.
    pub input: Input,
    events: Receiver<Event>,
}

impl Program {
    /// What happens next; an error at `deadline` or when the machine is gone.
    pub fn next(&self, deadline: Instant) -> Result<Event> {
        match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => Ok(self.take(event)),
            Err(RecvTimeoutError::Timeout) => bail!("the program did not end in time"),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine stopped while the program ran"),
        }
    }

    /// What happens next, however long it takes; `None` when the machine is gone.
    pub fn wait(&self) -> Option<Event> {
        self.events.recv().ok().map(|event| self.take(event))
    }

    /// Lets as much output follow as was taken.
    fn take(&self, event: Event) -> Event {
        let (stream, bytes) = match &event {
            Event::Stdout(bytes) => (Stream::Stdout, bytes.len()),
            Event::Stderr(bytes) => (Stream::Stderr, bytes.len()),
            Event::Failed(_) | Event::Exit(_) => return event,
        };
        // A machine that is gone is noticed at the next event.
        let _ = self.input.command(|session| session.taken(self.input.id, stream, bytes as u32));
        event
    }
}

/// The way to a program.
#[derive(Clone)]
pub struct Input {
    id: u32,
    shared: Arc<Shared>,
}

impl Input {
    /// Sends input, waiting for the program to take it. Input for a program that ended is dropped.
    pub fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut state = lock(&self.shared.state);
            if state.closed.is_some() || !state.programs.contains_key(&self.id) {
                return Ok(());
            }
            let sent = state.session.input(self.id, bytes);
            bytes = &bytes[sent..];
            if sent == 0 {
                drop(self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            drop(state);
            self.shared.send()?;
        }
        Ok(())
    }

    /// Says that no input follows.
    pub fn end(&self) -> io::Result<()> {
        self.command(|session| session.end_input(self.id))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: u32) -> io::Result<()> {
        self.command(|session| session.signal(self.id, signal))
    }

    /// Tells the size of the terminal.
    pub fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        self.command(|session| session.resize(self.id, rows, columns))
    }

    /// Says that nobody reads one of its output streams any more.
    pub fn close_output(&self, stream: Stream) -> io::Result<()> {
        self.command(|session| session.close_output(self.id, stream))
    }

    /// Says something about the program once it has been started; nothing about one that is over.
    fn command(&self, command: impl FnOnce(&mut Session)) -> io::Result<()> {
        let early = |state: &mut State| {
            state.closed.is_none() && state.programs.contains_key(&self.id) && !state.session.is_started(self.id)
        };
        let state = lock(&self.shared.state);
        let mut state = self.shared.changed.wait_while(state, early).unwrap_or_else(PoisonError::into_inner);
        if !state.session.is_started(self.id) {
            return Ok(());
        }
        command(&mut state.session);
        drop(state);
        self.shared.send()
    }
}

impl Shared {
    /// Sends what the session has to send. In the order it was said, because the writer's lock is taken first.
    fn send(&self) -> io::Result<()> {
        let mut writer = lock(&self.writer);
        let bytes = lock(&self.state).session.take_outgoing();
        writer.write_all(&bytes)?;
        writer.flush()
    }

    /// Reads until the end; returns why it ended.
    fn read_all(&self, reader: &mut impl Read) -> String {
        let mut buffer = vec![0; 65536];
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => return "its link ended".into(),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return e.to_string(),
            };
            let mut news = Vec::new();
            let mut state = lock(&self.state);
            if state.session.receive(&buffer[..n], |each| news.push(each)).is_err() {
                return "what it sent is not the link's protocol".into();
            }
            for each in news {
                state.deliver(each);
            }
            drop(state);
            self.changed.notify_all();
        }
    }
}

impl State {
    fn deliver(&mut self, news: News) {
        match news {
            News::Ready | News::Room(_) => {}
            News::Reply(id, answer) => drop(self.replies.insert(id, answer)),
            News::Program(id, event) => {
                let last = matches!(event, Event::Exit(_) | Event::Failed(_));
                if let Some(sender) = self.programs.get(&id) {
                    // Whoever does not listen any more does not need to hear it.
                    let _ = sender.send(event);
                }
                if last {
                    self.programs.remove(&id);
                }
            }
        }
    }
}

/// The text of an errno, as a shell would print it.
pub fn errno_text(errno: u32) -> String {
    let text = io::Error::from_raw_os_error(errno.cast_signed()).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Reads a number of bytes as people write it: `64M`, `1G`, `4096K`.
pub fn parse_size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        unit => bail!("{unit} is no unit of memory: K, M or G"),
    };
    let number: u64 = digits.parse().with_context(|| format!("{text} is no amount of memory"))?;
    number.checked_mul(1 << shift).with_context(|| format!("{text} is more than there can be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_is_an_exit_code_or_a_signal() {
        assert_eq!(Status::from_wait(0x0300), Status::Exited(3));
        assert_eq!(Status::from_wait(0x8b), Status::Killed(11));
        assert_eq!(Status::from_wait(9).code(), 137);
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("64M").unwrap(), 64 << 20);
        assert_eq!(parse_size("1gib").unwrap(), 1 << 30);
        assert!(parse_size("12Q").is_err() && parse_size("").is_err() && parse_size("99999999999G").is_err());
    }
}
