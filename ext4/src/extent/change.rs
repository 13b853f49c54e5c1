//! Changes of extent trees: extents put in, taken out, and made written.

use alloc::vec::Vec;

use super::node::{self, Extent, MAX_UNWRITTEN, MAX_WRITTEN, Node};
use super::{Level, MAX_BLOCKS, MAX_DEPTH};
use crate::bytes::{low32, put16, slice};
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::store::Kind;
use crate::types::{BlockRange, By, Progress};

/// How often an insertion looks for room: each time a level has been split or added.
const MAX_SPLITS: usize = 2 * MAX_DEPTH + 4;

impl Ext4 {
    /// Changes the node of a level.
    fn edit_node(&mut self, inode: &mut Inode, block: Option<u64>, edit: impl FnOnce(&mut [u8])) -> Result<()> {
        match block {
            None => edit(&mut inode.root),
            Some(block) => edit(self.edit(block, Kind::Extents(inode.seed(&self.layout)))?),
        }
        Ok(())
    }

    /// After the first entry of a node changed: what leads to it says the new first block.
    fn correct_indexes(&mut self, inode: &mut Inode, path: &[Level], depth: usize, logical: u32) -> Result<()> {
        for level in path.get(..depth).unwrap_or(&[]).iter().rev() {
            let at = level.at.unwrap_or(0);
            self.edit_node(inode, level.block, |data| node::set_logical(data, at, logical))?;
            if at > 0 {
                break;
            }
        }
        Ok(())
    }

    /// Puts an extent in where there is a hole.
    pub(crate) fn insert_extent(&mut self, inode: &mut Inode, new: Extent, by: By) -> Result<()> {
        if new.end() > MAX_BLOCKS || new.count == 0 {
            return Err(Error::FileTooLarge);
        }
        for _ in 0..MAX_SPLITS {
            let path = self.extent_path(inode, new.logical)?;
            let Some(leaf) = path.last() else { break };
            if self.try_merge(inode, leaf, &path, new)? {
                return Ok(());
            }
            if !leaf.node.is_full() {
                let at = leaf.at.map_or(0, |at| at + 1);
                self.edit_node(inode, leaf.block, |data| {
                    node::open(data, at);
                    node::set_extent(data, at, &new);
                })?;
                if at == 0 {
                    self.correct_indexes(inode, &path, path.len() - 1, low32(new.logical))?;
                }
                return Ok(());
            }
            self.make_room(inode, &path, new.logical, by)?;
        }
        Err(corrupt("extent tree: no room after splits", u64::from(inode.ino)))
    }

    /// Lets a neighbour in the leaf take a new extent up.
    fn try_merge(&mut self, inode: &mut Inode, leaf: &Level, path: &[Level], new: Extent) -> Result<bool> {
        let next_at = leaf.at.map_or(0, |at| at + 1);
        let next = (next_at < leaf.node.entries()).then(|| leaf.node.extent(next_at));
        if let Some(at) = leaf.at {
            let before = leaf.node.extent(at);
            if before.end() > new.logical {
                return Err(corrupt("extent tree: blocks mapped twice", u64::from(inode.ino)));
            }
            if before.joins(&new) {
                let mut joined = Extent { count: before.count + new.count, ..before };
                let both = next.filter(|next| joined.joins(next));
                joined.count += both.map_or(0, |next| next.count);
                self.edit_node(inode, leaf.block, |data| {
                    node::set_extent(data, at, &joined);
                    if both.is_some() {
                        node::close(data, next_at);
                    }
                })?;
                return Ok(true);
            }
        }
        let Some(next) = next else { return Ok(false) };
        if next.logical < new.end() {
            return Err(corrupt("extent tree: blocks mapped twice", u64::from(inode.ino)));
        }
        if !new.joins(&next) {
            return Ok(false);
        }
        let joined = Extent { count: new.count + next.count, ..new };
        self.edit_node(inode, leaf.block, |data| node::set_extent(data, next_at, &joined))?;
        if next_at == 0 {
            self.correct_indexes(inode, path, path.len() - 1, low32(new.logical))?;
        }
        Ok(true)
    }

