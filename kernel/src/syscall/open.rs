//! Opening: open(2), openat2(2), and what an inode's type makes of it.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use aurora_abi::types::OpenHow;
use aurora_abi::{Abi, Errno};

use crate::block::BlockFile;
use crate::fs::{DirectoryFile, RegularFile};
use crate::ipc::inotify;
use crate::ipc::pipe::Pipe;
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::num::{low32, to_usize};
use crate::security::{READ, WRITE};
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::tty::TtyFile;
use crate::tty::pty::MasterFile;
use crate::vfs::file::{CloseWatcher, FILE_COST};
use crate::vfs::inode::DeviceId;
use crate::vfs::mount::MountFlags;
use crate::vfs::path::{Follow, Target};
use crate::vfs::{AT_FDCWD, Dentry, Fd, FileKind, FileOps, Lookup, NewInode, OpenFile, OpenFlags, PathRef, Resolve};

/// Flags that mean something together with `O_PATH`.
const PATH_FLAGS: OpenFlags =
    OpenFlags::PATH.union(OpenFlags::DIRECTORY).union(OpenFlags::NOFOLLOW).union(OpenFlags::CLOEXEC);

/// How a file is to be opened.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) flags: OpenFlags,
    pub(super) mode: u32,
    pub(super) resolve: Resolve,
}

impl How {
    /// What open(2) and openat(2) say: unknown flags are ignored.
    pub(super) fn new(flags: u32, mode: u32) -> Self {
        let mut flags = OpenFlags::from_bits_truncate(flags);
        if flags.contains(OpenFlags::PATH) {
            flags &= PATH_FLAGS;
        }
        let creates = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE);
        Self { flags, mode: if creates { mode & 0o7777 } else { 0 }, resolve: Resolve::empty() }
    }

    /// What openat2(2) says: everything unknown is refused.
    fn strict(how: &OpenHow) -> Result<Self, Errno> {
        let flags = u32::try_from(how.flags).ok().and_then(OpenFlags::from_bits).ok_or(Errno::EINVAL)?;
        let resolve = Resolve::from_bits(how.resolve).ok_or(Errno::EINVAL)?;
        let creates = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE);
        let bad_mode = if creates { how.mode & !0o7777 != 0 } else { how.mode != 0 };
        let bad = resolve.contains(Resolve::BENEATH | Resolve::IN_ROOT)
            || bad_mode
            || flags.contains(OpenFlags::PATH) && !PATH_FLAGS.contains(flags);
        if bad {
            return Err(Errno::EINVAL);
        }
        let made = OpenFlags::CREAT | OpenFlags::TMPFILE | OpenFlags::TRUNC;
        if resolve.contains(Resolve::CACHED) && flags.intersects(made) {
            return Err(Errno::EAGAIN);
        }
        Ok(Self { flags, mode: low32(how.mode), resolve })
    }

    /// Combinations every call refuses.
    fn check(&self) -> Result<(), Errno> {
        let flags = self.flags;
        let tmpfile = flags.contains(OpenFlags::TMPFILE);
        let bad = flags.contains(OpenFlags::DIRECTORY | OpenFlags::CREAT)
            || tmpfile && (!flags.contains(OpenFlags::DIRECTORY) || !self.writes());
        if bad { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// The right to read is asked for.
    fn reads(&self) -> bool {
        !self.flags.contains(OpenFlags::WRONLY) || self.flags.contains(OpenFlags::RDWR)
    }

    /// The right to write is asked for.
    fn writes(&self) -> bool {
        self.flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR)
    }
}

pub(super) async fn open(cx: &mut Context<'_>, path: UserPtr<CStr>, flags: u32, mode: u32) -> SysResult {
    openat(cx, AT_FDCWD, path, flags, mode).await
}

pub(super) async fn creat(cx: &mut Context<'_>, path: UserPtr<CStr>, mode: u32) -> SysResult {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(cx, AT_FDCWD, path, flags.bits(), mode).await
}

pub(super) async fn openat(cx: &mut Context<'_>, dirfd: Fd, path: UserPtr<CStr>, flags: u32, mode: u32) -> SysResult {
    let how = How::new(flags, mode);
    how.check()?;
    let name = cx.path(path).await?;
    let fd = open_at(cx, dirfd, &name, how).await?;
    Ok(u64::from(fd.0.cast_unsigned()))
}

