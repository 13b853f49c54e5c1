//! Inodes: files, directories, links and devices, whatever file system they are on.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use aurora_abi::Errno;
use aurora_abi::types::{Statfs, Timespec};

use crate::memory::PageCache;
use crate::vfs::xattr::Xattrs;
use crate::vfs::{FileOps, PathRef};

/// The type bits of a mode, inode(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FileKind {
    /// A named pipe.
    Fifo = 0o010000,
    /// A character device.
    CharDevice = 0o020000,
    /// A directory.
    Directory = 0o040000,
    /// A block device.
    BlockDevice = 0o060000,
    /// A regular file.
    Regular = 0o100000,
    /// A symbolic link.
    Symlink = 0o120000,
    /// A unix socket.
    Socket = 0o140000,
}

impl FileKind {
    /// The mask of these bits in a mode.
    pub const MASK: u32 = 0o170000;

    /// What a mode says.
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & Self::MASK {
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

    /// The bits in a mode.
    pub const fn bits(self) -> u32 {
        self as u32
    }

    /// `d_type` of getdents64(2).
    pub const fn directory_type(self) -> u8 {
        match self {
            Self::Fifo => 1,
            Self::CharDevice => 2,
            Self::Directory => 4,
            Self::BlockDevice => 6,
            Self::Regular => 8,
            Self::Symlink => 10,
            Self::Socket => 12,
        }
    }
}

/// Set-user-ID bit.
pub const S_ISUID: u32 = 0o4000;
/// Set-group-ID bit.
pub const S_ISGID: u32 = 0o2000;
/// Sticky bit.
pub const S_ISVTX: u32 = 0o1000;

/// A device's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct DeviceId {
    /// The driver.
    pub major: u32,
    /// The device of it.
    pub minor: u32,
}

impl DeviceId {
    /// From its parts.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
    /// As `struct stat` carries it (makedev(3)).
    pub const fn encode(self) -> u64 {
        let (major, minor) = (self.major as u64, self.minor as u64);
        (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
    }
    /// From the form above.
    pub const fn decode(dev: u64) -> Self {
        let major = ((dev >> 8) & 0xfff) | ((dev >> 32) & 0xffff_f000);
        let minor = (dev & 0xff) | ((dev >> 12) & 0xffff_ff00);
        Self { major: crate::num::low32(major), minor: crate::num::low32(minor) }
    }
}

/// What stat(2) tells of an inode.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Metadata {
    /// The file system's number.
    pub dev: u64,
    pub ino: u64,
    /// Type and permissions.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    /// For devices, which.
    pub rdev: DeviceId,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes.
    pub blocks: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
}

impl Metadata {
    /// Of what is not there any more.
    pub const fn nothing() -> Self {
        let never = Timespec { sec: 0, nsec: 0 };
        Self {
            dev: 0,
            ino: 0,
            mode: 0,
            nlink: 0,
            uid: 0,
            gid: 0,
            rdev: DeviceId::new(0, 0),
            size: 0,
            blocks: 0,
            atime: never,
            mtime: never,
            ctime: never,
        }
    }
    /// The type bits.
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(self.mode).unwrap_or(FileKind::Regular)
    }
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == FileKind::Directory
    }
}

/// Of an inode what permissions need: cheaper than all of [`Metadata`], which a look-up would have at every name.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Owner {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    /// The type bits.
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(self.mode).unwrap_or(FileKind::Regular)
    }
}

impl From<&Metadata> for Owner {
    fn from(m: &Metadata) -> Self {
        Self { mode: m.mode, uid: m.uid, gid: m.gid }
    }
}
impl From<&Owner> for Owner {
    fn from(owner: &Owner) -> Self {
        *owner
    }
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// This one.
    To(Timespec),
    /// As it is.
    Keep,
}

/// What chmod, chown, utimensat and truncate change; `None` stays. `now` becomes the change time.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct AttributeChange {
    /// Permission bits, without the type.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: SetTime,
    pub mtime: SetTime,
    pub now: Timespec,
}

impl AttributeChange {
    /// Changes nothing but the change time.
    pub const fn at(now: Timespec) -> Self {
        Self { mode: None, uid: None, gid: None, atime: SetTime::Keep, mtime: SetTime::Keep, now }
    }
}

/// What a new inode is.
pub struct NewInode<'a> {
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group; a directory with the set-group-ID bit gives its own instead.
    pub gid: u32,
    /// For devices, which.
    pub rdev: DeviceId,
    /// For symbolic links, where to.
    pub target: &'a [u8],
    /// All three times.
    pub now: Timespec,
}

/// A name in a directory.
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Its inode's number.
    pub ino: u64,
    /// Its inode's type.
    pub kind: FileKind,
    /// Where a later read goes on after this one.
    pub next: u64,
}

/// What [`Inode::allocate`] makes of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// It has a place, and its contents stay.
    Room,
    /// It is a hole.
    Hole,
    /// It has a place, and reads as zeros.
    Zeros,
}

