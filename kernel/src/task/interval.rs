//! Timers that go off at a time and then again and again, by any clock: what timerfd_create(2), timer_create(2) and the
//! processor-time timers of setitimer(2) are made of.
//!
//! A timer that went off is not armed again before somebody takes note (reads the file, takes the signal), as in Linux:
//! what was missed meanwhile is counted then, and nobody's short interval keeps the system busy.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::task::Waker;

use aurora_abi::Errno;
use aurora_machine::Instant;

use crate::Kernel;
use crate::sync::Mutex;
use crate::task::timer::TimerKey;
use crate::task::{Pid, Process, Thread};

/// What a timer or a sleeper counts by, clock_getres(2).
#[derive(Clone)]
pub enum Clock {
    /// `CLOCK_REALTIME`, `CLOCK_TAI`: can be set.
    Real,
    /// `CLOCK_MONOTONIC`, `CLOCK_BOOTTIME`: machines that were frozen go on from where they were.
    Monotonic,
    /// Processor time of a process.
    Process(Weak<Process>),
    /// What of a process's is not the kernel's: what `ITIMER_VIRTUAL` counts.
    User(Weak<Process>),
    /// Processor time of a thread.
    Thread(Weak<Thread>),
}

/// Whose processor time somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A process's.
    Process,
    /// What of that is not the kernel's.
    User,
    /// A thread's.
    Thread(Pid),
}

impl Clock {
    /// Its time in nanoseconds.
    pub fn now(&self, kernel: &Kernel) -> u64 {
        match self {
            Self::Real => kernel.realtime_ns(),
            Self::Monotonic => kernel.machine.now().0,
            Self::Process(process) => process.upgrade().map_or(0, |p| process_time(&p)),
            Self::User(process) => process.upgrade().map_or(0, |p| user_time(&p)),
            Self::Thread(thread) => thread.upgrade().map_or(0, |t| thread_time(&t)),
        }
    }
}

/// Processor time of a process up to now.
pub fn process_time(process: &Process) -> u64 {
    let kernel = &process.kernel;
    let running = kernel.current().is_some_and(|(pid, _)| pid == process.pid);
    process.used_ns() + if running { kernel.scheduler.running_ns() } else { 0 }
}

/// What of that was not in the kernel.
fn user_time(process: &Process) -> u64 {
    process_time(process).saturating_sub(process.system_ns())
}

/// Processor time of a thread up to now.
pub fn thread_time(thread: &Thread) -> u64 {
    let kernel = thread.kernel();
    let running = kernel.current().is_some_and(|(_, tid)| tid == thread.tid());
    thread.task.used_ns() + if running { kernel.scheduler.running_ns() } else { 0 }
}

/// Why a timer's owner is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It went off.
    Expired,
    /// The clock it runs by was set.
    ClockSet,
}

/// A timer.
pub struct IntervalTimer {
    this: Weak<Self>,
    kernel: Arc<Kernel>,
    clock: Clock,
    state: Mutex<State>,
    tell: Box<dyn Fn(Notice) + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// When it goes off next, or went off, by its clock.
    due: Option<u64>,
    interval: u64,
    /// It went off and nobody took note yet.
    expired: bool,
    armed: Option<Armed>,
}

enum Armed {
    Time(TimerKey),
    Processor,
}

/// What gettime calls tell, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Until it goes off; 0 if it does not.
    pub value: u64,
    /// Between two times.
    pub interval: u64,
}

