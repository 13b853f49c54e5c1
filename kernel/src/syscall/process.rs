//! Processes and threads: clone(2), execve(2), exit(2), wait4(2), groups and sessions, prctl(2).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_abi::types::{CloneArgs, Rusage, SigInfo as RawInfo, Timeval};
use aurora_machine::VirtAddr;

use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::num::{low8, low32, to_usize};
use crate::syscall::{Context, Restart, SysResult};
use crate::task::clone::{CloneFlags, CloneRequest, clone as clone_task};
use crate::task::exec::{MAX_ARG, Program, execute};
use crate::task::exit::child_status;
use crate::task::limits::Resource;
use crate::task::process::WaitStatus;
use crate::task::signal::SI_USER;
use crate::task::trace::{Event, event_stop, wants};
use crate::task::wait::{Report, WaitOptions, Which, wait};
use crate::task::{Pid, Process, SigInfo, Signal};
use crate::vfs::path::Follow;
use crate::vfs::{AT_FDCWD, Fd, FileKind};
use alloc::sync::Arc;

const SIGCHLD: u32 = 17;
const EXECVE: u64 = 59;

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
    let request = CloneRequest { flags, exit_signal, stack, parent_tid: null, child_tid: null, tls: 0, pidfd: null };
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
    // Both want the same place.
    let both = (CloneFlags::PIDFD | CloneFlags::PARENT_SETTID).bits();
    if flags & both == both {
        return Err(Errno::EINVAL);
    }
    let request = CloneRequest {
        flags: CloneFlags::from_bits_retain(flags & 0xffff_ff00),
        exit_signal: u32::from(low8(flags)),
        stack,
        parent_tid,
        child_tid,
        tls,
        pidfd: parent_tid,
    };
    clone_task(cx.thread, cx.cpu, request).await
}

/// Bytes of the first version of `struct clone_args`.
const CLONE_ARGS_FIRST_SIZE: u64 = 64;

pub(super) async fn clone3(cx: &mut Context<'_>, args: UserPtr<CloneArgs>, size: u64) -> SysResult {
    let args = cx.versioned_from(args, size, CLONE_ARGS_FIRST_SIZE).await?;
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
        pidfd: UserPtr::new(args.pidfd),
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
        let place = cx.resolve(dirfd, &name, follow)?;
        if place.inode().kind() == FileKind::Symlink {
            return Err(Errno::ELOOP);
        }
        place
    };
    let mut argv = strings(cx, argv).await?;
    let env = strings(cx, env).await?;
    if argv.is_empty() {
        // Linux gives such a program one empty argument.
        argv.push(Vec::new());
    }
    let program = Program { path: place, name, argv, env };
    // Rare and large: boxed, so that every thread's future stays small.
    let former = cx.thread.tid();
    Box::pin(execute(cx.thread, cx.cpu, program)).await?;
    if cx.thread.is_traced() {
        Box::pin(tell_tracer(cx, former)).await;
    }
    Ok(0)
}

/// A tracer learns of a new program: by an event if it asked for that, which tells the number the thread had, else by a
/// signal.
async fn tell_tracer(cx: &mut Context<'_>, former: Pid) {
    let (number, tid) = (EXECVE, u64::from(former.0.cast_unsigned()));
    if wants(cx.thread, Event::Exec) {
        event_stop(cx.thread, cx.cpu, Event::Exec, tid, number).await;
    } else if !cx.thread.trace.lock().seized {
        let _ = cx.thread.send(SigInfo::user(Signal::SIGTRAP, SI_USER, cx.thread.process.pid, 0));
    }
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

pub(super) fn exit(cx: &mut Context<'_>, status: u32) -> SysResult {
    cx.thread.exit_code.store(low8(u64::from(status)), Ordering::Relaxed);
    cx.thread.must_end.store(true, Ordering::Release);
    Ok(0)
}

pub(super) fn exit_group(cx: &mut Context<'_>, status: u32) -> SysResult {
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
    usage.store_if(&space, &to_rusage(report.used, report.system)).await?;
    pid_result(report.pid)
}

/// Processor time, and what of it was in the kernel, as getrusage(2) tells them.
pub(super) fn to_rusage(used: u64, system: u64) -> Rusage {
    let time =
        |ns: u64| Timeval { sec: (ns / 1_000_000_000).cast_signed(), usec: (ns % 1_000_000_000 / 1000).cast_signed() };
    Rusage { utime: time(used.saturating_sub(system)), stime: time(system.min(used)), ..Rusage::default() }
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
        3 if id.0 >= 0 => {
            let file = super::event::pidfd_file(cx, Fd(id.0))?;
            let pid = crate::ipc::pidfd::of(&file).map_or(Pid(0), |p| p.process.pid);
            return wait_pidfd(cx, Which::Process(pid), file.nonblocking(), options, info, usage).await;
        }
        _ => return Err(Errno::EINVAL),
    };
    let report = wait(cx.thread, which, options).await?;
    tell_report(cx, report, info, usage).await
}

