//! Processes and threads: clone(2), execve(2), exit(2), wait4(2), groups and sessions, futex(2), scheduling.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_abi::types::{CloneArgs, Rlimit, Rusage, SchedParam, SigInfo as RawInfo, Timespec, Timeval};
use aurora_machine::{Instant, VirtAddr};

use crate::ipc::futex::{self, WaitEnd};
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::num::{low8, low32, to_usize};
use crate::syscall::time::to_ns;
use crate::syscall::{Context, Restart, SysResult};
use crate::task::clone::{CloneFlags, CloneRequest, clone as clone_task};
use crate::task::exec::{MAX_ARG, Program, execute};
use crate::task::exit::child_status;
use crate::task::limits::Resource;
use crate::task::process::WaitStatus;
use crate::task::wait::{Report, WaitOptions, Which, wait};
use crate::task::{Pid, Process};
use crate::vfs::path::Follow;
use crate::vfs::{AT_FDCWD, Fd};
use alloc::sync::Arc;

const SIGCHLD: u32 = 17;

fn pid_result(pid: Pid) -> SysResult {
    Ok(u64::from(pid.0.cast_unsigned()))
}

pub(super) async fn fork(cx: &mut Context<'_>) -> SysResult {
    start(cx, CloneFlags::empty(), SIGCHLD, 0).await
}

pub(super) async fn vfork(cx: &mut Context<'_>) -> SysResult {
    start(cx, CloneFlags::VM | CloneFlags::VFORK, SIGCHLD, 0).await
}

async fn start(cx: &mut Context<'_>, flags: CloneFlags, exit_signal: u32, stack: u64) -> SysResult {
    let null = UserPtr::new(0);
    let request = CloneRequest { flags, exit_signal, stack, parent_tid: null, child_tid: null, tls: 0 };
    clone_task(cx.thread, cx.cpu, request).await
}

pub(super) async fn clone(
    cx: &mut Context<'_>,
    flags: u64,
    stack: u64,
    parent_tid: UserPtr<i32>,
    child_tid: UserPtr<i32>,
    tls: u64,
) -> SysResult {
    let request = CloneRequest {
        flags: CloneFlags::from_bits_retain(flags & 0xffff_ff00),
        exit_signal: u32::from(low8(flags)),
        stack,
        parent_tid,
        child_tid,
        tls,
    };
    clone_task(cx.thread, cx.cpu, request).await
}

pub(super) async fn clone3(cx: &mut Context<'_>, args: UserPtr<CloneArgs>, size: u64) -> SysResult {
    if size < 64 {
        return Err(Errno::EINVAL);
    }
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    let mut bytes = [0; 88];
    let known = to_usize(size).min(bytes.len());
    let part = bytes.get_mut(..known).unwrap_or_default();
    cx.space()?.copy_in(args.addr(), part).await?;
    let args = <CloneArgs as aurora_abi::Abi>::load(&bytes);
    if args.set_tid_size != 0
        || args.cgroup != 0
        || args.exit_signal > 64
        || (args.stack == 0) != (args.stack_size == 0)
    {
        return Err(Errno::EINVAL);
    }
    let request = CloneRequest {
        flags: CloneFlags::from_bits_retain(args.flags),
        exit_signal: low32(args.exit_signal),
        stack: args.stack.wrapping_add(args.stack_size),
        parent_tid: UserPtr::new(args.parent_tid),
        child_tid: UserPtr::new(args.child_tid),
        tls: args.tls,
    };
    clone_task(cx.thread, cx.cpu, request).await
}

pub(super) async fn execve(
    cx: &mut Context<'_>,
    path: UserPtr<CStr>,
    argv: UserPtr<u64>,
    env: UserPtr<u64>,
) -> SysResult {
    execveat(cx, AT_FDCWD, path, argv, env, 0).await
}

const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
const AT_EMPTY_PATH: u32 = 0x1000;

