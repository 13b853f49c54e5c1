//! Contents of files: from the disk into the page cache, and places on the disk for what is written.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use aurora_abi::Errno;
use aurora_ext4::{Allocate as How, By, InodeFlags, Place, Progress, Run};
use aurora_machine::{Frame, PAGE_SIZE, SECTOR_SIZE};

use super::Disk;
use super::inode::DiskInode;
use crate::block::Batch;
use crate::memory::cache::{Loading, Store};
use crate::memory::{IoError, PageCache};
use crate::num::{in_page, to_usize};
use crate::vfs::inode::Allocate;

/// Adds to `batch` what of a run of blocks is in pages `first..`, whose frames are `frames`.
pub(super) fn add_run(batch: &mut Batch, run: &Run, block: u64, block_size: u64, (first, frames): (u64, &[Frame])) {
    let (start, end) = (run.logical * block_size, (run.logical + run.count) * block_size);
    for (index, frame) in (first..).zip(frames) {
        let from = start.max(index * PAGE_SIZE);
        let to = end.min((index + 1) * PAGE_SIZE);
        if from < to {
            let sector = (block * block_size + (from - start)) / SECTOR_SIZE;
            batch.add(sector, frame, in_page(from), to_usize(to - from));
        }
    }
}

impl DiskInode {
    async fn read_pages(&self, disk: &Disk, cache: &Arc<PageCache>, first: u64, count: u64) -> Result<(), Errno> {
        let ino = self.ino();
        let frames = (0..count).map(|_| disk.control.frame()).collect::<Result<Vec<_>, _>>()?;
        let inline = disk.until_done(|ext4| ext4.read_inline(ino), false).await?;
        if let Some(bytes) = inline {
            for (part, frame) in bytes.chunks(to_usize(PAGE_SIZE)).skip(to_usize(first)).zip(&frames) {
                frame.write(0, part);
            }
        } else {
            let Range { start: mut at, end } = disk.blocks_of(first..first + count);
            let mut batch = Batch::reads();
            while at < end {
                let runs = disk.until_done(|ext4| ext4.map(ino, at, end - at), false).await?;
                let before = at;
                for run in &runs {
                    if let Place::Blocks(block) = run.place {
                        add_run(&mut batch, run, block, disk.block_size, (first, &frames));
                    }
                    at = run.logical + run.count;
                }
                if at == before {
                    return Err(Errno::EIO);
                }
            }
            batch.run(&disk.volume).await?;
        }
        for (index, frame) in (first..).zip(frames) {
            cache.fill(index, frame);
        }
        Ok(())
    }

    /// Makes the file `size` bytes long in memory. The page that is cut has zeros after the cut, on the disk, too.
    pub(super) fn cut(&self, cache: &Arc<PageCache>, size: u64) -> Result<(), Errno> {
        let disk = self.disk()?;
        let page = size / PAGE_SIZE;
        let mut has_place = false;
        if in_page(size) > 0 {
            cache.require(page)?;
            let block = size / disk.block_size;
            let runs = disk.attempt(|ext4| ext4.map(self.ino(), block, 1))?;
            has_place = runs.iter().any(|run| run.place != Place::Hole);
        }
        cache.resize(size);
        self.drop_under_way(size.div_ceil(disk.block_size)..u64::MAX);
        if has_place {
            cache.mark_dirty([page]);
        }
        Ok(())
    }

    /// lseek(2) with `SEEK_DATA` and `SEEK_HOLE`: what is dirty has a place, and is data wherever the disk says it has
    /// none yet.
    pub(super) fn seek_contents(&self, from: u64, hole: bool) -> Result<Option<u64>, Errno> {
        let cache = self.cached()?;
        let (size, disk) = (cache.size(), self.disk()?);
        let dirty_at = |at: u64| cache.is_dirty(at / PAGE_SIZE);
        let mut at = from;
        while at < size {
            let found = match hole {
                true => disk.attempt(|ext4| ext4.seek_hole(self.ino(), at)),
                false => disk.attempt(|ext4| ext4.seek_data(self.ino(), at)),
            };
            let on_disk = match found {
                Ok(found) => found.min(size),
                Err(Errno::ENXIO | Errno::ENODATA) => size,
                Err(errno) => return Err(errno),
            };
            if !hole {
                let data = cache.next_dirty(at / PAGE_SIZE).map_or(size, |page| (page * PAGE_SIZE).max(at));
                let data = data.min(on_disk);
                return Ok((data < size).then_some(data));
            }
            at = on_disk;
            if at >= size || !dirty_at(at) {
                return Ok(Some(at.min(size)));
            }
            while at < size && dirty_at(at) {
                at = (at / PAGE_SIZE + 1) * PAGE_SIZE;
            }
        }
        Ok(if hole && from < size { Some(size) } else { None })
    }

