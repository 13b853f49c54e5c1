//! Open files: what a descriptor refers to, open(2).

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use aurora_abi::Errno;

use crate::memory::account::{Charge, FileCharge};
use crate::memory::{IoBuf, IoError};
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::flags::SETTABLE;
use crate::vfs::notify::Owner;
use crate::vfs::{Events, Inode, OpenFlags, PathRef};

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
    /// Reads what there is, though a reader might have waited for more (a terminal's `VTIME` is over).
    fn read_now(&self, file: &OpenFile, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        self.read_at(file, 0, out)
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
    /// Whether seeking, where there are no offsets, changes nothing in place of failing.
    fn seek_stays(&self) -> bool {
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
    /// What `/proc/PID/fd` calls it if it has no path (`[eventfd]`).
    fn kind(&self) -> Option<&'static str> {
        None
    }
    /// Lines of its own in `/proc/PID/fdinfo`.
    fn fdinfo(&self, file: &OpenFile) -> alloc::string::String {
        let _ = file;
        alloc::string::String::new()
    }
    /// For down-casts to what only some calls work on: sockets, epolls.
    fn as_any(&self) -> Option<&dyn core::any::Any> {
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
    /// Woken when it is closed: it has locks somebody may wait for.
    pub on_close: Mutex<Option<Arc<WaitQueue>>>,
    /// Who is told when it becomes ready.
    pub owner: Mutex<Owner>,
    flags: AtomicU32,
    /// Told when the last descriptor is gone.
    watchers: Mutex<Vec<Weak<dyn CloseWatcher>>>,
    _charge: FileCharge,
}

/// Wants to know when an open file is closed for good: an epoll that watches it forgets it then.
pub trait CloseWatcher: Send + Sync {
    /// It is closed.
    fn closed(&self, file: &OpenFile);
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let watchers = core::mem::take(&mut *self.watchers.lock());
        watchers.iter().filter_map(Weak::upgrade).for_each(|w| w.closed(self));
        if let Some(queue) = self.on_close.lock().take() {
            queue.wake_all();
        }
    }
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
        Arc::new(Self {
            path,
            inode,
            ops,
            offset: Mutex::new(0),
            on_close: Mutex::default(),
            owner: Mutex::default(),
            flags,
            watchers: Mutex::default(),
            _charge: charge.into(),
        })
    }

    /// Tells `watcher` when it is closed.
    pub fn watch_close(&self, watcher: Weak<dyn CloseWatcher>) {
        let mut watchers = self.watchers.lock();
        watchers.retain(|w| w.strong_count() > 0);
        watchers.push(watcher);
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
    /// Whether it was opened for writing. Both bits together ask for both rights and allow neither, for ioctl(2) alone.
    pub fn can_write(&self) -> bool {
        let access = self.flags() & (OpenFlags::WRONLY | OpenFlags::RDWR | OpenFlags::PATH);
        access == OpenFlags::WRONLY || access == OpenFlags::RDWR
    }
    /// Whether calls on it must not wait.
    pub fn nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }
}
