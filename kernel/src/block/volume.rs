//! A disk, or a partition of one: what file systems are on, and what a device file shows.

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_abi::Errno;
use aurora_machine::{BlockOp, BlockSegment, Frame, PAGE_SIZE, SECTOR_SIZE};

use super::{Batch, Disk, Pending};
use crate::memory::cache::{Loading, Store};
use crate::memory::{IoError, MemoryControl, PageCache};
use crate::num::to_usize;
use crate::vfs::inode::DeviceId;

/// A run of sectors of a disk.
pub struct Volume {
    /// Its name in `/dev`.
    pub name: String,
    /// Its number.
    pub id: DeviceId,
    disk: Arc<Disk>,
    sectors: Range<u64>,
    control: Arc<MemoryControl>,
    /// What the device file shows.
    cache: Arc<PageCache>,
    /// A file system is mounted from it.
    claimed: AtomicBool,
}

impl Volume {
    pub(super) fn new(
        disk: &Arc<Disk>,
        name: String,
        id: DeviceId,
        sectors: Range<u64>,
        control: &Arc<MemoryControl>,
    ) -> Arc<Self> {
        let size = (sectors.end - sectors.start) * SECTOR_SIZE;
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            name,
            id,
            disk: disk.clone(),
            sectors,
            control: control.clone(),
            cache: PageCache::stored(control, this.clone(), size),
            claimed: AtomicBool::new(false),
        })
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Sectors it has.
    pub fn sectors(&self) -> u64 {
        self.sectors.end - self.sectors.start
    }

    /// Where on the disk it begins.
    pub fn first_sector(&self) -> u64 {
        self.sectors.start
    }

    /// Its bytes as pages.
    pub fn cache(&self) -> &Arc<PageCache> {
        &self.cache
    }

    /// What its memory is taken from.
    pub fn control(&self) -> &Arc<MemoryControl> {
        &self.control
    }

    /// Takes it for a file system; `EBUSY` if it is taken.
    pub fn claim(self: &Arc<Self>) -> Result<Claim, Errno> {
        if self.claimed.swap(true, Ordering::AcqRel) {
            return Err(Errno::EBUSY);
        }
        Ok(Claim { volume: self.clone(), is_held: AtomicBool::new(true) })
    }

    /// Starts a request; `EIO` if it is not all inside.
    pub fn start(&self, op: BlockOp, sector: u64, segments: Vec<BlockSegment>) -> Result<Pending, Errno> {
        let bytes: u64 = segments.iter().map(|s| s.len as u64).sum();
        let len = if let BlockOp::Discard { sectors } = op { sectors } else { bytes.div_ceil(SECTOR_SIZE) };
        if sector.checked_add(len).is_none_or(|end| end > self.sectors()) {
            return Err(Errno::EIO);
        }
        if op == BlockOp::Write && self.disk.geometry().read_only {
            return Err(Errno::EROFS);
        }
        Ok(self.disk.start(op, self.sectors.start + sector, segments))
    }

    /// Makes what was written last.
    pub async fn flush(&self) -> Result<(), Errno> {
        self.disk.start(BlockOp::Flush, 0, Vec::new()).wait().await
    }

    /// Says that bytes of a range hold nothing of use any more, where the disk wants to know.
    pub async fn discard(&self, offset: u64, len: u64) -> Result<(), Errno> {
        if !self.disk.geometry().discards || len < SECTOR_SIZE {
            return Ok(());
        }
        let op = BlockOp::Discard { sectors: len / SECTOR_SIZE };
        self.start(op, offset / SECTOR_SIZE, Vec::new())?.wait().await
    }

    /// Reads `len` bytes, both multiples of the sector.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let frames = self.frames(len as u64)?;
        let mut batch = Batch::reads();
        batch.add_frames(offset / SECTOR_SIZE, &frames, len as u64);
        batch.run(self).await?;
        let mut bytes = vec![0; len];
        for (part, frame) in bytes.chunks_mut(to_usize(PAGE_SIZE)).zip(&frames) {
            frame.read(0, part);
        }
        Ok(bytes)
    }

    /// Frames for `len` bytes that are copied from or to. From the kernel's reserve, too: what is short of memory is
    /// helped by writing.
    pub fn frames(&self, len: u64) -> Result<Vec<Frame>, Errno> {
        let count = len.div_ceil(PAGE_SIZE);
        (0..count).map(|_| self.control.phys().allocate().map_err(|_| Errno::ENOMEM)).collect()
    }

    /// Puts bytes into a batch of writes.
    pub fn add_write(&self, batch: &mut Batch, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let frames = self.frames(bytes.len() as u64)?;
        for (part, frame) in bytes.chunks(to_usize(PAGE_SIZE)).zip(&frames) {
            frame.write(0, part);
        }
        batch.add_frames(offset / SECTOR_SIZE, &frames, bytes.len() as u64);
        Ok(())
    }

    /// Writes what is dirty in the device file's pages, and makes it last.
    pub async fn sync(&self) -> Result<(), Errno> {
        let dirty = self.cache.take_dirty();
        let mut batch = Batch::writes();
        for (index, frame) in &dirty {
            let len = (self.cache.size() - index * PAGE_SIZE).min(PAGE_SIZE);
            batch.add(index * PAGE_SIZE / SECTOR_SIZE, frame, 0, to_usize(len));
        }
        let written = batch.run(self).await;
        if written.is_err() {
            self.cache.mark_dirty(dirty.iter().map(|(index, _)| *index));
        }
        written?;
        self.flush().await
    }
}

impl Store for Volume {
    fn load<'a>(&'a self, cache: &'a Arc<PageCache>, first: u64, count: u64) -> Loading<'a> {
        alloc::boxed::Box::pin(async move {
            let bytes = (cache.size().saturating_sub(first * PAGE_SIZE)).min(count * PAGE_SIZE);
            let frames: Vec<Frame> =
                (0..bytes.div_ceil(PAGE_SIZE)).map(|_| self.control.frame()).collect::<Result<_, _>>()?;
            let mut batch = Batch::reads();
            batch.add_frames(first * PAGE_SIZE / SECTOR_SIZE, &frames, bytes);
            batch.run(self).await?;
            for (index, frame) in (first..).zip(frames) {
                cache.fill(index, frame);
            }
            Ok(())
        })
    }

    fn prepare(&self, _: Range<u64>) -> Result<Vec<Range<u64>>, IoError> {
        if self.disk.geometry().read_only { Err(Errno::EROFS.into()) } else { Ok(Vec::new()) }
    }
}

/// A volume that a file system has to itself.
pub struct Claim {
    volume: Arc<Volume>,
    is_held: AtomicBool,
}

impl Claim {
    /// Lets others have it: nothing is written any more.
    pub fn release(&self) {
        if self.is_held.swap(false, Ordering::AcqRel) {
            self.volume.claimed.store(false, Ordering::Release);
        }
    }
}

impl core::ops::Deref for Claim {
    type Target = Arc<Volume>;
    fn deref(&self) -> &Arc<Volume> {
        &self.volume
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}
