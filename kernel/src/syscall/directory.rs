//! Names: mkdir(2), unlink(2), rename(2), link(2), symlink(2), getdents64(2), chdir(2) and their kin.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::VirtAddr;

use crate::ipc::inotify;
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::num::to_usize;
use crate::security::credentials::{CAP_DAC_READ_SEARCH, CAP_MKNOD, CAP_SYS_CHROOT};
use crate::security::{EXECUTE, WRITE};
use crate::syscall::{Context, SysResult};
use crate::vfs::inode::{DeviceId, S_ISVTX};
use crate::vfs::mount::MountFlags;
use crate::vfs::path::{Follow, Target};
use crate::vfs::{AT_FDCWD, DirEntry, Fd, FileKind, OpenFile, PathRef};

const AT_SYMLINK_FOLLOW: u32 = 0x400;
const AT_REMOVEDIR: u32 = 0x200;
const AT_EMPTY_PATH: u32 = 0x1000;

pub(super) async fn mkdir(cx: &mut Context<'_>, path: UserPtr<CStr>, mode: u32) -> SysResult {
    mkdirat(cx, AT_FDCWD, path, mode).await
}

pub(super) async fn mkdirat(cx: &mut Context<'_>, dirfd: Fd, path: UserPtr<CStr>, mode: u32) -> SysResult {
    let name = cx.path(path).await?;
    make_directory(cx, dirfd, &name, mode)?;
    Ok(0)
}

/// Makes a directory.
pub(super) fn make_directory(cx: &Context<'_>, dirfd: Fd, name: &[u8], mode: u32) -> Result<(), Errno> {
    let target = cx.target(dirfd, name)?;
    if target.found.is_some() {
        return Err(Errno::EEXIST);
    }
    let bits = mode & (0o777 | S_ISVTX) & !cx.thread.fs().umask();
    cx.make(&target, FileKind::Directory.bits() | bits, DeviceId::default(), &[])?;
    Ok(())
}

pub(super) async fn mknod(cx: &mut Context<'_>, path: UserPtr<CStr>, mode: u32, dev: u64) -> SysResult {
    mknodat(cx, AT_FDCWD, path, mode, dev).await
}

pub(super) async fn mknodat(cx: &mut Context<'_>, dirfd: Fd, path: UserPtr<CStr>, mode: u32, dev: u64) -> SysResult {
    let name = cx.path(path).await?;
    let kind = match mode & FileKind::MASK {
        0 => FileKind::Regular,
        bits => FileKind::from_mode(bits).ok_or(Errno::EINVAL)?,
    };
    match kind {
        FileKind::Directory => return Err(Errno::EPERM),
        FileKind::Symlink => return Err(Errno::EINVAL),
        FileKind::CharDevice | FileKind::BlockDevice if !is_whiteout(kind, dev) && !may_make_devices(cx) => {
            return Err(Errno::EPERM);
        }
        _ => {}
    }
    let target = cx.target(dirfd, &name)?;
    if target.found.is_some() {
        return Err(Errno::EEXIST);
    }
    if target.slash {
        return Err(Errno::ENOENT);
    }
    let bits = mode & 0o7777 & !cx.thread.fs().umask();
    cx.make(&target, kind.bits() | bits, DeviceId::decode(dev), &[])?;
    Ok(0)
}

/// A character device 0:0 is no device: it covers a name in an overlay, and anybody may make one.
fn is_whiteout(kind: FileKind, dev: u64) -> bool {
    kind == FileKind::CharDevice && dev == 0
}

fn may_make_devices(cx: &Context<'_>) -> bool {
    cx.thread.process.credentials().is_capable(CAP_MKNOD)
}

pub(super) async fn symlink(cx: &mut Context<'_>, to: UserPtr<CStr>, path: UserPtr<CStr>) -> SysResult {
    symlinkat(cx, to, AT_FDCWD, path).await
}

pub(super) async fn symlinkat(cx: &mut Context<'_>, to: UserPtr<CStr>, dirfd: Fd, path: UserPtr<CStr>) -> SysResult {
    let to = cx.path(to).await?;
    let name = cx.path(path).await?;
    make_link(cx, &to, dirfd, &name).map(|()| 0)
}

