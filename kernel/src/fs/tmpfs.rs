//! tmpfs: files that live in the page cache and nowhere else, tmpfs(5).

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_abi::types::{Statfs, Timespec};
use aurora_machine::PAGE_SIZE;

use crate::ipc::pipe::Pipe;
use crate::memory::account::Charge;
use crate::memory::cache::{MAX_FILE_SIZE, PageQuota};
use crate::memory::{MemoryControl, PageCache};
use crate::sync::Mutex;
use crate::vfs::inode::{DeviceId, Owner, S_ISGID, SetTime};
use crate::vfs::xattr::{MemoryXattrs, Xattrs};
use crate::vfs::{AttributeChange, DirEntry, FileKind, FileOps, Inode, Metadata, NewInode};

/// Opens a device by its number.
pub type OpenDevice = dyn Fn(FileKind, DeviceId) -> Result<Arc<dyn FileOps>, Errno> + Send + Sync;

/// A file system.
pub struct Tmpfs {
    control: Arc<MemoryControl>,
    quota: Arc<PageQuota>,
    dev: u64,
    next_ino: AtomicU64,
    inodes: AtomicU64,
    max_inodes: u64,
    open_device: Arc<OpenDevice>,
}

/// Kernel heap an inode is charged.
const INODE_COST: u64 = 512;
/// Kernel heap a name is charged, besides its length.
const NAME_COST: u64 = 192;

/// What a file system is made with.
pub struct Options {
    /// Most pages.
    pub pages: u64,
    /// Most inodes.
    pub inodes: u64,
    /// Its number.
    pub dev: u64,
    /// Permissions of its root.
    pub mode: u32,
}

impl Tmpfs {
    /// Makes a file system; returns its root.
    pub fn create(
        control: &Arc<MemoryControl>,
        open_device: &Arc<OpenDevice>,
        options: &Options,
        now: Timespec,
    ) -> Result<Arc<dyn Inode>, Errno> {
        let fs = Arc::new(Self {
            control: control.clone(),
            quota: PageQuota::new(options.pages),
            dev: options.dev,
            next_ino: AtomicU64::new(1),
            inodes: AtomicU64::new(0),
            max_inodes: options.inodes,
            open_device: open_device.clone(),
        });
        let new = NewInode {
            mode: FileKind::Directory.bits() | options.mode,
            uid: 0,
            gid: 0,
            rdev: DeviceId::default(),
            target: &[],
            now,
        };
        let root = fs.new_inode(&new)?;
        root.attributes.lock().nlink = 2;
        Ok(root)
    }

    fn new_inode(self: &Arc<Self>, new: &NewInode<'_>) -> Result<Arc<TmpInode>, Errno> {
        let kind = FileKind::from_mode(new.mode).ok_or(Errno::EINVAL)?;
        let charge = self.control.charge(INODE_COST + new.target.len() as u64).map_err(|_| Errno::ENOSPC)?;
        let body = match kind {
            FileKind::Directory => Body::Directory(Mutex::default()),
            FileKind::Regular => Body::File(PageCache::new(&self.control, &self.quota)),
            FileKind::Symlink => Body::Symlink(new.target.to_vec()),
            FileKind::CharDevice | FileKind::BlockDevice => Body::Device(new.rdev),
            FileKind::Fifo => Body::Fifo(Mutex::default()),
            FileKind::Socket => Body::Socket,
        };
        let full = |n: u64| (n < self.max_inodes).then_some(n + 1);
        self.inodes.fetch_update(Ordering::AcqRel, Ordering::Acquire, full).map_err(|_| Errno::ENOSPC)?;
        let attributes = Attributes {
            mode: new.mode,
            nlink: 0,
            uid: new.uid,
            gid: new.gid,
            atime: new.now,
            mtime: new.now,
            ctime: new.now,
        };
        Ok(Arc::new_cyclic(|this| TmpInode {
            fs: self.clone(),
            this: this.clone(),
            ino: self.next_ino.fetch_add(1, Ordering::Relaxed),
            attributes: Mutex::new(attributes),
            xattrs: Mutex::default(),
            linkable: AtomicBool::new(false),
            body,
            _charge: charge,
        }))
    }
}

#[derive(Clone, Copy)]
struct Attributes {
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    atime: Timespec,
    mtime: Timespec,
    ctime: Timespec,
}

