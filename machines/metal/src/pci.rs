//! PCI: the functions there are, and what is in their configuration space, through the two ports every PC has for it
//! (PCI Local Bus Specification 3.0, section 3.2.2.3.2).

use alloc::vec::Vec;
use core::fmt;

use aurora_machine::PhysAddr;
use pci_types::capability::PciCapability;
use pci_types::{Bar, CommandRegister, ConfigRegionAccess, EndpointHeader, HeaderType, PciAddress, PciHeader};
use pci_types::{PciPciBridgeHeader, VendorId};
use x86_64::instructions::port::Port;

/// Configuration space by way of the ports: the first 256 bytes of a function.
#[derive(Clone, Copy)]
struct Ports;

impl Ports {
    fn select(address: PciAddress, offset: u16) -> Port<u32> {
        let function = u32::from(address.bus()) << 16
            | u32::from(address.device()) << 11
            | u32::from(address.function()) << 8
            | u32::from(offset & 0xfc);
        // SAFETY: the address register of configuration mechanism 1; interrupts are off and there is one processor, so
        // nobody comes between this and the access to the data register.
        unsafe { Port::new(0xcf8).write(1 << 31 | function) };
        Port::new(0xcfc)
    }
}

impl ConfigRegionAccess for Ports {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        // SAFETY: the data register; reading configuration space changes nothing.
        unsafe { Self::select(address, offset).read() }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        // SAFETY: what the value means to the function is the caller's promise.
        unsafe { Self::select(address, offset).write(value) }
    }
}

/// A function that does something, not a bridge.
pub(crate) struct Function {
    header: EndpointHeader,
    address: PciAddress,
    /// Who made it.
    pub(crate) vendor: VendorId,
    /// What it is, by its maker's numbers.
    pub(crate) device: u16,
}

/// A piece of a function's memory, as one of its capabilities tells of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    /// Which of the six windows it is in.
    pub(crate) bar: u8,
    /// Where in there.
    pub(crate) offset: u32,
    /// How long.
    pub(crate) len: u32,
}

/// All functions, in the order of their numbers; those behind bridges after the bridge.
pub(crate) fn functions() -> Vec<Function> {
    let mut found = Vec::new();
    scan(0, &mut found, 0);
    found
}

/// Bridges behind bridges that are followed: what is deeper is a loop.
const DEEPEST: u32 = 16;

fn scan(bus: u8, found: &mut Vec<Function>, depth: u32) {
    for device in 0..32 {
        let first = PciHeader::new(PciAddress::new(0, bus, device, 0));
        if first.id(Ports).0 == 0xffff {
            continue;
        }
        let functions = if first.has_multiple_functions(Ports) { 8 } else { 1 };
        for function in 0..functions {
            look(PciAddress::new(0, bus, device, function), found, depth);
        }
    }
}

fn look(address: PciAddress, found: &mut Vec<Function>, depth: u32) {
    let header = PciHeader::new(address);
    let (vendor, device) = header.id(Ports);
    if vendor == 0xffff {
        return;
    }
    match header.header_type(Ports) {
        HeaderType::PciPciBridge if depth < DEEPEST => {
            let bridge = PciPciBridgeHeader::from_header(header, Ports);
            let behind =
                bridge.map(|bridge| bridge.secondary_bus_number(Ports)).filter(|&behind| behind > address.bus());
            if let Some(behind) = behind {
                scan(behind, found, depth + 1);
            }
        }
        _ => found.extend(EndpointHeader::from_header(header, Ports).map(|header| Function {
            header,
            address,
            vendor,
            device,
        })),
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

impl Function {
    /// Reads configuration space.
    pub(crate) fn read(&self, offset: u16) -> u32 {
        // SAFETY: see `Ports`.
        unsafe { Ports.read(self.address, offset) }
    }

    /// Where its own kinds of capabilities are.
    pub(crate) fn vendor_capabilities(&self) -> impl Iterator<Item = u16> {
        self.header.capabilities(Ports).filter_map(|capability| match capability {
            PciCapability::Vendor(at) => Some(at.offset),
            _ => None,
        })
    }

    /// Where a region is, if the firmware gave its window a place that holds it.
    pub(crate) fn locate(&self, region: Region) -> Option<PhysAddr> {
        if region.bar >= 6 {
            return None;
        }
        let (start, size) = match self.header.bar(region.bar, Ports)? {
            Bar::Memory32 { address, size, .. } => (u64::from(address), u64::from(size)),
            Bar::Memory64 { address, size, .. } => (address, size),
            Bar::Io { .. } => return None,
        };
        let end = u64::from(region.offset) + u64::from(region.len);
        (start != 0 && region.len > 0 && end <= size).then(|| PhysAddr(start + u64::from(region.offset)))
    }

    /// Lets it answer at its windows or not, as while their places are looked up.
    pub(crate) fn set_decoding(&mut self, on: bool) {
        self.header.update_command(Ports, |mut command| {
            command.set(CommandRegister::MEMORY_ENABLE, on);
            command
        });
    }

    /// Lets it reach memory itself, and interrupt by messages only.
    pub(crate) fn enable(&mut self) {
        self.header.update_command(Ports, |command| {
            command | CommandRegister::BUS_MASTER_ENABLE | CommandRegister::INTERRUPT_DISABLE
        });
    }

    /// Where its table of interrupt messages is, if it has one (MSI-X).
    pub(crate) fn message_table(&self) -> Option<Region> {
        self.header.capabilities(Ports).find_map(|capability| match capability {
            PciCapability::MsiX(table) => {
                let len = u32::from(table.table_size()) * 16;
                Some(Region { bar: table.table_bar(), offset: table.table_offset(), len })
            }
            _ => None,
        })
    }

    /// From now on it interrupts by its table of messages.
    pub(crate) fn use_messages(&self) {
        for capability in self.header.capabilities(Ports) {
            if let PciCapability::MsiX(mut table) = capability {
                table.set_function_mask(false, Ports);
                table.set_enabled(true, Ports);
            }
        }
    }
}
