//! The public face (bodies follow).
#![allow(clippy::needless_pass_by_value, unused_variables, dead_code)]

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::types::*;

/// How to mount.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountOptions {
    /// Change nothing, not even to replay the journal: what it says is then seen through.
    pub read_only: bool,
    /// The time of the mount, for the superblock.
    pub now: Timestamp,
}

/// A mount in progress.
///
/// [`step`](Self::step) until it says [`MountStep::Done`]. Replaying the journal and finishing what was unlinked or being
/// truncated at a crash are parts of it.
#[derive(Debug)]
pub struct Mounting;

/// What a mount needs next.
#[derive(Clone, Debug)]
pub enum MountStep {
    /// Read these bytes of the device and hand them to [`Mounting::supply`].
    Read {
        /// The first byte; a multiple of 1024.
        offset: u64,
        /// How many; a multiple of 1024.
        length: u64,
    },
    /// Carry this out and say so with [`Mounting::carried_out`].
    CarryOut(Plan),
    /// Take the file system with [`Mounting::finish`].
    Done,
}

impl Mounting {
    /// Begins to mount a device of so many bytes.
    pub fn new(device_bytes: u64, options: MountOptions) -> Self {
        Self
    }
    /// What is needed next. Fails when this is no file system we can mount; the device is then as it was, but for a
    /// replayed journal.
    pub fn step(&mut self) -> Result<MountStep> {
        Err(Error::NotExt4)
    }
    /// Hands over what a `Read` asked for. A device that is shorter than asked gives what it has.
    pub fn supply(&mut self, offset: u64, data: &[u8]) {}
    /// Says that the plan of the last step was carried out.
    pub fn carried_out(&mut self) {}
    /// The mounted file system, once `step` said `Done`.
    pub fn finish(self) -> Result<Ext4> {
        Err(Error::Busy)
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Ext4;

impl Ext4 {
    /// The number of the root directory.
    pub const ROOT: Ino = 2;

    // Blocks and memory.

    /// Bytes of a block: 1024, 2048 or 4096.
    pub fn block_size(&self) -> u32 {
        4096
    }
    /// Hands over a block that was missing, with the epoch of the [`Want`]. Blocks nobody wants any more, or whose
    /// contents may be out of date, are ignored.
    pub fn supply(&mut self, epoch: u64, block: u64, data: Block) {}
    /// What is in memory and in the journal.
    pub fn memory(&self) -> Memory {
        Memory::default()
    }
    /// Gives back about so many bytes of blocks that can be read again, those not used for longest first. Gives what it
    /// gave.
    pub fn shrink(&mut self, bytes: u64) -> u64 {
        0
    }
    /// Bounds the blocks kept in memory, without those that have to be written. 16 MiB unless set.
    pub fn set_cache_limit(&mut self, bytes: u64) {}

    // The file system as a whole.

    /// Whether nothing can be changed.
    pub fn is_read_only(&self) -> bool {
        true
    }
    /// What made the file system read-only, if damage did.
    pub fn damage(&self) -> Option<Error> {
        None
    }
    /// The volume's name.
    pub fn label(&self) -> Vec<u8> {
        Vec::new()
    }
    /// The volume's UUID.
    pub fn uuid(&self) -> [u8; 16] {
        [0; 16]
    }
    /// The names of the image's features, as tune2fs(8) writes them.
    pub fn features(&self) -> Vec<String> {
        Vec::new()
    }
    /// What statfs(2) tells.
    pub fn statfs(&self) -> Statfs {
        Statfs { block_size: 4096, blocks: 0, free: 0, available: 0, inodes: 0, free_inodes: 0, fsid: 0 }
    }
    /// The largest size of a file: the smaller limit of block maps where `extents` is false.
    pub fn max_file_size(&self, extents: bool) -> u64 {
        0
    }
    /// Promises room for so many blocks of contents that will be written later, and for what will lead to them. Fails
    /// with [`Error::NoSpace`], or [`Error::Commit`] if a commit may free enough.
    pub fn reserve(&mut self, blocks: u64, by: By) -> Result<()> {
        Err(Error::ReadOnly)
    }
    /// Takes a promise back, because the blocks have been allocated or will not be needed.
    pub fn release(&mut self, blocks: u64) {}

    // Inodes.

    /// What stat(2) tells of an inode. [`Error::Stale`] if it is not in use.
    pub fn attributes(&mut self, ino: Ino) -> Result<Attributes> {
        Err(Error::NotFound)
    }
    /// Changes attributes. Sizes are changed by `set_size` and `truncate`.
    pub fn set_attributes(&mut self, ino: Ino, change: &AttributeChange) -> Result<()> {
        Err(Error::ReadOnly)
    }

    // Names.

    /// What a name in a directory leads to; [`Error::NotFound`] if it is not there.
    pub fn lookup(&mut self, dir: Ino, name: &[u8]) -> Result<Found> {
        Err(Error::NotFound)
    }
    /// Names of a directory from a position on (0 is the start), about `limit` of them; none at the end.
    pub fn read_dir(&mut self, dir: Ino, position: u64, limit: u64) -> Result<Vec<DirEntry>> {
        Err(Error::NotFound)
    }
    /// Makes an inode with a name.
    pub fn create(&mut self, dir: Ino, name: &[u8], new: &NewInode<'_>, by: By) -> Result<Attributes> {
        Err(Error::ReadOnly)
    }
    /// Makes a regular file without a name, near `dir`; it is on the orphan list until `link` gives it one.
    pub fn create_unnamed(&mut self, dir: Ino, new: &NewInode<'_>, by: By) -> Result<Attributes> {
        Err(Error::ReadOnly)
    }
    /// Gives an inode another name.
    pub fn link(&mut self, ino: Ino, dir: Ino, name: &[u8], by: By) -> Result<()> {
        Err(Error::ReadOnly)
    }
    /// Removes a name that is no directory's.
    pub fn unlink(&mut self, dir: Ino, name: &[u8], by: By) -> Result<Unlinked> {
        Err(Error::ReadOnly)
    }
    /// Removes an empty directory.
    pub fn remove_dir(&mut self, dir: Ino, name: &[u8], by: By) -> Result<Unlinked> {
        Err(Error::ReadOnly)
    }
    /// Moves a name. Gives what lost its name by it, if something did. That a directory does not move below itself is
    /// for the caller to see, who knows the tree.
    pub fn rename(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8]), how: Rename, by: By) -> Result<Option<Unlinked>> {
        Err(Error::ReadOnly)
    }
    /// Frees an inode without names that nobody has open any more, with its blocks.
    pub fn evict(&mut self, ino: Ino, by: By) -> Result<Progress> {
        Err(Error::ReadOnly)
    }
    /// Where a symbolic link leads.
    pub fn read_link(&mut self, ino: Ino) -> Result<Vec<u8>> {
        Err(Error::NotFound)
    }

