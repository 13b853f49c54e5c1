//! The local APIC: five registers and a one-shot timer. Interrupts are off here, always.

use core::sync::atomic::{AtomicU64, Ordering};

use aurora_machine::{Instant, PhysAddr};
use x86_64::registers::model_specific::Msr;

use crate::layout::DEVICE_MAP;
use crate::{clock, irq};

const ID: u64 = 0x20;
const TASK_PRIORITY: u64 = 0x80;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
const TIMER: u64 = 0x320;
const LINT0: u64 = 0x350;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3e0;

const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;
/// The bus clock by 16: 68 seconds to wrap at QEMU's 1 GHz, 16 ns a step.
const DIVIDE_BY_16: u32 = 3;

/// When the timer will fire, in nanoseconds of `now()`; `u64::MAX` when it is not set.
static ARMED: AtomicU64 = AtomicU64::new(u64::MAX);

/// Where this processor's local APIC is.
pub(crate) fn base() -> PhysAddr {
    const APIC_BASE: u32 = 0x1b;
    // SAFETY: every processor with a local APIC has this register, and every x86-64 processor has one.
    PhysAddr(unsafe { Msr::new(APIC_BASE).read() } & 0x000f_ffff_ffff_f000)
}

/// Where the registers are mapped; set by `init`.
static REGISTERS: AtomicU64 = AtomicU64::new(0);

fn register(offset: u64) -> *mut u32 {
    (REGISTERS.load(Ordering::Relaxed) + offset) as *mut u32
}

fn write(offset: u64, value: u32) {
    // SAFETY: paging.rs mapped the page of registers here; the offsets are those of the manual.
    unsafe { register(offset).write_volatile(value) }
}

fn read(offset: u64) -> u32 {
    // SAFETY: as in `write`.
    unsafe { register(offset).read_volatile() }
}

/// Turns it on; the timer counts, but interrupts nobody until it is armed.
pub(crate) fn init() {
    REGISTERS.store(DEVICE_MAP + base().0, Ordering::Relaxed);
    write(TASK_PRIORITY, 0);
    write(LINT0, MASKED);
    write(SPURIOUS, ENABLED | irq::SPURIOUS as u32);
    write(TIMER_DIVIDE, DIVIDE_BY_16);
    write(TIMER, MASKED | irq::TIMER as u32);
}

/// The number I/O APIC entries name this processor by.
pub(crate) fn id() -> u32 {
    read(ID) >> 24
}

pub(crate) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Starts the counter from its largest value, for calibration.
pub(crate) fn start_counting() {
    write(TIMER_INITIAL, u32::MAX);
}

/// Steps since `start_counting`.
pub(crate) fn counted() -> u32 {
    u32::MAX - read(TIMER_CURRENT)
}

/// Whether the timer fires at `until` or before.
pub(crate) fn is_armed(until: Instant) -> bool {
    let armed = ARMED.load(Ordering::Relaxed);
    armed <= until.0 && armed != u64::MAX
}

/// Sees to it that the timer fires at `until` or before. It fires early when that spares setting it: whoever waits
/// looks at the clock, and arms it again.
pub(crate) fn arm(until: Instant) {
    if is_armed(until) || until == Instant::NEVER {
        return;
    }
    let steps = clock::timer_steps(until.since(clock::now())).clamp(1, u64::from(u32::MAX)) as u32;
    write(TIMER, irq::TIMER as u32);
    write(TIMER_INITIAL, steps);
    ARMED.store(until.0, Ordering::Relaxed);
}

/// The timer's interrupt.
pub(crate) fn timer_fired() {
    ARMED.store(u64::MAX, Ordering::Relaxed);
}
