//! Multiboot2 (GRUB): the boot information of its specification, section 3.6.

use aurora_machine::PhysAddr;
use multiboot2::{BootInformation, BootInformationHeader, FramebufferType, MemoryAreaType};

use crate::{Archive, CommandLine, Handover, HandoverError, MemoryMap, Screen, Window, acpi};

const BROKEN: HandoverError = HandoverError("Multiboot2 boot information is broken");

/// Reads the boot information at `start`.
pub fn read(window: &Window, start: u64) -> Result<Handover, HandoverError> {
    let total: u32 = window.read(start)?;
    let pointer = window.pointer(start, u64::from(total))?;
    // SAFETY: all `total` bytes are in the window, where nobody writes; the library checks alignment, size and end.
    let info = unsafe { BootInformation::load(pointer.cast::<BootInformationHeader>()) }.map_err(|_| BROKEN)?;
    let map = info.memory_map_tag().ok_or(HandoverError("Multiboot2 boot information has no memory map"))?;
    let mut ram = MemoryMap::new();
    for area in map.memory_areas() {
        if area.typ() == MemoryAreaType::Available {
            ram.add(area.start_address(), area.start_address().saturating_add(area.size()));
        }
    }
    let archive = info.module_tags().next().map(|m| Archive {
        start: PhysAddr(u64::from(m.start_address())),
        len: u64::from(m.end_address().saturating_sub(m.start_address())),
    });
    let command_line = match info.command_line_tag() {
        Some(tag) => CommandLine::new(tag.cmdline().map_err(|_| BROKEN)?.as_bytes()),
        None => CommandLine::new(&[]),
    };
    Ok(Handover { ram, archive: archive.filter(|a| a.len > 0), command_line, screen: screen(&info), acpi: root(&info) })
}

/// A text screen or one of indexed colours is left alone.
fn screen(info: &BootInformation<'_>) -> Option<Screen> {
    let tag = info.framebuffer_tag()?.ok()?;
    let Ok(FramebufferType::RGB { red, green, blue }) = tag.buffer_type() else { return None };
    let screen = Screen {
        start: PhysAddr(tag.address()),
        pitch: tag.pitch(),
        width: tag.width(),
        height: tag.height(),
        pixel_bytes: tag.bpp().div_ceil(8),
        shifts: [red.position, green.position, blue.position],
    };
    screen.usable()
}

/// The loader hands over a copy of ACPI's root pointer.
fn root(info: &BootInformation<'_>) -> Option<acpi::Root> {
    let new = info.rsdp_v2_tag().filter(|tag| tag.checksum_is_valid());
    if let Some(tag) = new {
        return Some(acpi::Root { table: PhysAddr(tag.xsdt_address() as u64), wide: true });
    }
    let old = info.rsdp_v1_tag().filter(|tag| tag.checksum_is_valid())?;
    Some(acpi::Root { table: PhysAddr(old.rsdt_address() as u64), wide: false })
}