pub(super) async fn openat2(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    how: UserPtr<OpenHow>,
    size: u64,
) -> SysResult {
    let how = How::strict(&cx.versioned(how, size).await?)?;
    how.check()?;
    let name = cx.path(path).await?;
    let fd = open_at(cx, dirfd, &name, how).await?;
    Ok(u64::from(fd.0.cast_unsigned()))
}

/// Opens what a path names and gives it a descriptor.
pub(super) async fn open_at(cx: &Context<'_>, dirfd: Fd, name: &[u8], how: How) -> Result<Fd, Errno> {
    let limit = cx.thread.process.limits.get(Resource::Files);
    if !cx.thread.files().has_room(limit) {
        return Err(Errno::EMFILE);
    }
    let file = open_path(cx, dirfd, name, how).await?;
    cx.thread.files().add(file, how.flags.contains(OpenFlags::CLOEXEC), 0, limit)
}

async fn open_path(cx: &Context<'_>, dirfd: Fd, name: &[u8], how: How) -> Result<Arc<OpenFile>, Errno> {
    let flags = how.flags;
    let charge = cx.kernel().memory.charge(FILE_COST).map_err(|_| Errno::ENFILE)?;
    let (place, created) = find(cx, dirfd, name, how)?;
    let inode = place.inode().clone();
    let metadata = inode.metadata();
    let kind = metadata.kind();
    if flags.contains(OpenFlags::DIRECTORY) && !metadata.is_dir() && !created {
        return Err(Errno::ENOTDIR);
    }
    if flags.contains(OpenFlags::PATH) {
        return Ok(OpenFile::new(Some(place), inode, Arc::new(DirectoryFile), flags - OpenFlags::CLOEXEC, charge));
    }
    let changes = how.writes() || flags.contains(OpenFlags::TRUNC);
    match kind {
        FileKind::Symlink => return Err(Errno::ELOOP),
        FileKind::Directory if changes || flags.contains(OpenFlags::CREAT) => return Err(Errno::EISDIR),
        FileKind::CharDevice | FileKind::BlockDevice if place.mount.flags().contains(MountFlags::NODEV) => {
            return Err(Errno::EACCES);
        }
        _ => {}
    }
    if !created {
        may_open(cx, &place, how, changes)?;
    }
    let ops = operations(cx, &place, kind, how).await?;
    if flags.contains(OpenFlags::TRUNC) && kind == FileKind::Regular && !created {
        inode.truncate(0, cx.kernel().now())?;
    }
    let once = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOCTTY | OpenFlags::TRUNC | OpenFlags::CLOEXEC;
    let file = OpenFile::new(Some(place), inode, ops, (flags - once) | OpenFlags::LARGEFILE, charge);
    let watches: Weak<dyn CloseWatcher> = Arc::downgrade(&cx.kernel().watches) as _;
    file.watch_close(watches);
    cx.kernel().watches.tell_file(&file, inotify::OPEN);
    if flags.contains(OpenFlags::TRUNC) && !created {
        cx.kernel().watches.tell_file(&file, inotify::MODIFY);
    }
    if let Some(tty) = file.ops.terminal().filter(|_| how.reads() && !flags.contains(OpenFlags::NOCTTY)) {
        // The first terminal a session's leader opens becomes its own; for others nothing happens.
        let _ = tty.become_controlling(cx.thread, false);
    }
    Ok(file)
}

/// Whether an existing file may be opened so.
fn may_open(cx: &Context<'_>, place: &PathRef, how: How, changes: bool) -> Result<(), Errno> {
    let metadata = place.inode().metadata();
    let credentials = cx.thread.process.credentials();
    let is_regular = metadata.kind() == FileKind::Regular;
    let want = if how.reads() { READ } else { 0 } | if changes { WRITE } else { 0 };
    credentials.may_access(&metadata, want)?;
    if how.flags.contains(OpenFlags::NOATIME) && !credentials.owns(&metadata) {
        return Err(Errno::EPERM);
    }
    if changes && is_regular && place.mount.flags().contains(MountFlags::RDONLY) {
        return Err(Errno::EROFS);
    }
    if changes && is_regular && is_executing(cx, place) {
        return Err(Errno::ETXTBSY);
    }
    Ok(())
}

