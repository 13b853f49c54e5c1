//! The host link as the engine calls it: `aurora_abi::link::Session` behind exports, its state in the linear memory like
//! everything else, so a snapshot holds both ends of the link.
//!
//! Bytes go through the exchange buffer ([`crate::aurora_exchange`]). An engine that carries the link's bytes elsewhere
//! uses `aurora_push` and `aurora_pull` on the port instead, and none of this.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use aurora_abi::Errno;
use aurora_abi::link::{Event, News, Session, Spawn, Stream, environment};
use aurora_machine::Port;
use aurora_virtual::PORT_CAPACITY;
use spin::{Mutex, MutexGuard};

use crate::{DRIVER, EXCHANGE, exchange};

#[derive(Default)]
struct Link {
    session: Session,
    /// What the machine said and the engine has not heard yet.
    news: VecDeque<News>,
    broken: bool,
    /// Bytes went either way.
    carried: bool,
    /// Where bytes from the port pass.
    buffer: Vec<u8>,
}

static LINK: Mutex<Option<Link>> = Mutex::new(None);

fn with<T>(act: impl FnOnce(&mut Link) -> T) -> T {
    let mut link: MutexGuard<'_, Option<Link>> = LINK.lock();
    act(link.get_or_insert_default())
}

/// The first `len` bytes of the exchange buffer.
fn given(len: usize) -> Vec<u8> {
    EXCHANGE.lock().get(..len).unwrap_or_default().to_vec()
}

/// Brings bytes from and to the machine's port.
fn carry(link: &mut Link) {
    let driver = DRIVER.lock();
    let Some(driver) = driver.as_ref() else { return };
    let taken = driver.machine().push(Port::Link, link.session.outgoing());
    link.session.sent(taken);
    link.buffer.resize(PORT_CAPACITY, 0);
    let got = driver.machine().pull(Port::Link, &mut link.buffer);
    link.carried |= taken > 0 || got > 0;
    let bytes = link.buffer.get(..got).unwrap_or_default();
    let news = &mut link.news;
    link.broken |= link.session.receive(bytes, |each| news.push_back(each)).is_err();
}

const NOTHING: u32 = 0;
const READY: u32 = 1;
const ROOM: u32 = 2;
const FAILED: u32 = 3;
const STDOUT: u32 = 4;
const STDERR: u32 = 5;
const EXIT: u32 = 6;
const REPLY: u32 = 7;
const BROKEN: u32 = 8;

/// What the machine said next, one of the numbers above. The exchange buffer then holds an id, a number (an errno, or a
/// wait status), a length and as many bytes.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_next() -> u32 {
    with(|link| {
        if link.news.is_empty() {
            carry(link);
        }
        let Some(news) = link.news.pop_front() else { return if link.broken { BROKEN } else { NOTHING } };
        let (kind, id, number, bytes) = match news {
            News::Ready => (READY, 0, 0, Vec::new()),
            News::Room(id) => (ROOM, id, 0, Vec::new()),
            News::Program(id, Event::Failed(errno)) => (FAILED, id, errno, Vec::new()),
            News::Program(id, Event::Stdout(bytes)) => (STDOUT, id, 0, bytes),
            News::Program(id, Event::Stderr(bytes)) => (STDERR, id, 0, bytes),
            News::Program(id, Event::Exit(status)) => (EXIT, id, status, Vec::new()),
            News::Reply(id, Ok(answer)) => (REPLY, id, 0, answer),
            News::Reply(id, Err(errno)) => (REPLY, id, errno, Vec::new()),
        };
        let head = [id, number, bytes.len() as u32].map(u32::to_le_bytes).concat();
        exchange(&[head, bytes].concat());
        kind
    })
}

/// Starts a program, with a terminal if `rows` is not 0. The exchange buffer holds, in `len` bytes, its working directory, `argc` arguments and `envc`
/// strings of environment on top of the usual one, each ended by NUL. Returns its id, or 0 if that is too long.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_spawn(rows: u32, columns: u32, argc: usize, envc: usize, len: usize) -> u32 {
    let bytes = given(len);
    let mut strings = bytes.split(|&b| b == 0).map(<[u8]>::to_vec);
    let (cwd, argv) = (strings.next().unwrap_or_default(), strings.by_ref().take(argc).collect());
    let tty = (rows != 0).then(|| (cells(rows), cells(columns)));
    let mut env = environment(tty.map(|_| "xterm-256color"));
    for string in strings.take(envc) {
        let name = string.split(|&b| b == b'=').next().map(<[u8]>::to_vec);
        env.retain(|e| e.split(|&b| b == b'=').next().map(<[u8]>::to_vec) != name);
        env.push(string);
    }
    let spawn = Spawn { tty, cwd, argv, env };
    with(|link| link.session.spawn(&spawn).unwrap_or_default())
}

/// Gives a program the first `len` bytes of the exchange buffer as input; returns how many it took.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_input(id: u32, len: usize) -> usize {
    with(|link| link.session.input(id, &given(len)))
}

/// Whether a program has been started: only then can its input end. 0 or 1.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_is_started(id: u32) -> u32 {
    with(|link| u32::from(link.session.is_started(id)))
}

/// Whether bytes went from or to the machine since this was last called: then it may be able to go on. 0 or 1.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_carried() -> u32 {
    with(|link| u32::from(mem::take(&mut link.carried)))
}

/// Says that no input follows. For a program that has been started.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_end_input(id: u32) {
    with(|link| link.session.end_input(id));
}

/// Sends a program a signal.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_signal(id: u32, number: u32) {
    with(|link| link.session.signal(id, number));
}

/// Tells the size of a program's terminal, or of the console if `id` is 0.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_resize(id: u32, rows: u32, columns: u32) {
    with(|link| link.session.resize(id, cells(rows), cells(columns)));
}

/// A number of rows or columns.
fn cells(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Output of a program (0 standard output, 1 standard error) has gone where it was to go.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_taken(id: u32, stream: u32, bytes: u32) {
    with(|link| link.session.taken(id, as_stream(stream), bytes));
}

/// Nobody reads a program's output any more.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_close_output(id: u32, stream: u32) {
    with(|link| link.session.close_output(id, as_stream(stream)));
}

fn as_stream(number: u32) -> Stream {
    if number == 0 { Stream::Stdout } else { Stream::Stderr }
}

/// Asks for the file operation in the first `len` bytes of the exchange buffer (`aurora_abi::link::Request`). Returns the
/// id its reply will have, or 0 if it is too long.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_request(len: usize) -> u32 {
    with(|link| link.session.encoded_request(&given(len)).unwrap_or_default())
}

/// Goes on with a machine restored from a copy. Returns how many programs run; the exchange buffer holds, for each, its id
/// and whether it has a terminal.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_adopt() -> u32 {
    with(|link| {
        // What its last host had not heard of files is nobody's business now.
        link.news.retain(|news| !matches!(news, News::Reply(..)));
        let programs = link.session.adopt();
        let bytes: Vec<u8> =
            programs.iter().flat_map(|&(id, tty)| [id, u32::from(tty)]).flat_map(u32::to_le_bytes).collect();
        exchange(&bytes);
        programs.len() as u32
    })
}

/// Turns the machine off.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_link_shutdown() {
    with(|link| link.session.shutdown());
}

/// Puts the name of an error number and its meaning, with a NUL between, into the exchange buffer; returns their length.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_errno(number: u32) -> usize {
    let errno = Errno::from_number(u16::try_from(number).unwrap_or(0));
    let both = [errno.name(), errno.text()].join("\0");
    exchange(both.as_bytes());
    both.len()
}
