//! An address space: areas, and the page tables that show what of them is there.
//!
//! What always holds: a page is in the tables only inside an area, with no more rights than the area gives; a page of
//! a private area is writable in the tables only if its frame has no other owner. Everything changes under one lock,
//! and the processor is told before a frame that left the tables can be used again.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use aurora_abi::{Abi, Errno};
use aurora_machine::{
    CopyFault, Frame, Machine, Mapping, OutOfFrames, PAGE_SIZE, PageFlags, PageTable, PhysAddr, SpaceRoot, VirtAddr,
    VirtRange,
};

use crate::memory::area::{Area, Traits};
use crate::memory::layout::Layout;
use crate::memory::{Backing, MemoryControl, PageCache};
use crate::sync::{Guard, Mutex};

/// Most areas one space may have: Linux's `vm.max_map_count`.
pub const MAX_AREAS: usize = 65530;

/// An address space.
pub struct AddressSpace {
    pub(super) machine: Arc<dyn Machine>,
    pub(super) control: Arc<MemoryControl>,
    root: SpaceRoot,
    inner: Mutex<Inner>,
}

/// What the lock guards.
pub struct Inner {
    /// Always there until the space is dropped.
    pub(super) table: PageTable,
    /// By start; they do not overlap.
    pub(super) areas: BTreeMap<VirtAddr, Area>,
    /// Where things go.
    pub layout: Layout,
    /// End of the heap, brk(2).
    pub(super) brk: VirtAddr,
    /// Pages in the tables.
    pub(super) resident: u64,
    /// The most there were.
    pub(super) peak: u64,
    /// What new mappings have from the start (`MCL_FUTURE`).
    pub(super) future: Traits,
}

impl AddressSpace {
    /// An empty one.
    pub fn new(machine: &Arc<dyn Machine>, control: &Arc<MemoryControl>, layout: Layout) -> Result<Arc<Self>, Errno> {
        let table = PageTable::new(machine.memory()).map_err(no_frames)?;
        let inner = Inner {
            table,
            areas: BTreeMap::new(),
            brk: layout.brk_start,
            layout,
            resident: 0,
            peak: 0,
            future: Traits::empty(),
        };
        Ok(Arc::new(Self {
            machine: machine.clone(),
            control: control.clone(),
            root: inner.table.root(),
            inner: Mutex::new(inner),
        }))
    }

    /// What the processor needs to run in it.
    pub fn root(&self) -> SpaceRoot {
        self.root
    }

    /// The budgets it is charged to.
    pub fn control(&self) -> &Arc<MemoryControl> {
        &self.control
    }

