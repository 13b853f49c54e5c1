//! Four-level x86-64 page tables (Intel SDM volume 3, chapter 4), the same on silicon and under BPE/U.
//!
//! What always holds: a present leaf entry owns one count of its frame; a table frame is owned by exactly one entry of
//! its parent; the upper half belongs to the machine's kernel and is never touched. A [`Cursor`] borrows the tables for
//! a range, so while one exists nobody else changes them.

use alloc::sync::Arc;

use crate::{Access, Frame, OutOfFrames, PAGE_SIZE, PhysAddr, PhysMemory, SpaceRoot, VirtAddr, VirtRange};

bitflags::bitflags! {
    /// Bits of a leaf entry.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PageFlags: u64 {
        /// The entry maps a frame.
        const PRESENT = 1;
        /// Writes are allowed.
        const WRITE = 1 << 1;
        /// User mode may use it.
        const USER = 1 << 2;
        /// Was used since this was cleared.
        const ACCESSED = 1 << 5;
        /// Was written since this was cleared.
        const DIRTY = 1 << 6;
        /// Instruction fetches are forbidden.
        const NO_EXECUTE = 1 << 63;
    }
}

/// The physical-address bits of an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = PageFlags::PRESENT.bits();
const TABLE_FLAGS: u64 = PageFlags::PRESENT.bits() | PageFlags::WRITE.bits() | PageFlags::USER.bits();
const ENTRIES: u64 = 512;

/// The tag of an address space's translations: never used twice while the machine is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpaceId(pub u64);

/// Why a walk found no way to the access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// An entry on the way is not present.
    NotPresent,
    /// The leaf forbids the access.
    Protection,
}

/// A translation a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Start of the frame.
    pub frame: PhysAddr,
    /// The leaf's flags after the walk.
    pub flags: PageFlags,
}

/// Walks the tables for a user access to `addr`, marking the leaf accessed, and dirty on a write, as a processor does.
pub fn walk(memory: &PhysMemory, root: PhysAddr, addr: VirtAddr, access: Access) -> Result<Translation, WalkError> {
    let mut table = root;
    for level in [3u32, 2, 1] {
        let entry = memory.read_u64(entry_address(table, addr, level));
        if entry & PRESENT == 0 {
            return Err(WalkError::NotPresent);
        }
        table = PhysAddr(entry & ADDRESS);
    }
    let at = entry_address(table, addr, 0);
    let entry = memory.read_u64(at);
    let flags = PageFlags::from_bits_truncate(entry);
    if !flags.contains(PageFlags::PRESENT) {
        return Err(WalkError::NotPresent);
    }
    let allowed = flags.contains(PageFlags::USER)
        && match access {
            Access::Read => true,
            Access::Write => flags.contains(PageFlags::WRITE),
            Access::Execute => !flags.contains(PageFlags::NO_EXECUTE),
        };
    if !allowed {
        return Err(WalkError::Protection);
    }
    let mut mark = PageFlags::ACCESSED;
    if access == Access::Write {
        mark |= PageFlags::DIRTY;
    }
    if !flags.contains(mark) {
        memory.set_bits_u64(at, mark.bits());
    }
    Ok(Translation { frame: PhysAddr(entry & ADDRESS), flags: flags | mark })
}

/// Where the entry for `addr` stands in a table of `level` (0 is the leaf level).
fn entry_address(table: PhysAddr, addr: VirtAddr, level: u32) -> PhysAddr {
    let index = (addr.0 >> (12 + 9 * level)) & (ENTRIES - 1);
    PhysAddr(table.0 + index * 8)
}

/// Bytes one entry of a table of `level` covers.
const fn span(level: u32) -> u64 {
    PAGE_SIZE << (9 * level)
}

/// One address space's page tables.
pub struct PageTable {
    memory: Arc<PhysMemory>,
    root: PhysAddr,
    id: SpaceId,
    tables: u64,
}

/// What a leaf entry says.
#[derive(Debug)]
pub struct Mapping {
    /// The page.
    pub addr: VirtAddr,
    /// The frame it shows; shared with the entry.
    pub frame: Frame,
    /// The entry's flags.
    pub flags: PageFlags,
}

impl PageTable {
    /// Empty tables; on machines whose kernel lives in the page tables, with its upper half.
    pub fn new(memory: &Arc<PhysMemory>) -> Result<Self, OutOfFrames> {
        let root = new_table(memory)?;
        if let Some(kernel) = memory.kernel_root() {
            for i in ENTRIES / 2..ENTRIES {
                memory.write_u64(PhysAddr(root.0 + i * 8), memory.read_u64(PhysAddr(kernel.0 + i * 8)));
            }
        }
        Ok(Self { memory: memory.clone(), root, id: SpaceId(memory.new_space_id()), tables: 1 })
    }

    /// What a processor needs to run in this space.
    pub fn root(&self) -> SpaceRoot {
        SpaceRoot { root: self.root, id: self.id }
    }