/// An inode of a tmpfs.
pub struct TmpInode {
    fs: Arc<Tmpfs>,
    this: Weak<TmpInode>,
    ino: u64,
    attributes: Mutex<Attributes>,
    xattrs: Mutex<Option<Arc<MemoryXattrs>>>,
    /// Has no name yet and may get one.
    linkable: AtomicBool,
    body: Body,
    _charge: Charge,
}

enum Body {
    Directory(Mutex<Directory>),
    File(Arc<PageCache>),
    Symlink(Vec<u8>),
    Device(DeviceId),
    Fifo(Mutex<Option<Arc<Pipe>>>),
    Socket,
}

/// Names in two orders: by name, and by when they came, which is how a reader goes through them without missing any.
#[derive(Default)]
struct Directory {
    names: BTreeMap<Vec<u8>, Entry>,
    order: BTreeMap<u64, Vec<u8>>,
    last: u64,
    /// Removed: nothing may be made in it any more.
    dead: bool,
}

struct Entry {
    inode: Arc<TmpInode>,
    place: u64,
    _charge: Charge,
}

impl Directory {
    fn insert(&mut self, name: &[u8], inode: Arc<TmpInode>, charge: Charge) {
        // Places below 2 are those of `.` and `..`.
        self.last = self.last.max(1) + 1;
        let entry = Entry { inode, place: self.last, _charge: charge };
        self.order.insert(self.last, name.to_vec());
        self.names.insert(name.to_vec(), entry);
    }
    fn remove(&mut self, name: &[u8]) -> Option<Arc<TmpInode>> {
        let entry = self.names.remove(name)?;
        self.order.remove(&entry.place);
        Some(entry.inode)
    }
    fn get(&self, name: &[u8]) -> Option<&Arc<TmpInode>> {
        self.names.get(name).map(|e| &e.inode)
    }
}

