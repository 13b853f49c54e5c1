//! Each protocol's structures, laid out as its specification says, become the same hand-over.

use std::vec::Vec;

use aurora_machine::{MemoryRegion, PhysAddr};
use limine::memory_map::{Entry, EntryType};

use crate::acpi::{Command, Register};
use crate::limine::Answers;
use crate::{Archive, Handover, HandoverError, Screen, Window, limine as limine_protocol, multiboot2, pvh};

/// The first 64 KiB of a machine.
struct Memory {
    bytes: Vec<u64>,
}

impl Memory {
    fn new() -> Self {
        Self { bytes: std::vec![0; 8192] }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        for (i, byte) in bytes.iter().enumerate() {
            let at = at + i;
            let mut word = self.bytes[at / 8].to_le_bytes();
            word[at % 8] = *byte;
            self.bytes[at / 8] = u64::from_le_bytes(word);
        }
        at + bytes.len()
    }

    /// 32-bit numbers in a row; returns where they end.
    fn words(&mut self, mut at: usize, words: &[u32]) -> usize {
        for word in words {
            at = self.put(at, &word.to_le_bytes());
        }
        at
    }

    /// 64-bit ones.
    fn longs(&mut self, mut at: usize, longs: &[u64]) -> usize {
        for long in longs {
            at = self.put(at, &long.to_le_bytes());
        }
        at
    }

    /// Makes the sum of a table zero by its byte at `sum`.
    fn sign(&mut self, at: usize, len: usize, sum: usize) {
        let total =
            self.window().bytes(at as u64, len as u64).expect("inside").iter().fold(0_u8, |a, b| a.wrapping_add(*b));
        self.put(at + sum, &[total.wrapping_neg()]);
    }

    fn window(&self) -> Window {
        // SAFETY: the vector's bytes, which nobody changes while the window is used.
        unsafe { Window::new(self.bytes.as_ptr().cast(), self.bytes.len() as u64 * 8) }
    }
}

fn regions(handover: &Handover) -> &[MemoryRegion] {
    handover.ram.ranges()
}

fn region(start: u64, end: u64) -> MemoryRegion {
    MemoryRegion { start: PhysAddr(start), end: PhysAddr(end) }
}

/// `hvm_start_info` at 0x1000 with two pieces of RAM, a module and a command line.
fn start_info(memory: &mut Memory) {
    memory.words(0x1000, &[0x336e_c578, 1, 0, 1]);
    memory.longs(0x1010, &[0x2000, 0x3000, 0x5000, 0x4000]);
    memory.words(0x1030, &[3, 0]);
    memory.longs(0x2000, &[0x80_0000, 0x1234, 0, 0]);
    memory.put(0x3000, b"init=/sbin/init quiet\0more");
    memory.longs(0x4000, &[0, 0x9_fc00, 1, 0x9_fc00, 0x400, 2, 0x10_0000, 0x700_0000, 1]);
}

#[test]
fn pvh_hands_over_ram_archive_and_command_line() {
    let mut memory = Memory::new();
    start_info(&mut memory);
    let handover = pvh::read(&memory.window(), 0x1000).expect("a hand-over");
    assert_eq!(regions(&handover), [region(0, 0x9_f000), region(0x10_0000, 0x710_0000)]);
    assert_eq!(handover.archive, Some(Archive { start: PhysAddr(0x80_0000), len: 0x1234 }));
    assert_eq!(handover.command_line.as_bytes(), b"init=/sbin/init quiet");
    assert_eq!((handover.screen, handover.acpi), (None, None));
}

#[test]
fn pvh_that_is_broken_is_refused() {
    let mut memory = Memory::new();
    assert!(pvh::read(&memory.window(), 0x1000).is_err_and(|e| e.0.contains("without PVH")));
    start_info(&mut memory);
    memory.words(0x1004, &[0]);
    assert!(pvh::read(&memory.window(), 0x1000).is_err_and(|e| e.0.contains("no memory map")));
    start_info(&mut memory);
    // The memory map is out of reach.
    memory.longs(0x1028, &[1 << 40]);
    assert_eq!(
        pvh::read(&memory.window(), 0x1000).err(),
        Some(HandoverError("the loader left something where it cannot be reached"))
    );
}