pub(super) async fn execveat(
    cx: &mut Context<'_>,
    dirfd: Fd,
    path: UserPtr<CStr>,
    argv: UserPtr<u64>,
    env: UserPtr<u64>,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = cx.path(path).await?;
    let place = if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
        cx.thread.files().get(dirfd)?.path.clone().ok_or(Errno::EACCES)?
    } else {
        let follow = if flags & AT_SYMLINK_NOFOLLOW != 0 { Follow::No } else { Follow::Yes };
        cx.resolve(dirfd, &name, follow)?
    };
    let mut argv = strings(cx, argv).await?;
    let env = strings(cx, env).await?;
    if argv.is_empty() {
        // Linux gives such a program one empty argument.
        argv.push(Vec::new());
    }
    let program = Program { path: place, name, argv, env };
    // Rare and large: boxed, so that every thread's future stays small.
    Box::pin(execute(cx.thread, cx.cpu, program)).await?;
    Ok(0)
}

/// Reads a NULL-terminated vector of strings.
async fn strings(cx: &Context<'_>, vector: UserPtr<u64>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut all = Vec::new();
    let mut total = 0;
    if vector.is_null() {
        return Ok(all);
    }
    let limit = to_usize((cx.thread.process.limits.get(Resource::Stack) / 4).clamp(128 * 1024, 6 << 20));
    let space = cx.space()?;
    loop {
        let at = vector.element(all.len() as u64).load(&space).await?;
        if at == 0 {
            return Ok(all);
        }
        let text = cx.string(UserPtr::new(at), MAX_ARG).await.map_err(|e| match e {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            e => e,
        })?;
        total += text.len() + 9;
        if total > limit {
            return Err(Errno::E2BIG);
        }
        all.push(text);
    }
}

pub(super) async fn exit(cx: &mut Context<'_>, status: u32) -> SysResult {
    cx.thread.exit_code.store(low8(u64::from(status)), Ordering::Relaxed);
    cx.thread.must_end.store(true, Ordering::Release);
    Ok(0)
}

pub(super) async fn exit_group(cx: &mut Context<'_>, status: u32) -> SysResult {
    cx.thread.process.begin_end(WaitStatus::Exited(low8(u64::from(status))));
    Ok(0)
}

pub(super) async fn wait4(
    cx: &mut Context<'_>,
    pid: Pid,
    status: UserPtr<u32>,
    options: u32,
    usage: UserPtr<Rusage>,
) -> SysResult {
    let known = WaitOptions::NOHANG | WaitOptions::STOPPED | WaitOptions::CONTINUED;
    let odd = WaitOptions::NOTHREAD | WaitOptions::ALL | WaitOptions::CLONE;
    let options = WaitOptions::from_bits(options).filter(|o| (known | odd).contains(*o)).ok_or(Errno::EINVAL)?;
    let which = match pid.0 {
        i32::MIN => return Err(Errno::ESRCH),
        -0x7fff_ffff..-1 => Which::Group(Pid(-pid.0)),
        -1 => Which::Any,
        0 => Which::Group(cx.thread.process.group()),
        _ => Which::Process(pid),
    };
    let Some(report) = wait(cx.thread, which, options | WaitOptions::EXITED).await? else { return Ok(0) };
    let space = cx.space()?;
    status.store_if(&space, &report.status.encode()).await?;
    usage.store_if(&space, &to_rusage(report.used)).await?;
    pid_result(report.pid)
}

fn to_rusage(used: u64) -> Rusage {
    let time =
        |ns: u64| Timeval { sec: (ns / 1_000_000_000).cast_signed(), usec: (ns % 1_000_000_000 / 1000).cast_signed() };
    Rusage { utime: time(used), ..Rusage::default() }
}

