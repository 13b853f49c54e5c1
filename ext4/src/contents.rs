//! Contents of files: where they are, and room for them.

use alloc::vec::Vec;

use crate::bytes::{le32, put32, slice, slice_mut, to_u64, to_usize};
use crate::error::{Error, Result, corrupt};
use crate::extent::node::Extent;
use crate::extent::{MAX_BLOCKS, Mapped, node};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::store::Kind;
use crate::superblock::{Incompat, RoCompat};
use crate::types::{Allocate, BlockRange, By, FileType, Ino, InodeFlags, Place, Progress, Run, WriteRun};

/// How many runs one look gives at most.
const MAX_RUNS: usize = 64;

impl Ext4 {
    /// What is at a logical block, for extents and block maps.
    pub(crate) fn map_block(&mut self, inode: &Inode, logical: u64, count: u64) -> Result<Mapped> {
        if inode.has(InodeFlags::EXTENTS) {
            self.map_extent(inode, logical, count)
        } else {
            self.map_pointer(inode, logical, count)
        }
    }

    /// Begins the map of an inode that has no blocks: extents where the file system has them.
    pub(crate) fn init_map(&self, inode: &mut Inode) {
        inode.root = [0; 60];
        if self.layout.has(Incompat::EXTENTS) {
            inode.flags.insert(InodeFlags::EXTENTS);
            node::init(&mut inode.root, 0);
        }
    }

    /// The largest size a file can have.
    pub(crate) fn max_size(&self, extents: bool) -> u64 {
        let blocks = if extents { MAX_BLOCKS } else { self.max_pointer_blocks().min(1 << 32) };
        let bytes = blocks << self.layout.block_bits;
        // Without huge_file, what a file takes is counted in 32 bits of sectors.
        if self.has_ro(RoCompat::HUGE_FILE) { bytes } else { bytes.min((u64::from(u32::MAX) << 9) - (1 << 30)) }
    }

    pub(crate) fn do_map(&mut self, ino: Ino, first: u64, count: u64) -> Result<Vec<Run>> {
        let inode = self.inode(ino)?;
        if !inode.has_blocks() {
            return Ok(alloc::vec![Run { logical: first, count: count.max(1), place: Place::Hole }]);
        }
        let mut runs = Vec::new();
        let (mut at, end) = (first, first.saturating_add(count.max(1)));
        while at < end && runs.len() < MAX_RUNS {
            let mapped = match self.map_block(&inode, at, end - at) {
                // What was found so far is an answer.
                Err(Error::Missing(_)) if !runs.is_empty() => break,
                mapped => mapped?,
            };
            self.push_run(&mut runs, Run { logical: at, count: mapped.count, place: mapped.place });
            at += mapped.count;
        }
        Ok(runs)
    }

    /// Adds a run to a list, seen through a journal that was not replayed, and joined with the one before.
    fn push_run(&self, runs: &mut Vec<Run>, run: Run) {
        if let Place::Blocks(start) = run.place
            && self.redirect.range(start..start.saturating_add(run.count)).next().is_some()
        {
            for number in 0..run.count {
                let place = Place::Blocks(self.redirected(start + number, 1).0);
                join_run(runs, Run { logical: run.logical + number, count: 1, place });
            }
            return;
        }
        join_run(runs, run);
    }

    /// Where a file would best go on at a logical block.
    fn goal(&mut self, inode: &Inode, logical: u64) -> Result<u64> {
        if let Some(before) = logical.checked_sub(1)
            && let Place::Blocks(block) | Place::Unwritten(block) = self.map_block(inode, before, 1)?.place
        {
            return Ok(block + 1);
        }
        Ok(self.goal_of(inode))
    }

    pub(crate) fn do_map_for_write(
        &mut self,
        ino: Ino,
        (first, count): (u64, u64),
        size: u64,
        how: Allocate,
        by: By,
    ) -> Result<WriteRun> {
        let mut inode = self.inode(ino)?;
        if inode.kind() != Some(FileType::Regular) {
            return Err(Error::Invalid);
        }
        if inode.has(InodeFlags::INLINE_DATA) {
            return Err(Error::NotSupported);
        }
        let (run, fresh) = self.allocate_at(&mut inode, first, count.max(1), how, by)?;
        let written = matches!(run.place, Place::Blocks(_));
        let grown = written && self.grow_to(&mut inode, first + run.count, size, by)?;
        if fresh || grown {
            self.put_inode(&mut inode, true)?;
        }
        if fresh && written {
            self.attempt.ordered.push(ino);
        }
        Ok(WriteRun { run, fresh })
    }

