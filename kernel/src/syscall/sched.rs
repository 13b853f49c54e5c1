//! Scheduling: sched_setattr(2) and its elders, sched_setaffinity(2), ioprio_set(2).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use aurora_abi::types::{SchedAttr, SchedParam, Timespec};
use aurora_abi::{Abi, Errno};
use aurora_machine::VirtAddr;

use crate::memory::UserPtr;
use crate::num::to_usize;
use crate::security::credentials::{CAP_SYS_ADMIN, CAP_SYS_NICE};
use crate::syscall::resources::may_be_nice;
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::task::scheduler::{Policy, SLICE_NS, Scheduling};
use crate::task::{Pid, Thread};

pub(super) async fn sched_yield(_: &mut Context<'_>) -> SysResult {
    crate::task::scheduler::yield_now().await;
    Ok(0)
}

/// A thread by number, 0 meaning the caller.
fn thread_of(cx: &Context<'_>, tid: Pid) -> Result<Arc<Thread>, Errno> {
    match tid.0 {
        ..0 => Err(Errno::EINVAL),
        0 => Ok(cx.thread.clone()),
        _ => cx.kernel().processes.thread(tid).ok_or(Errno::ESRCH),
    }
}

/// Whether the caller's user owns the thread, or may act as if.
fn owns(cx: &Context<'_>, thread: &Thread) -> Result<(), Errno> {
    let (mine, theirs) = (cx.thread.process.credentials(), thread.process.credentials());
    let same = mine.euid == theirs.euid || mine.euid == theirs.uid;
    if same || mine.is_capable(CAP_SYS_NICE) { Ok(()) } else { Err(Errno::EPERM) }
}

pub(super) async fn sched_getaffinity(cx: &mut Context<'_>, tid: Pid, size: u32, mask: VirtAddr) -> SysResult {
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    if tid.0 < 0 {
        return Err(Errno::ESRCH);
    }
    thread_of(cx, tid)?;
    cx.space()?.store(mask, &1u64).await?;
    Ok(8)
}

pub(super) async fn sched_setaffinity(cx: &mut Context<'_>, tid: Pid, size: u32, mask: VirtAddr) -> SysResult {
    let mut bytes = [0; 8];
    let part = bytes.get_mut(..to_usize(u64::from(size)).min(8)).unwrap_or_default();
    cx.space()?.copy_in(mask, part).await?;
    if tid.0 < 0 {
        return Err(Errno::ESRCH);
    }
    owns(cx, &*thread_of(cx, tid)?)?;
    // One processor: a mask must name it.
    if u64::from_le_bytes(bytes) & 1 == 0 { Err(Errno::EINVAL) } else { Ok(0) }
}

const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

pub(super) fn sched_getscheduler(cx: &mut Context<'_>, tid: Pid) -> SysResult {
    let scheduling = thread_of(cx, tid)?.task.scheduling();
    let reset = if scheduling.reset_on_fork { SCHED_RESET_ON_FORK } else { 0 };
    Ok(u64::from(scheduling.policy as u32 | reset))
}

pub(super) async fn sched_getparam(cx: &mut Context<'_>, tid: Pid, out: UserPtr<SchedParam>) -> SysResult {
    if out.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority = i32::from(thread_of(cx, tid)?.task.scheduling().priority);
    out.store(&*cx.space()?, &SchedParam { priority }).await?;
    Ok(0)
}

pub(super) async fn sched_setparam(cx: &mut Context<'_>, tid: Pid, param: UserPtr<SchedParam>) -> SysResult {
    set_by_param(cx, tid, None, param).await
}

pub(super) async fn sched_setscheduler(
    cx: &mut Context<'_>,
    tid: Pid,
    policy: u32,
    param: UserPtr<SchedParam>,
) -> SysResult {
    if policy.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    set_by_param(cx, tid, Some(policy), param).await
}

