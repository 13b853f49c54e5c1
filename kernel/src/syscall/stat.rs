//! What files are: stat(2), statx(2), access(2), chmod(2), chown(2), utimensat(2), truncate(2), statfs(2).

use aurora_abi::Errno;
use aurora_abi::types::{Stat, Statfs, Statx, StatxTimestamp, Timespec, Timeval, Utimbuf};

use crate::ipc::inotify;
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::num::low16;
use crate::security::credentials::{CAP_CHOWN, CAP_FSETID};
use crate::security::{Kind, Rights, WRITE};
use crate::syscall::{Context, SysResult};
use crate::vfs::inode::{DeviceId, S_ISGID, S_ISUID};
use crate::vfs::mount::MountFlags;
use crate::vfs::path::Follow;
use crate::vfs::{AT_FDCWD, AttributeChange, Fd, FileKind, Inode, Metadata, PathRef, SetTime};
use alloc::sync::Arc;

const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
const AT_EACCESS: u32 = 0x200;
const AT_NO_AUTOMOUNT: u32 = 0x800;
const AT_EMPTY_PATH: u32 = 0x1000;
const AT_STATX_SYNC: u32 = 0x6000;

pub(super) fn to_stat(m: &Metadata) -> Stat {
    Stat {
        dev: m.dev,
        ino: m.ino,
        nlink: u64::from(m.nlink),
        mode: m.mode,
        uid: m.uid,
        gid: m.gid,
        rdev: m.rdev.encode(),
        size: m.size.cast_signed(),
        blksize: 4096,
        blocks: m.blocks.cast_signed(),
        atime: m.atime,
        mtime: m.mtime,
        ctime: m.ctime,
        ..Stat::default()
    }
}

pub(super) async fn stat(cx: &mut Context<'_>, path: UserPtr<CStr>, out: UserPtr<Stat>) -> SysResult {
    newfstatat(cx, AT_FDCWD, path, out, 0).await
}

pub(super) async fn lstat(cx: &mut Context<'_>, path: UserPtr<CStr>, out: UserPtr<Stat>) -> SysResult {
    newfstatat(cx, AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW).await
}

pub(super) async fn fstat(cx: &mut Context<'_>, fd: Fd, out: UserPtr<Stat>) -> SysResult {
    let metadata = cx.thread.files().get(fd)?.inode.metadata();
    out.store(&*cx.space()?, &to_stat(&metadata)).await?;
    Ok(0)
}

pub(super) async fn newfstatat(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    out: UserPtr<Stat>,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let metadata = subject(cx, dirfd, path, flags).await?.metadata();
    out.store(&*cx.space()?, &to_stat(&metadata)).await?;
    Ok(0)
}

/// The inode a path and `AT_*` flags mean.
async fn subject(cx: &Context<'_>, dirfd: Fd, path: UserPtr<CStr>, flags: u32) -> Result<Arc<dyn Inode>, Errno> {
    let name = cx.path(path).await?;
    if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
        if dirfd == AT_FDCWD {
            return Ok(cx.thread.fs().cwd().inode().clone());
        }
        return Ok(cx.thread.files().get(dirfd)?.inode.clone());
    }
    Ok(place(cx, dirfd, &name, flags)?.inode().clone())
}

fn place(cx: &Context<'_>, dirfd: Fd, name: &[u8], flags: u32) -> Result<PathRef, Errno> {
    let follow = if flags & AT_SYMLINK_NOFOLLOW != 0 { Follow::No } else { Follow::Yes };
    cx.resolve(dirfd, name, follow)
}

const STATX_BASIC_STATS: u32 = 0x7ff;

pub(super) async fn statx(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    flags: u32,
    mask: u32,
    out: UserPtr<Statx>,
) -> SysResult {
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC;
    if flags & !known != 0 || mask & 0x8000_0000 != 0 || flags & AT_STATX_SYNC == AT_STATX_SYNC {
        return Err(Errno::EINVAL);
    }
    let m = subject(cx, dirfd, path, flags).await?.metadata();
    let time = |t: Timespec| StatxTimestamp { sec: t.sec, nsec: u32::try_from(t.nsec).unwrap_or(0), pad: 0 };
    let dev = DeviceId::decode(m.dev);
    let value = Statx {
        mask: STATX_BASIC_STATS,
        blksize: 4096,
        nlink: m.nlink,
        uid: m.uid,
        gid: m.gid,
        mode: low16(u64::from(m.mode)),
        ino: m.ino,
        size: m.size,
        blocks: m.blocks,
        atime: time(m.atime),
        ctime: time(m.ctime),
        mtime: time(m.mtime),
        rdev_major: m.rdev.major,
        rdev_minor: m.rdev.minor,
        dev_major: dev.major,
        dev_minor: dev.minor,
        ..Statx::default()
    };
    out.store(&*cx.space()?, &value).await?;
    Ok(0)
}