    /// Finds or allocates blocks at a logical block; the caller writes the inode.
    fn allocate_at(&mut self, inode: &mut Inode, first: u64, count: u64, how: Allocate, by: By) -> Result<(Run, bool)> {
        let extents = inode.has(InodeFlags::EXTENTS);
        if first >= self.max_size(extents) >> self.layout.block_bits {
            return Err(Error::FileTooLarge);
        }
        let mapped = self.map_block(inode, first, count)?;
        if mapped.place != Place::Hole {
            return Ok((Run { logical: first, count: mapped.count, place: mapped.place }, false));
        }
        let goal = self.goal(inode, first)?;
        if !extents {
            let (run, fresh) = self.map_pointer_for_write(inode, first, mapped.count, goal, by)?;
            return Ok((Run { logical: first, count: run.count, place: Place::Blocks(run.start) }, fresh));
        }
        let unwritten = how == Allocate::Unwritten;
        let want = mapped.count.min(Self::longest_extent(unwritten)).min(MAX_BLOCKS - first);
        let run = self.allocate_run(goal, want, !inode.is_dir(), by)?;
        let extent = Extent { logical: first, count: run.count, physical: run.start, unwritten };
        self.charge(inode, i64::try_from(run.count).unwrap_or(0));
        self.insert_extent(inode, extent, by)?;
        let place = if unwritten { Place::Unwritten(run.start) } else { Place::Blocks(run.start) };
        Ok((Run { logical: first, count: run.count, place }, true))
    }

    /// One more block for a directory or link; where it is.
    pub(crate) fn extend_metadata(&mut self, inode: &mut Inode, logical: u64, by: By) -> Result<u64> {
        let (run, fresh) = self.allocate_at(inode, logical, 1, Allocate::Written, by)?;
        match run.place {
            Place::Blocks(block) if fresh => Ok(block),
            _ => Err(corrupt("a block beyond the end of a directory", u64::from(inode.ino))),
        }
    }

    /// Makes a file longer, up to the end of a block and to a size.
    fn grow_to(&mut self, inode: &mut Inode, end: u64, size: u64, by: By) -> Result<bool> {
        let size = size.min(end << self.layout.block_bits);
        if size <= inode.size {
            return Ok(false);
        }
        inode.size = size;
        inode.mtime = by.now;
        inode.ctime = by.now;
        self.note_large_file(size)?;
        Ok(true)
    }

    pub(crate) fn do_written(&mut self, ino: Ino, (first, count): (u64, u64), size: u64, by: By) -> Result<Progress> {
        let mut inode = self.inode(ino)?;
        let end = first.saturating_add(count).min(MAX_BLOCKS);
        let all = By { privileged: true, ..by };
        let before = inode.root;
        let mut progress = Progress::Done;
        if inode.has(InodeFlags::EXTENTS) && inode.has_blocks() {
            progress = self.convert_extents(&mut inode, first, end, false, all)?;
        }
        let grown = progress == Progress::Done && self.grow_to(&mut inode, end, size, by)?;
        if grown || inode.root != before || self.attempt_blocks() > 0 {
            self.put_inode(&mut inode, true)?;
        }
        Ok(progress)
    }

    /// Sizes beyond 2 GiB are a feature of the file system.
    fn note_large_file(&mut self, size: u64) -> Result<()> {
        if size <= 0x7fff_ffff || self.super32(crate::superblock::field::RO_COMPAT)? & RoCompat::LARGE_FILE.bits() != 0
        {
            return Ok(());
        }
        self.edit_super(|sb| {
            let flags = le32(sb, crate::superblock::field::RO_COMPAT);
            put32(sb, crate::superblock::field::RO_COMPAT, flags | RoCompat::LARGE_FILE.bits());
        })
    }

    pub(crate) fn do_grow(&mut self, ino: Ino, size: u64, by: By) -> Result<()> {
        let mut inode = self.inode(ino)?;
        if size > self.max_size(inode.has(InodeFlags::EXTENTS)) {
            return Err(Error::FileTooLarge);
        }
        if inode.has(InodeFlags::INLINE_DATA) {
            return Err(Error::NotSupported);
        }
        if size > inode.size {
            inode.size = size;
            inode.mtime = by.now;
            inode.ctime = by.now;
            self.note_large_file(size)?;
            self.put_inode(&mut inode, true)?;
        }
        Ok(())
    }

    /// One step of a truncation; `listed` says that an earlier step put the inode on the list of orphans.
    pub(crate) fn do_truncate(&mut self, ino: Ino, size: u64, listed: bool, by: By) -> Result<Progress> {
        let mut inode = self.inode(ino)?;
        match inode.kind() {
            Some(FileType::Regular) => {}
            Some(FileType::Directory) => return Err(Error::IsDirectory),
            _ => return Err(Error::Invalid),
        }
        self.mutable(&inode)?;
        if size > self.max_size(inode.has(InodeFlags::EXTENTS)) {
            return Err(Error::FileTooLarge);
        }
        if inode.has(InodeFlags::INLINE_DATA) {
            return Err(Error::NotSupported);
        }
        if inode.size != size {
            self.note_large_file(size)?;
            inode.mtime = by.now;
            inode.ctime = by.now;
        }
        let shorter = size <= inode.size;
        inode.size = size;
        let progress = if shorter { self.free_beyond(&mut inode, by)? } else { Progress::Done };
        let nameless = inode.links == 0;
        match progress {
            Progress::More if !listed && !nameless => self.add_orphan(&mut inode)?,
            Progress::Done if listed && !nameless => self.remove_orphan(&mut inode)?,
            _ => {}
        }
        self.put_inode(&mut inode, true)?;
        Ok(progress)
    }