/// Boot information at 0x1000, tag by tag; each is a kind, and what follows its size.
fn boot_information(memory: &mut Memory, tags: &[(u32, Vec<u8>)]) {
    let mut at = 0x1008;
    for (kind, body) in tags.iter().chain([&(0, Vec::new())]) {
        memory.words(at, &[*kind, body.len() as u32 + 8]);
        memory.put(at + 8, body);
        at = (at + 8 + body.len()).next_multiple_of(8);
    }
    memory.words(0x1000, &[(at - 0x1000) as u32, 0]);
}

fn bytes(words: &[u32], longs: &[u64], rest: &[u8]) -> Vec<u8> {
    let words = words.iter().flat_map(|w| w.to_le_bytes());
    words.chain(longs.iter().flat_map(|l| l.to_le_bytes())).chain(rest.iter().copied()).collect()
}

#[test]
fn multiboot2_hands_over_ram_archive_command_line_and_screen() {
    let map = [bytes(&[24, 0], &[0x10_0000, 0x100_0000, 1], &[]), bytes(&[], &[0xf000_0000, 0x1000, 2], &[])].concat();
    // Fields of eight bits at 16, 8 and 0.
    let screen = bytes(
        &[],
        &[0xfd00_0000],
        &[&bytes(&[4096, 1024, 768], &[], &[32, 1, 0, 0])[..], &[16, 8, 8, 8, 0, 8]].concat(),
    );
    let mut memory = Memory::new();
    let tags = [
        (1, b"init=/sbin/init\0".to_vec()),
        (3, bytes(&[0x40_0000, 0x40_0800], &[], b"image\0")),
        (6, map),
        (8, screen),
    ];
    boot_information(&mut memory, &tags);
    let handover = multiboot2::read(&memory.window(), 0x1000).expect("a hand-over");
    assert_eq!(regions(&handover), [region(0x10_0000, 0x110_0000)]);
    assert_eq!(handover.archive, Some(Archive { start: PhysAddr(0x40_0000), len: 0x800 }));
    assert_eq!(handover.command_line.as_bytes(), b"init=/sbin/init");
    let start = PhysAddr(0xfd00_0000);
    let wanted = Screen { start, pitch: 4096, width: 1024, height: 768, pixel_bytes: 4, shifts: [16, 8, 0] };
    assert_eq!(handover.screen, Some(wanted));
}

#[test]
fn multiboot2_that_is_broken_is_refused() {
    let mut memory = Memory::new();
    assert!(multiboot2::read(&memory.window(), 0x1000).is_err());
    boot_information(&mut memory, &[(1, b"x\0".to_vec())]);
    assert!(multiboot2::read(&memory.window(), 0x1000).is_err_and(|e| e.0.contains("no memory map")));
    memory.words(0x1000, &[0x10_0000]);
    assert!(multiboot2::read(&memory.window(), 0x1000).is_err());
}

#[test]
fn limine_hands_over_the_same() {
    let memory = Memory::new();
    let entry = |base, length, entry_type| Entry { base, length, entry_type };
    let entries = [
        entry(0x10_0000, 0x10_0000, EntryType::USABLE),
        entry(0x20_0000, 0x10_0000, EntryType::EXECUTABLE_AND_MODULES),
        entry(0x30_0000, 0x10_0000, EntryType::RESERVED),
        entry(0x40_0000, 0x10_0000, EntryType::BOOTLOADER_RECLAIMABLE),
    ];
    let entries: Vec<&Entry> = entries.iter().collect();
    let answers = Answers { memory: &entries, archive: None, command_line: Some(c"quiet"), screen: None, rsdp: 0 };
    let handover = limine_protocol::read(&memory.window(), &answers);
    let all = [region(0x10_0000, 0x20_0000), region(0x20_0000, 0x30_0000), region(0x40_0000, 0x50_0000)];
    assert_eq!(regions(&handover), all);
    assert_eq!(handover.command_line.as_bytes(), b"quiet");
    assert_eq!((handover.archive, handover.screen, handover.acpi), (None, None, None));
}

