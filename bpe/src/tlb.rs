//! The software TLB: direct-mapped, tagged by address space.
//!
//! What always holds: an entry's tag is the page's address with the space's small number (never 0) in the low bits, so an
//! empty tag of 0 matches nothing; a write tag is set only while the frame holds no decoded code and its page-table entry
//! is marked dirty; every entry in the tables was allowed by a page walk since the last invalidation of its page.
//!
//! Translated code looks at a table of its own, larger and for the current space only, so that one addition and one
//! comparison decide: a tag there is the negative of a page's address, and an empty one is that of a page that belongs in
//! another slot.
//! It also remembers a few pages by itself, all of which can be written, whatever else, while it runs.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use aurora_machine::{PAGE_SIZE, PhysAddr, VirtAddr, VirtRange};

/// Entries for data.
const DATA: usize = 1024;
/// Entries for code.
const CODE: usize = 512;
const OFFSET: u64 = PAGE_SIZE - 1;

/// The layout of the table translated code looks at.
pub(crate) struct Fast {
    /// How many entries it has.
    pub(crate) entries: u32,
    /// log2 of the bytes of one.
    pub(crate) shift: u32,
    /// Offsets in one: the tag for reading, for writing, and the host address of the page less its virtual address.
    pub(crate) read: u32,
    pub(crate) write: u32,
    pub(crate) host: u32,
}

/// See [`Fast`].
pub(crate) const FAST: Fast = Fast { entries: 4096, shift: 5, read: 0, write: 8, host: 16 };

#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct FastEntry {
    read: u64,
    write: u64,
    host: *mut u8,
}

/// A page translated code remembers: its tag, and its host address less its address.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Remembered {
    tag: u64,
    host: *mut u8,
}

/// The layout of the pages translated code remembers, one or another for each of its functions.
pub(crate) struct Pages {
    pub(crate) count: u32,
    /// log2 of the bytes of one.
    pub(crate) shift: u32,
    /// Offset of the host address in one.
    pub(crate) host: u32,
}

/// See [`Pages`].
pub(crate) const PAGES: Pages = Pages { count: 256, shift: 4, host: 8 };

const _: () =
    assert!(size_of::<Remembered>() == 1 << PAGES.shift && offset_of!(Remembered, host) == PAGES.host as usize);
const _: () = assert!(size_of::<FastEntry>() == 1 << FAST.shift && offset_of!(FastEntry, host) == FAST.host as usize);

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
    fast: Vec<FastEntry>,
    /// Slots of `fast` that hold something.
    filled: Vec<u16>,
    /// The space `fast` is for.
    fast_asid: u64,
    remembered: Vec<Remembered>,
    /// Whether those are still what they were.
    remembers: bool,
}

