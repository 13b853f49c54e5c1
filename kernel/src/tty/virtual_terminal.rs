//! The terminal on the machine's own screen and keyboard, `/dev/tty1`.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use aurora_machine::{Instant, Machine, Port};

use super::screen::Screen;
use super::screen::keyboard::Keyboard;
use super::{Tty, TtyDriver};
use crate::Kernel;
use crate::sync::Mutex;

/// How often the display is painted while output goes on, in nanoseconds: sixty times a second.
const FRAME: u64 = 16_000_000;

/// What is between a [`Tty`] and the machine's display.
pub struct VirtualTerminal {
    machine: Arc<dyn Machine>,
    inner: Mutex<Inner>,
}

struct Inner {
    screen: Screen,
    /// There was output since `painted`.
    stale: bool,
    painted: Instant,
}

impl VirtualTerminal {
    /// One for the machine's display; `None` where there is none.
    pub fn new(machine: &Arc<dyn Machine>) -> Option<Arc<Self>> {
        let screen = Screen::new(machine.display()?);
        let inner = Mutex::new(Inner { screen, stale: true, painted: Instant(0) });
        Some(Arc::new(Self { machine: machine.clone(), inner }))
    }

    /// Rows and columns.
    pub fn size(&self) -> (u16, u16) {
        self.inner.lock().screen.size()
    }

    /// Brings the display up to date, now if there is nothing else to do, else when a frame's time has passed; and
    /// answers what programs asked the terminal.
    pub(crate) fn settle(&self, tty: &Tty, idle: bool) {
        let replies = {
            let mut inner = self.inner.lock();
            if !inner.stale {
                return;
            }
            let now = self.machine.now();
            if let Some(display) = self.machine.display().filter(|_| idle || inner.painted + FRAME <= now) {
                inner.screen.paint(display);
                inner.stale = false;
                inner.painted = now;
            }
            inner.screen.take_replies()
        };
        if !replies.is_empty() {
            tty.input(&replies);
        }
    }

    fn application_cursor_keys(&self) -> bool {
        self.inner.lock().screen.application_cursor_keys()
    }
}

impl TtyDriver for VirtualTerminal {
    fn write(&self, bytes: &[u8]) -> usize {
        let mut inner = self.inner.lock();
        inner.screen.write(bytes);
        inner.stale = true;
        bytes.len()
    }
}

/// A job that brings what is typed on the keyboard to the screen's terminal. What finds its input full is lost, as on
/// Linux.
pub(crate) async fn keyboard_input(kernel: Weak<Kernel>) {
    let mut keyboard = Keyboard::default();
    let mut codes = [0; 64];
    loop {
        let Some(kernel) = kernel.upgrade() else { return };
        let Some((terminal, tty)) = &kernel.consoles.screen else { return };
        let read = || Some(kernel.machine.port_read(Port::Keyboard, &mut codes)).filter(|&n| n > 0);
        let n = kernel.ports.queue(Port::Keyboard).wait(read).await;
        let mut typed = Vec::new();
        for &code in codes.get(..n).unwrap_or_default() {
            keyboard.scan_code(code, terminal.application_cursor_keys(), &mut typed);
        }
        let room = tty.input_room().min(typed.len());
        tty.input(typed.get(..room).unwrap_or_default());
    }
}
