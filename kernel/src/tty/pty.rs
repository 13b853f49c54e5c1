//! Pseudo-terminals, pty(7): a terminal whose other side is a program that opened `/dev/ptmx`.
//!
//! What always holds: a pseudo-terminal is in the table exactly as long as its other side lives, and only those in the
//! table can be opened. What the master reads is the terminal's output; what it writes is typed.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_abi::types::Timespec;
use aurora_abi::{Abi, Errno};

use crate::Kernel;
use crate::memory::account::Charge;
use crate::memory::{IoBuf, IoError};
use crate::sync::{Mutex, WaitQueue};
use crate::tty::ioctl::{self, Side, answer, done};
use crate::tty::{Tty, TtyDriver};
use crate::vfs::file::{IoctlAnswer, IoctlArgs};
use crate::vfs::inode::DeviceId;
use crate::vfs::{Events, FileOps, OpenFile};

/// `/dev/ptmx`.
pub const MASTER: DeviceId = DeviceId::new(5, 2);
/// The driver of `/dev/pts/N`.
pub const SLAVE_MAJOR: u32 = 136;
/// Most there can be: Linux's `kernel.pty.max`.
const MAX: u32 = 4096;
/// Kernel heap one is charged: its queues when they are full.
const COST: u64 = 16 * 1024;

/// Who owns `/dev/pts/N`, and what its mode is.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

/// One pseudo-terminal.
pub struct Pty {
    /// N of `/dev/pts/N`.
    pub number: u32,
    /// The terminal programs open.
    pub tty: Arc<Tty>,
    /// It cannot be opened yet, unlockpt(3).
    locked: AtomicBool,
    /// Of its name.
    pub owner: Mutex<Owner>,
    /// When it was made.
    pub made: Timespec,
    _charge: Charge,
}

impl Pty {
    /// Whether it cannot be opened.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Acquire)
    }
}

/// Options of devpts.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Group of new names; `None` for that of whoever makes them.
    pub gid: Option<u32>,
    /// Mode of new names.
    pub mode: u32,
    /// Mode of `ptmx`.
    pub master_mode: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { gid: Some(5), mode: 0o620, master_mode: 0o666 }
    }
}

/// All pseudo-terminals.
#[derive(Default)]
pub struct PtyTable {
    ptys: Mutex<BTreeMap<u32, Arc<Pty>>>,
    /// How names are made.
    pub options: Mutex<Options>,
}

impl PtyTable {
    /// One by its number.
    pub fn get(&self, number: u32) -> Option<Arc<Pty>> {
        self.ptys.lock().get(&number).cloned()
    }

    /// All, by number.
    pub fn all(&self) -> Vec<Arc<Pty>> {
        self.ptys.lock().values().cloned().collect()
    }
}

/// The other side of a pseudo-terminal. When it is dropped the terminal is hung up and its name is gone.
pub struct OtherSide {
    /// The pseudo-terminal.
    pub pty: Arc<Pty>,
    table: Arc<PtyTable>,
}

impl OtherSide {
    /// Makes a pseudo-terminal for a user. `ENOSPC` if there are too many.
    pub fn new(
        kernel: &Kernel,
        driver: Arc<dyn TtyDriver>,
        (uid, gid): (u32, u32),
        locked: bool,
    ) -> Result<Self, Errno> {
        let charge = kernel.memory.charge(COST)?;
        let table = kernel.ptys.clone();
        let options = *table.options.lock();
        let owner = Owner { uid, gid: options.gid.unwrap_or(gid), mode: options.mode };
        let mut ptys = table.ptys.lock();
        let number = (0..MAX).find(|n| !ptys.contains_key(n)).ok_or(Errno::ENOSPC)?;
        // Whoever opens a master tells the size; until then it has none.
        let tty = Tty::new(driver, DeviceId::new(SLAVE_MAJOR, number), &kernel.processes, (0, 0));
        let (locked, owner) = (AtomicBool::new(locked), Mutex::new(owner));
        let pty = Arc::new(Pty { number, tty, locked, owner, made: kernel.now(), _charge: charge });
        ptys.insert(number, pty.clone());
        drop(ptys);
        Ok(Self { pty, table })
    }
}

impl Drop for OtherSide {
    fn drop(&mut self) {
        let removed = self.table.ptys.lock().remove(&self.pty.number);
        drop(removed);
        self.pty.tty.inner.lock().gone = true;
        self.pty.tty.hang_up();
    }
}

