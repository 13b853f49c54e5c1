//! The host's end of the link, without any input or output: bytes in, news out. Whatever host embeds a machine (the
//! command line, a browser's worker, Node) speaks the protocol through this.
//!
//! What always holds: no more input is sent than the kernel granted, and the kernel is told of output only once somebody
//! took it, so nothing queues up here beyond the windows.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Decoder, Frame, Kind, MAX_PAYLOAD, ProtocolError, Request, Spawn, encode};

/// The environment every program gets whose starter asks for no other.
pub fn environment(terminal: Option<&str>) -> Vec<Vec<u8>> {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut all: Vec<Vec<u8>> = [path, "HOME=/root", "USER=root", "LOGNAME=root"].map(|s| s.into()).into();
    all.extend(terminal.map(|term| ["TERM=", term].concat().into_bytes()));
    all
}

/// What happened to a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It could not be started, for this errno.
    Failed(u32),
    /// Bytes of its standard output. To be answered with [`Session::taken`].
    Stdout(Vec<u8>),
    /// Bytes of its standard error. To be answered with [`Session::taken`].
    Stderr(Vec<u8>),
    /// It ended, with this wait status.
    Exit(u32),
}

/// What the machine said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Programs can be started.
    Ready,
    /// A program takes more input; the first time, it has been started.
    Room(u32),
    /// Something happened to a program.
    Program(u32, Event),
    /// A request was done, or failed with an errno.
    Reply(u32, Result<Vec<u8>, u32>),
}

/// An output stream of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or all of a terminal's output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn kind(self) -> u32 {
        match self {
            Self::Stdout => Kind::Stdout as u32,
            Self::Stderr => Kind::Stderr as u32,
        }
    }
}

/// What the host knows of a program it started.
#[derive(Default)]
struct Program {
    tty: bool,
    started: bool,
    /// Bytes of input it may still be sent.
    window: u64,
    /// Bytes of output handed out and not yet taken, by stream.
    handed: [u32; 2],
}

/// The protocol's state on the host's side.
#[derive(Default)]
pub struct Session {
    decoder: Decoder,
    ready: bool,
    last_id: u32,
    programs: BTreeMap<u32, Program>,
    outgoing: Vec<u8>,
}

