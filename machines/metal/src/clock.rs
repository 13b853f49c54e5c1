//! Time: the TSC, measured once against the PIT, for `now`; the CMOS clock, read once, for the date.
//!
//! What always holds: `now` never goes back, and counts from the moment `init` was called.

use aurora_machine::{Instant, UserClock};
use core::arch::x86_64::_rdtsc;
use spin::Once;
use x86_64::instructions::port::Port;

use crate::{apic, rtc};

/// Steps of the PIT in a second.
const PIT_HZ: u64 = 1_193_182;
/// How long to measure: 15 ms, a third of what the PIT's 16 bits can count.
const MEASURE: u16 = (PIT_HZ * 15 / 1000) as u16;
const NS: u64 = 1_000_000_000;

struct Clock {
    start: u64,
    /// Nanoseconds of a TSC step, times 2^32.
    ns_per_step: u64,
    /// APIC timer steps of a nanosecond, times 2^32.
    timer_per_ns: u64,
    realtime_start: u64,
}

/// How long the date may be looked for.
const DATE_PATIENCE_NS: u64 = 2_000_000_000;

static CLOCK: Once<Clock> = Once::new();

/// The processor's cycle counter.
pub(crate) fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC, and the kernel may use it.
    unsafe { _rdtsc() }
}

/// Measures the processor's clocks. Needs the local APIC.
pub(crate) fn init() {
    CLOCK.call_once(measure);
}

fn measure() -> Clock {
    let start = tsc();
    let mut pit = Pit::start();
    apic::start_counting();
    let first = pit.sample();
    while pit.count().wrapping_sub(first.pit) < MEASURE {}
    let last = pit.sample();
    let pit_steps = u64::from(last.pit.wrapping_sub(first.pit));
    let tsc_steps = last.tsc - first.tsc;
    let timer_steps = u64::from(last.timer - first.timer);
    assert!(tsc_steps > 0 && timer_steps > 0, "the processor's clocks stand still");
    let ns = u128::from(pit_steps) * u128::from(NS) / u128::from(PIT_HZ);
    let date_by = last.tsc + (u128::from(tsc_steps) * u128::from(DATE_PATIENCE_NS) / ns) as u64;
    Clock {
        start,
        ns_per_step: ((ns << 32) / u128::from(tsc_steps)) as u64,
        timer_per_ns: ((u128::from(timer_steps) << 32) / ns) as u64,
        realtime_start: rtc::read(|| tsc() < date_by).unwrap_or(0) * NS,
    }
}

/// Time since `init`; zero before.
pub(crate) fn now() -> Instant {
    let Some(clock) = CLOCK.get() else { return Instant(0) };
    Instant(scale(tsc().saturating_sub(clock.start), clock.ns_per_step))
}

/// The same for programs: they read the counter we read, on the one processor there is.
pub(crate) fn user_clock() -> Option<UserClock> {
    CLOCK.get().map(|clock| UserClock { start: clock.start, ns_per_step: clock.ns_per_step })
}

/// Nanoseconds since the Unix epoch; from the epoch itself when the machine has no CMOS clock.
pub(crate) fn realtime_ns() -> u64 {
    CLOCK.get().map_or(0, |c| c.realtime_start) + now().0
}

/// Steps of the APIC timer in `ns` nanoseconds.
pub(crate) fn timer_steps(ns: u64) -> u64 {
    CLOCK.get().map_or(0, |c| scale(ns, c.timer_per_ns))
}

fn scale(value: u64, by: u64) -> u64 {
    ((u128::from(value) * u128::from(by)) >> 32) as u64
}

/// All clocks at one moment.
struct Sample {
    pit: u16,
    tsc: u64,
    timer: u32,
}

/// Channel 2 of the interval timer, which raises no interrupt, counting freely.
struct Pit {
    command: Port<u8>,
    channel: Port<u8>,
}

impl Pit {
    fn start() -> Self {
        let mut pit = Self { command: Port::new(0x43), channel: Port::new(0x42) };
        let mut control: Port<u8> = Port::new(0x61);
        // SAFETY: the ports of the interval timer and its gate: gate on, speaker off, mode 0, count from 0xffff.
        unsafe {
            let old = control.read();
            control.write(old & !2 | 1);
            pit.command.write(0xb0);
            pit.channel.write(0xff);
            pit.channel.write(0xff);
        }
        pit
    }

    /// Steps counted so far, modulo 2^16.
    fn count(&mut self) -> u16 {
        // SAFETY: latches the count and reads it, low byte first.
        unsafe {
            self.command.write(0x80);
            let low = self.channel.read();
            let high = self.channel.read();
            !u16::from_le_bytes([low, high])
        }
    }

    /// Reads all clocks; of a few tries, the one that was interrupted least.
    fn sample(&mut self) -> Sample {
        let mut best = None;
        for _ in 0..5 {
            let before = tsc();
            let pit = self.count();
            let timer = apic::counted();
            let took = tsc() - before;
            if best.as_ref().is_none_or(|(least, _)| took < *least) {
                best = Some((took, Sample { pit, tsc: before + took / 2, timer }));
            }
        }
        best.map_or(Sample { pit: 0, tsc: 0, timer: 0 }, |(_, sample)| sample)
    }
}
