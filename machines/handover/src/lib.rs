//! What boot loaders hand over, in one form: where RAM is, the initial archive, the command line, a screen, ACPI's root.
//!
//! There is no heap yet when this is read, and what a loader left lies in RAM that is free afterwards: everything but the
//! archive's bytes is copied here at once. Runs on the bare machine; an ordinary crate so that it can be tested on any.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod limine;
mod memory_map;
pub mod multiboot2;
pub mod pvh;
#[cfg(test)]
mod tests;
mod window;

use aurora_machine::PhysAddr;

pub use memory_map::MemoryMap;
pub use window::Window;

/// What the loader said.
#[derive(Clone)]
pub struct Handover {
    /// Usable RAM.
    pub ram: MemoryMap,
    /// The initial archive.
    pub archive: Option<Archive>,
    /// For the kernel.
    pub command_line: CommandLine,
    /// What it set up to draw on.
    pub screen: Option<Screen>,
    /// Where ACPI's tables start.
    pub acpi: Option<acpi::Root>,
}

/// Why a hand-over is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandoverError(
    /// For a person to read.
    pub &'static str,
);

/// Bytes in RAM, to be unpacked at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its first byte.
    pub start: PhysAddr,
    /// Bytes.
    pub len: u64,
}

/// A linear framebuffer of 24 or 32 bits a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Its first pixel.
    pub start: PhysAddr,
    /// Bytes from one row to the next.
    pub pitch: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes of a pixel: 3 or 4.
    pub pixel_bytes: u8,
    /// Lowest bit of red, green and blue, each of eight bits.
    pub shifts: [u8; 3],
}

impl Screen {
    /// The screen, if it is one we can draw on.
    fn usable(self) -> Option<Self> {
        let fits = u64::from(self.width) * u64::from(self.pixel_bytes) <= u64::from(self.pitch);
        let bits = self.pixel_bytes * 8;
        let colours = self.shifts.iter().all(|&shift| shift.checked_add(8).is_some_and(|end| end <= bits));
        let known = matches!(self.pixel_bytes, 3 | 4) && self.width > 0 && self.height > 0 && self.start.0 != 0;
        (known && fits && colours).then_some(self)
    }
}

/// A command line, cut off at [`CommandLine::MAX`] bytes.
#[derive(Clone)]
pub struct CommandLine {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl CommandLine {
    /// Longest one kept.
    pub const MAX: usize = 4096;

    fn new(text: &[u8]) -> Self {
        let mut line = Self { bytes: [0; Self::MAX], len: text.len().min(Self::MAX) };
        line.bytes[..line.len].copy_from_slice(&text[..line.len]);
        line
    }

    /// What was said.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
