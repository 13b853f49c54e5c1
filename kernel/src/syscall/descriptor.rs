//! Opening and descriptors: open(2), close(2), dup(2), fcntl(2), pipe(2), ioctl(2).

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_machine::VirtAddr;

use crate::fs::{DirectoryFile, RegularFile};
use crate::ipc::inotify;
use crate::ipc::pipe::{CAPACITY, Pipe};
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::security::{READ, WRITE};
use crate::syscall::lock::{Command, record_lock};
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::tty::TtyFile;
use crate::tty::pty::MasterFile;
use crate::vfs::file::{CloseWatcher, FILE_COST, IoctlArgs};
use crate::vfs::inode::DeviceId;
use crate::vfs::mount::MountFlags;
use crate::vfs::path::{Follow, Target};
use crate::vfs::{AT_FDCWD, Fd, FileKind, FileOps, NewInode, OpenFile, OpenFlags, PathRef};

pub(super) async fn open(cx: &mut Context<'_>, path: UserPtr<CStr>, flags: u32, mode: u32) -> SysResult {
    openat(cx, AT_FDCWD, path, flags, mode).await
}

pub(super) async fn creat(cx: &mut Context<'_>, path: UserPtr<CStr>, mode: u32) -> SysResult {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(cx, AT_FDCWD, path, flags.bits(), mode).await
}

pub(super) async fn openat(cx: &mut Context<'_>, dirfd: Fd, path: UserPtr<CStr>, flags: u32, mode: u32) -> SysResult {
    let mut flags = OpenFlags::from_bits_truncate(flags);
    if flags.contains(OpenFlags::PATH) {
        flags &= OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
    }
    let name = cx.path(path).await?;
    let fd = open_at(cx, dirfd, &name, flags, mode).await?;
    Ok(u64::from(fd.0.cast_unsigned()))
}

/// Opens what a path names and gives it a descriptor.
pub(super) async fn open_at(
    cx: &Context<'_>,
    dirfd: Fd,
    name: &[u8],
    flags: OpenFlags,
    mode: u32,
) -> Result<Fd, Errno> {
    let file = open_path(cx, dirfd, name, flags, mode).await?;
    let limit = cx.thread.process.limits.get(Resource::Files);
    cx.thread.files().add(file, flags.contains(OpenFlags::CLOEXEC), 0, limit)
}

async fn open_path(
    cx: &Context<'_>,
    dirfd: Fd,
    name: &[u8],
    flags: OpenFlags,
    mode: u32,
) -> Result<Arc<OpenFile>, Errno> {
    let charge = cx.kernel().memory.charge(FILE_COST).map_err(|_| Errno::ENFILE)?;
    let (place, created) = find(cx, dirfd, name, flags, mode)?;
    let inode = place.inode().clone();
    let metadata = inode.metadata();
    let kind = metadata.kind();
    let reads = !flags.contains(OpenFlags::WRONLY);
    let writes = flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR);
    if kind == FileKind::Symlink && !flags.contains(OpenFlags::PATH) {
        return Err(Errno::ELOOP);
    }
    if flags.contains(OpenFlags::DIRECTORY) && !metadata.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    if flags.contains(OpenFlags::PATH) {
        return Ok(OpenFile::new(Some(place), inode, Arc::new(DirectoryFile), flags, charge));
    }
    if metadata.is_dir() && (writes || flags.contains(OpenFlags::CREAT)) {
        return Err(Errno::EISDIR);
    }
    let changes = writes || flags.contains(OpenFlags::TRUNC);
    let changes_file = changes && matches!(kind, FileKind::Regular | FileKind::Directory);
    if changes_file && place.mount.flags().contains(MountFlags::RDONLY) {
        return Err(Errno::EROFS);
    }
    if !created {
        let want = if reads { READ } else { 0 } | if changes { WRITE } else { 0 };
        cx.thread.process.credentials().may_access(&metadata, want)?;
        if changes && kind == FileKind::Regular && is_executing(cx, &place) {
            return Err(Errno::ETXTBSY);
        }
    }
    let ops = operations(cx, &place, kind, flags, reads, writes).await?;
    if flags.contains(OpenFlags::TRUNC) && kind == FileKind::Regular && !created {
        inode.truncate(0, cx.kernel().now())?;
    }
    let kept = flags - (OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOCTTY | OpenFlags::TRUNC | OpenFlags::CLOEXEC);
    let file = OpenFile::new(Some(place), inode, ops, kept, charge);
    let watches: Weak<dyn CloseWatcher> = Arc::downgrade(&cx.kernel().watches) as _;
    file.watch_close(watches);
    cx.kernel().watches.tell_file(&file, inotify::OPEN);
    if flags.contains(OpenFlags::TRUNC) && !created {
        cx.kernel().watches.tell_file(&file, inotify::MODIFY);
    }
    if let Some(tty) = file.ops.terminal().filter(|_| reads && !flags.contains(OpenFlags::NOCTTY)) {
        // The first terminal a session's leader opens becomes its own; for others nothing happens.
        let _ = tty.become_controlling(cx.thread, false);
    }
    Ok(file)
}