    /// Splits the highest full node of a way, or adds a level.
    fn make_room(&mut self, inode: &mut Inode, path: &[Level], logical: u64, by: By) -> Result<()> {
        // The lowest node that still has room takes another index.
        let Some(roomy) = path.iter().rposition(|level| !level.node.is_full()) else {
            return self.add_level(inode, by);
        };
        let (Some(parent), Some(full)) = (path.get(roomy), path.get(roomy + 1)) else {
            return Err(corrupt("extent tree: a full leaf with room", u64::from(inode.ino)));
        };
        let count = full.node.entries();
        // At the end, what exists stays full, since files mostly grow.
        let appending = full.at.is_none_or(|at| at + 1 == count) && full.node.logical(count - 1) < low32(logical);
        let keep = if appending { count - 1 } else { count / 2 };
        let first = full.node.logical(keep);
        let seed = inode.seed(&self.layout);
        let new = self.allocate_metadata(inode, full.block.unwrap_or(0), by)?;
        let moved = slice(full.node.bytes(), node::entry_bytes(keep, count).start, node::entry_bytes(keep, count).end);
        let depth = full.node.depth();
        let data = self.fresh(new, Kind::Extents(seed))?;
        node::init(data, depth);
        node::set_entries(data, count - keep);
        crate::bytes::put(data, node::entry_bytes(0, 0).start, moved);
        self.edit_node(inode, full.block, |data| {
            let range = node::entry_bytes(keep, count);
            crate::bytes::clear(data, range.start, range.end);
            node::set_entries(data, keep);
        })?;
        let at = parent.at.unwrap_or(0) + 1;
        self.edit_node(inode, parent.block, |data| {
            node::open(data, at);
            node::set_index(data, at, first, new);
        })
    }

    /// Moves the root's entries into a block.
    fn add_level(&mut self, inode: &mut Inode, by: By) -> Result<()> {
        let root = Node::Root(inode.root);
        if usize::from(root.depth()) >= MAX_DEPTH {
            return Err(Error::FileTooLarge);
        }
        let seed = inode.seed(&self.layout);
        let block = self.allocate_metadata(inode, 0, by)?;
        let data = self.fresh(block, Kind::Extents(seed))?;
        node::init(data, root.depth());
        node::set_entries(data, root.entries());
        let range = node::entry_bytes(0, root.entries());
        crate::bytes::put(data, range.start, slice(root.bytes(), range.start, range.end));
        let first = root.logical(0);
        crate::bytes::clear(&mut inode.root, 12, 60);
        node::set_entries(&mut inode.root, 1);
        put16(&mut inode.root, 6, root.depth() + 1);
        node::set_index(&mut inode.root, 0, first, block);
        Ok(())
    }

    /// Frees blocks from a logical range, the last ones first, as far as one attempt should go.
    pub(crate) fn remove_extents(&mut self, inode: &mut Inode, from: u64, to: u64, by: By) -> Result<Progress> {
        let to = to.min(MAX_BLOCKS);
        while from < to {
            if self.attempt_is_large() {
                return Ok(Progress::More);
            }
            let path = self.extent_path(inode, to - 1)?;
            let Some(leaf) = path.last() else { break };
            let Some(at) = leaf.at else { break };
            let extent = leaf.node.extent(at);
            if extent.end() <= from {
                break;
            }
            let (start, end) = (extent.logical.max(from), extent.end().min(to));
            if start >= end {
                // The last extent before `to` ends before it; nothing between.
                break;
            }
            let freed = BlockRange { start: extent.physical + (start - extent.logical), count: end - start };
            if !self.is_data(freed.start, freed.count) {
                return Err(corrupt("extent: a place that is not for contents", u64::from(inode.ino)));
            }
            self.cut(inode, &path, at, extent, (start, end), by)?;
            self.free_contents(inode, freed)?;
        }
        Ok(Progress::Done)
    }

    /// Takes a part out of an extent.
    fn cut(
        &mut self,
        inode: &mut Inode,
        path: &[Level],
        at: usize,
        extent: Extent,
        (start, end): (u64, u64),
        by: By,
    ) -> Result<()> {
        let Some(leaf) = path.last() else { return Ok(()) };
        let left = Extent { count: start - extent.logical, ..extent };
        let skip = end - extent.logical;
        let right = Extent { logical: end, physical: extent.physical + skip, count: extent.count - skip, ..extent };
        match (left.count > 0, right.count > 0) {
            (true, more) => {
                self.edit_node(inode, leaf.block, |data| node::set_extent(data, at, &left))?;
                if more { self.insert_extent(inode, right, by) } else { Ok(()) }
            }
            (false, true) => {
                self.edit_node(inode, leaf.block, |data| node::set_extent(data, at, &right))?;
                if at == 0 {
                    self.correct_indexes(inode, path, path.len() - 1, low32(right.logical))?;
                }
                Ok(())
            }
            (false, false) => self.remove_entry(inode, path, at),
        }
    }

    /// Takes an entry out of a leaf; nodes that get empty go, too.
    fn remove_entry(&mut self, inode: &mut Inode, path: &[Level], at: usize) -> Result<()> {
        let mut at = at;
        for (depth, level) in path.iter().enumerate().rev() {
            let count = level.node.entries();
            if count > 1 || level.block.is_none() {
                self.edit_node(inode, level.block, |data| node::close(data, at))?;
                if count <= 1 {
                    // The root is empty: a tree without levels.
                    put16(&mut inode.root, 6, 0);
                } else if at == 0 {
                    let first = level.node.logical(1);
                    self.correct_indexes(inode, path, depth, first)?;
                }
                return Ok(());
            }
            if let Some(block) = level.block {
                self.free_metadata(inode, block)?;
            }
            at = depth.checked_sub(1).and_then(|up| path.get(up)).and_then(|up| up.at).unwrap_or(0);
        }
        Ok(())
    }

