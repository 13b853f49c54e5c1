//! What the loader handed over: the PVH `hvm_start_info` (Xen's public/arch-x86/hvm/start_info.h).
//!
//! Its structures lie in RAM that is free afterwards, so everything but the module's bytes is copied here at once.

use aurora_machine::PhysAddr;

use crate::layout::direct;
use crate::memory_map::MemoryMap;

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;
/// Longest command line kept; the boot tables map the first 4 GiB, where the loader puts all of this.
const COMMAND_LINE_MAX: usize = 4096;
const MAPPED: u64 = 1 << 32;

#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    _flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    _rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    _reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    address: u64,
    size: u64,
    _command_line: u64,
    _reserved: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    _reserved: u32,
}

/// The first module: the initial archive.
#[derive(Clone, Copy)]
pub(crate) struct Archive {
    pub(crate) start: PhysAddr,
    pub(crate) len: u64,
}

/// The start information, copied.
pub(crate) struct Loaded {
    /// Usable RAM.
    pub(crate) ram: MemoryMap,
    pub(crate) archive: Option<Archive>,
    command_line: [u8; COMMAND_LINE_MAX],
    command_line_len: usize,
}

impl Loaded {
    /// Reads the start information at `phys`. Panics where there is none: no other boot protocol leads here.
    pub(crate) fn read(phys: u64) -> Self {
        let info: StartInfo = read(phys);
        assert!(info.magic == MAGIC, "booted without PVH start information");
        assert!(info.version >= 1, "PVH start information has no memory map");
        let mut ram = MemoryMap::new();
        for i in 0..u64::from(info.memory_map_entries) {
            let entry: MemoryMapEntry = read(info.memory_map + i * size_of::<MemoryMapEntry>() as u64);
            if entry.kind == RAM {
                ram.add(entry.address, entry.address.saturating_add(entry.size));
            }
        }
        let archive = (info.modules > 0).then(|| read::<Module>(info.module_list));
        let archive = archive.filter(|m| m.size > 0).map(|m| Archive { start: PhysAddr(m.address), len: m.size });
        let mut loaded = Self { ram, archive, command_line: [0; COMMAND_LINE_MAX], command_line_len: 0 };
        loaded.copy_command_line(info.command_line);
        loaded
    }

    fn copy_command_line(&mut self, phys: u64) {
        if phys == 0 {
            return;
        }
        for (i, byte) in self.command_line.iter_mut().enumerate() {
            *byte = read(phys + i as u64);
            if *byte == 0 {
                return;
            }
            self.command_line_len = i + 1;
        }
        panic!("the kernel command line is longer than {COMMAND_LINE_MAX} bytes");
    }

    pub(crate) fn command_line(&self) -> &[u8] {
        &self.command_line[..self.command_line_len]
    }
}

fn read<T: Copy>(phys: u64) -> T {
    assert!(phys != 0 && phys < MAPPED - size_of::<T>() as u64, "boot data at {phys:#x}, out of reach");
    // SAFETY: the boot tables map the first 4 GiB at the direct map, nobody writes there now, and every type read here
    // is made of integers, for which any bytes are a value.
    unsafe { direct::<T>(PhysAddr(phys)).read_unaligned() }
}
