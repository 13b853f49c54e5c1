//! eventfd(2): a counter as a file.

use alloc::format;
use alloc::string::String;

use aurora_abi::Errno;

use crate::memory::{IoBuf, IoError};
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::{Events, FileOps, OpenFile};

/// Bytes of a counter.
const SIZE: usize = 8;

/// The counter.
pub struct EventFd {
    count: Mutex<u64>,
    /// Reads take one (`EFD_SEMAPHORE`).
    semaphore: bool,
    changed: WaitQueue,
}

impl EventFd {
    /// One that starts at `count`.
    pub fn new(count: u32, semaphore: bool) -> Self {
        Self { count: Mutex::new(u64::from(count)), semaphore, changed: WaitQueue::new() }
    }
}

impl FileOps for EventFd {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        if out.remaining() < SIZE {
            return Err(Errno::EINVAL.into());
        }
        out.limit(SIZE);
        let mut count = self.count.lock();
        if *count == 0 {
            return Err(IoError::WouldBlock);
        }
        let value = if self.semaphore { 1 } else { *count };
        let moved = out.put(&value.to_le_bytes());
        if moved < SIZE {
            out.untake(moved);
            return Err(IoError::Fault);
        }
        *count -= value;
        drop(count);
        self.changed.wake(Events::WRITABLE);
        Ok(SIZE)
    }

    fn write_at(&self, _: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        if input.remaining() != SIZE {
            return Err(Errno::EINVAL.into());
        }
        let mut value = [0; SIZE];
        let moved = input.take(&mut value);
        if moved < SIZE {
            input.untake(moved);
            return Err(IoError::Fault);
        }
        let value = u64::from_le_bytes(value);
        if value == u64::MAX {
            input.untake(SIZE);
            return Err(Errno::EINVAL.into());
        }
        let mut count = self.count.lock();
        // The largest number is no count: it would be the overflow only the kernel could make.
        let sum = count.checked_add(value).filter(|&sum| sum < u64::MAX);
        let Some(sum) = sum else {
            input.untake(SIZE);
            return Err(IoError::WouldBlock);
        };
        *count = sum;
        drop(count);
        self.changed.wake(Events::READABLE);
        Ok(SIZE)
    }

    fn readiness(&self, _: &OpenFile) -> Events {
        let count = *self.count.lock();
        let mut events = Events::empty();
        events.set(Events::IN, count > 0);
        events.set(Events::OUT, count < u64::MAX - 1);
        events
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.changed)
    }
    fn seek_stays(&self) -> bool {
        true
    }
    fn kind(&self) -> Option<&'static str> {
        Some("[eventfd]")
    }
    fn fdinfo(&self, _: &OpenFile) -> String {
        format!(
            "eventfd-count: {:16x}\neventfd-id: 0\neventfd-semaphore: {}\n",
            *self.count.lock(),
            u8::from(self.semaphore)
        )
    }
}
