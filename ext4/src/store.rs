//! Blocks in memory, and the attempt in which an operation changes them.
//!
//! What always holds: between operations there is no attempt; what a block's entry has is its newest contents; blocks of
//! the running, the committing and the logged transactions stay in memory. Checksums of changed blocks are stale until
//! [`seal`](crate::seal) makes them when the transaction closes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::bytes::to_u64;
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::types::{Block, BlockRange, Ino, Want};

/// What a block is: what its checksum is made of, and how it is checked when it comes from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything without a checksum of its own.
    Raw,
    Super,
    /// Group descriptors: the number of the block among them.
    Descriptors(u32),
    /// A group's.
    BlockBitmap(u32),
    InodeBitmap(u32),
    /// Inodes from this one on.
    Inodes(Ino),
    /// Part of an extent tree, and where the checksums of its inode begin.
    Extents(u32),
    /// Entries of a directory.
    Dir(u32),
    /// A node of a directory's hash tree.
    Index(u32),
    Xattr,
    /// Part of the file of orphans.
    Orphans(u32),
    /// Pointers to blocks.
    Pointers,
}

/// A block in memory.
#[derive(Debug)]
struct Entry {
    data: Block,
    kind: Kind,
    /// What of it was found right: bit 0 for the whole, or a bit for each inode in it.
    checked: u64,
    used: u64,
}

/// A block an attempt has changed.
#[derive(Debug)]
struct Changed {
    data: Block,
    kind: Kind,
    /// The inodes in it that have changed.
    mask: u64,
}

/// What an operation has done so far.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    changed: BTreeMap<u64, Changed>,
    /// Blocks freed; true for those that were metadata.
    pub(crate) freed: Vec<(BlockRange, bool)>,
    pub(crate) free_blocks: i64,
    pub(crate) free_inodes: i64,
    /// Inodes changed, and whether more than their times.
    pub(crate) touched: Vec<(Ino, bool)>,
    /// Inodes that got blocks for contents.
    pub(crate) ordered: Vec<Ino>,
}

/// A transaction that takes up changes.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Blocks changed, and of tables of inodes which.
    pub(crate) blocks: BTreeMap<u64, u64>,
    pub(crate) revoked: BTreeSet<u64>,
    pub(crate) freed: Vec<BlockRange>,
    pub(crate) touched: BTreeMap<Ino, bool>,
    pub(crate) ordered: BTreeSet<Ino>,
}

impl Transaction {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.freed.is_empty()
    }
}

/// All blocks in memory.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<u64, Entry>,
    tick: u64,
    /// Counts changes of the device's contents, so that reads from before can be told.
    pub(crate) epoch: u64,
    pub(crate) limit: u64,
}

impl Cache {
    pub(crate) fn with_limit(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }
    pub(crate) fn len(&self) -> u64 {
        to_u64(self.entries.len())
    }
    pub(crate) fn newest(&self, block: u64) -> Option<&Block> {
        self.entries.get(&block).map(|e| &e.data)
    }
    /// A block to put its checksum into. It is copied if somebody else holds it.
    pub(crate) fn seal(&mut self, block: u64) -> Option<(&mut [u8], Kind)> {
        let entry = self.entries.get_mut(&block)?;
        Some((Arc::make_mut(&mut entry.data), entry.kind))
    }
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
    /// Blocks that always stay.
    pub(crate) fn pinned_kinds(&self) -> BTreeSet<u64> {
        let stays = |e: &Entry| matches!(e.kind, Kind::Super | Kind::Descriptors(_));
        self.entries.iter().filter(|(_, e)| stays(e)).map(|(block, _)| *block).collect()
    }
    pub(crate) fn kind(&self, block: u64) -> Option<Kind> {
        self.entries.get(&block).map(|e| e.kind)
    }
    /// Drops the blocks not used for longest that are not `pinned`, until `bytes` are free. Gives what it freed.
    pub(crate) fn shrink(&mut self, bytes: u64, block_size: u64, pinned: impl Fn(u64) -> bool) -> u64 {
        let mut old: Vec<(u64, u64)> =
            self.entries.iter().filter(|(block, _)| !pinned(**block)).map(|(block, e)| (e.used, *block)).collect();
        old.sort_unstable();
        let mut freed = 0;
        for (_, block) in old {
            if freed >= bytes {
                break;
            }
            self.entries.remove(&block);
            freed += block_size;
        }
        freed
    }
}

impl Ext4 {
    /// That a block is not in memory; `count` from there on would be good to have.
    pub(crate) fn missing(&self, block: u64, count: u64) -> Error {
        if block >= self.layout.blocks {
            return corrupt("a block number beyond the end of the device", block);
        }
        let (at, count) = self.redirected(block, count.clamp(1, 64).min(self.layout.blocks - block));
        if !self.comes_as(at, block) {
            return corrupt("a block of the journal is used for something else", at);
        }
        Error::Missing(Want { block: at, count: u32::try_from(count).unwrap_or(1), epoch: self.cache.epoch })
    }

