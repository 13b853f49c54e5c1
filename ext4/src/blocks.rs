//! Finding free blocks and giving blocks back.
//!
//! What always holds: no block is given out that is the file system's own, whatever a bitmap says, nor one that was freed
//! in a transaction that is not durable yet.

use alloc::vec::Vec;

use crate::bytes::{index, low32, to_u64};
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::group::{bit, find_bit, set_bits};
use crate::inode::Inode;
use crate::store::Kind;
use crate::types::{BlockRange, By};

/// A free run that is long enough to be taken without looking for a longer one.
const GOOD_RUN: u64 = 2048;

impl Ext4 {
    /// Blocks that can be given out: free, not waiting for a commit and not promised to others.
    fn available(&self, by: By, promised: bool) -> u64 {
        let mut held = self.busy.total();
        if !promised {
            held += self.promise_cost(self.promised);
        }
        if !by.privileged {
            held += self.layout.reserved_blocks;
        }
        self.free_in_attempt().saturating_sub(held)
    }

    fn free_in_attempt(&self) -> u64 {
        self.free_blocks.saturating_add_signed(self.attempt.free_blocks)
    }

    /// What promised contents may need with what leads to them.
    fn promise_cost(&self, blocks: u64) -> u64 {
        if blocks == 0 { 0 } else { blocks + blocks / 64 + 8 }
    }

    /// Promises room for contents.
    pub(crate) fn do_reserve(&mut self, blocks: u64, by: By) -> Result<()> {
        self.writable()?;
        let mut held = self.promise_cost(self.promised.saturating_add(blocks));
        if !by.privileged {
            held = held.saturating_add(self.layout.reserved_blocks);
        }
        if held > self.free_blocks {
            return Err(Error::NoSpace);
        }
        if held.saturating_add(self.busy.total()) > self.free_blocks {
            return Err(Error::Commit);
        }
        self.promised += blocks;
        Ok(())
    }

    /// Why there is no room: perhaps a commit gives some.
    fn no_space(&self) -> Error {
        if self.busy.is_empty() { Error::NoSpace } else { Error::Commit }
    }

    /// Takes up to `count` neighbouring blocks, as near after `goal` as can be. `promised` contents may use what was
    /// promised.
    pub(crate) fn allocate_run(&mut self, goal: u64, count: u64, promised: bool, by: By) -> Result<BlockRange> {
        if self.available(by, promised) == 0 {
            return Err(self.no_space());
        }
        let count = count.clamp(1, self.available(by, promised));
        let goal = if self.is_data(goal, 1) { goal } else { self.layout.first_data_block };
        let first = self.layout.group_of(goal).min(self.layout.groups - 1);
        let mut best: Option<BlockRange> = None;
        for step in 0..self.layout.groups {
            let number = (first + step) % self.layout.groups;
            let group = self.group(number)?;
            let least = best.map_or(0, |b| b.count);
            let longest = u64::from(self.longest.get(index(number)).copied().unwrap_or(u32::MAX));
            if group.free_blocks == 0 || longest <= least {
                continue;
            }
            let from = if step == 0 { goal - self.layout.group_start(number) } else { 0 };
            let found = self.find_run(number, from, count)?;
            if let Some(run) = found
                && run.count > least
            {
                best = Some(run);
            }
            // The goal itself is better than any longer run elsewhere: the file goes on there.
            let at_goal = step == 0 && found.is_some_and(|run| run.start == goal);
            if at_goal || best.is_some_and(|run| run.count >= count.min(GOOD_RUN)) {
                break;
            }
        }
        let Some(run) = best else { return Err(self.no_space()) };
        self.take(run)?;
        Ok(run)
    }

    /// The first free run of `count` blocks in a group from a place on, else the longest.
    fn find_run(&mut self, number: u32, from: u64, count: u64) -> Result<Option<BlockRange>> {
        let map = self.block_bitmap(number)?;
        let start = self.layout.group_start(number);
        let end = self.layout.group_blocks(number);
        let mut best = BlockRange { start: 0, count: 0 };
        let mut longest = 0;
        for (from, to) in [(from, end), (0, from)] {
            let mut at = from;
            while let Some(free) = find_bit(&map, at, to, false) {
                let taken = find_bit(&map, free, end.min(free.saturating_add(count)), true);
                let stop = taken.unwrap_or(end.min(free.saturating_add(count)));
                let run = self.without_busy(start + free, start + stop);
                at = match run {
                    Ok(run) => {
                        if run.count > best.count {
                            best = run;
                        }
                        if best.count >= count {
                            return Ok(Some(best));
                        }
                        longest = longest.max(run.count);
                        run.start + run.count - start
                    }
                    Err(after) => after - start,
                };
            }
        }
        // Looked at all of it: this is the longest, but for what is not free yet.
        if self.busy.is_empty()
            && let Some(hint) = self.longest.get_mut(index(number))
        {
            *hint = low32(longest);
        }
        Ok((best.count > 0).then_some(best))
    }

