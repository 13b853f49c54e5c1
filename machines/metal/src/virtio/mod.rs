//! Virtio devices (Virtual I/O Device 1.2, OASIS), by PCI or at addresses the command line names. Disks are all we use.
//!
//! The queue is ours and not a library's: those take slices, and there must be no Rust reference into frames that
//! programs can write; nor do they give a device's message vectors.

mod block;
mod memory;
mod mmio;
mod pci;
mod queue;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_machine::PhysAddr;

pub(crate) use block::VirtioDisk;
use memory::Registers;

/// What all ways to a device have in common.
trait Transport: Send {
    /// What the device can do.
    fn features(&mut self) -> u64;
    /// Tells it what we use of that.
    fn accept(&mut self, features: u64);
    fn status(&self) -> u8;
    fn set_status(&mut self, status: u8);
    /// Most entries of its first queue.
    fn queue_size(&mut self) -> u16;
    /// Where that is; from now on the device looks there.
    fn set_queue(&mut self, size: u16, places: &queue::Places);
    /// There is something new in the queue.
    fn notify(&self);
    /// An interrupt has been seen.
    fn acknowledge(&self);
    /// Whether it interrupts at all.
    fn interrupts(&self) -> bool;
    /// Reads the device's own registers.
    fn config(&self, offset: usize) -> u32;
    /// Changes when those do.
    fn generation(&self) -> u32;
}

/// Maps device registers.
type Map<'a> = &'a mut dyn FnMut(PhysAddr, u64) -> Registers;

/// Registers that `map` made visible.
pub(crate) fn registers(at: PhysAddr, len: u64) -> Registers {
    Registers::new(at, len)
}

/// The disks, those on PCI first. A line for each that cannot be used.
pub(crate) fn disks(command_line: &str, map: Map<'_>) -> (Vec<Arc<VirtioDisk>>, Vec<String>) {
    let (mut disks, mut complaints) = (Vec::new(), Vec::new());
    let mut add = |place: String, transport: Result<Option<Box<dyn Transport>>, &'static str>| {
        let disk = match transport {
            Ok(Some(transport)) => VirtioDisk::start(transport),
            Ok(None) => return,
            Err(why) => Err(why),
        };
        match disk {
            Ok(disk) => disks.push(Arc::new(disk)),
            Err(why) => complaints.push(alloc::format!("virtio disk {place}: {why}")),
        }
    };
    for function in crate::pci::functions() {
        let place = alloc::format!("{function}");
        add(place, pci::open(function, map));
    }
    for device in command_line.split_ascii_whitespace().filter_map(mmio::Described::parse) {
        add(alloc::format!("at {:#x}", device.base), mmio::open(&device, map));
    }
    (disks, complaints)
}