    /// Takes a block from the device into memory.
    pub(crate) fn take_in(&mut self, epoch: u64, block: u64, data: Block) {
        if epoch != self.cache.epoch || data.len() != self.layout.block_size {
            return;
        }
        let (block, data) = self.unredirected(block, data);
        self.cache.tick += 1;
        let used = self.cache.tick;
        self.cache.entries.entry(block).or_insert(Entry { data, kind: Kind::Raw, checked: 0, used });
        self.bound_cache();
    }

    /// Keeps the cache within its limit, giving back a quarter when it is reached.
    fn bound_cache(&mut self) {
        let size = self.layout.bytes();
        let clean = self.cache.len().saturating_sub(self.pinned_count());
        if clean * size > self.cache.limit {
            self.shrink_cache(self.cache.limit / 4);
        }
    }

    /// A block as it is now.
    pub(crate) fn get(&mut self, block: u64, kind: Kind) -> Result<Block> {
        self.get_ahead(block, kind, 1)
    }

    /// A block as it is now; if it has to be read, `ahead` blocks are worth reading.
    pub(crate) fn get_ahead(&mut self, block: u64, kind: Kind, ahead: u64) -> Result<Block> {
        if let Some(changed) = self.attempt.changed.get(&block) {
            return Ok(changed.data.clone());
        }
        self.cache.tick += 1;
        let tick = self.cache.tick;
        let Some(entry) = self.cache.entries.get_mut(&block) else {
            return Err(self.missing(block, ahead));
        };
        entry.used = tick;
        let data = entry.data.clone();
        if entry.kind != kind {
            if self.running.blocks.contains_key(&block) {
                return Err(corrupt("a block is used for two things", block));
            }
            entry.kind = kind;
            entry.checked = 0;
        }
        if entry.checked & 1 == 0 && !matches!(kind, Kind::Inodes(_)) {
            self.verify(block, kind, &data)?;
            if let Some(entry) = self.cache.entries.get_mut(&block) {
                entry.checked = 1;
            }
        }
        Ok(data)
    }

    /// Whether an inode in a table's block was found right before; and if not, that it is now.
    pub(crate) fn inode_was_checked(&mut self, block: u64, bit: u32, now: bool) -> bool {
        if self.attempt.changed.get(&block).is_some_and(|c| c.mask & (1 << bit) != 0) {
            return true;
        }
        let Some(entry) = self.cache.entries.get_mut(&block) else { return false };
        let was = entry.checked & (1 << bit) != 0;
        if now {
            entry.checked |= 1 << bit;
        }
        was
    }

    /// A block to change. It is copied for the attempt; a block of another kind becomes one of this.
    pub(crate) fn edit(&mut self, block: u64, kind: Kind) -> Result<&mut [u8]> {
        self.edit_masked(block, kind, 1)
    }

    /// A table's block in which one inode will change.
    pub(crate) fn edit_masked(&mut self, block: u64, kind: Kind, mask: u64) -> Result<&mut [u8]> {
        self.writable()?;
        if !self.attempt.changed.contains_key(&block) {
            let data = self.get(block, kind)?;
            self.attempt.changed.insert(block, Changed { data: Arc::from(&*data), kind, mask: 0 });
        }
        let changed = self.attempt.changed.get_mut(&block).ok_or(Error::Busy)?;
        changed.kind = kind;
        changed.mask |= mask;
        Ok(Arc::make_mut(&mut changed.data))
    }

    /// Makes a changed block one of another kind, whose checksum will be made otherwise.
    pub(crate) fn edit_as(&mut self, block: u64, old: Kind, new: Kind) -> Result<&mut [u8]> {
        self.edit(block, old)?;
        self.edit(block, new)
    }

    /// A block that begins as zeros, whatever was there.
    pub(crate) fn fresh(&mut self, block: u64, kind: Kind) -> Result<&mut [u8]> {
        self.writable()?;
        let mask = if matches!(kind, Kind::Inodes(_)) { 0 } else { 1 };
        let data: Block = Arc::from(vec![0u8; self.layout.block_size]);
        self.attempt.changed.insert(block, Changed { data, kind, mask });
        let changed = self.attempt.changed.get_mut(&block).ok_or(Error::Busy)?;
        Ok(Arc::make_mut(&mut changed.data))
    }

    /// How many blocks the attempt has changed.
    pub(crate) fn attempt_blocks(&self) -> u64 {
        to_u64(self.attempt.changed.len())
    }

    /// Notes that blocks are free, to be used again once that is durable.
    pub(crate) fn note_freed(&mut self, range: BlockRange, metadata: bool) {
        if metadata {
            for block in range.start..range.start.saturating_add(range.count) {
                self.attempt.changed.remove(&block);
            }
        }
        self.attempt.freed.push((range, metadata));
    }

