//! Inodes as the kernel has them.
//!
//! Times change in memory and reach the disk with the next transaction; everything else joins the running transaction
//! at once. So does nobody pay for a transaction who only writes.

use alloc::collections::BTreeSet;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::ops::Range;

use aurora_abi::Errno;
use aurora_abi::types::{Statfs, Timespec};
use aurora_ext4::{self as format, Attributes, FileType, Ino, Progress, Rename, Unlinked};

use super::{Disk, timespec, timestamp};
use crate::ipc::pipe::Pipe;
use crate::kept::{Age, Aged};
use crate::memory::PageCache;
use crate::num::low16;
use crate::sync::Mutex;
use crate::vfs::inode::{Allocate, DeviceId, Owner, S_ISGID, SetTime};
use crate::vfs::xattr::Xattrs;
use crate::vfs::{AttributeChange, DirEntry, FileKind, FileOps, FileSystem, Inode, Metadata, NewInode};

/// An inode of a disk.
pub(super) struct DiskInode {
    pub(super) disk: Option<Arc<Disk>>,
    this: Weak<DiskInode>,
    ino: Ino,
    pub(super) state: Mutex<State>,
    cache: Option<Arc<PageCache>>,
    /// Blocks, counted from the file's start, whose contents were taken to be written and that are to be noted as written
    /// once they are. What is cut off or zeroed meanwhile is none of these any more: it must not get its old contents back.
    under_way: Mutex<BTreeSet<u64>>,
    pipe: Mutex<Option<Arc<Pipe>>>,
    age: Age,
}

impl Aged for DiskInode {
    fn age(&self) -> &Age {
        &self.age
    }
}

pub(super) struct State {
    pub(super) attributes: Attributes,
    /// Times changed since they were last in a transaction.
    pub(super) times_changed: bool,
}

fn kind_of(kind: FileType) -> FileKind {
    match kind {
        FileType::Regular => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::CharDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
    }
}