async fn set_by_param(cx: &Context<'_>, tid: Pid, policy: Option<u32>, param: UserPtr<SchedParam>) -> SysResult {
    if param.is_null() || tid.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let SchedParam { priority } = param.load(&*cx.space()?).await?;
    let thread = thread_of(cx, tid)?;
    let old = thread.task.scheduling();
    let (policy, reset_on_fork) = match policy {
        Some(number) => {
            let policy = Policy::from_number(number & !SCHED_RESET_ON_FORK).ok_or(Errno::EINVAL)?;
            (policy, number & SCHED_RESET_ON_FORK != 0)
        }
        None => (old.policy, old.reset_on_fork),
    };
    let priority = u8::try_from(priority).map_err(|_| Errno::EINVAL)?;
    apply(cx, &thread, Scheduling { policy, priority, reset_on_fork }, None)
}

/// Schedules a thread another way, if that makes sense and the caller may.
fn apply(cx: &Context<'_>, thread: &Thread, new: Scheduling, nice: Option<i8>) -> SysResult {
    let old = thread.task.scheduling();
    if new.policy.is_real_time() != (new.priority > 0) || new.priority > 99 {
        return Err(Errno::EINVAL);
    }
    let process = &thread.process;
    let nice = nice.filter(|_| matches!(new.policy, Policy::Other | Policy::Batch));
    if !cx.thread.process.credentials().is_capable(CAP_SYS_NICE) {
        let limit = process.limits.get(Resource::RealTimePriority);
        let real_time = new.policy.is_real_time();
        let denied = real_time && new.policy != old.policy && limit == 0
            || real_time && new.priority > old.priority && u64::from(new.priority) > limit
            || nice.is_some_and(|n| n < thread.task.nice() && !may_be_nice(cx, process, n))
            || old.policy == Policy::Idle
                && new.policy != Policy::Idle
                && !may_be_nice(cx, process, thread.task.nice())
            || old.reset_on_fork && !new.reset_on_fork;
        owns(cx, thread)?;
        if denied {
            return Err(Errno::EPERM);
        }
    }
    thread.task.set_scheduling(new);
    if let Some(nice) = nice {
        thread.task.set_nice(nice);
    }
    cx.kernel().futexes.urgency_changed(thread);
    // Somebody may go first now.
    cx.kernel().scheduler.preempt();
    Ok(0)
}

/// The size of the first version of `struct sched_attr`.
const ATTR_FIRST_SIZE: u32 = 48;
const FLAG_RESET_ON_FORK: u64 = 1;
const FLAG_KEEP_POLICY: u64 = 8;
const FLAG_KEEP_PARAMS: u64 = 0x10;

pub(super) async fn sched_setattr(cx: &mut Context<'_>, tid: Pid, attr: UserPtr<SchedAttr>, flags: u32) -> SysResult {
    if attr.is_null() || tid.0 < 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let size = match UserPtr::<u32>::new(attr.addr().0).load(&space).await? {
        0 => ATTR_FIRST_SIZE,
        size => size,
    };
    let given = cx.versioned_from(attr, u64::from(size), u64::from(ATTR_FIRST_SIZE)).await;
    let attr = match given {
        Err(Errno::E2BIG | Errno::EINVAL) => {
            let known = u32::try_from(SchedAttr::SIZE).unwrap_or(0);
            UserPtr::<u32>::new(attr.addr().0).store(&space, &known).await?;
            return Err(Errno::E2BIG);
        }
        given => given?,
    };
    if attr.policy.cast_signed() < 0 || attr.flags & !(FLAG_RESET_ON_FORK | FLAG_KEEP_POLICY | FLAG_KEEP_PARAMS) != 0 {
        return Err(Errno::EINVAL);
    }
    let thread = thread_of(cx, tid)?;
    let old = thread.task.scheduling();
    let policy = match attr.flags & FLAG_KEEP_POLICY {
        0 => Policy::from_number(attr.policy).ok_or(Errno::EINVAL)?,
        _ => old.policy,
    };
    let keeps = attr.flags & FLAG_KEEP_PARAMS != 0;
    let priority = if keeps { old.priority } else { u8::try_from(attr.priority).map_err(|_| Errno::EINVAL)? };
    let nice = i8::try_from(attr.nice.clamp(-20, 19)).ok().filter(|_| !keeps);
    let reset_on_fork = attr.flags & FLAG_RESET_ON_FORK != 0;
    apply(cx, &thread, Scheduling { policy, priority, reset_on_fork }, nice)
}

