//! What callers and this crate exchange: blocks, plans, attributes, names, runs.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// The contents of one block of the file system: always of its block size, never changed once handed over.
pub type Block = Arc<[u8]>;

/// The number of an inode; 2 is the root directory.
pub type Ino = u32;

/// The number of a transaction. They are counted from 1 at each mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tid(pub u64);

/// Neighbouring blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockRange {
    /// The first.
    pub start: u64,
    /// How many.
    pub count: u64,
}

/// Blocks an operation wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The block without which it cannot go on.
    pub block: u64,
    /// How many blocks from there on are worth reading in one go; 1 at least. The others are a hint.
    pub count: u32,
    /// Handed back to [`supply`](crate::Ext4::supply): what was read before the device's contents changed is refused.
    pub epoch: u64,
}

/// Writes and flushes the caller carries out in order. Writes between two flushes may go in any order, at the same
/// time, and neighbouring ones as one.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For [`carried_out`](crate::Ext4::carried_out) and [`failed`](crate::Ext4::failed).
    pub id: PlanId,
    /// What to do.
    pub steps: Vec<Step>,
    /// Inodes that got blocks in the transaction committed here: contents on their way to these blocks have to have
    /// arrived (not flushed: the plan flushes) before the first step. This is ordered mode.
    pub ordered: Vec<Ino>,
    /// Once carried out, these blocks are free and may be discarded.
    pub freed: Vec<BlockRange>,
    /// The transaction that is durable once this is carried out, if the plan is a commit.
    pub commits: Option<Tid>,
}

/// Names a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanId(pub u64);

/// One step of a plan.
#[derive(Clone, Debug)]
pub enum Step {
    /// Write a block.
    Write {
        /// Which.
        block: u64,
        /// Its contents.
        data: Block,
    },
    /// Make everything written so far durable, before the next step begins.
    Flush,
}

/// A moment, as inodes have them: seconds since 1970 (negative before) and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub sec: i64,
    /// Nanoseconds, below a thousand million.
    pub nsec: u32,
}

/// How a changing operation is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct By {
    /// The time it leaves in inodes.
    pub now: Timestamp,
    /// Whether it may take blocks that are reserved for the superuser.
    pub privileged: bool,
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A unix socket.
    Socket,
}

impl FileType {
    /// The type bits of a mode, inode(7).
    pub const fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010000,
            Self::CharDevice => 0o020000,
            Self::Directory => 0o040000,
            Self::BlockDevice => 0o060000,
            Self::Regular => 0o100000,
            Self::Symlink => 0o120000,
            Self::Socket => 0o140000,
        }
    }
    /// What a mode says.
    pub const fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & 0o170000 {
            0o010000 => Self::Fifo,
            0o020000 => Self::CharDevice,
            0o040000 => Self::Directory,
            0o060000 => Self::BlockDevice,
            0o100000 => Self::Regular,
            0o120000 => Self::Symlink,
            0o140000 => Self::Socket,
            _ => return None,
        })
    }
    /// The number in directory entries.
    pub(crate) const fn entry_code(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }
    /// What a directory entry says; `None` when it does not tell.
    pub(crate) const fn from_entry_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::CharDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => return None,
        })
    }
}

/// A device's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The device of it.
    pub minor: u32,
}

/// What stat(2) and statx(2) tell of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub ino: Ino,
    /// Distinguishes the inodes that had this number one after another.
    pub generation: u32,
    /// What it is.
    pub kind: FileType,
    /// Permissions: the twelve low bits of a mode.
    pub permissions: u16,
    /// Names it has. 1 for a directory with too many subdirectories to count.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// For devices, which.
    pub device: Device,
    /// Bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub sectors: u64,
    /// Last read.
    pub atime: Timestamp,
    /// Contents last changed.
    pub mtime: Timestamp,
    /// Inode last changed.
    pub ctime: Timestamp,
    /// Made, where the format keeps it.
    pub crtime: Option<Timestamp>,
    /// The flags chattr(1) shows: append-only, immutable, no dump, …
    pub flags: InodeFlags,
    /// The project it belongs to; 0 unless the image has projects.
    pub project: u32,
}

bitflags::bitflags! {
    /// `i_flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct InodeFlags: u32 {
        /// Secure deletion (not implemented by anybody).
        const SECURE_DELETE = 0x1;
        /// Undelete (not implemented by anybody).
        const UNDELETE = 0x2;
        /// Compress (not implemented by anybody).
        const COMPRESS = 0x4;
        /// Writes are synchronous.
        const SYNC = 0x8;
        /// Cannot change.
        const IMMUTABLE = 0x10;
        /// Only grows.
        const APPEND = 0x20;
        /// dump(8) leaves it out.
        const NO_DUMP = 0x40;
        /// Reading does not change the access time.
        const NO_ATIME = 0x80;
        /// A directory with a hash tree.
        const INDEX = 0x1000;
        /// Contents go through the journal.
        const JOURNAL_DATA = 0x4000;
        /// Changes of the directory are synchronous.
        const DIR_SYNC = 0x1_0000;
        /// Its subdirectories are unrelated: spread them.
        const TOP_DIR = 0x2_0000;
        /// The block count is in blocks, not in sectors.
        const HUGE_FILE = 0x4_0000;
        /// Blocks are found by extents.
        const EXTENTS = 0x8_0000;
        /// A large attribute's value is in this inode.
        const EA_INODE = 0x20_0000;
        /// Contents are in the inode.
        const INLINE_DATA = 0x1000_0000;
        /// New inodes inherit the project.
        const PROJECT_INHERIT = 0x2000_0000;
        /// Names are equal whatever their case.
        const CASEFOLD = 0x4000_0000;
        /// Encrypted.
        const ENCRYPT = 0x800;
        /// Protected by fs-verity.
        const VERITY = 0x10_0000;
    }
}