pub(super) async fn access(cx: &mut Context<'_>, path: UserPtr<CStr>, mode: u32) -> SysResult {
    faccessat2(cx, AT_FDCWD, path, mode, 0).await
}

pub(super) async fn faccessat(cx: &mut Context<'_>, dirfd: Fd, path: UserPtr<CStr>, mode: u32) -> SysResult {
    faccessat2(cx, dirfd, path, mode, 0).await
}

pub(super) async fn faccessat2(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    mode: u32,
    flags: u32,
) -> SysResult {
    if mode & !7 != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = cx.path(path).await?;
    let mine = cx.thread.process.credentials();
    let asking = if flags & AT_EACCESS != 0 { (*mine).clone() } else { mine.as_real() };
    let found = if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
        empty_path(cx, dirfd)?
    } else {
        let follow = if flags & AT_SYMLINK_NOFOLLOW != 0 { Follow::No } else { Follow::Yes };
        cx.thread.lookup_from(&asking, cx.start_of(dirfd, &name)?).resolve(&name, follow)?
    };
    let metadata = found.inode().metadata();
    let read_only = found.mount.flags().contains(MountFlags::RDONLY);
    asking.may_access(&metadata, mode)?;
    let is_file = matches!(metadata.kind(), FileKind::Regular | FileKind::Directory);
    if mode & WRITE != 0 && read_only && is_file { Err(Errno::EROFS) } else { Ok(0) }
}

/// Applies a change to a file that may be changed at all.
fn apply(
    cx: &Context<'_>,
    place: Option<&PathRef>,
    inode: &Arc<dyn Inode>,
    change: &AttributeChange,
    event: u32,
) -> SysResult {
    if place.is_some_and(|p| p.mount.flags().contains(MountFlags::RDONLY)) {
        return Err(Errno::EROFS);
    }
    inode.change(change)?;
    if let Some(place) = place {
        cx.kernel().watches.tell(&place.dentry, event);
    }
    Ok(0)
}

pub(super) async fn chmod(cx: &mut Context<'_>, path: UserPtr<CStr>, mode: u32) -> SysResult {
    fchmodat(cx, AT_FDCWD, path, mode).await
}

pub(super) async fn fchmodat(cx: &mut Context<'_>, dirfd: Fd, path: UserPtr<CStr>, mode: u32) -> SysResult {
    fchmodat2(cx, dirfd, path, mode, 0).await
}

pub(super) async fn fchmodat2(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    mode: u32,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = cx.path(path).await?;
    if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
        let place = empty_path(cx, dirfd)?;
        return change_mode(cx, Some(&place), place.inode(), mode);
    }
    change_mode_of(cx, dirfd, &name, mode, flags)
}

/// Changes the permissions of what a path names.
pub(super) fn change_mode_of(cx: &Context<'_>, dirfd: Fd, name: &[u8], mode: u32, flags: u32) -> SysResult {
    let place = place(cx, dirfd, name, flags)?;
    if place.inode().kind() == FileKind::Symlink {
        // A link's own permissions mean nothing and cannot be set.
        return Err(Errno::EOPNOTSUPP);
    }
    change_mode(cx, Some(&place), place.inode(), mode)
}

/// What an empty path with `AT_EMPTY_PATH` names: an open file, or the working directory.
pub(super) fn empty_path(cx: &Context<'_>, dirfd: Fd) -> Result<PathRef, Errno> {
    if dirfd == AT_FDCWD {
        return Ok(cx.thread.fs().cwd());
    }
    let file = cx.thread.files().get(dirfd)?;
    Ok(file.path.clone().unwrap_or_else(|| cx.kernel().vfs.nowhere(&file.inode)))
}

pub(super) fn fchmod(cx: &mut Context<'_>, fd: Fd, mode: u32) -> SysResult {
    let file = cx.thread.file(fd)?;
    change_mode(cx, file.path.as_ref(), &file.inode, mode)
}