pub(super) async fn sched_getattr(
    cx: &mut Context<'_>,
    tid: Pid,
    out: UserPtr<SchedAttr>,
    size: u32,
    flags: u32,
) -> SysResult {
    if out.is_null() || tid.0 < 0 || flags != 0 || !(ATTR_FIRST_SIZE..=4096).contains(&size) {
        return Err(Errno::EINVAL);
    }
    let thread = thread_of(cx, tid)?;
    let scheduling = thread.task.scheduling();
    let shown = to_usize(u64::from(size)).min(SchedAttr::SIZE);
    let attr = SchedAttr {
        size: u32::try_from(shown).unwrap_or(0),
        policy: scheduling.policy as u32,
        flags: if scheduling.reset_on_fork { FLAG_RESET_ON_FORK } else { 0 },
        nice: if scheduling.policy.is_real_time() { 0 } else { i32::from(thread.task.nice()) },
        priority: u32::from(scheduling.priority),
        ..SchedAttr::default()
    };
    let mut bytes = [0; SchedAttr::SIZE];
    attr.store(&mut bytes);
    cx.space()?.copy_out(out.addr(), bytes.get(..shown).unwrap_or_default()).await?;
    Ok(0)
}

/// Policies with an answer: a deadline's is given though the policy cannot be had.
pub(super) fn sched_get_priority_max(_: &mut Context<'_>, policy: u32) -> SysResult {
    priority_bound(policy, 99)
}

pub(super) fn sched_get_priority_min(_: &mut Context<'_>, policy: u32) -> SysResult {
    priority_bound(policy, 1)
}

fn priority_bound(policy: u32, real_time: u64) -> SysResult {
    match policy {
        1 | 2 => Ok(real_time),
        0 | 3 | 5 | 6 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// A turn of a round-robin task: Linux's `sched_rr_timeslice_ms`.
const ROUND_ROBIN_NS: i64 = 100_000_000;

pub(super) async fn sched_rr_get_interval(cx: &mut Context<'_>, tid: Pid, out: UserPtr<Timespec>) -> SysResult {
    let nsec = match thread_of(cx, tid)?.task.scheduling().policy {
        Policy::RoundRobin => ROUND_ROBIN_NS,
        Policy::Fifo => 0,
        _ => SLICE_NS.cast_signed(),
    };
    out.store(&*cx.space()?, &Timespec { sec: 0, nsec }).await?;
    Ok(0)
}

const IOPRIO_WHO_PROCESS: u32 = 1;
const IOPRIO_CLASS_SHIFT: u32 = 13;

/// The threads ioprio_set(2) means.
fn io_target(cx: &Context<'_>, which: u32, who: Pid) -> Result<Arc<Thread>, Errno> {
    if which != IOPRIO_WHO_PROCESS {
        return Err(Errno::EINVAL);
    }
    match who.0 {
        0 => Ok(cx.thread.clone()),
        _ => cx.kernel().processes.thread(who).ok_or(Errno::ESRCH),
    }
}

pub(super) fn ioprio_set(cx: &mut Context<'_>, which: u32, who: Pid, priority: u32) -> SysResult {
    let (class, level) = (priority >> IOPRIO_CLASS_SHIFT, priority & 7);
    match class {
        0 if level == 0 => {}
        1 if !cx.thread.process.credentials().is_capable(CAP_SYS_ADMIN) => return Err(Errno::EPERM),
        1..=3 => {}
        _ => return Err(Errno::EINVAL),
    }
    let thread = io_target(cx, which, who)?;
    owns(cx, &thread)?;
    thread.task.io_priority.store(priority, Ordering::Relaxed);
    Ok(0)
}

pub(super) fn ioprio_get(cx: &mut Context<'_>, which: u32, who: Pid) -> SysResult {
    let thread = io_target(cx, which, who)?;
    Ok(u64::from(thread.task.io_priority.load(Ordering::Relaxed)))
}
