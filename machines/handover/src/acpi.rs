//! What of ACPI a kernel without an AML interpreter needs: how to turn off, how to start anew, where interrupts go
//! (ACPI 6.5, sections 5.2.5 to 5.2.12 and 7.4.2).

use aurora_machine::PhysAddr;
use zerocopy::FromBytes;

use crate::{HandoverError, Window};

/// Where the list of tables is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// The RSDT or XSDT.
    pub table: PhysAddr,
    /// Whether it is an XSDT, of 64-bit addresses.
    pub wide: bool,
}

/// A register in memory or among the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Of memory.
    Memory(PhysAddr),
    /// An I/O port.
    Port(u16),
}

/// Write `value` to `register`, and it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where.
    pub register: Register,
    /// What. Sixteen bits wide for `off`, eight for `reset` and for the hardware-reduced `off`.
    pub value: u16,
}

/// What the tables say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Turns the machine off: PM1a_CNT, or with `hardware_reduced` the sleep control register.
    pub off: Option<Command>,
    /// The same for PM1b_CNT, where there is one.
    pub off_too: Option<Command>,
    /// Whether `off` is a register of eight bits.
    pub hardware_reduced: bool,
    /// Starts it anew.
    pub reset: Option<Command>,
    /// The first I/O APIC.
    pub io_apic: Option<PhysAddr>,
}

#[repr(C, packed)]
#[derive(FromBytes, Clone, Copy)]
struct RootPointer {
    signature: [u8; 8],
    _checksum: u8,
    _maker: [u8; 6],
    revision: u8,
    rsdt: u32,
}

const LENGTH: u64 = 4;
/// Bytes of the header all tables have.
const HEADER: u64 = 36;
/// Longest table looked at.
const LONGEST: u64 = 4 << 20;

// Offsets in the FADT.
const DSDT: u64 = 40;
const PM1A_CONTROL: u64 = 64;
const PM1B_CONTROL: u64 = 68;
const FLAGS: u64 = 112;
const RESET_REGISTER: u64 = 116;
const RESET_VALUE: u64 = 128;
const SLEEP_CONTROL: u64 = 244;
const FLAG_RESET: u32 = 1 << 10;
const FLAG_HARDWARE_REDUCED: u32 = 1 << 20;

/// In PM1x_CNT: where the sleep type goes, and what makes it so; the same in the sleep control register.
const PM1_TYPE: u16 = 10;
const PM1_ENABLE: u16 = 1 << 13;
const SLEEP_TYPE: u16 = 2;
const SLEEP_ENABLE: u16 = 1 << 5;

impl Root {
    /// From the root pointer at `rsdp`; `None` where there is none.
    pub(crate) fn at(window: &Window, rsdp: u64) -> Option<Self> {
        let pointer: RootPointer = window.read(rsdp).ok()?;
        let len = if pointer.revision >= 2 { 36 } else { 20 };
        let whole = window.bytes(rsdp, len).ok()?;
        if &pointer.signature != b"RSD PTR " || sum(whole) != 0 {
            return None;
        }
        let wide = pointer.revision >= 2;
        let table = if wide { window.read::<u64>(rsdp + 24).ok()? } else { u64::from(pointer.rsdt) };
        Some(Self { table: PhysAddr(table), wide })
    }

    /// Reads what we use of the tables. What is broken is as if it were not there.
    pub fn tables(&self, window: &Window) -> Tables {
        let mut tables = Tables::default();
        let Ok(list) = table(window, self.table.0) else { return tables };
        let size = if self.wide { 8 } else { 4 };
        for entry in list[HEADER as usize..].chunks_exact(size) {
            let mut at = [0; 8];
            at[..size].copy_from_slice(entry);
            let at = u64::from_le_bytes(at);
            let Ok(table) = table(window, at) else { continue };
            match &table[..4] {
                b"FACP" => tables.read_fadt(window, at, table.len() as u64),
                b"APIC" => tables.io_apic = io_apic(table),
                _ => {}
            }
        }
        tables
    }
}

