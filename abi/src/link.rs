//! The host link: how whoever started a machine runs programs in it and reaches its files. [`Session`] is the host's end.
//!
//! One byte stream each way ([`aurora-machine`'s `Port::Link`]) carries frames: a kind, an id of the host's choosing (of
//! a process, or of a request), a payload. Numbers are little-endian. The host may send only as many `Stdin` bytes for a
//! process as `Window` frames granted it, and the kernel only [`OUTPUT_WINDOW`] bytes of each output stream beyond those
//! the host said were `Taken`. So no process that does not read, and no output nobody takes, ever holds up another.
//!
//! | direction | frame | payload |
//! |---|---|---|
//! | kernel → host | `Ready` | empty; the first frame, once programs can be started |
//! | host → kernel | `Spawn` | [`Spawn`] |
//! | kernel → host | `SpawnFailed` | errno, u32 |
//! | kernel → host | `Window` | bytes of input that may be sent on top of earlier grants, u32 |
//! | host → kernel | `Stdin` | bytes; an empty payload is the end of input |
//! | host → kernel | `Signal` | signal number, u32 |
//! | host → kernel | `Resize` | rows u16, columns u16 (terminals only; id 0 is the console) |
//! | kernel → host | `Stdout`, `Stderr` | bytes |
//! | host → kernel | `Taken` | kind of the stream u32, bytes of it that may be sent on top of earlier grants u32 |
//! | host → kernel | `CloseOutput` | kind of the stream u32: nobody reads it any more |
//! | kernel → host | `Exit` | wait status as `wait4` gives it, u32; all output came before |
//! | host → kernel | `Request` | a file operation, [`Request`] |
//! | kernel → host | `Reply` | its errno u32, 0 for none, and then its answer |
//! | host → kernel | `Shutdown` | empty; the machine powers off |

mod request;
mod session;

use alloc::vec::Vec;

pub use request::{MAX_TRANSFER, Request};
pub use session::{Event, News, Session, Stream, environment};

/// The largest payload of a frame. A longer one is a protocol error.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// Bytes of a frame before its payload.
pub const HEADER: usize = 12;
/// Bytes of an output stream the kernel sends before the host has said that it took some.
pub const OUTPUT_WINDOW: usize = 64 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Kind {
    Ready = 1,
    Spawn = 2,
    SpawnFailed = 3,
    Window = 4,
    Stdin = 5,
    Signal = 6,
    Resize = 7,
    Stdout = 8,
    Stderr = 9,
    Exit = 10,
    Shutdown = 11,
    Taken = 12,
    CloseOutput = 13,
    Request = 14,
    Reply = 15,
}

impl Kind {
    fn from_u8(value: u8) -> Option<Self> {
        const ALL: [Kind; 15] = [
            Kind::Ready,
            Kind::Spawn,
            Kind::SpawnFailed,
            Kind::Window,
            Kind::Stdin,
            Kind::Signal,
            Kind::Resize,
            Kind::Stdout,
            Kind::Stderr,
            Kind::Exit,
            Kind::Shutdown,
            Kind::Taken,
            Kind::CloseOutput,
            Kind::Request,
            Kind::Reply,
        ];
        ALL.into_iter().find(|&k| k as u8 == value)
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Which process it is about; 0 where it is about none.
    pub id: u32,
    /// See the table above.
    pub payload: Vec<u8>,
}

/// The stream does not hold frames: there is no way to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolError;

impl Frame {
    /// A frame whose payload is one number.
    pub fn number(kind: Kind, id: u32, value: u32) -> Self {
        Self { kind, id, payload: value.to_le_bytes().to_vec() }
    }

    /// The payload of a frame that holds one number.
    pub fn as_number(&self) -> Option<u32> {
        Some(u32::from_le_bytes(self.payload.as_slice().try_into().ok()?))
    }

    /// The payload of a frame that holds two numbers.
    pub fn as_numbers(&self) -> Option<[u32; 2]> {
        let [a0, a1, a2, a3, b0, b1, b2, b3] = self.payload.as_slice().try_into().ok()?;
        Some([u32::from_le_bytes([a0, a1, a2, a3]), u32::from_le_bytes([b0, b1, b2, b3])])
    }

    /// Appends the frame's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode(self.kind, self.id, &self.payload, out);
    }
}