/// Whether some process executes the file.
fn is_executing(cx: &Context<'_>, place: &PathRef) -> bool {
    let same = |p: &PathRef| Arc::ptr_eq(p.inode(), place.inode());
    cx.kernel().processes.processes().iter().any(|p| p.executable.lock().as_ref().is_some_and(same))
}

/// Finds what to open, making it if the flags say so. Tells whether it was made.
fn find(cx: &Context<'_>, dirfd: Fd, name: &[u8], how: How) -> Result<(PathRef, bool), Errno> {
    let flags = how.flags;
    let credentials = cx.thread.process.credentials();
    // With IN_ROOT even an absolute path starts at the directory.
    let relative = if how.resolve.contains(Resolve::IN_ROOT) { &b"."[..] } else { name };
    let start = cx.start_of(dirfd, relative)?;
    let lookup = Lookup { resolve: how.resolve, ..cx.thread.lookup_from(&credentials, start) };
    let exclusive = flags.contains(OpenFlags::EXCL);
    if flags.contains(OpenFlags::TMPFILE) {
        let directory = lookup.resolve(name, Follow::Yes)?;
        return Ok((unnamed(cx, &directory, how.mode, !exclusive)?, true));
    }
    let nofollow = flags.contains(OpenFlags::NOFOLLOW);
    if !flags.contains(OpenFlags::CREAT) {
        return Ok((lookup.resolve(name, if nofollow { Follow::No } else { Follow::Yes })?, false));
    }
    let target = if exclusive || nofollow { lookup.target(name)? } else { lookup.target_following(name)? };
    match target.found {
        Some(_) if exclusive => Err(Errno::EEXIST),
        Some(found) => Ok((found, false)),
        None if target.slash => Err(Errno::EISDIR),
        None => {
            let mode = FileKind::Regular.bits() | how.mode & !cx.thread.fs().umask();
            Ok((cx.make(&target, mode, DeviceId::default(), &[])?, true))
        }
    }
}

/// A new file without a name, `O_TMPFILE`.
fn unnamed(cx: &Context<'_>, directory: &PathRef, mode: u32, linkable: bool) -> Result<PathRef, Errno> {
    let metadata = directory.inode().metadata();
    if !metadata.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    if directory.mount.flags().contains(MountFlags::RDONLY) {
        return Err(Errno::EROFS);
    }
    let credentials = cx.thread.process.credentials();
    credentials.may_access(&metadata, WRITE | crate::security::EXECUTE)?;
    let new = NewInode {
        mode: FileKind::Regular.bits() | mode & !cx.thread.fs().umask(),
        uid: credentials.fsuid,
        gid: credentials.fsgid,
        rdev: DeviceId::default(),
        target: &[],
        now: cx.kernel().now(),
    };
    let inode = directory.inode().create_unnamed(&new, linkable)?;
    let name = alloc::format!("#{}", inode.metadata().ino).into_bytes();
    let dentry = Dentry::unnamed(name, Some(directory.dentry.clone()), inode);
    Ok(PathRef { mount: directory.mount.clone(), dentry })
}

impl Context<'_> {
    /// Makes a new inode under a name that is free.
    pub(super) fn make(&self, target: &Target, mode: u32, rdev: DeviceId, link: &[u8]) -> Result<PathRef, Errno> {
        let parent = &target.parent;
        if parent.mount.flags().contains(MountFlags::RDONLY) {
            return Err(Errno::EROFS);
        }
        if parent.dentry.is_removed() {
            return Err(Errno::ENOENT);
        }
        let credentials = self.thread.process.credentials();
        let metadata = parent.inode().metadata();
        credentials.may_access(&metadata, WRITE | crate::security::EXECUTE)?;
        let new = NewInode {
            mode,
            uid: credentials.fsuid,
            gid: credentials.fsgid,
            rdev,
            target: link,
            now: self.kernel().now(),
        };
        let inode = parent.inode().create(&target.name, &new)?;
        let dentry = parent.dentry.adopt(&target.name, inode, &self.kernel().vfs.recent);
        let is_dir = FileKind::from_mode(mode) == Some(FileKind::Directory);
        self.kernel().watches.tell_name(&parent.dentry, &target.name, is_dir, inotify::CREATE);
        Ok(PathRef { mount: parent.mount.clone(), dentry })
    }
}