impl Tables {
    fn read_fadt(&mut self, window: &Window, fadt: u64, len: u64) {
        let word = |offset: u64| if offset + 4 <= len { window.read::<u32>(fadt + offset).unwrap_or(0) } else { 0 };
        let flags = word(FLAGS);
        if flags & FLAG_RESET != 0 && RESET_VALUE < len {
            let value = window.read::<u8>(fadt + RESET_VALUE).unwrap_or(0);
            self.reset = register(window, fadt + RESET_REGISTER).map(|r| Command { register: r, value: value.into() });
        }
        let Ok(dsdt) = table(window, u64::from(word(DSDT))) else { return };
        let Some([type_a, type_b]) = sleep_types(dsdt) else { return };
        let port = |offset: u64| u16::try_from(word(offset)).ok().filter(|&port| port != 0).map(Register::Port);
        let pm1 = |register, kind: u8| Command { register, value: u16::from(kind) << PM1_TYPE | PM1_ENABLE };
        self.hardware_reduced = flags & FLAG_HARDWARE_REDUCED != 0;
        if self.hardware_reduced {
            let control = if SLEEP_CONTROL + 12 <= len { register(window, fadt + SLEEP_CONTROL) } else { None };
            let value = u16::from(type_a) << SLEEP_TYPE | SLEEP_ENABLE;
            self.off = control.map(|register| Command { register, value });
        } else {
            self.off = port(PM1A_CONTROL).map(|register| pm1(register, type_a));
            self.off_too = port(PM1B_CONTROL).map(|register| pm1(register, type_b));
        }
    }
}

/// A whole table whose sum is right.
fn table(window: &Window, at: u64) -> Result<&[u8], HandoverError> {
    let broken = HandoverError("an ACPI table is broken");
    let len = u64::from(window.read::<u32>(at.checked_add(LENGTH).ok_or(broken)?)?);
    if !(HEADER..=LONGEST).contains(&len) {
        return Err(broken);
    }
    let bytes = window.bytes(at, len)?;
    if sum(bytes) == 0 { Ok(bytes) } else { Err(broken) }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// A generic address structure.
fn register(window: &Window, at: u64) -> Option<Register> {
    const MEMORY: u8 = 0;
    const PORT: u8 = 1;
    let address: u64 = window.read(at + 4).ok().filter(|&a| a != 0)?;
    match window.read::<u8>(at).ok()? {
        MEMORY => Some(Register::Memory(PhysAddr(address))),
        PORT => u16::try_from(address).ok().map(Register::Port),
        _ => None,
    }
}

/// The sleep types of S5 for PM1a and PM1b. Firmware writes them as a constant package, `Name(_S5, Package { a, b, … })`,
/// which can be found without running AML.
fn sleep_types(dsdt: &[u8]) -> Option<[u8; 2]> {
    const NAME: u8 = 0x08;
    const PACKAGE: u8 = 0x12;
    let found = dsdt.windows(4).enumerate().filter(|(_, w)| w == b"_S5_").map(|(at, _)| at);
    found
        .filter_map(|at| {
            // `Name` stands right before, or with a root prefix between.
            let before = dsdt.get(at.checked_sub(2)?..at)?;
            let named = before[1] == NAME || (before[0] == NAME && before[1] == b'\\');
            let rest = dsdt.get(at + 4..)?;
            if !named || *rest.first()? != PACKAGE {
                return None;
            }
            // The package's length has as many more bytes as its first one's top bits say; then the number of elements.
            let more = usize::from(*rest.get(1)? >> 6);
            let (a, rest) = constant(rest.get(3 + more..)?)?;
            let (b, _) = constant(rest)?;
            Some([a, b])
        })
        .next()
}

/// An AML integer constant that fits a byte, and what follows.
fn constant(aml: &[u8]) -> Option<(u8, &[u8])> {
    const BYTE: u8 = 0x0a;
    match aml {
        [0, rest @ ..] => Some((0, rest)),
        [1, rest @ ..] => Some((1, rest)),
        [BYTE, value, rest @ ..] => Some((*value, rest)),
        _ => None,
    }
}

/// The I/O APIC of interrupt 0, from the MADT.
fn io_apic(madt: &[u8]) -> Option<PhysAddr> {
    const IO_APIC: u8 = 1;
    let mut entries = madt.get(44..)?;
    while let [kind, len, ..] = *entries {
        let entry = entries.get(..usize::from(len)).filter(|e| e.len() >= 2)?;
        let word = |at: usize| Some(u32::from_le_bytes(*entry.get(at..)?.first_chunk()?));
        if kind == IO_APIC && word(8) == Some(0) {
            return word(4).map(|a| PhysAddr(a.into()));
        }
        entries = &entries[entry.len()..];
    }
    None
}
