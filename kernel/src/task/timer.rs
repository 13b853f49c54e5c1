//! Timers: wake a task at a time.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::future::poll_fn;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Poll, Waker};

use aurora_machine::{Instant, Machine};

use crate::sync::{Mutex, WaitQueue};
use crate::task::interval::IntervalTimer;

/// All armed timers, by time.
#[derive(Default)]
pub struct Timers {
    armed: Mutex<BTreeMap<(Instant, u64), Waker>>,
    next_key: AtomicU64,
    /// Timers that run by the real-time clock: setting it moves them.
    real: Mutex<Vec<Weak<IntervalTimer>>>,
    /// Woken when the real-time clock was set.
    pub clock_set: WaitQueue,
}

impl Timers {
    /// Wakes everything due at `now`.
    pub fn fire(&self, now: Instant) {
        loop {
            let due = {
                let mut armed = self.armed.lock();
                match armed.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            due.wake();
        }
    }

    /// Tells `timer` when the real-time clock is set.
    pub fn follow_clock(&self, timer: &Arc<IntervalTimer>) {
        let mut real = self.real.lock();
        real.retain(|t| t.strong_count() > 0);
        real.push(Arc::downgrade(timer));
    }

    /// The real-time clock was set.
    pub fn clock_was_set(&self) {
        let timers: Vec<_> = self.real.lock().iter().filter_map(Weak::upgrade).collect();
        timers.iter().for_each(|t| t.clock_was_set());
        self.clock_set.wake_all();
    }

    /// When the next one is due.
    pub fn next(&self) -> Instant {
        self.armed.lock().first_key_value().map_or(Instant::NEVER, |((at, _), _)| *at)
    }

    /// Wakes `waker` at a time, unless disarmed before.
    pub fn arm(&self, at: Instant, waker: Waker) -> TimerKey {
        let key = TimerKey(at, self.next_key.fetch_add(1, Ordering::Relaxed));
        if at != Instant::NEVER {
            self.armed.lock().insert((key.0, key.1), waker);
        }
        key
    }

    /// Forgets what was armed.
    pub fn disarm(&self, key: TimerKey) {
        let gone = self.armed.lock().remove(&(key.0, key.1));
        drop(gone);
    }

    /// Sleeps until `at`.
    pub async fn sleep_until(&self, machine: &dyn Machine, at: Instant) {
        let mut timer = Sleep { timers: self, key: None };
        poll_fn(|cx| {
            if machine.now() >= at {
                return Poll::Ready(());
            }
            match timer.key {
                Some(key) => drop(self.armed.lock().insert((key.0, key.1), cx.waker().clone())),
                None => timer.key = Some(self.arm(at, cx.waker().clone())),
            }
            Poll::Pending
        })
        .await;
    }
}

/// Names an armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerKey(Instant, u64);

/// A sleeper's armed timer, disarmed when dropped.
struct Sleep<'a> {
    timers: &'a Timers,
    key: Option<TimerKey>,
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.timers.disarm(key);
        }
    }
}

/// A process's `ITIMER_REAL`, setitimer(2): a job of the kernel sends SIGALRM when it is due.
#[derive(Default)]
pub struct Alarm {
    /// Changes whenever it is set anew, so that an older job knows it is out of date.
    generation: AtomicU64,
    due: AtomicU64,
    period: AtomicU64,
}

impl Alarm {
    /// When it is due (`None` if not armed), and its period in nanoseconds.
    pub fn get(&self) -> (Option<Instant>, u64) {
        let due = self.due.load(Ordering::Relaxed);
        ((due != 0).then_some(Instant(due)), self.period.load(Ordering::Relaxed))
    }

    /// Arms or disarms it; returns the number of this setting.
    pub fn set(&self, due: Option<Instant>, period: u64) -> u64 {
        self.due.store(due.map_or(0, |d| d.0.max(1)), Ordering::Relaxed);
        self.period.store(period, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether the setting `generation` is still in force.
    pub fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    /// Moves on to the next period; `None` if it was a single shot.
    pub fn advance(&self, now: Instant) -> Option<Instant> {
        let period = self.period.load(Ordering::Relaxed);
        if period == 0 {
            self.due.store(0, Ordering::Relaxed);
            return None;
        }
        let mut due = Instant(self.due.load(Ordering::Relaxed));
        let missed = now.since(due) / period + 1;
        due = due + missed.saturating_mul(period);
        self.due.store(due.0, Ordering::Relaxed);
        Some(due)
    }
}