/// Takes nothing: the master comes and reads.
struct Kept;

impl TtyDriver for Kept {
    fn write(&self, _: &[u8]) -> usize {
        0
    }
}

/// An open `/dev/ptmx`.
pub struct MasterFile {
    side: OtherSide,
}

impl MasterFile {
    /// Makes a pseudo-terminal and opens its master.
    pub fn open(kernel: &Kernel, user: (u32, u32)) -> Result<Self, Errno> {
        Ok(Self { side: OtherSide::new(kernel, Arc::new(Kept), user, true)? })
    }

    fn tty(&self) -> &Arc<Tty> {
        &self.side.pty.tty
    }
}

const TIOCPKT: u32 = 0x5420;
const TIOCGPKT: u32 = 0x8004_5438;
const TIOCGPTN: u32 = 0x8004_5430;
const TIOCSPTLCK: u32 = 0x4004_5431;
const TIOCGPTLCK: u32 = 0x8004_5439;
const TIOCSIG: u32 = 0x4004_5436;

impl FileOps for MasterFile {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let tty = self.tty();
        let start = out.done();
        if out.remaining() == 0 {
            return Ok(0);
        }
        {
            let mut inner = tty.inner.lock();
            let status = inner.packet_status();
            if status != 0 {
                if out.put(&[status]) == 1 {
                    inner.packet = Some(0);
                }
                return out.stopped(start);
            }
            if inner.output.is_empty() {
                let closed = inner.was_open && inner.open == 0;
                return Err(if closed { Errno::EIO.into() } else { IoError::WouldBlock });
            }
            // In packet mode a zero tells that data follows.
            if inner.packet.is_some() && out.put(&[0]) == 0 {
                return out.stopped(start);
            }
        }
        tty.take_output(out);
        // There is room for output again.
        tty.changed.wake_all();
        out.stopped(start)
    }

    fn write_at(&self, _: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let tty = self.tty();
        let start = input.done();
        let mut chunk = [0; 256];
        while input.remaining() > 0 {
            let room = tty.input_room().min(chunk.len());
            if room == 0 {
                break;
            }
            let moved = input.take(chunk.get_mut(..room).unwrap_or_default());
            if moved == 0 {
                return input.stopped(start);
            }
            tty.input(chunk.get(..moved).unwrap_or_default());
        }
        if input.done() == start && input.remaining() > 0 { Err(IoError::WouldBlock) } else { Ok(input.done() - start) }
    }

    fn readiness(&self, _: &OpenFile) -> Events {
        let inner = self.tty().inner.lock();
        let told = inner.packet_status() != 0;
        let mut events = Events::empty();
        events.set(Events::READABLE, !inner.output.is_empty() || told);
        events.set(Events::PRI, told);
        events.set(Events::WRITABLE, inner.discipline.room() > 0);
        events.set(Events::HUP, inner.was_open && inner.open == 0);
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty().changed)
    }

    fn ioctl_input(&self, request: u32) -> usize {
        match request {
            TIOCPKT | TIOCSPTLCK => 4,
            _ => ioctl::input_size(request),
        }
    }

    fn ioctl(&self, _: &OpenFile, args: &IoctlArgs<'_>, input: &[u8]) -> Result<IoctlAnswer, Errno> {
        let pty = &self.side.pty;
        match args.request {
            TIOCGPTN => answer(&pty.number),
            TIOCSPTLCK => {
                pty.locked.store(i32::load(input) != 0, Ordering::Release);
                done()
            }
            TIOCGPTLCK => answer(&i32::from(pty.is_locked())),
            TIOCPKT => {
                let mut inner = pty.tty.inner.lock();
                match (i32::load(input) != 0, inner.packet) {
                    (true, None) => inner.packet = Some(0),
                    (true, Some(_)) => {}
                    (false, _) => inner.packet = None,
                }
                done()
            }
            TIOCGPKT => answer(&i32::from(pty.tty.inner.lock().packet.is_some())),
            TIOCSIG => {
                let number = i32::try_from(args.arg).map_err(|_| Errno::EINVAL)?;
                let signal = crate::task::Signal::from_arg(number)?;
                if let Some(group) = pty.tty.foreground() {
                    pty.tty.processes.signal_group(group, crate::task::SigInfo::kernel(signal));
                }
                done()
            }
            _ => ioctl::ioctl(&pty.tty, Side::Master, args, input),
        }
    }
}
