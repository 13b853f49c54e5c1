//! overlay: directories laid over one another, filesystems/overlayfs.rst.
//!
//! A file is in the upper layer or in the highest lower one that has it; a directory shows the names of all layers. What
//! is changed is copied up first. A name that was removed but is in a lower layer is covered by a whiteout, a character
//! device 0:0, and a directory with `trusted.overlay.opaque` shows nothing from below it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use aurora_abi::Errno;
use aurora_abi::types::{Statfs, Timespec};
use aurora_machine::PAGE_SIZE;

use crate::Kernel;
use crate::memory::{IoBuf, IoError, PageCache};
use crate::sync::Mutex;
use crate::vfs::inode::{DeviceId, Owner};
use crate::vfs::xattr::{Existing, Xattrs};
use crate::vfs::{AttributeChange, DirEntry, FileKind, FileOps, Inode, Metadata, NewInode, SetTime};

const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// OVERLAYFS_SUPER_MAGIC.
const MAGIC: i64 = 0x794c_7630;

/// What an overlay is made of.
#[derive(Default)]
pub struct Layers {
    /// Highest first.
    pub lower: Vec<Arc<dyn Inode>>,
    /// Where changes go; without one, nothing can be changed.
    pub upper: Option<Arc<dyn Inode>>,
    /// A directory of the upper layer's file system. Copies here are whole at once, so nothing is put in it.
    pub work: Option<Arc<dyn Inode>>,
}

/// Names of a directory, each with inode number and type, or none for what is covered.
type Names = BTreeMap<Vec<u8>, Option<(u64, FileKind)>>;

struct Overlay {
    dev: u64,
    writable: bool,
}

/// Makes an overlay; returns its root.
pub fn mount(kernel: &Kernel, layers: Layers) -> Result<Arc<dyn Inode>, Errno> {
    if layers.lower.is_empty() || layers.upper.is_some() != layers.work.is_some() {
        return Err(Errno::EINVAL);
    }
    if let (Some(upper), Some(work)) = (&layers.upper, &layers.work)
        && (upper.metadata().dev != work.metadata().dev || Arc::ptr_eq(upper, work))
    {
        return Err(Errno::EINVAL);
    }
    let dev = kernel.next_dev.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    let fs = Arc::new(Overlay { dev, writable: layers.upper.is_some() });
    Ok(OverlayInode::new(&fs, None, layers.upper, layers.lower))
}

/// An inode of an overlay.
struct OverlayInode {
    fs: Arc<Overlay>,
    this: alloc::sync::Weak<OverlayInode>,
    /// The directory it was found in, and its name there: where it is copied up to.
    origin: Mutex<Option<(Arc<OverlayInode>, Vec<u8>)>>,
    upper: spin::Once<Arc<dyn Inode>>,
    lower: Vec<Arc<dyn Inode>>,
    /// One inode a name, so that everyone who has it sees it copied up.
    known: Mutex<BTreeMap<Vec<u8>, alloc::sync::Weak<OverlayInode>>>,
}

fn is_whiteout(inode: &Arc<dyn Inode>) -> bool {
    let m = inode.metadata();
    m.kind() == FileKind::CharDevice && m.rdev == DeviceId::default()
}

fn is_opaque(inode: &Arc<dyn Inode>) -> bool {
    inode.xattrs(false).and_then(|x| x.get(OPAQUE)).is_ok_and(|v| v == b"y")
}

