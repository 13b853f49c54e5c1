//! Copies between the kernel and user memory.
//!
//! A copy walks the page tables in software, obeys the same permissions as the program would, never blocks and never
//! allocates. Where a page is missing it stops and says how far it got: the caller drops its locks, has the page
//! brought in, and goes on.

use core::sync::atomic::Ordering;

use crate::paging::{Translation, walk};
use crate::{Access, Frame, PAGE_SIZE, PageTable, PhysAddr, VirtAddr};

/// A copy stopped at a page the tables do not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyFault {
    /// Bytes copied before it.
    pub done: usize,
    /// The first byte that could not be reached.
    pub addr: VirtAddr,
    /// What was tried there.
    pub access: Access,
}

impl PageTable {
    fn reach(&self, addr: VirtAddr, access: Access, done: usize) -> Result<PhysAddr, CopyFault> {
        let fault = CopyFault { done, addr, access };
        if !addr.is_user() {
            return Err(fault);
        }
        let Translation { frame, .. } = walk(self.memory(), self.root().root, addr, access).map_err(|_| fault)?;
        Ok(PhysAddr(frame.0 + addr.page_offset() as u64))
    }

    /// Splits `len` bytes at `addr` into runs that stay inside a page and hands each to `each(phys, done, run)`.
    fn runs(
        &self,
        addr: VirtAddr,
        len: usize,
        access: Access,
        mut each: impl FnMut(PhysAddr, usize, usize),
    ) -> Result<(), CopyFault> {
        let mut done = 0;
        while done < len {
            let at = addr + done as u64;
            let run = (PAGE_SIZE as usize - at.page_offset()).min(len - done);
            let phys = self.reach(at, access, done)?;
            each(phys, done, run);
            done += run;
        }
        Ok(())
    }

    /// Copies from user memory.
    pub fn copy_in(&self, addr: VirtAddr, dst: &mut [u8]) -> Result<(), CopyFault> {
        self.runs(addr, dst.len(), Access::Read, |phys, done, run| {
            self.memory().read_bytes(phys, &mut dst[done..done + run]);
        })
    }

    /// Copies to user memory.
    pub fn copy_out(&self, addr: VirtAddr, src: &[u8]) -> Result<(), CopyFault> {
        self.runs(addr, src.len(), Access::Write, |phys, done, run| {
            self.memory().write_bytes(phys, &src[done..done + run]);
        })
    }

    /// Copies `len` bytes of `frame` from `offset` on to user memory; stops at the frame's end.
    pub fn copy_out_frame(&self, addr: VirtAddr, frame: &Frame, offset: usize, len: usize) -> Result<(), CopyFault> {
        let len = len.min((PAGE_SIZE as usize).saturating_sub(offset));
        self.runs(addr, len, Access::Write, |phys, done, run| {
            self.memory().copy_bytes(PhysAddr(frame.phys().0 + (offset + done) as u64), phys, run);
        })
    }

    /// Copies `len` bytes of user memory into `frame` from `offset` on; stops at the frame's end.
    pub fn copy_in_frame(&self, addr: VirtAddr, frame: &Frame, offset: usize, len: usize) -> Result<(), CopyFault> {
        let len = len.min((PAGE_SIZE as usize).saturating_sub(offset));
        self.runs(addr, len, Access::Read, |phys, done, run| {
            self.memory().copy_bytes(phys, PhysAddr(frame.phys().0 + (offset + done) as u64), run);
        })
    }

    /// Zeroes user memory.
    pub fn zero_out(&self, addr: VirtAddr, len: usize) -> Result<(), CopyFault> {
        const ZEROS: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
        self.runs(addr, len, Access::Write, |phys, _, run| self.memory().write_bytes(phys, &ZEROS[..run]))
    }

    /// Copies a string up to and including its NUL, or until `dst` is full. Returns bytes copied, the NUL too.
    pub fn copy_in_str(&self, addr: VirtAddr, dst: &mut [u8]) -> Result<usize, CopyFault> {
        let mut done = 0;
        while done < dst.len() {
            let at = addr + done as u64;
            let run = (PAGE_SIZE as usize - at.page_offset()).min(dst.len() - done);
            let phys = self.reach(at, Access::Read, done)?;
            let part = &mut dst[done..done + run];
            self.memory().read_bytes(phys, part);
            if let Some(nul) = part.iter().position(|&b| b == 0) {
                return Ok(done + nul + 1);
            }
            done += run;
        }
        Ok(done)
    }

    /// Loads an aligned 32-bit futex word, and the physical address that names it across address spaces.
    pub fn load_u32(&self, addr: VirtAddr) -> Result<(u32, PhysAddr), CopyFault> {
        let phys = self.reach(addr, Access::Read, 0)?;
        Ok((self.memory().atomic_u32(PhysAddr(phys.0 & !3)).load(Ordering::SeqCst), phys))
    }

    /// Replaces an aligned 32-bit word by `new` if it is `current`; returns what was there.
    pub fn compare_exchange_u32(&self, addr: VirtAddr, current: u32, new: u32) -> Result<u32, CopyFault> {
        let phys = self.reach(addr, Access::Write, 0)?;
        self.memory().note_write(phys);
        let cell = self.memory().atomic_u32(PhysAddr(phys.0 & !3));
        Ok(cell.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|v| v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::HostMemory;
    use crate::{PageFlags, VirtRange};

    #[test]
    fn a_copy_stops_at_the_first_missing_page_and_says_how_far_it_got() {
        let memory = HostMemory::allocate(32 * PAGE_SIZE).unwrap().into_phys();
        let mut table = PageTable::new(&memory).unwrap();
        let at = VirtAddr(0x1_0000);
        table.cursor(VirtRange::user()).map(at, memory.allocate().unwrap(), PageFlags::WRITE).unwrap();
        let data = [7u8; 100];
        let start = at + (PAGE_SIZE - 60);
        let fault = table.copy_out(start, &data).unwrap_err();
        assert_eq!(fault, CopyFault { done: 60, addr: at + PAGE_SIZE, access: Access::Write });
        table.cursor(VirtRange::user()).map(at + PAGE_SIZE, memory.allocate().unwrap(), PageFlags::empty()).unwrap();
        assert!(table.copy_out(start, &data).is_err(), "read-only pages refuse writes");
        let mut back = [0u8; 61];
        table.copy_in(start, &mut back).unwrap();
        assert_eq!((back[59], back[60]), (7, 0));
    }
}
