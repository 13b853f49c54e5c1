//! mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), and what fork(2) copies.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use aurora_abi::Errno;
use aurora_machine::{PAGE_SIZE, PageFlags, USER_END, VirtAddr, VirtRange};

use crate::memory::area::{AREA_COST, Label, Traits};
use crate::memory::layout::MMAP_MIN;
use crate::memory::space::{Inner, MAX_AREAS, no_frames};
use crate::memory::{AddressSpace, Area, Backing, PageCache, Prot};

/// Where a new mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Wherever there is room; there, if it is free.
    Near(VirtAddr),
    /// There; what is there goes.
    Fixed(VirtAddr),
    /// There, if it is free (`MAP_FIXED_NOREPLACE`).
    FixedFree(VirtAddr),
    /// In the lowest 2 GiB (`MAP_32BIT`).
    Low,
}

/// A mapping to be made.
pub struct Request {
    /// Where.
    pub place: Place,
    /// Length in bytes; rounded up to pages.
    pub len: u64,
    /// What the program may do.
    pub prot: Prot,
    /// Changes are seen by everyone.
    pub shared: bool,
    /// Grows down.
    pub grows_down: bool,
    /// Not counted against memory there is (`MAP_NORESERVE`).
    pub no_reserve: bool,
    /// What is behind it.
    pub backing: Backing,
    /// For `/proc`.
    pub label: Label,
    /// Limit of the whole space in bytes (`RLIMIT_AS`).
    pub limit: u64,
}

fn pages_up(len: u64) -> Option<u64> {
    len.checked_add(PAGE_SIZE - 1).map(|l| l & !(PAGE_SIZE - 1))
}

fn user_range(start: VirtAddr, len: u64) -> Option<VirtRange> {
    VirtRange::new(start, len).filter(|r| r.end <= USER_END)
}

impl AddressSpace {
    /// Makes a mapping; returns where it starts.
    pub fn map(self: &Arc<Self>, request: Request) -> Result<VirtAddr, Errno> {
        let len = pages_up(request.len).ok_or(Errno::ENOMEM)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let mut inner = self.lock();
        let range = inner.find_place(request.place, len)?;
        let private_data = !request.shared && request.prot.contains(Prot::WRITE);
        if private_data && !request.no_reserve && range.pages() > self.control().phys().total_frames() {
            return Err(Errno::ENOMEM);
        }
        let total: u64 = inner.areas.values().map(|a| a.range.len()).sum();
        if total.saturating_add(len) > request.limit {
            return Err(Errno::ENOMEM);
        }
        let charge = self.control().charge(AREA_COST)?;
        inner.unmap(self, range)?;
        if inner.areas.len() >= MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        if let Backing::Cache { cache, .. } = &request.backing {
            cache.add_mapper(self);
        }
        let area = Area {
            range,
            prot: request.prot,
            shared: request.shared,
            grows_down: request.grows_down,
            backing: request.backing,
            label: request.label,
            traits: inner.future,
            charge,
        };
        inner.insert(area);
        Ok(range.start)
    }

    /// Takes everything in a range away.
    pub fn unmap(&self, start: VirtAddr, len: u64) -> Result<(), Errno> {
        let range = pages_up(len).and_then(|len| user_range(start, len));
        let range = range.filter(|r| r.start.is_page_aligned() && !r.is_empty()).ok_or(Errno::EINVAL)?;
        self.lock().unmap(self, range)
    }

    /// Changes what a program may do in a range; `ENOMEM` if part of it is not mapped (what comes before is changed).
    pub fn protect(&self, start: VirtAddr, len: u64, prot: Prot) -> Result<(), Errno> {
        if !start.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        let range = pages_up(len).and_then(|len| user_range(start, len)).ok_or(Errno::ENOMEM)?;
        if range.is_empty() {
            return Ok(());
        }
        self.lock().protect(self, range, prot)
    }