    /// The memory the tables and frames are in.
    pub fn memory(&self) -> &Arc<PhysMemory> {
        &self.memory
    }

    /// Frames the tables themselves take.
    pub fn table_frames(&self) -> u64 {
        self.tables
    }

    /// A cursor over the pages of `range`, which must be page-aligned and in user space: what is outside is left out.
    pub fn cursor(&mut self, range: VirtRange) -> Cursor<'_> {
        let user = range.intersection(&VirtRange::user());
        let range = user.unwrap_or(VirtRange { start: VirtAddr(0), end: VirtAddr(0) });
        Cursor { next: range.start.page_floor(), end: range.end, table: self, leaf: None }
    }

    /// The mapping of the page `addr` is in.
    pub fn query(&self, addr: VirtAddr) -> Option<Mapping> {
        let at = self.leaf_entry(addr)?;
        let entry = self.memory.read_u64(at);
        (entry & PRESENT != 0).then(|| self.mapping(addr.page_floor(), entry))
    }

    fn mapping(&self, addr: VirtAddr, entry: u64) -> Mapping {
        let phys = PhysAddr(entry & ADDRESS);
        self.memory.retain(phys);
        Mapping { addr, frame: Frame::from_entry(&self.memory, phys), flags: PageFlags::from_bits_truncate(entry) }
    }

    /// Where the leaf entry of `addr` stands, if its table exists.
    fn leaf_entry(&self, addr: VirtAddr) -> Option<PhysAddr> {
        let mut table = self.root;
        for level in [3, 2, 1] {
            let entry = self.memory.read_u64(entry_address(table, addr, level));
            if entry & PRESENT == 0 {
                return None;
            }
            table = PhysAddr(entry & ADDRESS);
        }
        Some(entry_address(table, addr, 0))
    }

    /// The same, making the tables on the way.
    fn make_leaf_entry(&mut self, addr: VirtAddr) -> Result<PhysAddr, OutOfFrames> {
        let mut table = self.root;
        for level in [3, 2, 1] {
            let at = entry_address(table, addr, level);
            let entry = self.memory.read_u64(at);
            table = if entry & PRESENT != 0 {
                PhysAddr(entry & ADDRESS)
            } else {
                let new = new_table(&self.memory)?;
                self.tables += 1;
                self.memory.write_u64(at, new.0 | TABLE_FLAGS);
                new
            };
        }
        Ok(entry_address(table, addr, 0))
    }
}

fn new_table(memory: &PhysMemory) -> Result<PhysAddr, OutOfFrames> {
    let phys = memory.take_raw()?;
    for i in 0..ENTRIES {
        memory.write_u64(PhysAddr(phys.0 + i * 8), 0);
    }
    Ok(phys)
}

impl Drop for PageTable {
    /// Releases every frame still mapped, and the tables. The machine must have forgotten the space by then.
    fn drop(&mut self) {
        for i in 0..ENTRIES / 2 {
            let entry = self.memory.read_u64(PhysAddr(self.root.0 + i * 8));
            if entry & PRESENT != 0 {
                free_tree(&self.memory, PhysAddr(entry & ADDRESS), 2);
            }
        }
        self.memory.release(self.root);
    }
}

fn free_tree(memory: &PhysMemory, table: PhysAddr, level: u32) {
    for i in 0..ENTRIES {
        let entry = memory.read_u64(PhysAddr(table.0 + i * 8));
        if entry & PRESENT == 0 {
            continue;
        }
        match level {
            0 => memory.release(PhysAddr(entry & ADDRESS)),
            _ => free_tree(memory, PhysAddr(entry & ADDRESS), level - 1),
        }
    }
    memory.release(table);
}

/// Exclusive access to the entries of a range.
///
/// Mapped pages are visited with [`Cursor::next`], which skips holes in steps of whole tables; [`Cursor::map`],
/// [`Cursor::protect`] and [`Cursor::unmap`] act on the page last returned, or on one named.
pub struct Cursor<'a> {
    table: &'a mut PageTable,
    next: VirtAddr,
    end: VirtAddr,
    /// The last-level table used last, and the start of what it covers.
    leaf: Option<(VirtAddr, PhysAddr)>,
}

