//! The public face of a mounted file system: what each operation means to a caller. What it does is in the modules by
//! theme.

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::fs::Ext4;
use crate::types::*;

impl Ext4 {
    /// The number of the root directory.
    pub const ROOT: Ino = 2;

    // Blocks and memory.

    /// Bytes of a block: 1024, 2048 or 4096.
    pub fn block_size(&self) -> u32 {
        1 << self.layout.block_bits
    }
    /// Hands over a block that was missing, with the epoch of the [`Want`]. Blocks nobody wants any more, or whose
    /// contents may be out of date, are ignored.
    pub fn supply(&mut self, epoch: u64, block: u64, data: Block) {
        self.take_in(epoch, block, data);
    }
    /// What is in memory and in the journal.
    pub fn memory(&self) -> Memory {
        let size = self.layout.bytes();
        let (blocks, pinned) = (self.cache.len(), self.pinned_count());
        Memory {
            running: crate::bytes::to_u64(self.running.blocks.len()),
            unwritten_back: self.unwritten_back(),
            bytes: blocks * size,
            reclaimable: blocks.saturating_sub(pinned) * size,
            log_used: self.journal.as_ref().map_or(0, |j| u64::from(j.used())),
            log_size: self.journal.as_ref().map_or(0, |j| u64::from(j.size())),
        }
    }
    /// Gives back about so many bytes of blocks that can be read again, those not used for longest first. Gives what it
    /// gave.
    pub fn shrink(&mut self, bytes: u64) -> u64 {
        self.shrink_cache(bytes)
    }
    /// Bounds the blocks kept in memory, without those that have to be written: of these there are half as many in the
    /// running transaction; when there are as many in committed ones, changes wait ([`Error::Busy`]). 16 MiB unless set.
    pub fn set_cache_limit(&mut self, bytes: u64) {
        self.cache.limit = bytes;
    }

    // The file system as a whole.

    /// Whether nothing can be changed.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }
    /// What made the file system read-only, if damage did.
    pub fn damage(&self) -> Option<Error> {
        self.damage.clone()
    }
    /// The volume's name.
    pub fn label(&self) -> Vec<u8> {
        self.layout.label.iter().copied().take_while(|&byte| byte != 0).collect()
    }
    /// The volume's UUID.
    pub fn uuid(&self) -> [u8; 16] {
        self.layout.uuid
    }
    /// The names of the image's features, as tune2fs(8) writes them.
    pub fn features(&self) -> Vec<String> {
        self.layout.feature_names()
    }
    /// The features that keep the file system read-only since they are not known; none if it could be changed.
    pub fn read_only_features(&self) -> Vec<String> {
        self.layout.read_only_features()
    }
    /// What statfs(2) tells.
    pub fn statfs(&self) -> Statfs {
        let overhead: u64 = self.system.total()
            + self.journal.as_ref().map_or(0, |j| u64::from(j.size()))
            + self.layout.first_data_block;
        let free = self.free_blocks.saturating_sub(self.promised);
        let id = self.layout.uuid;
        let half = |at: usize| {
            let bytes = id.get(at..at + 8).and_then(|b| b.try_into().ok()).unwrap_or([0; 8]);
            u64::from_le_bytes(bytes)
        };
        Statfs {
            block_size: self.block_size(),
            blocks: self.layout.blocks.saturating_sub(overhead),
            free,
            available: free.saturating_sub(self.layout.reserved_blocks),
            inodes: u64::from(self.layout.inodes),
            free_inodes: self.free_inodes,
            fsid: half(0) ^ half(8),
        }
    }
    /// The largest size of a file: the smaller limit of block maps where `extents` is false.
    pub fn max_file_size(&self, extents: bool) -> u64 {
        self.max_size(extents)
    }
    /// Whether new files have extents, which unwritten blocks need.
    pub fn has_extents(&self) -> bool {
        self.layout.has(crate::superblock::Incompat::EXTENTS)
    }
    /// Promises room for so many blocks of contents that will be written later, and for what will lead to them. Fails
    /// with [`Error::NoSpace`], or [`Error::Commit`] if a commit may free enough.
    pub fn reserve(&mut self, blocks: u64, by: By) -> Result<()> {
        self.do_reserve(blocks, by)
    }
    /// Takes a promise back, because the blocks have been allocated or will not be needed.
    pub fn release(&mut self, blocks: u64) {
        self.promised = self.promised.saturating_sub(blocks);
    }
    /// Tells the time, for what the file system writes of its own: commits, the superblock.
    pub fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    // Inodes.

