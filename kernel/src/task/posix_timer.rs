//! What a process has timers for: timer_create(2), and the processor-time timers of setitimer(2).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;

use aurora_abi::Errno;

use crate::memory::account::Charge;
use crate::num::{low32, low32_signed};
use crate::sync::Mutex;
use crate::task::interval::{Clock, IntervalTimer, Notice, ProcessorWaits, Remaining, Whose};
use crate::task::{Process, SigInfo, Signal, Thread};

/// `si_code` of a timer.
pub const SI_TIMER: i32 = -2;
/// Kernel heap a timer is charged.
pub const TIMER_COST: u64 = 512;
/// The largest overrun told, `DELAYTIMER_MAX`.
const MAX_OVERRUN: u64 = 0x7fff_ffff;

/// A process's timers.
#[derive(Default)]
pub struct ProcessTimers {
    waits: ProcessorWaits,
    posix: Mutex<Posix>,
    /// `ITIMER_VIRTUAL` and `ITIMER_PROF`, once used.
    processor: Mutex<[Option<Arc<IntervalTimer>>; 2]>,
}

#[derive(Default)]
struct Posix {
    timers: BTreeMap<i32, Arc<PosixTimer>>,
    next: i32,
}

/// Whom a timer tells.
pub enum Notify {
    /// Nobody: `SIGEV_NONE`.
    Nobody,
    /// The process.
    Process(Signal),
    /// A thread of it: `SIGEV_THREAD_ID`.
    Thread(Signal, Weak<Thread>),
}

/// A timer a program made.
pub struct PosixTimer {
    id: i32,
    notify: Notify,
    value: u64,
    timer: Arc<IntervalTimer>,
    overrun: AtomicU64,
    _charge: Charge,
}

/// Which processor-time timer of setitimer(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessorTimer {
    /// `ITIMER_VIRTUAL`: SIGVTALRM. Time in the kernel does not count.
    Virtual,
    /// `ITIMER_PROF`: SIGPROF.
    Profile,
}

impl ProcessTimers {
    /// Wakes `waker` once the process, or a thread of it, has used `due` nanoseconds.
    pub fn wait_used(&self, whose: Whose, due: u64, waker: Waker) {
        self.waits.add(whose, due, waker);
    }

    /// Minds timers of processor time.
    pub fn look(&self, process: &Process) {
        self.waits.look(process);
    }

    /// Makes a timer; returns its number. `value` is for whoever gets the signal; none means the number.
    pub fn create(
        process: &Arc<Process>,
        clock: Clock,
        notify: Notify,
        value: Option<u64>,
        charge: Charge,
    ) -> Result<i32, Errno> {
        let mut posix = process.timers.posix.lock();
        let id = posix.next;
        posix.next = id.checked_add(1).ok_or(Errno::EAGAIN)?;
        let owner = Arc::downgrade(process);
        let tell = Box::new(move |notice| {
            if let (Notice::Expired, Some(process)) = (notice, owner.upgrade()) {
                process.timers.expired(&process, id);
            }
        });
        let timer = PosixTimer {
            id,
            notify,
            value: value.unwrap_or(u64::from(id.cast_unsigned())),
            timer: IntervalTimer::new(&process.kernel, clock, tell),
            overrun: AtomicU64::new(0),
            _charge: charge,
        };
        posix.timers.insert(id, Arc::new(timer));
        Ok(id)
    }

    /// A timer by number.
    pub fn get(&self, id: i32) -> Result<Arc<PosixTimer>, Errno> {
        self.posix.lock().timers.get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// Deletes a timer.
    pub fn delete(&self, id: i32) -> Result<(), Errno> {
        let timer = self.posix.lock().timers.remove(&id).ok_or(Errno::EINVAL)?;
        timer.timer.set(0, 0, false);
        Ok(())
    }

    /// Deletes all that execve(2) and the end of a process delete.
    pub fn clear(&self) {
        let timers = core::mem::take(&mut self.posix.lock().timers);
        timers.values().for_each(|t| t.timer.set(0, 0, false));
    }

    /// Stops the timers of processor time.
    pub fn stop_processor(&self) {
        for timer in core::mem::take(&mut *self.processor.lock()).into_iter().flatten() {
            timer.set(0, 0, false);
        }
    }

    fn expired(&self, process: &Arc<Process>, id: i32) {
        let Ok(timer) = self.get(id) else { return };
        let info = |signal| SigInfo { signal, code: SI_TIMER, fields: [u64::from(id.cast_unsigned()), timer.value, 0] };
        match &timer.notify {
            Notify::Nobody => {}
            Notify::Process(signal) => drop(process.send(info(*signal))),
            Notify::Thread(signal, thread) => {
                if let Some(thread) = thread.upgrade() {
                    let _ = thread.send(info(*signal));
                }
            }
        }
    }

    /// A signal is taken: if it is a timer's, the timer runs again, and the signal tells what was missed.
    pub fn note_taken(&self, mut info: SigInfo) -> SigInfo {
        let [which, value, _] = info.fields;
        if info.code != SI_TIMER {
            return info;
        }
        if let Ok(timer) = self.get(low32_signed(which)) {
            let overrun = timer.timer.take_expirations().saturating_sub(1).min(MAX_OVERRUN);
            timer.overrun.store(overrun, Ordering::Relaxed);
            info.fields = [u64::from(low32(which)) | overrun << 32, value, 0];
        }
        info
    }

    /// A timer of processor time: what is left, and its interval.
    pub fn processor(&self, which: ProcessorTimer) -> Remaining {
        let timer = self.processor.lock().get(which as usize).cloned().flatten();
        timer.map(|t| t.remaining()).unwrap_or_default()
    }

    /// Sets a timer of processor time.
    pub fn set_processor(process: &Arc<Process>, which: ProcessorTimer, value: u64, interval: u64) {
        let existing = process.timers.processor.lock().get(which as usize).cloned().flatten();
        let timer = existing.unwrap_or_else(|| {
            let signal = if which == ProcessorTimer::Virtual { Signal::SIGVTALRM } else { Signal::SIGPROF };
            let owner = Arc::downgrade(process);
            let tell = Box::new(move |_| {
                let Some(process) = owner.upgrade() else { return };
                let _ = process.send(SigInfo::kernel(signal));
                let timer = process.timers.processor.lock().get(which as usize).cloned().flatten();
                timer.map(|t| t.take_expirations());
            });
            let process_of = Arc::downgrade(process);
            let clock = match which {
                ProcessorTimer::Virtual => Clock::User(process_of),
                ProcessorTimer::Profile => Clock::Process(process_of),
            };
            IntervalTimer::new(&process.kernel, clock, tell)
        });
        if let Some(slot) = process.timers.processor.lock().get_mut(which as usize) {
            *slot = Some(timer.clone());
        }
        timer.set(value, interval, false);
    }
}

impl PosixTimer {
    /// Sets it.
    pub fn set(&self, value: u64, interval: u64, absolute: bool) {
        self.timer.set(value, interval, absolute);
    }
    /// What is left, and its interval.
    pub fn remaining(&self) -> Remaining {
        self.timer.remaining()
    }
    /// How often it went off between the last signal's sending and its taking.
    pub fn overrun(&self) -> u64 {
        self.overrun.load(Ordering::Relaxed)
    }
    /// Its number.
    pub fn id(&self) -> i32 {
        self.id
    }
}
