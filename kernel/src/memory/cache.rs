//! The page cache: contents of a file as frames, which reads, writes and mappings all share.
//!
//! For tmpfs nothing is behind it: a missing page is a hole of zeros. On a disk's file system a [`Store`] is, and what is
//! missing has to be brought in first. It knows the address spaces that map it, so that truncation takes pages away from
//! them.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_machine::{Frame, PAGE_SIZE};

use crate::memory::io::{IoBuf, IoError};
use crate::memory::store::Stored;
pub use crate::memory::store::{Loading, Store};
use crate::memory::{AddressSpace, MemoryControl};
use crate::num::{in_page, to_usize};
use crate::sync::Mutex;

/// The largest file: Linux's limit for 4 KiB pages.
pub const MAX_FILE_SIZE: u64 = i64::MAX.cast_unsigned();

/// How many pages a file system may hold.
pub struct PageQuota {
    limit: u64,
    used: AtomicU64,
}

impl PageQuota {
    /// At most `limit` pages.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }
    /// Pages in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
    /// Pages there may be.
    pub fn limit(&self) -> u64 {
        self.limit
    }
    fn take(&self) -> Result<(), Errno> {
        let grow = |used: u64| (used < self.limit).then_some(used + 1);
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow) {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::ENOSPC),
        }
    }
    fn give(&self, pages: u64) {
        self.used.fetch_sub(pages, Ordering::AcqRel);
    }
}

bitflags::bitflags! {
    /// What may not be done with a file any more: seals of memfd_create(2), fcntl(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Seals: u32 {
        /// Set further seals: what every file has that is no memfd.
        const SEAL = 1;
        /// Make it shorter.
        const SHRINK = 2;
        /// Make it longer.
        const GROW = 4;
        /// Write.
        const WRITE = 8;
        /// Write, but through mappings that are there.
        const FUTURE_WRITE = 16;
        /// Change whether it can be executed.
        const EXEC = 32;
    }
}

/// The pages of one file.
pub struct PageCache {
    control: Arc<MemoryControl>,
    quota: Arc<PageQuota>,
    pages: Mutex<BTreeMap<u64, Frame>>,
    size: AtomicU64,
    seals: AtomicU32,
    mappers: Mutex<Vec<Weak<AddressSpace>>>,
    pub(super) stored: Option<Stored>,
}

impl PageCache {
    /// An empty file's cache, with nothing behind it.
    pub fn new(control: &Arc<MemoryControl>, quota: &Arc<PageQuota>) -> Arc<Self> {
        Self::make(control, quota, 0, None)
    }

    /// The cache of a file of `size` bytes that are in `store`.
    pub fn stored(control: &Arc<MemoryControl>, store: Weak<dyn Store>, size: u64) -> Arc<Self> {
        Self::make(control, &PageQuota::new(u64::MAX), size, Some(Stored::new(store)))
    }

    fn make(control: &Arc<MemoryControl>, quota: &Arc<PageQuota>, size: u64, stored: Option<Stored>) -> Arc<Self> {
        Arc::new(Self {
            control: control.clone(),
            quota: quota.clone(),
            pages: Mutex::default(),
            size: AtomicU64::new(size),
            seals: AtomicU32::new(Seals::SEAL.bits()),
            mappers: Mutex::default(),
            stored,
        })
    }

    /// What its memory is taken from.
    pub(super) fn control(&self) -> &Arc<MemoryControl> {
        &self.control
    }

    /// Its seals.
    pub fn seals(&self) -> Seals {
        Seals::from_bits_truncate(self.seals.load(Ordering::Acquire))
    }

    /// Sets its seals whatever they were: it is new.
    pub fn set_seals(&self, seals: Seals) {
        self.seals.store(seals.bits(), Ordering::Release);
    }

    /// Adds seals. `EPERM` if that is sealed, `EBUSY` while somebody could write through a mapping.
    pub fn add_seals(self: &Arc<Self>, more: Seals) -> Result<(), Errno> {
        let old = self.seals();
        if old.contains(Seals::SEAL) {
            return Err(Errno::EPERM);
        }
        if more.contains(Seals::WRITE) && !old.contains(Seals::WRITE) {
            let mappers: Vec<_> = self.mappers.lock().iter().filter_map(Weak::upgrade).collect();
            if mappers.iter().any(|space| space.could_write_to(self)) {
                return Err(Errno::EBUSY);
            }
        }
        self.set_seals(old | more);
        Ok(())
    }

    /// Whether it is sealed against writing.
    pub fn is_write_sealed(&self) -> bool {
        self.seals().intersects(Seals::WRITE | Seals::FUTURE_WRITE)
    }

