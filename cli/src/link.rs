//! Starting programs in a machine through its host link.
//!
//! [`Session`] is the protocol without any input or output: bytes in, events out. [`Client`] runs it over a pair of byte
//! streams with a thread that reads. What always holds: no more input is sent than the kernel granted, and a program
//! whose output nobody takes stops the machine from sending, it fills no memory here.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use aurora_abi::link::{Decoder, Frame, Kind, MAX_PAYLOAD, ProtocolError, encode};

pub use aurora_abi::link::Spawn;

/// What happened to a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It could not be started, for this errno.
    Failed(u32),
    /// Bytes of its standard output.
    Stdout(Vec<u8>),
    /// Bytes of its standard error.
    Stderr(Vec<u8>),
    /// It ended, with this wait status.
    Exit(u32),
}

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

/// The protocol's state on the host's side.
#[derive(Default)]
pub struct Session {
    decoder: Decoder,
    ready: bool,
    last_id: u32,
    /// Bytes of input each program may still be sent.
    windows: HashMap<u32, u64>,
    outgoing: Vec<u8>,
}

impl Session {
    /// Takes bytes from the machine; `each(id, event)` hears what they say of programs.
    pub fn receive(&mut self, bytes: &[u8], mut each: impl FnMut(u32, Event)) -> Result<(), ProtocolError> {
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next_frame()? {
            self.frame(frame, &mut each)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame, each: &mut impl FnMut(u32, Event)) -> Result<(), ProtocolError> {
        let number = frame.as_number().ok_or(ProtocolError);
        match frame.kind {
            Kind::Ready => self.ready = true,
            Kind::Window => *self.windows.entry(frame.id).or_default() += u64::from(number?),
            Kind::Stdout => each(frame.id, Event::Stdout(frame.payload)),
            Kind::Stderr => each(frame.id, Event::Stderr(frame.payload)),
            Kind::SpawnFailed => each(frame.id, Event::Failed(number?)),
            Kind::Exit => {
                self.windows.remove(&frame.id);
                each(frame.id, Event::Exit(number?));
            }
            Kind::Spawn | Kind::Stdin | Kind::Signal | Kind::Resize | Kind::Shutdown => return Err(ProtocolError),
        }
        Ok(())
    }

    /// Whether the machine said that programs can be started.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Starts a program; returns the id its events will have.
    pub fn spawn(&mut self, spawn: &Spawn) -> Result<u32> {
        let payload = spawn.encode();
        if payload.len() > MAX_PAYLOAD {
            bail!("the arguments and the environment are too long");
        }
        self.last_id += 1;
        encode(Kind::Spawn, self.last_id, &payload, &mut self.outgoing);
        Ok(self.last_id)
    }

    /// Sends as much input as the program's window allows; returns how much that was.
    pub fn input(&mut self, id: u32, bytes: &[u8]) -> usize {
        let Some(window) = self.windows.get_mut(&id) else { return 0 };
        let n = bytes.len().min(usize::try_from(*window).unwrap_or(usize::MAX));
        if n > 0 {
            *window -= n as u64;
            encode(Kind::Stdin, id, &bytes[..n], &mut self.outgoing);
        }
        n
    }

    /// Whether the machine has started the program: it grants a window then.
    pub fn is_started(&self, id: u32) -> bool {
        self.windows.contains_key(&id)
    }

    /// Says that no input follows. For a program that has been started.
    pub fn end_input(&mut self, id: u32) {
        encode(Kind::Stdin, id, &[], &mut self.outgoing);
    }

    /// Sends the program a signal.
    pub fn signal(&mut self, id: u32, signal: u32) {
        Frame::number(Kind::Signal, id, signal).encode(&mut self.outgoing);
    }

    /// Tells the size of the program's terminal.
    pub fn resize(&mut self, id: u32, rows: u16, columns: u16) {
        let size = [rows.to_le_bytes(), columns.to_le_bytes()].concat();
        encode(Kind::Resize, id, &size, &mut self.outgoing);
    }

    /// Turns the machine off.
    pub fn shutdown(&mut self) {
        encode(Kind::Shutdown, 0, &[], &mut self.outgoing);
    }

    /// The bytes to send to the machine.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }
}

/// Events of a program that nobody has taken yet, at most.
const EVENTS: usize = 64;

#[derive(Default)]
struct State {
    session: Session,
    programs: HashMap<u32, SyncSender<Event>>,
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
        let (sender, events) = sync_channel(EVENTS);
        let id = {
            let mut state = lock(&self.0.state);
            if let Some(why) = &state.closed {
                bail!("the machine is gone: {why}");
            }
            let id = state.session.spawn(spawn)?;
            state.programs.insert(id, sender);
            id
        };
        self.0.send()?;
        Ok(Program { input: Input { id, shared: self.0.clone() }, events })
    }

