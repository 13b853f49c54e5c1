//! The kernel's log: what it says while booting and when something goes wrong, kept for dmesg(1).

use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt::Write;

use aurora_machine::Instant;

use crate::sync::Mutex;

/// Bytes kept.
const LIMIT: usize = 64 * 1024;

/// How much a line matters, as syslog(2) counts it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// Something failed. Consoles show it even if the command line says `quiet`.
    Error = 3,
    /// What goes on.
    Info = 6,
}

/// The log.
#[derive(Default)]
pub struct Log {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    lines: VecDeque<(Level, String)>,
    bytes: usize,
}

impl Log {
    /// Adds a line; returns it with its time, as the console shows it.
    pub fn add(&self, now: Instant, level: Level, text: core::fmt::Arguments<'_>) -> String {
        let mut line = String::new();
        let micros = now.0 / 1000;
        let _ = write!(line, "[{:5}.{:06}] {text}", micros / 1_000_000, micros % 1_000_000);
        let mut inner = self.inner.lock();
        inner.bytes += line.len() + 1;
        inner.lines.push_back((level, line.clone()));
        while inner.bytes > LIMIT
            && let Some((_, old)) = inner.lines.pop_front()
        {
            inner.bytes -= old.len() + 1;
        }
        line
    }

    /// All lines, each with its level as syslog(2) gives it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (level, line) in &self.inner.lock().lines {
            let _ = writeln!(text, "<{}>{line}", *level as u8);
        }
        text
    }

    /// Forgets all lines.
    pub fn clear(&self) {
        *self.inner.lock() = Inner::default();
    }
}
