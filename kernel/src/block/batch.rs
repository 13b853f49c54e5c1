//! Several transfers started together: what is next to each other on the disk goes in one request.

use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::{BlockOp, BlockSegment, Frame, PAGE_SIZE, SECTOR_SIZE};

use super::Volume;
use crate::num::to_usize;

/// Largest request, in bytes: larger ones gain nothing, and others wait behind them.
pub const MAX_BYTES: u64 = 1 << 20;

/// Transfers in one direction that nobody has started yet.
pub struct Batch {
    op: BlockOp,
    pieces: Vec<(u64, BlockSegment)>,
    bytes: u64,
}

impl Batch {
    /// Of reads.
    pub fn reads() -> Self {
        Self { op: BlockOp::Read, pieces: Vec::new(), bytes: 0 }
    }
    /// Of writes.
    pub fn writes() -> Self {
        Self { op: BlockOp::Write, pieces: Vec::new(), bytes: 0 }
    }
    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    /// Adds one: part of a frame, at a sector of the volume.
    pub fn add(&mut self, sector: u64, frame: &Frame, offset: usize, len: usize) {
        self.bytes += len as u64;
        self.pieces.push((sector, BlockSegment { frame: frame.clone(), offset, len }));
    }
    /// Adds whole frames, one after the other from a sector on; of the last one only what is left of `len` bytes.
    pub fn add_frames(&mut self, sector: u64, frames: &[Frame], len: u64) {
        for (index, frame) in (0..).zip(frames) {
            let at: u64 = index * PAGE_SIZE;
            let part = len.saturating_sub(at).min(PAGE_SIZE);
            if part > 0 {
                self.add(sector + at / SECTOR_SIZE, frame, 0, to_usize(part));
            }
        }
    }

    /// Starts all of them and waits until all ended. The first error, after the others ended, too.
    pub async fn run(mut self, volume: &Volume) -> Result<(), Errno> {
        self.pieces.sort_by_key(|(sector, _)| *sector);
        let max_segments = volume.disk().geometry().max_segments.max(1);
        let mut started = Vec::new();
        let mut pieces = self.pieces.into_iter().peekable();
        while let Some((sector, segment)) = pieces.next() {
            let mut bytes = segment.len as u64;
            let mut segments = Vec::from([segment]);
            while let Some((next, more)) = pieces.peek()
                && *next == sector + bytes / SECTOR_SIZE
                && segments.len() < max_segments
                && bytes + more.len as u64 <= MAX_BYTES
            {
                bytes += more.len as u64;
                segments.extend(pieces.next().map(|(_, segment)| segment));
            }
            started.push(volume.start(self.op, sector, segments));
        }
        let mut result = Ok(());
        for pending in started {
            let ended = match pending {
                Ok(pending) => pending.wait().await,
                Err(errno) => Err(errno),
            };
            result = result.and(ended);
        }
        result
    }
}
