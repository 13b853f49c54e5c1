//! Interrupts from devices: vectors, the I/O APIC that routes them, and what is pending for the kernel.

use core::sync::atomic::{AtomicU8, Ordering};

use aurora_handover::acpi::Tables;
use aurora_machine::{PhysAddr, Port};
use spin::Once;
use x86_64::instructions::port::Port as IoPort;

use crate::layout::DEVICE_MAP;
use crate::serial::Line;
use crate::{apic, entropy, ps2, serial};

/// The timer of this processor.
pub(crate) const TIMER: u64 = 0xf0;
/// An interrupt the local APIC took back.
pub(crate) const SPURIOUS: u64 = 0xff;
/// A disk, whichever.
pub(crate) const DISKS: u64 = 0x28;
const COM1: u64 = 0x24;
const COM2: u64 = 0x23;
const KEYBOARD: u64 = 0x21;

/// The first I/O APIC. Its inputs 1, 3 and 4 are the ISA lines of the keyboard and the serial ports.
static IO_APIC: Once<PhysAddr> = Once::new();

/// One bit per port that has something for the kernel, and one for the disks.
static PENDING: AtomicU8 = AtomicU8::new(0);
const DISKS_BIT: u8 = 1 << 7;

const fn bit(port: Port) -> u8 {
    1 << port as u8
}

/// Handles an interrupt, whether it came in user mode or while idle.
pub(crate) fn handle(vector: u64) {
    entropy::stir();
    match vector {
        TIMER => apic::timer_fired(),
        COM1 => pend(Port::Console, serial::interrupt(Line::Console)),
        COM2 => pend(Port::Link, serial::interrupt(Line::Link)),
        KEYBOARD => pend(Port::Keyboard, ps2::interrupt()),
        DISKS => drop(PENDING.fetch_or(DISKS_BIT, Ordering::Relaxed)),
        // Not acknowledged, by the manual.
        SPURIOUS => return,
        _ => {}
    }
    apic::end_of_interrupt();
}

/// Where ACPI says it is, else where PCs have it.
pub(crate) fn find_io_apic(tables: &Tables) -> PhysAddr {
    *IO_APIC.call_once(|| tables.io_apic.unwrap_or(PhysAddr(0xfec0_0000)))
}

fn pend(port: Port, ready: bool) {
    if ready {
        PENDING.fetch_or(bit(port), Ordering::Relaxed);
    }
}

/// Whether a port or a disk waits for the kernel.
pub(crate) fn is_pending() -> bool {
    PENDING.load(Ordering::Relaxed) != 0
}

/// What waits for the kernel.
#[derive(Clone, Copy)]
pub(crate) struct Pending(u8);

impl Pending {
    /// The ports.
    pub(crate) fn ports(self) -> impl Iterator<Item = Port> {
        [Port::Console, Port::Link, Port::Keyboard].into_iter().filter(move |&port| self.0 & bit(port) != 0)
    }

    /// Whether a disk does.
    pub(crate) fn disks(self) -> bool {
        self.0 & DISKS_BIT != 0
    }
}

/// Takes what waits for the kernel.
pub(crate) fn take_pending() -> Pending {
    Pending(PENDING.swap(0, Ordering::Relaxed))
}

/// Silences the old interrupt controllers and routes the serial lines to this processor.
pub(crate) fn init() {
    mask_pics();
    route(4, COM1);
    route(3, COM2);
    if ps2::init() {
        route(1, KEYBOARD);
        // What was typed while nobody listened would keep the edge from coming.
        pend(Port::Keyboard, ps2::interrupt());
    }
}

/// The 8259s could still raise a spurious interrupt: it must not look like an exception.
fn mask_pics() {
    let writes: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, 0x20), // vectors from 0x20 and 0x28 on
        (0xa1, 0x28),
        (0x21, 4), // the second is on line 2 of the first
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff), // all masked
        (0xa1, 0xff),
    ];
    for (port, value) in writes {
        // SAFETY: the initialisation sequence of the 8259, whose ports exist or are ignored.
        unsafe { IoPort::new(port).write(value) };
    }
}

/// Sends an edge-triggered input of the I/O APIC to this processor as `vector`.
fn route(input: u32, vector: u64) {
    let entry = 0x10 + input * 2;
    write_io_apic(entry + 1, apic::id() << 24);
    write_io_apic(entry, vector as u32);
}

/// Sends a disk's input to this processor; whether there is such an input.
pub(crate) fn route_disk(input: u32) -> bool {
    /// Those of the serial lines and the keyboard are taken, and an I/O APIC has this many.
    const TAKEN: [u32; 3] = [1, 3, 4];
    const INPUTS: u32 = 24;
    let is_free = input < INPUTS && !TAKEN.contains(&input);
    if is_free {
        route(input, DISKS);
    }
    is_free
}

/// Sends an edge-triggered input to this processor as an NMI.
pub(crate) fn route_as_nmi(input: u32) {
    const NMI: u32 = 4 << 8;
    let entry = 0x10 + input * 2;
    write_io_apic(entry + 1, apic::id() << 24);
    write_io_apic(entry, NMI);
}

fn write_io_apic(register: u32, value: u32) {
    let Some(at) = IO_APIC.get() else { return };
    let base = (DEVICE_MAP + at.0) as *mut u32;
    // SAFETY: paging.rs mapped the I/O APIC here: an index register, and 16 bytes further a window on what it names.
    unsafe {
        base.write_volatile(register);
        base.add(4).write_volatile(value);
    }
}
