//! Scheduling and resources: sched_*(2), nice values, getrlimit(2), getrusage(2).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_abi::types::{Rlimit, Rusage, SchedParam};
use aurora_machine::VirtAddr;

use crate::memory::UserPtr;
use crate::num::to_usize;
use crate::syscall::process::{process_of, to_rusage};
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::task::{Pid, Process};

pub(super) async fn sched_yield(_: &mut Context<'_>) -> SysResult {
    crate::task::scheduler::yield_now().await;
    Ok(0)
}

pub(super) async fn getpriority(cx: &mut Context<'_>, which: u32, who: Pid) -> SysResult {
    let all = priority_targets(cx, which, who)?;
    let nice = all.iter().flat_map(|p| p.threads.lock().iter().map(|t| t.task.nice()).min()).min();
    let nice = nice.ok_or(Errno::ESRCH)?;
    // The raw call returns 20 minus the nice value, so that it is never negative.
    Ok(u64::from((20 - i32::from(nice)).cast_unsigned()))
}

pub(super) async fn setpriority(cx: &mut Context<'_>, which: u32, who: Pid, nice: i32) -> SysResult {
    let nice = i8::try_from(nice.clamp(-20, 19)).unwrap_or(0);
    let mine = cx.thread.process.credentials();
    let all = priority_targets(cx, which, who)?;
    if all.is_empty() {
        return Err(Errno::ESRCH);
    }
    for process in all {
        let theirs = process.credentials();
        if !mine.is_root() && mine.euid != theirs.uid && mine.euid != theirs.euid {
            return Err(Errno::EPERM);
        }
        for thread in process.threads.lock().iter() {
            if nice < thread.task.nice() && !mine.is_root() {
                return Err(Errno::EACCES);
            }
            thread.task.set_nice(nice);
        }
    }
    Ok(0)
}

fn priority_targets(cx: &Context<'_>, which: u32, who: Pid) -> Result<Vec<Arc<Process>>, Errno> {
    let table = &cx.kernel().processes;
    Ok(match which {
        0 => Vec::from([process_of(cx, who)?]),
        1 => table.group(if who.0 == 0 { cx.thread.process.group() } else { who }),
        2 => {
            let uid = if who.0 == 0 { cx.thread.process.credentials().uid } else { who.0.cast_unsigned() };
            table.processes().into_iter().filter(|p| p.credentials().uid == uid).collect()
        }
        _ => return Err(Errno::EINVAL),
    })
}

/// Whether a thread with this number is there; 0 means the caller.
fn check_thread(cx: &Context<'_>, tid: Pid) -> Result<(), Errno> {
    match tid.0 {
        ..0 => Err(Errno::EINVAL),
        0 => Ok(()),
        _ => cx.kernel().processes.thread(tid).map(drop).ok_or(Errno::ESRCH),
    }
}

pub(super) async fn sched_getaffinity(cx: &mut Context<'_>, tid: Pid, size: u32, mask: VirtAddr) -> SysResult {
    check_thread(cx, tid)?;
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    cx.space()?.store(mask, &1u64).await?;
    Ok(8)
}

pub(super) async fn sched_setaffinity(cx: &mut Context<'_>, tid: Pid, size: u32, mask: VirtAddr) -> SysResult {
    check_thread(cx, tid)?;
    let mut bytes = [0; 8];
    let part = bytes.get_mut(..to_usize(u64::from(size)).min(8)).unwrap_or_default();
    cx.space()?.copy_in(mask, part).await?;
    // One processor: a mask must name it.
    if u64::from_le_bytes(bytes) & 1 == 0 { Err(Errno::EINVAL) } else { Ok(0) }
}

pub(super) async fn sched_getscheduler(cx: &mut Context<'_>, tid: Pid) -> SysResult {
    check_thread(cx, tid)?;
    Ok(0)
}

pub(super) async fn sched_getparam(cx: &mut Context<'_>, tid: Pid, out: UserPtr<SchedParam>) -> SysResult {
    check_thread(cx, tid)?;
    out.store(&*cx.space()?, &SchedParam { priority: 0 }).await?;
    Ok(0)
}

pub(super) async fn sched_setscheduler(
    cx: &mut Context<'_>,
    tid: Pid,
    policy: u32,
    param: UserPtr<SchedParam>,
) -> SysResult {
    check_thread(cx, tid)?;
    let SchedParam { priority } = param.load(&*cx.space()?).await?;
    match (policy, priority) {
        (0, 0) => Ok(0),
        // Real-time and other classes are not offered.
        _ => Err(Errno::EINVAL),
    }
}

pub(super) async fn sched_get_priority(_: &mut Context<'_>, policy: u32) -> SysResult {
    if policy == 0 || policy == 3 || policy == 5 { Ok(0) } else { Err(Errno::EINVAL) }
}

pub(super) async fn getcpu(cx: &mut Context<'_>, cpu: UserPtr<u32>, node: UserPtr<u32>) -> SysResult {
    let space = cx.space()?;
    cpu.store_if(&space, &0).await?;
    node.store_if(&space, &0).await?;
    Ok(0)
}

pub(super) async fn getrlimit(cx: &mut Context<'_>, resource: u32, out: UserPtr<Rlimit>) -> SysResult {
    let limit = cx.thread.process.limits.read(resource)?;
    out.store(&*cx.space()?, &limit).await?;
    Ok(0)
}

pub(super) async fn setrlimit(cx: &mut Context<'_>, resource: u32, new: UserPtr<Rlimit>) -> SysResult {
    let new = new.load(&*cx.space()?).await?;
    let process = &cx.thread.process;
    process.limits.write(resource, new, process.credentials().is_root())?;
    Ok(0)
}

pub(super) async fn prlimit64(
    cx: &mut Context<'_>,
    pid: Pid,
    resource: u32,
    new: UserPtr<Rlimit>,
    old: UserPtr<Rlimit>,
) -> SysResult {
    let space = cx.space()?;
    let target = process_of(cx, pid)?;
    let (mine, theirs) = (cx.thread.process.credentials(), target.credentials());
    if !Arc::ptr_eq(&target, &cx.thread.process) && !mine.is_root() && mine.uid != theirs.uid {
        return Err(Errno::EPERM);
    }
    let before = target.limits.read(resource)?;
    if let Some(new) = new.non_null() {
        let new = new.load(&space).await?;
        target.limits.write(resource, new, mine.is_root())?;
        // The stack's limit holds from now on, not only for the next program.
        if let Some(space) = target.space() {
            let stack = target.limits.get(Resource::Stack);
            space.update_layout(|layout| layout.stack_limit = stack);
        }
    }
    old.store_if(&space, &before).await?;
    Ok(0)
}

pub(super) async fn getrusage(cx: &mut Context<'_>, who: i32, out: UserPtr<Rusage>) -> SysResult {
    let process = &cx.thread.process;
    let used = match who {
        0 => process.used_ns(),
        -1 => process.used_by_children.load(Ordering::Relaxed),
        1 => cx.thread.task.used_ns(),
        _ => return Err(Errno::EINVAL),
    };
    let mut usage = to_rusage(used);
    if who == 0 {
        usage.maxrss = (cx.space()?.usage().peak * 4).cast_signed();
        usage.minflt = process.faults.load(Ordering::Relaxed).cast_signed();
    }
    out.store(&*cx.space()?, &usage).await?;
    Ok(0)
}
