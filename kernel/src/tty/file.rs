//! An open terminal: reads and writes.

use alloc::sync::Arc;

use aurora_abi::Errno;

use crate::memory::{IoBuf, IoError};
use crate::sync::WaitQueue;
use crate::tty::ioctl::{self, Side};
use crate::tty::{Inner, OUTPUT_LIMIT, Tty};
use crate::vfs::file::{IoctlAnswer, IoctlArgs};
use crate::vfs::{Events, FileOps, OpenFile};

/// An open terminal.
pub struct TtyFile {
    tty: Arc<Tty>,
    /// How often the terminal had been hung up when this was opened; `None` for `/dev/console`, which no hang-up closes.
    hang_ups: Option<u64>,
}

impl TtyFile {
    /// Opens `tty`.
    pub fn new(tty: &Arc<Tty>) -> Self {
        let mut inner = tty.inner.lock();
        inner.open += 1;
        inner.was_open = true;
        let hang_ups = Some(inner.hang_ups);
        drop(inner);
        tty.changed.wake_all();
        Self { tty: tty.clone(), hang_ups }
    }

    /// Opens `tty` as the console.
    pub fn console(tty: &Arc<Tty>) -> Self {
        let mut file = Self::new(tty);
        file.hang_ups = None;
        file
    }

    /// Whether the terminal was hung up since.
    fn is_dead(&self, inner: &Inner) -> bool {
        inner.gone || self.hang_ups.is_some_and(|then| then != inner.hang_ups)
    }

    fn take(&self, out: &mut IoBuf<'_>, patient: bool) -> Result<usize, IoError> {
        let mut inner = self.tty.inner.lock();
        if self.is_dead(&inner) || out.remaining() == 0 {
            return Ok(0);
        }
        let ready = match inner.discipline.available(out.remaining()) {
            Some(ready) => ready,
            None if patient => return Err(IoError::WouldBlock),
            None => inner.discipline.queued(),
        };
        let start = out.done();
        let bytes = inner.discipline.peek(ready.min(out.remaining()));
        let moved = out.put(&bytes);
        inner.discipline.consume(moved);
        drop(inner);
        // There is room for input again.
        self.tty.changed.wake_all();
        if moved < bytes.len() { out.stopped(start) } else { Ok(moved) }
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        self.tty.inner.lock().open -= 1;
        self.tty.changed.wake_all();
    }
}

impl FileOps for TtyFile {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        self.take(out, true)
    }

    fn read_now(&self, _: &OpenFile, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        self.take(out, false)
    }

    fn write_at(&self, _: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let start = input.done();
        let mut chunk = [0; 512];
        if self.is_dead(&self.tty.inner.lock()) {
            return Err(Errno::EIO.into());
        }
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
            let Inner { discipline, output, .. } = &mut *inner;
            discipline.output(chunk.get(..moved).unwrap_or_default(), output);
        }
        if input.done() == start && input.remaining() > 0 {
            return Err(IoError::WouldBlock);
        }
        self.tty.flush();
        // The master of a pseudo-terminal waits for it.
        self.tty.changed.wake_all();
        Ok(input.done() - start)
    }

    fn readiness(&self, _: &OpenFile) -> Events {
        let inner = self.tty.inner.lock();
        if self.is_dead(&inner) {
            return Events::READABLE | Events::WRITABLE | Events::ERR | Events::HUP;
        }
        let mut events = Events::empty();
        events.set(Events::READABLE, inner.discipline.is_readable());
        events.set(Events::WRITABLE, inner.output.len() < OUTPUT_LIMIT && !inner.discipline.is_stopped());
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.changed)
    }

    fn terminal(&self) -> Option<&Arc<Tty>> {
        Some(&self.tty)
    }

    fn ioctl_input(&self, request: u32) -> usize {
        ioctl::input_size(request)
    }

    fn ioctl(&self, _: &OpenFile, args: &IoctlArgs<'_>, input: &[u8]) -> Result<IoctlAnswer, Errno> {
        if self.is_dead(&self.tty.inner.lock()) {
            return Err(if args.request == ioctl::TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO });
        }
        ioctl::ioctl(&self.tty, Side::Program, args, input)
    }
}
