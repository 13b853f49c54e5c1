//! The tree of mounts: mount(2), umount2(2), pivot_root(2).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_machine::PAGE_SIZE;

use crate::block::Volume;
use crate::fs::overlay::{self, Layers};
use crate::fs::procfs::namespace_of;
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::num::low32;
use crate::syscall::{Context, SysResult};
use crate::vfs::mount::{MountFlags, Propagation};
use crate::vfs::path::Follow;
use crate::vfs::{AT_FDCWD, FileKind, Inode, PathRef};

const MS_REMOUNT: u64 = 32;
const MS_BIND: u64 = 4096;
const MS_MOVE: u64 = 8192;
const MS_REC: u64 = 16384;
const MS_SILENT: u64 = 32768;
const MS_NOUSER: u64 = 1 << 31;
/// What old programs put into the upper half.
const MS_MAGIC: u64 = 0xc0ed_0000;
const MS_MAGIC_MASK: u64 = 0xffff_0000;

/// `MS_*` of a change of propagation.
const PROPAGATION: [(u64, Propagation); 4] = [
    (1 << 17, Propagation::Unbindable),
    (1 << 18, Propagation::Private),
    (1 << 19, Propagation::Slave),
    (1 << 20, Propagation::Shared),
];

/// Whether the caller may change mounts at all.
fn may_mount(cx: &Context<'_>) -> Result<(), Errno> {
    if cx.thread.process.credentials().is_capable(crate::security::credentials::CAP_SYS_ADMIN) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The root of a mount the path must be.
fn mounted(place: &PathRef) -> Result<(), Errno> {
    if place.mount.is_root(place) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// In the caller's tree of mounts a place must be: a descriptor or a directory to stand in may be of another namespace's, or
/// of one that was taken away. Nothing would ever take away what is mounted there.
fn in_tree(cx: &Context<'_>, place: &PathRef) -> Result<(), Errno> {
    let own = cx.thread.fs().namespace().id;
    if cx.kernel().vfs.has(&place.mount, Some(own)) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The same of a place where something is to be mounted.
fn may_be_covered(cx: &Context<'_>, place: &PathRef) -> Result<(), Errno> {
    if cx.kernel().vfs.has(&place.mount, None) { in_tree(cx, place) } else { Err(Errno::ENOENT) }
}

pub(super) async fn mount(
    cx: &mut Context<'_>,
    source: UserPtr<CStr>,
    target: UserPtr<CStr>,
    kind: UserPtr<CStr>,
    flags: u64,
    data: UserPtr<CStr>,
) -> SysResult {
    let text = async |at: UserPtr<CStr>| match at.is_null() {
        true => Ok(Vec::new()),
        false => cx.string(at, crate::vfs::path::PATH_MAX).await.map_err(|e| match e {
            Errno::ENAMETOOLONG => Errno::EINVAL,
            e => e,
        }),
    };
    let (kind, source, data) = (text(kind).await?, text(source).await?, text(data).await?);
    let name = cx.path(target).await?;
    let place = cx.resolve(AT_FDCWD, &name, Follow::Yes)?;
    let flags = if flags & MS_MAGIC_MASK == MS_MAGIC { flags & !MS_MAGIC_MASK } else { flags };
    if flags & MS_NOUSER != 0 {
        return Err(Errno::EINVAL);
    }
    may_mount(cx)?;
    let options = MountFlags::from_bits_truncate(low32(flags));
    let propagation = flags & PROPAGATION.iter().fold(0, |all, (bit, _)| all | bit);
    let vfs = &cx.kernel().vfs;
    match () {
        () if flags & MS_REMOUNT != 0 => {
            mounted(&place)?;
            in_tree(cx, &place)?;
            place.mount.set_flags(options);
        }
        () if flags & MS_BIND != 0 => {
            if source.is_empty() {
                return Err(Errno::EINVAL);
            }
            let from = cx.resolve(AT_FDCWD, &source, Follow::Yes)?;
            // What stands for a namespace is in no tree, and keeps it by a name so.
            if namespace_of(from.inode()).is_none() {
                in_tree(cx, &from)?;
            }
            may_be_covered(cx, &place)?;
            vfs.bind(&from, place, flags & MS_REC != 0)?;
        }
        () if propagation != 0 => {
            mounted(&place)?;
            if !vfs.has(&place.mount, None) {
                return Err(Errno::EINVAL);
            }
            let only = flags & !(MS_REC | MS_SILENT);
            let found = PROPAGATION.iter().find(|(bit, _)| *bit == only).ok_or(Errno::EINVAL)?;
            vfs.set_propagation(&place, found.1, flags & MS_REC != 0);
        }
        () if flags & MS_MOVE != 0 => {
            if source.is_empty() {
                return Err(Errno::EINVAL);
            }
            let from = cx.resolve(AT_FDCWD, &source, Follow::Yes)?;
            in_tree(cx, &from)?;
            may_be_covered(cx, &place)?;
            vfs.move_mount(&from, place)?;
        }
        () => new_mount(cx, &source, place, &kind, options, &data).await?,
    }
    Ok(0)
}

async fn new_mount(
    cx: &Context<'_>,
    source: &[u8],
    place: PathRef,
    kind: &[u8],
    options: MountFlags,
    data: &[u8],
) -> Result<(), Errno> {
    if kind.is_empty() {
        return Err(Errno::EINVAL);
    }
    let kernel = cx.kernel();
    let (root, kind) = match kind {
        b"tmpfs" | b"ramfs" => {
            let (pages, mode) = tmpfs_options(cx, data)?;
            (kernel.new_tmpfs(pages, mode)?, "tmpfs")
        }
        b"proc" => (crate::fs::procfs::root(kernel), "proc"),
        b"sysfs" => (crate::fs::procfs::sysfs_root(kernel), "sysfs"),
        b"devtmpfs" => (kernel.new_dev()?, "devtmpfs"),
        b"devpts" => {
            devpts_options(cx, data)?;
            (crate::fs::devpts::root(&kernel.ptys, kernel.now()), "devpts")
        }
        b"overlay" => (overlay_root(cx, data)?, "overlay"),
        b"ext4" | b"ext3" | b"ext2" => {
            let volume = block_device(cx, source)?;
            let read_only = options.contains(MountFlags::RDONLY);
            (crate::fs::ext4::mount(kernel, &volume, read_only).await?, "ext4")
        }
        _ => return Err(Errno::ENODEV),
    };
    may_be_covered(cx, &place)?;
    let shown = String::from_utf8_lossy(source).into_owned();
    kernel.vfs.mount(root, place, &shown, kind, options)
}

/// The disk or partition a path names.
fn block_device(cx: &Context<'_>, path: &[u8]) -> Result<Arc<Volume>, Errno> {
    let metadata = cx.resolve(AT_FDCWD, path, Follow::Yes)?.inode().metadata();
    if metadata.kind() != FileKind::BlockDevice {
        return Err(Errno::ENOTBLK);
    }
    cx.kernel().disks.volume(metadata.rdev)
}

/// `lowerdir=`, `upperdir=` and `workdir=` of an overlay, filesystems/overlayfs.rst.
fn overlay_root(cx: &Context<'_>, data: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
    let mut layers = Layers::default();
    let directory = |path: &[u8]| -> Result<Arc<dyn Inode>, Errno> {
        let place = cx.resolve(AT_FDCWD, path, Follow::Yes)?;
        if place.inode().metadata().is_dir() { Ok(place.inode().clone()) } else { Err(Errno::ENOTDIR) }
    };
    for option in data.split(|&b| b == b',').filter(|o| !o.is_empty()) {
        let at = option.iter().position(|&b| b == b'=').ok_or(Errno::EINVAL)?;
        let (name, value) = (option.get(..at).unwrap_or_default(), option.get(at + 1..).unwrap_or_default());
        match name {
            b"lowerdir" => {
                for path in value.split(|&b| b == b':') {
                    layers.lower.push(directory(path)?);
                }
            }
            b"upperdir" => layers.upper = Some(directory(value)?),
            b"workdir" => layers.work = Some(directory(value)?),
            b"index" | b"xino" | b"metacopy" | b"redirect_dir" if value == b"off" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    overlay::mount(cx.kernel(), layers)
}

/// `size=` and `mode=` of tmpfs(5).
fn tmpfs_options(cx: &Context<'_>, data: &[u8]) -> Result<(u64, u32), Errno> {
    let total = cx.kernel().memory.phys().total_frames();
    let (mut pages, mut mode) = (total / 2, 0o1777);
    for option in data.split(|&b| b == b',').filter(|o| !o.is_empty()) {
        let text = core::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match name {
            "size" => pages = parse_size(value, total)?,
            "mode" => mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
            "nr_blocks" => pages = value.parse().map_err(|_| Errno::EINVAL)?,
            "nr_inodes" | "uid" | "gid" | "rw" | "ro" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok((pages, mode))
}

/// `gid=`, `mode=` and `ptmxmode=` of devpts; there is one instance, so they are everybody's.
fn devpts_options(cx: &Context<'_>, data: &[u8]) -> Result<(), Errno> {
    let mut options = cx.kernel().ptys.options.lock();
    for option in data.split(|&b| b == b',').filter(|o| !o.is_empty()) {
        let text = core::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let mode = || u32::from_str_radix(value, 8).map(|m| m & 0o7777).map_err(|_| Errno::EINVAL);
        match name {
            "gid" => options.gid = Some(value.parse().map_err(|_| Errno::EINVAL)?),
            "mode" => options.mode = mode()?,
            "ptmxmode" => options.master_mode = mode()?,
            "newinstance" | "rw" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(())
}

fn parse_size(text: &str, total: u64) -> Result<u64, Errno> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let value: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    let bytes = match text.get(digits.len()..) {
        Some("") => Some(value),
        Some("k" | "K") => value.checked_mul(1 << 10),
        Some("m" | "M") => value.checked_mul(1 << 20),
        Some("g" | "G") => value.checked_mul(1 << 30),
        Some("%") => return Ok(total.saturating_mul(value) / 100),
        _ => None,
    };
    Ok(bytes.ok_or(Errno::EINVAL)?.div_ceil(PAGE_SIZE))
}

const MNT_FORCE: u32 = 1;
const MNT_DETACH: u32 = 2;
const MNT_EXPIRE: u32 = 4;
const UMOUNT_NOFOLLOW: u32 = 8;

pub(super) async fn umount2(cx: &mut Context<'_>, target: UserPtr<CStr>, flags: u32) -> SysResult {
    if flags & !(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = cx.path(target).await?;
    let follow = if flags & UMOUNT_NOFOLLOW != 0 { Follow::No } else { Follow::Yes };
    let place = cx.resolve(AT_FDCWD, &name, follow)?;
    may_mount(cx)?;
    mounted(&place)?;
    in_tree(cx, &place)?;
    if flags & MNT_EXPIRE != 0 {
        if flags & (MNT_FORCE | MNT_DETACH) != 0 {
            return Err(Errno::EINVAL);
        }
        // The first try marks it; whoever uses it until the second takes the mark away (here: nobody looked it up).
        if !place.mount.expiring.swap(true, Ordering::Relaxed) {
            return Err(Errno::EAGAIN);
        }
    }
    let lazy = flags & MNT_DETACH != 0;
    let disk = place.inode().file_system().filter(|_| !lazy);
    cx.kernel().vfs.unmount(&place, lazy)?;
    drop(place);
    if let Some(disk) = disk.filter(|disk| !cx.kernel().vfs.uses(disk)) {
        disk.unmount().await?;
    }
    Ok(0)
}

pub(super) async fn pivot_root(cx: &mut Context<'_>, new: UserPtr<CStr>, put_old: UserPtr<CStr>) -> SysResult {
    may_mount(cx)?;
    let new_name = cx.path(new).await?;
    let new = cx.directory(&new_name)?;
    let old_name = cx.path(put_old).await?;
    let put_old = cx.directory(&old_name)?;
    let vfs = &cx.kernel().vfs;
    let root = cx.thread.fs().root();
    may_be_covered(cx, &put_old)?;
    in_tree(cx, &root)?;
    in_tree(cx, &new)?;
    vfs.pivot(&root, &new, &put_old)?;
    // Who stood in the old root stands in the new one.
    for process in cx.kernel().processes.processes() {
        let contexts: Vec<_> = process.threads.lock().iter().map(|t| t.fs()).collect();
        for fs in contexts {
            if fs.root().is(&root) {
                fs.set_root(new.clone());
            }
            if fs.cwd().is(&root) {
                fs.set_cwd(new.clone());
            }
        }
    }
    Ok(0)
}

impl Context<'_> {
    /// A directory by its path.
    fn directory(&self, path: &[u8]) -> Result<PathRef, Errno> {
        let place = self.resolve(AT_FDCWD, path, Follow::Yes)?;
        if place.inode().metadata().is_dir() { Ok(place) } else { Err(Errno::ENOTDIR) }
    }
}