/// Tables at 0x5000 and on: RSDP, XSDT, FADT, DSDT, MADT.
fn tables(memory: &mut Memory, dsdt_body: &[u8]) {
    memory.put(0x5000, b"RSD PTR ");
    memory.put(0x500f, &[2]);
    memory.longs(0x5018, &[0x5100]);
    memory.sign(0x5000, 36, 8);
    let head = |memory: &mut Memory, at: usize, name: &[u8], len: usize| {
        memory.put(at, name);
        memory.words(at + 4, &[len as u32]);
    };
    head(memory, 0x5100, b"XSDT", 52);
    memory.longs(0x5124, &[0x5200, 0x5500]);
    head(memory, 0x5200, b"FACP", 276);
    memory.words(0x5200 + 40, &[0x5400]);
    memory.words(0x5200 + 64, &[0x604, 0]);
    memory.words(0x5200 + 112, &[1 << 10]);
    // The reset register is port 0xcf9.
    memory.put(0x5200 + 116, &[1, 8, 0, 1]);
    memory.longs(0x5200 + 120, &[0xcf9]);
    memory.put(0x5200 + 128, &[15]);
    head(memory, 0x5400, b"DSDT", 36 + dsdt_body.len());
    memory.put(0x5424, dsdt_body);
    head(memory, 0x5500, b"APIC", 44 + 12);
    memory.put(0x5500 + 44, &[1, 12, 0, 0]);
    memory.words(0x5500 + 48, &[0xfec0_0000, 0]);
    for (at, len) in [(0x5100, 52), (0x5200, 276), (0x5400, 36 + dsdt_body.len()), (0x5500, 56)] {
        memory.sign(at, len, 9);
    }
}

/// `Name (_S5, Package (2) { 5, 1 })`.
const SLEEP: &[u8] = b"\x08_S5_\x12\x06\x02\x0a\x05\x01";

#[test]
fn acpi_says_how_to_turn_off_and_where_interrupts_go() {
    let mut memory = Memory::new();
    start_info(&mut memory);
    memory.longs(0x1020, &[0x5000]);
    tables(&mut memory, SLEEP);
    let window = memory.window();
    let root = pvh::read(&window, 0x1000).expect("a hand-over").acpi.expect("a root");
    let tables = root.tables(&window);
    assert_eq!(tables.off, Some(Command { register: Register::Port(0x604), value: 5 << 10 | 1 << 13 }));
    assert_eq!(tables.reset, Some(Command { register: Register::Port(0xcf9), value: 15 }));
    assert_eq!(tables.io_apic, Some(PhysAddr(0xfec0_0000)));
    assert_eq!((tables.off_too, tables.hardware_reduced), (None, false));
}

#[test]
fn acpi_that_is_broken_is_as_if_it_were_not_there() {
    let broken: [&[u8]; 4] =
        [b"", b"\x08_S5_\x12\x06\x02\x0c\x05\x01", b"\x10_S5_\x12\x06\x02\x0a\x05\x01", b"\x08_S5_\x12"];
    for body in broken {
        let mut memory = Memory::new();
        tables(&mut memory, body);
        let root = crate::acpi::Root { table: PhysAddr(0x5100), wide: true };
        assert_eq!(root.tables(&memory.window()).off, None, "{body:x?}");
    }
    let mut memory = Memory::new();
    tables(&mut memory, SLEEP);
    memory.put(0x5450, &[1]);
    memory.put(0x5424, &[9]);
    let root = crate::acpi::Root { table: PhysAddr(0x5100), wide: true };
    assert_eq!(root.tables(&memory.window()).off, None, "a table whose sum is wrong");
    let nowhere = crate::acpi::Root { table: PhysAddr(u64::MAX - 3), wide: true };
    assert_eq!(nowhere.tables(&memory.window()), crate::acpi::Tables::default());
}
