//! Terminals: a line discipline between whoever types and the programs that read, termios(3).
//!
//! A [`Tty`] has two sides. Programs open it as a [`TtyFile`]; on the other side is a port of the machine, the host link,
//! or a program that holds the master of a pseudo-terminal.

pub mod discipline;
pub mod file;
pub mod ioctl;
pub mod job;
pub mod output;
pub mod pty;
pub mod screen;
pub mod termios;
pub mod virtual_terminal;
mod window;

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use aurora_abi::types::{Termios, Winsize};
use aurora_machine::{Machine, Port};

use crate::memory::IoBuf;
use crate::sync::{Mutex, WaitQueue};
use crate::task::table::ProcessTable;
use crate::task::{Pid, SigInfo, Signal};
use crate::tty::termios::{IUTF8, IXON, Key, TOSTOP};
use crate::vfs::inode::DeviceId;

pub use discipline::Discipline;
pub use file::TtyFile;
pub use virtual_terminal::VirtualTerminal;

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

/// The terminals a machine has of its own.
#[derive(Clone)]
pub struct Consoles {
    /// `/dev/console`: one of the next two.
    pub console: Arc<Tty>,
    /// `/dev/ttyS0`: the console port.
    pub serial: Arc<Tty>,
    /// `/dev/tty1`, where there is a screen.
    pub screen: Option<(Arc<VirtualTerminal>, Arc<Tty>)>,
}

impl Consoles {
    /// The console is the one `wanted` names (`ttyS0`, or `tty1` and `tty0`), else the screen if there is one.
    pub fn new(machine: &Arc<dyn Machine>, processes: &Arc<ProcessTable>, wanted: Option<&str>) -> Self {
        let serial = Tty::new(Arc::new(PortDriver::console(machine)), DeviceId::new(4, 64), processes, (0, 0));
        serial.inner.lock().window = Some(window::Listener::default());
        let screen = VirtualTerminal::new(machine).map(|terminal| {
            let tty = Tty::new(terminal.clone(), DeviceId::new(4, 1), processes, terminal.size());
            (terminal, tty)
        });
        let console = match &screen {
            Some((_, tty)) if wanted != Some("ttyS0") => tty.clone(),
            _ => serial.clone(),
        };
        for tty in screen.iter().map(|(_, tty)| tty).chain([&serial]) {
            tty.speak_utf8();
        }
        Self { console, serial, screen }
    }

    /// Prints a line of the kernel's on all of them.
    pub fn print_line(&self, line: &str) {
        let screen = self.screen.as_ref().map(|(_, tty)| tty);
        for tty in screen.into_iter().chain([&self.serial]) {
            tty.print(line.as_bytes());
            tty.print(b"\n");
        }
    }

    /// Brings outside what is to be seen there. `idle`: nothing is about to add to it.
    pub fn settle(&self, idle: bool) {
        self.serial.flush();
        if let Some((terminal, tty)) = &self.screen {
            terminal.settle(tty, idle);
        }
    }
}

/// Bytes of output a terminal keeps before writers wait.
const OUTPUT_LIMIT: usize = 8192;
/// Bytes of output that a key that interrupts leaves: on Linux they are with the other side already.
const OUTPUT_TAKEN: usize = 4096;

/// A terminal.
pub struct Tty {
    driver: Arc<dyn TtyDriver>,
    /// Its number.
    pub device: DeviceId,
    processes: Arc<ProcessTable>,
    inner: Mutex<Inner>,
    /// Woken when there is something to read or room to write, on either side.
    pub changed: WaitQueue,
}

#[derive(Default)]
struct Inner {
    discipline: Discipline,
    /// Processed output the other side has not taken.
    output: VecDeque<u8>,
    size: Winsize,
    session: Option<Pid>,
    foreground: Option<Pid>,
    /// Files programs have open.
    open: u64,
    /// It was opened before.
    was_open: bool,
    /// How often it was hung up: files opened before that are dead.
    hang_ups: u64,
    /// The other side is gone for good.
    gone: bool,
    /// What the master of a pseudo-terminal is told in packet mode, `TIOCPKT_*`; `None` outside of it.
    packet: Option<u8>,
    /// Waits for the other side to tell the window's size, where nobody else does.
    window: Option<window::Listener>,
}