    /// Moves the end of the heap; returns where it is then. On failure it stays.
    pub fn set_brk(self: &Arc<Self>, wanted: VirtAddr, data_limit: u64, limit: u64) -> VirtAddr {
        let mut inner = self.lock();
        let (start, old) = (inner.layout.brk_start, inner.brk);
        if wanted < start || wanted.0 - start.0 > data_limit {
            return old;
        }
        let (Some(old_end), Some(new_end)) = (old.page_ceil(), wanted.page_ceil()) else { return old };
        if new_end < old_end {
            if inner.unmap(self, VirtRange { start: new_end, end: old_end }).is_err() {
                return old;
            }
        } else if new_end > old_end {
            let range = VirtRange { start: old_end, end: new_end };
            // One page more: the heap never touches what is above it.
            let with_gap = VirtRange { start: old_end, end: new_end + PAGE_SIZE };
            let total: u64 = inner.areas.values().map(|a| a.range.len()).sum();
            let fits = range.pages() <= self.control().phys().total_frames()
                && total.saturating_add(range.len()) <= limit
                && range.end < USER_END
                && inner.is_free(with_gap);
            let Some(charge) = fits.then(|| self.control().charge(AREA_COST).ok()).flatten() else { return old };
            let area = Area {
                range,
                prot: Prot::READ | Prot::WRITE,
                shared: false,
                grows_down: false,
                backing: Backing::Anonymous,
                label: Label::Heap,
                traits: inner.future,
                charge,
            };
            inner.insert(area);
        }
        inner.brk = wanted;
        wanted
    }

    /// Where the heap starts; execve(2) sets it once.
    pub fn start_heap(&self, at: VirtAddr) {
        let mut inner = self.lock();
        inner.layout.brk_start = at;
        inner.brk = at;
    }

