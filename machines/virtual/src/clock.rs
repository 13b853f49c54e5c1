//! Monotonic time and the fuel that stands for it.
//!
//! A host's clock may be coarse (a browser's goes in steps of 0.1 ms), so between its steps time goes on by instructions
//! retired. What always holds: [`Clock::now`] never goes back.

use core::sync::atomic::{AtomicU64, Ordering};

use aurora_machine::Instant;

/// Where a machine's time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The host's clock.
    Real,
    /// An instruction takes a nanosecond, the kernel [`TRAP_NS`] for each trap, and being idle none: everything about time
    /// is repeatable.
    Virtual {
        /// What `CLOCK_REALTIME` shows at power-on, in nanoseconds since the Unix epoch.
        epoch_ns: u64,
    },
}

/// What the kernel takes for a trap when time is virtual, whatever it does. If that were nothing, programs that mostly call
/// would have turns that seem endless from outside: in one of 4 ms a million calls.
const TRAP_NS: u64 = 200;
/// Assumed until measured, in instructions per millisecond.
const INITIAL_RATE: u64 = 50_000;
/// Fuel is given for at most this long, so that a wrong rate is noticed soon.
const CHUNK_NS: u64 = 500_000;
/// The rate is renewed when this much computing has been measured.
const WINDOW_NS: u64 = 2_000_000;
/// The longest a host's clock is taken to stand still.
const MAX_STEP_NS: u64 = 100_000;
/// A machine that gets no turn for this much longer than it asked for was frozen: that time did not pass in it.
const FROZEN_NS: u64 = 2_000_000_000;

/// The clock. Atomics, because anyone may ask it the time; only the driver's thread changes what it counts by.
pub(crate) struct Clock {
    time: Time,
    /// Added to the host's clock (wrapping), or to the instructions retired.
    offset: AtomicU64,
    /// The latest time told.
    last: AtomicU64,
    /// The host's clock when it last moved, and the instructions retired by then.
    step: AtomicU64,
    step_retired: AtomicU64,
    /// Instructions per millisecond.
    rate: AtomicU64,
    window_ns: AtomicU64,
    window_instructions: AtomicU64,
    /// The host's clock when the machine was last left alone, and for how long it agreed to be.
    left: AtomicU64,
    left_for: AtomicU64,
}

fn get(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}
fn set(cell: &AtomicU64, value: u64) {
    cell.store(value, Ordering::Relaxed);
}

impl Clock {
    pub(crate) fn new(time: Time, host: u64) -> Self {
        let zero = || AtomicU64::new(0);
        let offset = if time == Time::Real { host.wrapping_neg() } else { 0 };
        Self {
            time,
            offset: AtomicU64::new(offset),
            last: zero(),
            step: AtomicU64::new(host),
            step_retired: zero(),
            rate: AtomicU64::new(INITIAL_RATE),
            window_ns: zero(),
            window_instructions: zero(),
            left: AtomicU64::new(host),
            left_for: zero(),
        }
    }

    /// The time, given what the host's clock shows and how many instructions have retired.
    pub(crate) fn now(&self, host: u64, retired: u64) -> Instant {
        let base = match self.time {
            Time::Virtual { .. } => retired,
            Time::Real if host == get(&self.step) => {
                let since = retired.saturating_sub(get(&self.step_retired));
                host.wrapping_add((since.saturating_mul(1_000_000) / get(&self.rate)).min(MAX_STEP_NS))
            }
            Time::Real => {
                set(&self.step, host);
                set(&self.step_retired, retired);
                host
            }
        };
        let now = base.wrapping_add(get(&self.offset));
        Instant(now.max(self.last.fetch_max(now, Ordering::Relaxed)))
    }

    /// The same as a program reads it: never the same twice.
    pub(crate) fn step(&self, host: u64, retired: u64) -> Instant {
        let least = get(&self.last) + 1;
        let now = self.now(host, retired);
        self.last.fetch_max(least, Ordering::Relaxed);
        now.max(Instant(least))
    }

    /// Instructions to run before looking at the clock again when `ns` are left.
    pub(crate) fn fuel(&self, ns: u64) -> u64 {
        match self.time {
            Time::Virtual { .. } => ns.clamp(1, CHUNK_NS),
            Time::Real => (ns.min(CHUNK_NS) * get(&self.rate) / 1_000_000).max(64),
        }
    }

    /// A program trapped.
    pub(crate) fn trapped(&self) {
        if let Time::Virtual { .. } = self.time {
            self.offset.fetch_add(TRAP_NS, Ordering::Relaxed);
        }
    }