    /// `EPERM` if its seals forbid a size.
    pub fn may_resize(&self, size: u64) -> Result<(), Errno> {
        let (seals, old) = (self.seals(), self.size());
        let forbidden = size < old && seals.contains(Seals::SHRINK) || size > old && seals.contains(Seals::GROW);
        if forbidden { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Pages that take memory.
    pub fn resident_pages(&self) -> u64 {
        self.pages.lock().len() as u64
    }

    /// Pages it could have besides.
    pub fn room(&self) -> u64 {
        let free = self.quota.limit().saturating_sub(self.quota.used());
        free.min(self.control.available_frames())
    }

    /// The page, if it takes memory.
    pub fn page(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get(&index).cloned()
    }

    /// The first run of pages within `pages` that are not there; empty if all are.
    pub(super) fn first_absent(&self, pages: Range<u64>) -> Range<u64> {
        let all = self.pages.lock();
        let mut present = all.range(pages.clone()).map(|(&index, _)| index).peekable();
        let mut first = pages.start;
        while present.next_if_eq(&first).is_some() {
            first += 1;
        }
        first..present.next().unwrap_or(pages.end)
    }

    /// Pages `first..end` that take memory, those past the end of the file left out.
    pub fn pages_in(&self, first: u64, end: u64) -> Vec<(u64, Frame)> {
        let end = end.min(self.size().div_ceil(PAGE_SIZE));
        if first >= end {
            return Vec::new();
        }
        self.pages.lock().range(first..end).map(|(&index, frame)| (index, frame.clone())).collect()
    }

    /// Puts a page in, unless one is there.
    pub(super) fn insert(&self, index: u64, frame: Frame) {
        let mut pages = self.pages.lock();
        if let alloc::collections::btree_map::Entry::Vacant(place) = pages.entry(index) {
            place.insert(frame);
            self.control.count_cached(1);
        }
    }

    /// Drops pages that `gone` says can go; returns how many.
    pub(super) fn drop_pages(&self, mut gone: impl FnMut(u64, &Frame) -> bool) -> u64 {
        let mut pages = self.pages.lock();
        let before = pages.len();
        pages.retain(|&index, frame| !gone(index, frame));
        let dropped = (before - pages.len()) as u64;
        drop(pages);
        self.give(dropped);
        dropped
    }

    /// The page, made if it is a hole.
    pub fn page_or_new(&self, index: u64) -> Result<Frame, Errno> {
        if let Some(frame) = self.page(index) {
            return Ok(frame);
        }
        if self.stored.is_some() {
            let frame = self.control.frame()?;
            self.insert(index, frame.clone());
            return Ok(frame);
        }
        self.quota.take()?;
        let frame = self.control.frame().inspect_err(|_| self.quota.give(1))?;
        self.insert(index, frame.clone());
        Ok(frame)
    }

    /// Gives back what `pages` dropped pages took.
    fn give(&self, pages: u64) {
        if self.stored.is_none() {
            self.quota.give(pages);
        }
        self.control.uncount_cached(pages);
    }

    /// Copies from `offset` on to `out`, up to the end of the file.
    pub fn read_at(self: &Arc<Self>, offset: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let start = out.done();
        loop {
            let at = offset.saturating_add((out.done() - start) as u64);
            let left = to_usize(self.size().saturating_sub(at));
            let run = left.min(out.remaining()).min(to_usize(PAGE_SIZE) - in_page(at));
            if run == 0 {
                return Ok(out.done() - start);
            }
            self.reached(at / PAGE_SIZE);
            let moved = match self.page(at / PAGE_SIZE) {
                Some(frame) => out.put_frame(&frame, in_page(at), run),
                None if self.stored.is_some() && out.done() > start => return Ok(out.done() - start),
                None if self.stored.is_some() => return Err(self.miss(at / PAGE_SIZE)),
                None => out.put_zeros(run),
            };
            if moved < run {
                return out.stopped(start);
            }
        }
    }

    /// Copies `input` to `offset` on, making the file longer as needed.
    pub fn write_at(self: &Arc<Self>, offset: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let start = input.done();
        loop {
            let at = offset.saturating_add((input.done() - start) as u64);
            let run = input.remaining().min(to_usize(PAGE_SIZE) - in_page(at));
            if run == 0 {
                return Ok(input.done() - start);
            }
            if at >= MAX_FILE_SIZE {
                return input.or_error(start, Errno::EFBIG);
            }
            if self.is_write_sealed() {
                return input.or_error(start, Errno::EPERM);
            }
            if let Err(errno) = self.may_resize(self.size().max(at + run as u64)) {
                return input.or_error(start, errno);
            }
            if let Err(error) = self.make_ready(at, input.remaining()) {
                return if input.done() > start { Ok(input.done() - start) } else { Err(error) };
            }
            let index = at / PAGE_SIZE;
            if self.is_stored() && self.page(index).is_none() {
                match self.take_page(index, input) {
                    Ok(()) => self.size.fetch_max(at + PAGE_SIZE, Ordering::AcqRel),
                    Err(_) if input.done() > start => return Ok(input.done() - start),
                    Err(error) => return Err(error),
                };
                continue;
            }
            let frame = match self.page_or_new(index) {
                Ok(frame) => frame,
                Err(errno) => return input.or_error(start, errno),
            };
            let moved = input.take_frame(&frame, in_page(at), run);
            self.size.fetch_max(at + moved as u64, Ordering::AcqRel);
            if moved < run {
                return input.stopped(start);
            }
        }
    }

    /// Readies what a write of `len` bytes is about to change, up to a bound: the store likes to place much at once.
    fn make_ready(self: &Arc<Self>, at: u64, len: usize) -> Result<(), IoError> {
        const AT_ONCE: u64 = 64;
        if self.is_ready(at / PAGE_SIZE) {
            return Ok(());
        }
        self.prepare(at..(at + len as u64).min((at / PAGE_SIZE + AT_ONCE) * PAGE_SIZE))
    }

    /// Takes a whole page that replaces one which is not in memory.
    fn take_page(self: &Arc<Self>, index: u64, input: &mut IoBuf<'_>) -> Result<(), IoError> {
        let frame = self.control.frame()?;
        let moved = input.take_frame(&frame, 0, to_usize(PAGE_SIZE));
        if moved < to_usize(PAGE_SIZE) {
            // Only part of it came: the rest has to be what it was.
            input.untake(moved);
            return Err(self.miss(index));
        }
        self.replace(index, frame);
        Ok(())
    }

    /// Makes the file `size` bytes long. Pages past the end are dropped, from everyone who maps them too; bytes past
    /// the end of the last page read as zero if the file grows again.
    pub fn resize(self: &Arc<Self>, size: u64) {
        let old = self.size.swap(size, Ordering::AcqRel);
        if size >= old {
            return;
        }
        let keep = size.div_ceil(PAGE_SIZE);
        let dropped = self.pages.lock().split_off(&keep);
        if let Some(stored) = &self.stored {
            stored.forget(&self.control, keep, u64::MAX);
        }
        self.give(dropped.len() as u64);
        self.zap(keep, u64::MAX);
        if !size.is_multiple_of(PAGE_SIZE)
            && let Some(frame) = self.page(size / PAGE_SIZE)
        {
            frame.zero_from(in_page(size));
        }
    }

    /// Turns whole pages `first..end` into holes and zeroes nothing else (`FALLOC_FL_PUNCH_HOLE`).
    pub fn punch(self: &Arc<Self>, first: u64, end: u64) {
        let mut dropped = 0;
        let mut pages = self.pages.lock();
        let indices: Vec<u64> = pages.range(first..end).map(|(&i, _)| i).collect();
        for index in indices {
            dropped += u64::from(pages.remove(&index).is_some());
        }
        drop(pages);
        if let Some(stored) = &self.stored {
            stored.forget(&self.control, first, end);
        }
        self.give(dropped);
        self.zap(first, end);
    }

    /// The first offset at or after `from` that is data (or a hole, if `hole`), as lseek(2) counts them.
    pub fn seek(&self, from: u64, hole: bool) -> Option<u64> {
        let size = self.size();
        if from >= size {
            return None;
        }
        let pages = self.pages.lock();
        let first = from / PAGE_SIZE;
        if hole {
            let mut index = first;
            for (&i, _) in pages.range(first..) {
                if i != index {
                    break;
                }
                index += 1;
            }
            return Some((index * PAGE_SIZE).max(from).min(size));
        }
        let (&index, _) = pages.range(first..).next()?;
        let at = (index * PAGE_SIZE).max(from);
        (at < size).then_some(at)
    }

    /// Remembers that `space` maps this.
    pub fn add_mapper(&self, space: &Arc<AddressSpace>) {
        let mut mappers = self.mappers.lock();
        mappers.retain(|m| m.strong_count() > 0);
        if !mappers.iter().any(|m| core::ptr::eq(m.as_ptr(), Arc::as_ptr(space))) {
            mappers.push(Arc::downgrade(space));
        }
    }

    /// Makes whoever maps pages `first..end` ask before writing to one.
    pub(super) fn protect(self: &Arc<Self>, first: u64, end: u64) {
        let mappers: Vec<_> = self.mappers.lock().iter().filter_map(Weak::upgrade).collect();
        for space in mappers {
            space.protect_cache(self, first, end);
        }
    }

    /// Takes pages `first..end` out of every address space that maps them.
    fn zap(self: &Arc<Self>, first: u64, end: u64) {
        let mappers: Vec<_> = self.mappers.lock().iter().filter_map(Weak::upgrade).collect();
        for space in mappers {
            space.zap_cache(self, first, end);
        }
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        if let Some(stored) = &self.stored {
            stored.forget(&self.control, 0, u64::MAX);
        }
        self.give(self.resident_pages());
    }
}