/// Whether some process executes the file.
fn is_executing(cx: &Context<'_>, place: &PathRef) -> bool {
    let same = |p: &PathRef| Arc::ptr_eq(p.inode(), place.inode());
    cx.kernel().processes.processes().iter().any(|p| p.executable.lock().as_ref().is_some_and(same))
}

/// Finds what to open, making it if the flags say so. Tells whether it was made.
fn find(cx: &Context<'_>, dirfd: Fd, name: &[u8], flags: OpenFlags, mode: u32) -> Result<(PathRef, bool), Errno> {
    if !flags.contains(OpenFlags::CREAT) {
        let follow = if flags.contains(OpenFlags::NOFOLLOW) { Follow::No } else { Follow::Yes };
        return Ok((cx.resolve(dirfd, name, follow)?, false));
    }
    let credentials = cx.thread.process.credentials();
    let lookup = cx.thread.lookup_from(&credentials, cx.start_of(dirfd, name)?);
    let exclusive = flags.contains(OpenFlags::EXCL);
    let target = if exclusive || flags.contains(OpenFlags::NOFOLLOW) {
        lookup.target(name)?
    } else {
        lookup.target_following(name)?
    };
    match target.found {
        Some(_) if exclusive => Err(Errno::EEXIST),
        Some(found) => Ok((found, false)),
        None if target.slash => Err(Errno::EISDIR),
        None => {
            let mode = FileKind::Regular.bits() | mode & 0o7777 & !cx.thread.fs().umask();
            Ok((cx.make(&target, mode, DeviceId::default(), &[])?, true))
        }
    }
}

impl Context<'_> {
    /// Makes a new inode under a name that is free.
    pub(super) fn make(&self, target: &Target, mode: u32, rdev: DeviceId, link: &[u8]) -> Result<PathRef, Errno> {
        let parent = &target.parent;
        if parent.mount.flags().contains(MountFlags::RDONLY) {
            return Err(Errno::EROFS);
        }
        let credentials = self.thread.process.credentials();
        let metadata = parent.inode().metadata();
        credentials.may_access(&metadata, WRITE | crate::security::EXECUTE)?;
        if parent.dentry.is_removed() {
            return Err(Errno::ENOENT);
        }
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

async fn operations(
    cx: &Context<'_>,
    place: &PathRef,
    kind: FileKind,
    flags: OpenFlags,
    reads: bool,
    writes: bool,
) -> Result<Arc<dyn FileOps>, Errno> {
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    if is_device && place.mount.flags().contains(MountFlags::NODEV) {
        return Err(Errno::EACCES);
    }
    if is_device && place.inode().metadata().rdev == crate::fs::devfs::CONTROLLING_TTY {
        let tty = cx.thread.process.terminal.lock().clone().ok_or(Errno::ENXIO)?;
        return Ok(Arc::new(TtyFile::new(&tty)));
    }
    if is_device && place.inode().metadata().rdev == crate::tty::pty::MASTER {
        let credentials = cx.thread.process.credentials();
        return Ok(Arc::new(MasterFile::open(cx.kernel(), (credentials.fsuid, credentials.fsgid))?));
    }
    if let Some(pipe) = place.inode().fifo() {
        return open_fifo(cx, &pipe, flags, reads, writes).await;
    }
    if let Some(ops) = place.inode().open(reads, writes) {
        return ops;
    }
    Ok(match kind {
        FileKind::Directory => Arc::new(DirectoryFile),
        _ => Arc::new(RegularFile),
    })
}

/// fifo(7): an end waits until the other one is opened, too.
async fn open_fifo(
    cx: &Context<'_>,
    pipe: &Arc<Pipe>,
    flags: OpenFlags,
    reads: bool,
    writes: bool,
) -> Result<Arc<dyn FileOps>, Errno> {
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

pub(super) async fn close(cx: &mut Context<'_>, fd: Fd) -> SysResult {
    let file = cx.thread.files().remove(fd)?;
    if file.inode.cache().is_some() {
        // Closing any descriptor of a file gives up the process's record locks on it.
        let metadata = file.inode.metadata();
        cx.kernel().record_locks.release(cx.thread.process.pid, (metadata.dev, metadata.ino));
    }
    drop(file);
    Ok(0)
}

const CLOSE_RANGE_UNSHARE: u32 = 2;
const CLOSE_RANGE_CLOEXEC: u32 = 4;

pub(super) async fn close_range(cx: &mut Context<'_>, first: u32, last: u32, flags: u32) -> SysResult {
    if first > last || flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        let own = cx.thread.files().fork();
        drop(cx.thread.set_files(Some(own)));
    }
    let files = cx.thread.files();
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        files.mark_close_on_exec(u64::from(first), u64::from(last));
    } else {
        drop(files.take(|fd, _| (first..=last).contains(&fd.0.cast_unsigned())));
    }
    Ok(0)
}