/// `TIOCPKT_*`, ioctl_tty(2).
mod packet {
    pub(super) const FLUSH_READ: u8 = 1;
    pub(super) const FLUSH_WRITE: u8 = 2;
    pub(super) const STOP: u8 = 4;
    pub(super) const START: u8 = 8;
    pub(super) const NO_STOP: u8 = 16;
    pub(super) const DO_STOP: u8 = 32;
}

impl Inner {
    /// Tells the master of something, if it wants to know.
    fn tell(&mut self, bits: u8, instead_of: u8) {
        if let Some(status) = &mut self.packet {
            *status = *status & !instead_of | bits;
        }
    }

    /// Tells the master whether output stopped or went on since it had been in `before`.
    fn tell_flow(&mut self, before: bool) {
        match (before, self.discipline.is_stopped()) {
            (false, true) => self.tell(packet::STOP, packet::START),
            (true, false) => self.tell(packet::START, packet::STOP),
            _ => {}
        }
    }
}

impl Tty {
    /// A terminal with Linux's initial settings and a window of `size` (rows, columns).
    pub fn new(
        driver: Arc<dyn TtyDriver>,
        device: DeviceId,
        processes: &Arc<ProcessTable>,
        (rows, cols): (u16, u16),
    ) -> Arc<Self> {
        let inner = Inner { size: Winsize { rows, cols, ..Winsize::default() }, ..Inner::default() };
        let (inner, changed) = (Mutex::new(inner), WaitQueue::new());
        Arc::new(Self { driver, device, processes: processes.clone(), inner, changed })
    }

    /// Whoever is at the other side sends and shows UTF-8.
    pub fn speak_utf8(&self) {
        let termios = self.inner.lock().discipline.termios();
        self.set_termios(Termios { iflag: termios.iflag | IUTF8, ..termios }, false);
    }

    /// Whether it is a pseudo-terminal.
    pub fn is_pty(&self) -> bool {
        self.device.major == pty::SLAVE_MAJOR
    }

    /// How many bytes of input it can take.
    pub fn input_room(&self) -> usize {
        self.inner.lock().discipline.room()
    }

    /// Somebody typed: what is echoed goes out, what is a signal goes to the foreground group.
    pub fn input(&self, bytes: &[u8]) {
        let heard = {
            let mut inner = self.inner.lock();
            inner.window.as_mut().filter(|window| window.is_awaiting()).map(|window| window.hear(bytes))
        };
        match heard {
            None => self.typed(bytes),
            Some((typed, size)) => {
                if let Some((rows, cols)) = size {
                    self.resize(rows, cols);
                }
                self.typed(&typed);
            }
        }
    }

    /// Asks a serial terminal for the size of its window, unless it is known.
    fn ask_for_size(&self) {
        {
            let mut inner = self.inner.lock();
            let Inner { window: Some(window), output, size: Winsize { rows: 0, cols: 0, .. }, .. } = &mut *inner else {
                return;
            };
            window.start();
            output.extend(window::QUESTION);
        }
        self.flush();
    }

    fn typed(&self, bytes: &[u8]) {
        let (typed, group) = {
            let mut inner = self.inner.lock();
            let was_stopped = inner.discipline.is_stopped();
            let Inner { discipline, output, .. } = &mut *inner;
            let typed = discipline.input(bytes, output);
            inner.tell_flow(was_stopped);
            if typed.flushed {
                inner.output.truncate(OUTPUT_TAKEN);
                inner.tell(packet::FLUSH_READ | packet::FLUSH_WRITE, 0);
            }
            (typed, inner.foreground)
        };
        self.flush();
        self.changed.wake_all();
        if let Some(group) = group {
            for signal in typed.signals {
                self.processes.signal_group(group, SigInfo::kernel(signal));
            }
        }
    }

