//! Block maps of ext2 and ext3: twelve pointers in the inode, then a tree of pointers, up to three levels deep.

use crate::bytes::{le32, low32, put32, to_u64, to_usize};
use crate::error::{Error, Result, corrupt};
use crate::extent::Mapped;
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::store::Kind;
use crate::types::{Block, BlockRange, By, Place, Progress};

const DIRECT: u64 = 12;

/// The way to a pointer: an index in the inode, then one for each level.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Levels of blocks of pointers.
    levels: usize,
    indexes: [u64; 4],
}

impl Ext4 {
    fn pointers_per_block(&self) -> u64 {
        self.layout.bytes() / 4
    }

    /// How many blocks a file with a block map can have.
    pub(crate) fn max_pointer_blocks(&self) -> u64 {
        let per = self.pointers_per_block();
        DIRECT + per + per * per + per * per * per
    }

    fn way(&self, logical: u64) -> Option<Way> {
        let per = self.pointers_per_block();
        if logical < DIRECT {
            return Some(Way { levels: 0, indexes: [logical, 0, 0, 0] });
        }
        let rest = logical - DIRECT;
        if rest < per {
            return Some(Way { levels: 1, indexes: [12, rest, 0, 0] });
        }
        let rest = rest - per;
        if rest < per * per {
            return Some(Way { levels: 2, indexes: [13, rest / per, rest % per, 0] });
        }
        let rest = rest - per * per;
        let way = Way { levels: 3, indexes: [14, rest / (per * per), rest / per % per, rest % per] };
        (rest < per * per * per).then_some(way)
    }

    fn pointer_block(&mut self, block: u64, ino: u32) -> Result<Block> {
        if !self.is_data(block, 1) {
            return Err(corrupt("block map: a place beyond the device", u64::from(ino)));
        }
        self.get(block, Kind::Pointers)
    }

    /// What is at a logical block; `count` at most.
    pub(crate) fn map_pointer(&mut self, inode: &Inode, logical: u64, count: u64) -> Result<Mapped> {
        let Some(way) = self.way(logical) else { return Ok(Mapped { count, place: Place::Hole }) };
        let per = self.pointers_per_block();
        let mut data: Block = alloc::sync::Arc::from(inode.root.as_slice());
        let mut end = if way.levels == 0 { DIRECT } else { 15 };
        for level in 0..=way.levels {
            let at = way.indexes.get(level).copied().unwrap_or(0);
            let pointer = u64::from(le32(&data, to_usize(at * 4)));
            let leaf = level == way.levels;
            if leaf && pointer != 0 {
                let mut run = 1;
                while run < count && at + run < end && u64::from(le32(&data, to_usize((at + run) * 4))) == pointer + run
                {
                    run += 1;
                }
                if !self.is_data(pointer, run) {
                    return Err(corrupt("block map: a place that is not for contents", u64::from(inode.ino)));
                }
                return Ok(Mapped { count: run, place: Place::Blocks(pointer) });
            }
            if pointer == 0 {
                return Ok(Mapped { count: self.hole(&data, way, level, (at, end), count), place: Place::Hole });
            }
            data = self.pointer_block(pointer, inode.ino)?;
            end = per;
        }
        Err(corrupt("block map", u64::from(inode.ino)))
    }

    /// How long a hole is: to the end of what a missing pointer would lead to, and of missing neighbours in a leaf.
    fn hole(&self, data: &[u8], way: Way, level: usize, (at, end): (u64, u64), count: u64) -> u64 {
        let per = self.pointers_per_block();
        if level == way.levels {
            let empty = (at..end).take_while(|at| le32(data, to_usize(at * 4)) == 0);
            return to_u64(empty.take(to_usize(count)).count()).max(1);
        }
        let below = way.indexes.get(level + 1..=way.levels).unwrap_or(&[]);
        let inside = below.iter().fold(0, |sum, at| sum * per + at);
        let size = (0..below.len()).fold(1, |size: u64, _| size.saturating_mul(per));
        count.min(size - inside).max(1)
    }

    /// Finds or makes blocks for a write at a logical block: neighbours within one block of pointers. Gives the place,
    /// how many, and whether they are new.
    pub(crate) fn map_pointer_for_write(
        &mut self,
        inode: &mut Inode,
        logical: u64,
        count: u64,
        goal: u64,
        by: By,
    ) -> Result<(BlockRange, bool)> {
        let way = self.way(logical).ok_or(Error::FileTooLarge)?;
        let per = self.pointers_per_block();
        let mut holder: Option<u64> = None;
        for level in 0..way.levels {
            let at = to_usize(way.indexes.get(level).copied().unwrap_or(0) * 4);
            let mut pointer = self.pointer(inode, holder, at)?;
            if pointer == 0 {
                pointer = self.fresh_metadata(inode, goal, Kind::Pointers, by)?;
                self.set_pointer(inode, holder, at, pointer)?;
            }
            holder = Some(pointer);
        }
        let at = way.indexes.get(way.levels).copied().unwrap_or(0);
        let end = if way.levels == 0 { DIRECT } else { per };
        let here = self.pointer(inode, holder, to_usize(at * 4))?;
        if here != 0 {
            let mapped = self.map_pointer(inode, logical, count)?;
            return Ok((BlockRange { start: here, count: mapped.count }, false));
        }
        let mut empty = 1;
        while empty < count && at + empty < end && self.pointer(inode, holder, to_usize((at + empty) * 4))? == 0 {
            empty += 1;
        }
        let run = self.allocate_run(goal, empty, !inode.is_dir(), by)?;
        if run.start + run.count > 1 << 32 {
            return Err(Error::FileTooLarge);
        }
        for number in 0..run.count {
            self.set_pointer(inode, holder, to_usize((at + number) * 4), run.start + number)?;
        }
        self.charge(inode, i64::try_from(run.count).unwrap_or(0));
        Ok((run, true))
    }