pub(super) async fn dup(cx: &mut Context<'_>, fd: Fd) -> SysResult {
    duplicate(cx, fd, 0, false)
}

fn duplicate(cx: &Context<'_>, fd: Fd, from: u64, close_on_exec: bool) -> SysResult {
    let files = cx.thread.files();
    let file = files.get(fd)?;
    let limit = cx.thread.process.limits.get(Resource::Files);
    if from >= limit {
        return Err(Errno::EINVAL);
    }
    let new = files.add(file, close_on_exec, from, limit)?;
    Ok(u64::from(new.0.cast_unsigned()))
}

pub(super) async fn dup2(cx: &mut Context<'_>, old: Fd, new: Fd) -> SysResult {
    if old == new {
        cx.thread.files().get(old)?;
        return Ok(u64::from(new.0.cast_unsigned()));
    }
    dup3(cx, old, new, 0).await
}

pub(super) async fn dup3(cx: &mut Context<'_>, old: Fd, new: Fd, flags: u32) -> SysResult {
    if flags & !OpenFlags::CLOEXEC.bits() != 0 || old == new {
        return Err(Errno::EINVAL);
    }
    let files = cx.thread.files();
    let file = files.get(old)?;
    let limit = cx.thread.process.limits.get(Resource::Files);
    drop(files.replace(new, file, flags != 0, limit)?);
    Ok(u64::from(new.0.cast_unsigned()))
}

const F_DUPFD: u32 = 0;
const F_GETFD: u32 = 1;
const F_SETFD: u32 = 2;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_GETLK: u32 = 5;
const F_SETLK: u32 = 6;
const F_SETLKW: u32 = 7;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_GETPIPE_SZ: u32 = 1032;