    /// Frees blocks beyond an inode's size.
    pub(crate) fn free_beyond(&mut self, inode: &mut Inode, by: By) -> Result<Progress> {
        let from = self.layout.blocks_for(inode.size);
        self.remove_blocks(inode, from, u64::MAX, by)
    }

    fn remove_blocks(&mut self, inode: &mut Inode, from: u64, to: u64, by: By) -> Result<Progress> {
        if !inode.has_blocks() {
            Ok(Progress::Done)
        } else if inode.has(InodeFlags::EXTENTS) {
            self.remove_extents(inode, from, to, by)
        } else {
            self.remove_pointers(inode, from, to)
        }
    }

    /// A regular file with blocks, to change what is in its middle.
    fn file_to_change(&mut self, ino: Ino) -> Result<Inode> {
        let inode = self.inode(ino)?;
        self.mutable(&inode)?;
        if inode.kind() != Some(FileType::Regular) || inode.has(InodeFlags::INLINE_DATA) {
            return Err(Error::NotSupported);
        }
        Ok(inode)
    }

    fn touch_contents(&mut self, inode: &mut Inode, by: By) -> Result<()> {
        inode.mtime = by.now;
        inode.ctime = by.now;
        self.put_inode(inode, true)
    }

    pub(crate) fn do_punch(&mut self, ino: Ino, first: u64, count: u64, by: By) -> Result<Progress> {
        let mut inode = self.file_to_change(ino)?;
        let by_all = By { privileged: true, ..by };
        let progress = self.remove_blocks(&mut inode, first, first.saturating_add(count), by_all)?;
        self.touch_contents(&mut inode, by)?;
        Ok(progress)
    }

    pub(crate) fn do_allocate(&mut self, ino: Ino, first: u64, count: u64, by: By) -> Result<Progress> {
        let mut inode = self.file_to_change(ino)?;
        if !inode.has(InodeFlags::EXTENTS) {
            return Err(Error::NotSupported);
        }
        let progress = self.fill_holes(&mut inode, first, first.saturating_add(count), by)?;
        inode.ctime = by.now;
        self.put_inode(&mut inode, true)?;
        Ok(progress)
    }

