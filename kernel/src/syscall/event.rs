//! Descriptors that tell of events: eventfd(2), timerfd_create(2), signalfd(2), pidfd_open(2).

use alloc::sync::Arc;

use aurora_abi::Errno;
use aurora_abi::types::{Itimerspec, SigInfo as RawInfo};

use crate::ipc::eventfd::EventFd;
use crate::ipc::pidfd::{self, PidFd};
use crate::ipc::signalfd::{self, SignalFd};
use crate::ipc::timerfd::{self, TimerFd};
use crate::memory::UserPtr;
use crate::syscall::time::{clock_of, remaining_spec, spec_ns};
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::task::signal::{SI_TKILL, SI_USER, SigInfo, SignalSet, may_signal};
use crate::task::{Pid, Process, Signal};
use crate::vfs::file::FILE_COST;
use crate::vfs::{Fd, FileOps, OpenFile, OpenFlags};

impl Context<'_> {
    /// An open file of something without a name.
    pub(super) fn unnamed(&self, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
        let kernel = self.kernel();
        let charge = kernel.memory.charge(FILE_COST * 2).map_err(|_| Errno::ENFILE)?;
        Ok(OpenFile::new(None, kernel.anonymous.unnamed(kernel.now()), ops, flags, charge))
    }

    /// Gives an open file the lowest free descriptor.
    pub(super) fn add_file(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<Fd, Errno> {
        self.thread.files().add(file, close_on_exec, 0, self.thread.process.limits.get(Resource::Files))
    }
}

/// Gives something without a name a descriptor; of `flags` these are minded: close-on-exec and non-blocking.
pub(super) fn add(cx: &Context<'_>, ops: Arc<dyn FileOps>, flags: OpenFlags) -> SysResult {
    add_with(cx, ops, flags, OpenFlags::RDWR)
}

/// The same, with other rights to read and write.
pub(super) fn add_with(cx: &Context<'_>, ops: Arc<dyn FileOps>, flags: OpenFlags, rights: OpenFlags) -> SysResult {
    let kept = (flags & OpenFlags::NONBLOCK) | rights;
    let file = cx.unnamed(ops, kept)?;
    cx.add_file(file, flags.contains(OpenFlags::CLOEXEC)).map(|fd| u64::from(fd.0.cast_unsigned()))
}

/// The flags all these calls know.
fn common(flags: u32) -> Result<OpenFlags, Errno> {
    let flags = OpenFlags::from_bits_retain(flags);
    if (OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) { Ok(flags) } else { Err(Errno::EINVAL) }
}

const EFD_SEMAPHORE: u32 = 1;

pub(super) fn eventfd(cx: &mut Context<'_>, count: u32) -> SysResult {
    eventfd2(cx, count, 0)
}

pub(super) fn eventfd2(cx: &mut Context<'_>, count: u32, flags: u32) -> SysResult {
    let known = common(flags & !EFD_SEMAPHORE)?;
    add(cx, Arc::new(EventFd::new(count, flags & EFD_SEMAPHORE != 0)), known)
}

const CLOCKS_OF_TIMERFD: [u32; 5] = [0, 1, 7, 8, 9];

pub(super) fn timerfd_create(cx: &mut Context<'_>, clock: u32, flags: u32) -> SysResult {
    let known = common(flags)?;
    if !CLOCKS_OF_TIMERFD.contains(&clock) {
        return Err(Errno::EINVAL);
    }
    // Alarm clocks count as their plain ones: a machine that runs programs is awake.
    let kind = clock_of(cx, clock & 7)?;
    if matches!(clock, 8 | 9) && !cx.thread.process.credentials().is_root() {
        return Err(Errno::EPERM);
    }
    add(cx, Arc::new(TimerFd::new(cx.kernel(), clock, kind)), known)
}

