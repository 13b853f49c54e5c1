//! Physical memory as it can be seen while booting.

use aurora_machine::PhysAddr;
use zerocopy::FromBytes;

use crate::HandoverError;

const OUT_OF_REACH: HandoverError = HandoverError("the loader left something where it cannot be reached");

/// The first part of physical memory: `phys` is shown at `base + phys`.
#[derive(Clone, Copy)]
pub struct Window {
    base: *const u8,
    len: u64,
}

impl Window {
    /// Physical addresses below `len`, shown from `base` on.
    ///
    /// # Safety
    /// What is in RAM there can be read, and nobody writes to what is read through the window while it is in use.
    pub const unsafe fn new(base: *const u8, len: u64) -> Self {
        Self { base, len }
    }

    /// Where the bytes are.
    pub(crate) fn pointer(&self, at: u64, len: u64) -> Result<*const u8, HandoverError> {
        let fits = at != 0 && at.checked_add(len).is_some_and(|end| end <= self.len);
        let offset = usize::try_from(at).map_err(|_| OUT_OF_REACH)?;
        fits.then(|| self.base.wrapping_add(offset)).ok_or(OUT_OF_REACH)
    }

    /// The value at `at`.
    pub fn read<T: FromBytes>(&self, at: u64) -> Result<T, HandoverError> {
        let pointer = self.pointer(at, size_of::<T>() as u64)?;
        // SAFETY: inside the window; any bytes are a `T`.
        Ok(unsafe { pointer.cast::<T>().read_unaligned() })
    }

    /// The bytes from `at` on.
    pub fn bytes(&self, at: u64, len: u64) -> Result<&[u8], HandoverError> {
        let pointer = self.pointer(at, len)?;
        let len = usize::try_from(len).map_err(|_| OUT_OF_REACH)?;
        // SAFETY: inside the window, where nobody writes.
        Ok(unsafe { core::slice::from_raw_parts(pointer, len) })
    }

    /// The bytes from `at` up to a zero, at most `max`.
    pub(crate) fn text(&self, at: u64, max: u64) -> Result<&[u8], HandoverError> {
        let all = self.bytes(at, max.min(self.len.saturating_sub(at)))?;
        Ok(all.split(|&b| b == 0).next().unwrap_or_default())
    }

    /// The physical address of something the window shows.
    pub(crate) fn physical<T>(&self, pointer: *const T) -> PhysAddr {
        PhysAddr((pointer as u64).wrapping_sub(self.base as u64))
    }
}
