//! fcntl(2).

use alloc::sync::Arc;

use aurora_abi::Errno;
use aurora_abi::types::OwnerEx;

use crate::memory::UserPtr;
use crate::memory::cache::Seals;
use crate::num::{low32, low32_signed};
use crate::syscall::descriptor::duplicate;
use crate::syscall::lock::{Command, Kind, record_lock};
use crate::syscall::{Context, SysResult};
use crate::task::{Pid, Signal};
use crate::vfs::notify::{Owner, OwnerKind};
use crate::vfs::{Fd, OpenFile, OpenFlags};

const F_DUPFD: u32 = 0;
const F_GETFD: u32 = 1;
const F_SETFD: u32 = 2;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_SETOWN: u32 = 8;
const F_GETOWN: u32 = 9;
const F_SETSIG: u32 = 10;
const F_GETSIG: u32 = 11;
const F_SETOWN_EX: u32 = 15;
const F_GETOWN_EX: u32 = 16;
const F_SETLEASE: u32 = 1024;
const F_GETLEASE: u32 = 1025;
const F_DUPFD_QUERY: u32 = 1027;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_SETPIPE_SZ: u32 = 1031;
const F_GETPIPE_SZ: u32 = 1032;
const F_ADD_SEALS: u32 = 1033;
const F_GET_SEALS: u32 = 1034;

/// Commands about record locks: what each does, and to whom the lock belongs.
const LOCKS: [(u32, Command, Kind); 6] = [
    (5, Command::Get, Kind::Process),
    (6, Command::Set, Kind::Process),
    (7, Command::SetWait, Kind::Process),
    (36, Command::Get, Kind::File),
    (37, Command::Set, Kind::File),
    (38, Command::SetWait, Kind::File),
];

/// Allowed for descriptors opened with `O_PATH`.
const FOR_PATHS: [u32; 6] = [F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GETFD, F_SETFD, F_GETFL];

pub(super) async fn fcntl(cx: &mut Context<'_>, fd: Fd, command: u32, argument: u64) -> SysResult {
    let files = cx.thread.files();
    let file = files.get(fd)?;
    if file.flags().contains(OpenFlags::PATH) && !FOR_PATHS.contains(&command) {
        return Err(Errno::EBADF);
    }
    if let Some((_, command, kind)) = LOCKS.iter().find(|(number, ..)| *number == command) {
        return record_lock(cx, &file, *command, *kind, UserPtr::new(argument)).await;
    }
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => duplicate(cx, fd, argument, command == F_DUPFD_CLOEXEC),
        F_DUPFD_QUERY => Ok(u64::from(Arc::ptr_eq(&file, &files.get(Fd(low32_signed(argument)))?))),
        F_GETFD => files.close_on_exec(fd).map(u64::from),
        F_SETFD => files.set_close_on_exec(fd, argument & 1 != 0).map(|()| 0),
        F_GETFL => {
            // Every open of a path is for large files on x86-64.
            let large = if file.path.is_some() { OpenFlags::LARGEFILE } else { OpenFlags::empty() };
            Ok(u64::from((file.flags() | large).bits()))
        }
        F_SETFL => set_flags(cx, fd, &file, OpenFlags::from_bits_truncate(low32(argument))),
        F_SETOWN..=F_GETSIG | F_SETOWN_EX | F_GETOWN_EX => owner(cx, &file, command, argument).await,
        F_GETPIPE_SZ => file.ops.pipe().map(|p| p.capacity() as u64).ok_or(Errno::EBADF),
        F_SETPIPE_SZ => {
            let pipe = file.ops.pipe().ok_or(Errno::EBADF)?;
            let privileged = cx.thread.process.credentials().is_root();
            pipe.set_capacity(low32(argument), privileged).map(|size| size as u64)
        }
        F_GET_SEALS => file.inode.cache().map(|c| u64::from(c.seals().bits())).ok_or(Errno::EINVAL),
        F_ADD_SEALS => {
            let cache = file.inode.cache().ok_or(Errno::EINVAL)?;
            if !file.can_write() {
                return Err(Errno::EPERM);
            }
            let seals = Seals::from_bits(low32(argument)).ok_or(Errno::EINVAL)?;
            cache.add_seals(seals).map(|()| 0)
        }
        // As on Linux's file systems that keep none: nobody has a lease, nobody gets one.
        F_GETLEASE => Ok(2),
        F_SETLEASE if low32(argument) == 2 => Err(Errno::EAGAIN),
        _ => Err(Errno::EINVAL),
    }
}

