//! Terminals: a line discipline between whoever types and the programs that read, termios(3).

pub mod discipline;
pub mod file;
pub mod screen;
pub mod termios;

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use aurora_abi::types::Winsize;
use aurora_machine::{Machine, Port};

use crate::sync::{Mutex, WaitQueue};
use crate::task::table::ProcessTable;
use crate::task::{Pid, SigInfo};
use crate::vfs::inode::DeviceId;

pub use discipline::Discipline;
pub use file::TtyFile;

/// Where a terminal's output goes.
pub trait TtyDriver: Send + Sync {
    /// Takes bytes; fewer than given means full, and [`Tty::flush`] is called when there is room.
    fn write(&self, bytes: &[u8]) -> usize;
}

/// A port of the machine as a terminal's other side.
pub struct PortDriver {
    machine: Arc<dyn Machine>,
}

impl PortDriver {
    /// The console.
    pub fn console(machine: &Arc<dyn Machine>) -> Self {
        Self { machine: machine.clone() }
    }
}

impl TtyDriver for PortDriver {
    fn write(&self, bytes: &[u8]) -> usize {
        self.machine.port_write(Port::Console, bytes)
    }
}

/// Bytes of output a terminal keeps before writers wait.
const OUTPUT_LIMIT: usize = 8192;

/// A terminal.
pub struct Tty {
    driver: Arc<dyn TtyDriver>,
    /// Its number.
    pub device: DeviceId,
    inner: Mutex<Inner>,
    /// Woken when there is something to read or room to write.
    pub changed: WaitQueue,
}

struct Inner {
    discipline: Discipline,
    /// Processed output the driver has not taken.
    output: VecDeque<u8>,
    size: Winsize,
    session: Option<Pid>,
    foreground: Option<Pid>,
    hung_up: bool,
}

impl Tty {
    /// A terminal with Linux's initial settings.
    pub fn new(driver: Arc<dyn TtyDriver>, device: DeviceId) -> Arc<Self> {
        let inner = Inner {
            discipline: Discipline::default(),
            output: VecDeque::new(),
            size: Winsize { rows: 24, cols: 80, ..Winsize::default() },
            session: None,
            foreground: None,
            hung_up: false,
        };
        Arc::new(Self { driver, device, inner: Mutex::new(inner), changed: WaitQueue::new() })
    }

    /// How many bytes of input it can take.
    pub fn input_room(&self) -> usize {
        self.inner.lock().discipline.room()
    }

    /// Somebody typed: what is echoed goes out, what is a signal goes to the foreground group.
    pub fn input(&self, bytes: &[u8], processes: &ProcessTable) {
        let (signals, group) = {
            let mut inner = self.inner.lock();
            let Inner { discipline, output, .. } = &mut *inner;
            (discipline.input(bytes, output), inner.foreground)
        };
        self.flush();
        self.changed.wake_all();
        if let Some(group) = group {
            for signal in signals {
                processes.signal_group(group, SigInfo::kernel(signal));
            }
        }
    }

    /// Gives the driver what it takes of the output.
    pub fn flush(&self) {
        let mut inner = self.inner.lock();
        let before = inner.output.len();
        if before == 0 || inner.discipline.is_stopped() {
            return;
        }
        loop {
            let (first, _) = inner.output.as_slices();
            if first.is_empty() {
                break;
            }
            let (offered, taken) = (first.len(), self.driver.write(first));
            inner.output.drain(..taken.min(offered));
            if taken < offered {
                break;
            }
        }
        let had_no_room = before >= OUTPUT_LIMIT;
        let has_room = inner.output.len() < OUTPUT_LIMIT;
        drop(inner);
        if had_no_room && has_room {
            self.changed.wake_all();
        }
    }

    /// Output of the kernel itself: never waits, processed like a program's.
    pub fn print(&self, bytes: &[u8]) {
        {
            let mut inner = self.inner.lock();
            let Inner { discipline, output, .. } = &mut *inner;
            discipline.output(bytes, output);
        }
        self.flush();
    }

    /// Room for output, in bytes.
    fn output_room(&self) -> usize {
        OUTPUT_LIMIT.saturating_sub(self.inner.lock().output.len())
    }

    /// Whether all output has left.
    pub fn is_drained(&self) -> bool {
        self.inner.lock().output.is_empty()
    }

    /// The window's size.
    pub fn size(&self) -> Winsize {
        self.inner.lock().size
    }

    /// Sets the window's size; returns the group to tell if it changed.
    pub fn resize(&self, rows: u16, cols: u16) -> Option<Pid> {
        let mut inner = self.inner.lock();
        let new = Winsize { rows, cols, ..inner.size };
        let changed = new != inner.size;
        inner.size = new;
        inner.foreground.filter(|_| changed)
    }

    /// The foreground process group.
    pub fn foreground(&self) -> Option<Pid> {
        self.inner.lock().foreground
    }

    /// Sets the foreground process group.
    pub fn set_foreground(&self, group: Pid) {
        self.inner.lock().foreground = Some(group);
    }

    /// The session it controls.
    pub fn session(&self) -> Option<Pid> {
        self.inner.lock().session
    }

    /// Makes it control a session whose leader's group is the foreground.
    pub fn start_session(&self, session: Pid) {
        let mut inner = self.inner.lock();
        inner.session = Some(session);
        inner.foreground = Some(session);
    }

    /// The session is over.
    pub fn end_session(&self, session: Pid) {
        let mut inner = self.inner.lock();
        if inner.session == Some(session) {
            inner.session = None;
            inner.foreground = None;
        }
    }

    /// Nobody is at the other side any more: reads end, writes fail.
    pub fn hang_up(&self) {
        self.inner.lock().hung_up = true;
        self.changed.wake_all();
    }
}