pub(super) async fn fcntl(cx: &mut Context<'_>, fd: Fd, command: u32, argument: u64) -> SysResult {
    let files = cx.thread.files();
    let file = files.get(fd)?;
    if file.flags().contains(OpenFlags::PATH)
        && !matches!(command, F_DUPFD | F_DUPFD_CLOEXEC | F_GETFD | F_SETFD | F_GETFL)
    {
        return Err(Errno::EBADF);
    }
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => duplicate(cx, fd, argument, command == F_DUPFD_CLOEXEC),
        F_GETFD => files.close_on_exec(fd).map(u64::from),
        F_SETFD => files.set_close_on_exec(fd, argument & 1 != 0).map(|()| 0),
        F_GETFL => {
            // Every open of a path is for large files on x86-64.
            let large = if file.path.is_some() { OpenFlags::LARGEFILE } else { OpenFlags::empty() };
            Ok(u64::from((file.flags() | large).bits()))
        }
        F_SETFL => {
            file.set_flags(OpenFlags::from_bits_truncate(crate::num::low32(argument)));
            Ok(0)
        }
        F_GETLK | F_SETLK | F_SETLKW => {
            let command = match command {
                F_GETLK => Command::Get,
                F_SETLK => Command::Set,
                _ => Command::SetWait,
            };
            record_lock(cx, &file, command, UserPtr::new(argument)).await
        }
        F_GETPIPE_SZ => file.ops.pipe().map(|_| CAPACITY as u64).ok_or(Errno::EBADF),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) async fn pipe(cx: &mut Context<'_>, fds: UserPtr<[i32; 2]>) -> SysResult {
    pipe2(cx, fds, 0).await
}

pub(super) async fn pipe2(cx: &mut Context<'_>, fds: UserPtr<[i32; 2]>, flags: u32) -> SysResult {
    let flags = OpenFlags::from_bits_retain(flags);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT).contains(flags) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(OpenFlags::DIRECT) {
        // Packet mode is not offered.
        return Err(Errno::EINVAL);
    }
    let kernel = cx.kernel();
    let charges = (kernel.memory.charge(FILE_COST * 2), kernel.memory.charge(FILE_COST));
    let (Ok(first), Ok(second)) = charges else { return Err(Errno::ENFILE) };
    let credentials = cx.thread.process.credentials();
    let inode = kernel.anonymous.create(FileKind::Fifo, 0o600, credentials.fsuid, credentials.fsgid, kernel.now());
    let pipe = Pipe::new(&kernel.memory);
    let kept = flags & OpenFlags::NONBLOCK;
    let reader = OpenFile::new(None, inode.clone(), pipe.end(true, false), kept, first);
    let writer = OpenFile::new(None, inode, pipe.end(false, true), kept | OpenFlags::WRONLY, second);
    let (files, limit) = (cx.thread.files(), cx.thread.process.limits.get(Resource::Files));
    let close_on_exec = flags.contains(OpenFlags::CLOEXEC);
    let read_fd = files.add(reader, close_on_exec, 0, limit)?;
    let write_fd = match files.add(writer, close_on_exec, 0, limit) {
        Ok(fd) => fd,
        Err(errno) => {
            drop(files.remove(read_fd));
            return Err(errno);
        }
    };
    if let Err(errno) = fds.store(&*cx.space()?, &[read_fd.0, write_fd.0]).await {
        drop((files.remove(read_fd), files.remove(write_fd)));
        return Err(errno);
    }
    Ok(0)
}

const FIOCLEX: u32 = 0x5451;
const FIONCLEX: u32 = 0x5450;
const FIONBIO: u32 = 0x5421;
const FIONREAD: u32 = 0x541b;

pub(super) async fn ioctl(cx: &mut Context<'_>, fd: Fd, request: u32, argument: u64) -> SysResult {
    let file = cx.thread.file(fd)?;
    let space = cx.space()?;
    match request {
        FIOCLEX | FIONCLEX => {
            cx.thread.files().set_close_on_exec(fd, request == FIOCLEX)?;
            return Ok(0);
        }
        FIONBIO => {
            let on = UserPtr::<i32>::new(argument).load(&space).await? != 0;
            let mut flags = file.flags();
            flags.set(OpenFlags::NONBLOCK, on);
            file.set_flags(flags);
            return Ok(0);
        }
        FIONREAD if file.inode.cache().is_some() => {
            let left = file.ops.size(&file).saturating_sub(*file.offset.lock());
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            UserPtr::<i32>::new(argument).store(&space, &left).await?;
            return Ok(0);
        }
        _ => {}
    }
    let mut input = [0; 64];
    let input = input.get_mut(..file.ops.ioctl_input(request)).unwrap_or_default();
    space.copy_in(VirtAddr(argument), input).await?;
    let args = IoctlArgs { request, arg: argument, thread: cx.thread };
    let answer = file.ops.ioctl(&file, &args, input)?;
    space.copy_out(VirtAddr(argument), &answer.out).await?;
    Ok(answer.value)
}