impl Cursor<'_> {
    /// The next mapped page of the range.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Mapping> {
        while self.next < self.end {
            let addr = self.next;
            let Some(at) = self.entry(addr) else {
                // No table here: on to the start of the next one.
                let start = VirtAddr(addr.0 & !(span(1) - 1));
                self.next = start.checked_add(span(1)).unwrap_or(self.end);
                continue;
            };
            self.next = addr + PAGE_SIZE;
            let entry = self.table.memory.read_u64(at);
            if entry & PRESENT != 0 {
                return Some(self.table.mapping(addr, entry));
            }
        }
        None
    }

    /// Where the next call of [`Cursor::next`] will look.
    pub fn position(&self) -> VirtAddr {
        self.next
    }

    fn entry(&mut self, addr: VirtAddr) -> Option<PhysAddr> {
        let base = VirtAddr(addr.0 & !(span(1) - 1));
        if let Some((start, table)) = self.leaf
            && start == base
        {
            return Some(entry_address(table, addr, 0));
        }
        let at = self.table.leaf_entry(addr)?;
        self.leaf = Some((base, PhysAddr(at.0 & ADDRESS)));
        Some(at)
    }

    /// Maps `frame` at the page `addr`, in user space (else nothing happens), for programs. Returns what was mapped there
    /// before: then the machine must be told with `invalidate`.
    pub fn map(&mut self, addr: VirtAddr, frame: Frame, flags: PageFlags) -> Result<Option<Frame>, OutOfFrames> {
        debug_assert!(Arc::ptr_eq(frame.memory(), &self.table.memory));
        if !addr.is_user() {
            return Ok(None);
        }
        let at = match self.entry(addr) {
            Some(at) => at,
            None => self.table.make_leaf_entry(addr)?,
        };
        let flags = flags | PageFlags::PRESENT | PageFlags::USER;
        let old = self.table.memory.read_u64(at);
        self.table.memory.write_u64(at, frame.into_entry().0 | flags.bits());
        Ok((old & PRESENT != 0).then(|| Frame::from_entry(&self.table.memory, PhysAddr(old & ADDRESS))))
    }

    /// Replaces the flags of the page `addr`, keeping accessed and dirty. Without [`PageFlags::USER`] the page stays but
    /// no program can touch it (`PROT_NONE`). Returns whether it was mapped; if it lost a
    /// permission the machine must be told with `invalidate`.
    pub fn protect(&mut self, addr: VirtAddr, flags: PageFlags) -> bool {
        let Some(at) = self.entry(addr) else { return false };
        let old = self.table.memory.read_u64(at);
        if old & PRESENT == 0 {
            return false;
        }
        let keep = old & (ADDRESS | PageFlags::ACCESSED.bits() | PageFlags::DIRTY.bits());
        self.table.memory.write_u64(at, keep | (flags | PageFlags::PRESENT).bits());
        true
    }

    /// Takes the page `addr` out of the tables. The machine must be told with `invalidate`, before the frame is dropped.
    pub fn unmap(&mut self, addr: VirtAddr) -> Option<Mapping> {
        let at = self.entry(addr)?;
        let old = self.table.memory.read_u64(at);
        if old & PRESENT == 0 {
            return None;
        }
        self.table.memory.write_u64(at, 0);
        Some(Mapping {
            addr,
            frame: Frame::from_entry(&self.table.memory, PhysAddr(old & ADDRESS)),
            flags: PageFlags::from_bits_truncate(old),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::HostMemory;

    fn memory() -> Arc<PhysMemory> {
        HostMemory::allocate(64 * PAGE_SIZE).unwrap().into_phys()
    }
    fn page(n: u64) -> VirtAddr {
        VirtAddr(n * PAGE_SIZE)
    }

    #[test]
    fn a_mapped_page_is_found_and_marked_and_freed_with_its_table() {
        let memory = memory();
        let free = memory.free_frames();
        let mut table = PageTable::new(&memory).unwrap();
        let frame = memory.allocate().unwrap();
        let phys = frame.phys();
        let far = VirtAddr(0x7fff_ffff_e000);
        table.cursor(VirtRange::user()).map(far, frame, PageFlags::NO_EXECUTE).unwrap();
        let root = table.root().root;
        assert_eq!(walk(&memory, root, far, Access::Write), Err(WalkError::Protection));
        assert_eq!(walk(&memory, root, far, Access::Execute), Err(WalkError::Protection));
        let found = walk(&memory, root, far + 5, Access::Read).unwrap();
        assert_eq!(found.frame, phys);
        assert!(table.query(far).unwrap().flags.contains(PageFlags::ACCESSED));
        assert_eq!(walk(&memory, root, page(3), Access::Read), Err(WalkError::NotPresent));
        drop(table);
        assert_eq!(memory.free_frames(), free);
    }

    #[test]
    fn a_cursor_visits_mapped_pages_in_order_over_holes() {
        let memory = memory();
        let mut table = PageTable::new(&memory).unwrap();
        let pages = [page(1), page(2), page(513), page(1 << 20)];
        for addr in pages {
            table.cursor(VirtRange::user()).map(addr, memory.allocate().unwrap(), PageFlags::WRITE).unwrap();
        }
        let mut cursor = table.cursor(VirtRange::user());
        let mut seen = std::vec![];
        while let Some(mapping) = cursor.next() {
            seen.push(mapping.addr);
            cursor.protect(mapping.addr, PageFlags::NO_EXECUTE);
        }
        assert_eq!(seen, pages);
        assert!(!table.query(page(1)).unwrap().flags.contains(PageFlags::WRITE));
        assert!(table.cursor(VirtRange::user()).unmap(page(513)).unwrap().frame.is_unique());
        assert!(table.query(page(513)).is_none());
    }
}
