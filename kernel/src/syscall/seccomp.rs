//! seccomp(2), and what filters make of a call.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use aurora_abi::types::{SockFilter, SockProgram};
use aurora_abi::{Abi, Errno};
use aurora_machine::{Reg, UserContext, VirtAddr};

use crate::klog;
use crate::memory::UserPtr;
use crate::num::to_usize;
use crate::security::credentials::CAP_SYS_ADMIN;
use crate::syscall::{Context, Gate, SysResult, registers};
use crate::task::process::WaitStatus;
use crate::task::seccomp::{ACTIONS, ARCH, Data, Filter, MAX_INSTRUCTIONS, Seccomp, Verdict};
use crate::task::signal::{SYS_SECCOMP, SigInfo};
use crate::task::trace::{Event, FILTERED, event_stop, wants};
use crate::task::{Signal, Thread};

const SET_MODE_STRICT: u32 = 0;
const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;

const FLAG_TSYNC: u64 = 1;
const FLAG_LOG: u64 = 2;
const FLAG_SPEC_ALLOW: u64 = 4;
const FLAG_TSYNC_ESRCH: u64 = 16;

pub(super) async fn seccomp(cx: &mut Context<'_>, operation: u32, flags: u64, at: u64) -> SysResult {
    match operation {
        SET_MODE_STRICT if flags == 0 && at == 0 => set_strict(cx),
        SET_MODE_FILTER => set_filter(cx, flags, at).await,
        GET_ACTION_AVAIL if flags == 0 => {
            let action: u32 = UserPtr::new(at).load(&*cx.space()?).await?;
            if ACTIONS.iter().any(|(number, _)| *number == action) { Ok(0) } else { Err(Errno::EOPNOTSUPP) }
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Leaves the thread read, write, exit and sigreturn.
pub(super) fn set_strict(cx: &Context<'_>) -> SysResult {
    let mut seccomp = cx.thread.seccomp.lock();
    match *seccomp {
        Seccomp::Filtered(_) => return Err(Errno::EINVAL),
        _ => *seccomp = Seccomp::Strict,
    }
    cx.thread.watched.fetch_or(FILTERED, Ordering::Relaxed);
    Ok(0)
}

/// Puts a filter on top of those the thread has.
pub(super) async fn set_filter(cx: &Context<'_>, flags: u64, at: u64) -> SysResult {
    if flags & !(FLAG_TSYNC | FLAG_LOG | FLAG_SPEC_ALLOW | FLAG_TSYNC_ESRCH) != 0 {
        return Err(Errno::EINVAL);
    }
    let program = read_program(cx, at).await?;
    let process = &cx.thread.process;
    if !process.no_new_privs.load(Ordering::Relaxed) && !process.credentials().is_capable(CAP_SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    let before = match &*cx.thread.seccomp.lock() {
        Seccomp::Off => None,
        Seccomp::Strict => return Err(Errno::EINVAL),
        Seccomp::Filtered(filter) => Some(filter.clone()),
    };
    let charge = cx.kernel().memory.charge((program.len() * SockFilter::SIZE) as u64 + 128)?;
    let filter = Filter::new(program, before.clone(), charge)?;
    if flags & FLAG_TSYNC != 0 {
        return synchronize(cx, &filter, before.as_ref(), flags);
    }
    give(cx.thread, &filter);
    Ok(0)
}

async fn read_program(cx: &Context<'_>, at: u64) -> Result<Vec<SockFilter>, Errno> {
    let space = cx.space()?;
    let SockProgram { len, filter, .. } = UserPtr::<SockProgram>::new(at).load(&space).await?;
    let len = usize::from(len);
    if len == 0 || len > MAX_INSTRUCTIONS {
        return Err(Errno::EINVAL);
    }
    let mut bytes = alloc::vec![0; len * SockFilter::SIZE];
    space.copy_in(VirtAddr(filter), &mut bytes).await?;
    Ok(bytes.chunks(SockFilter::SIZE).map(SockFilter::load).collect())
}

fn give(thread: &Thread, filter: &Arc<Filter>) {
    *thread.seccomp.lock() = Seccomp::Filtered(filter.clone());
    thread.watched.fetch_or(FILTERED, Ordering::Relaxed);
}

/// Gives a filter to all threads, if all have none but those it stands on.
fn synchronize(cx: &Context<'_>, filter: &Arc<Filter>, before: Option<&Arc<Filter>>, flags: u64) -> SysResult {
    let threads = cx.thread.process.threads.lock().clone();
    let fits = |thread: &Arc<Thread>| match (&*thread.seccomp.lock(), before) {
        (Seccomp::Off, _) => true,
        (Seccomp::Filtered(theirs), Some(mine)) => mine.descends_from(theirs),
        _ => false,
    };
    if let Some(odd) = threads.iter().filter(|t| !Arc::ptr_eq(t, cx.thread)).find(|t| !fits(t)) {
        let number = u64::from(odd.tid().0.cast_unsigned());
        return if flags & FLAG_TSYNC_ESRCH != 0 { Err(Errno::ESRCH) } else { Ok(number) };
    }
    threads.iter().for_each(|thread| give(thread, filter));
    Ok(0)
}

/// What becomes of a call.
pub(crate) enum Ruling {
    /// It is made, perhaps another.
    Make(u64),
    /// It is not; this is in RAX.
    Instead(u64),
}

/// Calls of strict mode: read, write, exit, rt_sigreturn.
const STRICT: [u64; 4] = [0, 1, 60, 15];

/// Asks a thread's filters about a call.
pub(crate) async fn filter_call(thread: &Arc<Thread>, cpu: &mut UserContext, gate: Gate, number: u64) -> Ruling {
    let seccomp = thread.seccomp.lock().clone();
    let filter = match seccomp {
        Seccomp::Off => return Ruling::Make(number),
        // A filter knows Linux's numbers: by ours nothing passes.
        _ if gate == Gate::Aurora => return Ruling::Instead(Errno::ENOSYS.to_result()),
        Seccomp::Strict if STRICT.contains(&number) => return Ruling::Make(number),
        Seccomp::Strict => {
            let _ = thread.send(SigInfo::kernel(Signal::SIGKILL));
            return Ruling::Instead(number);
        }
        Seccomp::Filtered(filter) => filter,
    };
    let data = Data { number, at: cpu.rip, arguments: registers(cpu) };
    match filter.decide(&data) {
        Verdict::Allow => Ruling::Make(number),
        Verdict::Log => {
            klog!(thread.kernel(), "seccomp: process {} made call {number}", thread.process.pid.0);
            Ruling::Make(number)
        }
        Verdict::Errno(errno) => Ruling::Instead((-i64::from(errno.min(4095))).cast_unsigned()),
        Verdict::Trap(value) => {
            let call = u64::from(crate::num::low32(number)) | u64::from(ARCH) << 32;
            let fields = [cpu.rip, call, u64::from(value)];
            thread.force(SigInfo { signal: Signal::SIGSYS, code: SYS_SECCOMP, fields });
            Ruling::Instead(number)
        }
        Verdict::Trace(value) => ask_tracer(thread, cpu, &filter, number, value).await,
        Verdict::KillThread if thread.process.threads.lock().len() > 1 => {
            thread.exit_code.store(0, Ordering::Relaxed);
            thread.must_end.store(true, Ordering::Release);
            Ruling::Instead(number)
        }
        Verdict::KillThread | Verdict::KillProcess => {
            thread.process.begin_end(WaitStatus::Killed(Signal::SIGSYS, false));
            Ruling::Instead(number)
        }
    }
}

async fn ask_tracer(thread: &Arc<Thread>, cpu: &mut UserContext, filter: &Filter, number: u64, value: u16) -> Ruling {
    if !wants(thread, Event::Seccomp) {
        return Ruling::Instead(Errno::ENOSYS.to_result());
    }
    let left = Box::pin(event_stop(thread, cpu, Event::Seccomp, u64::from(value), number)).await;
    if left == u64::MAX {
        return Ruling::Instead(cpu.reg(Reg::Rax));
    }
    // The tracer may have changed the call: it is judged again, and not asked about again.
    let data = Data { number: left, at: cpu.rip, arguments: registers(cpu) };
    match filter.decide(&data) {
        Verdict::Allow | Verdict::Log | Verdict::Trace(_) => Ruling::Make(left),
        Verdict::Errno(errno) => Ruling::Instead((-i64::from(errno.min(4095))).cast_unsigned()),
        _ => {
            thread.process.begin_end(WaitStatus::Killed(Signal::SIGSYS, false));
            Ruling::Instead(left)
        }
    }
}

/// Reads a filter of `PR_SET_SECCOMP`, which has no flags.
pub(super) async fn set_by_prctl(cx: &Context<'_>, mode: u64, at: u64) -> SysResult {
    match to_usize(mode) {
        1 => set_strict(cx),
        2 => set_filter(cx, 0, at).await,
        _ => Err(Errno::EINVAL),
    }
}
