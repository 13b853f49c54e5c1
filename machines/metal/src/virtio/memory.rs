//! Device registers, and memory that a device works on.

use core::alloc::Layout;
use core::sync::atomic::{AtomicU16, Ordering};

use aurora_machine::{PAGE_SIZE, PhysAddr};

use crate::layout::{DEVICE_MAP, direct_map};

/// Registers of a device, mapped uncached.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    base: u64,
    len: u64,
}

macro_rules! access {
    ($($read:ident, $write:ident: $kind:ty;)*) => {$(
        pub(crate) fn $read(self, offset: usize) -> $kind {
            // SAFETY: `place` checked that it is one of the registers, which are mapped for good.
            unsafe { self.place::<$kind>(offset).read_volatile() }
        }
        pub(crate) fn $write(self, offset: usize, value: $kind) {
            // SAFETY: as above; what the device does on it is in its driver's hands.
            unsafe { self.place::<$kind>(offset).write_volatile(value) }
        }
    )*};
}

impl Registers {
    /// Those at a physical address, which paging.rs has mapped.
    pub(crate) fn new(at: PhysAddr, len: u64) -> Self {
        Self { base: DEVICE_MAP + at.0, len }
    }

    fn place<T>(self, offset: usize) -> *mut T {
        let inside = offset.is_multiple_of(size_of::<T>()) && (offset + size_of::<T>()) as u64 <= self.len;
        assert!(inside, "no register at {offset:#x}");
        (self.base + offset as u64) as *mut T
    }

    /// Some of them, as registers of their own.
    pub(crate) fn part(self, offset: u64, len: u64) -> Self {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len), "no registers at {offset:#x}");
        Self { base: self.base + offset, len }
    }

    /// Bytes of them.
    pub(crate) fn len(self) -> u64 {
        self.len
    }

    access! {
        read_u8, write_u8: u8;
        read_u16, write_u16: u16;
        read_u32, write_u32: u32;
    }
}

/// Memory that we and a device work on, in one piece, zero at first. It is the device's for good and never freed.
pub(crate) struct Shared {
    base: *mut u8,
    len: usize,
}

// SAFETY: nothing else has a pointer to it but the device, and every access is volatile or atomic.
unsafe impl Send for Shared {}

impl Shared {
    /// Whole pages of the kernel's heap, which the direct map shows in one piece.
    pub(crate) fn allocate(len: usize) -> Option<Self> {
        let layout = Layout::from_size_align(len, PAGE_SIZE as usize).ok().filter(|layout| layout.size() > 0)?;
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc::alloc::alloc_zeroed(layout) };
        (!base.is_null()).then_some(Self { base, len })
    }

    /// Where the device finds a byte of it.
    pub(crate) fn phys(&self, offset: usize) -> u64 {
        debug_assert!(offset < self.len);
        self.base as u64 - direct_map() + offset as u64
    }

    fn place<T>(&self, offset: usize) -> *mut T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.len, "inside what is shared");
        // SAFETY: just checked.
        unsafe { self.base.add(offset).cast() }
    }

    /// Reads a value.
    pub(crate) fn read<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: inside, aligned, and all values used here are plain numbers, whatever the device wrote.
        unsafe { self.place::<T>(offset).read_volatile() }
    }

    /// Writes a value.
    pub(crate) fn write<T: Copy>(&self, offset: usize, value: T) {
        // SAFETY: inside and aligned.
        unsafe { self.place::<T>(offset).write_volatile(value) }
    }

    /// Reads an index of a ring: what was written before it is there.
    pub(crate) fn load_index(&self, offset: usize) -> u16 {
        // SAFETY: inside, aligned, and the device changes it as one value.
        unsafe { AtomicU16::from_ptr(self.place(offset)) }.load(Ordering::Acquire)
    }

    /// Writes an index of a ring, after all that was written before.
    pub(crate) fn store_index(&self, offset: usize, value: u16) {
        // SAFETY: as above.
        unsafe { AtomicU16::from_ptr(self.place(offset)) }.store(value, Ordering::SeqCst);
    }
}
