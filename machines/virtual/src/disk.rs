//! Disks over bytes the host reads and writes at once: an image file, or what a browser gives a worker.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use aurora_machine::{
    BlockDevice, BlockDone, BlockError, BlockGeometry, BlockOp, BlockRequest, BlockSegment, SECTOR_SIZE,
};
use spin::Mutex;

/// Where the bytes of a disk are.
pub trait DiskImage: Send + Sync {
    /// How many there are; never changes.
    fn size(&self) -> u64;
    /// Whether writes fail.
    fn is_read_only(&self) -> bool {
        false
    }
    /// Fills `out` from `offset` on.
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), BlockError>;
    /// Writes `bytes` from `offset` on.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError>;
    /// Makes what was written last.
    fn flush(&self) -> Result<(), BlockError>;
    /// Whether it does anything about what holds nothing of use.
    fn discards(&self) -> bool {
        false
    }
    /// A range holds nothing of use.
    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        let _ = (offset, len);
        Ok(())
    }
}

/// The disk an image makes. Every request has ended when `submit` returns.
pub struct ImageDisk<I> {
    image: I,
    done: Mutex<VecDeque<BlockDone>>,
    /// Requests are gathered here: one call of the host's for many frames.
    buffer: Mutex<Vec<u8>>,
}

impl<I: DiskImage> ImageDisk<I> {
    /// Makes a disk of `image`.
    pub fn new(image: I) -> Self {
        Self { image, done: Mutex::default(), buffer: Mutex::default() }
    }

    fn carry_out(&self, request: &BlockRequest) -> Result<(), BlockError> {
        let offset = request.sector * SECTOR_SIZE;
        let len = request.len() as usize;
        let mut buffer = self.buffer.lock();
        if buffer.len() < len {
            *buffer = vec![0; len];
        }
        let bytes = &mut buffer[..len];
        match request.op {
            BlockOp::Read => {
                self.image.read(offset, bytes)?;
                each(&request.segments, bytes, |segment, part| segment.frame.write(segment.offset, part));
                Ok(())
            }
            BlockOp::Write => {
                each(&request.segments, bytes, |segment, part| segment.frame.read(segment.offset, part));
                self.image.write(offset, bytes)
            }
            BlockOp::Flush => self.image.flush(),
            BlockOp::Discard { sectors } => self.image.discard(offset, sectors * SECTOR_SIZE),
        }
    }
}

fn each(segments: &[BlockSegment], mut bytes: &mut [u8], mut step: impl FnMut(&BlockSegment, &mut [u8]) -> usize) {
    for segment in segments {
        let (part, rest) = bytes.split_at_mut(segment.len);
        step(segment, part);
        bytes = rest;
    }
}

impl<I: DiskImage> BlockDevice for ImageDisk<I> {
    fn geometry(&self) -> BlockGeometry {
        BlockGeometry {
            sectors: self.image.size() / SECTOR_SIZE,
            read_only: self.image.is_read_only(),
            discards: self.image.discards(),
            max_segments: 256,
        }
    }

    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let result = self.carry_out(&request);
        self.done.lock().push_back(BlockDone { tag: request.tag, result });
        Ok(())
    }

    fn completed(&self) -> Option<BlockDone> {
        self.done.lock().pop_front()
    }
}