/// What a sync is of.
#[derive(Clone, Copy)]
pub enum SyncOf<'a> {
    /// Everything in the file system.
    All,
    /// One inode, fsync(2).
    Inode(&'a dyn Inode),
    /// One inode's contents, and what it takes to find them: fdatasync(2).
    Data(&'a dyn Inode),
}

/// A future that a trait's method gives.
pub type Later<'a> = core::pin::Pin<alloc::boxed::Box<dyn Future<Output = Result<(), Errno>> + Send + 'a>>;

/// A file system that is on a disk.
pub trait FileSystem: Send + Sync {
    /// Makes last what was changed so far.
    fn sync<'a>(&'a self, of: SyncOf<'a>) -> Later<'a>;

    /// Makes everything last and leaves the disk as one that is not in use; later changes may fail.
    fn unmount(&self) -> Later<'_>;
}

/// An inode. Methods that do not fit its type fail with the errno a program should see.
pub trait Inode: Send + Sync + Any {
    /// What stat(2) tells.
    fn metadata(&self) -> Metadata;

    /// What permissions need of it.
    fn owner(&self) -> Owner {
        Owner::from(&self.metadata())
    }

    /// Its type.
    fn kind(&self) -> FileKind {
        self.owner().kind()
    }

    /// For down-casts inside one file system.
    fn as_any(&self) -> &dyn Any;

    /// What statfs(2) tells of the file system.
    fn statfs(&self) -> Statfs;

    /// The file system, if it is on a disk.
    fn file_system(&self) -> Option<Arc<dyn FileSystem>> {
        None
    }

    /// Changes attributes.
    fn change(&self, change: &AttributeChange) -> Result<(), Errno> {
        let _ = change;
        Err(Errno::EPERM)
    }

    /// Finds a name (never `.` or `..`).
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let _ = name;
        Err(Errno::ENOTDIR)
    }

    /// Whether names found may be remembered. Not where they come and go by themselves (`/proc`).
    fn names_are_stable(&self) -> bool {
        true
    }

    /// Makes a new inode under a free name.
    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let _ = (name, new);
        Err(Errno::EPERM)
    }

    /// Makes a new inode without a name in this directory's file system (`O_TMPFILE`); one that is not `linkable` can
    /// never get one.
    fn create_unnamed(&self, new: &NewInode<'_>, linkable: bool) -> Result<Arc<dyn Inode>, Errno> {
        let _ = (new, linkable);
        Err(Errno::EOPNOTSUPP)
    }

    /// Its extended attributes, xattr(7), to be changed if `change`.
    fn xattrs(&self, change: bool) -> Result<Arc<dyn Xattrs>, Errno> {
        let _ = change;
        Err(Errno::EOPNOTSUPP)
    }

    /// Gives an inode of the same file system another name.
    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>, now: Timespec) -> Result<(), Errno> {
        let _ = (name, inode, now);
        Err(Errno::EPERM)
    }

    /// Removes a name: of an empty directory if `directory`, else of anything else.
    fn unlink(&self, name: &[u8], directory: bool, now: Timespec) -> Result<(), Errno> {
        let _ = (name, directory, now);
        Err(Errno::EPERM)
    }

    /// Moves a name to another directory of the same file system, replacing what is there, or exchanging both.
    fn rename(
        &self,
        name: &[u8],
        to: &Arc<dyn Inode>,
        to_name: &[u8],
        exchange: bool,
        now: Timespec,
    ) -> Result<(), Errno> {
        let _ = (name, to, to_name, exchange, now);
        Err(Errno::EPERM)
    }

    /// Hands names to `each` from `cursor` on until it returns `false`. `.` and `..` are not among them; cursors start
    /// at 2.
    fn read_dir(&self, cursor: u64, each: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Errno> {
        let _ = (cursor, each);
        Err(Errno::ENOTDIR)
    }

    /// Where a symbolic link points.
    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Where a link leads that is no path (`/proc/self/exe`).
    fn follow(&self) -> Option<Result<PathRef, Errno>> {
        None
    }

    /// Contents, for regular files that have them in the page cache.
    fn cache(&self) -> Option<&Arc<PageCache>> {
        None
    }

    /// The first offset at or after `from` that is data (or a hole, if `hole`), as lseek(2) counts them; none past the end.
    fn seek(&self, from: u64, hole: bool) -> Result<Option<u64>, Errno> {
        Ok(self.cache().ok_or(Errno::EINVAL)?.seek(from, hole))
    }

    /// fallocate(2), on what is not a tmpfs: gives a range of bytes a place, or takes it away.
    fn allocate(&self, how: Allocate, bytes: core::ops::Range<u64>) -> Result<(), Errno> {
        let _ = (how, bytes);
        Err(Errno::EOPNOTSUPP)
    }

    /// Makes a regular file `size` bytes long.
    fn truncate(&self, size: u64, now: Timespec) -> Result<(), Errno> {
        let _ = (size, now);
        Err(Errno::EINVAL)
    }

    /// The operations of a newly opened file, for inodes that are neither regular files nor directories of a cache.
    fn open(&self, readable: bool, writable: bool) -> Option<Result<Arc<dyn FileOps>, Errno>> {
        let _ = (readable, writable);
        None
    }

    /// The pipe of a FIFO inode.
    fn fifo(&self) -> Option<Arc<crate::ipc::pipe::Pipe>> {
        None
    }
}
