//! The serial ports: COM1 is the console, COM2 the host link. 16550 UARTs with FIFOs and interrupts.
//!
//! What always holds: no byte is lost either way. Output is handed to the FIFO only when that is empty, at most its size;
//! input that finds the ring full stays in the UART, whose other side then waits. A port that is not there swallows
//! output and has no input.

use spin::Mutex;
use x86_64::instructions::port::Port as IoPort;

use crate::clock;

const CONSOLE: u16 = 0x3f8;
const LINK: u16 = 0x2f8;
const FIFO: usize = 16;
/// Input kept for the kernel, so that one interrupt's worth does not have to be fetched before the next.
const RING: usize = 16 * 1024;

/// How long a stopped machine waits for somebody to take its last 16 bytes.
const DRAIN_NS: u64 = 10_000_000_000;

// Registers, from the base (a 16550's data sheet); DATA and the next two change meaning with the divisor latch.
const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const INTERRUPT_ID: u16 = 2;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

const ENABLE_RECEIVED: u8 = 1;
const ENABLE_SENT: u8 = 2;
const NO_INTERRUPT: u8 = 1;
const RECEIVED: u8 = 1;
const SENT: u8 = 0x20;
const IDLE: u8 = 0x40;

static PORTS: [Mutex<Uart>; 2] = [Mutex::new(Uart::new(CONSOLE)), Mutex::new(Uart::new(LINK))];

struct Uart {
    base: u16,
    present: bool,
    /// What INTERRUPT_ENABLE was last set to.
    enabled: u8,
    ring: [u8; RING],
    /// Bytes ever put into and taken from the ring.
    put: usize,
    taken: usize,
}

fn uart(line: Line) -> spin::MutexGuard<'static, Uart> {
    PORTS[line as usize].lock()
}

/// Which of the two.
#[derive(Clone, Copy)]
pub(crate) enum Line {
    Console,
    Link,
}

/// Sets up both ports.
pub(crate) fn init() {
    for port in &PORTS {
        port.lock().init();
    }
}

/// Handles a port's interrupt. Returns whether it has something for the kernel: input, or room for output.
pub(crate) fn interrupt(line: Line) -> bool {
    uart(line).interrupt()
}

/// Sends what the UART takes now.
pub(crate) fn write(line: Line, bytes: &[u8]) -> usize {
    uart(line).write(bytes)
}

/// Takes input that arrived.
pub(crate) fn read(line: Line, buffer: &mut [u8]) -> usize {
    uart(line).read(buffer)
}

/// Waits until everything written has left the machine, unless nobody takes it for a long time.
pub(crate) fn drain() {
    let patience = clock::now() + DRAIN_NS;
    for port in &PORTS {
        let port = port.lock();
        while port.present && port.get(LINE_STATUS) & IDLE == 0 && clock::now() < patience {
            core::hint::spin_loop();
        }
    }
}

impl Uart {
    const fn new(base: u16) -> Self {
        Self { base, present: false, enabled: 0, ring: [0; RING], put: 0, taken: 0 }
    }

    fn get(&self, register: u16) -> u8 {
        // SAFETY: a UART's register; reading one that is not there gives 0xff.
        unsafe { IoPort::new(self.base + register).read() }
    }

    fn set(&self, register: u16, value: u8) {
        // SAFETY: a UART's register; the machine has nothing else at these addresses.
        unsafe { IoPort::new(self.base + register).write(value) }
    }

    fn init(&mut self) {
        self.set(SCRATCH, 0x5a);
        self.present = self.get(SCRATCH) == 0x5a;
        if !self.present {
            return;
        }
        self.enable(0);
        self.set(LINE_CONTROL, 0x80); // divisor latch: 115200 baud
        self.set(DATA, 1);
        self.set(INTERRUPT_ENABLE, 0);
        self.set(LINE_CONTROL, 3); // 8 data bits, no parity, 1 stop bit
        self.set(FIFO_CONTROL, 0xc7); // FIFOs on and empty, interrupt at 14 bytes or after a pause
        self.set(MODEM_CONTROL, 0x0b); // DTR, RTS, and OUT2, which lets interrupts through
        self.enable(ENABLE_RECEIVED);
    }

    fn enable(&mut self, interrupts: u8) {
        self.enabled = interrupts;
        self.set(INTERRUPT_ENABLE, interrupts);
    }

    /// Goes on until the UART has nothing left to say: its line is edge-triggered, so one cause that stays raised would
    /// hide all others.
    fn interrupt(&mut self) -> bool {
        let mut ready = false;
        while self.present && self.get(INTERRUPT_ID) & NO_INTERRUPT == 0 {
            ready |= self.fetch();
            if self.enabled & ENABLE_SENT != 0 && self.get(LINE_STATUS) & SENT != 0 {
                self.enable(self.enabled & !ENABLE_SENT);
                ready = true;
            }
        }
        ready
    }

    /// Moves input from the UART to the ring. When the ring is full the UART keeps it, and stops interrupting.
    fn fetch(&mut self) -> bool {
        let before = self.put;
        while self.get(LINE_STATUS) & RECEIVED != 0 {
            if self.put - self.taken == RING {
                self.enable(self.enabled & !ENABLE_RECEIVED);
                break;
            }
            self.ring[self.put % RING] = self.get(DATA);
            self.put += 1;
        }
        self.put != before
    }

    fn read(&mut self, buffer: &mut [u8]) -> usize {
        if !self.present {
            return 0;
        }
        self.fetch();
        let n = buffer.len().min(self.put - self.taken);
        for byte in &mut buffer[..n] {
            *byte = self.ring[self.taken % RING];
            self.taken += 1;
        }
        if n > 0 && self.enabled & ENABLE_RECEIVED == 0 {
            self.enable(self.enabled | ENABLE_RECEIVED);
        }
        n
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        if !self.present {
            return bytes.len();
        }
        let mut done = 0;
        for part in bytes.chunks(FIFO) {
            if self.get(LINE_STATUS) & SENT == 0 {
                self.enable(self.enabled | ENABLE_SENT);
                break;
            }
            for &byte in part {
                self.set(DATA, byte);
            }
            done += part.len();
        }
        done
    }
}

/// Writes to the console without its lock, waiting for room: for the last words of a machine that stops.
pub(crate) struct Emergency;

impl core::fmt::Write for Emergency {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                put_waiting(b'\r');
            }
            put_waiting(byte);
        }
        Ok(())
    }
}

/// Gives up after a while: a console that does not take bytes must not keep the machine from stopping.
fn put_waiting(byte: u8) {
    for _ in 0..10_000_000 {
        // SAFETY: the console's line status.
        if unsafe { IoPort::<u8>::new(CONSOLE + LINE_STATUS).read() } & SENT != 0 {
            break;
        }
    }
    // SAFETY: the console's data register.
    unsafe { IoPort::new(CONSOLE + DATA).write(byte) }
}