/// Makes a symbolic link to `to`.
pub(super) fn make_link(cx: &Context<'_>, to: &[u8], dirfd: Fd, name: &[u8]) -> Result<(), Errno> {
    if to.is_empty() {
        return Err(Errno::ENOENT);
    }
    let target = cx.target(dirfd, name)?;
    if target.found.is_some() {
        return Err(Errno::EEXIST);
    }
    if target.slash {
        return Err(Errno::ENOENT);
    }
    cx.make(&target, FileKind::Symlink.bits() | 0o777, DeviceId::default(), to).map(drop)
}

pub(super) async fn link(cx: &mut Context<'_>, from: UserPtr<CStr>, to: UserPtr<CStr>) -> SysResult {
    linkat(cx, AT_FDCWD, from, AT_FDCWD, to, 0).await
}

pub(super) async fn linkat(
    cx: &mut Context<'_>,
    from_dir: Fd,
    from: UserPtr<CStr>,
    to_dir: Fd,
    to: UserPtr<CStr>,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (cx.path(from).await?, cx.path(to).await?);
    let source = if from.is_empty() && flags & AT_EMPTY_PATH != 0 {
        // Otherwise a descriptor would lead to files in directories one may not enter.
        if !cx.thread.process.credentials().is_capable(CAP_DAC_READ_SEARCH) {
            return Err(Errno::ENOENT);
        }
        super::stat::empty_path(cx, from_dir)?
    } else {
        let follow = if flags & AT_SYMLINK_FOLLOW != 0 { Follow::Yes } else { Follow::No };
        cx.resolve(from_dir, &from, follow)?
    };
    let target = cx.target(to_dir, &to)?;
    if target.found.is_some() {
        return Err(Errno::EEXIST);
    }
    if target.slash {
        return Err(Errno::ENOENT);
    }
    if !Arc::ptr_eq(&source.mount, &target.parent.mount) {
        return Err(Errno::EXDEV);
    }
    may_change(cx, &target.parent)?;
    if source.inode().metadata().is_dir() {
        return Err(Errno::EPERM);
    }
    target.parent.inode().link(&target.name, source.inode(), cx.kernel().now())?;
    cx.kernel().watches.tell_inode(source.inode(), inotify::ATTRIB);
    cx.kernel().watches.tell_name(&target.parent.dentry, &target.name, false, inotify::CREATE);
    Ok(0)
}

/// Whether names in a directory may be changed.
fn may_change(cx: &Context<'_>, directory: &PathRef) -> Result<(), Errno> {
    if directory.mount.flags().contains(MountFlags::RDONLY) {
        return Err(Errno::EROFS);
    }
    cx.thread.process.credentials().may_access(&directory.inode().metadata(), WRITE | EXECUTE)
}

pub(super) async fn unlink(cx: &mut Context<'_>, path: UserPtr<CStr>) -> SysResult {
    unlinkat(cx, AT_FDCWD, path, 0).await
}

pub(super) async fn rmdir(cx: &mut Context<'_>, path: UserPtr<CStr>) -> SysResult {
    unlinkat(cx, AT_FDCWD, path, AT_REMOVEDIR).await
}

pub(super) async fn unlinkat(cx: &mut Context<'_>, dirfd: Fd, path: UserPtr<CStr>, flags: u32) -> SysResult {
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    let name = cx.path(path).await?;
    remove(cx, dirfd, &name, flags & AT_REMOVEDIR != 0)?;
    Ok(0)
}

