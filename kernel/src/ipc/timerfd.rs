//! timerfd_create(2): a timer as a file.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use aurora_abi::Errno;

use crate::Kernel;
use crate::memory::{IoBuf, IoError};
use crate::sync::WaitQueue;
use crate::task::interval::{Clock, IntervalTimer, Notice, Remaining};
use crate::vfs::{Events, FileOps, OpenFile};

/// Absolute time.
pub const ABSTIME: u32 = 1;
/// Reads fail once the real-time clock was set.
pub const CANCEL_ON_SET: u32 = 2;

/// The timer.
pub struct TimerFd {
    clock_id: u32,
    timer: Arc<IntervalTimer>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    changed: WaitQueue,
    /// As last set.
    flags: AtomicU32,
    canceled: AtomicBool,
}

impl TimerFd {
    /// One that is not set.
    pub fn new(kernel: &Arc<Kernel>, clock_id: u32, clock: Clock) -> Self {
        let shared = Arc::new(Shared::default());
        let told = shared.clone();
        let tell = Box::new(move |notice| {
            let cancels = told.flags.load(Ordering::Relaxed) & (ABSTIME | CANCEL_ON_SET) == ABSTIME | CANCEL_ON_SET;
            if notice == Notice::ClockSet && cancels {
                told.canceled.store(true, Ordering::Release);
            }
            told.changed.wake(Events::READABLE);
        });
        Self { clock_id, timer: IntervalTimer::new(kernel, clock, tell), shared }
    }

    /// Sets it; returns how it was.
    pub fn set(&self, flags: u32, value: u64, interval: u64) -> Remaining {
        let before = self.timer.remaining();
        self.shared.flags.store(flags, Ordering::Relaxed);
        self.shared.canceled.store(false, Ordering::Release);
        self.timer.set(value, interval, flags & ABSTIME != 0);
        before
    }

    /// What is left, and its interval.
    pub fn remaining(&self) -> Remaining {
        self.timer.remaining()
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        self.timer.set(0, 0, false);
    }
}

/// The timer an open file is, if it is one.
pub fn of(file: &OpenFile) -> Option<&TimerFd> {
    file.ops.as_any()?.downcast_ref()
}

impl FileOps for TimerFd {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        if out.remaining() < 8 {
            return Err(Errno::EINVAL.into());
        }
        out.limit(8);
        if self.shared.canceled.swap(false, Ordering::AcqRel) {
            self.timer.take_expirations();
            return Err(Errno::ECANCELED.into());
        }
        if !self.timer.is_expired() {
            return Err(IoError::WouldBlock);
        }
        // The place is looked at first, so that no expiration is taken for a page that is missing.
        let moved = out.put(&[0; 8]);
        out.untake(moved);
        if moved < 8 {
            return Err(IoError::Fault);
        }
        out.put(&self.timer.take_expirations().to_le_bytes());
        Ok(8)
    }
    fn readiness(&self, _: &OpenFile) -> Events {
        let ready = self.timer.is_expired() || self.shared.canceled.load(Ordering::Acquire);
        if ready { Events::IN } else { Events::empty() }
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.shared.changed)
    }
    fn seek_stays(&self) -> bool {
        true
    }
    fn kind(&self) -> Option<&'static str> {
        Some("[timerfd]")
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn fdinfo(&self, _: &OpenFile) -> String {
        let Remaining { value, interval } = self.timer.remaining();
        let time = |ns: u64| format!("({}, {})", ns / 1_000_000_000, ns % 1_000_000_000);
        format!(
            "clockid: {}\nticks: {}\nsettime flags: 0{:o}\nit_value: {}\nit_interval: {}\n",
            self.clock_id,
            u8::from(self.timer.is_expired()),
            self.shared.flags.load(Ordering::Relaxed),
            time(value),
            time(interval),
        )
    }
}