    pub(super) fn lock(&self) -> Guard<'_, Inner> {
        self.inner.lock()
    }

    /// Where things are, as execve(2) and brk(2) decided.
    pub fn layout(&self) -> Layout {
        self.lock().layout.clone()
    }

    /// Changes where things are.
    pub fn update_layout(&self, change: impl FnOnce(&mut Layout)) {
        change(&mut self.lock().layout);
    }

    /// Calls `each` with every area in order.
    pub fn for_each_area(&self, mut each: impl FnMut(&Area)) {
        self.lock().areas.values().for_each(&mut each);
    }

    /// The same with what of each area is there.
    pub fn for_each_counted(&self, mut each: impl FnMut(&Area, PageCounts)) {
        let mut inner = self.lock();
        let Inner { table, areas, .. } = &mut *inner;
        for area in areas.values() {
            let mut counts = PageCounts::default();
            let mut cursor = table.cursor(area.range);
            while let Some(page) = cursor.next() {
                counts.resident += 1;
                // The entry and `page` hold one each.
                counts.unshared += u64::from(page.frame.owners() == 2);
                let own = !area.shared && page.flags.contains(PageFlags::WRITE);
                counts.anonymous += u64::from(own || matches!(area.backing, Backing::Anonymous));
            }
            each(area, counts);
        }
    }

    /// Pages that show a file or shared memory.
    pub fn shared_pages(&self) -> u64 {
        let mut sum = 0;
        self.for_each_counted(|_, counts| sum += counts.resident - counts.anonymous);
        sum
    }

    /// Sizes for `/proc`.
    pub fn usage(&self) -> Usage {
        let inner = self.lock();
        let mut usage = Usage { resident: inner.resident, peak: inner.peak, ..Usage::default() };
        for area in inner.areas.values() {
            usage.total += area.range.pages();
            let pages = area.range.pages();
            for (applies, sum) in [
                (area.is_data(), &mut usage.data),
                (area.traits.contains(Traits::LOCKED), &mut usage.locked),
                (area.label == crate::memory::area::Label::Stack, &mut usage.stack),
                (area.prot.contains(crate::memory::Prot::EXEC), &mut usage.code),
            ] {
                *sum += if applies { pages } else { 0 };
            }
        }
        usage.tables = inner.table.table_frames();
        usage
    }

    pub(super) fn invalidate(&self, range: VirtRange) {
        self.machine.invalidate(self.root, range);
    }

    /// Takes pages `first..end` of `cache` out of the tables wherever they show the cache itself or, past its end, a
    /// private copy.
    pub(crate) fn zap_cache(&self, cache: &Arc<PageCache>, first: u64, end: u64) {
        let mut inner = self.lock();
        for range in inner.showing(cache, first, end, false) {
            inner.unmap_pages(self, range);
        }
    }

    /// Takes away the right to write to pages `first..end` of `cache` where that would change it; a fault gives it back.
    pub(crate) fn protect_cache(&self, cache: &Arc<PageCache>, first: u64, end: u64) {
        let mut inner = self.lock();
        for range in inner.showing(cache, first, end, true) {
            let mut cursor = inner.table.cursor(range);
            while let Some(page) = cursor.next() {
                if page.flags.contains(PageFlags::WRITE) {
                    cursor.protect(page.addr, page.flags - PageFlags::WRITE);
                }
            }
            self.invalidate(range);
        }
    }

    /// Whether a mapping here could ever write to a cache.
    pub(super) fn could_write_to(&self, cache: &Arc<PageCache>) -> bool {
        let writes = |area: &Area| match &area.backing {
            Backing::Cache { cache: mine, .. } => {
                area.shared && Arc::ptr_eq(mine, cache) && area.allows(crate::memory::Prot::WRITE)
            }
            Backing::Anonymous | Backing::Kernel { .. } => false,
        };
        self.lock().areas.values().any(writes)
    }

    // Copies that do not block: they stop at the first missing page.

    pub(super) fn try_copy_in(&self, addr: VirtAddr, out: &mut [u8]) -> Result<(), CopyFault> {
        self.lock().table.copy_in(addr, out)
    }
    pub(super) fn try_copy_out(&self, addr: VirtAddr, bytes: &[u8]) -> Result<(), CopyFault> {
        self.lock().table.copy_out(addr, bytes)
    }
    pub(super) fn try_copy_out_frame(
        &self,
        addr: VirtAddr,
        frame: &Frame,
        offset: usize,
        len: usize,
    ) -> Result<(), CopyFault> {
        self.lock().table.copy_out_frame(addr, frame, offset, len)
    }
    pub(super) fn try_copy_in_frame(
        &self,
        addr: VirtAddr,
        frame: &Frame,
        offset: usize,
        len: usize,
    ) -> Result<(), CopyFault> {
        self.lock().table.copy_in_frame(addr, frame, offset, len)
    }
    pub(super) fn try_zero_out(&self, addr: VirtAddr, len: usize) -> Result<(), CopyFault> {
        self.lock().table.zero_out(addr, len)
    }

    // Copies that bring missing pages in.

    /// Copies from the program; `EFAULT` where it could not read itself.
    pub async fn copy_in(&self, addr: VirtAddr, out: &mut [u8]) -> Result<(), Errno> {
        let mut at = 0;
        loop {
            let rest = out.get_mut(at..).unwrap_or_default();
            let Err(fault) = self.try_copy_in(addr + at as u64, rest) else { return Ok(()) };
            at += fault.done;
            self.resolve(fault).await?;
        }
    }

    /// Copies to the program; `EFAULT` where it could not write itself.
    pub async fn copy_out(&self, addr: VirtAddr, bytes: &[u8]) -> Result<(), Errno> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Err(fault) = self.try_copy_out(addr + at as u64, rest) else { return Ok(()) };
            at += fault.done;
            self.resolve(fault).await?;
        }
    }

    /// Zeroes the program's memory.
    pub async fn zero_out(&self, addr: VirtAddr, len: usize) -> Result<(), Errno> {
        let mut at = 0;
        loop {
            let Err(fault) = self.try_zero_out(addr + at as u64, len - at) else { return Ok(()) };
            at += fault.done;
            self.resolve(fault).await?;
        }
    }

    /// Copies a string without its NUL into `out`; `ENAMETOOLONG` if there is none in `out.len()` bytes.
    pub async fn copy_in_str<'a>(&self, addr: VirtAddr, out: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        let mut at = 0;
        loop {
            let rest = out.get_mut(at..).unwrap_or_default();
            let result = self.lock().table.copy_in_str(addr + at as u64, rest);
            match result {
                Ok(n) => {
                    at += n;
                    break;
                }
                Err(fault) => {
                    at += fault.done;
                    self.resolve(fault).await?;
                }
            }
        }
        match out.get(..at).and_then(|s| s.split_last()) {
            Some((0, text)) => Ok(text),
            _ => Err(Errno::ENAMETOOLONG),
        }
    }

    /// Reads a value.
    pub async fn load<T: Abi>(&self, addr: VirtAddr) -> Result<T, Errno> {
        let mut bytes = [0; 320];
        let bytes = bytes.get_mut(..T::SIZE).ok_or(Errno::EFAULT)?;
        self.copy_in(addr, bytes).await?;
        Ok(T::load(bytes))
    }

    /// Writes a value.
    pub async fn store<T: Abi>(&self, addr: VirtAddr, value: &T) -> Result<(), Errno> {
        let mut bytes = [0; 320];
        let bytes = bytes.get_mut(..T::SIZE).ok_or(Errno::EFAULT)?;
        value.store(bytes);
        self.copy_out(addr, bytes).await
    }

    /// Reads a futex word, and the physical address that names it in every address space.
    pub async fn load_futex(&self, addr: VirtAddr) -> Result<(u32, PhysAddr), Errno> {
        loop {
            let result = self.lock().table.load_u32(addr);
            match result {
                Ok(value) => return Ok(value),
                Err(fault) => self.resolve(fault).await?,
            }
        }
    }

    /// The same, if it is in memory.
    pub fn try_load_futex(&self, addr: VirtAddr) -> Result<u32, CopyFault> {
        self.lock().table.load_u32(addr).map(|(value, _)| value)
    }

    /// What [`AddressSpace::compare_exchange`] does, if it can be done now.
    pub fn try_compare_exchange(&self, addr: VirtAddr, current: u32, new: u32) -> Result<u32, CopyFault> {
        self.lock().table.compare_exchange_u32(addr, current, new)
    }

    /// Replaces a futex word if it is `current`; returns what it was.
    pub async fn compare_exchange(&self, addr: VirtAddr, current: u32, new: u32) -> Result<u32, Errno> {
        loop {
            let result = self.lock().table.compare_exchange_u32(addr, current, new);
            match result {
                Ok(value) => return Ok(value),
                Err(fault) => self.resolve(fault).await?,
            }
        }
    }

    /// Brings in the page a copy missed.
    pub async fn resolve(&self, fault: CopyFault) -> Result<(), Errno> {
        self.fault(fault.addr, fault.access).await.map_err(|_| Errno::EFAULT)
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        self.machine.retire(self.root);
    }
}