pub(super) async fn waitid(
    cx: &mut Context<'_>,
    kind: u32,
    id: Pid,
    info: UserPtr<RawInfo>,
    options: u32,
    usage: UserPtr<Rusage>,
) -> SysResult {
    let options = WaitOptions::from_bits(options).ok_or(Errno::EINVAL)?;
    let changes = WaitOptions::EXITED | WaitOptions::STOPPED | WaitOptions::CONTINUED;
    if !options.intersects(changes) {
        return Err(Errno::EINVAL);
    }
    let which = match kind {
        0 => Which::Any,
        1 if id.0 > 0 => Which::Process(id),
        2 if id.0 == 0 => Which::Group(cx.thread.process.group()),
        2 if id.0 > 0 => Which::Group(id),
        _ => return Err(Errno::EINVAL),
    };
    let report = wait(cx.thread, which, options).await?;
    let space = cx.space()?;
    let raw = report.as_ref().map_or_else(RawInfo::default, child_info);
    info.store_if(&space, &raw).await?;
    if let Some(report) = report {
        usage.store_if(&space, &to_rusage(report.used)).await?;
    }
    Ok(0)
}

fn child_info(report: &Report) -> RawInfo {
    let (code, value) = child_status(report.status);
    crate::task::SigInfo::child(crate::task::Signal::SIGCHLD, code, report.pid, report.uid, value).to_raw()
}

pub(super) async fn getpid(cx: &mut Context<'_>) -> SysResult {
    pid_result(cx.thread.process.pid)
}

pub(super) async fn gettid(cx: &mut Context<'_>) -> SysResult {
    pid_result(cx.thread.tid)
}

pub(super) async fn getppid(cx: &mut Context<'_>) -> SysResult {
    pid_result(cx.thread.process.parent_pid())
}

pub(super) async fn set_tid_address(cx: &mut Context<'_>, at: u64) -> SysResult {
    cx.thread.clear_child_tid.store(at, Ordering::Relaxed);
    pid_result(cx.thread.tid)
}

const ROBUST_HEAD_SIZE: u64 = 24;

