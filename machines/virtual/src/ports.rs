//! The byte ports, each a bounded queue per direction.
//!
//! What always holds: a queue never exceeds [`PORT_CAPACITY`]; whoever was refused room, or found nothing, hears of it
//! when that changes (the kernel through the driver, the host by asking after each turn).

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicU8, Ordering};

use aurora_machine::Port;

/// Bytes a port holds in each direction.
pub const PORT_CAPACITY: usize = 64 * 1024;

const PORTS: [Port; 3] = [Port::Console, Port::Link, Port::Keyboard];

#[derive(Default)]
struct Lines {
    to_kernel: spin::Mutex<VecDeque<u8>>,
    to_host: spin::Mutex<Outgoing>,
}

#[derive(Default)]
struct Outgoing {
    bytes: VecDeque<u8>,
    /// The kernel was refused room and waits for it.
    refused: bool,
}

/// All ports.
#[derive(Default)]
pub(crate) struct Ports {
    lines: [Lines; PORTS.len()],
    /// A bit per port about which the kernel has to be told.
    news: AtomicU8,
}

/// Moves as many bytes as both sides allow; returns how many.
fn drain(queue: &mut VecDeque<u8>, buffer: &mut [u8]) -> usize {
    let n = queue.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(queue.drain(..n)) {
        *to = from;
    }
    n
}

fn fill(queue: &mut VecDeque<u8>, bytes: &[u8]) -> usize {
    let n = bytes.len().min(PORT_CAPACITY - queue.len());
    queue.extend(&bytes[..n]);
    n
}

impl Ports {
    fn lines(&self, port: Port) -> &Lines {
        &self.lines[port as usize]
    }

    fn tell(&self, port: Port) {
        self.news.fetch_or(1 << port as u8, Ordering::Release);
    }

    /// Whether the kernel has to be told of something.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Ordering::Relaxed) != 0
    }

    /// The ports the kernel has to be told of, once.
    pub(crate) fn take_news(&self) -> impl Iterator<Item = Port> {
        let news = self.news.swap(0, Ordering::Acquire);
        PORTS.into_iter().filter(move |&p| news & (1 << p as u8) != 0)
    }

    /// The host gives.
    pub(crate) fn push(&self, port: Port, bytes: &[u8]) -> usize {
        let taken = fill(&mut self.lines(port).to_kernel.lock(), bytes);
        if taken > 0 {
            self.tell(port);
        }
        taken
    }

    /// Room for the host's bytes.
    pub(crate) fn room(&self, port: Port) -> usize {
        PORT_CAPACITY - self.lines(port).to_kernel.lock().len()
    }

    /// The host takes.
    pub(crate) fn pull(&self, port: Port, buffer: &mut [u8]) -> usize {
        let mut out = self.lines(port).to_host.lock();
        let taken = drain(&mut out.bytes, buffer);
        // Told when half is free: not for every byte a slow reader takes.
        if out.refused && out.bytes.len() <= PORT_CAPACITY / 2 {
            out.refused = false;
            self.tell(port);
        }
        taken
    }

    /// The kernel gives.
    pub(crate) fn write(&self, port: Port, bytes: &[u8]) -> usize {
        let mut out = self.lines(port).to_host.lock();
        let taken = fill(&mut out.bytes, bytes);
        out.refused |= taken < bytes.len();
        taken
    }

    /// The kernel takes.
    pub(crate) fn read(&self, port: Port, buffer: &mut [u8]) -> usize {
        drain(&mut self.lines(port).to_kernel.lock(), buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_port_refuses_and_says_when_there_is_room() {
        let ports = Ports::default();
        let big = [7; PORT_CAPACITY + 1];
        assert_eq!(ports.write(Port::Console, &big), PORT_CAPACITY);
        assert_eq!(ports.write(Port::Console, b"x"), 0);
        assert!(!ports.has_news());
        let mut buffer = [0; PORT_CAPACITY];
        assert_eq!(ports.pull(Port::Console, &mut buffer[..10]), 10);
        assert!(!ports.has_news());
        assert_eq!(ports.pull(Port::Console, &mut buffer), PORT_CAPACITY - 10);
        assert!(ports.take_news().eq([Port::Console]));
        assert!(!ports.has_news());
    }

    #[test]
    fn input_is_news_for_its_port_and_comes_in_order() {
        let ports = Ports::default();
        assert_eq!(ports.push(Port::Link, b"abc"), 3);
        assert_eq!(ports.room(Port::Link), PORT_CAPACITY - 3);
        assert!(ports.take_news().eq([Port::Link]));
        let mut buffer = [0; 2];
        assert_eq!(ports.read(Port::Link, &mut buffer), 2);
        assert_eq!(&buffer, b"ab");
        assert_eq!(ports.read(Port::Console, &mut buffer), 0);
    }
}