impl Session {
    /// Takes bytes from the machine; `each` hears what they say.
    pub fn receive(&mut self, bytes: &[u8], mut each: impl FnMut(News)) -> Result<(), ProtocolError> {
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next_frame()? {
            each(self.frame(frame)?);
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame) -> Result<News, ProtocolError> {
        let number = frame.as_number().ok_or(ProtocolError);
        let id = frame.id;
        Ok(match frame.kind {
            Kind::Ready => {
                self.ready = true;
                News::Ready
            }
            Kind::Window => {
                let number = number?;
                // One under way when the program ended is for nobody.
                if let Some(program) = self.programs.get_mut(&id) {
                    program.started = true;
                    program.window += u64::from(number);
                }
                News::Room(id)
            }
            Kind::Stdout => News::Program(id, Event::Stdout(self.handed(id, Stream::Stdout, frame.payload))),
            Kind::Stderr => News::Program(id, Event::Stderr(self.handed(id, Stream::Stderr, frame.payload))),
            Kind::SpawnFailed => {
                self.programs.remove(&id);
                News::Program(id, Event::Failed(number?))
            }
            Kind::Exit => {
                self.programs.remove(&id);
                News::Program(id, Event::Exit(number?))
            }
            Kind::Reply => {
                let (errno, answer) = frame.payload.split_first_chunk::<4>().ok_or(ProtocolError)?;
                match u32::from_le_bytes(*errno) {
                    0 => News::Reply(id, Ok(answer.to_vec())),
                    errno => News::Reply(id, Err(errno)),
                }
            }
            Kind::Spawn | Kind::Stdin | Kind::Signal | Kind::Resize | Kind::Shutdown => return Err(ProtocolError),
            Kind::Taken | Kind::CloseOutput | Kind::Request => return Err(ProtocolError),
        })
    }

    fn handed(&mut self, id: u32, stream: Stream, bytes: Vec<u8>) -> Vec<u8> {
        if let Some(program) = self.programs.get_mut(&id) {
            program.handed[stream as usize] += bytes.len() as u32;
        }
        bytes
    }

    fn next_id(&mut self) -> u32 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// Whether the machine said that programs can be started.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Starts a program; returns the id its events will have. `None` if its arguments and environment are too long.
    pub fn spawn(&mut self, spawn: &Spawn) -> Option<u32> {
        let payload = spawn.encode();
        if payload.len() > MAX_PAYLOAD {
            return None;
        }
        let id = self.next_id();
        self.programs.insert(id, Program { tty: spawn.tty.is_some(), ..Program::default() });
        encode(Kind::Spawn, id, &payload, &mut self.outgoing);
        Some(id)
    }

    /// Sends as much input as the program's window allows; returns how much that was.
    pub fn input(&mut self, id: u32, bytes: &[u8]) -> usize {
        let Some(program) = self.programs.get_mut(&id) else { return 0 };
        let n = bytes.len().min(usize::try_from(program.window).unwrap_or(usize::MAX));
        if n > 0 {
            program.window -= n as u64;
            encode(Kind::Stdin, id, &bytes[..n], &mut self.outgoing);
        }
        n
    }

    /// Whether the machine has started the program: it grants a window then.
    pub fn is_started(&self, id: u32) -> bool {
        self.programs.get(&id).is_some_and(|p| p.started)
    }

    /// Whether the program may still say something.
    pub fn is_alive(&self, id: u32) -> bool {
        self.programs.contains_key(&id)
    }

    /// Says that no input follows. For a program that has been started.
    pub fn end_input(&mut self, id: u32) {
        encode(Kind::Stdin, id, &[], &mut self.outgoing);
    }

    /// Sends the program a signal.
    pub fn signal(&mut self, id: u32, signal: u32) {
        Frame::number(Kind::Signal, id, signal).encode(&mut self.outgoing);
    }

    /// Tells the size of the program's terminal; of the console, if `id` is 0.
    pub fn resize(&mut self, id: u32, rows: u16, columns: u16) {
        let size = [rows.to_le_bytes(), columns.to_le_bytes()].concat();
        encode(Kind::Resize, id, &size, &mut self.outgoing);
    }

    /// Bytes of a program's output have gone where they were to go: as many may follow.
    pub fn taken(&mut self, id: u32, stream: Stream, bytes: u32) {
        let Some(program) = self.programs.get_mut(&id).filter(|_| bytes > 0) else { return };
        let handed = &mut program.handed[stream as usize];
        *handed = handed.saturating_sub(bytes);
        let numbers = [stream.kind().to_le_bytes(), bytes.to_le_bytes()].concat();
        encode(Kind::Taken, id, &numbers, &mut self.outgoing);
    }

    /// Nobody reads a program's output any more: what it writes there fails as it does for a broken pipe.
    pub fn close_output(&mut self, id: u32, stream: Stream) {
        if self.programs.contains_key(&id) {
            Frame::number(Kind::CloseOutput, id, stream.kind()).encode(&mut self.outgoing);
        }
    }

    /// Asks for a file operation; returns the id its reply will have.
    pub fn request(&mut self, request: &Request) -> u32 {
        self.encoded_request(&request.encode()).unwrap_or_default()
    }

    /// The same for a request that is encoded already; `None` if it is too long.
    pub fn encoded_request(&mut self, payload: &[u8]) -> Option<u32> {
        if payload.len() > MAX_PAYLOAD {
            return None;
        }
        let id = self.next_id();
        encode(Kind::Request, id, payload, &mut self.outgoing);
        Some(id)
    }

    /// Goes on for a new host, after the machine was restored from a copy: what the old one had been handed is lost, and
    /// its files are closed. Returns the programs that run: their ids, and whether each has a terminal.
    pub fn adopt(&mut self) -> Vec<(u32, bool)> {
        let programs: Vec<(u32, bool, [u32; 2])> = self.programs.iter().map(|(&id, p)| (id, p.tty, p.handed)).collect();
        for &(id, _, [stdout, stderr]) in &programs {
            self.taken(id, Stream::Stdout, stdout);
            self.taken(id, Stream::Stderr, stderr);
        }
        self.request(&Request::Close { fd: u32::MAX });
        programs.into_iter().map(|(id, tty, _)| (id, tty)).collect()
    }

    /// Turns the machine off.
    pub fn shutdown(&mut self) {
        encode(Kind::Shutdown, 0, &[], &mut self.outgoing);
    }

    /// The bytes to send to the machine.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// The first of them have been sent.
    pub fn sent(&mut self, bytes: usize) {
        self.outgoing.drain(..bytes.min(self.outgoing.len()));
    }

    /// Takes all bytes to send.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.outgoing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn cat() -> Spawn {
        Spawn { argv: vec![b"cat".to_vec()], ..Spawn::default() }
    }

    #[test]
    fn input_is_held_back_to_the_window_the_kernel_grants() {
        let mut session = Session::default();
        let id = session.spawn(&cat()).unwrap();
        session.take_outgoing();
        assert_eq!(session.input(id, b"abc"), 0);
        let mut grant = Vec::new();
        Frame::number(Kind::Window, id, 2).encode(&mut grant);
        session.receive(&grant, |news| assert_eq!(news, News::Room(id))).unwrap();
        assert_eq!(session.input(id, b"abc"), 2);
        assert_eq!(session.input(id, b"c"), 0);
        let mut expected = Vec::new();
        encode(Kind::Stdin, id, b"ab", &mut expected);
        assert_eq!(session.take_outgoing(), expected);
    }

    #[test]
    fn frames_only_the_host_may_send_are_refused_from_the_machine() {
        for kind in [Kind::Shutdown, Kind::Request, Kind::Taken] {
            let mut bytes = Vec::new();
            encode(kind, 0, &[], &mut bytes);
            assert_eq!(Session::default().receive(&bytes, |_| {}), Err(ProtocolError));
        }
    }

    #[test]
    fn who_adopts_a_session_grants_what_the_last_host_was_handed() {
        let mut session = Session::default();
        let id = session.spawn(&cat()).unwrap();
        let mut output = Vec::new();
        encode(Kind::Stdout, id, b"12345", &mut output);
        session.receive(&output, |_| {}).unwrap();
        session.taken(id, Stream::Stdout, 2);
        session.take_outgoing();
        assert_eq!(session.adopt(), [(id, false)]);
        let mut decoder = Decoder::default();
        decoder.push(&session.take_outgoing());
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!((frame.kind, frame.as_numbers()), (Kind::Taken, Some([Kind::Stdout as u32, 3])));
    }
}