    // Contents.

    /// Where blocks of a file are: runs without gaps between them that begin at `first` and cover `count` blocks or
    /// less, at least one. Beyond the end all is hole. Of a file whose contents are in the inode, all is hole, too: ask
    /// `read_inline`.
    pub fn map(&mut self, ino: Ino, first: u64, count: u64) -> Result<Vec<Run>> {
        Err(Error::NotFound)
    }
    /// Finds or makes room for a write: the run begins at `first`, covers `count` blocks or less, and is no hole.
    /// Contents in the inode have to be moved out first: [`Error::NotSupported`], see `take_inline`.
    pub fn map_for_write(&mut self, ino: Ino, first: u64, count: u64, how: Allocate, by: By) -> Result<WriteRun> {
        Err(Error::ReadOnly)
    }
    /// Says that unwritten blocks have their contents on the device. What is not unwritten there stays.
    pub fn written(&mut self, ino: Ino, first: u64, count: u64) -> Result<()> {
        Err(Error::ReadOnly)
    }
    /// Sets the size after a write beyond the end, without touching blocks; never makes a file shorter. The caller has
    /// seen to it that the rest of the old last block is zeros.
    pub fn grow(&mut self, ino: Ino, size: u64, by: By) -> Result<()> {
        Err(Error::ReadOnly)
    }
    /// Sets the size and frees what is beyond it, in steps: between them the file has its new size and is on the orphan
    /// list. The caller has dropped its pages beyond the end, waited for writes to them, and zeroes the rest of the last
    /// block itself. Also makes files longer.
    pub fn truncate(&mut self, ino: Ino, size: u64, by: By) -> Result<Progress> {
        Err(Error::ReadOnly)
    }
    /// Makes a hole of whole blocks, in steps. The caller zeroes parts of blocks itself.
    pub fn punch(&mut self, ino: Ino, first: u64, count: u64, by: By) -> Result<Progress> {
        Err(Error::ReadOnly)
    }
    /// Allocates what is a hole as unwritten, in steps; the size stays. [`Error::NotSupported`] for block maps.
    pub fn allocate(&mut self, ino: Ino, first: u64, count: u64, by: By) -> Result<Progress> {
        Err(Error::ReadOnly)
    }
    /// Makes blocks read as zeros but stay allocated, in steps: what is written becomes unwritten (`FALLOC_FL_ZERO_RANGE`).
    pub fn zero(&mut self, ino: Ino, first: u64, count: u64, by: By) -> Result<Progress> {
        Err(Error::ReadOnly)
    }
    /// Contents that are in the inode itself; `None` if they are in blocks.
    pub fn read_inline(&mut self, ino: Ino) -> Result<Option<Vec<u8>>> {
        Err(Error::NotFound)
    }
    /// Takes contents out of the inode: afterwards the file has blocks (none yet), its size, and the caller writes what
    /// is returned. `None` if they were not in the inode.
    pub fn take_inline(&mut self, ino: Ino, by: By) -> Result<Option<Vec<u8>>> {
        Err(Error::ReadOnly)
    }
    /// The first byte at or after `offset` that is data: `SEEK_DATA`. Unwritten blocks count as holes; what the caller
    /// has in memory only it knows. [`Error::NoData`] if there is none before the end of the file.
    pub fn seek_data(&mut self, ino: Ino, offset: u64) -> Result<u64> {
        Err(Error::NotFound)
    }
    /// The first byte at or after `offset` that is in a hole, or the end of the file: `SEEK_HOLE`.
    pub fn seek_hole(&mut self, ino: Ino, offset: u64) -> Result<u64> {
        Err(Error::NotFound)
    }

