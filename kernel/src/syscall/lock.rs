//! Advisory locks: flock(2) and fcntl(2) record locks.

use alloc::sync::Arc;

use aurora_abi::Errno;
use aurora_abi::types::Flock;

use crate::memory::UserPtr;
use crate::syscall::{Context, SysResult};
use crate::vfs::lock::RecordLock;
use crate::vfs::{Fd, OpenFile};

const LOCK_SH: u32 = 1;
const LOCK_EX: u32 = 2;
const LOCK_NB: u32 = 4;
const LOCK_UN: u32 = 8;

pub(super) async fn flock(cx: &mut Context<'_>, fd: Fd, operation: u32) -> SysResult {
    let file = cx.thread.file(fd)?;
    let locks = &cx.kernel().locks;
    let exclusive = match operation & !LOCK_NB {
        LOCK_UN => {
            locks.unlock(&file);
            return Ok(0);
        }
        LOCK_SH => false,
        LOCK_EX => true,
        _ => return Err(Errno::EINVAL),
    };
    let try_lock = || locks.try_lock(&file, exclusive).then_some(());
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

pub(super) async fn record_lock(
    cx: &Context<'_>,
    file: &Arc<OpenFile>,
    command: Command,
    at: UserPtr<Flock>,
) -> SysResult {
    let space = cx.space()?;
    let request = at.load(&space).await?;
    let metadata = file.inode.metadata();
    let base = match request.whence {
        0 => 0,
        1 => *file.offset.lock(),
        2 => metadata.size,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add_signed(request.start).ok_or(Errno::EINVAL)?;
    let (start, last) = match request.len {
        0 => (start, u64::MAX),
        n if n > 0 => (start, start.checked_add_signed(n - 1).ok_or(Errno::EOVERFLOW)?),
        n => (start.checked_add_signed(n).ok_or(Errno::EINVAL)?, start.wrapping_sub(1)),
    };
    let exclusive = request.kind == F_WRLCK;
    let owner = cx.thread.process.pid;
    let wanted = RecordLock { inode: (metadata.dev, metadata.ino), owner, start, last, exclusive };
    let locks = &cx.kernel().record_locks;
    if !(F_RDLCK..=F_UNLCK).contains(&request.kind) {
        return Err(Errno::EINVAL);
    }
    if command == Command::Get {
        let answer = match locks.conflict(&wanted) {
            None => Flock { kind: F_UNLCK, ..request },
            Some(held) => Flock {
                kind: if held.exclusive { F_WRLCK } else { F_RDLCK },
                whence: 0,
                start: held.start.cast_signed(),
                len: if held.last == u64::MAX { 0 } else { (held.last - held.start + 1).cast_signed() },
                pid: held.owner.0,
                ..request
            },
        };
        at.store(&space, &answer).await?;
        return Ok(0);
    }
    if request.kind == F_UNLCK {
        locks.unlock(&wanted);
        return Ok(0);
    }
    let allowed = if exclusive { file.can_write() } else { file.can_read() };
    if !allowed {
        return Err(Errno::EBADF);
    }
    let try_lock = || locks.try_lock(&wanted).then_some(());
    if command == Command::Set {
        return try_lock().map(|()| 0).ok_or(Errno::EAGAIN);
    }
    cx.thread.interruptible(locks.changed.wait(try_lock)).await.map(|()| 0).ok_or(Errno::ERESTARTSYS)
}