    /// Asks the machine to turn itself off.
    pub fn shutdown(&self) -> io::Result<()> {
        lock(&self.0.state).session.shutdown();
        self.0.send()
    }

    /// Runs a program to its end with `stdin` as its input.
    pub fn output(&self, spawn: &Spawn, stdin: &[u8], timeout: Duration) -> Result<Output> {
        let deadline = Instant::now() + timeout;
        let Program { input, events } = self.spawn(spawn)?;
        let feeder = input.clone();
        let stdin = stdin.to_vec();
        // On its own thread: a program may need its output taken before it reads on.
        std::thread::spawn(move || feeder.send_all(&stdin).and_then(|()| feeder.end()));
        let mut output = Output::default();
        loop {
            let event = next_event(&events, deadline).inspect_err(|_| {
                // Nobody waits for it any more; whether it can still be told makes no difference.
                let _ = input.signal(9);
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

/// The next event, or an error at the deadline or when the machine is gone.
fn next_event(events: &Receiver<Event>, deadline: Instant) -> Result<Event> {
    match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(event) => Ok(event),
        Err(RecvTimeoutError::Timeout) => bail!("the program did not end in time"),
        Err(RecvTimeoutError::Disconnected) => bail!("the machine stopped while the program ran"),
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
        next_event(&self.events, deadline)
    }

    /// What happens next, however long it takes; `None` when the machine is gone.
    pub fn wait(&self) -> Option<Event> {
        self.events.recv().ok()
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
            let mut events = Vec::new();
            let mut state = lock(&self.state);
            if state.session.receive(&buffer[..n], |id, event| events.push((id, event))).is_err() {
                return "what it sent is not the link's protocol".into();
            }
            self.changed.notify_all();
            drop(state);
            for (id, event) in events {
                self.deliver(id, event);
            }
        }
    }

    fn deliver(&self, id: u32, event: Event) {
        let last = matches!(event, Event::Exit(_) | Event::Failed(_));
        let sender = lock(&self.state).programs.get(&id).cloned();
        if let Some(sender) = sender {
            // Whoever does not listen any more does not need to hear it.
            let _ = sender.send(event);
        }
        if last {
            lock(&self.state).programs.remove(&id);
            self.changed.notify_all();
        }
    }
}

/// The text of an errno, as a shell would print it.
pub fn errno_text(errno: u32) -> String {
    let text = io::Error::from_raw_os_error(errno.cast_signed()).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The environment every program gets that asks for no other.
pub fn environment(terminal: Option<&str>) -> Vec<Vec<u8>> {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut all: Vec<Vec<u8>> = [path, "HOME=/root", "USER=root", "LOGNAME=root"].map(|s| s.into()).into();
    all.extend(terminal.map(|term| format!("TERM={term}").into_bytes()));
    all
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
    fn input_is_held_back_to_the_window_the_kernel_grants() {
        let mut session = Session::default();
        let id = session.spawn(&Spawn { argv: vec![b"cat".to_vec()], ..Spawn::default() }).unwrap();
        session.take_outgoing();
        assert_eq!(session.input(id, b"abc"), 0);
        let mut grant = Vec::new();
        Frame::number(Kind::Window, id, 2).encode(&mut grant);
        session.receive(&grant, |_, _| panic!("a window is no event")).unwrap();
        assert_eq!(session.input(id, b"abc"), 2);
        assert_eq!(session.input(id, b"c"), 0);
        let mut expected = Vec::new();
        encode(Kind::Stdin, id, b"ab", &mut expected);
        assert_eq!(session.take_outgoing(), expected);
    }

    #[test]
    fn frames_only_the_host_may_send_are_refused_from_the_machine() {
        let mut bytes = Vec::new();
        encode(Kind::Shutdown, 0, &[], &mut bytes);
        assert_eq!(Session::default().receive(&bytes, |_, _| {}), Err(ProtocolError));
    }

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
