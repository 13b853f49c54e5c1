//! Pipes and FIFOs, pipe(7): a ring of frames.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_machine::{Frame, PAGE_SIZE};

use crate::memory::{IoBuf, IoError, MemoryControl};
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::file::{IoctlAnswer, IoctlArgs};
use crate::vfs::{Events, FileOps, OpenFile};

/// Bytes a new pipe holds.
pub const CAPACITY: usize = 65536;
/// Most bytes an ordinary user's pipe may hold: Linux's `fs.pipe-max-size`.
pub const CAPACITY_MAX: usize = 1 << 20;
/// A write of at most this many bytes is never mixed with others.
pub const PIPE_BUF: usize = 4096;
const SLOTS: usize = 16;
const PAGE: usize = 4096;

/// The pipe itself.
pub struct Pipe {
    control: Arc<MemoryControl>,
    inner: Mutex<Ring>,
    /// Woken when anything changes.
    pub changed: WaitQueue,
    /// How often a reading end was opened, for FIFOs.
    pub reader_opens: AtomicU64,
    /// How often a writing end was opened.
    pub writer_opens: AtomicU64,
}

struct Ring {
    slots: VecDeque<Slot>,
    /// Most slots.
    room_for: usize,
    readers: usize,
    writers: usize,
}

/// A page with bytes `start..end` of it filled.
struct Slot {
    frame: Frame,
    start: usize,
    end: usize,
    /// One write, read as a whole or not at all (`O_DIRECT`).
    packet: bool,
}

impl Pipe {
    /// An empty pipe without ends.
    pub fn new(control: &Arc<MemoryControl>) -> Arc<Self> {
        Arc::new(Self {
            control: control.clone(),
            inner: Mutex::new(Ring { slots: VecDeque::new(), room_for: SLOTS, readers: 0, writers: 0 }),
            changed: WaitQueue::new(),
            reader_opens: AtomicU64::new(0),
            writer_opens: AtomicU64::new(0),
        })
    }

    /// An end to read or write, or both (a FIFO opened `O_RDWR`).
    pub fn end(self: &Arc<Self>, reads: bool, writes: bool) -> Arc<PipeEnd> {
        let mut ring = self.inner.lock();
        ring.readers += usize::from(reads);
        ring.writers += usize::from(writes);
        drop(ring);
        if reads {
            self.reader_opens.fetch_add(1, Ordering::AcqRel);
        }
        if writes {
            self.writer_opens.fetch_add(1, Ordering::AcqRel);
        }
        self.changed.wake_all();
        Arc::new(PipeEnd { pipe: self.clone(), reads, writes })
    }

