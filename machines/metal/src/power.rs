//! How a machine ends: off, anew, or broken.

use aurora_machine::PhysAddr;
use x86_64::instructions::port::Port;
use x86_64::instructions::{hlt, interrupts};

use crate::layout::DEVICE_MAP;
use crate::serial;

/// The ACPI sleep control of QEMU's microvm (its generic event device's register block).
pub(crate) const MICROVM_SLEEP: PhysAddr = PhysAddr(0xfea0_0000);
const MICROVM_SLEEP_OFFSET: u64 = 0x200;
/// Sleep type 5 and the bit that makes it so (ACPI 6.4, section 4.8.3.7).
const SLEEP_NOW: u8 = 5 << 2 | 1 << 5;

/// Turns the machine off, after all output has left it.
pub(crate) fn off() -> ! {
    serial::drain();
    // PM1a_CNT of QEMU's q35 and pc, of older pc firmware, and of VirtualBox: SLP_EN with the type that means off.
    for port in [0x604, 0xb004] {
        // SAFETY: nothing else answers at these ports.
        unsafe { Port::<u16>::new(port).write(0x2000) };
    }
    // SAFETY: as above.
    unsafe { Port::<u16>::new(0x4004).write(0x3400) };
    // SAFETY: paging.rs mapped this page; on machines without the device the write goes nowhere.
    unsafe { ((DEVICE_MAP + MICROVM_SLEEP.0 + MICROVM_SLEEP_OFFSET) as *mut u8).write_volatile(SLEEP_NOW) };
    halt()
}

/// Starts the machine anew: the chip set's reset, the keyboard controller's, and a fault nobody can handle.
pub(crate) fn restart() -> ! {
    serial::drain();
    // SAFETY: the machine ends here.
    unsafe {
        Port::<u8>::new(0xcf9).write(6);
        Port::<u8>::new(0x64).write(0xfe);
        let no_gates = x86_64::structures::DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
        x86_64::instructions::tables::lidt(&no_gates);
    }
    x86_64::instructions::interrupts::int3();
    halt()
}

/// Stops after a failure. Under `-device isa-debug-exit` (at its usual port) QEMU exits with status 1.
pub(crate) fn fail() -> ! {
    // SAFETY: QEMU's debug exit device, or nothing.
    unsafe { Port::<u32>::new(0xf4).write(0) };
    halt()
}

fn halt() -> ! {
    interrupts::disable();
    loop {
        hlt();
    }
}
