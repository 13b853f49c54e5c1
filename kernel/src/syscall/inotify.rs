//! inotify_init(2), inotify_add_watch(2), inotify_rm_watch(2).

use alloc::sync::Arc;

use aurora_abi::Errno;

use crate::ipc::inotify::{Inotify, InotifyFile, WATCH_COST, of};
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::security::READ;
use crate::syscall::{Context, SysResult, event};
use crate::vfs::path::Follow;
use crate::vfs::{AT_FDCWD, Fd, OpenFlags};

pub(super) fn inotify_init(cx: &mut Context<'_>) -> SysResult {
    inotify_init1(cx, 0)
}

pub(super) fn inotify_init1(cx: &mut Context<'_>, flags: u32) -> SysResult {
    let flags = OpenFlags::from_bits_retain(flags);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    event::add_with(cx, Arc::new(InotifyFile(Inotify::new(&cx.kernel().watches))), flags, OpenFlags::empty())
}

/// The number an instance's first watch has.
const FIRST_WATCH: i32 = 1;
/// All bits that ask for something.
const KNOWN: u32 = 0xf700_0fff | 0xe000;
const ONLYDIR: u32 = 0x0100_0000;
const DONT_FOLLOW: u32 = 0x0200_0000;
const MASK_CREATE: u32 = 0x1000_0000;
const MASK_ADD: u32 = 0x2000_0000;

pub(super) async fn inotify_add_watch(cx: &mut Context<'_>, fd: Fd, path: UserPtr<CStr>, mask: u32) -> SysResult {
    if mask & KNOWN == 0 {
        return Err(Errno::EINVAL);
    }
    let file = cx.thread.file(fd)?;
    let both = MASK_ADD | MASK_CREATE;
    if mask & both == both {
        return Err(Errno::EINVAL);
    }
    let instance = of(&file).ok_or(Errno::EINVAL)?;
    let name = cx.path(path).await?;
    add(cx, instance, &name, mask).map(|number| u64::from(number.cast_unsigned()))
}

/// Adds a watch; returns its number.
fn add(cx: &Context<'_>, instance: &Inotify, name: &[u8], mask: u32) -> Result<i32, Errno> {
    let follow = if mask & DONT_FOLLOW != 0 { Follow::No } else { Follow::Yes };
    let place = cx.resolve(AT_FDCWD, name, follow)?;
    let metadata = place.inode().metadata();
    if mask & ONLYDIR != 0 && !metadata.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    cx.thread.process.credentials().may_access(&metadata, READ)?;
    let charge = cx.kernel().memory.charge(WATCH_COST)?;
    instance.add(place.inode(), mask, mask & MASK_CREATE != 0, charge)
}

/// A descriptor that tells of one file, for the host.
pub(super) fn watch_one(cx: &Context<'_>, name: &[u8], mask: u32) -> Result<Fd, Errno> {
    let instance = Inotify::new(&cx.kernel().watches);
    add(cx, &instance, name, mask & KNOWN)?;
    cx.add_file(cx.unnamed(Arc::new(InotifyFile(instance)), OpenFlags::empty())?, true)
}

/// Ends what [`watch_one`] began, as whoever reads is told.
pub(super) fn unwatch_one(cx: &Context<'_>, fd: Fd) -> Result<(), Errno> {
    let file = cx.thread.file(fd)?;
    of(&file).ok_or(Errno::EINVAL)?.remove(FIRST_WATCH)
}

pub(super) fn inotify_rm_watch(cx: &mut Context<'_>, fd: Fd, watch: i32) -> SysResult {
    let file = cx.thread.file(fd)?;
    of(&file).ok_or(Errno::EINVAL)?.remove(watch).map(|()| 0)
}
