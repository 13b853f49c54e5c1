//! An open terminal: reads, writes and ioctl_tty(2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::types::{Termios, Winsize};
use aurora_abi::{Abi, Errno};

use crate::memory::{IoBuf, IoError};
use crate::sync::WaitQueue;
use crate::task::signal::SignalSet;
use crate::task::{Pid, SigInfo, Signal, Thread};
use crate::tty::termios::TOSTOP;
use crate::tty::{Inner, OUTPUT_LIMIT, Tty};
use crate::vfs::file::{IoctlAnswer, IoctlArgs};
use crate::vfs::{Events, FileOps, OpenFile};

/// An open terminal.
pub struct TtyFile {
    tty: Arc<Tty>,
}

impl TtyFile {
    /// Opens `tty`.
    pub fn new(tty: &Arc<Tty>) -> Self {
        Self { tty: tty.clone() }
    }
}

impl FileOps for TtyFile {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let mut inner = self.tty.inner.lock();
        if inner.discipline.available().is_none() {
            return if inner.hung_up { Ok(0) } else { Err(IoError::WouldBlock) };
        }
        let start = out.done();
        let bytes = inner.discipline.peek(out.remaining());
        let moved = out.put(&bytes);
        inner.discipline.consume(moved);
        drop(inner);
        // There is room for input again.
        self.tty.changed.wake_all();
        if moved < bytes.len() { out.stopped(start) } else { Ok(moved) }
    }

    fn write_at(&self, _: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let start = input.done();
        let mut chunk = [0; 512];
        while input.remaining() > 0 {
            if self.tty.output_room() == 0 {
                self.tty.flush();
                if self.tty.output_room() == 0 {
                    break;
                }
            }
            let moved = input.take(&mut chunk);
            if moved == 0 {
                return input.stopped(start);
            }
            let mut inner = self.tty.inner.lock();
            if inner.hung_up {
                return Err(Errno::EIO.into());
            }
            let Inner { discipline, output, .. } = &mut *inner;
            discipline.output(chunk.get(..moved).unwrap_or_default(), output);
        }
        self.tty.flush();
        if input.done() == start && input.remaining() > 0 { Err(IoError::WouldBlock) } else { Ok(input.done() - start) }
    }

    fn readiness(&self, _: &OpenFile) -> Events {
        let inner = self.tty.inner.lock();
        let mut events = Events::empty();
        if inner.discipline.is_readable() || inner.hung_up {
            events |= Events::READABLE;
        }
        if inner.output.len() < OUTPUT_LIMIT {
            events |= Events::WRITABLE;
        }
        if inner.hung_up {
            events |= Events::HUP;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.changed)
    }

    fn terminal(&self) -> Option<&Arc<Tty>> {
        Some(&self.tty)
    }

    fn ioctl_input(&self, request: u32) -> usize {
        match request {
            TCSETS | TCSETSW | TCSETSF => Termios::SIZE,
            TIOCSWINSZ => Winsize::SIZE,
            TIOCSPGRP => 4,
            _ => 0,
        }
    }

    fn ioctl(&self, _: &OpenFile, args: &IoctlArgs<'_>, input: &[u8]) -> Result<IoctlAnswer, Errno> {
        let tty = &self.tty;
        match args.request {
            TCGETS => answer(&tty.inner.lock().discipline.termios()),
            TCSETS | TCSETSW | TCSETSF => {
                let mut inner = tty.inner.lock();
                if args.request == TCSETSF {
                    inner.discipline.flush_input();
                }
                inner.discipline.set_termios(Termios::load(input));
                drop(inner);
                tty.flush();
                tty.changed.wake_all();
                Ok(IoctlAnswer::default())
            }
            TIOCGWINSZ => answer(&tty.size()),
            TIOCSWINSZ => {
                let size = Winsize::load(input);
                if let Some(group) = tty.resize(size.rows, size.cols) {
                    args.thread.kernel().processes.signal_group(group, SigInfo::kernel(Signal::SIGWINCH));
                }
                Ok(IoctlAnswer::default())
            }
            TIOCGPGRP => {
                tty.check_controls(args.thread)?;
                answer(&tty.foreground().map_or(0, |g| g.0))
            }
            TIOCSPGRP => set_foreground(tty, args.thread, Pid(i32::load(input))),
            TIOCGSID => {
                tty.check_controls(args.thread)?;
                answer(&tty.session().map_or(0, |s| s.0))
            }
            TIOCSCTTY => tty.become_controlling(args.thread, args.arg == 1),
            TIOCNOTTY => {
                tty.check_controls(args.thread)?;
                *args.thread.process.terminal.lock() = None;
                if args.thread.process.session() == args.thread.process.pid {
                    tty.end_session(args.thread.process.pid);
                }
                Ok(IoctlAnswer::default())
            }
            FIONREAD => answer(&i32::try_from(tty.inner.lock().discipline.queued()).unwrap_or(i32::MAX)),
            TIOCOUTQ => answer(&i32::try_from(tty.inner.lock().output.len()).unwrap_or(i32::MAX)),
            TCFLSH => {
                let mut inner = tty.inner.lock();
                match args.arg {
                    0 => inner.discipline.flush_input(),
                    1 => inner.output.clear(),
                    2 => {
                        inner.discipline.flush_input();
                        inner.output.clear();
                    }
                    _ => return Err(Errno::EINVAL),
                }
                drop(inner);
                tty.changed.wake_all();
                Ok(IoctlAnswer::default())
            }
            // A break has no meaning on a line without a wire; draining is done by the time output is accepted.
            TCSBRK | TCSBRKP => Ok(IoctlAnswer::default()),
            _ => Err(Errno::ENOTTY),
        }
    }
}

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCSBRK: u32 = 0x5409;
const TCFLSH: u32 = 0x540b;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const FIONREAD: u32 = 0x541b;
const TIOCNOTTY: u32 = 0x5422;
const TCSBRKP: u32 = 0x5425;
const TIOCGSID: u32 = 0x5429;