    // Extended attributes, with the names and values of xattr(7): ACLs as `system.posix_acl_access` and `_default`.

    /// The value of an attribute; [`Error::NoData`] if it is not there.
    pub fn xattr(&mut self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        Err(Error::NoData)
    }
    /// The names of all attributes.
    pub fn xattr_names(&mut self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        Err(Error::NotFound)
    }
    /// Sets an attribute.
    pub fn set_xattr(&mut self, ino: Ino, name: &[u8], value: &[u8], how: SetXattr, by: By) -> Result<()> {
        Err(Error::ReadOnly)
    }
    /// Removes an attribute.
    pub fn remove_xattr(&mut self, ino: Ino, name: &[u8], by: By) -> Result<()> {
        Err(Error::ReadOnly)
    }

    // Transactions.

    /// Which transaction has to be committed so that the inode as it is now survives a crash; `None` if that is so
    /// already. With `data_only` (fdatasync) times do not count.
    pub fn unsynced(&self, ino: Ino, data_only: bool) -> Option<Tid> {
        None
    }
    /// The transaction operations join now.
    pub fn running(&self) -> Tid {
        Tid(1)
    }
    /// The newest transaction that is durable.
    pub fn committed(&self) -> Tid {
        Tid(0)
    }
    /// Whether the running transaction is large enough that it should be committed without waiting for its time.
    pub fn wants_commit(&self) -> bool {
        false
    }
    /// Whether the journal is full enough that its blocks should be written to their places.
    pub fn wants_checkpoint(&self) -> bool {
        false
    }
    /// Closes the running transaction; operations go on in the next. `None` if nothing has changed. One commit is on its
    /// way at a time: [`Error::Busy`].
    pub fn begin_commit(&mut self) -> Result<Option<Plan>> {
        Ok(None)
    }
    /// Writes what is only in the journal to its places and gives the journal's room back; may be on its way at the same
    /// time as a commit. `None` if there is nothing. [`Error::Busy`] while one is on its way.
    pub fn begin_checkpoint(&mut self) -> Result<Option<Plan>> {
        Ok(None)
    }
    /// Says that a plan was carried out to its end.
    pub fn carried_out(&mut self, plan: PlanId) {}
    /// Says that a plan failed: the file system becomes read-only, and its image is as after a crash.
    pub fn failed(&mut self, plan: PlanId) {}
    /// Ends the use of the file system: call, and carry out what it gives, until it gives `None`; the image is then
    /// clean. Nothing may be changed meanwhile.
    pub fn begin_unmount(&mut self, now: Timestamp) -> Result<Option<Plan>> {
        Ok(None)
    }
    /// Makes the file system read-only (remount): commit and check-point first.
    pub fn set_read_only(&mut self) {}
}

