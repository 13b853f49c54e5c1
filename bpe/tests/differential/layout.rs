//! The address space both processors see, at the same addresses.

/// Where instructions are put: a page full of `INT3`.
pub const CODE: u64 = 0x1000_0000;
/// Offset of the tested instruction in it.
pub const ENTRY: u64 = 0x800;
/// Two writable pages, a hole, a page that can only be read, a hole.
pub const DATA: u64 = 0x1100_0000;
pub const PAGE: u64 = 4096;
/// Pages that exist, from `DATA`, and whether they can be written.
pub const PAGES: [(u64, bool); 3] = [(0, true), (1, true), (3, false)];
/// What GS points at.
pub const GS_BASE: u64 = DATA + 0x400;
