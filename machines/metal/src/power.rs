//! How a machine ends: off, anew, or broken. ACPI's tables say how the first two are done.

use aurora_handover::acpi::{Command, Register, Tables};
use aurora_machine::PhysAddr;
use spin::Once;
use x86_64::instructions::port::Port;
use x86_64::instructions::{hlt, interrupts};

use crate::layout::DEVICE_MAP;
use crate::serial;

static TABLES: Once<Tables> = Once::new();

/// Remembers what the tables say. Returns the registers that have to be mapped for it.
pub(crate) fn find_registers(tables: &Tables) -> impl Iterator<Item = PhysAddr> + use<> {
    TABLES.call_once(|| *tables);
    [tables.off, tables.off_too, tables.reset].into_iter().flatten().filter_map(|command| match command.register {
        Register::Memory(at) => Some(at),
        Register::Port(_) => None,
    })
}

/// Turns the machine off, after all output has left it.
pub(crate) fn off() -> ! {
    serial::drain();
    if let Some(tables) = TABLES.get() {
        for command in [tables.off, tables.off_too].into_iter().flatten() {
            give(command, !tables.hardware_reduced);
        }
    }
    halt()
}

/// Starts the machine anew: as ACPI says, else by the chip set's reset, the keyboard controller's, and a fault nobody can
/// handle.
pub(crate) fn restart() -> ! {
    serial::drain();
    if let Some(command) = TABLES.get().and_then(|tables| tables.reset) {
        give(command, false);
    }
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

fn give(command: Command, wide: bool) {
    // SAFETY: the firmware says this register ends the machine, and its page is mapped if it is in memory.
    unsafe {
        match command.register {
            Register::Port(port) if wide => Port::<u16>::new(port).write(command.value),
            Register::Port(port) => Port::<u8>::new(port).write(command.value as u8),
            Register::Memory(at) => ((DEVICE_MAP + at.0) as *mut u8).write_volatile(command.value as u8),
        }
    }
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
