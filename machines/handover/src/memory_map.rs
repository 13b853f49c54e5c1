//! The RAM nobody has claimed yet: what the loader reports as usable, less what boot takes out of it.
//!
//! What always holds: the ranges are page-aligned and do not overlap. No heap is needed; it is set aside from here.

use aurora_machine::{MemoryRegion, PAGE_SIZE, PhysAddr};

const MAX_RANGES: usize = 128;

/// Free ranges of physical memory.
#[derive(Clone)]
pub struct MemoryMap {
    ranges: [MemoryRegion; MAX_RANGES],
    len: usize,
}

const fn region(start: u64, end: u64) -> MemoryRegion {
    MemoryRegion { start: PhysAddr(start), end: PhysAddr(end) }
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryMap {
    /// No RAM.
    pub const fn new() -> Self {
        Self { ranges: [region(0, 0); MAX_RANGES], len: 0 }
    }

    /// The free ranges.
    pub fn ranges(&self) -> &[MemoryRegion] {
        &self.ranges[..self.len]
    }

    /// How much there is, in bytes.
    pub fn bytes(&self) -> u64 {
        self.ranges().iter().map(|r| r.end.0 - r.start.0).sum()
    }

    /// Whether all of `start..end` is free.
    pub fn contains(&self, start: u64, end: u64) -> bool {
        self.ranges().iter().any(|r| r.start.0 <= start && end <= r.end.0)
    }

    /// Adds the whole pages of a range. A range beyond the table's room is left unused.
    pub fn add(&mut self, start: u64, end: u64) {
        let start = start.next_multiple_of(PAGE_SIZE);
        let end = end & !(PAGE_SIZE - 1);
        self.remove(start, end);
        self.push(start, end);
    }

    fn push(&mut self, start: u64, end: u64) {
        if start < end && self.len < MAX_RANGES {
            self.ranges[self.len] = region(start, end);
            self.len += 1;
        }
    }

    /// Takes out every page the range touches.
    pub fn remove(&mut self, start: u64, end: u64) {
        let start = start & !(PAGE_SIZE - 1);
        let end = end.next_multiple_of(PAGE_SIZE);
        let old = self.clone();
        self.len = 0;
        for r in old.ranges() {
            self.push(r.start.0, r.end.0.min(start));
            self.push(r.start.0.max(end), r.end.0);
        }
    }

    /// Takes a contiguous run of `bytes` (whole pages) that ends at or before `limit`.
    pub fn take(&mut self, bytes: u64, align: u64, limit: u64) -> Option<PhysAddr> {
        let bytes = bytes.next_multiple_of(PAGE_SIZE);
        let start = self.ranges().iter().find_map(|r| {
            let start = r.start.0.max(PAGE_SIZE).next_multiple_of(align);
            (start.checked_add(bytes)? <= r.end.0.min(limit)).then_some(start)
        })?;
        self.remove(start, start + bytes);
        Some(PhysAddr(start))
    }

    /// The largest run there is.
    pub fn largest(&self) -> u64 {
        self.ranges().iter().map(|r| r.end.0 - r.start.0).max().unwrap_or(0)
    }
}