    fn fill_holes(&mut self, inode: &mut Inode, first: u64, end: u64, by: By) -> Result<Progress> {
        if end > MAX_BLOCKS {
            return Err(Error::FileTooLarge);
        }
        let mut at = first;
        let mut looked = 0;
        while at < end {
            if self.attempt_is_large() {
                return Ok(Progress::More);
            }
            let mapped = self.map_block(inode, at, end - at)?;
            if mapped.place == Place::Hole {
                let want = mapped.count.min(Self::longest_extent(true));
                at += match self.allocate_at(inode, at, want, Allocate::Unwritten, by) {
                    // What was allocated so far stays, and the next step says that there is no more.
                    Err(Error::NoSpace | Error::Commit) if self.attempt_blocks() > 0 => return Ok(Progress::More),
                    run => run?.0.count,
                };
            } else {
                at += mapped.count;
            }
            looked += 1;
            if looked > 4096 {
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }

    pub(crate) fn do_zero(&mut self, ino: Ino, first: u64, count: u64, by: By) -> Result<Progress> {
        let mut inode = self.file_to_change(ino)?;
        if !inode.has(InodeFlags::EXTENTS) {
            return Err(Error::NotSupported);
        }
        let end = first.saturating_add(count);
        let mut progress = self.convert_extents(&mut inode, first, end, true, by)?;
        if progress == Progress::Done {
            progress = self.fill_holes(&mut inode, first, end, by)?;
        }
        self.touch_contents(&mut inode, by)?;
        Ok(progress)
    }

    /// The first block from `at` on that has data, or that has none.
    pub(crate) fn do_seek(&mut self, ino: Ino, offset: u64, data: bool) -> Result<u64> {
        let inode = self.inode(ino)?;
        if offset >= inode.size {
            return Err(Error::NoData);
        }
        if !inode.has_blocks() {
            return Ok(if data { offset } else { inode.size });
        }
        let bits = self.layout.block_bits;
        let end = self.layout.blocks_for(inode.size);
        let mut at = offset >> bits;
        while at < end {
            let mapped = self.map_block(&inode, at, end - at)?;
            if matches!(mapped.place, Place::Blocks(_)) == data {
                return Ok(offset.max(at << bits));
            }
            at += mapped.count;
        }
        if data { Err(Error::NoData) } else { Ok(inode.size) }
    }

    /// What is in the inode of contents, besides what is in the attribute.
    pub(crate) fn do_read_inline(&mut self, ino: Ino) -> Result<Option<Vec<u8>>> {
        let inode = self.inode(ino)?;
        if !inode.has(InodeFlags::INLINE_DATA) {
            return Ok(None);
        }
        let mut out = inode.root.to_vec();
        out.extend(self.inline_rest(&inode)?);
        if inode.size > to_u64(out.len()) {
            return Err(corrupt("inode: contents in it are shorter than its size", u64::from(ino)));
        }
        out.truncate(to_usize(inode.size));
        Ok(Some(out))
    }

    pub(crate) fn do_take_inline(&mut self, ino: Ino) -> Result<Option<Vec<u8>>> {
        let Some(contents) = self.do_read_inline(ino)? else { return Ok(None) };
        let mut inode = self.inode(ino)?;
        if inode.kind() != Some(FileType::Regular) {
            return Err(Error::Invalid);
        }
        self.drop_inline(&mut inode)?;
        self.put_inode(&mut inode, true)?;
        Ok(Some(contents))
    }

    /// Makes an inode with contents in it one without blocks.
    pub(crate) fn drop_inline(&mut self, inode: &mut Inode) -> Result<()> {
        inode.flags.remove(InodeFlags::INLINE_DATA);
        self.init_map(inode);
        self.remove_inline_rest(inode)
    }

    pub(crate) fn do_read_link(&mut self, ino: Ino) -> Result<Vec<u8>> {
        let inode = self.inode(ino)?;
        if inode.kind() != Some(FileType::Symlink) {
            return Err(Error::Invalid);
        }
        if inode.has(InodeFlags::INLINE_DATA) {
            return Ok(self.do_read_inline(ino)?.unwrap_or_default());
        }
        let size = to_usize(inode.size);
        if inode.is_fast_link() {
            return Ok(slice(&inode.root, 0, size).to_vec());
        }
        if inode.size > self.layout.bytes() {
            return Err(corrupt("symbolic link: size", u64::from(ino)));
        }
        match self.map_block(&inode, 0, 1)?.place {
            Place::Blocks(block) => Ok(slice(&*self.get(block, Kind::Raw)?, 0, size).to_vec()),
            _ => Err(corrupt("symbolic link: a hole", u64::from(ino))),
        }
    }

    /// Puts the target into a new link.
    pub(crate) fn write_target(&mut self, inode: &mut Inode, target: &[u8], by: By) -> Result<()> {
        if to_u64(target.len()) >= self.layout.bytes() {
            return Err(Error::NameTooLong);
        }
        if target.is_empty() || target.contains(&0) {
            return Err(Error::Invalid);
        }
        inode.size = to_u64(target.len());
        if target.len() < 60 {
            crate::bytes::put(&mut inode.root, 0, target);
            return Ok(());
        }
        self.init_map(inode);
        let block = self.extend_metadata(inode, 0, by)?;
        let data = self.fresh(block, Kind::Raw)?;
        slice_mut(data, 0, target.len()).copy_from_slice(target);
        Ok(())
    }

    /// Runs of all blocks that hold contents, for checks: through `visit`, which says whether to go on.
    pub(crate) fn content_runs(&mut self, inode: &Inode, from: u64) -> Result<Option<(u64, BlockRange)>> {
        if !inode.has_blocks() {
            return Ok(None);
        }
        if inode.has(InodeFlags::EXTENTS) {
            let extent = self.extent_at_or_after(inode, from)?;
            return Ok(extent.map(|e| (e.logical, BlockRange { start: e.physical, count: e.count })));
        }
        let mut at = from;
        let end = self.max_pointer_blocks();
        while at < end {
            let mapped = self.map_pointer(inode, at, end - at)?;
            if let Place::Blocks(start) = mapped.place {
                return Ok(Some((at, BlockRange { start, count: mapped.count })));
            }
            at += mapped.count;
        }
        Ok(None)
    }
}

/// Adds a run to a list, joined with the one before if it goes on there.
fn join_run(runs: &mut Vec<Run>, run: Run) {
    if let Some(last) = runs.last_mut() {
        let joins = match (last.place, run.place) {
            (Place::Hole, Place::Hole) => true,
            (Place::Blocks(a), Place::Blocks(b)) | (Place::Unwritten(a), Place::Unwritten(b)) => a + last.count == b,
            _ => false,
        };
        if joins {
            last.count += run.count;
            return;
        }
    }
    runs.push(run);
}