impl IntervalTimer {
    /// A timer that is not set. `tell` is called without locks.
    pub fn new(kernel: &Arc<Kernel>, clock: Clock, tell: Box<dyn Fn(Notice) + Send + Sync>) -> Arc<Self> {
        let follows = matches!(clock, Clock::Real);
        let timer = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            kernel: kernel.clone(),
            clock,
            state: Mutex::default(),
            tell,
        });
        if follows {
            kernel.timers.follow_clock(&timer);
        }
        timer
    }

    /// Sets it: `value` from now on or, if `absolute`, by the clock; 0 stops it.
    pub fn set(&self, value: u64, interval: u64, absolute: bool) {
        let now = self.clock.now(&self.kernel);
        let mut state = self.state.lock();
        self.disarm(&mut state);
        state.expired = false;
        state.interval = interval;
        state.due = match value {
            0 => None,
            _ if absolute => Some(value),
            _ => Some(now.saturating_add(value)),
        };
        self.arm(&mut state);
        drop(state);
        self.look();
    }

    /// What is left. A timer that went off shows its next time.
    pub fn remaining(&self) -> Remaining {
        let now = self.clock.now(&self.kernel);
        let state = self.state.lock();
        let value = match state.due {
            None => 0,
            Some(due) if due > now => due - now,
            Some(_) if state.interval == 0 && state.expired => 0,
            // About to go off.
            Some(_) if !state.expired => 1,
            Some(due) => state.interval - (now - due) % state.interval,
        };
        Remaining { value, interval: state.interval }
    }

    /// How often it went off since somebody took note; from now on it runs again.
    pub fn take_expirations(&self) -> u64 {
        let now = self.clock.now(&self.kernel);
        let mut state = self.state.lock();
        if !state.expired {
            return 0;
        }
        state.expired = false;
        let Some(due) = state.due else { return 0 };
        let missed = now.saturating_sub(due).checked_div(state.interval);
        state.due = missed.map(|missed| due.saturating_add((missed + 1).saturating_mul(state.interval)));
        self.arm(&mut state);
        missed.unwrap_or(0) + 1
    }

    /// Whether it went off and nobody took note.
    pub fn is_expired(&self) -> bool {
        self.state.lock().expired
    }

    /// The clock was set: a time by it is another instant now.
    pub(super) fn clock_was_set(&self) {
        let mut state = self.state.lock();
        self.disarm(&mut state);
        if !state.expired {
            self.arm(&mut state);
        }
        drop(state);
        (self.tell)(Notice::ClockSet);
        self.look();
    }

    fn arm(&self, state: &mut State) {
        let (Some(due), Some(this)) = (state.due, self.this.upgrade()) else { return };
        let waker = Waker::from(this);
        let monotonic = self.kernel.machine.now();
        state.armed = Some(match &self.clock {
            Clock::Monotonic => Armed::Time(self.kernel.timers.arm(Instant(due), waker)),
            Clock::Real => {
                let at = monotonic + due.saturating_sub(self.kernel.realtime_ns());
                Armed::Time(self.kernel.timers.arm(at, waker))
            }
            Clock::Process(process) => {
                let Some(process) = process.upgrade() else { return };
                process.timers.wait_used(Whose::Process, due, waker);
                Armed::Processor
            }
            Clock::User(process) => {
                let Some(process) = process.upgrade() else { return };
                process.timers.wait_used(Whose::User, due, waker);
                Armed::Processor
            }
            Clock::Thread(thread) => {
                let Some(thread) = thread.upgrade() else { return };
                thread.process.timers.wait_used(Whose::Thread(thread.tid()), due, waker);
                Armed::Processor
            }
        });
    }

    fn disarm(&self, state: &mut State) {
        match state.armed.take() {
            Some(Armed::Time(key)) => self.kernel.timers.disarm(key),
            // Who is woken for nothing looks at the clock and sleeps on.
            Some(Armed::Processor) | None => {}
        }
    }

    /// Goes off if it is time.
    fn look(&self) {
        let now = self.clock.now(&self.kernel);
        let mut state = self.state.lock();
        let Some(due) = state.due.filter(|_| !state.expired) else { return };
        if due > now {
            self.disarm(&mut state);
            self.arm(&mut state);
            return;
        }
        state.expired = true;
        self.disarm(&mut state);
        drop(state);
        (self.tell)(Notice::Expired);
    }
}

impl Wake for IntervalTimer {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl Drop for IntervalTimer {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        self.disarm(&mut state);
    }
}

/// Those who wait for a process to have used an amount of processor time.
#[derive(Default)]
pub struct ProcessorWaits {
    waits: Mutex<Vec<(Whose, u64, Waker)>>,
}

impl ProcessorWaits {
    /// Wakes `waker` once `due` nanoseconds are used.
    pub fn add(&self, whose: Whose, due: u64, waker: Waker) {
        let mut waits = self.waits.lock();
        waits.retain(|(other, _, w)| !(*other == whose && w.will_wake(&waker)));
        waits.push((whose, due, waker));
    }

    /// Wakes those whose time has come.
    pub fn look(&self, process: &Process) {
        if self.waits.lock().is_empty() {
            return;
        }
        let (used, user) = (process_time(process), user_time(process));
        let threads: Vec<_> = process.threads.lock().iter().map(|t| (t.tid(), thread_time(t))).collect();
        let time_of = |tid: Pid| threads.iter().find(|(t, _)| *t == tid).map_or(0, |(_, time)| *time);
        let mut due = Vec::new();
        self.waits.lock().retain(|(whose, at, waker)| {
            let time = match *whose {
                Whose::Process => used,
                Whose::User => user,
                Whose::Thread(tid) => time_of(tid),
            };
            let over = time >= *at;
            if over {
                due.push(waker.clone());
            }
            !over
        });
        due.into_iter().for_each(Waker::wake);
    }
}

/// A time that can be waited for, or set: `EINVAL` for what is no time.
pub fn valid(seconds: i64, nanoseconds: i64) -> Result<u64, Errno> {
    match (u64::try_from(seconds), u64::try_from(nanoseconds)) {
        (Ok(sec), Ok(nsec)) if nsec < 1_000_000_000 => Ok(sec.saturating_mul(1_000_000_000).saturating_add(nsec)),
        _ => Err(Errno::EINVAL),
    }
}