    /// Gives the driver what it takes of the output.
    pub fn flush(&self) {
        let mut inner = self.inner.lock();
        let before = inner.output.len();
        if before == 0 {
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

    /// Room for a program's output, in bytes; none while ^S holds it back.
    fn output_room(&self) -> usize {
        let inner = self.inner.lock();
        if inner.discipline.is_stopped() { 0 } else { OUTPUT_LIMIT.saturating_sub(inner.output.len()) }
    }

    /// Whether all output has left.
    pub fn is_drained(&self) -> bool {
        self.inner.lock().output.is_empty()
    }

    /// Moves output to whoever holds the other side; how many bytes that were.
    fn take_output(&self, out: &mut IoBuf<'_>) -> usize {
        let mut inner = self.inner.lock();
        let start = out.done();
        while out.remaining() > 0 && !inner.output.is_empty() {
            let (first, _) = inner.output.as_slices();
            let want = first.len().min(out.remaining());
            let moved = out.put(first.get(..want).unwrap_or_default());
            inner.output.drain(..moved);
            if moved < want {
                break;
            }
        }
        out.done() - start
    }

    /// Changes the settings; `flush` forgets input that was not read.
    fn set_termios(&self, termios: Termios, flush: bool) {
        let mut inner = self.inner.lock();
        if flush {
            inner.discipline.flush_input();
            inner.tell(packet::FLUSH_READ, 0);
        }
        let (was_stopped, flow) = (inner.discipline.is_stopped(), inner.has_usual_flow_control());
        let Inner { discipline, output, .. } = &mut *inner;
        discipline.set_termios(termios, output);
        inner.tell_flow(was_stopped);
        match (flow, inner.has_usual_flow_control()) {
            (true, false) => inner.tell(packet::NO_STOP, packet::DO_STOP),
            (false, true) => inner.tell(packet::DO_STOP, packet::NO_STOP),
            _ => {}
        }
        drop(inner);
        self.flush();
        self.changed.wake_all();
    }

    /// Holds output back, or lets it go on: ^S and ^Q, or tcflow(3).
    fn set_stopped(&self, stopped: bool) {
        let mut inner = self.inner.lock();
        let before = inner.discipline.is_stopped();
        let Inner { discipline, output, .. } = &mut *inner;
        if stopped {
            discipline.stop();
        } else {
            discipline.start(output);
        }
        inner.tell_flow(before);
        drop(inner);
        self.flush();
        self.changed.wake_all();
    }

    /// Sends the other side the byte a key is set to.
    fn send_key(&self, key: Key) {
        let mut inner = self.inner.lock();
        let byte = inner.discipline.key(key);
        if byte != 0 {
            inner.output.push_back(byte);
        }
        drop(inner);
        self.flush();
        self.changed.wake_all();
    }

    /// The window's size.
    pub fn size(&self) -> Winsize {
        self.inner.lock().size
    }

    /// Sets the window's size, and tells the foreground group if it changed.
    pub fn set_size(&self, size: Winsize) {
        let group = {
            let mut inner = self.inner.lock();
            let changed = size != inner.size;
            inner.size = size;
            inner.foreground.filter(|_| changed)
        };
        if let Some(group) = group {
            self.processes.signal_group(group, SigInfo::kernel(Signal::SIGWINCH));
        }
    }

    /// Sets the window's size in characters.
    pub fn resize(&self, rows: u16, cols: u16) {
        let size = self.size();
        self.set_size(Winsize { rows, cols, ..size });
    }

    /// Whether background processes may not write.
    pub fn stops_background_writers(&self) -> bool {
        self.inner.lock().discipline.termios().lflag & TOSTOP != 0
    }

    /// Bytes of input a reader could have, and whether one with room for `wanted` need not wait for more.
    pub fn input_state(&self, wanted: usize) -> (usize, bool) {
        let inner = self.inner.lock();
        (inner.discipline.queued(), inner.discipline.available(wanted).is_some())
    }

    /// How long a reader waits; see [`Discipline::read_timeout`].
    pub fn read_timeout(&self) -> Option<u64> {
        self.inner.lock().discipline.read_timeout()
    }
}

impl Inner {
    /// ^S and ^Q are on, and on their usual keys: what packet mode tells of.
    fn has_usual_flow_control(&self) -> bool {
        let keys = (self.discipline.key(Key::Start), self.discipline.key(Key::Stop));
        self.discipline.termios().iflag & IXON != 0 && keys == (17, 19)
    }
}