    /// Drops contents of a range (`MADV_DONTNEED`); `ENOMEM` if part of it is not mapped.
    pub fn discard(&self, range: VirtRange, even_locked: bool) -> Result<(), Errno> {
        let mut inner = self.lock();
        let mapped: u64 = inner.overlapping(range).iter().map(VirtRange::len).sum();
        let locked = inner.areas_in(range).any(|a| a.traits.contains(Traits::LOCKED));
        if locked && !even_locked {
            return Err(Errno::EINVAL);
        }
        inner.unmap_pages(self, range);
        if mapped == range.len() { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Whether every page of the range is in some area.
    pub fn is_mapped(&self, range: VirtRange) -> bool {
        self.lock().overlapping(range).iter().map(VirtRange::len).sum::<u64>() == range.len()
    }

    /// Whether the page is in memory (mincore(2)).
    pub fn is_resident(&self, addr: VirtAddr) -> bool {
        let inner = self.lock();
        if inner.table.query(addr).is_some() {
            return true;
        }
        let Some(area) = inner.area_at(addr) else { return false };
        match area.backing_at(addr.page_floor()) {
            Backing::Cache { cache, first, .. } => cache.page(first).is_some(),
            Backing::Anonymous | Backing::Kernel { .. } => false,
        }
    }

    /// mremap(2): makes a mapping longer or shorter, moving it if `may_move`, or to `fixed`. With `keep` the old mapping
    /// stays, without its pages; from nothing, a shared mapping is made another time.
    pub fn remap(
        self: &Arc<Self>,
        old: VirtRange,
        new_len: u64,
        may_move: bool,
        fixed: Option<VirtAddr>,
        keep: bool,
        limit: u64,
    ) -> Result<VirtAddr, Errno> {
        let new_len = pages_up(new_len).ok_or(Errno::EINVAL)?;
        if new_len == 0 || !old.start.is_page_aligned() || old.end > USER_END {
            return Err(Errno::EINVAL);
        }
        let mut inner = self.lock();
        let area = inner.area_at(old.start).ok_or(Errno::EFAULT)?;
        if old.is_empty() && !(area.shared && may_move) {
            return Err(Errno::EINVAL);
        }
        if old.end > area.range.end {
            return Err(Errno::EFAULT);
        }
        let at_end = area.range.end == old.end;
        if fixed.is_none() && !keep && new_len <= old.len() {
            inner.unmap(self, VirtRange { start: old.start + new_len, end: old.end })?;
            return Ok(old.start);
        }
        let total: u64 = inner.areas.values().map(|a| a.range.len()).sum();
        if total.saturating_add(new_len.saturating_sub(old.len())) > limit {
            return Err(Errno::ENOMEM);
        }
        let tail = VirtRange { start: old.end, end: old.start + new_len };
        if fixed.is_none() && !keep && !old.is_empty() && at_end && tail.end <= USER_END && inner.is_free(tail) {
            let grown = inner.take_part(self, old)?;
            inner.insert(Area { range: VirtRange { start: old.start, end: tail.end }, ..grown });
            return Ok(old.start);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let place = fixed.map_or(Place::Near(VirtAddr(0)), Place::Fixed);
        let target = inner.find_place(place, new_len)?;
        if target.overlaps(&old) {
            return Err(Errno::EINVAL);
        }
        inner.unmap(self, target)?;
        if old.is_empty() || keep {
            let charge = self.control().charge(AREA_COST)?;
            let source = inner.area_at(old.start).ok_or(Errno::EFAULT)?;
            let copy = Area { backing: source.backing_at(old.start), ..source.part(target, charge) };
            if let Backing::Cache { cache, .. } = &copy.backing {
                cache.add_mapper(self);
            }
            if keep && !copy.shared {
                inner.move_pages(self, old, target.start)?;
            }
            inner.insert(copy);
            return Ok(target.start);
        }
        let part = VirtRange { start: old.start, end: old.start + old.len().min(new_len) };
        let moved = inner.take_part(self, old)?;
        inner.move_pages(self, part, target.start)?;
        inner.unmap_pages(self, old);
        inner.insert(Area { range: target, ..moved });
        Ok(target.start)
    }

    /// A copy for fork(2): shared areas are shared, private pages become copy-on-write on both sides.
    pub fn fork(self: &Arc<Self>) -> Result<Arc<Self>, Errno> {
        let mut inner = self.lock();
        let child = Self::new(&self.machine, self.control(), inner.layout.clone())?;
        let mut theirs = child.lock();
        theirs.brk = inner.brk;
        let mine = &mut *inner;
        for area in mine.areas.values().filter(|a| !a.traits.contains(Traits::DONT_FORK)) {
            let mut copy = area.part(area.range, self.control().charge(AREA_COST)?);
            if let Backing::Cache { cache, .. } = &copy.backing {
                cache.add_mapper(&child);
            }
            // A child has nothing locked.
            copy.traits -= Traits::LOCKED;
            theirs.areas.insert(copy.range.start, copy);
            if area.shared || area.traits.contains(Traits::WIPE_ON_FORK) {
                // The cache has the pages: faults bring them in. Or there are none to have.
                continue;
            }
            let read_only = area.flags(false);
            let mut cursor = mine.table.cursor(area.range);
            while let Some(page) = cursor.next() {
                if self.control().available_frames() == 0 {
                    return Err(Errno::ENOMEM);
                }
                if page.flags.contains(PageFlags::WRITE) {
                    cursor.protect(page.addr, read_only);
                }
                theirs.map_page(&child, page.addr, page.frame, read_only)?;
            }
        }
        self.invalidate(VirtRange::user());
        drop(theirs);
        Ok(child)
    }
}

impl Inner {
    /// Whether no area touches `range`.
    fn is_free(&self, range: VirtRange) -> bool {
        let before = self.areas.range(..range.end).next_back();
        before.is_none_or(|(_, area)| area.range.end <= range.start)
    }

    fn find_place(&self, place: Place, len: u64) -> Result<VirtRange, Errno> {
        match place {
            Place::Fixed(at) | Place::FixedFree(at) => {
                if !at.is_page_aligned() {
                    return Err(Errno::EINVAL);
                }
                let range = user_range(at, len).ok_or(Errno::ENOMEM)?;
                if at < MMAP_MIN {
                    return Err(Errno::EPERM);
                }
                let taken = matches!(place, Place::FixedFree(_)) && !self.is_free(range);
                if taken { Err(Errno::EEXIST) } else { Ok(range) }
            }
            Place::Low => self.highest_gap(MMAP_MIN, VirtAddr(1 << 31), len).ok_or(Errno::ENOMEM),
            Place::Near(hint) => {
                let hint = hint.page_floor();
                let there = user_range(hint, len).filter(|r| hint >= MMAP_MIN && self.is_free(*r));
                there.or_else(|| self.find_gap(len)).ok_or(Errno::ENOMEM)
            }
        }
    }

    /// The highest gap of `len` bytes below the top of the mmap region; failing that, above it.
    fn find_gap(&self, len: u64) -> Option<VirtRange> {
        let below = self.highest_gap(MMAP_MIN, self.layout.mmap_top, len);
        below.or_else(|| self.highest_gap(self.layout.mmap_top, USER_END, len))
    }

    fn highest_gap(&self, floor: VirtAddr, top: VirtAddr, len: u64) -> Option<VirtRange> {
        let mut end = top;
        let fits = |start: VirtAddr, end: VirtAddr| end.0.saturating_sub(start.0.max(floor.0)) >= len;
        for area in self.areas.range(..top).rev().map(|(_, a)| a) {
            if fits(area.range.end, end) {
                break;
            }
            end = end.min(area.range.start);
        }
        let start = VirtAddr(end.0.checked_sub(len)?);
        let range = VirtRange { start, end };
        (start >= floor && self.is_free(range)).then_some(range)
    }

    /// Areas that touch `range`.
    pub(super) fn areas_in(&self, range: VirtRange) -> impl Iterator<Item = &Area> {
        let first = self.area_at(range.start).map_or(range.start, |a| a.range.start);
        self.areas.range(first..range.end).map(|(_, a)| a).filter(move |a| a.range.end > range.start)
    }

    /// Parts of `range` that are in some area.
    fn overlapping(&self, range: VirtRange) -> Vec<VirtRange> {
        let first = self.area_at(range.start).map_or(range.start, |a| a.range.start);
        self.areas.range(first..range.end).filter_map(|(_, a)| a.range.intersection(&range)).collect()
    }

    /// Adds an area where none is, joining it with its neighbours if they continue one another.
    pub(super) fn insert(&mut self, mut area: Area) {
        if let Some((&key, before)) = self.areas.range(..area.range.start).next_back()
            && before.continues_in(&area)
            && let Some(before) = self.areas.remove(&key)
        {
            area = Area { range: VirtRange { start: before.range.start, end: area.range.end }, ..before };
        }
        if let Some(after) = self.areas.get(&area.range.end)
            && area.continues_in(after)
            && let Some(after) = self.areas.remove(&area.range.end)
        {
            area.range.end = after.range.end;
        }
        self.areas.insert(area.range.start, area);
    }

    /// Makes `at` a border between areas.
    fn split(&mut self, space: &AddressSpace, at: VirtAddr) -> Result<(), Errno> {
        let Some(area) = self.area_at(at) else { return Ok(()) };
        let (start, end) = (area.range.start, area.range.end);
        if start == at {
            return Ok(());
        }
        if self.areas.len() >= MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        let tail = area.part(VirtRange { start: at, end }, space.control().charge(AREA_COST)?);
        if let Some(area) = self.areas.get_mut(&start) {
            area.range.end = at;
        }
        self.areas.insert(at, tail);
        Ok(())
    }

    /// Splits at both ends of `range` and returns where the areas inside start.
    fn isolate(&mut self, space: &AddressSpace, range: VirtRange) -> Result<Vec<VirtAddr>, Errno> {
        self.split(space, range.start)?;
        self.split(space, range.end)?;
        Ok(self.areas.range(range.start..range.end).map(|(&start, _)| start).collect())
    }

    pub(super) fn unmap(&mut self, space: &AddressSpace, range: VirtRange) -> Result<(), Errno> {
        if range.is_empty() || self.is_free(range) {
            return Ok(());
        }
        for start in self.isolate(space, range)? {
            self.areas.remove(&start);
        }
        self.unmap_pages(space, range);
        Ok(())
    }

    /// Takes the one area that covers `range` out, leaving its pages in the tables.
    fn take_part(&mut self, space: &AddressSpace, range: VirtRange) -> Result<Area, Errno> {
        self.isolate(space, range)?;
        self.areas.remove(&range.start).ok_or(Errno::EFAULT)
    }

    fn protect(&mut self, space: &AddressSpace, range: VirtRange, prot: Prot) -> Result<(), Errno> {
        let mut next = range.start;
        for start in self.isolate(space, range)? {
            if start != next {
                return Err(Errno::ENOMEM);
            }
            let Some(mut area) = self.areas.remove(&start) else { continue };
            next = area.range.end;
            let allowed = area.allows(prot);
            if allowed {
                area.prot = prot;
                self.protect_pages(&area);
            }
            let part = area.range;
            self.insert(area);
            space.invalidate(part);
            if !allowed {
                return Err(Errno::EACCES);
            }
        }
        if next < range.end { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    fn protect_pages(&mut self, area: &Area) {
        let mut cursor = self.table.cursor(area.range);
        while let Some(page) = cursor.next() {
            // A private page with another owner stays read-only: writing copies it. The entry and `page` hold one each.
            let write = area.shared || page.frame.owners() == 2;
            cursor.protect(page.addr, area.flags(write));
        }
    }

    /// Moves the pages of `from` so that they start at `to`.
    fn move_pages(&mut self, space: &AddressSpace, from: VirtRange, to: VirtAddr) -> Result<(), Errno> {
        let mut at = from.start;
        loop {
            let Some(page) = self.table.cursor(VirtRange { start: at, end: from.end }).next() else { break };
            at = page.addr + PAGE_SIZE;
            let Some(page) = self.table.cursor(VirtRange::page_of(page.addr)).unmap(page.addr) else { continue };
            space.invalidate(VirtRange::page_of(page.addr));
            let flags = page.flags & (PageFlags::USER | PageFlags::WRITE | PageFlags::NO_EXECUTE);
            let target = to + (page.addr - from.start);
            self.table.cursor(VirtRange::page_of(target)).map(target, page.frame, flags).map_err(no_frames)?;
        }
        Ok(())
    }
}

impl Area {
    /// Whether mprotect(2) may give `prot`: a shared mapping of a file that is not open for writing stays read-only.
    pub(crate) fn allows(&self, prot: Prot) -> bool {
        match &self.backing {
            Backing::Cache { file: Some(file), cache, .. } if self.shared && prot.contains(Prot::WRITE) => {
                file.can_write() && (self.prot.contains(Prot::WRITE) || !cache.is_write_sealed())
            }
            Backing::Kernel { .. } if self.label == Label::Vvar => Prot::READ.contains(prot),
            _ => true,
        }
    }
}

/// Shared anonymous memory: a cache with nothing behind it.
pub fn shared_anonymous(
    control: &Arc<crate::memory::MemoryControl>,
    quota: &Arc<crate::memory::cache::PageQuota>,
    len: u64,
) -> Arc<PageCache> {
    let cache = PageCache::new(control, quota);
    cache.resize(len);
    cache
}

impl AddressSpace {
    /// Whether what is written at `addr` is seen by others who map it.
    pub fn is_shared(&self, addr: VirtAddr) -> bool {
        self.lock().area_at(addr).is_some_and(|a| a.shared)
    }
}

impl AddressSpace {
    /// Says something of the mappings in a range, or takes it back; `ENOMEM` if part of it is not mapped (the rest is
    /// done). `fits` decides which mappings it can be said of; the first that does not is `EINVAL`.
    pub fn set_traits(
        &self,
        range: VirtRange,
        traits: Traits,
        on: bool,
        fits: impl Fn(&Area) -> bool,
    ) -> Result<(), Errno> {
        let mut inner = self.lock();
        let mut next = range.start;
        let mut gap = false;
        for start in inner.isolate(self, range)? {
            let Some(mut area) = inner.areas.remove(&start) else { continue };
            gap |= start != next;
            next = area.range.end;
            let fits = fits(&area);
            if fits {
                area.traits.set(traits, on);
            }
            inner.insert(area);
            if !fits {
                return Err(Errno::EINVAL);
            }
        }
        if gap || next < range.end { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Locks all mappings there are, or lets them go; and those that come (mlockall(2)).
    pub fn set_all_locked(&self, now: Option<bool>, future: bool) {
        let mut inner = self.lock();
        inner.future.set(Traits::LOCKED, future);
        if let Some(locked) = now {
            inner.areas.values_mut().for_each(|a| a.traits.set(Traits::LOCKED, locked));
        }
    }

    /// Whether new mappings are locked from the start.
    pub fn locks_future(&self) -> bool {
        self.lock().future.contains(Traits::LOCKED)
    }

    /// Whether the page is in the tables.
    pub fn is_present(&self, addr: VirtAddr) -> bool {
        self.lock().table.query(addr).is_some()
    }

    /// Whether any mapping in a range is locked.
    pub fn has_locked(&self, range: VirtRange) -> bool {
        self.lock().areas_in(range).any(|a| a.traits.contains(Traits::LOCKED))
    }

    /// All mappings, as ranges.
    pub fn ranges(&self) -> Vec<VirtRange> {
        self.lock().areas.values().map(|a| a.range).collect()
    }

    /// Whether all mappings in a range are of a kind.
    pub fn all_in(&self, range: VirtRange, fits: impl Fn(&Area) -> bool) -> bool {
        self.lock().areas_in(range).all(fits)
    }

    /// The caches mapped in a range, all or only those shared: each with its pages there.
    pub fn caches(&self, range: VirtRange, only_shared: bool) -> Vec<(Arc<PageCache>, Range<u64>)> {
        let inner = self.lock();
        let part = |area: &Area| {
            let here = area.range.intersection(&range)?;
            match area.backing_at(here.start) {
                Backing::Cache { cache, first, .. } if area.shared || !only_shared => {
                    Some((cache, first..first + here.pages()))
                }
                _ => None,
            }
        };
        inner.areas_in(range).filter_map(part).collect()
    }
}