pub(super) async fn timerfd_settime(
    cx: &mut Context<'_>,
    fd: Fd,
    flags: u32,
    new: UserPtr<Itimerspec>,
    old: UserPtr<Itimerspec>,
) -> SysResult {
    let space = cx.space()?;
    let new = new.load(&space).await?;
    if flags & !(timerfd::ABSTIME | timerfd::CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let (value, interval) = spec_ns(&new)?;
    let file = cx.thread.file(fd)?;
    let before = timerfd::of(&file).ok_or(Errno::EINVAL)?.set(flags, value, interval);
    old.store_if(&space, &remaining_spec(before)).await?;
    Ok(0)
}

pub(super) async fn timerfd_gettime(cx: &mut Context<'_>, fd: Fd, out: UserPtr<Itimerspec>) -> SysResult {
    let file = cx.thread.file(fd)?;
    let left = timerfd::of(&file).ok_or(Errno::EINVAL)?.remaining();
    out.store(&*cx.space()?, &remaining_spec(left)).await?;
    Ok(0)
}

pub(super) async fn signalfd(cx: &mut Context<'_>, fd: Fd, mask: UserPtr<u64>, size: u64) -> SysResult {
    signalfd4(cx, fd, mask, size, 0).await
}

pub(super) async fn signalfd4(cx: &mut Context<'_>, fd: Fd, mask: UserPtr<u64>, size: u64, flags: u32) -> SysResult {
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let mask = SignalSet(mask.load(&*cx.space()?).await?).without_unblockable();
    let known = common(flags)?;
    if fd.0 == -1 {
        return add(cx, Arc::new(SignalFd::new(cx.thread, mask)), known);
    }
    let file = cx.thread.file(fd)?;
    signalfd::of(&file).ok_or(Errno::EINVAL)?.set(mask);
    Ok(u64::from(fd.0.cast_unsigned()))
}

/// A pidfd of a thread: the thread's process here, as every thread's end that can be waited for is its process's.
const PIDFD_THREAD: u32 = OpenFlags::EXCL.bits();

pub(super) fn pidfd_open(cx: &mut Context<'_>, pid: Pid, flags: u32) -> SysResult {
    if flags & !(OpenFlags::NONBLOCK.bits() | PIDFD_THREAD) != 0 || pid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    let table = &cx.kernel().processes;
    let process = match table.process(pid) {
        Some(process) => process,
        None if table.thread(pid).is_none() => return Err(Errno::ESRCH),
        // Only processes have pidfds here, not their other threads.
        None if flags & PIDFD_THREAD == 0 => return Err(Errno::ENOENT),
        None => return Err(Errno::EINVAL),
    };
    let flags = OpenFlags::from_bits_truncate(flags) & OpenFlags::NONBLOCK;
    pidfd::install(cx.thread, &process, flags).map(|fd| u64::from(fd.0.cast_unsigned()))
}

/// The open pidfd of a descriptor; `EBADF` for every other kind.
pub(super) fn pidfd_file(cx: &Context<'_>, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
    let file = cx.thread.file(fd)?;
    if pidfd::of(&file).is_some() { Ok(file) } else { Err(Errno::EBADF) }
}

fn living(file: &OpenFile) -> Result<Arc<Process>, Errno> {
    pidfd::of(file).ok_or(Errno::EBADF).and_then(PidFd::living).cloned()
}

const SIGNAL_THREAD: u32 = 1;
const SIGNAL_GROUP: u32 = 4;

pub(super) async fn pidfd_send_signal(
    cx: &mut Context<'_>,
    fd: Fd,
    number: i32,
    info: UserPtr<RawInfo>,
    flags: u32,
) -> SysResult {
    // One scope at most: thread, process, process group.
    if flags & !7 != 0 || flags.count_ones() > 1 {
        return Err(Errno::EINVAL);
    }
    let file = pidfd_file(cx, fd)?;
    let caller = &cx.thread.process;
    let own = pidfd::of(&file).is_some_and(|p| Arc::ptr_eq(&p.process, caller));
    let raw = match info.non_null() {
        None => None,
        Some(info) => {
            let raw = info.load(&*cx.space()?).await?;
            if raw.signo != number {
                return Err(Errno::EINVAL);
            }
            if (!own || flags == SIGNAL_GROUP) && (raw.code >= 0 || raw.code == SI_TKILL) {
                return Err(Errno::EPERM);
            }
            Some(raw)
        }
    };
    let target = living(&file)?;
    let signal = if number == 0 { None } else { Some(Signal::from_arg(number)?) };
    let targets = if flags == SIGNAL_GROUP { cx.kernel().processes.group(target.pid) } else { alloc::vec![target] };
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    for target in targets {
        may_signal(caller, &target, signal)?;
        let Some(signal) = signal else { continue };
        let info = raw.as_ref().map_or_else(
            || SigInfo::user(signal, SI_USER, caller.pid, caller.credentials().uid),
            |raw| SigInfo::from_raw(signal, raw),
        );
        let leader = target.threads.lock().first().cloned();
        match leader.filter(|_| flags == SIGNAL_THREAD) {
            Some(thread) => thread.send(info)?,
            None => target.send(info)?,
        }
    }
    Ok(0)
}

pub(super) fn pidfd_getfd(cx: &mut Context<'_>, fd: Fd, target: Fd, flags: u32) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let file = pidfd_file(cx, fd)?;
    let process = living(&file)?;
    let thread = process.threads.lock().first().cloned().ok_or(Errno::ESRCH)?;
    let (mine, theirs) = (cx.thread.process.credentials(), process.credentials());
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|&u| u == mine.uid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|&g| g == mine.gid);
    if !Arc::ptr_eq(&process, &cx.thread.process) && !same && !mine.is_root() {
        return Err(Errno::EPERM);
    }
    let taken = thread.files().get(target)?;
    cx.add_file(taken, true).map(|fd| u64::from(fd.0.cast_unsigned()))
}