/// Removes a name: of an empty directory if `directory`, else of anything else.
pub(super) fn remove(cx: &Context<'_>, dirfd: Fd, name: &[u8], directory: bool) -> Result<(), Errno> {
    let target = cx.target(dirfd, name)?;
    if target.name.is_empty() {
        return Err(unnameable(name, directory));
    }
    let found = removable(cx, &target)?;
    let is_dir = found.inode().metadata().is_dir();
    if target.slash && !directory {
        return Err(if is_dir { Errno::EISDIR } else { Errno::ENOTDIR });
    }
    if directory == is_dir && !Arc::ptr_eq(&found.mount, &target.parent.mount) {
        return Err(Errno::EBUSY);
    }
    target.parent.inode().unlink(&target.name, directory, cx.kernel().now())?;
    target.parent.dentry.forget(&target.name, &cx.kernel().vfs.recent);
    // Two references are ours.
    let in_use = Arc::strong_count(&found.dentry) > 2;
    cx.kernel().watches.removed(&target.parent.dentry, &found.dentry, in_use);
    Ok(())
}

/// Why `.`, `..` and `/` cannot be removed.
fn unnameable(path: &[u8], directory: bool) -> Errno {
    match () {
        () if !directory => Errno::EISDIR,
        () if path.ends_with(b"..") => Errno::ENOTEMPTY,
        () if path.ends_with(b".") => Errno::EINVAL,
        () => Errno::EBUSY,
    }
}

/// What a name that is to go leads to, if it may go.
fn removable(cx: &Context<'_>, target: &Target) -> Result<PathRef, Errno> {
    let found = target.found.clone().ok_or(Errno::ENOENT)?;
    may_change(cx, &target.parent)?;
    let credentials = cx.thread.process.credentials();
    credentials.may_remove(&target.parent.inode().metadata(), &found.inode().metadata())?;
    Ok(found)
}

pub(super) async fn rename(cx: &mut Context<'_>, from: UserPtr<CStr>, to: UserPtr<CStr>) -> SysResult {
    renameat2(cx, AT_FDCWD, from, AT_FDCWD, to, 0).await
}

pub(super) async fn renameat(
    cx: &mut Context<'_>,
    from_dir: Fd,
    from: UserPtr<CStr>,
    to_dir: Fd,
    to: UserPtr<CStr>,
) -> SysResult {
    renameat2(cx, from_dir, from, to_dir, to, 0).await
}

const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;

