//! PVH: `hvm_start_info` (Xen's public/arch-x86/hvm/start_info.h), as QEMU's `-kernel` and microVMs hand it over.

use aurora_machine::PhysAddr;
use zerocopy::FromBytes;

use crate::{Archive, CommandLine, Handover, HandoverError, MemoryMap, Window, acpi};

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;

#[repr(C)]
#[derive(FromBytes)]
struct StartInfo {
    magic: u32,
    version: u32,
    _flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    _reserved: u32,
}

#[repr(C)]
#[derive(FromBytes)]
struct Module {
    address: u64,
    size: u64,
    _command_line: u64,
    _reserved: u64,
}

#[repr(C)]
#[derive(FromBytes)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    _reserved: u32,
}

/// Reads the start information at `start_info`.
pub fn read(window: &Window, start_info: u64) -> Result<Handover, HandoverError> {
    let info: StartInfo = window.read(start_info)?;
    if info.magic != MAGIC {
        return Err(HandoverError("booted without PVH start information"));
    }
    if info.version < 1 {
        return Err(HandoverError("PVH start information has no memory map"));
    }
    let mut ram = MemoryMap::new();
    for i in 0..u64::from(info.memory_map_entries) {
        let entry: MemoryMapEntry = window.read(info.memory_map + i * size_of::<MemoryMapEntry>() as u64)?;
        if entry.kind == RAM {
            ram.add(entry.address, entry.address.saturating_add(entry.size));
        }
    }
    let archive = if info.modules > 0 { Some(window.read::<Module>(info.module_list)?) } else { None };
    let archive = archive.filter(|m| m.size > 0).map(|m| Archive { start: PhysAddr(m.address), len: m.size });
    let command_line = match info.command_line {
        0 => &[],
        at => window.text(at, CommandLine::MAX as u64)?,
    };
    let acpi = acpi::Root::at(window, info.rsdp);
    Ok(Handover { ram, archive, command_line: CommandLine::new(command_line), screen: None, acpi })
}
