//! The software TLB: direct-mapped, tagged by address space.
//!
//! What always holds: an entry's tag is the page's address with the space's small number (never 0) in the low bits, so an
//! empty tag of 0 matches nothing; a write tag is set only while the frame holds no decoded code and its page-table entry
//! is marked dirty; every entry in the tables was allowed by a page walk since the last invalidation of its page.

use aurora_machine::{PAGE_SIZE, PhysAddr, VirtAddr, VirtRange};

/// Entries for data.
const DATA: usize = 1024;
/// Entries for code.
const CODE: usize = 512;
const OFFSET: u64 = PAGE_SIZE - 1;

/// Address-space numbers that fit a tag.
pub(crate) const ASIDS: u64 = PAGE_SIZE;

#[derive(Clone, Copy)]
struct DataEntry {
    read: u64,
    write: u64,
    /// Host address of the page, less its virtual address.
    host: *mut u8,
}

#[derive(Clone, Copy)]
struct CodeEntry {
    tag: u64,
    frame: PhysAddr,
}

/// Cached translations of one processor.
pub(crate) struct Tlb {
    data: [DataEntry; DATA],
    code: [CodeEntry; CODE],
}

impl Tlb {
    pub(crate) const fn new() -> Self {
        Self {
            data: [DataEntry { read: 0, write: 0, host: core::ptr::null_mut() }; DATA],
            code: [CodeEntry { tag: 0, frame: PhysAddr(0) }; CODE],
        }
    }

    #[inline(always)]
    fn slot(addr: u64) -> usize {
        (addr >> 12) as usize % DATA
    }

    /// Host address of `bytes` readable bytes at `addr`, if the entry is there and they stay inside the page. (The entry
    /// looked at is the first byte's and the page compared the last byte's: they agree only inside a page.)
    #[inline(always)]
    pub(crate) fn read(&self, addr: u64, bytes: u64, asid: u64) -> Option<*mut u8> {
        let entry = &self.data[Self::slot(addr)];
        let tag = addr.wrapping_add(bytes - 1) & !OFFSET | asid;
        (entry.read == tag).then(|| entry.host.wrapping_add(addr as usize))
    }

    /// The same for writing.
    #[inline(always)]
    pub(crate) fn write(&self, addr: u64, bytes: u64, asid: u64) -> Option<*mut u8> {
        let entry = &self.data[Self::slot(addr)];
        let tag = addr.wrapping_add(bytes - 1) & !OFFSET | asid;
        (entry.write == tag).then(|| entry.host.wrapping_add(addr as usize))
    }

    /// Remembers that the page of `addr` is at host address `host`, and may be written if `writable`.
    pub(crate) fn fill(&mut self, addr: u64, asid: u64, host: *mut u8, writable: bool) {
        let page = addr & !OFFSET;
        let tag = page | asid;
        self.data[Self::slot(addr)] =
            DataEntry { read: tag, write: if writable { tag } else { 0 }, host: host.wrapping_sub(page as usize) };
    }

    /// The frame of an executable page.
    #[inline(always)]
    pub(crate) fn execute(&self, addr: u64, asid: u64) -> Option<PhysAddr> {
        let entry = &self.code[(addr >> 12) as usize % CODE];
        (entry.tag == addr & !OFFSET | asid).then_some(entry.frame)
    }

    /// Remembers an executable page. Returns whether another one had to go.
    pub(crate) fn fill_code(&mut self, addr: u64, asid: u64, frame: PhysAddr) -> bool {
        let entry = &mut self.code[(addr >> 12) as usize % CODE];
        let evicted = entry.tag != 0;
        *entry = CodeEntry { tag: addr & !OFFSET | asid, frame };
        evicted
    }

    /// Forgets write permission to the page at host address `host`, in every space.
    pub(crate) fn forbid_writes(&mut self, host: *mut u8) {
        for entry in &mut self.data {
            if entry.write != 0 && entry.host.wrapping_add((entry.write & !OFFSET) as usize) == host {
                entry.write = 0;
            }
        }
    }

    /// Forgets the pages of `range` in the space `asid`. Returns whether code may have been among them.
    pub(crate) fn invalidate(&mut self, asid: u64, range: VirtRange) -> bool {
        let hit = |tag: u64| tag & OFFSET == asid && range.overlaps(&VirtRange::page_of(VirtAddr(tag & !OFFSET)));
        let mut code = false;
        if range.pages() > 32 {
            self.data.iter_mut().filter(|e| hit(e.read)).for_each(DataEntry::clear);
            for entry in self.code.iter_mut().filter(|e| hit(e.tag)) {
                entry.tag = 0;
                code = true;
            }
            return code;
        }
        let mut page = range.start.page_floor();
        while page < range.end {
            let data = &mut self.data[Self::slot(page.0)];
            if hit(data.read) {
                data.clear();
            }
            let entry = &mut self.code[(page.0 >> 12) as usize % CODE];
            if hit(entry.tag) {
                entry.tag = 0;
                code = true;
            }
            page = page + PAGE_SIZE;
        }
        code
    }

    /// Forgets everything of the space `asid`.
    pub(crate) fn retire(&mut self, asid: u64) {
        self.data.iter_mut().filter(|e| e.read & OFFSET == asid).for_each(DataEntry::clear);
        self.code.iter_mut().filter(|e| e.tag & OFFSET == asid).for_each(|e| e.tag = 0);
    }

    /// Forgets everything.
    pub(crate) fn flush(&mut self) {
        self.data.iter_mut().for_each(DataEntry::clear);
        self.code.iter_mut().for_each(|e| e.tag = 0);
    }
}

impl DataEntry {
    fn clear(&mut self) {
        self.read = 0;
        self.write = 0;
    }
}