    /// What stat(2) tells of an inode. [`Error::Stale`] if it is not in use.
    pub fn attributes(&mut self, ino: Ino) -> Result<Attributes> {
        self.look(|fs| Ok(fs.inode(ino)?.attributes(&fs.layout)))
    }
    /// Changes attributes. Sizes are changed by `grow` and `truncate`.
    pub fn set_attributes(&mut self, ino: Ino, change: &AttributeChange) -> Result<()> {
        self.change(|fs| fs.do_set_attributes(ino, change))
    }

    // Names.

    /// What a name in a directory leads to; [`Error::NotFound`] if it is not there.
    pub fn lookup(&mut self, dir: Ino, name: &[u8]) -> Result<Found> {
        self.look(|fs| fs.do_lookup(dir, name))
    }
    /// Names of a directory from a position on (0 is the start), about `limit` of them; none at the end.
    pub fn read_dir(&mut self, dir: Ino, position: u64, limit: u64) -> Result<Vec<DirEntry>> {
        self.look(|fs| fs.do_read_dir(dir, position, limit))
    }
    /// Makes an inode with a name.
    pub fn create(&mut self, dir: Ino, name: &[u8], new: &NewInode<'_>, by: By) -> Result<Attributes> {
        self.change(|fs| fs.do_create(dir, name, new, by))
    }
    /// Makes an inode without a name, near `dir`; it is on the orphan list until `link` gives it one.
    pub fn create_unnamed(&mut self, dir: Ino, new: &NewInode<'_>, by: By) -> Result<Attributes> {
        self.change(|fs| fs.do_create_unnamed(dir, new, by))
    }
    /// Gives an inode another name.
    pub fn link(&mut self, ino: Ino, dir: Ino, name: &[u8], by: By) -> Result<()> {
        self.change(|fs| fs.do_link(ino, dir, name, by))
    }
    /// Removes a name that is no directory's.
    pub fn unlink(&mut self, dir: Ino, name: &[u8], by: By) -> Result<Unlinked> {
        self.change(|fs| fs.do_unlink(dir, name, by))
    }
    /// Removes an empty directory.
    pub fn remove_dir(&mut self, dir: Ino, name: &[u8], by: By) -> Result<Unlinked> {
        self.change(|fs| fs.do_remove_dir(dir, name, by))
    }
    /// Moves a name. Gives what lost its name by it, if something did. That a directory does not move below itself is
    /// for the caller to see, who knows the tree.
    pub fn rename(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8]), how: Rename, by: By) -> Result<Option<Unlinked>> {
        self.change(|fs| fs.do_rename(from, to, how, by))
    }
    /// Frees an inode without names that nobody has open any more, with its blocks.
    pub fn evict(&mut self, ino: Ino, by: By) -> Result<Progress> {
        let by = By { privileged: true, ..by };
        let progress = self.change(|fs| fs.do_evict(ino, by))?;
        self.truncating.remove(&ino);
        Ok(progress)
    }
    /// Where a symbolic link leads.
    pub fn read_link(&mut self, ino: Ino) -> Result<Vec<u8>> {
        self.look(|fs| fs.do_read_link(ino))
    }

    // Contents.

    /// Where blocks of a file are: runs without gaps between them that begin at `first` and cover `count` blocks or
    /// less, at least one. Beyond the end all is hole. Of a file whose contents are in the inode, all is hole, too: ask
    /// `read_inline`.
    pub fn map(&mut self, ino: Ino, first: u64, count: u64) -> Result<Vec<Run>> {
        self.look(|fs| fs.do_map(ino, first, count))
    }
    /// Finds or makes room for a write: the run begins at `first`, covers `count` blocks or less, and is no hole.
    /// Contents in the inode have to be moved out first: [`Error::NotSupported`], see `take_inline`.
    pub fn map_for_write(&mut self, ino: Ino, first: u64, count: u64, how: Allocate, by: By) -> Result<WriteRun> {
        self.map_and_grow(ino, first, count, 0, how, by)
    }
    /// [`map_for_write`](Self::map_for_write), and in the same transaction the file's size becomes `size`, as far as the
    /// run reaches and is not unwritten. So a crash leaves no blocks beyond the end of a file, which e2fsck(8) would
    /// complain of.
    pub fn map_and_grow(
        &mut self,
        ino: Ino,
        first: u64,
        count: u64,
        size: u64,
        how: Allocate,
        by: By,
    ) -> Result<WriteRun> {
        self.change(|fs| fs.do_map_for_write(ino, (first, count), size, how, by))
    }
    /// Says that unwritten blocks have their contents on the device. What is not unwritten there stays.
    pub fn written(&mut self, ino: Ino, first: u64, count: u64) -> Result<()> {
        self.written_and_grow(ino, first, count, 0, By::default())
    }
    /// [`written`](Self::written), and in the same transaction the file's size becomes `size`, as far as these blocks
    /// reach, if it was smaller.
    pub fn written_and_grow(&mut self, ino: Ino, first: u64, count: u64, size: u64, by: By) -> Result<()> {
        while self.change(|fs| fs.do_written(ino, (first, count), size, by))? == Progress::More {}
        Ok(())
    }
    /// Sets the size after a write beyond the end, without touching blocks; never makes a file shorter. The caller has
    /// seen to it that the rest of the old last block is zeros.
    pub fn grow(&mut self, ino: Ino, size: u64, by: By) -> Result<()> {
        self.change(|fs| fs.do_grow(ino, size, by))
    }
    /// Sets the size and frees what is beyond it, in steps: between them the file has its new size and is on the orphan
    /// list. The caller has dropped its pages beyond the end, waited for writes to them, and zeroes the rest of the last
    /// block itself. Also makes files longer. Contents in the inode have to be moved out first.
    pub fn truncate(&mut self, ino: Ino, size: u64, by: By) -> Result<Progress> {
        let listed = self.truncating.contains(&ino);
        let by = By { privileged: true, ..by };
        let progress = self.change(|fs| fs.do_truncate(ino, size, listed, by))?;
        match progress {
            Progress::More => self.truncating.insert(ino),
            Progress::Done => self.truncating.remove(&ino),
        };
        Ok(progress)
    }
    /// Makes a hole of whole blocks, in steps. The caller zeroes parts of blocks itself.
    pub fn punch(&mut self, ino: Ino, first: u64, count: u64, by: By) -> Result<Progress> {
        self.change(|fs| fs.do_punch(ino, first, count, by))
    }
    /// Allocates what is a hole as unwritten, in steps; the size stays. [`Error::NotSupported`] for block maps.
    pub fn allocate(&mut self, ino: Ino, first: u64, count: u64, by: By) -> Result<Progress> {
        self.change(|fs| fs.do_allocate(ino, first, count, by))
    }
    /// Makes blocks read as zeros but stay allocated, in steps: what is written becomes unwritten
    /// (`FALLOC_FL_ZERO_RANGE`), holes are allocated.
    pub fn zero(&mut self, ino: Ino, first: u64, count: u64, by: By) -> Result<Progress> {
        self.change(|fs| fs.do_zero(ino, first, count, by))
    }
    /// Contents that are in the inode itself; `None` if they are in blocks.
    pub fn read_inline(&mut self, ino: Ino) -> Result<Option<Vec<u8>>> {
        self.look(|fs| fs.do_read_inline(ino))
    }
    /// Takes contents out of the inode: afterwards the file has blocks (none yet), its size, and the caller writes what
    /// is returned. `None` if they were not in the inode.
    pub fn take_inline(&mut self, ino: Ino, by: By) -> Result<Option<Vec<u8>>> {
        let _ = by;
        self.change(|fs| fs.do_take_inline(ino))
    }
    /// The first byte at or after `offset` that is data: `SEEK_DATA`. Unwritten blocks count as holes; what the caller
    /// has in memory only it knows. [`Error::NoData`] if there is none before the end of the file.
    pub fn seek_data(&mut self, ino: Ino, offset: u64) -> Result<u64> {
        self.look(|fs| fs.do_seek(ino, offset, true))
    }
    /// The first byte at or after `offset` that is in a hole, or the end of the file: `SEEK_HOLE`.
    pub fn seek_hole(&mut self, ino: Ino, offset: u64) -> Result<u64> {
        self.look(|fs| fs.do_seek(ino, offset, false))
    }

    // Extended attributes, with the names and values of xattr(7): ACLs as `system.posix_acl_access` and `_default`.

    /// The value of an attribute; [`Error::NoData`] if it is not there.
    pub fn xattr(&mut self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        self.look(|fs| fs.do_xattr(ino, name))
    }
    /// The names of all attributes.
    pub fn xattr_names(&mut self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        self.look(|fs| fs.do_xattr_names(ino))
    }
    /// Sets an attribute.
    pub fn set_xattr(&mut self, ino: Ino, name: &[u8], value: &[u8], how: SetXattr, by: By) -> Result<()> {
        self.change(|fs| fs.do_set_xattr(ino, name, Some(value), how, by))
    }
    /// Removes an attribute.
    pub fn remove_xattr(&mut self, ino: Ino, name: &[u8], by: By) -> Result<()> {
        self.change(|fs| fs.do_set_xattr(ino, name, None, SetXattr::Replace, by))
    }

    // Transactions.

    /// Which transaction has to be committed so that the inode as it is now survives a crash; `None` if that is so
    /// already. With `data_only` (fdatasync) times do not count.
    pub fn unsynced(&self, ino: Ino, data_only: bool) -> Option<Tid> {
        let counts = |more: &bool| *more || !data_only;
        if self.running.touched.get(&ino).is_some_and(counts) {
            return Some(Tid(self.tid));
        }
        let committing = self.committing.as_ref()?;
        committing.touched.get(&ino).is_some_and(counts).then_some(Tid(committing.tid))
    }
    /// The transaction operations join now.
    pub fn running(&self) -> Tid {
        Tid(self.tid)
    }
    /// The newest transaction that is durable.
    pub fn committed(&self) -> Tid {
        Tid(self.committed)
    }
    /// Whether anything has changed since the last commit began.
    pub fn has_changes(&self) -> bool {
        !self.running.blocks.is_empty()
    }
    /// Whether the running transaction is large enough that it should be committed without waiting for its time.
    pub fn wants_commit(&self) -> bool {
        let blocks = crate::bytes::to_u64(self.running.blocks.len());
        blocks * 2 > self.largest_transaction() || blocks * self.layout.bytes() > 8 << 20
    }
    /// Whether the journal is full enough that its blocks should be written to their places.
    pub fn wants_checkpoint(&self) -> bool {
        let is_half_full = self.journal.as_ref().is_some_and(|journal| journal.used() * 2 > journal.size());
        is_half_full || self.unwritten_back() * self.layout.bytes() > self.cache.limit / 2
    }
    /// Closes the running transaction; operations go on in the next. `None` if nothing has changed. One commit is on its
    /// way at a time: [`Error::Busy`].
    pub fn begin_commit(&mut self) -> Result<Option<Plan>> {
        self.do_begin_commit()
    }
    /// Writes what is only in the journal to its places and gives the journal's room back. A commit may begin while this
    /// is on its way. `None` if there is nothing. [`Error::Busy`] while a commit or another check-point is on its way.
    pub fn begin_checkpoint(&mut self) -> Result<Option<Plan>> {
        self.do_begin_checkpoint()
    }
    /// Says that a plan was carried out to its end.
    pub fn carried_out(&mut self, plan: PlanId) {
        self.do_carried_out(plan);
    }
    /// Says that a plan failed: the file system becomes read-only, and its image is as after a crash.
    pub fn failed(&mut self, _plan: PlanId) {
        self.read_only = true;
        self.aborted = true;
    }
    /// Ends the use of the file system: call, and carry out what it gives, until it gives `None`; the image is then
    /// clean, and the file system read-only. Nothing may be changed meanwhile.
    pub fn begin_unmount(&mut self, now: Timestamp) -> Result<Option<Plan>> {
        if self.aborted || self.unmounted || (self.read_only && self.damage.is_none()) {
            return Ok(None);
        }
        self.now = now;
        if let Some(plan) = self.do_begin_commit()? {
            return Ok(Some(plan));
        }
        if let Some(plan) = self.do_begin_checkpoint()? {
            return Ok(Some(plan));
        }
        let plan = self.final_plan()?;
        self.unmounted = true;
        self.read_only = true;
        Ok(Some(plan))
    }
}