/// A name in a directory; `None` if it is not there.
fn find(directory: &Arc<dyn Inode>, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
    match directory.lookup(name) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

impl OverlayInode {
    fn new(
        fs: &Arc<Overlay>,
        origin: Option<(Arc<OverlayInode>, Vec<u8>)>,
        upper: Option<Arc<dyn Inode>>,
        lower: Vec<Arc<dyn Inode>>,
    ) -> Arc<Self> {
        let once = spin::Once::new();
        if let Some(upper) = upper {
            once.call_once(|| upper);
        }
        Arc::new_cyclic(|this| Self {
            fs: fs.clone(),
            this: this.clone(),
            origin: Mutex::new(origin),
            upper: once,
            lower,
            known: Mutex::default(),
        })
    }

    /// The inode that counts.
    fn current(&self) -> Result<&Arc<dyn Inode>, Errno> {
        self.upper.get().or(self.lower.first()).ok_or(Errno::ENOENT)
    }

    fn own(&self, inode: &Arc<dyn Inode>) -> Result<Arc<OverlayInode>, Errno> {
        let any: Arc<dyn Any + Send + Sync> = inode.clone();
        let mine = any.downcast::<OverlayInode>().map_err(|_| Errno::EXDEV)?;
        if Arc::ptr_eq(&mine.fs, &self.fs) { Ok(mine) } else { Err(Errno::EXDEV) }
    }

    /// Layers of a name: in the upper one, and in those below that show through.
    #[allow(clippy::type_complexity)]
    fn layers(&self, name: &[u8]) -> Result<(Option<Arc<dyn Inode>>, Vec<Arc<dyn Inode>>), Errno> {
        let mut upper = None;
        if let Some(directory) = self.upper.get()
            && let Some(found) = find(directory, name)?
        {
            if is_whiteout(&found) {
                return Ok((None, Vec::new()));
            }
            let covers = !found.metadata().is_dir() || is_opaque(&found);
            upper = Some(found);
            if covers {
                return Ok((upper, Vec::new()));
            }
        }
        if self.upper.get().is_some_and(is_opaque) {
            return Ok((upper, Vec::new()));
        }
        let mut lower: Vec<Arc<dyn Inode>> = Vec::new();
        for directory in &self.lower {
            let Some(found) = find(directory, name)? else { continue };
            let is_dir = found.metadata().is_dir();
            let stacked = upper.is_some() || !lower.is_empty();
            if is_whiteout(&found) || stacked && !is_dir {
                break;
            }
            let covers = !is_dir || is_opaque(&found);
            lower.push(found);
            if covers {
                break;
            }
        }
        Ok((upper, lower))
    }

    fn child(self: &Arc<Self>, name: &[u8]) -> Result<Arc<OverlayInode>, Errno> {
        let mut known = self.known.lock();
        if let Some(child) = known.get(name).and_then(alloc::sync::Weak::upgrade) {
            return Ok(child);
        }
        let (upper, lower) = self.layers(name)?;
        if upper.is_none() && lower.is_empty() {
            return Err(Errno::ENOENT);
        }
        let child = Self::new(&self.fs, Some((self.clone(), name.to_vec())), upper, lower);
        known.insert(name.to_vec(), Arc::downgrade(&child));
        known.retain(|_, c| c.strong_count() > 0);
        Ok(child)
    }

    fn me(&self) -> Result<Arc<OverlayInode>, Errno> {
        self.this.upgrade().ok_or(Errno::ENOENT)
    }

    /// The inode in the upper layer, copied there if need be.
    fn copied_up(&self) -> Result<&Arc<dyn Inode>, Errno> {
        if let Some(upper) = self.upper.get() {
            return Ok(upper);
        }
        if !self.fs.writable {
            return Err(Errno::EROFS);
        }
        let (parent, name) = self.origin.lock().clone().ok_or(Errno::EROFS)?;
        let directory = parent.copied_up()?;
        let source = self.current()?;
        let m = source.metadata();
        let link = if m.kind() == FileKind::Symlink { source.read_link()? } else { Vec::new() };
        let new = NewInode { mode: m.mode, uid: m.uid, gid: m.gid, rdev: m.rdev, target: &link, now: m.ctime };
        let copy = match m.kind() {
            // A file gets its name when it is whole.
            FileKind::Regular => {
                let copy = directory.create_unnamed(&new, true)?;
                if let (Some(from), Some(to)) = (source.cache(), copy.cache()) {
                    copy_contents(from, to)?;
                }
                directory.link(&name, &copy, m.ctime)?;
                copy
            }
            _ => directory.create(&name, &new)?,
        };
        if let (Ok(from), Ok(to)) = (source.xattrs(false), copy.xattrs(true)) {
            to.copy_from(&*from)?;
        }
        let times = AttributeChange {
            mode: Some(m.mode & 0o7777),
            atime: SetTime::To(m.atime),
            mtime: SetTime::To(m.mtime),
            ..AttributeChange::at(m.ctime)
        };
        copy.change(&times)?;
        Ok(self.upper.call_once(|| copy))
    }

    /// Whether a lower layer has the name, so that removing it needs a whiteout.
    fn shows_through(&self, name: &[u8]) -> bool {
        !self.upper.get().is_some_and(is_opaque)
            && self.lower.iter().any(|d| find(d, name).is_ok_and(|f| f.is_some_and(|f| !is_whiteout(&f))))
    }

    fn cover(directory: &Arc<dyn Inode>, name: &[u8], now: Timespec) -> Result<(), Errno> {
        let mode = FileKind::CharDevice.bits();
        directory.create(name, &NewInode { mode, uid: 0, gid: 0, rdev: DeviceId::default(), target: &[], now })?;
        Ok(())
    }

    /// All names, each once.
    fn names(&self) -> Result<Names, Errno> {
        let mut names = Names::new();
        let opaque = self.upper.get().is_some_and(is_opaque);
        let below = if opaque { &[][..] } else { &self.lower };
        for directory in self.upper.get().into_iter().chain(below) {
            let mut here = Vec::new();
            directory.read_dir(2, &mut |entry| {
                here.push((entry.name.to_vec(), entry.ino, entry.kind));
                true
            })?;
            for (name, ino, kind) in here {
                let whiteout = kind == FileKind::CharDevice && find(directory, &name)?.is_some_and(|f| is_whiteout(&f));
                names.entry(name).or_insert((!whiteout).then_some((ino, kind)));
            }
        }
        Ok(names)
    }

    fn is_empty(&self) -> Result<bool, Errno> {
        Ok(self.names()?.values().all(Option::is_none))
    }

    /// Takes whiteouts out of a directory of the upper layer that is to go.
    fn sweep(directory: &Arc<dyn Inode>, now: Timespec) -> Result<(), Errno> {
        let mut names = Vec::new();
        directory.read_dir(2, &mut |entry| {
            names.push(entry.name.to_vec());
            true
        })?;
        names.iter().try_for_each(|name| directory.unlink(name, false, now))
    }

    /// Removes the name from the upper layer, covering what is below.
    fn take_away(&self, name: &[u8], child: &OverlayInode, now: Timespec) -> Result<(), Errno> {
        let directory = self.copied_up()?;
        if let Some(upper) = child.upper.get() {
            let is_dir = upper.metadata().is_dir();
            if is_dir {
                Self::sweep(upper, now)?;
            }
            directory.unlink(name, is_dir, now)?;
        }
        if self.shows_through(name) {
            Self::cover(directory, name, now)?;
        }
        self.known.lock().remove(name);
        Ok(())
    }

    /// Takes a whiteout away that stands where something is made. Tells whether there was one.
    fn uncover(&self, name: &[u8], now: Timespec) -> Result<bool, Errno> {
        let directory = self.copied_up()?;
        match find(directory, name)? {
            Some(there) if is_whiteout(&there) => directory.unlink(name, false, now).map(|()| true),
            _ => Ok(false),
        }
    }
}

fn copy_contents(from: &Arc<PageCache>, to: &Arc<PageCache>) -> Result<(), Errno> {
    let mut page = alloc::vec![0; crate::num::to_usize(PAGE_SIZE)];
    let size = from.size();
    let mut at = 0;
    while let Some(data) = from.seek(at, false).filter(|&d| d < size) {
        let start = data & !(PAGE_SIZE - 1);
        let n = from.read_at(start, &mut IoBuf::kernel_out(&mut page)).map_err(IoError::errno)?;
        to.write_at(start, &mut IoBuf::kernel_in(page.get(..n).unwrap_or_default())).map_err(IoError::errno)?;
        at = start + PAGE_SIZE;
    }
    to.resize(size);
    Ok(())
}

impl Inode for OverlayInode {
    fn metadata(&self) -> Metadata {
        match self.current() {
            Ok(inode) => Metadata { dev: self.fs.dev, ..inode.metadata() },
            Err(_) => Metadata::nothing(),
        }
    }

    fn owner(&self) -> Owner {
        self.current().map_or(Owner { mode: 0, uid: 0, gid: 0 }, |inode| inode.owner())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> Statfs {
        let below = self.current().map(|i| i.statfs()).unwrap_or_default();
        Statfs { kind: MAGIC, ..below }
    }

    fn file_system(&self) -> Option<Arc<dyn crate::vfs::FileSystem>> {
        self.current().ok()?.file_system()
    }

    fn change(&self, change: &AttributeChange) -> Result<(), Errno> {
        self.copied_up()?.change(change)
    }

    fn xattrs(&self, change: bool) -> Result<Arc<dyn Xattrs>, Errno> {
        if change { self.copied_up()?.xattrs(true) } else { self.current()?.xattrs(false) }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if !self.current()?.metadata().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        Ok(self.me()?.child(name)?)
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let me = self.me()?;
        if me.child(name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let covered = self.uncover(name, new.now)?;
        let made = self.copied_up()?.create(name, new)?;
        if covered && made.metadata().is_dir() {
            made.xattrs(true)?.set(OPAQUE, b"y", Existing::Any)?;
        }
        self.known.lock().remove(name);
        Ok(me.child(name)?)
    }

    fn create_unnamed(&self, new: &NewInode<'_>, linkable: bool) -> Result<Arc<dyn Inode>, Errno> {
        let made = self.copied_up()?.create_unnamed(new, linkable)?;
        Ok(Self::new(&self.fs, None, Some(made), Vec::new()))
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>, now: Timespec) -> Result<(), Errno> {
        let other = self.own(inode)?;
        if self.me()?.child(name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let upper = other.copied_up()?.clone();
        self.uncover(name, now)?;
        self.copied_up()?.link(name, &upper, now)?;
        self.known.lock().insert(name.to_vec(), Arc::downgrade(&other));
        Ok(())
    }

    fn unlink(&self, name: &[u8], directory: bool, now: Timespec) -> Result<(), Errno> {
        let child = self.me()?.child(name)?;
        match (child.metadata().is_dir(), directory) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if !child.is_empty()? => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.take_away(name, &child, now)
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
        let moving = self.me()?.child(name)?;
        let there = target.child(to_name).ok();
        let is_dir = |i: &OverlayInode| i.metadata().is_dir();
        // A directory with parts below would leave them behind: programs copy instead, as on Linux without redirects.
        let is_merged = |i: &OverlayInode| is_dir(i) && !i.lower.is_empty();
        if exchange || is_merged(&moving) {
            return Err(Errno::EXDEV);
        }
        if let Some(there) = &there {
            match (is_dir(&moving), is_dir(there)) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                (true, true) if !there.is_empty()? => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
        }
        moving.copied_up()?;
        let covered = target.shows_through(to_name);
        target.uncover(to_name, now)?;
        if let Some(upper) = there.as_ref().filter(|t| is_dir(t)).and_then(|t| t.upper.get()) {
            Self::sweep(upper, now)?;
        }
        self.copied_up()?.rename(name, target.copied_up()?, to_name, false, now)?;
        if covered && is_dir(&moving) {
            moving.copied_up()?.xattrs(true)?.set(OPAQUE, b"y", Existing::Any)?;
        }
        if self.shows_through(name) {
            Self::cover(self.copied_up()?, name, now)?;
        }
        self.known.lock().remove(name);
        *moving.origin.lock() = Some((target.clone(), to_name.to_vec()));
        target.known.lock().insert(to_name.to_vec(), Arc::downgrade(&moving));
        Ok(())
    }

    fn read_dir(&self, cursor: u64, each: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Errno> {
        if !self.current()?.metadata().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        for (i, (name, shown)) in self.names()?.iter().enumerate() {
            let place = i as u64 + 2;
            let Some((ino, kind)) = *shown else { continue };
            if place >= cursor && !each(DirEntry { name, ino, kind, next: place + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        self.current()?.read_link()
    }

    fn cache(&self) -> Option<&Arc<PageCache>> {
        self.current().ok()?.cache()
    }

    fn truncate(&self, size: u64, now: Timespec) -> Result<(), Errno> {
        self.copied_up()?.truncate(size, now)
    }

    fn open(&self, readable: bool, writable: bool) -> Option<Result<Arc<dyn FileOps>, Errno>> {
        let kind = self.owner().kind();
        if writable && kind == FileKind::Regular {
            return match self.copied_up() {
                Ok(upper) => upper.open(readable, writable),
                Err(errno) => Some(Err(errno)),
            };
        }
        self.current().ok()?.open(readable, writable)
    }

    fn fifo(&self) -> Option<Arc<crate::ipc::pipe::Pipe>> {
        self.current().ok()?.fifo()
    }
}