    /// Makes what is allocated in a range written or unwritten, the first ones first.
    pub(crate) fn convert_extents(
        &mut self,
        inode: &mut Inode,
        from: u64,
        to: u64,
        unwritten: bool,
        by: By,
    ) -> Result<Progress> {
        let mut from = from;
        while from < to {
            if self.attempt_is_large() {
                return Ok(Progress::More);
            }
            let Some(extent) = self.extent_at_or_after(inode, from)? else { break };
            if extent.logical >= to {
                break;
            }
            let (start, mut end) = (extent.logical.max(from), extent.end().min(to));
            if extent.unwritten != unwritten {
                // An unwritten extent is one block shorter at most.
                if unwritten {
                    end = end.min(start + MAX_UNWRITTEN);
                }
                self.convert_part(inode, extent, (start, end), unwritten, by)?;
            }
            from = end;
        }
        Ok(Progress::Done)
    }

    fn convert_part(
        &mut self,
        inode: &mut Inode,
        extent: Extent,
        (start, end): (u64, u64),
        unwritten: bool,
        by: By,
    ) -> Result<()> {
        let path = self.extent_path(inode, extent.logical)?;
        let (Some(leaf), Some(at)) = (path.last(), path.last().and_then(|l| l.at)) else {
            return Err(corrupt("extent tree", u64::from(inode.ino)));
        };
        let piece = |from: u64, to: u64, unwritten| Extent {
            logical: from,
            count: to - from,
            physical: extent.physical + (from - extent.logical),
            unwritten,
        };
        let middle = piece(start, end, unwritten);
        let right = (end < extent.end()).then(|| piece(end, extent.end(), extent.unwritten));
        if start > extent.logical {
            let left = piece(extent.logical, start, extent.unwritten);
            self.edit_node(inode, leaf.block, |data| node::set_extent(data, at, &left))?;
            if let Some(right) = right {
                self.insert_extent(inode, right, by)?;
            }
            return self.insert_extent(inode, middle, by);
        }
        // The front changes: a neighbour may take it up.
        let before = at.checked_sub(1).map(|at| leaf.node.extent(at)).filter(|before| before.joins(&middle));
        match (before, right) {
            (Some(before), Some(right)) => {
                let joined = Extent { count: before.count + middle.count, ..before };
                self.edit_node(inode, leaf.block, |data| {
                    node::set_extent(data, at - 1, &joined);
                    node::set_extent(data, at, &right);
                })
            }
            (Some(before), None) => {
                let mut joined = Extent { count: before.count + middle.count, ..before };
                let after = (at + 1 < leaf.node.entries()).then(|| leaf.node.extent(at + 1));
                let after = after.filter(|after| joined.joins(after));
                joined.count += after.map_or(0, |after| after.count);
                self.edit_node(inode, leaf.block, |data| {
                    node::set_extent(data, at - 1, &joined);
                    node::close(data, at);
                    if after.is_some() {
                        node::close(data, at);
                    }
                })
            }
            (None, Some(right)) => {
                self.edit_node(inode, leaf.block, |data| node::set_extent(data, at, &middle))?;
                self.insert_extent(inode, right, by)
            }
            (None, None) => {
                let after = (at + 1 < leaf.node.entries()).then(|| leaf.node.extent(at + 1));
                let after = after.filter(|after| middle.joins(after));
                let joined = Extent { count: middle.count + after.map_or(0, |after| after.count), ..middle };
                self.edit_node(inode, leaf.block, |data| {
                    node::set_extent(data, at, &joined);
                    if after.is_some() {
                        node::close(data, at + 1);
                    }
                })
            }
        }
    }

    /// Every block of the tree itself.
    pub(crate) fn extent_tree_blocks(&mut self, inode: &Inode) -> Result<Vec<u64>> {
        let seed = inode.seed(&self.layout);
        let root = Node::Root(inode.root);
        let mut depth = root.depth();
        let mut level: Vec<u64> = Vec::new();
        if depth > 0 {
            level.extend((0..root.entries()).map(|at| root.child(at)));
        }
        let mut all = level.clone();
        while depth > 1 {
            depth -= 1;
            let mut next = Vec::new();
            for &block in &level {
                if !self.is_data(block, 1) {
                    return Err(corrupt("extent index: a place beyond the device", u64::from(inode.ino)));
                }
                let data = self.get(block, Kind::Extents(seed))?;
                next.extend((0..node::entries(&data)).map(|at| node::child(&data, at)));
            }
            all.extend_from_slice(&next);
            level = next;
            if crate::bytes::to_u64(all.len()) > self.layout.blocks {
                return Err(corrupt("extent tree: more blocks than the device", u64::from(inode.ino)));
            }
        }
        Ok(all)
    }

    /// The longest extent of a kind.
    pub(crate) const fn longest_extent(unwritten: bool) -> u64 {
        if unwritten { MAX_UNWRITTEN } else { MAX_WRITTEN }
    }
}
