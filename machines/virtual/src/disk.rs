//! Disks over bytes the host reads and writes: an image file, or what a browser gives a worker.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use aurora_machine::{BlockDevice, BlockDone, BlockError, BlockGeometry, BlockOp, BlockRequest, SECTOR_SIZE};
use spin::Mutex;

/// Where the bytes of a disk are, if they can be read and written at once.
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

/// Where the bytes of a disk are, if the host may take its time.
pub trait DiskHost: Send + Sync {
    /// How many there are; never changes.
    fn size(&self) -> u64;
    /// Whether writes fail.
    fn is_read_only(&self) -> bool;
    /// Whether it does anything about what holds nothing of use.
    fn discards(&self) -> bool;
    /// Starts what a request wants, from or to `bytes`. `None` is for later: then the bytes stay where they are until
    /// [`ImageDisk::finish`] is called.
    fn start(&self, tag: u64, op: BlockOp, offset: u64, bytes: &mut [u8]) -> Option<Result<(), BlockError>>;
}

impl<I: DiskImage> DiskHost for I {
    fn size(&self) -> u64 {
        DiskImage::size(self)
    }
    fn is_read_only(&self) -> bool {
        DiskImage::is_read_only(self)
    }
    fn discards(&self) -> bool {
        DiskImage::discards(self)
    }
    fn start(&self, _: u64, op: BlockOp, offset: u64, bytes: &mut [u8]) -> Option<Result<(), BlockError>> {
        Some(match op {
            BlockOp::Read => self.read(offset, bytes),
            BlockOp::Write => self.write(offset, bytes),
            BlockOp::Flush => self.flush(),
            BlockOp::Discard { sectors } => self.discard(offset, sectors * SECTOR_SIZE),
        })
    }
}

/// Requests a host may have at a time, where it takes its time.
const MAX_STARTED: usize = 32;

/// The disk an image makes.
pub struct ImageDisk<H> {
    host: H,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    done: VecDeque<BlockDone>,
    /// What the host has, with its bytes.
    started: BTreeMap<u64, (BlockRequest, Vec<u8>)>,
    /// Requests are gathered here: one call of the host's for many frames.
    buffer: Vec<u8>,
}

impl<H: DiskHost> ImageDisk<H> {
    /// Makes a disk of `host`'s bytes.
    pub fn new(host: H) -> Self {
        Self { host, queue: Mutex::default() }
    }

    /// The host is done with the request of this tag. What it read is in the bytes it was given.
    pub fn finish(&self, tag: u64, result: Result<(), BlockError>) {
        let mut queue = self.queue.lock();
        let Some((request, bytes)) = queue.started.remove(&tag) else { return };
        queue.end(&request, &bytes, result);
    }

    /// Whether the host has requests it is not done with.
    pub fn is_busy(&self) -> bool {
        !self.queue.lock().started.is_empty()
    }
}

impl Queue {
    fn end(&mut self, request: &BlockRequest, bytes: &[u8], result: Result<(), BlockError>) {
        if request.op == BlockOp::Read && result.is_ok() {
            let mut rest = bytes;
            for segment in &request.segments {
                let (part, more) = rest.split_at(segment.len);
                segment.frame.write(segment.offset, part);
                rest = more;
            }
        }
        self.done.push_back(BlockDone { tag: request.tag, result });
    }
}

/// What a request writes, in one piece; as much room for one that reads.
fn gather(request: &BlockRequest, bytes: &mut [u8]) {
    if request.op != BlockOp::Write {
        return;
    }
    let mut rest = bytes;
    for segment in &request.segments {
        let (part, more) = rest.split_at_mut(segment.len);
        segment.frame.read(segment.offset, part);
        rest = more;
    }
}

impl<H: DiskHost> BlockDevice for ImageDisk<H> {
    fn geometry(&self) -> BlockGeometry {
        BlockGeometry {
            sectors: self.host.size() / SECTOR_SIZE,
            read_only: self.host.is_read_only(),
            discards: self.host.discards(),
            max_segments: 256,
        }
    }

    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let mut queue = self.queue.lock();
        if queue.started.len() >= MAX_STARTED {
            return Err(request);
        }
        let len = request.len() as usize;
        let mut buffer = mem::take(&mut queue.buffer);
        if buffer.len() < len {
            buffer = vec![0; len];
        }
        let bytes = &mut buffer[..len];
        gather(&request, bytes);
        match self.host.start(request.tag, request.op, request.sector * SECTOR_SIZE, bytes) {
            Some(result) => {
                queue.end(&request, bytes, result);
                queue.buffer = buffer;
            }
            None => {
                queue.started.insert(request.tag, (request, buffer));
            }
        }
        Ok(())
    }

    fn completed(&self) -> Option<BlockDone> {
        self.queue.lock().done.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aurora_machine::{BlockSegment, HostMemory, PhysMemory};
    use std::sync::Arc;

    /// A host that does nothing until it is told to.
    struct Slow;

    impl DiskHost for Slow {
        fn size(&self) -> u64 {
            1 << 20
        }
        fn is_read_only(&self) -> bool {
            false
        }
        fn discards(&self) -> bool {
            false
        }
        fn start(&self, tag: u64, op: BlockOp, _: u64, bytes: &mut [u8]) -> Option<Result<(), BlockError>> {
            if op == BlockOp::Read {
                bytes.fill(tag as u8);
            }
            None
        }
    }

    fn read(memory: &Arc<PhysMemory>, tag: u64) -> BlockRequest {
        let frame = memory.allocate().expect("there are frames");
        let segments = vec![BlockSegment { frame, offset: 512, len: 1024 }];
        BlockRequest { tag, op: BlockOp::Read, sector: 0, segments }
    }

    #[test]
    fn requests_end_when_the_host_says_so_and_in_the_order_it_says() {
        let memory = HostMemory::allocate(1 << 20).expect("the host has memory").into_phys();
        let disk = ImageDisk::new(Slow);
        let requests: Vec<BlockRequest> = (1..=3).map(|tag| read(&memory, tag)).collect();
        let frames: Vec<_> = requests.iter().map(|r| r.segments[0].frame.clone()).collect();
        requests.into_iter().for_each(|request| disk.submit(request).expect("there is room"));
        assert_eq!(disk.completed(), None);
        disk.finish(3, Ok(()));
        disk.finish(1, Err(BlockError::Io));
        assert_eq!(disk.completed(), Some(BlockDone { tag: 3, result: Ok(()) }));
        assert_eq!(disk.completed(), Some(BlockDone { tag: 1, result: Err(BlockError::Io) }));
        assert_eq!(disk.completed(), None);
        assert!(disk.is_busy());
        let mut bytes = [9; 2];
        frames[2].read(511, &mut bytes);
        assert_eq!(bytes, [0, 3]);
    }

    #[test]
    fn a_host_that_is_slow_is_given_so_many_requests_and_no_more() {
        let memory = HostMemory::allocate(1 << 20).expect("the host has memory").into_phys();
        let disk = ImageDisk::new(Slow);
        let taken = (1..100).take_while(|&tag| disk.submit(read(&memory, tag)).is_ok()).count();
        assert_eq!(taken, MAX_STARTED);
        disk.finish(7, Ok(()));
        assert!(disk.submit(read(&memory, 100)).is_ok());
    }
}
