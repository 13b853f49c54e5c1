//! Virtio at addresses of memory (section 4.2), for machines without PCI. `virtio_mmio.device=SIZE@ADDRESS:INTERRUPT` on the
//! command line says where, as Linux has it and QEMU's microvm writes it.

use alloc::boxed::Box;

use aurora_machine::PhysAddr;

use super::memory::Registers;
use super::queue::Places;
use super::{Map, Transport};
use crate::irq;

const MAGIC: usize = 0x00;
const VERSION: usize = 0x04;
const DEVICE: usize = 0x08;
const DEVICE_FEATURES: usize = 0x10;
const DEVICE_FEATURES_SELECT: usize = 0x14;
const DRIVER_FEATURES: usize = 0x20;
const DRIVER_FEATURES_SELECT: usize = 0x24;
const QUEUE_SELECT: usize = 0x30;
const QUEUE_LARGEST: usize = 0x34;
const QUEUE_SIZE: usize = 0x38;
const QUEUE_READY: usize = 0x44;
const QUEUE_NOTIFY: usize = 0x50;
const INTERRUPT_STATUS: usize = 0x60;
const INTERRUPT_ACKNOWLEDGE: usize = 0x64;
const STATUS: usize = 0x70;
const QUEUE_PLACES: usize = 0x80;
const GENERATION: usize = 0xfc;
const CONFIG: usize = 0x100;

const VIRT: u32 = 0x7472_6976;
const DISK: u32 = 2;

/// A device as the command line has it.
pub(super) struct Described {
    pub(super) base: u64,
    len: u64,
    interrupt: u32,
}

impl Described {
    /// Reads a word of the command line; `None` if it is another one.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let rest = word.strip_prefix("virtio_mmio.device=")?;
        let (len, rest) = rest.split_once('@')?;
        let mut parts = rest.split(':');
        let (base, interrupt) = (number(parts.next()?)?, number(parts.next()?)?);
        let len = number(len)?;
        let sane = base.is_multiple_of(4) && (CONFIG as u64..=1 << 20).contains(&len) && base < 1 << 46;
        sane.then_some(Self { base, len, interrupt: u32::try_from(interrupt).ok()? })
    }
}

/// A number as Linux's memparse() reads it.
fn number(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    value.ok()?.checked_shl(shift)
}

struct Mmio {
    registers: Registers,
    interrupts: bool,
}

/// Opens a device; `None` if there is none, or it is no disk.
pub(super) fn open(device: &Described, map: Map<'_>) -> Result<Option<Box<dyn Transport>>, &'static str> {
    let registers = map(PhysAddr(device.base), device.len);
    if registers.read_u32(MAGIC) != VIRT || registers.read_u32(DEVICE) != DISK {
        return Ok(None);
    }
    if registers.read_u32(VERSION) != 2 {
        return Err("it is older than version 1 of virtio");
    }
    Ok(Some(Box::new(Mmio { registers, interrupts: irq::route_disk(device.interrupt) })))
}

impl Transport for Mmio {
    fn features(&mut self) -> u64 {
        let half = |which: u32| {
            self.registers.write_u32(DEVICE_FEATURES_SELECT, which);
            u64::from(self.registers.read_u32(DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    fn accept(&mut self, features: u64) {
        for (which, half) in [features as u32, (features >> 32) as u32].into_iter().enumerate() {
            self.registers.write_u32(DRIVER_FEATURES_SELECT, which as u32);
            self.registers.write_u32(DRIVER_FEATURES, half);
        }
    }

    fn status(&self) -> u8 {
        self.registers.read_u32(STATUS) as u8
    }

    fn set_status(&mut self, status: u8) {
        self.registers.write_u32(STATUS, status.into());
    }

    fn queue_size(&mut self) -> u16 {
        self.registers.write_u32(QUEUE_SELECT, 0);
        u16::try_from(self.registers.read_u32(QUEUE_LARGEST)).unwrap_or(u16::MAX)
    }

    fn set_queue(&mut self, size: u16, places: &Places) {
        self.registers.write_u32(QUEUE_SELECT, 0);
        self.registers.write_u32(QUEUE_SIZE, size.into());
        for (index, place) in [places.descriptors, places.driver, places.device].into_iter().enumerate() {
            self.registers.write_u32(QUEUE_PLACES + index * 16, place as u32);
            self.registers.write_u32(QUEUE_PLACES + index * 16 + 4, (place >> 32) as u32);
        }
        self.registers.write_u32(QUEUE_READY, 1);
    }

    fn notify(&self) {
        self.registers.write_u32(QUEUE_NOTIFY, 0);
    }

    fn acknowledge(&self) {
        let seen = self.registers.read_u32(INTERRUPT_STATUS);
        self.registers.write_u32(INTERRUPT_ACKNOWLEDGE, seen);
    }

    fn interrupts(&self) -> bool {
        self.interrupts
    }

    fn config(&self, offset: usize) -> u32 {
        let at = CONFIG + offset;
        if at as u64 + 4 <= self.registers.len() { self.registers.read_u32(at) } else { 0 }
    }

    fn generation(&self) -> u32 {
        self.registers.read_u32(GENERATION)
    }
}