fn set_flags(cx: &Context<'_>, fd: Fd, file: &Arc<OpenFile>, flags: OpenFlags) -> SysResult {
    let noatime = flags.contains(OpenFlags::NOATIME) && !file.flags().contains(OpenFlags::NOATIME);
    if noatime && !cx.thread.process.credentials().owns(&file.inode.metadata()) {
        return Err(Errno::EPERM);
    }
    set_async(cx, fd, file, flags.contains(OpenFlags::ASYNC))?;
    let kept = file.flags() & OpenFlags::ASYNC;
    file.set_flags((flags - OpenFlags::ASYNC) | kept);
    Ok(0)
}

/// Switches signals about readiness on or off (`O_ASYNC`).
pub(super) fn set_async(cx: &Context<'_>, fd: Fd, file: &Arc<OpenFile>, on: bool) -> Result<(), Errno> {
    // What never changes has nothing to tell; the flag stays off, as for Linux's files without the operation.
    if on && !file.flags().contains(OpenFlags::ASYNC) && file.ops.wait_queue().is_some() {
        file.set_flags(file.flags() | OpenFlags::ASYNC);
        crate::vfs::notify::start(cx.kernel(), file, fd);
    } else if !on {
        file.set_flags(file.flags() - OpenFlags::ASYNC);
    }
    Ok(())
}

const F_OWNER_TID: i32 = 0;
const F_OWNER_PID: i32 = 1;
const F_OWNER_PGRP: i32 = 2;

/// Who is told about readiness, and by which signal.
async fn owner(cx: &Context<'_>, file: &OpenFile, command: u32, argument: u64) -> SysResult {
    let mut owner = *file.owner.lock();
    match command {
        F_SETSIG => {
            owner.signal = match low32_signed(argument) {
                0 => None,
                number => Some(Signal::from_arg(number)?),
            };
            *file.owner.lock() = owner;
            Ok(0)
        }
        F_GETSIG => Ok(owner.signal.map_or(0, |s| u64::from(s.number()))),
        F_SETOWN => {
            let number = low32_signed(argument);
            let kind = if number < 0 { OwnerKind::Group } else { OwnerKind::Process };
            set_owner(cx, file, kind, number.checked_abs().ok_or(Errno::EINVAL)?)
        }
        F_GETOWN => {
            let number = if owner.kind == OwnerKind::Group { -owner.pid.0 } else { owner.pid.0 };
            Ok(i64::from(number).cast_unsigned())
        }
        F_SETOWN_EX => {
            let given = UserPtr::<OwnerEx>::new(argument).load(&*cx.space()?).await?;
            let kind = match given.kind {
                F_OWNER_TID => OwnerKind::Thread,
                F_OWNER_PID => OwnerKind::Process,
                F_OWNER_PGRP => OwnerKind::Group,
                _ => return Err(Errno::EINVAL),
            };
            set_owner(cx, file, kind, given.pid)
        }
        _ => {
            let kind = match owner.kind {
                OwnerKind::Thread => F_OWNER_TID,
                OwnerKind::Process => F_OWNER_PID,
                OwnerKind::Group => F_OWNER_PGRP,
            };
            let shown = OwnerEx { kind, pid: owner.pid.0 };
            UserPtr::new(argument).store(&*cx.space()?, &shown).await?;
            Ok(0)
        }
    }
}

fn set_owner(cx: &Context<'_>, file: &OpenFile, kind: OwnerKind, pid: i32) -> SysResult {
    let table = &cx.kernel().processes;
    let pid = Pid(pid);
    let exists = pid.0 == 0
        || match kind {
            OwnerKind::Thread => table.thread(pid).is_some(),
            OwnerKind::Process => table.process(pid).is_some(),
            OwnerKind::Group => !table.group(pid).is_empty(),
        };
    if !exists {
        return Err(Errno::ESRCH);
    }
    let credentials = cx.thread.process.credentials();
    let mut owner = file.owner.lock();
    *owner = Owner { kind, pid, uid: credentials.uid, euid: credentials.euid, signal: owner.signal };
    Ok(0)
}