fn change_mode(cx: &Context<'_>, place: Option<&PathRef>, inode: &Arc<dyn Inode>, mode: u32) -> SysResult {
    let credentials = cx.thread.process.credentials();
    let metadata = inode.metadata();
    if !credentials.owns(&metadata) {
        return Err(Errno::EPERM);
    }
    let mut mode = mode & 0o7777;
    if !credentials.is_capable(CAP_FSETID) && !credentials.in_group(metadata.gid) {
        mode &= !S_ISGID;
    }
    let change = AttributeChange { mode: Some(mode), ..AttributeChange::at(cx.kernel().now()) };
    apply(cx, place, inode, &change, inotify::ATTRIB)
}

pub(super) async fn chown(cx: &mut Context<'_>, path: UserPtr<CStr>, uid: u32, gid: u32) -> SysResult {
    fchownat(cx, AT_FDCWD, path, uid, gid, 0).await
}

pub(super) async fn lchown(cx: &mut Context<'_>, path: UserPtr<CStr>, uid: u32, gid: u32) -> SysResult {
    fchownat(cx, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW).await
}

pub(super) async fn fchownat(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    uid: u32,
    gid: u32,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = cx.path(path).await?;
    if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
        return fchown(cx, dirfd, uid, gid);
    }
    let place = place(cx, dirfd, &name, flags)?;
    change_owner(cx, Some(&place), place.inode(), uid, gid)
}

pub(super) fn fchown(cx: &mut Context<'_>, fd: Fd, uid: u32, gid: u32) -> SysResult {
    let file = cx.thread.file(fd)?;
    change_owner(cx, file.path.as_ref(), &file.inode, uid, gid)
}

/// The id that means "leave it".
const KEEP: u32 = u32::MAX;

fn change_owner(cx: &Context<'_>, place: Option<&PathRef>, inode: &Arc<dyn Inode>, uid: u32, gid: u32) -> SysResult {
    let credentials = cx.thread.process.credentials();
    let metadata = inode.metadata();
    let uid = Some(uid).filter(|&u| u != KEEP);
    let gid = Some(gid).filter(|&g| g != KEEP);
    let gives_away = uid.is_some_and(|u| u != metadata.uid);
    if gives_away {
        cx.thread.process.capabilities.check(Kind::SetUid, Rights::WRITE)?;
    }
    let own_group = gid.is_none_or(|g| g == metadata.gid || credentials.in_group(g));
    let is_owner = credentials.fsuid == metadata.uid;
    let changes = uid.is_some() || gid.is_some();
    if !credentials.is_capable(CAP_CHOWN) && changes && (gives_away || !is_owner || !own_group) {
        return Err(Errno::EPERM);
    }
    // A change of owner takes the privileges of an executable away.
    let executable = metadata.kind() == FileKind::Regular && metadata.mode & 0o111 != 0;
    let strip = S_ISUID | if metadata.mode & 0o010 != 0 { S_ISGID } else { 0 };
    let mode = (executable && (uid.is_some() || gid.is_some())).then_some(metadata.mode & 0o7777 & !strip);
    let change = AttributeChange { mode, uid, gid, ..AttributeChange::at(cx.kernel().now()) };
    apply(cx, place, inode, &change, inotify::ATTRIB)
}

const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;

pub(super) async fn utimensat(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    times: UserPtr<[Timespec; 2]>,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let times = match times.non_null() {
        Some(times) => Some(times.load(&*cx.space()?).await?),
        None => None,
    };
    if path.is_null() {
        let file = cx.thread.file(dirfd)?;
        return set_times(cx, file.path.as_ref(), &file.inode, times);
    }
    let name = cx.path(path).await?;
    if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
        let file = cx.thread.files().get(dirfd)?;
        return set_times(cx, file.path.as_ref(), &file.inode, times);
    }
    let place = place(cx, dirfd, &name, flags)?;
    set_times(cx, Some(&place), place.inode(), times)
}

