//! Scheduling and resources: sched_*(2), nice values, getrlimit(2), getrusage(2).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_abi::types::{Rlimit, Rusage};

use crate::memory::UserPtr;
use crate::security::credentials::{CAP_SYS_NICE, CAP_SYS_PACCT, CAP_SYS_RESOURCE};
use crate::syscall::process::to_rusage;
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::task::{Pid, Process, Thread};

pub(super) fn getpriority(cx: &mut Context<'_>, which: u32, who: Pid) -> SysResult {
    let all = priority_targets(cx, which, who)?;
    let nice = all.iter().map(|t| t.task.nice()).min().ok_or(Errno::ESRCH)?;
    // The raw call returns 20 minus the nice value, so that it is never negative.
    Ok(u64::from((20 - i32::from(nice)).cast_unsigned()))
}

/// Whether a process with these credentials and limits may have a nice value that is better than it was.
pub(super) fn may_be_nice(cx: &Context<'_>, target: &Process, nice: i8) -> bool {
    let floor = 20 - i64::from(nice);
    u64::try_from(floor).is_ok_and(|n| n <= target.limits.get(Resource::Nice))
        || cx.thread.process.credentials().is_capable(CAP_SYS_NICE)
}

pub(super) fn setpriority(cx: &mut Context<'_>, which: u32, who: Pid, nice: i32) -> SysResult {
    let nice = i8::try_from(nice.clamp(-20, 19)).unwrap_or(0);
    let mine = cx.thread.process.credentials();
    let all = priority_targets(cx, which, who)?;
    let mut result = Err(Errno::ESRCH);
    for thread in all {
        let theirs = thread.process.credentials();
        if mine.euid != theirs.uid && mine.euid != theirs.euid && !mine.is_capable(CAP_SYS_NICE) {
            result = Err(Errno::EPERM);
        } else if nice < thread.task.nice() && !may_be_nice(cx, &thread.process, nice) {
            result = Err(Errno::EACCES);
        } else {
            thread.task.set_nice(nice);
            if result == Err(Errno::ESRCH) {
                result = Ok(0);
            }
        }
    }
    result
}

const PRIO_PROCESS: u32 = 0;
const PRIO_PGRP: u32 = 1;
const PRIO_USER: u32 = 2;

fn priority_targets(cx: &Context<'_>, which: u32, who: Pid) -> Result<Vec<Arc<Thread>>, Errno> {
    let table = &cx.kernel().processes;
    let threads_of = |processes: Vec<Arc<Process>>| {
        processes.iter().flat_map(|p| p.threads.lock().clone()).collect::<Vec<Arc<Thread>>>()
    };
    Ok(match which {
        PRIO_PROCESS if who.0 == 0 => Vec::from([cx.thread.clone()]),
        PRIO_PROCESS => table.thread(who).into_iter().collect(),
        PRIO_PGRP => threads_of(table.group(if who.0 == 0 { cx.thread.process.group() } else { who })),
        PRIO_USER => {
            let uid = if who.0 == 0 { cx.thread.process.credentials().uid } else { who.0.cast_unsigned() };
            threads_of(table.processes().into_iter().filter(|p| p.credentials().uid == uid).collect())
        }
        _ => return Err(Errno::EINVAL),
    })
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
    let process = cx.thread.process.clone();
    set_limit(cx, &process, resource, new)
}

fn set_limit(cx: &Context<'_>, target: &Process, resource: u32, new: Rlimit) -> SysResult {
    target.limits.write(resource, new, cx.thread.process.credentials().is_capable(CAP_SYS_RESOURCE))?;
    // The stack's limit holds from now on, not only for the next program.
    if let Some(space) = target.space() {
        let stack = target.limits.get(Resource::Stack);
        space.update_layout(|layout| layout.stack_limit = stack);
    }
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
    let wanted = match new.non_null() {
        Some(new) => Some(new.load(&space).await?),
        None => None,
    };
    let target = match pid.0 {
        0 => cx.thread.process.clone(),
        _ => cx.kernel().processes.thread(pid).ok_or(Errno::ESRCH)?.process.clone(),
    };
    let (mine, theirs) = (cx.thread.process.credentials(), target.credentials());
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|&u| u == mine.uid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|&g| g == mine.gid);
    if !Arc::ptr_eq(&target, &cx.thread.process) && !same && !mine.is_capable(CAP_SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    let before = target.limits.read(resource)?;
    if let Some(wanted) = wanted {
        set_limit(cx, &target, resource, wanted)?;
    }
    old.store_if(&space, &before).await?;
    Ok(0)
}

const RUSAGE_SELF: i32 = 0;
const RUSAGE_CHILDREN: i32 = -1;
const RUSAGE_THREAD: i32 = 1;

pub(super) async fn getrusage(cx: &mut Context<'_>, who: i32, out: UserPtr<Rusage>) -> SysResult {
    let (thread, process) = (cx.thread, &cx.thread.process);
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (used, system, faults) = match who {
        RUSAGE_SELF => (process.used_ns(), process.system_ns(), load(&process.faults)),
        RUSAGE_CHILDREN => {
            (load(&process.used_by_children), load(&process.system_of_children), load(&process.faults_of_children))
        }
        RUSAGE_THREAD => (thread.task.used_ns(), load(&thread.system_ns), load(&process.faults)),
        _ => return Err(Errno::EINVAL),
    };
    let mut usage = to_rusage(used, system);
    usage.minflt = faults.cast_signed();
    if who != RUSAGE_CHILDREN {
        usage.maxrss = (cx.space()?.usage().peak * 4).cast_signed();
        let [voluntary, lost] = &thread.task.switches;
        (usage.nvcsw, usage.nivcsw) = (load(voluntary).cast_signed(), load(lost).cast_signed());
    }
    out.store(&*cx.space()?, &usage).await?;
    Ok(0)
}

pub(super) fn acct(cx: &mut Context<'_>, _file: u64) -> SysResult {
    cx.thread.process.credentials().require(CAP_SYS_PACCT)?;
    // As a Linux made without process accounting.
    Err(Errno::ENOSYS)
}