pub(super) async fn renameat2(
    cx: &mut Context<'_>,
    from_dir: Fd,
    from: UserPtr<CStr>,
    to_dir: Fd,
    to: UserPtr<CStr>,
    flags: u32,
) -> SysResult {
    if !matches!(flags, 0 | RENAME_NOREPLACE | RENAME_EXCHANGE) {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (cx.path(from).await?, cx.path(to).await?);
    move_name(cx, (from_dir, &from), (to_dir, &to), flags)
}

/// Gives what has one name another one.
pub(super) fn move_name(cx: &Context<'_>, from: (Fd, &[u8]), to: (Fd, &[u8]), flags: u32) -> SysResult {
    let source = cx.target(from.0, from.1)?;
    let target = cx.target(to.0, to.1)?;
    if !Arc::ptr_eq(&source.parent.mount, &target.parent.mount) {
        return Err(Errno::EXDEV);
    }
    if source.name.is_empty() || target.name.is_empty() {
        return Err(Errno::EBUSY);
    }
    let moving = removable(cx, &source)?;
    let exchange = flags == RENAME_EXCHANGE;
    let is_mounted = |place: &PathRef, parent: &PathRef| !Arc::ptr_eq(&place.mount, &parent.mount);
    if is_mounted(&moving, &source.parent) || target.found.as_ref().is_some_and(|t| is_mounted(t, &target.parent)) {
        return Err(Errno::EBUSY);
    }
    let is_dir = moving.inode().metadata().is_dir();
    if !is_dir && (source.slash || target.slash && !exchange) {
        return Err(Errno::ENOTDIR);
    }
    match &target.found {
        Some(_) if flags == RENAME_NOREPLACE => return Err(Errno::EEXIST),
        Some(_) => drop(removable(cx, &target)?),
        None if exchange => return Err(Errno::ENOENT),
        None => may_change(cx, &target.parent)?,
    }
    if is_dir && moving.dentry.is_ancestor_of(&target.parent.dentry) {
        return Err(Errno::EINVAL);
    }
    if let Some(there) = &target.found {
        if Arc::ptr_eq(there.inode(), moving.inode()) {
            return Ok(0);
        }
        if there.dentry.is_ancestor_of(&source.parent.dentry) {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
    }
    let now = cx.kernel().now();
    source.parent.inode().rename(&source.name, target.parent.inode(), &target.name, exchange, now)?;
    if exchange {
        source.parent.dentry.exchanged(&source.name, &target.parent.dentry, &target.name);
    } else {
        let recent = &cx.kernel().vfs.recent;
        source.parent.dentry.moved(&source.name, &target.parent.dentry, &target.name, recent);
    }
    let (from, to) = ((&source.parent.dentry, &*source.name), (&target.parent.dentry, &*target.name));
    cx.kernel().watches.moved(from, to, moving.inode());
    if let Some(there) = target.found.as_ref().filter(|_| exchange) {
        cx.kernel().watches.moved(to, from, there.inode());
    }
    Ok(0)
}

pub(super) async fn readlink(cx: &mut Context<'_>, path: UserPtr<CStr>, buffer: VirtAddr, len: i32) -> SysResult {
    readlinkat(cx, AT_FDCWD, path, buffer, len).await
}

pub(super) async fn readlinkat(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    buffer: VirtAddr,
    len: i32,
) -> SysResult {
    let len = usize::try_from(len).ok().filter(|&l| l > 0).ok_or(Errno::EINVAL)?;
    let name = cx.path(path).await?;
    let place =
        if name.is_empty() { super::stat::empty_path(cx, dirfd)? } else { cx.resolve(dirfd, &name, Follow::No)? };
    if place.inode().metadata().kind() != FileKind::Symlink {
        return Err(if name.is_empty() { Errno::ENOENT } else { Errno::EINVAL });
    }
    let text = place.inode().read_link()?;
    let shown = text.get(..text.len().min(len)).unwrap_or_default();
    cx.space()?.copy_out(buffer, shown).await?;
    Ok(shown.len() as u64)
}

pub(super) async fn getcwd(cx: &mut Context<'_>, buffer: VirtAddr, size: u64) -> SysResult {
    let fs = cx.thread.fs();
    let cwd = fs.cwd();
    if cwd.dentry.is_removed() {
        return Err(Errno::ENOENT);
    }
    let path = cx.kernel().vfs.path_of(&cwd, &fs.root());
    let mut path = path.unwrap_or_else(|| b"(unreachable)/".to_vec());
    path.push(0);
    if path.len() as u64 > size {
        return Err(Errno::ERANGE);
    }
    cx.space()?.copy_out(buffer, &path).await?;
    Ok(path.len() as u64)
}

fn enter(cx: &Context<'_>, place: PathRef) -> Result<PathRef, Errno> {
    let metadata = place.inode().metadata();
    if !metadata.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    cx.thread.process.credentials().may_access(&metadata, EXECUTE)?;
    Ok(place)
}

pub(super) async fn chdir(cx: &mut Context<'_>, path: UserPtr<CStr>) -> SysResult {
    let name = cx.path(path).await?;
    let place = enter(cx, cx.resolve(AT_FDCWD, &name, Follow::Yes)?)?;
    cx.thread.fs().set_cwd(place);
    Ok(0)
}

pub(super) fn fchdir(cx: &mut Context<'_>, fd: Fd) -> SysResult {
    let place = cx.thread.files().get(fd)?.path.clone().ok_or(Errno::ENOTDIR)?;
    cx.thread.fs().set_cwd(enter(cx, place)?);
    Ok(0)
}

pub(super) async fn chroot(cx: &mut Context<'_>, path: UserPtr<CStr>) -> SysResult {
    let name = cx.path(path).await?;
    let place = enter(cx, cx.resolve(AT_FDCWD, &name, Follow::Yes)?)?;
    cx.thread.process.credentials().require(CAP_SYS_CHROOT)?;
    cx.thread.fs().set_root(place);
    Ok(0)
}

pub(super) fn umask(cx: &mut Context<'_>, mask: u32) -> SysResult {
    Ok(u64::from(cx.thread.fs().set_umask(mask)))
}

/// Bytes of a `struct linux_dirent64` before its name.
const DIRENT_HEADER: usize = 19;

pub(super) async fn getdents64(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, size: u32) -> SysResult {
    let file = cx.thread.file(fd)?;
    let entries = read_entries(cx, &file, size)?;
    cx.space()?.copy_out(buffer, &entries.bytes).await?;
    *file.offset.lock() = entries.next;
    Ok(entries.bytes.len() as u64)
}

/// Bytes of the older `struct linux_dirent` before its name; the type comes after that.
const OLD_HEADER: usize = 18;

pub(super) async fn getdents(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, size: u32) -> SysResult {
    let file = cx.thread.file(fd)?;
    // Both layouts take as much room: the type is in another place.
    let entries = read_entries(cx, &file, size)?;
    let mut bytes = entries.bytes;
    let mut at = 0;
    while let Some(entry) = bytes.get_mut(at..) {
        let Some((&mut low, &mut high)) =
            entry.get_mut(16..18).and_then(|l| l.split_first_mut()).and_then(|(a, b)| Some((a, b.first_mut()?)))
        else {
            break;
        };
        let len = usize::from(u16::from_le_bytes([low, high]));
        let Some(entry) = entry.get_mut(..len) else { break };
        let kind = entry.get(OLD_HEADER).copied().unwrap_or(0);
        entry.copy_within(DIRENT_HEADER.., OLD_HEADER);
        if let Some(last) = entry.last_mut() {
            *last = kind;
        }
        at += len;
    }
    cx.space()?.copy_out(buffer, &bytes).await?;
    *file.offset.lock() = entries.next;
    Ok(bytes.len() as u64)
}

/// The next entries of an open directory that fit `size` bytes; none at the end.
pub(super) fn read_entries(cx: &Context<'_>, file: &OpenFile, size: u32) -> Result<Entries, Errno> {
    if !file.inode.metadata().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let place = file.path.clone().ok_or(Errno::ENOTDIR)?;
    if place.dentry.is_removed() {
        return Err(Errno::ENOENT);
    }
    let cursor = *file.offset.lock();
    let room = to_usize(u64::from(size)).min(64 * 1024);
    let mut out = Entries { bytes: Vec::new(), room, next: cursor, refused: false };
    let parent = cx.kernel().vfs.parent(&place, &cx.thread.fs().root());
    for (at, name, inode) in [(0, &b"."[..], place.inode()), (1, b"..", parent.inode())] {
        if cursor <= at {
            let ino = inode.metadata().ino;
            out.add(&DirEntry { name, ino, kind: FileKind::Directory, next: at + 1 });
        }
    }
    if !out.refused {
        file.inode.read_dir(out.next.max(2), &mut |entry| out.add(&entry))?;
        cx.kernel().watches.tell_file(file, inotify::ACCESS);
    }
    if out.bytes.is_empty() && out.refused { Err(Errno::EINVAL) } else { Ok(out) }
}

/// Directory entries in the layout of getdents64(2).
pub(super) struct Entries {
    pub(super) bytes: Vec<u8>,
    room: usize,
    /// Where the next read goes on.
    pub(super) next: u64,
    refused: bool,
}

impl Entries {
    fn add(&mut self, entry: &DirEntry<'_>) -> bool {
        let len = (DIRENT_HEADER + entry.name.len() + 1).next_multiple_of(8);
        if self.refused || self.bytes.len() + len > self.room {
            self.refused = true;
            return false;
        }
        let end = self.bytes.len() + len;
        self.bytes.extend_from_slice(&entry.ino.to_le_bytes());
        self.bytes.extend_from_slice(&entry.next.to_le_bytes());
        self.bytes.extend_from_slice(&u16::try_from(len).unwrap_or(0).to_le_bytes());
        self.bytes.push(entry.kind.directory_type());
        self.bytes.extend_from_slice(entry.name);
        self.bytes.resize(end, 0);
        self.next = entry.next;
        true
    }
}
