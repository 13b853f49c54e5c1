//! Aurora on bare x86-64: a machine for the kernel, made of the processor itself.
//!
//! The boot processor runs everything, on one stack. What always holds: interrupts are off in the kernel except while it
//! is idle, so a handler only ever interrupts a program or nothing; it acknowledges, sets a bit, and never allocates.
#![no_std]
#![no_main]

extern crate alloc;

mod apic;
mod bytes;
mod clock;
mod display;
mod entropy;
mod extended;
mod gdt;
mod heap;
mod irq;
mod layout;
mod limine;
mod machine;
mod paging;
mod pci;
mod power;
mod ps2;
mod report;
mod rtc;
mod serial;
mod symbols;
mod trap;
mod user;
mod virtio;
mod watchdog;

use alloc::sync::Arc;
use core::arch::global_asm;

use aurora_handover::{Handover, HandoverError, Window, multiboot2, pvh};
use aurora_kernel::{Kernel, Next};
use aurora_machine::{BootInfo, Machine};
use machine::Metal;

global_asm!(include_str!("boot.s"), options(att_syntax));

/// How long the kernel runs before the ports are looked at again.
const SLICE_NS: u64 = 4_000_000;

/// Where boot.s arrives: 64-bit mode, the higher half, interrupts off. `left` is what the loader left, `image_map` where
/// the image shows physical address 0.
#[unsafe(no_mangle)]
extern "C" fn kernel_start(left: u64, protocol: u64, image_map: u64, random: u64) -> ! {
    const MULTIBOOT2: u64 = 1;
    serial::init();
    layout::set_image_map(image_map);
    // SAFETY: boot.s maps the first 4 GiB there, and nobody writes to what the loader left until it has been read.
    let window = unsafe { Window::new(layout::BOOT_MAP as *const u8, paging::BOOT_MAPPED) };
    let read = if protocol == MULTIBOOT2 { multiboot2::read } else { pvh::read };
    start(&window, read(&window, left), random)
}

/// From here on it does not matter who loaded us.
fn start(window: &Window, handover: Result<Handover, HandoverError>, random: u64) -> ! {
    gdt::load();
    trap::load();
    let (machine, info) = match handover {
        Ok(handover) => machine::set_up(window, handover, random),
        Err(error) => report::cannot_start(error.0),
    };
    trap::enable_extended_state();
    let machine = Arc::new(machine);
    report::prepare();
    if info.command_line.split_ascii_whitespace().any(|word| word == "conformance") {
        report::conformance(machine);
    }
    drive(machine, info)
}

/// Boots the kernel and gives it the processor until it is done with the machine.
fn drive(machine: Arc<Metal>, info: BootInfo) -> ! {
    let kernel = match Kernel::boot(machine.clone(), info) {
        Ok(kernel) => kernel,
        Err(error) => report::cannot_start(&error.0),
    };
    report::watch(&kernel);
    for complaint in machine.complaints() {
        aurora_kernel::kerror!(kernel, "{complaint}");
    }
    watchdog::start();
    if kernel.command_line().split_ascii_whitespace().any(|word| word == "hang") {
        report::hang();
    }
    loop {
        watchdog::alive();
        let pending = irq::take_pending();
        for port in pending.ports() {
            kernel.port_ready(port);
        }
        if machine.disks_have_news(pending) {
            kernel.disks_ready();
        }
        match kernel.run(machine.now() + SLICE_NS) {
            Next::Again => {}
            Next::Idle { until } => machine.idle(until),
            Next::PowerOff => power::off(),
            Next::Restart => power::restart(),
        }
    }
}