/// Appends a frame's bytes to `out`. A payload over [`MAX_PAYLOAD`] is cut into several frames of the same kind.
pub fn encode(kind: Kind, id: u32, payload: &[u8], out: &mut Vec<u8>) {
    let (first, rest) = payload.split_at(payload.len().min(MAX_PAYLOAD));
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&(first.len() as u32).to_le_bytes());
    out.extend_from_slice(first);
    if !rest.is_empty() {
        encode(kind, id, rest, out);
    }
}

/// Cuts a byte stream into frames.
#[derive(Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes come.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ProtocolError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let [kind, _, _, _, i0, i1, i2, i3, l0, l1, l2, l3] = *header;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let kind = Kind::from_u8(kind).ok_or(ProtocolError)?;
        if len > MAX_PAYLOAD {
            return Err(ProtocolError);
        }
        let Some(payload) = self.buffer.get(HEADER..HEADER + len) else { return Ok(None) };
        let frame = Frame { kind, id: u32::from_le_bytes([i0, i1, i2, i3]), payload: payload.to_vec() };
        self.buffer.drain(..HEADER + len);
        Ok(Some(frame))
    }
}

/// A program to start. Its standard streams are pipes to the host, or one terminal for all three.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Spawn {
    /// Give it a terminal of its own (output then comes as `Stdout`) of so many rows and columns.
    pub tty: Option<(u16, u16)>,
    /// Working directory; `/` when empty.
    pub cwd: Vec<u8>,
    /// Arguments; the first names the program, looked up in `PATH` of `env` when it has no slash.
    pub argv: Vec<Vec<u8>>,
    /// Environment, `NAME=value` each.
    pub env: Vec<Vec<u8>>,
}

impl Spawn {
    /// The payload of a `Spawn` frame: flags u32 (1: a terminal), its rows and columns u16 each, counts of arguments and
    /// of environment strings u32 each, then the working directory, arguments and environment, each ended by NUL.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let (rows, columns) = self.tty.unwrap_or_default();
        let size = u32::from(columns) << 16 | u32::from(rows);
        for n in [u32::from(self.tty.is_some()), size, self.argv.len() as u32, self.env.len() as u32] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for s in core::iter::once(&self.cwd).chain(&self.argv).chain(&self.env) {
            out.extend_from_slice(s);
            out.push(0);
        }
        out
    }

    /// Reads what [`Spawn::encode`] wrote.
    pub fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (head, rest) = payload.split_first_chunk::<16>().ok_or(ProtocolError)?;
        let [f0, f1, f2, f3, r0, r1, c0, c1, a0, a1, a2, a3, e0, e1, e2, e3] = *head;
        let argc = u32::from_le_bytes([a0, a1, a2, a3]) as usize;
        let envc = u32::from_le_bytes([e0, e1, e2, e3]) as usize;
        let mut strings = rest.split(|&b| b == 0).map(<[u8]>::to_vec);
        let cwd = strings.next().ok_or(ProtocolError)?;
        let argv: Vec<_> = strings.by_ref().take(argc).collect();
        let env: Vec<_> = strings.by_ref().take(envc).collect();
        // What follows the last NUL is the empty rest, and nothing else.
        let complete = argv.len() == argc && env.len() == envc && strings.eq([Vec::new()]);
        let has_tty = u32::from_le_bytes([f0, f1, f2, f3]) & 1 != 0;
        let tty = has_tty.then(|| (u16::from_le_bytes([r0, r1]), u16::from_le_bytes([c0, c1])));
        if complete { Ok(Self { tty, cwd, argv, env }) } else { Err(ProtocolError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut() {
        let frames =
            [Frame::number(Kind::Exit, 3, 256), Frame { kind: Kind::Stdin, id: 9, payload: vec![1; MAX_PAYLOAD] }];
        let mut bytes = Vec::new();
        frames.iter().for_each(|f| f.encode(&mut bytes));
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for part in bytes.chunks(1000) {
            decoder.push(part);
            while let Some(frame) = decoder.next_frame().unwrap() {
                got.push(frame);
            }
        }
        assert_eq!(got, frames);
    }

    #[test]
    fn a_spawn_with_missing_strings_is_refused() {
        let spawn =
            Spawn { tty: Some((30, 100)), cwd: b"/tmp".into(), argv: vec![b"a".into(), b"".into()], env: vec![] };
        let bytes = spawn.encode();
        assert_eq!(Spawn::decode(&bytes), Ok(spawn));
        assert_eq!(Spawn::decode(&bytes[..bytes.len() - 1]), Err(ProtocolError));
        assert_eq!(Spawn::decode(&[0; 5]), Err(ProtocolError));
    }
}