fn set_times(
    cx: &Context<'_>,
    place: Option<&PathRef>,
    inode: &Arc<dyn Inode>,
    times: Option<[Timespec; 2]>,
) -> SysResult {
    let now = cx.kernel().now();
    let this_moment = Timespec { sec: 0, nsec: UTIME_NOW };
    let [atime, mtime] = times.unwrap_or([this_moment; 2]);
    let decode = |t: Timespec| match t.nsec {
        UTIME_NOW => Ok(SetTime::To(now)),
        UTIME_OMIT => Ok(SetTime::Keep),
        0..1_000_000_000 => Ok(SetTime::To(t)),
        _ => Err(Errno::EINVAL),
    };
    let change = AttributeChange { atime: decode(atime)?, mtime: decode(mtime)?, ..AttributeChange::at(now) };
    if change.atime == SetTime::Keep && change.mtime == SetTime::Keep {
        return Ok(0);
    }
    let credentials = cx.thread.process.credentials();
    let metadata = inode.metadata();
    if !credentials.owns(&metadata) {
        // Setting both to now needs only the right to write.
        let both_now = atime.nsec == UTIME_NOW && mtime.nsec == UTIME_NOW;
        if !both_now {
            return Err(Errno::EPERM);
        }
        credentials.may_access(&metadata, WRITE)?;
    }
    // One time alone looks like what would have set it.
    let event = match (change.atime, change.mtime) {
        (SetTime::Keep, _) => inotify::MODIFY,
        (_, SetTime::Keep) => inotify::ACCESS,
        _ => inotify::ATTRIB,
    };
    apply(cx, place, inode, &change, event)
}

fn from_timeval(t: Timeval) -> Result<Timespec, Errno> {
    if !(0..1_000_000).contains(&t.usec) {
        return Err(Errno::EINVAL);
    }
    Ok(Timespec { sec: t.sec, nsec: t.usec * 1000 })
}

pub(super) async fn utimes(cx: &mut Context<'_>, path: UserPtr<CStr>, times: UserPtr<[Timeval; 2]>) -> SysResult {
    futimesat(cx, AT_FDCWD, path, times).await
}

pub(super) async fn futimesat(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    times: UserPtr<[Timeval; 2]>,
) -> SysResult {
    let times = match times.non_null() {
        Some(times) => {
            let [a, m] = times.load(&*cx.space()?).await?;
            Some([from_timeval(a)?, from_timeval(m)?])
        }
        None => None,
    };
    let name = cx.path(path).await?;
    let place = place(cx, dirfd, &name, 0)?;
    set_times(cx, Some(&place), place.inode(), times)
}

pub(super) async fn utime(cx: &mut Context<'_>, path: UserPtr<CStr>, times: UserPtr<Utimbuf>) -> SysResult {
    let times = match times.non_null() {
        Some(times) => {
            let Utimbuf { actime, modtime } = times.load(&*cx.space()?).await?;
            Some([Timespec { sec: actime, nsec: 0 }, Timespec { sec: modtime, nsec: 0 }])
        }
        None => None,
    };
    let name = cx.path(path).await?;
    let place = place(cx, AT_FDCWD, &name, 0)?;
    set_times(cx, Some(&place), place.inode(), times)
}

pub(super) async fn truncate(cx: &mut Context<'_>, path: UserPtr<CStr>, size: i64) -> SysResult {
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    let name = cx.path(path).await?;
    let place = place(cx, AT_FDCWD, &name, 0)?;
    let metadata = place.inode().metadata();
    match metadata.kind() {
        FileKind::Directory => return Err(Errno::EISDIR),
        FileKind::Regular => {}
        _ => return Err(Errno::EINVAL),
    }
    cx.thread.process.credentials().may_access(&metadata, WRITE)?;
    if place.mount.flags().contains(MountFlags::RDONLY) {
        return Err(Errno::EROFS);
    }
    super::file::resize(cx, place.inode(), size)?;
    cx.kernel().watches.tell(&place.dentry, inotify::MODIFY);
    Ok(0)
}

pub(super) async fn statfs(cx: &mut Context<'_>, path: UserPtr<CStr>, out: UserPtr<Statfs>) -> SysResult {
    let name = cx.path(path).await?;
    let place = place(cx, AT_FDCWD, &name, 0)?;
    let flags = i64::from(place.mount.flags().bits());
    let value = Statfs { flags, ..place.inode().statfs() };
    out.store(&*cx.space()?, &value).await?;
    Ok(0)
}

pub(super) async fn fstatfs(cx: &mut Context<'_>, fd: Fd, out: UserPtr<Statfs>) -> SysResult {
    let value = cx.thread.files().get(fd)?.inode.statfs();
    out.store(&*cx.space()?, &value).await?;
    Ok(0)
}