    /// Whether anybody could read, and write.
    pub fn has_ends(&self) -> (bool, bool) {
        let ring = self.inner.lock();
        (ring.readers > 0, ring.writers > 0)
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.inner.lock().len()
    }

    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.inner.lock().room_for * PAGE
    }

    /// Makes it hold at least `bytes` (`F_SETPIPE_SZ`); returns how many it holds then.
    pub fn set_capacity(&self, bytes: u32, privileged: bool) -> Result<usize, Errno> {
        if bytes > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let size = crate::num::to_usize(u64::from(bytes)).max(PAGE).next_power_of_two();
        let mut ring = self.inner.lock();
        if size / PAGE > ring.room_for && size > CAPACITY_MAX && !privileged {
            return Err(Errno::EPERM);
        }
        if size / PAGE < ring.slots.len() {
            return Err(Errno::EBUSY);
        }
        ring.room_for = size / PAGE;
        drop(ring);
        self.changed.wake_all();
        Ok(size)
    }

    /// Gives up to `wanted` bytes to `each` in runs without taking them out (tee(2)); returns how many.
    pub fn peek(&self, mut wanted: usize, each: &mut dyn FnMut(&Frame, usize, usize) -> bool) -> usize {
        let ring = self.inner.lock();
        let mut seen = 0;
        for slot in &ring.slots {
            let run = (slot.end - slot.start).min(wanted);
            if run == 0 || !each(&slot.frame, slot.start, run) {
                break;
            }
            seen += run;
            wanted -= run;
        }
        seen
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads what is there.
    pub fn try_read(&self, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let start = out.done();
        if out.remaining() == 0 {
            return Ok(0);
        }
        let mut ring = self.inner.lock();
        if ring.slots.is_empty() {
            return if ring.writers == 0 { Ok(0) } else { Err(IoError::WouldBlock) };
        }
        let mut stopped = false;
        while let Some(slot) = ring.slots.front_mut() {
            let run = (slot.end - slot.start).min(out.remaining());
            if run == 0 {
                break;
            }
            let moved = out.put_frame(&slot.frame, slot.start, run);
            slot.start += moved;
            let packet = slot.packet;
            // What of a packet the reader had no room for is gone.
            if slot.start == slot.end || packet && moved == run {
                ring.slots.pop_front();
            }
            if moved < run {
                stopped = true;
                break;
            }
            if packet {
                break;
            }
        }
        drop(ring);
        self.changed.wake(Events::WRITABLE);
        if stopped { out.stopped(start) } else { Ok(out.done() - start) }
    }

    /// Writes what fits. At most [`PIPE_BUF`] bytes go in whole or not at all.
    pub fn try_write(&self, input: &mut IoBuf<'_>, first: bool, packet: bool) -> Result<usize, IoError> {
        let start = input.done();
        if input.remaining() == 0 {
            return Ok(0);
        }
        let mut ring = self.inner.lock();
        if ring.readers == 0 {
            return Err(Errno::EPIPE.into());
        }
        let whole = first && input.remaining() <= PIPE_BUF;
        if packet && ring.slots.len() >= ring.room_for {
            return Err(IoError::WouldBlock);
        }
        if ring.room() == 0 || whole && ring.room() < input.remaining() {
            return Err(IoError::WouldBlock);
        }
        let mut result = Ok(());
        while input.remaining() > 0 {
            if ring.slots.back().is_none_or(|s| s.end == PAGE || s.packet || packet) {
                if ring.slots.len() >= ring.room_for {
                    break;
                }
                match self.control.frame() {
                    Ok(frame) => ring.slots.push_back(Slot { frame, start: 0, end: 0, packet }),
                    Err(errno) => {
                        result = Err(errno);
                        break;
                    }
                }
            }
            let Some(slot) = ring.slots.back_mut() else { break };
            let run = input.remaining().min(PAGE - slot.end);
            let moved = input.take_frame(&slot.frame, slot.end, run);
            slot.end += moved;
            if slot.start == slot.end {
                ring.slots.pop_back();
            }
            if moved < run {
                drop(ring);
                self.changed.wake(Events::READABLE);
                return input.stopped(start);
            }
        }
        drop(ring);
        self.changed.wake(Events::READABLE);
        match result {
            Ok(()) => Ok(input.done() - start),
            Err(errno) => input.or_error(start, errno),
        }
    }
}

impl Ring {
    fn len(&self) -> usize {
        self.slots.iter().map(|s| s.end - s.start).sum()
    }
    fn room(&self) -> usize {
        let tail = self.slots.back().filter(|s| !s.packet).map_or(0, |s| PAGE - s.end);
        self.room_for.saturating_sub(self.slots.len()) * PAGE + tail
    }
}

/// One open end.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut ring = self.pipe.inner.lock();
        ring.readers -= usize::from(self.reads);
        ring.writers -= usize::from(self.writes);
        // A FIFO outlives its ends, its contents do not.
        let forgotten =
            if ring.readers + ring.writers == 0 { core::mem::take(&mut ring.slots) } else { VecDeque::new() };
        drop(ring);
        drop(forgotten);
        self.pipe.changed.wake_all();
    }
}

const FIONREAD: u32 = 0x541b;

impl FileOps for PipeEnd {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        self.pipe.try_read(out)
    }
    fn write_at(&self, file: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let first = input.done() == 0;
        self.pipe.try_write(input, first, file.flags().contains(crate::vfs::OpenFlags::DIRECT))
    }
    fn readiness(&self, _: &OpenFile) -> Events {
        let ring = self.pipe.inner.lock();
        let mut events = Events::empty();
        if self.reads {
            if !ring.slots.is_empty() {
                events |= Events::READABLE;
            }
            if ring.writers == 0 && self.pipe.writer_opens.load(Ordering::Relaxed) > 0 {
                events |= Events::HUP;
            }
        }
        if self.writes {
            if ring.room() >= PIPE_BUF {
                events |= Events::WRITABLE;
            }
            if ring.readers == 0 {
                events |= Events::ERR;
            }
        }
        events
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.changed)
    }
    fn ioctl(&self, _: &OpenFile, args: &IoctlArgs<'_>, _: &[u8]) -> Result<IoctlAnswer, Errno> {
        match args.request {
            FIONREAD => {
                let len = u32::try_from(self.pipe.len()).unwrap_or(u32::MAX);
                Ok(IoctlAnswer { value: 0, out: len.to_le_bytes().to_vec() })
            }
            _ => Err(Errno::ENOTTY),
        }
    }
    fn pipe(&self) -> Option<&Arc<Pipe>> {
        Some(&self.pipe)
    }
}

const _: () = assert!(PAGE as u64 == PAGE_SIZE && SLOTS * PAGE == CAPACITY);