fn answer<T: Abi>(value: &T) -> Result<IoctlAnswer, Errno> {
    let mut out: Vec<u8> = alloc::vec![0; T::SIZE];
    value.store(&mut out);
    Ok(IoctlAnswer { value: 0, out })
}

fn set_foreground(tty: &Arc<Tty>, thread: &Thread, group: Pid) -> Result<IoctlAnswer, Errno> {
    tty.check_controls(thread)?;
    if group.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let members = thread.kernel().processes.group(group);
    let member = members.first().ok_or(Errno::ESRCH)?;
    if member.session() != thread.process.session() {
        return Err(Errno::EPERM);
    }
    check_background(thread, tty, Signal::SIGTTOU)?;
    tty.set_foreground(group);
    Ok(IoctlAnswer::default())
}

impl Tty {
    /// `ENOTTY` unless this is the thread's controlling terminal.
    fn check_controls(self: &Arc<Self>, thread: &Thread) -> Result<(), Errno> {
        let mine = thread.process.terminal.lock();
        if mine.as_ref().is_some_and(|t| Arc::ptr_eq(t, self)) { Ok(()) } else { Err(Errno::ENOTTY) }
    }

    /// Makes this the controlling terminal of the thread's session, which it must lead.
    pub fn become_controlling(self: &Arc<Self>, thread: &Thread, steal: bool) -> Result<IoctlAnswer, Errno> {
        let process = &thread.process;
        let leads = process.session() == process.pid;
        let current = process.terminal.lock().clone();
        if leads && current.is_some_and(|t| Arc::ptr_eq(&t, self)) && self.session() == Some(process.pid) {
            return Ok(IoctlAnswer::default());
        }
        if !leads || process.terminal.lock().is_some() {
            return Err(Errno::EPERM);
        }
        let taken =
            self.session().is_some_and(|s| thread.kernel().processes.process(s).is_some_and(|p| !p.is_zombie()));
        if taken && !(steal && process.credentials().is_root()) {
            return Err(Errno::EPERM);
        }
        self.start_session(process.pid);
        self.set_foreground(process.group());
        *process.terminal.lock() = Some(self.clone());
        Ok(IoctlAnswer::default())
    }

    /// Whether background processes may not write.
    pub fn stops_background_writers(&self) -> bool {
        self.inner.lock().discipline.termios().lflag & TOSTOP != 0
    }

    /// How long a reader waits for a first byte; see [`super::Discipline::read_timeout`].
    pub fn read_timeout(&self) -> Option<u64> {
        self.inner.lock().discipline.read_timeout()
    }
}

/// Job control: a background process that uses its terminal is stopped (or fails, if it could never go on).
pub fn check_background(thread: &Thread, tty: &Arc<Tty>, signal: Signal) -> Result<(), Errno> {
    let process = &thread.process;
    let controls = tty.check_controls(thread).is_ok();
    let Some(foreground) = tty.foreground().filter(|_| controls) else { return Ok(()) };
    if process.group() == foreground {
        return Ok(());
    }
    let blocked = SignalSet::contains(thread.mask(), signal) || process.actions.lock().ignores(signal);
    if blocked {
        return if signal == Signal::SIGTTIN { Err(Errno::EIO) } else { Ok(()) };
    }
    if process.kernel.processes.is_orphaned(process.group()) {
        return Err(Errno::EIO);
    }
    process.kernel.processes.signal_group(process.group(), SigInfo::kernel(signal));
    Err(Errno::ERESTARTSYS)
}
