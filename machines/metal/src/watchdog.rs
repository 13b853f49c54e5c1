//! A kernel that goes round in circles with interrupts off is noticed by an interrupt that cannot be off: the interval
//! timer, through the I/O APIC, as an NMI eighteen times a second.

use core::sync::atomic::{AtomicU32, Ordering};

use x86_64::instructions::port::Port;

use crate::irq;

/// Interrupts without a sign of life after which the kernel counts as hung: ten seconds.
const PATIENCE: u32 = 182;
/// The input the timer has on PCs.
const INPUT: u32 = 2;

static SILENT: AtomicU32 = AtomicU32::new(0);

/// Starts to watch.
pub(crate) fn start() {
    const COMMAND: u16 = 0x43;
    const CHANNEL: u16 = 0x40;
    // SAFETY: channel 0 of the interval timer, which nobody else uses: a pulse each time it has counted as far as it can.
    unsafe {
        Port::<u8>::new(COMMAND).write(0x34);
        Port::<u8>::new(CHANNEL).write(0);
        Port::<u8>::new(CHANNEL).write(0);
    }
    alive();
    irq::route_as_nmi(INPUT);
}

/// The kernel got somewhere: back to its loop, or to a program.
pub(crate) fn alive() {
    SILENT.store(0, Ordering::Relaxed);
}

/// The interrupt, in the kernel. Panics when it has hung.
pub(crate) fn tick(rip: u64) {
    if SILENT.fetch_add(1, Ordering::Relaxed) == PATIENCE {
        panic!("the kernel has hung for ten seconds, at {:#x}", crate::layout::link_address(rip));
    }
}
