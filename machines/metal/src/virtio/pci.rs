//! Virtio over PCI (section 4.1).

use alloc::boxed::Box;

use super::memory::Registers;
use super::queue::Places;
use super::{Map, Transport};
use crate::pci::{Function, Region};
use crate::{apic, irq};

const VENDOR: u16 = 0x1af4;
/// A disk; the second number is one that also speaks as before version 1.
const DISKS: [u16; 2] = [0x1042, 0x1001];

// Kinds of regions, and where a capability says what of them.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;
const CAPABILITY_BAR: u16 = 4;
const CAPABILITY_OFFSET: u16 = 8;
const CAPABILITY_LENGTH: u16 = 12;
const CAPABILITY_MULTIPLIER: u16 = 16;

// Registers of the common region.
const DEVICE_FEATURE_SELECT: usize = 0;
const DEVICE_FEATURE: usize = 4;
const DRIVER_FEATURE_SELECT: usize = 8;
const DRIVER_FEATURE: usize = 12;
const CONFIG_VECTOR: usize = 16;
const STATUS: usize = 20;
const GENERATION: usize = 21;
const QUEUE_SELECT: usize = 22;
const QUEUE_SIZE: usize = 24;
const QUEUE_VECTOR: usize = 26;
const QUEUE_ENABLE: usize = 28;
const QUEUE_NOTIFY_OFFSET: usize = 30;
const QUEUE_PLACES: usize = 32;

/// As much of a region as is ever used.
const LONGEST: u32 = 1 << 16;
const NO_VECTOR: u16 = 0xffff;

struct Pci {
    common: Registers,
    notify: Registers,
    multiplier: u32,
    device: Registers,
    interrupts: bool,
}

/// Opens a function; `None` if it is no disk.
pub(super) fn open(mut function: Function, map: Map<'_>) -> Result<Option<Box<dyn Transport>>, &'static str> {
    if function.vendor != VENDOR || !DISKS.contains(&function.device) {
        return Ok(None);
    }
    // Its windows are measured while it does not answer there.
    function.set_decoding(false);
    let regions = [COMMON, NOTIFY, DEVICE].map(|kind| find(&function, kind));
    let places = regions.map(|region| region.and_then(|(_, region)| function.locate(region)));
    let table = function.message_table().and_then(|region| Some((function.locate(region)?, region)));
    function.set_decoding(true);
    function.enable();
    let mut mapped = regions.iter().zip(places).map(|(region, place)| {
        let (_, region) = region.ok_or("it has no registers of version 1")?;
        Ok(map(place.ok_or("the firmware gave it no addresses")?, region.len.min(LONGEST).into()))
    });
    let mut next = || mapped.next().unwrap_or(Err("three regions"));
    let (common, notify, device) = (next()?, next()?, next()?);
    drop(mapped);
    let multiplier = regions[1].map_or(0, |(at, _)| function.read(at + CAPABILITY_MULTIPLIER));
    if let Some((place, region)) = table {
        function.use_messages();
        send_to_us(map(place, region.len.into()));
    }
    let mut pci = Pci { common, notify, multiplier, device, interrupts: table.is_some() };
    pci.common.write_u16(CONFIG_VECTOR, NO_VECTOR);
    pci.select_queue();
    Ok(Some(Box::new(pci)))
}

/// The capability of a kind of region, and the region.
fn find(function: &Function, kind: u8) -> Option<(u16, Region)> {
    let at = function.vendor_capabilities().find(|&at| (function.read(at) >> 24) as u8 == kind)?;
    let [bar, offset, len] =
        [CAPABILITY_BAR, CAPABILITY_OFFSET, CAPABILITY_LENGTH].map(|word| function.read(at + word));
    Some((at, Region { bar: bar as u8, offset, len }))
}

/// The first message of a function's table goes to this processor.
fn send_to_us(table: Registers) {
    const ADDRESS: u32 = 0xfee0_0000;
    let words = [ADDRESS | apic::id() << 12, 0, irq::DISKS as u32, 0];
    for (index, word) in words.into_iter().enumerate() {
        table.write_u32(index * 4, word);
    }
}

impl Pci {
    fn select_queue(&mut self) {
        self.common.write_u16(QUEUE_SELECT, 0);
    }
}

impl Transport for Pci {
    fn features(&mut self) -> u64 {
        let half = |which: u32| {
            self.common.write_u32(DEVICE_FEATURE_SELECT, which);
            u64::from(self.common.read_u32(DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn accept(&mut self, features: u64) {
        for (which, half) in [features as u32, (features >> 32) as u32].into_iter().enumerate() {
            self.common.write_u32(DRIVER_FEATURE_SELECT, which as u32);
            self.common.write_u32(DRIVER_FEATURE, half);
        }
    }

    fn status(&self) -> u8 {
        self.common.read_u8(STATUS)
    }

    fn set_status(&mut self, status: u8) {
        self.common.write_u8(STATUS, status);
    }

    fn queue_size(&mut self) -> u16 {
        self.select_queue();
        self.common.read_u16(QUEUE_SIZE)
    }

    fn set_queue(&mut self, size: u16, places: &Places) {
        self.select_queue();
        self.common.write_u16(QUEUE_SIZE, size);
        self.common.write_u16(QUEUE_VECTOR, if self.interrupts { 0 } else { NO_VECTOR });
        // A device that has no vector left says so.
        self.interrupts &= self.common.read_u16(QUEUE_VECTOR) != NO_VECTOR;
        for (index, place) in [places.descriptors, places.driver, places.device].into_iter().enumerate() {
            self.common.write_u32(QUEUE_PLACES + index * 8, place as u32);
            self.common.write_u32(QUEUE_PLACES + index * 8 + 4, (place >> 32) as u32);
        }
        self.common.write_u16(QUEUE_ENABLE, 1);
        let offset = u64::from(self.common.read_u16(QUEUE_NOTIFY_OFFSET)) * u64::from(self.multiplier);
        self.notify = self.notify.part(offset, 2);
    }

    fn notify(&self) {
        self.notify.write_u16(0, 0);
    }

    fn acknowledge(&self) {}

    fn interrupts(&self) -> bool {
        self.interrupts
    }

    fn config(&self, offset: usize) -> u32 {
        if offset as u64 + 4 <= self.device.len() { self.device.read_u32(offset) } else { 0 }
    }

    fn generation(&self) -> u32 {
        self.common.read_u8(GENERATION).into()
    }
}
