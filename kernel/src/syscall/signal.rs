//! Signals: kill(2), rt_sigaction(2), rt_sigprocmask(2), sigaltstack(2), rt_sigsuspend(2), rt_sigtimedwait(2).

use aurora_abi::Errno;
use aurora_abi::types::{SigAction, SigInfo as RawInfo, StackT, Timespec};
use aurora_machine::{Instant, Reg};

use crate::memory::UserPtr;
use crate::syscall::time::to_ns;
use crate::syscall::{Context, SysResult};
use crate::task::frame::{is_on, shown_flags, sigreturn};
use crate::task::signal::{IGNORE, SI_TKILL, SI_USER, SigInfo, SignalSet, may_signal};
use crate::task::{Pid, Signal};

/// Bytes of a signal set.
const SET_SIZE: u64 = 8;

pub(super) async fn rt_sigaction(
    cx: &mut Context<'_>,
    number: i32,
    new: UserPtr<SigAction>,
    old: UserPtr<SigAction>,
    size: u64,
) -> SysResult {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let signal = Signal::from_arg(number)?;
    let space = cx.space()?;
    let process = &cx.thread.process;
    let actions = process.actions.lock().clone();
    let before = actions.get(signal);
    if let Some(new) = new.non_null() {
        if signal == Signal::SIGKILL || signal == Signal::SIGSTOP {
            return Err(Errno::EINVAL);
        }
        let mut action = new.load(&space).await?;
        action.mask = SignalSet(action.mask).without_unblockable().0;
        actions.set(signal, action);
        // A signal that is now ignored is forgotten, even if it was blocked.
        if actions.ignores(signal) || action.handler == IGNORE {
            let gone = SignalSet::default().with(signal);
            process.pending.discard(gone);
            process.threads.lock().iter().for_each(|t| t.pending.discard(gone));
        }
    }
    old.store_if(&space, &before).await?;
    Ok(0)
}

const SIG_BLOCK: u32 = 0;
const SIG_UNBLOCK: u32 = 1;
const SIG_SETMASK: u32 = 2;

pub(super) async fn rt_sigprocmask(
    cx: &mut Context<'_>,
    how: u32,
    new: UserPtr<u64>,
    old: UserPtr<u64>,
    size: u64,
) -> SysResult {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let before = cx.thread.mask();
    if let Some(new) = new.non_null() {
        let set = new.load(&space).await?;
        cx.thread.set_mask(SignalSet(match how {
            SIG_BLOCK => before.0 | set,
            SIG_UNBLOCK => before.0 & !set,
            SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        }));
    }
    old.store_if(&space, &before.0).await?;
    Ok(0)
}

pub(super) async fn rt_sigpending(cx: &mut Context<'_>, out: UserPtr<u64>, size: u64) -> SysResult {
    if size > SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let pending = cx.thread.pending.set().union(cx.thread.process.pending.set()).0 & cx.thread.mask().0;
    out.store(&*cx.space()?, &pending).await?;
    Ok(0)
}

pub(super) async fn rt_sigsuspend(cx: &mut Context<'_>, mask: UserPtr<u64>, size: u64) -> SysResult {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let mask = mask.load(&*cx.space()?).await?;
    cx.thread.set_temporary_mask(SignalSet(mask));
    wait_for_signal(cx).await
}

pub(super) async fn pause(cx: &mut Context<'_>) -> SysResult {
    wait_for_signal(cx).await
}

/// Waits for a signal that is handled: one that is not lets the call go on waiting.
async fn wait_for_signal(cx: &Context<'_>) -> SysResult {
    cx.thread.interruptible(core::future::pending::<()>()).await;
    Err(Errno::ERESTARTNOHAND)
}

pub(super) async fn rt_sigtimedwait(
    cx: &mut Context<'_>,
    set: UserPtr<u64>,
    info: UserPtr<RawInfo>,
    timeout: UserPtr<Timespec>,
    size: u64,
) -> SysResult {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let wanted = SignalSet(set.load(&space).await?).without_unblockable();
    let deadline = match timeout.non_null() {
        Some(timeout) => cx.kernel().machine.now() + to_ns(timeout.load(&space).await?)?,
        None => Instant::NEVER,
    };
    let thread = cx.thread;
    let take = || thread.take_signal(wanted);
    // While waiting the wanted signals are unblocked, so that their coming wakes this thread.
    let mask = thread.mask();
    thread.set_awaited(wanted);
    thread.set_mask(SignalSet(mask.0 & !wanted.0));
    let mut sleep = core::pin::pin!(cx.kernel().sleep_until(deadline));
    let got = core::future::poll_fn(|context| {
        use core::task::Poll;
        if let Some(info) = take() {
            return Poll::Ready(Ok(info));
        }
        if thread.is_interrupted() {
            return Poll::Ready(Err(Errno::EINTR));
        }
        sleep.as_mut().poll(context).map(|()| Err(Errno::EAGAIN))
    })
    .await;
    thread.set_mask(mask);
    thread.set_awaited(SignalSet(0));
    let got = got?;
    info.store_if(&space, &got.to_raw()).await?;
    Ok(u64::from(got.signal.number()))
}

pub(super) async fn rt_sigreturn(cx: &mut Context<'_>) -> SysResult {
    let result = sigreturn(cx.thread, cx.cpu).await;
    if result.is_err() {
        cx.thread.force(SigInfo::kernel(Signal::SIGSEGV));
        return Ok(cx.cpu.reg(Reg::Rax));
    }
    result
}