    /// The first part of a free run that may be used, or where to look on.
    fn without_busy(&self, start: u64, end: u64) -> core::result::Result<BlockRange, u64> {
        let mut end = end;
        for ranges in [&self.busy, &self.system] {
            if let Some((from, to)) = ranges.at_or_after(start)
                && from < end
            {
                if from <= start {
                    return Err(to);
                }
                end = from;
            }
        }
        // What this very attempt has freed is not in `busy` yet.
        for (freed, _) in &self.attempt.freed {
            let (from, to) = (freed.start, freed.start + freed.count);
            if from < end && to > start {
                if from <= start {
                    return Err(to);
                }
                end = from;
            }
        }
        Ok(BlockRange { start, count: end - start })
    }

    /// Marks a run within one group as taken.
    pub(crate) fn take(&mut self, run: BlockRange) -> Result<()> {
        let number = self.layout.group_of(run.start);
        let start = self.layout.group_start(number);
        let map = self.edit_block_bitmap(number)?;
        set_bits(map, run.start - start, run.count, true);
        let mut group = self.group(number)?;
        let count = low32(run.count);
        group.free_blocks = group
            .free_blocks
            .checked_sub(count)
            .ok_or(corrupt("group descriptor: more free blocks than it says", u64::from(number)))?;
        self.put_group(number, &group)?;
        self.attempt.free_blocks -= i64::try_from(run.count).unwrap_or(0);
        Ok(())
    }

    /// Gives blocks back.
    pub(crate) fn free(&mut self, range: BlockRange, metadata: bool) -> Result<()> {
        if !self.is_data(range.start, range.count) {
            return Err(corrupt("freeing blocks that are the file system's own", range.start));
        }
        let (mut at, end) = (range.start, range.start + range.count);
        while at < end {
            let number = self.layout.group_of(at);
            let start = self.layout.group_start(number);
            let stop = end.min(start + self.layout.blocks_per_group);
            let map = self.edit_block_bitmap(number)?;
            if (at..stop).any(|block| !bit(map, block - start)) {
                return Err(corrupt("block bitmap: freeing what is free", at));
            }
            set_bits(map, at - start, stop - at, false);
            let mut group = self.group(number)?;
            group.free_blocks = group.free_blocks.saturating_add(low32(stop - at));
            self.put_group(number, &group)?;
            if let Some(hint) = self.longest.get_mut(index(number)) {
                *hint = u32::MAX;
            }
            self.attempt.free_blocks += i64::try_from(stop - at).unwrap_or(0);
            at = stop;
        }
        self.note_freed(range, metadata);
        Ok(())
    }

    /// A block for an inode's metadata (a directory, a node of a tree), near others of it.
    pub(crate) fn allocate_metadata(&mut self, inode: &mut Inode, near: u64, by: By) -> Result<u64> {
        let goal = if near == 0 { self.goal_of(inode) } else { near };
        // What leads to promised contents was promised with them.
        let promised = !inode.is_dir();
        let run = self.allocate_run(goal, 1, promised, by)?;
        self.charge(inode, 1);
        Ok(run.start)
    }

    /// Gives a block of an inode's metadata back.
    pub(crate) fn free_metadata(&mut self, inode: &mut Inode, block: u64) -> Result<()> {
        self.free(BlockRange { start: block, count: 1 }, true)?;
        self.charge(inode, -1);
        Ok(())
    }

    /// Gives blocks of an inode's contents back. Those of directories and links are metadata to the journal.
    pub(crate) fn free_contents(&mut self, inode: &mut Inode, range: BlockRange) -> Result<()> {
        let metadata = inode.kind() != Some(crate::types::FileType::Regular)
            || inode.has(crate::types::InodeFlags::JOURNAL_DATA)
            || inode.ino < self.layout.first_inode;
        self.free(range, metadata)?;
        self.charge(inode, -i64::try_from(range.count).unwrap_or(0));
        Ok(())
    }

    /// Where an inode's first block would best be: in its group, after the others' first blocks.
    pub(crate) fn goal_of(&self, inode: &Inode) -> u64 {
        let group = (inode.ino.saturating_sub(1)) / self.layout.inodes_per_group.max(1);
        self.layout.group_start(group.min(self.layout.groups - 1)) + 1
    }

    /// Whether an attempt has done enough for one step.
    pub(crate) fn attempt_is_large(&self) -> bool {
        let limit = self.largest_transaction() / 4;
        self.attempt_blocks() >= limit.clamp(12, 256) || to_u64(self.attempt.freed.len()) >= 128
    }

    /// Marks all of some blocks of a bitmap by kind, for tests of what is reachable.
    pub(crate) fn bitmap_bits(&mut self, number: u32) -> Result<Vec<bool>> {
        let count = self.layout.group_blocks(number);
        let map = self.block_bitmap(number)?;
        Ok((0..count).map(|at| bit(&map, at)).collect())
    }

    /// A fresh metadata block of an inode.
    pub(crate) fn fresh_metadata(&mut self, inode: &mut Inode, near: u64, kind: Kind, by: By) -> Result<u64> {
        let block = self.allocate_metadata(inode, near, by)?;
        self.fresh(block, kind)?;
        Ok(block)
    }
}
