//! The kernel's page tables: the image with exact permissions, all RAM at the direct map, device registers.
//!
//! What always holds: nothing is both writable and executable, code and constants are read-only through the direct map
//! too, no user address is mapped in the kernel's root, and the page under the stack is nowhere in the image's mapping.

use aurora_machine::{PAGE_SIZE, PhysAddr};
use raw_cpuid::CpuId;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr3, Cr3Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;
use x86_64::structures::paging::PhysFrame;

use aurora_handover::MemoryMap;

use crate::layout::{self, BOOT_MAP, DEVICE_MAP, direct, image_phys};

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const UNCACHED: u64 = WRITE_THROUGH | 1 << 4;
const HUGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const CODE: u64 = PRESENT | GLOBAL;
const CONSTANTS: u64 = PRESENT | GLOBAL | NO_EXECUTE;
const DATA: u64 = PRESENT | GLOBAL | NO_EXECUTE | WRITE;
const DEVICE: u64 = DATA | UNCACHED;
/// Writes are gathered: `protect` gives write-through's place in the PAT to write-combining, which nobody else uses.
const GATHERED: u64 = DATA | WRITE_THROUGH;

/// The boot tables map this much at the direct map; new tables are taken from below it.
pub(crate) const BOOT_MAPPED: u64 = 1 << 32;
const GIB: u64 = 1 << 30;
const MIB_2: u64 = 1 << 21;

/// Device memory to be mapped.
pub(crate) enum Device {
    /// A page of registers.
    Registers(PhysAddr),
    /// Registers, so many bytes of them.
    Window(PhysAddr, u64),
    /// Pixels.
    Pixels(PhysAddr, u64),
}

/// Builds the tables, loads them and turns on the processor's protections. Returns the root. `random` decides where the
/// direct map is.
pub(crate) fn build(
    ram: &MemoryMap,
    free: &mut MemoryMap,
    devices: impl Iterator<Item = Device>,
    random: u64,
) -> PhysAddr {
    let huge_gib = CpuId::new().get_extended_processor_and_feature_identifiers().is_some_and(|f| f.has_1gib_pages());
    let root = new_table(free);
    let direct_map = direct_map(ram, random);
    let mut mapper = Mapper { root, free, huge_gib };
    mapper.map_image();
    mapper.map_ram(ram, direct_map);
    for device in devices {
        mapper.map_device(device);
    }
    protect();
    // SAFETY: the tables map the running code, its stack and data where they are now. Of what the direct map shows
    // nothing is in use yet.
    unsafe { load_root(root) };
    layout::set_direct_map(direct_map);
    root
}

/// Maps another device, while there is no other address space yet. What is mapped already stays.
pub(crate) fn add_device(root: PhysAddr, free: &mut MemoryMap, device: Device) {
    Mapper { root, free, huge_gib: false }.map_device(device);
}

/// One of the top-level entries between the boot map and the device map, so that all RAM fits.
fn direct_map(ram: &MemoryMap, random: u64) -> u64 {
    const ENTRY: u64 = 1 << 39;
    let last = ram.ranges().iter().map(|r| r.end.0).max().unwrap_or(0);
    let places = (DEVICE_MAP - BOOT_MAP) / ENTRY;
    BOOT_MAP + random % (places - last.div_ceil(ENTRY).min(places - 1)) * ENTRY
}

/// Switches to another top-level table, forgetting all translations that are not global.
///
/// # Safety
/// `root` must be a top-level table with the kernel's upper half.
pub(crate) unsafe fn load_root(root: PhysAddr) {
    // SAFETY: the caller's promise.
    unsafe { Cr3::write(PhysFrame::containing_address(x86_64::PhysAddr::new(root.0)), Cr3Flags::empty()) }
}

fn protect() {
    let cpuid = CpuId::new();
    let features = cpuid.get_extended_feature_info();
    let has = |test: fn(&raw_cpuid::ExtendedFeatures) -> bool| features.as_ref().is_some_and(test);
    let mut cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::MACHINE_CHECK_EXCEPTION
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE;
    cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, has(|f| f.has_smep()));
    cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, has(|f| f.has_smap()));
    cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, has(|f| f.has_umip()));
    cr4.set(Cr4Flags::FSGSBASE, has(|f| f.has_fsgsbase()));
    let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::ALIGNMENT_MASK
        | Cr0Flags::PAGING;
    const PAT: u32 = 0x277;
    const WRITE_COMBINING: u64 = 1;
    // SAFETY: only `GATHERED` uses this type of memory. Paging stays as it is; the rest are protections the kernel's mappings and code respect (it never touches
    // a user address), and the FPU and SSE state that programs use.
    unsafe {
        Cr0::write_raw(cr0.bits());
        Cr4::write_raw(cr4.bits());
        let mut pat = Msr::new(PAT);
        pat.write(pat.read() & !0xff00 | WRITE_COMBINING << 8);
    }
}