/// waitid(2) on a pidfd; one that does not wait says so, and not that nothing happened.
async fn wait_pidfd(
    cx: &Context<'_>,
    which: Which,
    nonblocking: bool,
    options: WaitOptions,
    info: UserPtr<RawInfo>,
    usage: UserPtr<Rusage>,
) -> SysResult {
    let asked = options.contains(WaitOptions::NOHANG);
    let options = if nonblocking { options | WaitOptions::NOHANG } else { options };
    let report = wait(cx.thread, which, options).await?;
    if report.is_none() && !asked {
        return Err(Errno::EAGAIN);
    }
    tell_report(cx, report, info, usage).await
}

async fn tell_report(
    cx: &Context<'_>,
    report: Option<Report>,
    info: UserPtr<RawInfo>,
    usage: UserPtr<Rusage>,
) -> SysResult {
    let space = cx.space()?;
    let raw = report.as_ref().map_or_else(RawInfo::default, child_info);
    info.store_if(&space, &raw).await?;
    if let Some(report) = report {
        usage.store_if(&space, &to_rusage(report.used, report.system)).await?;
    }
    Ok(0)
}

fn child_info(report: &Report) -> RawInfo {
    let (code, value) = child_status(report.status);
    crate::task::SigInfo::child(crate::task::Signal::SIGCHLD, code, report.pid, report.uid, value).to_raw()
}

pub(super) fn getpid(cx: &mut Context<'_>) -> SysResult {
    pid_result(cx.thread.process.pid)
}

pub(super) fn gettid(cx: &mut Context<'_>) -> SysResult {
    pid_result(cx.thread.tid())
}

pub(super) fn getppid(cx: &mut Context<'_>) -> SysResult {
    pid_result(cx.thread.process.parent_pid())
}

pub(super) fn set_tid_address(cx: &mut Context<'_>, at: u64) -> SysResult {
    cx.thread.clear_child_tid.store(at, Ordering::Relaxed);
    pid_result(cx.thread.tid())
}

const ROBUST_HEAD_SIZE: u64 = 24;

const RSEQ_UNREGISTER: u32 = 1;

pub(super) async fn rseq(cx: &mut Context<'_>, at: VirtAddr, len: u32, flags: u32, signature: u32) -> SysResult {
    match flags {
        RSEQ_UNREGISTER => cx.thread.rseq.unregister(&*cx.space()?, at, len, signature).await?,
        0 => cx.thread.rseq.register(at, len, signature)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

pub(super) fn set_robust_list(cx: &mut Context<'_>, head: u64, len: u64) -> SysResult {
    if len != ROBUST_HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    cx.thread.robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

pub(super) async fn get_robust_list(
    cx: &mut Context<'_>,
    tid: Pid,
    head: UserPtr<u64>,
    len: UserPtr<u64>,
) -> SysResult {
    let thread = match tid.0 {
        0 => cx.thread.clone(),
        _ => cx.kernel().processes.thread(tid).ok_or(Errno::ESRCH)?,
    };
    crate::task::trace::may_look(&cx.thread.process, &thread.process)?;
    let space = cx.space()?;
    len.store(&space, &ROBUST_HEAD_SIZE).await?;
    head.store(&space, &thread.robust_list.load(Ordering::Relaxed)).await?;
    Ok(0)
}

/// A process by number, 0 meaning the caller.
pub(super) fn process_of(cx: &Context<'_>, pid: Pid) -> Result<Arc<Process>, Errno> {
    if pid.0 == 0 {
        return Ok(cx.thread.process.clone());
    }
    cx.kernel().processes.process(pid).ok_or(Errno::ESRCH)
}

pub(super) fn getpgid(cx: &mut Context<'_>, pid: Pid) -> SysResult {
    pid_result(process_of(cx, pid)?.group())
}

pub(super) fn getpgrp(cx: &mut Context<'_>) -> SysResult {
    pid_result(cx.thread.process.group())
}

pub(super) fn getsid(cx: &mut Context<'_>, pid: Pid) -> SysResult {
    pid_result(process_of(cx, pid)?.session())
}

pub(super) fn setsid(cx: &mut Context<'_>) -> SysResult {
    let process = &cx.thread.process;
    let leads_group = !cx.kernel().processes.group(process.pid).is_empty();
    if leads_group {
        return Err(Errno::EPERM);
    }
    process.start_session();
    pid_result(process.pid)
}

pub(super) fn setpgid(cx: &mut Context<'_>, pid: Pid, group: Pid) -> SysResult {
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

pub(super) async fn restart_syscall(cx: &mut Context<'_>) -> SysResult {
    let restart = cx.thread.restart.lock().take();
    match restart {
        Some(Restart::Futex(at, value, bits, private, deadline)) => {
            super::futex::futex_wait(cx, VirtAddr(at), private, value, bits, deadline).await
        }
        Some(Restart::Sleep(deadline, remaining)) => super::time::sleep(cx, deadline, remaining).await,
        Some(Restart::Poll(fds, count, deadline)) => {
            super::poll::poll_until(cx, UserPtr::new(fds), count, deadline).await
        }
        None => Err(Errno::EINTR),
    }
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