    /// Does an operation that changes something: all of it joins the running transaction, or nothing has happened.
    pub(crate) fn change<T>(&mut self, operation: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.writable()?;
        if self.unwritten_back() * self.layout.bytes() > self.cache.limit {
            // There is no memory for more.
            return Err(Error::Busy);
        }
        self.attempt = Attempt::default();
        let result = operation(self).and_then(|value| self.join().map(|()| value));
        self.attempt = Attempt::default();
        self.noting_damage(result)
    }

    /// Does an operation that only looks.
    pub(crate) fn look<T>(&mut self, operation: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let result = operation(self);
        self.noting_damage(result)
    }

    fn noting_damage<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error @ Error::Corrupt(damage)) = &result
            && self.damage.is_none()
        {
            let error = error.clone();
            self.note_damage(*damage);
            self.damage = Some(error);
        }
        result
    }

    /// Lets the attempt become part of the running transaction.
    pub(crate) fn join(&mut self) -> Result<()> {
        let new = self.attempt.changed.keys().filter(|b| !self.running.blocks.contains_key(b)).count();
        self.check_credits(to_u64(new), to_u64(self.attempt.freed.len()))?;
        let attempt = core::mem::take(&mut self.attempt);
        self.cache.tick += 1;
        let used = self.cache.tick;
        for (range, metadata) in &attempt.freed {
            if *metadata {
                for block in range.start..range.start.saturating_add(range.count) {
                    self.running.blocks.remove(&block);
                    self.cache.entries.remove(&block);
                    self.running.revoked.insert(block);
                }
            }
            self.busy.insert(*range);
            self.running.freed.push(*range);
        }
        for (block, changed) in attempt.changed {
            let checked = match changed.kind {
                Kind::Inodes(_) => self.cache.entries.get(&block).map_or(0, |e| e.checked) | changed.mask,
                _ => 1,
            };
            self.cache.entries.insert(block, Entry { data: changed.data, kind: changed.kind, checked, used });
            *self.running.blocks.entry(block).or_insert(0) |= changed.mask;
            self.running.revoked.remove(&block);
        }
        for (ino, more) in attempt.touched {
            *self.running.touched.entry(ino).or_insert(false) |= more;
        }
        self.running.ordered.extend(attempt.ordered);
        self.free_blocks = self.free_blocks.saturating_add_signed(attempt.free_blocks);
        self.free_inodes = self.free_inodes.saturating_add_signed(attempt.free_inodes);
        self.bound_cache();
        Ok(())
    }
}

/// Ranges of blocks: freed ones that may not be used yet.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// From a start to an end. They neither touch nor overlap.
    map: BTreeMap<u64, u64>,
    total: u64,
}

impl Ranges {
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The range that contains a block, or the first after it: start and end.
    pub(crate) fn at_or_after(&self, block: u64) -> Option<(u64, u64)> {
        if let Some((&start, &end)) = self.map.range(..=block).next_back()
            && block < end
        {
            return Some((start, end));
        }
        self.map.range(block..).next().map(|(&s, &e)| (s, e))
    }

    pub(crate) fn overlaps(&self, range: BlockRange) -> bool {
        self.at_or_after(range.start).is_some_and(|(start, _)| start < range.start.saturating_add(range.count))
    }

    pub(crate) fn insert(&mut self, range: BlockRange) {
        let (mut start, mut end) = (range.start, range.start.saturating_add(range.count));
        while let Some((&s, &e)) = self.map.range(..=end).next_back()
            && e >= start
        {
            self.map.remove(&s);
            self.total -= e - s;
            start = start.min(s);
            end = end.max(e);
        }
        self.map.insert(start, end);
        self.total += end - start;
    }

    pub(crate) fn remove(&mut self, range: BlockRange) {
        let (start, end) = (range.start, range.start.saturating_add(range.count));
        while let Some((s, e)) = self.at_or_after(start)
            && s < end
        {
            self.map.remove(&s);
            self.total -= e - s;
            for (from, to) in [(s, start.min(e)), (end.max(s), e)] {
                if from < to {
                    self.map.insert(from, to);
                    self.total += to - from;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_where_they_touch_and_split_where_they_are_cut() {
        let range = |start, count| BlockRange { start, count };
        let mut ranges = Ranges::default();
        ranges.insert(range(10, 5));
        ranges.insert(range(20, 5));
        ranges.insert(range(15, 5));
        assert_eq!((ranges.at_or_after(0), ranges.total()), (Some((10, 25)), 15));
        ranges.remove(range(12, 3));
        assert_eq!((ranges.at_or_after(11), ranges.at_or_after(12)), (Some((10, 12)), Some((15, 25))));
        assert_eq!(ranges.total(), 12);
        assert!(ranges.overlaps(range(0, 11)) && !ranges.overlaps(range(12, 3)));
    }
}