    fn pointer(&mut self, inode: &Inode, holder: Option<u64>, at: usize) -> Result<u64> {
        Ok(u64::from(match holder {
            None => le32(&inode.root, at),
            Some(block) => le32(&*self.pointer_block(block, inode.ino)?, at),
        }))
    }

    fn set_pointer(&mut self, inode: &mut Inode, holder: Option<u64>, at: usize, value: u64) -> Result<()> {
        match holder {
            None => put32(&mut inode.root, at, low32(value)),
            Some(block) => put32(self.edit(block, Kind::Pointers)?, at, low32(value)),
        }
        Ok(())
    }

    /// Frees blocks of a logical range, the last ones first, as far as one attempt should go.
    pub(crate) fn remove_pointers(&mut self, inode: &mut Inode, from: u64, to: u64) -> Result<Progress> {
        let per = self.pointers_per_block();
        let starts = [(14, DIRECT + per + per * per, 3), (13, DIRECT + per, 2), (12, DIRECT, 1)];
        for (slot, start, levels) in starts {
            let size = (0..levels).fold(1u64, |size, _| size.saturating_mul(per));
            let pointer = u64::from(le32(&inode.root, slot * 4));
            if pointer == 0 || to <= start || from >= start + size {
                continue;
            }
            let range = (from.saturating_sub(start), (to - start).min(size));
            let Some(empty) = self.remove_below(inode, pointer, levels, range)? else { return Ok(Progress::More) };
            if empty {
                self.free_metadata(inode, pointer)?;
                put32(&mut inode.root, slot * 4, 0);
            }
        }
        for at in (from.min(DIRECT)..to.min(DIRECT)).rev() {
            let pointer = u64::from(le32(&inode.root, to_usize(at * 4)));
            if pointer != 0 {
                put32(&mut inode.root, to_usize(at * 4), 0);
                self.free_contents(inode, BlockRange { start: pointer, count: 1 })?;
            }
        }
        Ok(Progress::Done)
    }

    /// Frees what a block of pointers leads to in a range counted from its start. Gives whether it is empty now, or
    /// nothing when there is more to do.
    fn remove_below(
        &mut self,
        inode: &mut Inode,
        block: u64,
        levels: u32,
        (from, to): (u64, u64),
    ) -> Result<Option<bool>> {
        let per = self.pointers_per_block();
        let size = (1..levels).fold(1u64, |size, _| size.saturating_mul(per));
        let mut at = to.div_ceil(size).min(per);
        while at > from / size {
            if self.attempt_is_large() {
                return Ok(None);
            }
            at -= 1;
            let data = self.pointer_block(block, inode.ino)?;
            let pointer = u64::from(le32(&data, to_usize(at * 4)));
            if pointer == 0 {
                continue;
            }
            if levels > 1 {
                let start = at * size;
                let range = (from.saturating_sub(start), (to - start).min(size));
                let Some(empty) = self.remove_below(inode, pointer, levels - 1, range)? else { return Ok(None) };
                if empty {
                    self.free_metadata(inode, pointer)?;
                    put32(self.edit(block, Kind::Pointers)?, to_usize(at * 4), 0);
                }
                continue;
            }
            // Neighbours go together.
            let mut count = 1;
            while at > from && u64::from(le32(&data, to_usize((at - 1) * 4))) + count == pointer {
                at -= 1;
                count += 1;
            }
            let data = self.edit(block, Kind::Pointers)?;
            crate::bytes::clear(data, to_usize(at * 4), to_usize((at + count) * 4));
            self.free_contents(inode, BlockRange { start: pointer + 1 - count, count })?;
        }
        let data = self.pointer_block(block, inode.ino)?;
        Ok(Some(data.iter().all(|byte| *byte == 0)))
    }

    /// Every block of pointers.
    pub(crate) fn pointer_blocks(&mut self, inode: &Inode) -> Result<alloc::vec::Vec<u64>> {
        let mut all = alloc::vec::Vec::new();
        for (slot, levels) in [(12usize, 1), (13, 2), (14, 3)] {
            let mut level: alloc::vec::Vec<u64> =
                Some(u64::from(le32(&inode.root, slot * 4))).filter(|&p| p != 0).into_iter().collect();
            for depth in 0..levels {
                all.extend_from_slice(&level);
                if depth + 1 == levels || to_u64(all.len()) > self.layout.blocks {
                    break;
                }
                let mut next = alloc::vec::Vec::new();
                for &block in &level {
                    let data = self.pointer_block(block, inode.ino)?;
                    let pointers = data.chunks_exact(4).map(|c| u64::from(le32(c, 0)));
                    next.extend(pointers.filter(|&p| p != 0));
                }
                level = next;
            }
        }
        Ok(all)
    }
}
