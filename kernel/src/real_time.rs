//! The real-time clock: the monotonic one and what is added to it, so that both go on evenly and a program can compute
//! either by itself.
//!
//! The machine's surroundings have a clock, too, which people set and networks correct, and which goes on while a machine
//! is frozen. It is looked at now and then; when the two are apart by more than anybody would overlook, ours follows.

use core::sync::atomic::{AtomicU64, Ordering};

use aurora_machine::{Instant, Machine};

/// What the coarse clocks step by, and times of files: a tick where there are 250 in a second, as Debian's Linux has.
pub(crate) const TICK_NS: u64 = 4_000_000;
/// So far the surroundings' clock may go its own way. A browser shows whole milliseconds only, and not always soon.
const TOLERANCE_NS: u64 = 10_000_000;
/// So often it is looked at.
const INTERVAL_NS: u64 = 10_000_000;
/// A look that took longer says nothing: the machine was held up between one clock and the other.
const PROMPT_NS: u64 = 1_000_000;

/// What a coarse clock shows: the last tick.
pub(crate) fn coarse(ns: u64) -> u64 {
    ns - ns % TICK_NS
}

/// Nanoseconds from the monotonic clock to the real-time clock, modulo 2^64.
pub(crate) struct RealTime {
    /// What ours is.
    ahead: AtomicU64,
    /// What the surroundings' was when ours followed it last; clock_settime(2) changes only ours.
    surroundings: AtomicU64,
    next_look: AtomicU64,
}

impl RealTime {
    /// Starts with the machine's.
    pub(crate) fn new(machine: &dyn Machine) -> Self {
        let now = machine.now().0;
        let ahead = machine.realtime_ns().wrapping_sub(now);
        let next_look = AtomicU64::new(now + INTERVAL_NS);
        Self { ahead: AtomicU64::new(ahead), surroundings: AtomicU64::new(ahead), next_look }
    }

    /// How far it is ahead of the monotonic clock.
    pub(crate) fn ahead(&self) -> u64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// The time at a moment, in nanoseconds since the Unix epoch.
    pub(crate) fn at(&self, now: Instant) -> u64 {
        now.0.wrapping_add(self.ahead())
    }

    /// Sets it, so that it shows `ns` at a moment.
    pub(crate) fn set(&self, now: Instant, ns: u64) {
        self.ahead.store(ns.wrapping_sub(now.0), Ordering::Relaxed);
    }

    /// Looks at the surroundings' clock if it is time to; whether ours was set by it.
    pub(crate) fn follow(&self, machine: &dyn Machine) -> bool {
        let now = machine.now();
        if now.0 < self.next_look.load(Ordering::Relaxed) {
            return false;
        }
        self.next_look.store((now + INTERVAL_NS).0, Ordering::Relaxed);
        let theirs = machine.realtime_ns().wrapping_sub(now.0);
        machine.now().since(now) <= PROMPT_NS && self.step_to(theirs)
    }

    /// Moves as the surroundings' clock moved, if that is much.
    fn step_to(&self, theirs: u64) -> bool {
        let moved = theirs.wrapping_sub(self.surroundings.load(Ordering::Relaxed)).cast_signed();
        if moved.unsigned_abs() < TOLERANCE_NS {
            return false;
        }
        self.surroundings.store(theirs, Ordering::Relaxed);
        self.ahead.fetch_add(moved.cast_unsigned(), Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn it_follows_its_surroundings_when_they_are_far_apart_and_keeps_what_was_set() {
        let clock = RealTime { ahead: 100.into(), surroundings: 100.into(), next_look: 0.into() };
        assert!(!clock.step_to(100 + TOLERANCE_NS - 1));
        assert_eq!(clock.at(Instant(SECOND)), SECOND + 100);
        clock.set(Instant(SECOND), 50 * SECOND);
        assert_eq!(clock.at(Instant(2 * SECOND)), 51 * SECOND);
        assert!(clock.step_to(100 + 3 * SECOND));
        assert_eq!(clock.at(Instant(2 * SECOND)), 54 * SECOND);
        assert!(clock.step_to(100u64.wrapping_sub(SECOND)));
        assert_eq!(clock.at(Instant(2 * SECOND)), 50 * SECOND);
    }
}