/// What a new image is to be.
#[derive(Clone, Debug)]
pub struct FormatOptions {
    /// Bytes of the device.
    pub device_bytes: u64,
    /// 1024, 2048 or 4096.
    pub block_size: u32,
    /// The volume's UUID.
    pub uuid: [u8; 16],
    /// Seed of directories' hashes: 16 random bytes.
    pub hash_seed: [u8; 16],
    /// The volume's name, 16 bytes at most.
    pub label: Vec<u8>,
    /// Bytes of the device for each inode; 16384 is usual.
    pub bytes_per_inode: u64,
    /// Per cent of the blocks that only the superuser gets.
    pub reserved_percent: u32,
    /// Blocks of the journal; `None` chooses by the size of the device, `Some(0)` makes none.
    pub journal_blocks: Option<u32>,
    /// Whether the device reads as zeros now, so that inode tables need not be written.
    pub zeroed: bool,
    /// The time it is made.
    pub now: Timestamp,
    /// Owner of the root directory.
    pub uid: u32,
    /// Group of the root directory.
    pub gid: u32,
}

/// A new file system in the making: carry out the plans until there are none. All of it is in memory only as far as the
/// next plan, so that large images need no large memory.
#[derive(Debug)]
pub struct Formatting;

impl Formatting {
    /// Begins. Fails with [`Error::NoSpace`] for a device that is too small, [`Error::Invalid`] for senseless options.
    pub fn new(options: &FormatOptions) -> Result<Self> {
        Err(Error::Invalid)
    }
    /// The next writes; `None` when all is done.
    pub fn next_plan(&mut self) -> Result<Option<Plan>> {
        Ok(None)
    }
}

/// Something a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What, in words.
    pub text: String,
    /// The inode it is about, if any.
    pub ino: Option<Ino>,
}

/// A check of a whole file system that nobody changes meanwhile: bitmaps against what is reachable, link counts,
/// checksums, overlapping blocks. It finds what `e2fsck -fn` would complain about; it repairs nothing.
#[derive(Debug)]
pub struct Check;

impl Check {
    /// Begins.
    pub fn new(fs: &Ext4) -> Self {
        Self
    }
    /// Does a part of the work; the usual retry for `Missing`.
    pub fn step(&mut self, fs: &mut Ext4) -> Result<Progress> {
        Ok(Progress::Done)
    }
    /// What was found.
    pub fn problems(&self) -> &[Problem] {
        &[]
    }
}