impl DiskInode {
    pub(super) fn new(disk: Option<Arc<Disk>>, attributes: Attributes) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let is_file = attributes.kind == FileType::Regular;
            let control = disk.as_ref().filter(|_| is_file).map(|disk| disk.control.clone());
            Self {
                disk,
                this: this.clone(),
                ino: attributes.ino,
                cache: control.map(|control| PageCache::stored(&control, this.clone(), attributes.size)),
                state: Mutex::new(State { attributes, times_changed: false }),
                under_way: Mutex::default(),
                pipe: Mutex::default(),
                age: Age::default(),
            }
        })
    }

    pub(super) fn add_under_way(&self, blocks: Range<u64>) {
        self.under_way.lock().extend(blocks);
    }

    /// Some that are next to each other.
    pub(super) fn first_under_way(&self) -> Option<Range<u64>> {
        let under_way = self.under_way.lock();
        let first = *under_way.first()?;
        let count = under_way.iter().zip(first..).take_while(|(block, next)| *block == next).count();
        Some(first..first + count as u64)
    }

    /// These blocks count as written, or have other contents now.
    pub(super) fn drop_under_way(&self, blocks: Range<u64>) {
        let mut under_way = self.under_way.lock();
        let gone: Vec<u64> = under_way.range(blocks).copied().collect();
        for block in gone {
            under_way.remove(&block);
        }
    }

    pub(super) fn ino(&self) -> Ino {
        self.ino
    }

    pub(super) fn disk(&self) -> Result<&Arc<Disk>, Errno> {
        self.disk.as_ref().ok_or(Errno::EIO)
    }

    /// Has it written with the next transaction.
    pub(super) fn mark_dirty(&self) {
        let (Some(disk), Some(this)) = (&self.disk, self.this.upgrade()) else { return };
        let first = {
            let mut dirty = disk.dirty.lock();
            let first = dirty.is_empty();
            dirty.insert(self.ino, this);
            first
        };
        if first {
            disk.work.wake_all();
        }
    }

    /// Takes over what an operation has changed. Times that are not in a transaction yet stay.
    fn renew(&self, new: Attributes) {
        let mut state = self.state.lock();
        let old = core::mem::replace(&mut state.attributes, new);
        if state.times_changed {
            state.attributes.atime = old.atime;
            state.attributes.mtime = old.mtime.max(new.mtime);
            state.attributes.ctime = old.ctime.max(new.ctime);
        }
    }

    /// Asks the disk for its attributes again.
    pub(super) fn refresh(&self) {
        // They were just changed, so they are in memory.
        if let Some(disk) = &self.disk
            && let Ok(new) = disk.ext4.lock().attributes(self.ino)
        {
            self.renew(new);
        }
    }

    fn directory(&self) -> Result<&Arc<Disk>, Errno> {
        if self.state.lock().attributes.kind == FileType::Directory { self.disk() } else { Err(Errno::ENOTDIR) }
    }

    /// What an operation on a name has left of an inode.
    fn unlinked(&self, disk: &Disk, gone: Unlinked) {
        match disk.known(gone.ino) {
            Some(inode) => {
                inode.refresh();
                if gone.links == 0 {
                    disk.kept.let_go(&inode);
                }
            }
            None if gone.links == 0 => disk.add_orphan(gone.ino),
            None => {}
        }
    }

    fn own<'a>(&self, inode: &'a Arc<dyn Inode>) -> Result<&'a DiskInode, Errno> {
        let other = inode.as_any().downcast_ref::<DiskInode>().ok_or(Errno::EXDEV)?;
        match (&self.disk, &other.disk) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Ok(other),
            _ => Err(Errno::EXDEV),
        }
    }

    fn make(&self, name: Option<&[u8]>, new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let disk = self.directory()?;
        let kind = FileKind::from_mode(new.mode).ok_or(Errno::EINVAL)?;
        let mine = self.owner();
        let inherits = mine.mode & S_ISGID != 0;
        let group_bit = if inherits && kind == FileKind::Directory { S_ISGID } else { 0 };
        let made = format::NewInode {
            kind: FileType::from_mode(low16(u64::from(new.mode))).ok_or(Errno::EINVAL)?,
            permissions: low16(u64::from((new.mode | group_bit) & 0o7777)),
            uid: new.uid,
            gid: if inherits { mine.gid } else { new.gid },
            device: format::Device { major: new.rdev.major, minor: new.rdev.minor },
            target: new.target,
            xattrs: &[],
        };
        let by = disk.by(new.now);
        let attributes = disk.attempt(|ext4| match name {
            Some(name) => ext4.create(self.ino, name, &made, by),
            None => ext4.create_unnamed(self.ino, &made, by),
        })?;
        self.refresh();
        Ok(disk.adopt(attributes))
    }

    /// Repeats steps of a long operation.
    fn steps(&self, mut step: impl FnMut(&mut format::Ext4) -> format::Result<Progress>) -> Result<(), Errno> {
        let disk = self.disk()?;
        while disk.attempt(&mut step)? == Progress::More {}
        self.refresh();
        Ok(())
    }
}

impl Inode for DiskInode {
    fn metadata(&self) -> Metadata {
        let a = self.state.lock().attributes;
        Metadata {
            dev: self.disk.as_ref().map_or(0, |disk| disk.dev),
            ino: a.ino.into(),
            mode: kind_of(a.kind).bits() | u32::from(a.permissions),
            nlink: a.links,
            uid: a.uid,
            gid: a.gid,
            rdev: DeviceId::new(a.device.major, a.device.minor),
            size: self.cache.as_ref().map_or(a.size, |cache| cache.size()),
            blocks: a.sectors,
            atime: timespec(a.atime),
            mtime: timespec(a.mtime),
            ctime: timespec(a.ctime),
        }
    }

