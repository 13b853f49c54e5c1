//! Monotonic time.

use core::ops::{Add, Sub};

/// Nanoseconds since the machine started. Never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// Later than anything that will happen.
    pub const NEVER: Self = Self(u64::MAX);

    /// Nanoseconds from `earlier` to here; 0 when `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
impl Add<u64> for Instant {
    type Output = Self;
    /// `ns` later, at most [`Instant::NEVER`].
    fn add(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }
}
impl Sub<Instant> for Instant {
    type Output = u64;
    fn sub(self, other: Self) -> u64 {
        self.since(other)
    }
}

/// What the time-stamp counter tells a program that reads it with `RDTSC`: the time [`crate::Machine::now`] would tell is
/// the counter, less `start`, times `ns_per_step`, divided by 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserClock {
    /// The counter at [`Instant`] 0.
    pub start: u64,
    /// Nanoseconds of a step, times 2^32; never 0.
    pub ns_per_step: u64,
}