pub(super) async fn set_robust_list(cx: &mut Context<'_>, head: u64, len: u64) -> SysResult {
    if len != ROBUST_HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    cx.thread.robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

/// A process by number, 0 meaning the caller.
fn process_of(cx: &Context<'_>, pid: Pid) -> Result<Arc<Process>, Errno> {
    if pid.0 == 0 {
        return Ok(cx.thread.process.clone());
    }
    cx.kernel().processes.process(pid).ok_or(Errno::ESRCH)
}

pub(super) async fn getpgid(cx: &mut Context<'_>, pid: Pid) -> SysResult {
    pid_result(process_of(cx, pid)?.group())
}

pub(super) async fn getpgrp(cx: &mut Context<'_>) -> SysResult {
    pid_result(cx.thread.process.group())
}

pub(super) async fn getsid(cx: &mut Context<'_>, pid: Pid) -> SysResult {
    pid_result(process_of(cx, pid)?.session())
}

pub(super) async fn setsid(cx: &mut Context<'_>) -> SysResult {
    let process = &cx.thread.process;
    let leads_group = !cx.kernel().processes.group(process.pid).is_empty();
    if leads_group {
        return Err(Errno::EPERM);
    }
    process.start_session();
    pid_result(process.pid)
}

pub(super) async fn setpgid(cx: &mut Context<'_>, pid: Pid, group: Pid) -> SysResult {
    if group.0 < 0 {
        return Err(Errno::EINVAL);
    }
    let caller = &cx.thread.process;
    let target = process_of(cx, pid)?;
    let group = if group.0 == 0 { target.pid } else { group };
    if !Arc::ptr_eq(&target, caller) {
        let is_child = target.parent().is_some_and(|p| Arc::ptr_eq(&p, caller));
        if !is_child {
            return Err(Errno::ESRCH);
        }
        if target.has_executed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    }
    if target.session() != caller.session() || target.session() == target.pid {
        return Err(Errno::EPERM);
    }
    if group != target.pid {
        let members = cx.kernel().processes.group(group);
        if !members.iter().any(|p| p.session() == caller.session()) {
            return Err(Errno::EPERM);
        }
    }
    target.set_group(group);
    Ok(0)
}

const FUTEX_PRIVATE: u32 = 128;
const FUTEX_CLOCK_REALTIME: u32 = 256;
const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_REQUEUE: u32 = 3;
const FUTEX_CMP_REQUEUE: u32 = 4;
const FUTEX_WAKE_OP: u32 = 5;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;

pub(super) async fn futex(
    cx: &mut Context<'_>,
    at: VirtAddr,
    operation: u32,
    value: u32,
    timeout: u64,
    second: VirtAddr,
    value3: u32,
) -> SysResult {
    let private = operation & FUTEX_PRIVATE != 0;
    let space = cx.space()?;
    let table = &cx.kernel().futexes;
    match operation & !(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME) {
        FUTEX_WAIT => {
            let deadline = futex_deadline(cx, timeout, true, false).await?;
            futex_wait(cx, at, private, value, futex::ALL_BITS, deadline).await
        }
        FUTEX_WAIT_BITSET => {
            if value3 == 0 {
                return Err(Errno::EINVAL);
            }
            let real = operation & FUTEX_CLOCK_REALTIME != 0;
            let deadline = futex_deadline(cx, timeout, false, real).await?;
            futex_wait(cx, at, private, value, value3, deadline).await
        }
        FUTEX_WAKE => {
            let key = futex::key_of(&space, at, private).await?;
            Ok(table.wake(key, u64::from(value).max(1), futex::ALL_BITS))
        }
        FUTEX_WAKE_BITSET => {
            if value3 == 0 {
                return Err(Errno::EINVAL);
            }
            let key = futex::key_of(&space, at, private).await?;
            Ok(table.wake(key, u64::from(value).max(1), value3))
        }
        op @ (FUTEX_REQUEUE | FUTEX_CMP_REQUEUE) => {
            let from = futex::key_of(&space, at, private).await?;
            let to = futex::key_of(&space, second, private).await?;
            if op == FUTEX_CMP_REQUEUE && space.load_futex(at).await?.0 != value3 {
                return Err(Errno::EAGAIN);
            }
            let (woken, moved) = table.requeue(from, to, u64::from(value), u64::from(low32(timeout)));
            Ok(if op == FUTEX_CMP_REQUEUE { woken + moved } else { woken })
        }
        FUTEX_WAKE_OP => {
            let (first, other) =
                (futex::key_of(&space, at, private).await?, futex::key_of(&space, second, private).await?);
            let matched = wake_operation(&space, second, value3).await?;
            let mut woken = table.wake(first, u64::from(value), futex::ALL_BITS);
            if matched {
                woken += table.wake(other, u64::from(low32(timeout)), futex::ALL_BITS);
            }
            Ok(woken)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// Changes the second word of `FUTEX_WAKE_OP` and tells whether its old value passes the comparison.
async fn wake_operation(space: &crate::memory::AddressSpace, at: VirtAddr, coded: u32) -> Result<bool, Errno> {
    let signed12 = |v: u32| ((v & 0xfff) << 20).cast_signed() >> 20;
    let (operand, compared) = (signed12(coded >> 12), signed12(coded));
    let operand = if coded >> 31 != 0 { 1i32.wrapping_shl(operand.cast_unsigned()) } else { operand };
    let operand = operand.cast_unsigned();
    loop {
        let (old, _) = space.load_futex(at).await?;
        let new = match coded >> 28 & 7 {
            0 => operand,
            1 => old.wrapping_add(operand),
            2 => old | operand,
            3 => old & !operand,
            4 => old ^ operand,
            _ => return Err(Errno::ENOSYS),
        };
        if space.compare_exchange(at, old, new).await? == old {
            let (old, compared) = (old.cast_signed(), compared);
            return Ok(match coded >> 24 & 15 {
                0 => old == compared,
                1 => old != compared,
                2 => old < compared,
                3 => old <= compared,
                4 => old > compared,
                5 => old >= compared,
                _ => return Err(Errno::ENOSYS),
            });
        }
    }
}

async fn futex_deadline(cx: &Context<'_>, timeout: u64, relative: bool, real: bool) -> Result<Option<Instant>, Errno> {
    let Some(timeout) = UserPtr::<Timespec>::new(timeout).non_null() else { return Ok(None) };
    let ns = to_ns(timeout.load(&*cx.space()?).await?)?;
    let now = cx.kernel().machine.now();
    Ok(Some(match () {
        () if relative => now + ns,
        () if real => now + ns.saturating_sub(cx.kernel().realtime_ns()),
        () => Instant(ns),
    }))
}

async fn futex_wait(
    cx: &Context<'_>,
    at: VirtAddr,
    private: bool,
    value: u32,
    bits: u32,
    deadline: Option<Instant>,
) -> SysResult {
    let sleep = cx.kernel().sleep_until(deadline.unwrap_or(Instant::NEVER));
    match futex::wait(cx.thread, at, private, value, bits, sleep).await? {
        WaitEnd::Woken => Ok(0),
        WaitEnd::TimedOut => Err(Errno::ETIMEDOUT),
        WaitEnd::Interrupted if deadline.is_none() => Err(Errno::ERESTARTSYS),
        WaitEnd::Interrupted => {
            *cx.thread.restart.lock() = Some(Restart::Futex(at.0, value, bits, private, deadline));
            Err(Errno::ERESTARTBLOCK)
        }
    }
}

pub(super) async fn restart_syscall(cx: &mut Context<'_>) -> SysResult {
    let restart = cx.thread.restart.lock().take();
    match restart {
        Some(Restart::Futex(at, value, bits, private, deadline)) => {
            futex_wait(cx, VirtAddr(at), private, value, bits, deadline).await
        }
        Some(Restart::Sleep(deadline, remaining)) => super::time::sleep(cx, deadline, remaining).await,
        Some(Restart::Poll(fds, count, deadline)) => {
            super::poll::poll_until(cx, UserPtr::new(fds), count, deadline).await
        }
        None => Err(Errno::EINTR),
    }
}

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

const ARCH_SET_GS: u32 = 0x1001;
const ARCH_SET_FS: u32 = 0x1002;
const ARCH_GET_FS: u32 = 0x1003;
const ARCH_GET_GS: u32 = 0x1004;

pub(super) async fn arch_prctl(cx: &mut Context<'_>, code: u32, addr: u64) -> SysResult {
    match code {
        ARCH_SET_FS | ARCH_SET_GS if !VirtAddr(addr).is_user() => return Err(Errno::EPERM),
        ARCH_SET_FS => cx.cpu.fs_base = addr,
        ARCH_SET_GS => cx.cpu.gs_base = addr,
        ARCH_GET_FS => cx.space()?.store(VirtAddr(addr), &cx.cpu.fs_base).await?,
        ARCH_GET_GS => cx.space()?.store(VirtAddr(addr), &cx.cpu.gs_base).await?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

const PR_GET_DUMPABLE: u32 = 3;
const PR_SET_NAME: u32 = 15;
const PR_GET_NAME: u32 = 16;
const PR_SET_NO_NEW_PRIVS: u32 = 38;
const PR_GET_NO_NEW_PRIVS: u32 = 39;

pub(super) async fn prctl(cx: &mut Context<'_>, option: u32, a: u64, b: u64, c: u64, d: u64) -> SysResult {
    let process = &cx.thread.process;
    match option {
        PR_SET_NAME => {
            let mut name = [0; 16];
            let space = cx.space()?;
            let text = match space.copy_in_str(VirtAddr(a), &mut name).await {
                Ok(text) => text.to_vec(),
                Err(Errno::ENAMETOOLONG) => name.get(..15).unwrap_or_default().to_vec(),
                Err(errno) => return Err(errno),
            };
            cx.thread.set_name(&text);
            Ok(0)
        }
        PR_GET_NAME => {
            let mut name = cx.thread.name();
            name.resize(16, 0);
            cx.space()?.copy_out(VirtAddr(a), &name).await?;
            Ok(0)
        }
        PR_GET_DUMPABLE => Ok(1),
        PR_SET_NO_NEW_PRIVS if a == 1 && b == 0 && c == 0 && d == 0 => {
            process.no_new_privs.store(true, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_NO_NEW_PRIVS if a == 0 && b == 0 && c == 0 && d == 0 => {
            Ok(u64::from(process.no_new_privs.load(Ordering::Relaxed)))
        }
        _ => Err(Errno::EINVAL),
    }
}