impl TmpInode {
    fn directory(&self) -> Result<&Mutex<Directory>, Errno> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn is_dir(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    fn touch(&self, now: Timespec) {
        let mut attributes = self.attributes.lock();
        attributes.mtime = now;
        attributes.ctime = now;
    }

    /// Adds to the link count and notes the change.
    fn relink(&self, by: i32, now: Timespec) {
        let mut attributes = self.attributes.lock();
        attributes.nlink = attributes.nlink.saturating_add_signed(by);
        attributes.ctime = now;
    }

    /// Mode and group of something new in this directory: one with the set-group-ID bit gives its own group.
    fn inherited(&self, new: &NewInode<'_>) -> (u32, u32) {
        let mine = *self.attributes.lock();
        if mine.mode & S_ISGID == 0 {
            return (new.mode, new.gid);
        }
        let is_dir = new.mode & FileKind::MASK == FileKind::Directory.bits();
        (new.mode | if is_dir { S_ISGID } else { 0 }, mine.gid)
    }

    fn charge_name(&self, name: &[u8]) -> Result<Charge, Errno> {
        self.fs.control.charge(NAME_COST + 2 * name.len() as u64).map_err(|_| Errno::ENOSPC)
    }

    /// Whether it is a directory with names in it.
    fn is_full(&self) -> bool {
        self.directory().is_ok_and(|d| !d.lock().names.is_empty())
    }

    fn own<'a>(&self, inode: &'a Arc<dyn Inode>) -> Result<&'a TmpInode, Errno> {
        let other = inode.as_any().downcast_ref::<TmpInode>().ok_or(Errno::EXDEV)?;
        if Arc::ptr_eq(&self.fs, &other.fs) { Ok(other) } else { Err(Errno::EXDEV) }
    }

    /// What replacing `old` by `new` takes: both directories or neither, and an empty one.
    fn check_replace(new: &TmpInode, old: &TmpInode) -> Result<(), Errno> {
        match (new.is_dir(), old.is_dir()) {
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            (true, true) if old.is_full() => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Counts a name less.
    fn drop_name(&self, now: Timespec) {
        if let Body::Directory(directory) = &self.body {
            directory.lock().dead = true;
            self.relink(-2, now);
        } else {
            self.relink(-1, now);
        }
    }
}

impl Inode for TmpInode {
    fn metadata(&self) -> Metadata {
        let a = *self.attributes.lock();
        let (size, blocks) = match &self.body {
            Body::File(cache) => (cache.size(), cache.resident_pages() * (PAGE_SIZE / 512)),
            Body::Symlink(target) => (target.len() as u64, 0),
            Body::Directory(directory) => (directory.lock().names.len() as u64 * 20 + 40, 0),
            _ => (0, 0),
        };
        let rdev = if let Body::Device(id) = self.body { id } else { DeviceId::default() };
        Metadata {
            dev: self.fs.dev,
            ino: self.ino,
            mode: a.mode,
            nlink: a.nlink,
            uid: a.uid,
            gid: a.gid,
            rdev,
            size,
            blocks,
            atime: a.atime,
            mtime: a.mtime,
            ctime: a.ctime,
        }
    }

    fn owner(&self) -> Owner {
        let a = self.attributes.lock();
        Owner { mode: a.mode, uid: a.uid, gid: a.gid }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn xattrs(&self, _: bool) -> Result<Arc<dyn Xattrs>, Errno> {
        Ok(self.xattrs.lock().get_or_insert_with(|| MemoryXattrs::new(&self.fs.control)).clone() as Arc<dyn Xattrs>)
    }

    fn statfs(&self) -> Statfs {
        let free = self.fs.quota.limit() - self.fs.quota.used().min(self.fs.quota.limit());
        let free = free.min(self.fs.control.available_frames());
        Statfs {
            kind: 0x0102_1994,
            bsize: PAGE_SIZE.cast_signed(),
            blocks: self.fs.quota.limit(),
            bfree: free,
            bavail: free,
            files: self.fs.max_inodes,
            ffree: self.fs.max_inodes.saturating_sub(self.fs.inodes.load(Ordering::Relaxed)),
            namelen: 255,
            frsize: PAGE_SIZE.cast_signed(),
            ..Statfs::default()
        }
    }

    fn change(&self, change: &AttributeChange) -> Result<(), Errno> {
        let mut a = self.attributes.lock();
        if let (Some(mode), Some(cache)) = (change.mode, self.cache())
            && cache.seals().contains(crate::memory::cache::Seals::EXEC)
            && (a.mode ^ mode) & 0o111 != 0
        {
            return Err(Errno::EPERM);
        }
        if let Some(mode) = change.mode {
            a.mode = (a.mode & FileKind::MASK) | (mode & 0o7777);
        }
        a.uid = change.uid.unwrap_or(a.uid);
        a.gid = change.gid.unwrap_or(a.gid);
        if let SetTime::To(time) = change.atime {
            a.atime = time;
        }
        if let SetTime::To(time) = change.mtime {
            a.mtime = time;
        }
        a.ctime = change.now;
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let directory = self.directory()?.lock();
        let inode = directory.get(name).ok_or(Errno::ENOENT)?;
        Ok(inode.clone())
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let directory = self.directory()?;
        let charge = self.charge_name(name)?;
        let (mode, gid) = self.inherited(new);
        let mut directory = directory.lock();
        if directory.dead {
            return Err(Errno::ENOENT);
        }
        if directory.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let inode = self.fs.new_inode(&NewInode { mode, gid, ..*new })?;
        inode.attributes.lock().nlink = if inode.is_dir() { 2 } else { 1 };
        directory.insert(name, inode.clone(), charge);
        drop(directory);
        if inode.is_dir() {
            self.relink(1, new.now);
        }
        self.touch(new.now);
        Ok(inode)
    }

    fn create_unnamed(&self, new: &NewInode<'_>, linkable: bool) -> Result<Arc<dyn Inode>, Errno> {
        if self.directory()?.lock().dead {
            return Err(Errno::ENOENT);
        }
        let (mode, gid) = self.inherited(new);
        let inode = self.fs.new_inode(&NewInode { mode, gid, ..*new })?;
        inode.linkable.store(linkable, Ordering::Relaxed);
        Ok(inode)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>, now: Timespec) -> Result<(), Errno> {
        let other = self.own(inode)?;
        if other.is_dir() {
            return Err(Errno::EPERM);
        }
        let unnamed = other.attributes.lock().nlink == 0;
        if unnamed && !other.linkable.load(Ordering::Relaxed) {
            return Err(Errno::ENOENT);
        }
        let charge = self.charge_name(name)?;
        let mut directory = self.directory()?.lock();
        if directory.dead {
            return Err(Errno::ENOENT);
        }
        if directory.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        directory.insert(name, other.this.upgrade().ok_or(Errno::ENOENT)?, charge);
        drop(directory);
        other.linkable.store(false, Ordering::Relaxed);
        other.relink(1, now);
        self.touch(now);
        Ok(())
    }

    fn unlink(&self, name: &[u8], want_directory: bool, now: Timespec) -> Result<(), Errno> {
        let mut directory = self.directory()?.lock();
        let inode = directory.get(name).ok_or(Errno::ENOENT)?.clone();
        match (inode.is_dir(), want_directory) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if inode.is_full() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        directory.remove(name);
        drop(directory);
        inode.drop_name(now);
        if want_directory {
            self.relink(-1, now);
        }
        self.touch(now);
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        to: &Arc<dyn Inode>,
        to_name: &[u8],
        exchange: bool,
        now: Timespec,
    ) -> Result<(), Errno> {
        let target = self.own(to)?;
        let charges = (self.charge_name(name)?, target.charge_name(to_name)?);
        let moving = self.directory()?.lock().get(name).ok_or(Errno::ENOENT)?.clone();
        let there = target.directory()?.lock().get(to_name).cloned();
        if target.directory()?.lock().dead {
            return Err(Errno::ENOENT);
        }
        let (dirs_here, dirs_there) =
            (i32::from(moving.is_dir()), i32::from(there.as_ref().is_some_and(|t| t.is_dir())));
        if exchange {
            let other = there.ok_or(Errno::ENOENT)?;
            self.directory()?.lock().remove(name);
            target.directory()?.lock().remove(to_name);
            self.directory()?.lock().insert(name, other.clone(), charges.0);
            target.directory()?.lock().insert(to_name, moving.clone(), charges.1);
            self.relink(dirs_there - dirs_here, now);
            target.relink(dirs_here - dirs_there, now);
            other.relink(0, now);
        } else {
            if let Some(old) = &there {
                if Arc::ptr_eq(old, &moving) {
                    return Ok(());
                }
                Self::check_replace(&moving, old)?;
            }
            self.directory()?.lock().remove(name);
            if let Some(old) = target.directory()?.lock().remove(to_name) {
                old.drop_name(now);
            }
            target.directory()?.lock().insert(to_name, moving.clone(), charges.1);
            self.relink(-dirs_here, now);
            target.relink(dirs_here - dirs_there, now);
        }
        moving.relink(0, now);
        self.touch(now);
        target.touch(now);
        Ok(())
    }

    fn read_dir(&self, cursor: u64, each: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Errno> {
        let directory = self.directory()?.lock();
        for (&place, name) in directory.order.range(cursor..) {
            let Some(inode) = directory.get(name) else { continue };
            let kind = FileKind::from_mode(inode.attributes.lock().mode).unwrap_or(FileKind::Regular);
            if !each(DirEntry { name, ino: inode.ino, kind, next: place + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        match &self.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn cache(&self) -> Option<&Arc<PageCache>> {
        match &self.body {
            Body::File(cache) => Some(cache),
            _ => None,
        }
    }

    fn truncate(&self, size: u64, now: Timespec) -> Result<(), Errno> {
        if self.is_dir() {
            return Err(Errno::EISDIR);
        }
        if size > MAX_FILE_SIZE {
            return Err(Errno::EFBIG);
        }
        let cache = self.cache().ok_or(Errno::EINVAL)?;
        cache.may_resize(size)?;
        cache.resize(size);
        self.touch(now);
        Ok(())
    }

    fn open(&self, _readable: bool, _writable: bool) -> Option<Result<Arc<dyn FileOps>, Errno>> {
        match &self.body {
            Body::Device(id) => {
                let kind = FileKind::from_mode(self.attributes.lock().mode).unwrap_or(FileKind::CharDevice);
                Some((self.fs.open_device)(kind, *id))
            }
            Body::Socket => Some(Err(Errno::ENXIO)),
            _ => None,
        }
    }

    fn fifo(&self) -> Option<Arc<Pipe>> {
        let Body::Fifo(pipe) = &self.body else { return None };
        Some(pipe.lock().get_or_insert_with(|| Pipe::new(&self.fs.control)).clone())
    }
}

impl Drop for TmpInode {
    fn drop(&mut self) {
        self.fs.inodes.fetch_sub(1, Ordering::AcqRel);
        // A deep tree is taken apart level by level, not by recursion.
        let mut todo = Vec::new();
        if let Body::Directory(directory) = &self.body {
            todo.extend(core::mem::take(&mut directory.lock().names).into_values().map(|e| e.inode));
        }
        while let Some(inode) = todo.pop() {
            if let (Body::Directory(directory), 1) = (&inode.body, Arc::strong_count(&inode)) {
                todo.extend(core::mem::take(&mut directory.lock().names).into_values().map(|e| e.inode));
            }
        }
    }
}