/// Pages of an area that are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageCounts {
    /// All.
    pub resident: u64,
    /// Of them, those nobody else has.
    pub unshared: u64,
    /// Of them, those that show no file.
    pub anonymous: u64,
}

/// Sizes of a space, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// All areas.
    pub total: u64,
    /// Pages there.
    pub resident: u64,
    /// The most pages there ever were.
    pub peak: u64,
    /// Private writable areas.
    pub data: u64,
    /// Locked areas.
    pub locked: u64,
    /// The stack.
    pub stack: u64,
    /// Areas of instructions.
    pub code: u64,
    /// Frames of the tables.
    pub tables: u64,
}

pub(super) fn no_frames(_: OutOfFrames) -> Errno {
    Errno::ENOMEM
}

impl Inner {
    /// Puts a frame into the tables.
    pub(super) fn map_page(
        &mut self,
        space: &AddressSpace,
        addr: VirtAddr,
        frame: Frame,
        flags: PageFlags,
    ) -> Result<(), Errno> {
        let page = VirtRange::page_of(addr);
        let old = self.table.cursor(page).map(page.start, frame, flags).map_err(no_frames)?;
        if old.is_some() {
            space.invalidate(page);
        } else {
            self.resident += 1;
            self.peak = self.peak.max(self.resident);
        }
        Ok(())
    }

    /// Takes all pages of `range` out of the tables.
    pub(super) fn unmap_pages(&mut self, space: &AddressSpace, range: VirtRange) {
        // Frames are dropped in batches, each after the processor was told.
        let mut batch: [Option<Mapping>; 32] = [const { None }; 32];
        let mut cursor = self.table.cursor(range);
        let mut full = true;
        while full {
            let mut taken = 0;
            for slot in &mut batch {
                let Some(mapping) = cursor.next() else { break };
                *slot = cursor.unmap(mapping.addr);
                taken += 1;
            }
            full = taken == batch.len();
            if taken > 0 {
                space.invalidate(range);
                self.resident -= taken as u64;
                batch.fill_with(|| None);
            }
        }
    }

    /// Where pages `first..end` of a cache are mapped, shared or anyhow.
    fn showing(&self, cache: &Arc<PageCache>, first: u64, end: u64, only_shared: bool) -> alloc::vec::Vec<VirtRange> {
        let areas = self.areas.values().filter(|area| area.shared || !only_shared);
        let range_of = |area: &Area| {
            let Backing::Cache { cache: mine, first: base, .. } = &area.backing else { return None };
            if !Arc::ptr_eq(mine, cache) {
                return None;
            }
            let from = first.saturating_sub(*base).min(area.range.pages());
            let to = end.saturating_sub(*base).min(area.range.pages());
            VirtRange::new(area.range.start + from * PAGE_SIZE, (to - from) * PAGE_SIZE)
        };
        areas.filter_map(range_of).collect()
    }

    /// The area `addr` is in.
    pub(super) fn area_at(&self, addr: VirtAddr) -> Option<&Area> {
        let (_, area) = self.areas.range(..=addr).next_back()?;
        area.range.contains(addr).then_some(area)
    }
}

impl AddressSpace {
    /// Copies what is there without bringing anything in; returns how much.
    pub fn peek(&self, addr: VirtAddr, out: &mut [u8]) -> usize {
        match self.try_copy_in(addr, out) {
            Ok(()) => out.len(),
            Err(fault) => fault.done,
        }
    }
}
