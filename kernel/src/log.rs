//! The kernel's log: what it says while booting and when something goes wrong, kept for dmesg(1).

use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt::Write;

use aurora_machine::Instant;

use crate::sync::Mutex;

/// Bytes kept.
const LIMIT: usize = 64 * 1024;

/// The log.
#[derive(Default)]
pub struct Log {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Log {
    /// Adds a line; returns it with its time, as the console shows it.
    pub fn add(&self, now: Instant, text: core::fmt::Arguments<'_>) -> String {
        let mut line = String::new();
        let micros = now.0 / 1000;
        let _ = write!(line, "[{:5}.{:06}] {text}", micros / 1_000_000, micros % 1_000_000);
        let mut inner = self.inner.lock();
        inner.bytes += line.len() + 1;
        inner.lines.push_back(line.clone());
        while inner.bytes > LIMIT
            && let Some(old) = inner.lines.pop_front()
        {
            inner.bytes -= old.len() + 1;
        }
        line
    }

    /// All lines, each with its level as syslog(2) gives it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.inner.lock().lines {
            let _ = writeln!(text, "<6>{line}");
        }
        text
    }

    /// Forgets all lines.
    pub fn clear(&self) {
        *self.inner.lock() = Inner::default();
    }
}