impl InodeFlags {
    /// What chattr(1) may set.
    pub const SETTABLE: Self = Self::SYNC
        .union(Self::IMMUTABLE)
        .union(Self::APPEND)
        .union(Self::NO_DUMP)
        .union(Self::NO_ATIME)
        .union(Self::DIR_SYNC)
        .union(Self::TOP_DIR)
        .union(Self::PROJECT_INHERIT);
    /// What a new inode takes over from its directory.
    pub(crate) const INHERITED: Self =
        Self::SYNC.union(Self::NO_DUMP).union(Self::NO_ATIME).union(Self::DIR_SYNC).union(Self::PROJECT_INHERIT);
}

/// What chmod, chown, utimensat and chattr change; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttributeChange {
    /// The twelve low bits of a mode.
    pub permissions: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last read.
    pub atime: Option<Timestamp>,
    /// Contents last changed.
    pub mtime: Option<Timestamp>,
    /// Inode last changed. Most callers set it to now.
    pub ctime: Option<Timestamp>,
    /// Those of [`InodeFlags::SETTABLE`]; others are ignored.
    pub flags: Option<InodeFlags>,
}

/// What a new inode is. The caller has decided about set-group-ID directories and the mask of the process.
#[derive(Clone, Copy, Debug)]
pub struct NewInode<'a> {
    /// What it is.
    pub kind: FileType,
    /// The twelve low bits of a mode.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// For devices, which.
    pub device: Device,
    /// For symbolic links, where to.
    pub target: &'a [u8],
    /// Attributes it has from the start (default ACLs, security labels): name with its prefix, and value.
    pub xattrs: &'a [(&'a [u8], &'a [u8])],
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The inode.
    pub ino: Ino,
    /// Its type, where directory entries have it.
    pub kind: Option<FileType>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, `.` and `..` among them.
    pub name: Vec<u8>,
    /// Its inode.
    pub ino: Ino,
    /// Its type, where directory entries have it.
    pub kind: Option<FileType>,
    /// Where reading goes on after this entry: stays right whatever is made and removed meanwhile. Fits an `off_t`.
    pub next: u64,
}

/// What became of an inode whose name went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlinked {
    /// The inode.
    pub ino: Ino,
    /// Names it still has. With none it is on the orphan list, and [`evict`](crate::Ext4::evict) is due when nobody
    /// has it open.
    pub links: u32,
}

/// How to rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// What had the new name is replaced.
    Replace,
    /// The new name must be free (`RENAME_NOREPLACE`).
    NoReplace,
    /// The two change places (`RENAME_EXCHANGE`).
    Exchange,
}

/// What is behind a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Blocks of the device from this one on.
    Blocks(u64),
    /// Blocks allocated from this one on, whose contents read as zeros until [`written`](crate::Ext4::written).
    Unwritten(u64),
    /// Nothing: zeros.
    Hole,
}

/// A part of a file that is in one piece on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first block of it, counted from the file's start.
    pub logical: u64,
    /// How many blocks.
    pub count: u64,
    /// Where they are.
    pub place: Place,
}

/// What `map_for_write` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteRun {
    /// Where to write: `Blocks` or `Unwritten`, never a hole.
    pub run: Run,
    /// Whether these blocks were allocated now. What the caller does not write of them has to be zeroed by it, unless
    /// they are unwritten.
    pub fresh: bool,
}

/// How to allocate for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// As data: the contents have to be on the device before the transaction commits ([`Plan::ordered`]).
    Written,
    /// As unwritten, where the format can: a crash before [`written`](crate::Ext4::written) leaves zeros, and nothing
    /// has to wait.
    Unwritten,
}

/// How far a long operation got. Between two steps other operations may go on and transactions may commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done,
    /// Call again with the same arguments.
    More,
}

/// How to set an extended attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    /// Whether it is there or not.
    Any,
    /// It must not be there (`XATTR_CREATE`).
    Create,
    /// It must be there (`XATTR_REPLACE`).
    Replace,
}

/// What statfs(2) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statfs {
    /// Bytes of a block.
    pub block_size: u32,
    /// Blocks for contents, directories and attributes.
    pub blocks: u64,
    /// Those free. Reserved and promised ones are not.
    pub free: u64,
    /// Those free for everybody: without the superuser's reserve.
    pub available: u64,
    /// Inodes.
    pub inodes: u64,
    /// Those free.
    pub free_inodes: u64,
    /// `f_fsid`.
    pub fsid: u64,
}

/// What the running transaction and the cache hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Memory {
    /// Blocks changed since the last commit began.
    pub running: u64,
    /// Blocks in committed transactions that are not in their places yet.
    pub unwritten_back: u64,
    /// Bytes of all blocks in memory.
    pub bytes: u64,
    /// Those of them [`shrink`](crate::Ext4::shrink) could give back.
    pub reclaimable: u64,
    /// Blocks of the journal that are taken, and how many it has; zeros without a journal.
    pub log_used: u64,
    /// How many blocks the journal has.
    pub log_size: u64,
}
