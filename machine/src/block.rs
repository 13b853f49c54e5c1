//! Disks: what keeps bytes while the machine is off.
//!
//! A request carries frames, not bytes, so that a device with its own access to memory needs no copy. Requests may
//! complete in any order; what must not be reordered is kept apart by a [`BlockOp::Flush`], which completes when
//! everything that completed before it was submitted is on the medium.

use alloc::vec::Vec;

use crate::Frame;

/// Bytes of a sector, the unit of every request, whatever the medium's own blocks are.
pub const SECTOR_SIZE: u64 = 512;

/// What a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockGeometry {
    /// How many sectors it has.
    pub sectors: u64,
    /// Writes fail.
    pub read_only: bool,
    /// It takes [`BlockOp::Discard`].
    pub discards: bool,
    /// Most segments of one request.
    pub max_segments: usize,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOp {
    /// Fills the segments from the disk.
    Read,
    /// Writes the segments to the disk, whose cache may keep them until the next flush.
    Write,
    /// Makes what was written last.
    Flush,
    /// So many sectors hold nothing of use any more; what they read as afterwards is not said.
    Discard {
        /// How many.
        sectors: u64,
    },
}

/// Part of a frame, a multiple of the sector long.
#[derive(Clone, Debug)]
pub struct BlockSegment {
    /// Whose bytes.
    pub frame: Frame,
    /// Where they start.
    pub offset: usize,
    /// How many.
    pub len: usize,
}

/// A request.
#[derive(Debug)]
pub struct BlockRequest {
    /// Comes back with the answer.
    pub tag: u64,
    /// What.
    pub op: BlockOp,
    /// Where on the disk it starts.
    pub sector: u64,
    /// The memory it is about, in order.
    pub segments: Vec<BlockSegment>,
}

impl BlockRequest {
    /// Bytes it moves.
    pub fn len(&self) -> u64 {
        self.segments.iter().map(|s| s.len as u64).sum()
    }
    /// Whether it moves none.
    pub fn is_empty(&self) -> bool {
        self.segments.iter().all(|s| s.len == 0)
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The medium, or the way to it.
    Io,
    /// The medium's own store is full: a quota, or the host's disk.
    NoSpace,
    /// It takes no writes.
    ReadOnly,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDone {
    /// Of which request.
    pub tag: u64,
    /// How.
    pub result: Result<(), BlockError>,
}

/// A disk. No method blocks.
pub trait BlockDevice: Send + Sync {
    /// What it is. Never changes.
    fn geometry(&self) -> BlockGeometry;

    /// Starts a request; gives it back if there is no room for it before another one ends.
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest>;

    /// Takes the answer to a request that ended. The machine calls the kernel's `disks_ready` when there is one, unless it
    /// was there when `submit` returned.
    fn completed(&self) -> Option<BlockDone>;
}
