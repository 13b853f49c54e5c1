//! Advisory locks: flock(2) and fcntl(2) record locks.

use alloc::sync::Arc;

use aurora_abi::Errno;
use aurora_abi::types::Flock;

use crate::memory::UserPtr;
use crate::syscall::{Context, SysResult};
use crate::vfs::lock::{LockOwner, RecordLock};
use crate::vfs::{Fd, OpenFile};

const LOCK_SH: u32 = 1;
const LOCK_EX: u32 = 2;
const LOCK_NB: u32 = 4;
const LOCK_UN: u32 = 8;

pub(super) async fn flock(cx: &mut Context<'_>, fd: Fd, operation: u32) -> SysResult {
    let exclusive = match operation & !LOCK_NB {
        LOCK_UN => None,
        LOCK_SH => Some(false),
        LOCK_EX => Some(true),
        _ => return Err(Errno::EINVAL),
    };
    let file = cx.thread.file(fd)?;
    let locks = &cx.kernel().locks;
    let Some(exclusive) = exclusive else {
        locks.unlock(&file);
        return Ok(0);
    };
    let pid = cx.thread.process.pid;
    let try_lock = || locks.try_lock(&file, pid, exclusive).then_some(());
    if operation & LOCK_NB != 0 {
        return try_lock().map(|()| 0).ok_or(Errno::EAGAIN);
    }
    cx.thread.interruptible(locks.changed.wait(try_lock)).await.map(|()| 0).ok_or(Errno::ERESTARTSYS)
}

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

/// What a record lock command does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Tell who stands against it.
    Get,
    /// Take it or fail.
    Set,
    /// Take it, waiting.
    SetWait,
}

/// Whose the lock is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The process's.
    Process,
    /// The open file description's.
    File,
}

/// The first and last byte a request means.
fn range(file: &OpenFile, request: &Flock) -> Result<(u64, u64), Errno> {
    let base = match request.whence {
        0 => 0,
        1 => *file.offset.lock(),
        2 => file.inode.metadata().size,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.cast_signed().checked_add(request.start).ok_or(Errno::EOVERFLOW)?;
    let first = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    match request.len {
        0 => Ok((first, u64::MAX)),
        len if len > 0 => {
            let last = start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?;
            Ok((first, last.cast_unsigned()))
        }
        len => {
            let from = start.checked_add(len).and_then(|s| u64::try_from(s).ok()).ok_or(Errno::EINVAL)?;
            Ok((from, first.wrapping_sub(1)))
        }
    }
}

pub(super) async fn record_lock(
    cx: &Context<'_>,
    file: &Arc<OpenFile>,
    command: Command,
    kind: Kind,
    at: UserPtr<Flock>,
) -> SysResult {
    let space = cx.space()?;
    let request = at.load(&space).await?;
    let known = matches!(request.kind, F_RDLCK | F_WRLCK);
    let unlocks = request.kind == F_UNLCK;
    if command == Command::Get && !known && !(unlocks && kind == Kind::File) {
        return Err(Errno::EINVAL);
    }
    let (start, last) = range(file, &request)?;
    if !known && !unlocks {
        return Err(Errno::EINVAL);
    }
    let metadata = file.inode.metadata();
    let owner = match kind {
        Kind::Process => LockOwner::Process(cx.thread.process.pid),
        Kind::File => LockOwner::File(Arc::downgrade(file)),
    };
    let exclusive = request.kind == F_WRLCK;
    let wanted = RecordLock { inode: (metadata.dev, metadata.ino), owner, start, last, exclusive };
    if command != Command::Get {
        let allowed = unlocks || if exclusive { file.can_write() } else { file.can_read() };
        if !allowed {
            return Err(Errno::EBADF);
        }
    }
    if kind == Kind::File && request.pid != 0 {
        return Err(Errno::EINVAL);
    }
    let locks = &cx.kernel().record_locks;
    if command == Command::Get {
        let found = if unlocks { locks.any_in(&wanted) } else { locks.conflict(&wanted) };
        at.store(&space, &found.map_or(Flock { kind: F_UNLCK, ..request }, |held| shown(&held, request))).await?;
        return Ok(0);
    }
    if unlocks {
        locks.unlock(&wanted);
        return Ok(0);
    }
    if kind == Kind::File {
        *file.on_close.lock() = Some(locks.changed.clone());
    }
    if command == Command::Set {
        return if locks.try_lock(&wanted) { Ok(0) } else { Err(Errno::EAGAIN) };
    }
    wait_for(cx, &wanted).await
}

async fn wait_for(cx: &Context<'_>, wanted: &RecordLock) -> SysResult {
    let locks = &cx.kernel().record_locks;
    if locks.try_lock(wanted) {
        return Ok(0);
    }
    if locks.would_deadlock(wanted) {
        return Err(Errno::EDEADLK);
    }
    let _waiting = locks.wait_for(wanted);
    let try_lock = || locks.try_lock(wanted).then_some(());
    cx.thread.interruptible(locks.changed.wait(try_lock)).await.map(|()| 0).ok_or(Errno::ERESTARTSYS)
}

/// A lock as `F_GETLK` tells it.
fn shown(held: &RecordLock, request: Flock) -> Flock {
    Flock {
        kind: if held.exclusive { F_WRLCK } else { F_RDLCK },
        whence: 0,
        start: held.start.cast_signed(),
        len: if held.last >= i64::MAX.cast_unsigned() { 0 } else { (held.last - held.start + 1).cast_signed() },
        pid: held.owner.pid().0,
        ..request
    }
}