const MINSIGSTKSZ: u64 = 2048;
const SS_DISABLE: i32 = 2;
const SS_ONSTACK: i32 = 1;
const SS_AUTODISARM: i32 = i32::MIN;

pub(super) async fn sigaltstack(cx: &mut Context<'_>, new: UserPtr<StackT>, old: UserPtr<StackT>) -> SysResult {
    let space = cx.space()?;
    let rsp = cx.cpu.reg(Reg::Rsp);
    let before = *cx.thread.alternate_stack.lock();
    if let Some(new) = new.non_null() {
        let mut stack = new.load(&space).await?;
        if is_on(&before, rsp) {
            return Err(Errno::EPERM);
        }
        let mode = stack.flags & !SS_AUTODISARM;
        if !matches!(mode, 0 | SS_DISABLE | SS_ONSTACK) {
            return Err(Errno::EINVAL);
        }
        if mode == SS_DISABLE {
            (stack.sp, stack.size) = (0, 0);
        } else if stack.size < MINSIGSTKSZ {
            return Err(Errno::ENOMEM);
        }
        *cx.thread.alternate_stack.lock() = stack;
    }
    let shown = StackT { flags: shown_flags(&before, rsp), ..before };
    old.store_if(&space, &shown).await?;
    Ok(0)
}

fn from_arg(number: i32) -> Result<Option<Signal>, Errno> {
    if number == 0 { Ok(None) } else { Signal::from_arg(number).map(Some) }
}

pub(super) fn kill(cx: &mut Context<'_>, pid: Pid, number: i32) -> SysResult {
    let signal = from_arg(number)?;
    let caller = &cx.thread.process;
    let table = &cx.kernel().processes;
    let info = |signal| SigInfo::user(signal, SI_USER, caller.pid, caller.credentials().uid);
    let targets = match pid.0 {
        i32::MIN => return Err(Errno::ESRCH),
        1.. => table.process(pid).into_iter().collect(),
        0 => table.group(caller.group()),
        -1 => {
            let all = table.processes();
            all.into_iter().filter(|p| p.pid != Pid(1) && p.pid != caller.pid).collect()
        }
        _ => table.group(Pid(-pid.0)),
    };
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    let mut result = Err(Errno::EPERM);
    for target in targets {
        if may_signal(caller, &target, signal).is_ok() {
            result = Ok(0);
            if let Some(signal) = signal {
                let _ = target.send(info(signal));
            }
        }
    }
    result
}

pub(super) fn tkill(cx: &mut Context<'_>, tid: Pid, number: i32) -> SysResult {
    send_to_thread(cx, None, tid, number)
}

pub(super) fn tgkill(cx: &mut Context<'_>, pid: Pid, tid: Pid, number: i32) -> SysResult {
    if pid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    send_to_thread(cx, Some(pid), tid, number)
}

fn send_to_thread(cx: &Context<'_>, pid: Option<Pid>, tid: Pid, number: i32) -> SysResult {
    if tid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    let signal = from_arg(number)?;
    let thread = cx.kernel().processes.thread(tid).ok_or(Errno::ESRCH)?;
    if pid.is_some_and(|p| p != thread.process.pid) {
        return Err(Errno::ESRCH);
    }
    let caller = &cx.thread.process;
    may_signal(caller, &thread.process, signal)?;
    if let Some(signal) = signal {
        thread.send(SigInfo::user(signal, SI_TKILL, caller.pid, caller.credentials().uid))?;
    }
    Ok(0)
}

pub(super) async fn rt_sigqueueinfo(cx: &mut Context<'_>, pid: Pid, number: i32, info: UserPtr<RawInfo>) -> SysResult {
    let signal = Signal::from_arg(number)?;
    let raw = info.load(&*cx.space()?).await?;
    let target = cx.kernel().processes.process(pid).ok_or(Errno::ESRCH)?;
    // Nobody may pretend to be the kernel or kill(2) towards others.
    if (raw.code >= 0 || raw.code == SI_TKILL) && pid != cx.thread.process.pid {
        return Err(Errno::EPERM);
    }
    may_signal(&cx.thread.process, &target, Some(signal))?;
    target.send(SigInfo::from_raw(signal, &raw))?;
    Ok(0)
}

pub(super) async fn rt_tgsigqueueinfo(
    cx: &mut Context<'_>,
    pid: Pid,
    tid: Pid,
    number: i32,
    info: UserPtr<RawInfo>,
) -> SysResult {
    let raw = info.load(&*cx.space()?).await?;
    if pid.0 <= 0 || tid.0 <= 0 {
        return Err(Errno::EINVAL);
    }
    let own = pid == cx.thread.process.pid;
    if (raw.code >= 0 || raw.code == SI_TKILL) && !own {
        return Err(Errno::EPERM);
    }
    let thread = cx.kernel().processes.thread(tid).filter(|t| t.process.pid == pid).ok_or(Errno::ESRCH)?;
    let signal = from_arg(number)?;
    may_signal(&cx.thread.process, &thread.process, signal)?;
    if let Some(signal) = signal {
        thread.send(SigInfo::from_raw(signal, &raw))?;
    }
    Ok(0)
}
