//! Open files: what a descriptor refers to, open(2).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use aurora_abi::Errno;

use crate::memory::account::Charge;
use crate::memory::{IoBuf, IoError};
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::{Inode, PathRef};

bitflags::bitflags! {
    /// Flags of open(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[allow(missing_docs)]
    pub struct OpenFlags: u32 {
        const WRONLY = 0o1;
        const RDWR = 0o2;
        const CREAT = 0o100;
        const EXCL = 0o200;
        const NOCTTY = 0o400;
        const TRUNC = 0o1000;
        const APPEND = 0o2000;
        const NONBLOCK = 0o4000;
        const DSYNC = 0o10000;
        const ASYNC = 0o20000;
        const DIRECT = 0o40000;
        const LARGEFILE = 0o100000;
        const DIRECTORY = 0o200000;
        const NOFOLLOW = 0o400000;
        const NOATIME = 0o1000000;
        const CLOEXEC = 0o2000000;
        const SYNC = 0o4000000;
        const PATH = 0o10000000;
        const TMPFILE = 0o20000000;
    }

    /// What poll(2) waits for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[allow(missing_docs)]
    pub struct Events: u16 {
        const IN = 0x1;
        const PRI = 0x2;
        const OUT = 0x4;
        const ERR = 0x8;
        const HUP = 0x10;
        const NVAL = 0x20;
        const RDNORM = 0x40;
        const RDBAND = 0x80;
        const WRNORM = 0x100;
        const WRBAND = 0x200;
        const RDHUP = 0x2000;
    }
}

impl Events {
    /// Readable.
    pub const READABLE: Self = Self::IN.union(Self::RDNORM);
    /// Writable.
    pub const WRITABLE: Self = Self::OUT.union(Self::WRNORM);
    /// Reported whether asked for or not.
    pub const ALWAYS: Self = Self::ERR.union(Self::HUP).union(Self::NVAL);
}

/// Set by fcntl(2) `F_SETFL`.
pub const SETTABLE: OpenFlags = OpenFlags::APPEND
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::ASYNC)
    .union(OpenFlags::DIRECT)
    .union(OpenFlags::NOATIME);

/// What an `ioctl` needs of its caller. See [`FileOps::ioctl`].
pub struct IoctlArgs<'a> {
    /// The request number.
    pub request: u32,
    /// The argument, often a pointer.
    pub arg: u64,
    /// Who asks.
    pub thread: &'a crate::task::Thread,
}

/// An answer of an ioctl: a number, and bytes for the program's pointer.
#[derive(Default)]
pub struct IoctlAnswer {
    /// What the call returns.
    pub value: u64,
    /// Bytes to write to the argument's address.
    pub out: alloc::vec::Vec<u8>,
}

/// How an open file behaves. Nothing here blocks; see [`crate::vfs`].
pub trait FileOps: Send + Sync {
    /// Reads at `offset` (which streams ignore). 0 bytes moved is the end of the file.
    fn read_at(&self, file: &OpenFile, offset: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let _ = (file, offset, out);
        Err(Errno::EINVAL.into())
    }
    /// Writes at `offset` (which streams ignore).
    fn write_at(&self, file: &OpenFile, offset: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let _ = (file, offset, input);
        Err(Errno::EINVAL.into())
    }
    /// Whether it has offsets.
    fn seekable(&self) -> bool {
        false
    }
    /// Where end-relative seeks start.
    fn size(&self, file: &OpenFile) -> u64 {
        file.inode.metadata().size
    }
    /// What could be done now without waiting.
    fn readiness(&self, file: &OpenFile) -> Events {
        let _ = file;
        Events::READABLE | Events::WRITABLE
    }
    /// Woken when readiness changes; none if it never does.
    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }
    /// Bytes an ioctl reads from its pointer, for a request number.
    fn ioctl_input(&self, request: u32) -> usize {
        let _ = request;
        0
    }
    /// Device control, ioctl(2).
    fn ioctl(&self, file: &OpenFile, args: &IoctlArgs<'_>, input: &[u8]) -> Result<IoctlAnswer, Errno> {
        let _ = (file, args, input);
        Err(Errno::ENOTTY)
    }
    /// The terminal this is, if it is one.
    fn terminal(&self) -> Option<&Arc<crate::tty::Tty>> {
        None
    }
    /// The pipe this is an end of, if it is one.
    fn pipe(&self) -> Option<&Arc<crate::ipc::pipe::Pipe>> {
        None
    }
}

/// An open file description: offset and flags are shared by every descriptor that refers to it.
pub struct OpenFile {
    /// Where it was opened; none for pipes and the like.
    pub path: Option<PathRef>,
    /// What was opened.
    pub inode: Arc<dyn Inode>,
    /// How it behaves.
    pub ops: Arc<dyn FileOps>,
    /// Where the next read or write is.
    pub offset: Mutex<u64>,
    flags: AtomicU32,
    _charge: Charge,
}

/// Kernel heap an open file is charged.
pub const FILE_COST: u64 = 384;

impl OpenFile {
    /// A new description at offset 0.
    pub fn new(
        path: Option<PathRef>,
        inode: Arc<dyn Inode>,
        ops: Arc<dyn FileOps>,
        flags: OpenFlags,
        charge: Charge,
    ) -> Arc<Self> {
        let flags = AtomicU32::new(flags.bits());
        Arc::new(Self { path, inode, ops, offset: Mutex::new(0), flags, _charge: charge })
    }
    /// Its flags.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }
    /// Changes the flags `F_SETFL` may change.
    pub fn set_flags(&self, flags: OpenFlags) {
        let kept = self.flags().difference(SETTABLE);
        self.flags.store((kept | flags.intersection(SETTABLE)).bits(), Ordering::Relaxed);
    }
    /// Whether it was opened for reading.
    pub fn can_read(&self) -> bool {
        !self.flags().intersects(OpenFlags::WRONLY | OpenFlags::PATH)
    }
    /// Whether it was opened for writing.
    pub fn can_write(&self) -> bool {
        let flags = self.flags();
        flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR) && !flags.contains(OpenFlags::PATH)
    }
    /// Whether calls on it must not wait.
    pub fn nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }
}