    /// Learns the rate from `instructions` that ran between two readings of the host's clock.
    pub(crate) fn calibrate(&self, instructions: u64, before: u64, after: u64) {
        let ns = get(&self.window_ns) + after.saturating_sub(before);
        let n = get(&self.window_instructions) + instructions;
        let full = ns >= WINDOW_NS;
        if full {
            let measured = n.saturating_mul(1_000_000) / ns;
            set(&self.rate, ((get(&self.rate) + measured) / 2).max(1000));
        }
        set(&self.window_ns, if full { 0 } else { ns });
        set(&self.window_instructions, if full { 0 } else { n });
    }

    /// Nothing runs before `until`.
    pub(crate) fn idle(&self, until: Instant, host: u64, retired: u64) {
        let now = self.now(host, retired);
        match self.time {
            Time::Virtual { .. } if until != Instant::NEVER => {
                self.offset.fetch_add(until.since(now), Ordering::Relaxed);
            }
            Time::Virtual { .. } => {}
            Time::Real => self.leave(host, until.since(now)),
        }
    }

    /// The machine is left alone for `ns`.
    pub(crate) fn leave(&self, host: u64, ns: u64) {
        set(&self.left, host);
        set(&self.left_for, ns);
    }

    /// The machine gets a turn again. If it is much too late, or in another host whose clock shows something else, time
    /// goes on from where it should have been.
    pub(crate) fn enter(&self, host: u64) {
        let (left, asked) = (get(&self.left), get(&self.left_for));
        let away = host.wrapping_sub(left);
        let frozen = host < left || away > asked.saturating_add(FROZEN_NS);
        if self.time == Time::Real && frozen {
            // A machine that waits for input only has no timer that could be late: its clock stands meanwhile.
            let due = if asked > u64::MAX / 2 { 0 } else { asked };
            set(&self.offset, get(&self.last).wrapping_add(due).wrapping_sub(host));
            set(&self.step, host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_steps_of_a_coarse_clock_time_goes_on_and_never_back() {
        let clock = Clock::new(Time::Real, 1000);
        assert_eq!(clock.now(1000, 0), Instant(0));
        assert_eq!(clock.now(1000, 50), Instant(1000));
        assert_eq!(clock.now(1000, u64::MAX / 2), Instant(MAX_STEP_NS));
        assert_eq!(clock.now(1500, 60), Instant(MAX_STEP_NS));
        assert_eq!(clock.now(1000 + 2 * MAX_STEP_NS, 70), Instant(2 * MAX_STEP_NS));
    }

    #[test]
    fn a_frozen_or_restored_machine_goes_on_from_where_it_was() {
        let clock = Clock::new(Time::Real, 0);
        let second = 1_000_000_000;
        clock.now(second, 0);
        clock.leave(second, 10);
        clock.enter(3600 * second);
        assert_eq!(clock.now(3600 * second, 0), Instant(second + 10));
        clock.leave(3600 * second, 0);
        clock.enter(5);
        assert_eq!(clock.now(6, 0), Instant(second + 11));
    }

    #[test]
    fn being_late_by_less_is_time_that_passed() {
        let clock = Clock::new(Time::Real, 0);
        clock.leave(0, 5);
        clock.enter(FROZEN_NS);
        assert_eq!(clock.now(FROZEN_NS, 0), Instant(FROZEN_NS));
    }

    #[test]
    fn virtual_time_is_instructions_and_traps_and_skips_idleness() {
        let clock = Clock::new(Time::Virtual { epoch_ns: 0 }, 77);
        assert_eq!(clock.now(1 << 40, 10), Instant(10));
        clock.idle(Instant(500), 0, 10);
        assert_eq!(clock.now(0, 10), Instant(500));
        assert_eq!(clock.now(0, 12), Instant(502));
        clock.trapped();
        assert_eq!(clock.now(0, 12), Instant(502 + TRAP_NS));
    }

    #[test]
    fn a_program_never_reads_the_same_time_twice_nor_one_that_others_are_behind() {
        let clock = Clock::new(Time::Real, 0);
        assert_eq!(clock.step(10, 0), Instant(10));
        assert_eq!(clock.step(10, 0), Instant(11));
        assert_eq!(clock.now(10, 0), Instant(11));
        assert_eq!(clock.step(90, 0), Instant(90));
    }

    #[test]
    fn fuel_follows_the_measured_rate() {
        let clock = Clock::new(Time::Real, 0);
        for i in 0..40 {
            clock.calibrate(200_000, i * 2_000_000, (i + 1) * 2_000_000);
        }
        let fuel = clock.fuel(100_000);
        assert!((9_900..=10_100).contains(&fuel), "{fuel}");
    }
}
