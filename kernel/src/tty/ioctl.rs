//! What programs ask of terminals, ioctl_tty(2): from the program's side, and from the master of a pseudo-terminal.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::types::{Termios, Termios2, Winsize};
use aurora_abi::{Abi, Errno};

use crate::task::{Pid, Signal, Thread};
use crate::tty::job::{check_background, leave_terminal};
use crate::tty::termios::Key;
use crate::tty::{Inner, Tty, packet};
use crate::vfs::file::{IoctlAnswer, IoctlArgs};

/// Which side of a terminal asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A program that has it open.
    Program,
    /// Whoever holds the master.
    Master,
}

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
/// The one request a dead terminal answers differently.
pub const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const FIONREAD: u32 = 0x541b;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGETD: u32 = 0x5424;
const TCSBRKP: u32 = 0x5425;
const TIOCGSID: u32 = 0x5429;
const TCGETS2: u32 = 0x802c_542a;
const TCSETS2: u32 = 0x402c_542b;
const TCSETSW2: u32 = 0x402c_542c;
const TCSETSF2: u32 = 0x402c_542d;
const TIOCVHANGUP: u32 = 0x5437;
const TIOCGDEV: u32 = 0x8004_5432;

/// Bytes a request reads from its pointer.
pub fn input_size(request: u32) -> usize {
    match request {
        TCSETS | TCSETSW | TCSETSF => Termios::SIZE,
        TCSETS2 | TCSETSW2 | TCSETSF2 => Termios2::SIZE,
        TIOCSWINSZ => Winsize::SIZE,
        TIOCSPGRP => 4,
        _ => 0,
    }
}

/// An answer that is one value at the pointer.
pub fn answer<T: Abi>(value: &T) -> Result<IoctlAnswer, Errno> {
    let mut out: Vec<u8> = alloc::vec![0; T::SIZE];
    value.store(&mut out);
    Ok(IoctlAnswer { value: 0, out })
}

/// An answer that says it is done.
pub fn done() -> Result<IoctlAnswer, Errno> {
    Ok(IoctlAnswer::default())
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// Answers a request.
pub fn ioctl(tty: &Arc<Tty>, side: Side, args: &IoctlArgs<'_>, input: &[u8]) -> Result<IoctlAnswer, Errno> {
    let (request, thread) = (args.request, args.thread);
    let changes = matches!(request, TCSETS..=TCSETSF | TCSETS2..=TCSETSF2 | TCSBRK | TCXONC | TCFLSH | TCSBRKP);
    if changes {
        check_background(thread, tty, Signal::SIGTTOU)?;
    }
    match request {
        TCGETS => answer(&tty.inner.lock().discipline.termios()),
        TCGETS2 => answer(&with_speeds(tty.inner.lock().discipline.termios())),
        TCSETS | TCSETSW | TCSETSF | TCSETS2 | TCSETSW2 | TCSETSF2 => {
            // The longer form begins as the shorter one. Draining is done by the time output is accepted.
            let termios = Termios::load(input.get(..Termios::SIZE).ok_or(Errno::EFAULT)?);
            tty.set_termios(termios, matches!(request, TCSETSF | TCSETSF2));
            done()
        }
        TIOCGWINSZ => answer(&tty.size()),
        TIOCSWINSZ => {
            tty.set_size(Winsize::load(input));
            done()
        }
        TIOCGPGRP => {
            check_controls(tty, side, thread)?;
            answer(&tty.foreground().map_or(0, |g| g.0))
        }
        TIOCSPGRP => tty.set_foreground(thread, Pid(i32::load(input))).and_then(|()| done()),
        TIOCGSID => {
            check_controls(tty, side, thread)?;
            answer(&tty.session().ok_or(Errno::ENOTTY)?.0)
        }
        TIOCSCTTY => tty.become_controlling(thread, args.arg == 1).and_then(|()| done()),
        TIOCNOTTY => {
            check_controls(tty, Side::Program, thread)?;
            leave_terminal(&thread.process, false);
            done()
        }
        TIOCVHANGUP => {
            if !thread.process.credentials().is_root() {
                return Err(Errno::EPERM);
            }
            tty.hang_up();
            done()
        }
        FIONREAD => {
            let inner = tty.inner.lock();
            answer(&length(if side == Side::Program { inner.discipline.queued() } else { inner.output.len() }))
        }
        // What a pseudo-terminal keeps for its master has been sent.
        TIOCOUTQ => answer(&if tty.is_pty() { 0 } else { length(tty.inner.lock().output.len()) }),
        TIOCGETD => answer(&0i32),
        TIOCGDEV => answer(&crate::num::low32(tty.device.encode())),
        TCFLSH => flush(tty, side, args.arg),
        TCXONC => flow(tty, args.arg),
        // A break has no meaning on a line without a wire.
        TCSBRK | TCSBRKP => done(),
        _ => Err(Errno::ENOTTY),
    }
}

/// `ENOTTY` unless this is the thread's controlling terminal, or its master asks.
fn check_controls(tty: &Arc<Tty>, side: Side, thread: &Thread) -> Result<(), Errno> {
    if side == Side::Master || tty.controls(thread) { Ok(()) } else { Err(Errno::ENOTTY) }
}

/// tcflush(3).
fn flush(tty: &Tty, side: Side, queue: u64) -> Result<IoctlAnswer, Errno> {
    const INPUT: u64 = 0;
    const OUTPUT: u64 = 1;
    const BOTH: u64 = 2;
    if queue > BOTH {
        return Err(Errno::EINVAL);
    }
    // What one side reads is what the other wrote.
    let (read, written) = (queue != OUTPUT, queue != INPUT);
    let (input, output) = if side == Side::Program { (read, written) } else { (written, read) };
    let mut inner = tty.inner.lock();
    if input {
        inner.discipline.flush_input();
        inner.tell(packet::FLUSH_READ, 0);
    }
    if output {
        inner.output.clear();
        inner.tell(packet::FLUSH_WRITE, 0);
    }
    drop(inner);
    tty.changed.wake_all();
    done()
}

/// tcflow(3).
fn flow(tty: &Tty, action: u64) -> Result<IoctlAnswer, Errno> {
    match action {
        0 => tty.set_stopped(true),
        1 => tty.set_stopped(false),
        2 => tty.send_key(Key::Stop),
        3 => tty.send_key(Key::Start),
        _ => return Err(Errno::EINVAL),
    }
    done()
}

/// Settings with the line's speed in numbers.
fn with_speeds(termios: Termios) -> Termios2 {
    const SPEEDS: [u32; 16] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
    const FAST: [u32; 16] = [
        0, 57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000,
        2_500_000, 3_000_000, 3_500_000, 4_000_000,
    ];
    let table = if termios.cflag & 0o10000 != 0 { &FAST } else { &SPEEDS };
    let at = crate::num::to_usize(u64::from(termios.cflag & 0o17));
    let speed = table.get(at).copied().unwrap_or(0);
    let Termios { iflag, oflag, cflag, lflag, line, cc } = termios;
    Termios2 { iflag, oflag, cflag, lflag, line, cc, ispeed: speed, ospeed: speed }
}

impl Inner {
    /// Whether a master has something to be told in packet mode.
    pub(super) fn packet_status(&self) -> u8 {
        self.packet.unwrap_or(0)
    }
}
