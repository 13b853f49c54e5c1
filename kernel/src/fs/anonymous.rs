//! Inodes without a name: pipes and the like, which only descriptors lead to.

use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_abi::types::{Statfs, Timespec};

use crate::ipc::pipe::Pipe;
use crate::vfs::inode::DeviceId;
use crate::vfs::{FileKind, FileOps, Inode, Metadata};

/// The device number of these inodes.
pub const DEV: u64 = 12;

/// An inode without a name.
pub struct AnonymousInode {
    ino: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    made: Timespec,
    pipe: Option<Arc<Pipe>>,
}

/// Numbers them.
#[derive(Default)]
pub struct AnonymousInodes {
    last: AtomicU64,
}

impl AnonymousInodes {
    /// A new inode of a kind.
    pub fn create(&self, kind: FileKind, permissions: u32, uid: u32, gid: u32, made: Timespec) -> Arc<dyn Inode> {
        let ino = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(AnonymousInode { ino, mode: kind.bits() | permissions, uid, gid, made, pipe: None })
    }

    /// A new inode of a pipe, which can be opened again through `/proc/PID/fd`.
    pub fn create_pipe(&self, pipe: &Arc<Pipe>, uid: u32, gid: u32, made: Timespec) -> Arc<dyn Inode> {
        let ino = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mode = FileKind::Fifo.bits() | 0o600;
        Arc::new(AnonymousInode { ino, mode, uid, gid, made, pipe: Some(pipe.clone()) })
    }

    /// A new inode of what is no kind of file at all: eventfds and the like, whose mode has no type.
    pub fn unnamed(&self, made: Timespec) -> Arc<dyn Inode> {
        let ino = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(AnonymousInode { ino, mode: 0o600, uid: 0, gid: 0, made, pipe: None })
    }
}

impl Inode for AnonymousInode {
    fn metadata(&self) -> Metadata {
        Metadata {
            dev: DEV,
            ino: self.ino,
            mode: self.mode,
            nlink: 1,
            uid: self.uid,
            gid: self.gid,
            rdev: DeviceId::default(),
            size: 0,
            blocks: 0,
            atime: self.made,
            mtime: self.made,
            ctime: self.made,
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn statfs(&self) -> Statfs {
        // PIPEFS_MAGIC.
        Statfs { kind: 0x5049_5045, bsize: 4096, frsize: 4096, namelen: 255, ..Statfs::default() }
    }
    fn open(&self, _: bool, _: bool) -> Option<Result<Arc<dyn FileOps>, Errno>> {
        Some(Err(Errno::ENXIO))
    }
    fn fifo(&self) -> Option<Arc<Pipe>> {
        self.pipe.clone()
    }
}
