//! Addresses. `usize` is 32 bits on WebAssembly, so guest addresses are `u64` newtypes everywhere.

use core::fmt;
use core::ops::{Add, Sub};

/// Bytes in a page and in a frame.
pub const PAGE_SIZE: u64 = 4096;

/// First address past user space: Linux's `TASK_SIZE` with four-level tables.
pub const USER_END: VirtAddr = VirtAddr(0x7fff_ffff_f000);

/// A virtual address as a program sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtAddr(pub u64);

/// A physical address: of RAM, as page tables name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysAddr(pub u64);

impl VirtAddr {
    /// The start of the page this address is in.
    pub const fn page_floor(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }
    /// The first page boundary at or after this address; `None` past the end of the address space.
    pub const fn page_ceil(self) -> Option<Self> {
        match self.0.checked_add(PAGE_SIZE - 1) {
            Some(a) => Some(Self(a & !(PAGE_SIZE - 1))),
            None => None,
        }
    }
    /// Offset inside the page, below [`PAGE_SIZE`].
    pub const fn page_offset(self) -> usize {
        (self.0 & (PAGE_SIZE - 1)) as usize
    }
    /// Whether this is a page boundary.
    pub const fn is_page_aligned(self) -> bool {
        self.0 & (PAGE_SIZE - 1) == 0
    }
    /// The address `bytes` further, unless that wraps.
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(a) => Some(Self(a)),
            None => None,
        }
    }
    /// Whether bits 47 to 63 are equal, as four-level paging demands.
    pub const fn is_canonical(self) -> bool {
        let top = self.0 >> 47;
        top == 0 || top == 0x1ffff
    }
    /// Whether this is below [`USER_END`].
    pub const fn is_user(self) -> bool {
        self.0 < USER_END.0
    }
}

impl PhysAddr {
    /// The number of the frame this address is in.
    pub const fn frame_number(self) -> u64 {
        self.0 / PAGE_SIZE
    }
}

impl Add<u64> for VirtAddr {
    type Output = Self;
    /// Wraps, as address arithmetic of the processor does; use [`VirtAddr::checked_add`] on what a program gave.
    fn add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}
impl Sub<u64> for VirtAddr {
    type Output = Self;
    fn sub(self, bytes: u64) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }
}
impl Sub<VirtAddr> for VirtAddr {
    type Output = u64;
    fn sub(self, other: VirtAddr) -> u64 {
        self.0.wrapping_sub(other.0)
    }
}
impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phys:{:#x}", self.0)
    }
}
impl fmt::LowerHex for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// A half-open range of virtual addresses, `start <= end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VirtRange {
    /// First address.
    pub start: VirtAddr,
    /// First address past the range.
    pub end: VirtAddr,
}

impl VirtRange {
    /// `None` when the range would wrap.
    pub const fn new(start: VirtAddr, bytes: u64) -> Option<Self> {
        match start.checked_add(bytes) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }
    /// The page `addr` is in.
    pub const fn page_of(addr: VirtAddr) -> Self {
        let start = addr.page_floor();
        Self { start, end: VirtAddr(start.0.saturating_add(PAGE_SIZE)) }
    }
    /// All of user space.
    pub const fn user() -> Self {
        Self { start: VirtAddr(0), end: USER_END }
    }
    /// Length in bytes.
    pub const fn len(&self) -> u64 {
        self.end.0 - self.start.0
    }
    /// Number of whole pages.
    pub const fn pages(&self) -> u64 {
        self.len() / PAGE_SIZE
    }
    /// Whether no address is in the range.
    pub const fn is_empty(&self) -> bool {
        self.start.0 == self.end.0
    }
    /// Whether `addr` is inside.
    pub const fn contains(&self, addr: VirtAddr) -> bool {
        self.start.0 <= addr.0 && addr.0 < self.end.0
    }
    /// Whether both share an address.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }
    /// The part both share, if any.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Self { start, end })
    }
}