    fn cached(&self) -> Result<&Arc<PageCache>, Errno> {
        use crate::vfs::Inode;
        self.cache().ok_or(Errno::EINVAL)
    }

    /// Contents that are in the inode itself get blocks, which the rest of what a file system does is about.
    pub(super) fn move_out(&self, cache: &Arc<PageCache>, by: By) -> Result<(), Errno> {
        let attributes = self.state.lock().attributes;
        if !attributes.flags.contains(InodeFlags::INLINE_DATA) {
            return Ok(());
        }
        if attributes.size > 0 {
            cache.require(0)?;
            return cache.prepare(0..attributes.size).map_err(IoError::errno);
        }
        self.disk()?.attempt(|ext4| ext4.take_inline(self.ino(), by))?;
        self.refresh();
        Ok(())
    }

    /// fallocate(2).
    pub(super) fn allocate_contents(&self, how: Allocate, bytes: Range<u64>) -> Result<(), Errno> {
        let (disk, cache) = (self.disk()?, self.cached()?);
        let by = disk.by(disk.now());
        let size = disk.block_size;
        self.move_out(cache, by)?;
        if how == Allocate::Room {
            let (first, end) = (bytes.start / size, bytes.end.div_ceil(size));
            return self.repeat(|ext4| ext4.allocate(self.ino(), first, end - first, by));
        }
        // Parts of pages become zeros in memory; whole ones go, here and on the disk.
        let (first, end) = (bytes.start.div_ceil(PAGE_SIZE), bytes.end / PAGE_SIZE);
        if first > end {
            return self.zero(cache, bytes);
        }
        self.zero(cache, bytes.start..first * PAGE_SIZE)?;
        self.zero(cache, end * PAGE_SIZE..bytes.end.min(cache.size()))?;
        if first < end {
            cache.punch(first, end);
            let blocks = disk.blocks_of(first..end);
            self.drop_under_way(blocks.clone());
            let (start, count) = (blocks.start, blocks.end - blocks.start);
            self.repeat(|ext4| match how {
                Allocate::Hole => ext4.punch(self.ino(), start, count, by),
                _ => ext4.zero(self.ino(), start, count, by),
            })?;
        }
        Ok(())
    }

    /// Writes zeros to part of a page.
    fn zero(&self, cache: &Arc<PageCache>, bytes: Range<u64>) -> Result<(), Errno> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let end = bytes.end.min(cache.size());
        if bytes.start >= end {
            return Ok(());
        }
        let zeros = ZEROS.get(..to_usize(end - bytes.start)).unwrap_or_default();
        cache.require(bytes.start / PAGE_SIZE)?;
        let moved = cache.write_at(bytes.start, &mut crate::memory::IoBuf::kernel_in(zeros)).map_err(IoError::errno)?;
        if moved == zeros.len() { Ok(()) } else { Err(Errno::EIO) }
    }

    fn repeat(
        &self,
        mut step: impl FnMut(&mut aurora_ext4::Ext4) -> aurora_ext4::Result<Progress>,
    ) -> Result<(), Errno> {
        let disk = self.disk()?;
        while disk.attempt(&mut step)? == Progress::More {}
        self.refresh();
        Ok(())
    }
}

impl Store for DiskInode {
    fn load<'a>(&'a self, cache: &'a Arc<PageCache>, first: u64, count: u64) -> Loading<'a> {
        Box::pin(async move { self.read_pages(self.disk()?, cache, first, count).await })
    }

    fn prepare(&self, bytes: Range<u64>) -> Result<Vec<Range<u64>>, IoError> {
        let disk = self.disk()?;
        disk.wait_for_writers()?;
        let by = disk.by(disk.now());
        let size = disk.block_size;
        let inline = disk.attempt(|ext4| ext4.take_inline(self.ino(), by))?;
        let (mut at, end) = (bytes.start / size, bytes.end.div_ceil(size));
        let mut fresh = Vec::new();
        while at < end {
            // Where there are no unwritten blocks, the file's size has to reach as far as its blocks.
            let room =
                disk.attempt(|ext4| ext4.map_and_grow(self.ino(), at, end - at, bytes.end, How::Unwritten, by))?;
            let run = room.run;
            if room.fresh || matches!(run.place, Place::Unwritten(_)) {
                fresh.push(run.logical * size / PAGE_SIZE..((run.logical + run.count) * size).div_ceil(PAGE_SIZE));
            }
            at = run.logical + run.count.max(1);
        }
        if inline.is_some() || !fresh.is_empty() {
            self.refresh();
        }
        Ok(fresh)
    }

    fn grain(&self) -> u64 {
        self.disk.as_ref().map_or(PAGE_SIZE, |disk| disk.block_size)
    }

    fn dirtied(&self) {
        self.mark_dirty();
    }
}