impl Tlb {
    pub(crate) fn new() -> Self {
        Self {
            fast: (0..FAST.entries as usize).map(empty).collect(),
            filled: Vec::new(),
            fast_asid: 0,
            remembered: vec![Remembered { tag: 0, host: core::ptr::null_mut() }; PAGES.count as usize],
            remembers: false,
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

    /// Where translated code looks.
    pub(crate) fn fast_address(&self) -> usize {
        self.fast.as_ptr() as usize
    }

    /// Where the pages are that translated code remembers.
    pub(crate) fn remembered_address(&self) -> usize {
        self.remembered.as_ptr() as usize
    }

    /// Whether the pages that translated code remembers can be written.
    #[inline(always)]
    pub(crate) fn remembers(&self) -> bool {
        self.remembers
    }

    /// Some page that can be written in the space `asid`.
    pub(crate) fn some_written(&self, asid: u64) -> Option<u64> {
        let tag = self.data.iter().map(|entry| entry.write).find(|&tag| tag != 0 && tag & OFFSET == asid)?;
        Some(tag & !OFFSET)
    }

    /// Has translated code remember the page of `addr` everywhere. Whether that can be written.
    pub(crate) fn remember(&mut self, addr: u64) -> bool {
        let (entry, tag) = (self.fast[fast_slot(addr)], fast_tag(addr));
        self.remembers = entry.write == tag;
        if self.remembers {
            self.remembered.fill(Remembered { tag, host: entry.host });
        }
        self.remembers
    }

    /// From now on translated code runs in the space `asid`.
    pub(crate) fn enter_fast(&mut self, asid: u64) {
        if self.fast_asid != asid {
            self.clear_fast();
            self.fast_asid = asid;
        }
    }

    /// Lets translated code find the page of `addr`, if it is here.
    pub(crate) fn fill_fast(&mut self, addr: u64) {
        let entry = self.data[Self::slot(addr)];
        let (tag, read) = (addr & !OFFSET | self.fast_asid, fast_tag(addr));
        if entry.read != tag {
            return;
        }
        let slot = fast_slot(addr);
        let (none, old) = (empty(slot), &mut self.fast[slot]);
        if old.read == none.read {
            self.filled.push(slot as u16);
        }
        let write = if entry.write == tag { read } else { none.write };
        *old = FastEntry { read, write, host: entry.host };
    }

    fn clear_fast(&mut self) {
        self.remembers = false;
        for slot in self.filled.drain(..) {
            self.fast[usize::from(slot)] = empty(slot.into());
        }
    }

    fn invalidate_fast(&mut self, range: VirtRange) {
        if range.pages() > 32 {
            return self.clear_fast();
        }
        self.remembers = false;
        let mut page = range.start.page_floor();
        while page < range.end {
            let slot = fast_slot(page.0);
            let (none, entry) = (empty(slot), &mut self.fast[slot]);
            if entry.read == fast_tag(page.0) {
                // It stays among those filled, with another tag nothing has.
                *entry = FastEntry { read: fast_tag(another(slot) ^ PAGE_SIZE << 1), ..none };
            }
            page = page + PAGE_SIZE;
        }
    }

    /// The frame of an executable page.
    #[inline(always)]
    pub(crate) fn execute(&self, addr: u64, asid: u64) -> Option<PhysAddr> {
        let entry = &self.code[(addr >> 12) as usize % CODE];
        (entry.tag == addr & !OFFSET | asid).then_some(entry.frame)
    }

    /// Remembers an executable page.
    pub(crate) fn fill_code(&mut self, addr: u64, asid: u64, frame: PhysAddr) {
        self.code[(addr >> 12) as usize % CODE] = CodeEntry { tag: addr & !OFFSET | asid, frame };
    }

    /// Forgets write permission to the page at host address `host`, in every space.
    pub(crate) fn forbid_writes(&mut self, host: *mut u8) {
        self.remembers = false;
        for entry in &mut self.data {
            if entry.write != 0 && entry.host.wrapping_add((entry.write & !OFFSET) as usize) == host {
                entry.write = 0;
            }
        }
        for &slot in &self.filled {
            let (none, entry) = (empty(slot.into()), &mut self.fast[usize::from(slot)]);
            if entry.write != none.write && entry.host.wrapping_sub(entry.write as usize) == host {
                entry.write = none.write;
            }
        }
    }

    /// Forgets the pages of `range` in the space `asid`.
    pub(crate) fn invalidate(&mut self, asid: u64, range: VirtRange) {
        let hit = |tag: u64| tag & OFFSET == asid && range.overlaps(&VirtRange::page_of(VirtAddr(tag & !OFFSET)));
        if asid == self.fast_asid {
            self.invalidate_fast(range);
        }
        if range.pages() > 32 {
            self.data.iter_mut().filter(|e| hit(e.read)).for_each(DataEntry::clear);
            self.code.iter_mut().filter(|e| hit(e.tag)).for_each(|e| e.tag = 0);
            return;
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
            }
            page = page + PAGE_SIZE;
        }
    }

    /// Forgets everything of the space `asid`.
    pub(crate) fn retire(&mut self, asid: u64) {
        self.data.iter_mut().filter(|e| e.read & OFFSET == asid).for_each(DataEntry::clear);
        self.code.iter_mut().filter(|e| e.tag & OFFSET == asid).for_each(|e| e.tag = 0);
        if asid == self.fast_asid {
            self.enter_fast(0);
        }
    }

    /// Forgets everything.
    pub(crate) fn flush(&mut self) {
        self.data.iter_mut().for_each(DataEntry::clear);
        self.code.iter_mut().for_each(|e| e.tag = 0);
        self.enter_fast(0);
    }
}

fn fast_slot(addr: u64) -> usize {
    (addr >> 12) as usize % FAST.entries as usize
}

fn fast_tag(addr: u64) -> u64 {
    (addr & !OFFSET).wrapping_neg()
}

/// A page that belongs in another slot.
fn another(slot: usize) -> u64 {
    (slot as u64 ^ 1) << 12
}

/// An entry no address finds in that slot.
fn empty(slot: usize) -> FastEntry {
    let tag = fast_tag(another(slot));
    FastEntry { read: tag, write: tag, host: core::ptr::null_mut() }
}

impl DataEntry {
    fn clear(&mut self) {
        self.read = 0;
        self.write = 0;
    }
}