    fn owner(&self) -> Owner {
        let a = &self.state.lock().attributes;
        Owner { mode: kind_of(a.kind).bits() | u32::from(a.permissions), uid: a.uid, gid: a.gid }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn file_system(&self) -> Option<Arc<dyn FileSystem>> {
        self.disk.clone().map(|disk| disk as Arc<dyn FileSystem>)
    }

    fn statfs(&self) -> Statfs {
        let Some(disk) = &self.disk else { return Statfs::default() };
        let s = disk.ext4.lock().statfs();
        Statfs {
            kind: 0xef53,
            bsize: i64::from(s.block_size).cast_unsigned().cast_signed(),
            blocks: s.blocks,
            bfree: s.free,
            bavail: s.available,
            files: s.inodes,
            ffree: s.free_inodes,
            namelen: 255,
            frsize: i64::from(s.block_size),
            ..Statfs::default()
        }
    }

    fn change(&self, change: &AttributeChange) -> Result<(), Errno> {
        let set = |time| if let SetTime::To(time) = time { Some(timestamp(time)) } else { None };
        let (atime, mtime) = (set(change.atime), set(change.mtime));
        let disk = self.disk()?;
        let only_times = change.mode.is_none() && change.uid.is_none() && change.gid.is_none();
        if disk.ext4.lock().is_read_only() {
            return Err(Errno::EROFS);
        }
        if only_times {
            let mut state = self.state.lock();
            let a = &mut state.attributes;
            let old = (a.atime, a.mtime, a.ctime);
            let new = (atime.unwrap_or(a.atime), mtime.unwrap_or(a.mtime), timestamp(change.now));
            // Within a tick there is nothing new.
            if old == new {
                return Ok(());
            }
            (a.atime, a.mtime, a.ctime) = new;
            state.times_changed = true;
            drop(state);
            self.mark_dirty();
            return Ok(());
        }
        let change = format::AttributeChange {
            permissions: change.mode.map(|mode| low16(u64::from(mode & 0o7777))),
            uid: change.uid,
            gid: change.gid,
            atime,
            mtime,
            ctime: Some(timestamp(change.now)),
            flags: None,
        };
        disk.attempt(|ext4| ext4.set_attributes(self.ino, &change))?;
        self.refresh();
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let disk = self.directory()?;
        let found = disk.attempt(|ext4| ext4.lookup(self.ino, name))?;
        Ok(disk.inode(found.ino)?)
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        self.make(Some(name), new)
    }

    fn create_unnamed(&self, new: &NewInode<'_>, linkable: bool) -> Result<Arc<dyn Inode>, Errno> {
        let inode = self.make(None, new)?;
        if let Some(own) = inode.as_any().downcast_ref::<Self>().filter(|_| !linkable) {
            own.state.lock().attributes.flags |= format::InodeFlags::IMMUTABLE;
        }
        Ok(inode)
    }

    fn xattrs(&self, _: bool) -> Result<Arc<dyn Xattrs>, Errno> {
        Ok(Arc::new(super::xattr::DiskXattrs(self.this.upgrade().ok_or(Errno::EIO)?)))
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>, now: Timespec) -> Result<(), Errno> {
        let (disk, other) = (self.directory()?, self.own(inode)?);
        let a = other.state.lock().attributes;
        if a.kind == FileType::Directory {
            return Err(Errno::EPERM);
        }
        if a.links == 0 && a.flags.contains(format::InodeFlags::IMMUTABLE) {
            return Err(Errno::ENOENT);
        }
        let by = disk.by(now);
        disk.attempt(|ext4| ext4.link(other.ino, self.ino, name, by))?;
        other.refresh();
        self.refresh();
        Ok(())
    }

    fn unlink(&self, name: &[u8], directory: bool, now: Timespec) -> Result<(), Errno> {
        let disk = self.directory()?;
        let by = disk.by(now);
        let gone = disk.attempt(|ext4| match directory {
            true => ext4.remove_dir(self.ino, name, by),
            false => ext4.unlink(self.ino, name, by),
        })?;
        self.unlinked(disk, gone);
        self.refresh();
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
        let (disk, target) = (self.directory()?, self.own(to)?);
        let (how, by) = (if exchange { Rename::Exchange } else { Rename::Replace }, disk.by(now));
        let gone = disk.attempt(|ext4| ext4.rename((self.ino, name), (target.ino, to_name), how, by))?;
        if let Some(gone) = gone {
            self.unlinked(disk, gone);
        }
        for (dir, name) in [(target, to_name), (self, name)] {
            let moved = disk.ext4.lock().lookup(dir.ino, name).ok().and_then(|found| disk.known(found.ino));
            if let Some(moved) = moved {
                moved.refresh();
            }
        }
        self.refresh();
        target.refresh();
        Ok(())
    }

    fn read_dir(&self, cursor: u64, each: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Errno> {
        const AT_ONCE: u64 = 128;
        let disk = self.directory()?;
        // Places of `.` and `..` are the caller's; ours start at the directory's beginning.
        let mut position = cursor.saturating_sub(FIRST_CURSOR);
        let mut given = false;
        loop {
            let entries = match disk.attempt(|ext4| ext4.read_dir(self.ino, position, AT_ONCE)) {
                Ok(entries) => entries,
                // What came so far is an answer; the rest is asked for again.
                Err(Errno::EMISSING) if given => {
                    drop(disk.control.misses().take());
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            };
            let Some(last) = entries.last() else { return Ok(()) };
            position = last.next;
            for entry in entries.iter().filter(|e| e.name != b"." && e.name != b"..") {
                let kind = match entry.kind {
                    Some(kind) => kind_of(kind),
                    None => kind_of(disk.attempt(|ext4| ext4.attributes(entry.ino))?.kind),
                };
                let next = entry.next + FIRST_CURSOR;
                if !each(DirEntry { name: &entry.name, ino: entry.ino.into(), kind, next }) {
                    return Ok(());
                }
                given = true;
            }
        }
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        if self.state.lock().attributes.kind != FileType::Symlink {
            return Err(Errno::EINVAL);
        }
        self.disk()?.attempt(|ext4| ext4.read_link(self.ino))
    }

    fn cache(&self) -> Option<&Arc<PageCache>> {
        self.cache.as_ref()
    }

    fn seek(&self, from: u64, hole: bool) -> Result<Option<u64>, Errno> {
        self.seek_contents(from, hole)
    }

    fn allocate(&self, how: Allocate, bytes: Range<u64>) -> Result<(), Errno> {
        self.allocate_contents(how, bytes)
    }

    fn truncate(&self, size: u64, now: Timespec) -> Result<(), Errno> {
        let attributes = self.state.lock().attributes;
        let (disk, cache) = match (attributes.kind, &self.cache) {
            (FileType::Directory, _) => return Err(Errno::EISDIR),
            (_, None) => return Err(Errno::EINVAL),
            (_, Some(cache)) => (self.disk()?, cache),
        };
        if size > disk.ext4.lock().max_file_size(attributes.flags.contains(format::InodeFlags::EXTENTS)) {
            return Err(Errno::EFBIG);
        }
        let by = disk.by(now);
        self.move_out(cache, by)?;
        let old = cache.size();
        if size < old {
            if attributes.size < old {
                // What was written and never reached the disk is part of what is cut off.
                disk.attempt(|ext4| ext4.grow(self.ino, old, by))?;
            }
            self.cut(cache, size)?;
        } else {
            cache.resize(size);
        }
        self.steps(|ext4| ext4.truncate(self.ino, size, by))?;
        self.change(&AttributeChange { mtime: SetTime::To(now), ..AttributeChange::at(now) })
    }

    fn open(&self, _: bool, _: bool) -> Option<Result<Arc<dyn FileOps>, Errno>> {
        let a = self.state.lock().attributes;
        match kind_of(a.kind) {
            kind @ (FileKind::CharDevice | FileKind::BlockDevice) => {
                let id = DeviceId::new(a.device.major, a.device.minor);
                Some(self.disk().and_then(|disk| (disk.open_device)(kind, id)))
            }
            FileKind::Socket => Some(Err(Errno::ENXIO)),
            _ => None,
        }
    }

    fn fifo(&self) -> Option<Arc<Pipe>> {
        let disk = self.disk.as_ref().filter(|_| self.state.lock().attributes.kind == FileType::Fifo)?;
        Some(self.pipe.lock().get_or_insert_with(|| Pipe::new(&disk.control)).clone())
    }
}

/// Where names start for who reads a directory: `.` and `..` come before.
const FIRST_CURSOR: u64 = 2;

impl Drop for DiskInode {
    fn drop(&mut self) {
        let links = self.state.lock().attributes.links;
        let Some(disk) = self.disk.take() else { return };
        let mut inodes = disk.inodes.lock();
        if inodes.get(&self.ino).is_some_and(|known| known.strong_count() == 0) {
            inodes.remove(&self.ino);
        }
        drop(inodes);
        if links == 0 {
            disk.add_orphan(self.ino);
        }
    }
}
