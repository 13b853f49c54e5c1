//! Extent trees: which blocks a file has, in runs.
//!
//! What always holds: a node is found sane (`node::check`) before it is used; entries are in order and do not overlap; an
//! index has the first logical block of what is below it.

mod change;
pub(crate) mod node;

use alloc::vec::Vec;

use crate::bytes::low32;
use crate::error::{Result, corrupt};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::store::Kind;
use crate::types::{Block, Place};
use node::{Extent, Node};

/// The deepest tree there can be.
pub(crate) const MAX_DEPTH: usize = 5;
/// Logical blocks have 32 bits, and the last number is no block's.
pub(crate) const MAX_BLOCKS: u64 = 0xffff_ffff;

/// What is at a logical block: so many blocks from there on are alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapped {
    pub(crate) count: u64,
    pub(crate) place: Place,
}

/// One level of the way from the root to a leaf.
#[derive(Debug)]
pub(crate) struct Level {
    /// The block it is in; `None` for the root, which is in the inode.
    pub(crate) block: Option<u64>,
    pub(crate) node: Node,
    /// The entry the way goes through, or in a leaf the last one that does not begin after what is looked for; `None`
    /// if all do.
    pub(crate) at: Option<usize>,
}

impl Ext4 {
    /// The way to the leaf where a logical block is or would be.
    pub(crate) fn extent_path(&mut self, inode: &Inode, logical: u64) -> Result<Vec<Level>> {
        let seed = inode.seed(&self.layout);
        let mut node = Node::Root(inode.root);
        let mut block = None;
        let mut path = Vec::new();
        let mut depth = node.depth();
        loop {
            let at = node.find(low32(logical));
            // What begins before the first index of a node would go into its first child.
            let at = if depth > 0 { Some(at.unwrap_or(0)) } else { at };
            let child = node.child(at.unwrap_or(0));
            path.push(Level { block, node, at });
            if depth == 0 {
                return Ok(path);
            }
            if path.len() > MAX_DEPTH || !self.is_data(child, 1) {
                return Err(corrupt("extent index: a place beyond the device", u64::from(inode.ino)));
            }
            let data = self.get(child, Kind::Extents(seed))?;
            node = Node::Block(data);
            if node.depth() + 1 != depth || (node.depth() > 0 && node.entries() == 0) {
                return Err(corrupt("extent block: depth", child));
            }
            depth = node.depth();
            block = Some(child);
        }
    }

    /// What is at a logical block, and for how many blocks; `count` at most.
    pub(crate) fn map_extent(&mut self, inode: &Inode, logical: u64, count: u64) -> Result<Mapped> {
        if logical >= MAX_BLOCKS {
            return Ok(Mapped { count, place: Place::Hole });
        }
        let path = self.extent_path(inode, logical)?;
        let Some(leaf) = path.last() else { return Err(corrupt("extent tree", u64::from(inode.ino))) };
        if let Some(extent) = leaf.at.map(|at| leaf.node.extent(at))
            && logical < extent.end()
        {
            if !self.is_data(extent.physical, extent.count) {
                return Err(corrupt("extent: a place that is not for contents", u64::from(inode.ino)));
            }
            let skip = logical - extent.logical;
            let start = extent.physical + skip;
            let place = if extent.unwritten { Place::Unwritten(start) } else { Place::Blocks(start) };
            return Ok(Mapped { count: count.min(extent.count - skip), place });
        }
        let next = next_logical(&path).unwrap_or(u64::MAX);
        Ok(Mapped { count: count.min(next.saturating_sub(logical)).max(1), place: Place::Hole })
    }

    /// All blocks of the tree itself that are on the way, to visit a whole tree.
    pub(crate) fn extent_at_or_after(&mut self, inode: &Inode, logical: u64) -> Result<Option<Extent>> {
        let path = self.extent_path(inode, logical)?;
        let Some(leaf) = path.last() else { return Ok(None) };
        if let Some(extent) = leaf.at.map(|at| leaf.node.extent(at))
            && logical < extent.end()
        {
            return Ok(Some(extent));
        }
        let next = leaf.at.map_or(0, |at| at + 1);
        if next < leaf.node.entries() {
            return Ok(Some(leaf.node.extent(next)));
        }
        match next_logical(&path) {
            // An index may be lower than what is below it on a damaged disk only; look once more from there.
            Some(after) if after > logical => {
                let path = self.extent_path(inode, after)?;
                let Some(leaf) = path.last() else { return Ok(None) };
                Ok(leaf.at.map(|at| leaf.node.extent(at)).filter(|e| e.end() > logical))
            }
            _ => Ok(None),
        }
    }
}

/// Where the next entry after a way begins.
fn next_logical(path: &[Level]) -> Option<u64> {
    path.iter().rev().find_map(|level| {
        let next = level.at.map_or(0, |at| at + 1);
        (next < level.node.entries()).then(|| u64::from(level.node.logical(next)))
    })
}

/// A block of the tree as it is.
pub(crate) fn as_node(data: Block) -> Node {
    Node::Block(data)
}
