//! Decoded blocks and how they are found.
//!
//! What always holds: a block belongs to the physical frame its first byte is in, and all blocks of a frame are dropped
//! together. Links go only from a block to blocks of the same frame that begin in the same virtual page, so no link
//! outlives its target and none depends on a mapping. Jump-cache entries carry the stamp of the space's mappings they were
//! made under; a new stamp forgets them all.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cell::Cell;
use core::ptr;

use aurora_machine::{PAGE_SIZE, PhysAddr};

use crate::op::Op;

/// Ops kept before everything is dropped: 32 MiB of them.
const MOST_OPS: usize = 1 << 20;
const JUMPS: usize = 4096;

/// A run of instructions with one entry.
pub(crate) struct Block {
    /// Ends with an op that never returns `Ok`.
    pub(crate) ops: Box<[Op]>,
    /// Instructions in it.
    pub(crate) count: u64,
    /// Its last instruction reaches into the next page, which is this frame.
    pub(crate) crosses_into: Option<PhysAddr>,
    /// Successors, once known.
    pub(crate) links: [Cell<*const Block>; 2],
    /// Its last instruction is an indirect jump or call.
    pub(crate) indirect: bool,
    /// How often it may still run before somebody looks whether it is worth translating.
    pub(crate) patience: Cell<u32>,
    /// How often that was put off.
    pub(crate) waited: Cell<u8>,
    /// It was translated when that was worth it, but got no way in.
    pub(crate) refused: Cell<bool>,
}

/// [`Block::patience`] at first.
pub(crate) const PATIENCE: u32 = 400;
/// ... of what is not translated.
pub(crate) const FOREVER: u32 = u32::MAX;

impl Block {
    pub(crate) fn new(ops: Vec<Op>, count: u64, crosses_into: Option<PhysAddr>) -> Self {
        let links = [Cell::new(ptr::null()), Cell::new(ptr::null())];
        Self {
            ops: ops.into_boxed_slice(),
            count,
            crosses_into,
            links,
            indirect: false,
            patience: Cell::new(PATIENCE),
            waited: Cell::new(0),
            refused: Cell::new(false),
        }
    }
}

#[derive(Clone, Copy)]
struct Jump {
    rip: u64,
    stamp: u64,
    block: *const Block,
}

/// All decoded blocks of a processor.
pub(crate) struct Blocks {
    /// By physical address of the first byte.
    by_address: BTreeMap<u64, Box<Block>>,
    /// Blocks that reach into another frame: (that frame, address of the block).
    crossing: BTreeSet<(u64, u64)>,
    ops: usize,
    jumps: Box<[Jump; JUMPS]>,
}

impl Blocks {
    pub(crate) fn new() -> Self {
        let empty = Jump { rip: 0, stamp: 0, block: ptr::null() };
        Self { by_address: BTreeMap::new(), crossing: BTreeSet::new(), ops: 0, jumps: Box::new([empty; JUMPS]) }
    }

    fn slot(rip: u64) -> usize {
        (rip ^ rip >> 12) as usize % JUMPS
    }

    /// The block at virtual address `rip`, if it ran under the same mappings before.
    #[inline(always)]
    pub(crate) fn jump(&self, rip: u64, stamp: u64) -> Option<*const Block> {
        let jump = &self.jumps[Self::slot(rip)];
        (jump.rip == rip && jump.stamp == stamp).then_some(jump.block)
    }

    /// Remembers where a jump to `rip` goes.
    pub(crate) fn remember(&mut self, rip: u64, stamp: u64, block: *const Block) {
        self.jumps[Self::slot(rip)] = Jump { rip, stamp, block };
    }

    /// The block whose first byte is at `at`.
    pub(crate) fn find(&self, at: PhysAddr) -> Option<&Block> {
        self.by_address.get(&at.0).map(|block| &**block)
    }

    /// There are translations of the blocks at these places, which somebody should look for.
    pub(crate) fn expect_translations(&self, places: &[PhysAddr]) {
        for block in places.iter().filter_map(|&at| self.find(at)) {
            if block.patience.get() != FOREVER {
                block.patience.set(0);
            }
        }
    }

    /// Whether another block still fits.
    pub(crate) fn is_full(&self) -> bool {
        self.ops > MOST_OPS
    }

    /// Adds a block, or replaces the one there. The caller must then take a new stamp if it was replaced.
    pub(crate) fn insert(&mut self, at: PhysAddr, block: Block) -> *const Block {
        self.ops += block.ops.len();
        if let Some(frame) = block.crosses_into {
            self.crossing.insert((frame.0, at.0));
        }
        let block = Box::new(block);
        let pointer = &raw const *block;
        if let Some(old) = self.by_address.insert(at.0, block) {
            self.ops -= old.ops.len();
        }
        pointer
    }

    /// Frames that blocks were made from.
    pub(crate) fn frames(&self) -> Vec<PhysAddr> {
        let mut frames: Vec<PhysAddr> = self.by_address.keys().map(|at| PhysAddr(at & !(PAGE_SIZE - 1))).collect();
        frames.extend(self.crossing.iter().map(|&(frame, _)| PhysAddr(frame)));
        frames.sort_unstable();
        frames.dedup();
        frames
    }

    /// Drops the blocks made from `frame`, and those that reach into it. The caller must take new stamps.
    pub(crate) fn drop_frame(&mut self, frame: PhysAddr) {
        let own = frame.0..frame.0 + PAGE_SIZE;
        let mut dead: Vec<u64> = self.by_address.range(own).map(|(&at, _)| at).collect();
        dead.extend(self.crossing.range((frame.0, 0)..=(frame.0, u64::MAX)).map(|&(_, at)| at));
        for at in dead {
            if let Some(block) = self.by_address.remove(&at) {
                self.ops -= block.ops.len();
                if let Some(into) = block.crosses_into {
                    self.crossing.remove(&(into.0, at));
                }
            }
        }
    }

    /// Drops everything. The caller must take new stamps.
    pub(crate) fn clear(&mut self) {
        self.by_address.clear();
        self.crossing.clear();
        self.ops = 0;
    }
}

// SAFETY: the raw pointers are to blocks this value owns.
unsafe impl Send for Blocks {}