async fn operations(cx: &Context<'_>, place: &PathRef, kind: FileKind, how: How) -> Result<Arc<dyn FileOps>, Errno> {
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    if is_device && place.inode().metadata().rdev == crate::fs::devfs::CONTROLLING_TTY {
        let tty = cx.thread.process.terminal.lock().clone().ok_or(Errno::ENXIO)?;
        return Ok(Arc::new(TtyFile::new(&tty)));
    }
    if is_device && place.inode().metadata().rdev == crate::tty::pty::MASTER {
        let credentials = cx.thread.process.credentials();
        return Ok(Arc::new(MasterFile::open(cx.kernel(), (credentials.fsuid, credentials.fsgid))?));
    }
    if let Some(pipe) = place.inode().fifo() {
        // One without a name was opened from both sides when it was made.
        let is_named = place.inode().metadata().dev != crate::fs::anonymous::DEV;
        return if is_named { open_fifo(cx, &pipe, how).await } else { Ok(pipe.end(how.reads(), how.writes())) };
    }
    if let Some(ops) = place.inode().open(how.reads(), how.writes()) {
        let ops = ops?;
        let disk = ops.as_any().and_then(|any| any.downcast_ref::<BlockFile>());
        // As Linux's disks that know: who is told so only when writing has lost what he wrote.
        if how.writes() && disk.is_some_and(BlockFile::is_read_only) {
            return Err(Errno::EROFS);
        }
        return Ok(ops);
    }
    Ok(match kind {
        FileKind::Directory => Arc::new(DirectoryFile),
        FileKind::Socket => return Err(Errno::ENXIO),
        _ => Arc::new(RegularFile),
    })
}

/// fifo(7): an end waits until the other one is opened, too.
async fn open_fifo(cx: &Context<'_>, pipe: &Arc<Pipe>, how: How) -> Result<Arc<dyn FileOps>, Errno> {
    let (flags, reads, writes) = (how.flags, how.reads(), how.writes());
    let nonblocking = flags.contains(OpenFlags::NONBLOCK);
    if writes && !reads && nonblocking && !pipe.has_ends().0 {
        return Err(Errno::ENXIO);
    }
    // An opening of the other end that came and went while we waited counts.
    let (readers, writers) = (pipe.reader_opens.load(Ordering::Acquire), pipe.writer_opens.load(Ordering::Acquire));
    let end = pipe.end(reads, writes);
    if reads == writes || nonblocking {
        return Ok(end);
    }
    let other_came = || {
        let (has_reader, has_writer) = pipe.has_ends();
        let came = if reads {
            has_writer || pipe.writer_opens.load(Ordering::Acquire) != writers
        } else {
            has_reader || pipe.reader_opens.load(Ordering::Acquire) != readers
        };
        came.then_some(())
    };
    cx.thread.interruptible(pipe.changed.wait(other_came)).await.ok_or(Errno::ERESTARTSYS)?;
    Ok(end)
}

impl Context<'_> {
    /// Reads a structure that grows from version to version (openat2(2), "Extensibility"): what a program does not know is
    /// zero, and what we do not know must be.
    pub(super) async fn versioned<T: Abi>(&self, at: UserPtr<T>, size: u64) -> Result<T, Errno> {
        self.versioned_from(at, size, T::SIZE as u64).await
    }

    /// The same where the first version was shorter: `least` bytes.
    pub(super) async fn versioned_from<T: Abi>(&self, at: UserPtr<T>, size: u64, least: u64) -> Result<T, Errno> {
        if size < least {
            return Err(Errno::EINVAL);
        }
        if size > aurora_machine::PAGE_SIZE {
            return Err(Errno::E2BIG);
        }
        let mut bytes = alloc::vec![0; to_usize(size)];
        self.space()?.copy_in(at.addr(), &mut bytes).await?;
        let unknown = bytes.get(T::SIZE..).unwrap_or_default();
        if unknown.iter().any(|&b| b != 0) { Err(Errno::E2BIG) } else { Ok(T::load(&bytes)) }
    }
}