/// Whether programs (and we) may use RDFSBASE and its kin.
pub(crate) fn has_fsgsbase() -> bool {
    Cr4::read().contains(Cr4Flags::FSGSBASE)
}

fn new_table(free: &mut MemoryMap) -> PhysAddr {
    let Some(phys) = free.take(PAGE_SIZE, PAGE_SIZE, BOOT_MAPPED) else {
        panic!("no memory for the kernel's page tables")
    };
    // SAFETY: the frame was free and the boot tables map it.
    unsafe { direct::<u8>(phys).write_bytes(0, PAGE_SIZE as usize) };
    phys
}

struct Mapper<'a> {
    root: PhysAddr,
    free: &'a mut MemoryMap,
    huge_gib: bool,
}

impl Mapper<'_> {
    fn map_image(&mut self) {
        let pieces = [
            (layout::text_start(), layout::rodata_start(), CODE),
            (layout::rodata_start(), layout::data_start(), CONSTANTS),
            (layout::data_start(), layout::stack_guard(), DATA),
            (layout::stack_bottom(), layout::image_end(), DATA),
        ];
        for (start, end, flags) in pieces {
            self.map(start, image_phys(start), end - start, flags);
        }
    }

    fn map_ram(&mut self, ram: &MemoryMap, direct_map: u64) {
        let (fixed, fixed_end) = (image_phys(layout::text_start()), image_phys(layout::data_start()));
        let mut writable = ram.clone();
        writable.remove(fixed, fixed_end);
        for range in writable.ranges() {
            self.map(direct_map + range.start.0, range.start.0, range.end.0 - range.start.0, DATA);
        }
        self.map(direct_map + fixed, fixed, fixed_end - fixed, CONSTANTS);
    }

    fn map_device(&mut self, device: Device) {
        let (start, len, flags) = match device {
            Device::Registers(at) => (at.0, PAGE_SIZE, DEVICE),
            Device::Window(at, len) => (at.0, len, DEVICE),
            Device::Pixels(at, len) => (at.0, len, GATHERED),
        };
        let first = start & !(PAGE_SIZE - 1);
        let len = (start + len).next_multiple_of(PAGE_SIZE) - first;
        self.map(DEVICE_MAP + first, first, len, flags);
    }

    /// Maps with the largest pages that fit. All arguments are page-aligned, and nothing in the range is mapped yet.
    fn map(&mut self, mut virt: u64, mut phys: u64, mut len: u64, flags: u64) {
        while len > 0 {
            let fits = |size: u64| (virt | phys).is_multiple_of(size) && len >= size;
            let (level, size) = match () {
                () if self.huge_gib && fits(GIB) => (2, GIB),
                () if fits(MIB_2) => (1, MIB_2),
                () => (0, PAGE_SIZE),
            };
            let huge = if level > 0 { HUGE } else { 0 };
            let entry = self.entry(virt, level);
            // SAFETY: `entry` is inside one of our tables, which nobody else uses yet.
            unsafe { entry.write(phys | flags | huge) };
            virt += size;
            phys += size;
            len -= size;
        }
    }

    /// The entry of `virt` in the table of `level`, making the tables on the way.
    fn entry(&mut self, virt: u64, level: u32) -> *mut u64 {
        let at = |table: PhysAddr, level: u32| {
            let index = (virt >> (12 + 9 * level)) & 511;
            direct::<u64>(PhysAddr(table.0 + index * 8))
        };
        let mut table = self.root;
        for above in ((level + 1)..=3).rev() {
            let entry = at(table, above);
            // SAFETY: inside one of our tables, as below.
            let value = unsafe { entry.read() };
            table = if value & PRESENT != 0 {
                debug_assert!(value & HUGE == 0);
                PhysAddr(value & ADDRESS)
            } else {
                let new = new_table(self.free);
                // SAFETY: as above.
                unsafe { entry.write(new.0 | PRESENT | WRITE) };
                new
            };
        }
        at(table, level)
    }
}
