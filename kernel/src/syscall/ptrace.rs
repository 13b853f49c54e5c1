//! ptrace(2), process_vm_readv(2) and kcmp(2): looking into other processes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use aurora_abi::types::{IoVec, SigInfo as RawInfo, SyscallInfo, UserRegs};
use aurora_abi::{Abi, Errno};
use aurora_machine::{FxState, Reg, UserContext, VirtAddr};

use crate::memory::{AddressSpace, UserPtr};
use crate::num::{low8, low32, low32_signed, to_usize};
use crate::syscall::file::many;
use crate::syscall::{Context, SysResult};
use crate::task::fpstate;
use crate::task::signal::{SigInfo, SignalSet};
use crate::task::trace::{Event, INTERRUPT, Options, Resume, Stop, StopKind, may_look};
use crate::task::{Pid, Signal, Thread};
use crate::vfs::Fd;

const TRACEME: u64 = 0;
const PEEKTEXT: u64 = 1;
const PEEKDATA: u64 = 2;
const PEEKUSER: u64 = 3;
const POKETEXT: u64 = 4;
const POKEDATA: u64 = 5;
const POKEUSER: u64 = 6;
const CONT: u64 = 7;
const KILL: u64 = 8;
const SINGLESTEP: u64 = 9;
const GETREGS: u64 = 12;
const SETREGS: u64 = 13;
const GETFPREGS: u64 = 14;
const SETFPREGS: u64 = 15;
const ATTACH: u64 = 16;
const DETACH: u64 = 17;
const SYSCALL: u64 = 24;
const SETOPTIONS: u64 = 0x4200;
const GETEVENTMSG: u64 = 0x4201;
const GETSIGINFO: u64 = 0x4202;
const SETSIGINFO: u64 = 0x4203;
const GETREGSET: u64 = 0x4204;
const SETREGSET: u64 = 0x4205;
const SEIZE: u64 = 0x4206;
const PTRACE_INTERRUPT: u64 = 0x4207;
const LISTEN: u64 = 0x4208;
const PEEKSIGINFO: u64 = 0x4209;
const GETSIGMASK: u64 = 0x420a;
const SETSIGMASK: u64 = 0x420b;
const GET_SYSCALL_INFO: u64 = 0x420e;

const NT_PRSTATUS: u64 = 1;
const NT_PRFPREG: u64 = 2;
const NT_X86_XSTATE: u64 = 0x202;

pub(super) async fn ptrace(cx: &mut Context<'_>, request: u64, pid: Pid, addr: u64, data: u64) -> SysResult {
    if request == TRACEME {
        return trace_me(cx);
    }
    let target = cx.kernel().processes.thread(pid).ok_or(Errno::ESRCH)?;
    match request {
        ATTACH | SEIZE => return attach(cx, &target, request == SEIZE, addr, data),
        _ => {}
    }
    let tracer = target.trace.lock().tracer().filter(|_| target.is_traced());
    if !tracer.is_some_and(|t| Arc::ptr_eq(&t, &cx.thread.process)) {
        return Err(Errno::ESRCH);
    }
    match request {
        KILL => {
            let _ = target.send(SigInfo::kernel(Signal::SIGKILL));
            return Ok(0);
        }
        PTRACE_INTERRUPT => {
            if !target.trace.lock().seized {
                return Err(Errno::EIO);
            }
            target.watched.fetch_or(INTERRUPT, Ordering::Relaxed);
            target.wake();
            return Ok(0);
        }
        _ => {}
    }
    if target.trace.lock().stop.is_none() {
        return Err(Errno::ESRCH);
    }
    match request {
        CONT | SYSCALL | SINGLESTEP | DETACH => go_on(&target, request, data),
        PEEKTEXT | PEEKDATA | POKETEXT | POKEDATA => word(cx, &target, request, addr, data).await,
        PEEKUSER | POKEUSER => user_word(cx, &target, request == POKEUSER, addr, data).await,
        GETREGS | SETREGS | GETFPREGS | SETFPREGS | GETREGSET | SETREGSET => {
            registers(cx, &target, request, addr, data).await
        }
        SETOPTIONS => {
            let options = u32::try_from(data).ok().and_then(Options::from_bits).ok_or(Errno::EINVAL)?;
            target.trace.lock().options = options;
            Ok(0)
        }
        GETEVENTMSG => {
            let message = target.trace.lock().message;
            UserPtr::new(data).store(&*cx.space()?, &message).await?;
            Ok(0)
        }
        LISTEN => {
            let mut trace = target.trace.lock();
            let stopped = trace.stop.as_ref().is_some_and(|s| s.code >> 8 == u32::from(Event::Stop as u8));
            if !trace.seized || !stopped {
                return Err(Errno::EIO);
            }
            trace.listening = true;
            drop(trace);
            target.resume(Resume::Run, None);
            Ok(0)
        }
        _ => signals(cx, &target, request, addr, data).await,
    }
}

fn trace_me(cx: &Context<'_>) -> SysResult {
    if cx.thread.is_traced() {
        return Err(Errno::EPERM);
    }
    let parent = cx.thread.process.parent().ok_or(Errno::EPERM)?;
    cx.thread.attach(&parent, false, Options::empty());
    Ok(0)
}

fn attach(cx: &Context<'_>, target: &Arc<Thread>, seize: bool, addr: u64, data: u64) -> SysResult {
    let options = if seize {
        if addr != 0 {
            return Err(Errno::EIO);
        }
        u32::try_from(data).ok().and_then(Options::from_bits).ok_or(Errno::EIO)?
    } else {
        Options::empty()
    };
    if Arc::ptr_eq(&target.process, &cx.thread.process) {
        return Err(Errno::EPERM);
    }
    may_look(&cx.thread.process, &target.process)?;
    if target.is_traced() || target.process.is_zombie() {
        return Err(Errno::EPERM);
    }
    target.attach(&cx.thread.process, seize, options);
    if !seize {
        let _ = target.send(SigInfo::kernel(Signal::SIGSTOP));
    }
    // One that is stopped already shows it to its tracer.
    target.wake();
    Ok(0)
}

fn go_on(target: &Arc<Thread>, request: u64, signal: u64) -> SysResult {
    let signal = match signal {
        0 => None,
        number => Some(Signal::new(u8::try_from(number).map_err(|_| Errno::EIO)?).ok_or(Errno::EIO)?),
    };
    match request {
        CONT => target.resume(Resume::Run, signal),
        SYSCALL => target.resume(Resume::ToCall, signal),
        SINGLESTEP => target.resume(Resume::Step, signal),
        _ => target.detach(signal),
    }
    Ok(0)
}

/// Reads or writes a word of the tracee's memory, whatever its protection.
async fn word(cx: &Context<'_>, target: &Thread, request: u64, addr: u64, data: u64) -> SysResult {
    let theirs = target.process.space().ok_or(Errno::ESRCH)?;
    if matches!(request, POKETEXT | POKEDATA) {
        return if theirs.poke(VirtAddr(addr), &data.to_le_bytes()) == 8 { Ok(0) } else { Err(Errno::EIO) };
    }
    let mut bytes = [0; 8];
    if theirs.look(VirtAddr(addr), &mut bytes) < bytes.len() {
        return Err(Errno::EIO);
    }
    cx.space()?.copy_out(VirtAddr(data), &bytes).await?;
    Ok(0)
}

/// Does something with a stop, if the thread still stands.
fn with_stop<T>(target: &Thread, what: impl FnOnce(&mut Stop) -> T) -> Result<T, Errno> {
    target.trace.lock().stop.as_mut().map(what).ok_or(Errno::ESRCH)
}

fn to_user(stop: &Stop) -> UserRegs {
    let cpu = &stop.cpu;
    let r = |reg| cpu.reg(reg);
    UserRegs {
        r15: r(Reg::R15),
        r14: r(Reg::R14),
        r13: r(Reg::R13),
        r12: r(Reg::R12),
        rbp: r(Reg::Rbp),
        rbx: r(Reg::Rbx),
        r11: r(Reg::R11),
        r10: r(Reg::R10),
        r9: r(Reg::R9),
        r8: r(Reg::R8),
        rax: r(Reg::Rax),
        rcx: r(Reg::Rcx),
        rdx: r(Reg::Rdx),
        rsi: r(Reg::Rsi),
        rdi: r(Reg::Rdi),
        orig_rax: stop.call,
        rip: cpu.rip,
        cs: 0x33,
        eflags: cpu.rflags,
        rsp: r(Reg::Rsp),
        ss: 0x2b,
        fs_base: cpu.fs_base,
        gs_base: cpu.gs_base,
        ..UserRegs::default()
    }
}

/// Takes over registers a tracer gives; `EIO` for what no program could have.
fn from_user(stop: &mut Stop, regs: &UserRegs) -> Result<(), Errno> {
    let selectors_ok = regs.cs == 0x33 && regs.ss == 0x2b;
    if !selectors_ok || !VirtAddr(regs.fs_base).is_user() || !VirtAddr(regs.gs_base).is_user() {
        return Err(Errno::EIO);
    }
    let cpu: &mut UserContext = &mut stop.cpu;
    let values = [
        (Reg::R15, regs.r15),
        (Reg::R14, regs.r14),
        (Reg::R13, regs.r13),
        (Reg::R12, regs.r12),
        (Reg::Rbp, regs.rbp),
        (Reg::Rbx, regs.rbx),
        (Reg::R11, regs.r11),
        (Reg::R10, regs.r10),
        (Reg::R9, regs.r9),
        (Reg::R8, regs.r8),
        (Reg::Rax, regs.rax),
        (Reg::Rcx, regs.rcx),
        (Reg::Rdx, regs.rdx),
        (Reg::Rsi, regs.rsi),
        (Reg::Rdi, regs.rdi),
        (Reg::Rsp, regs.rsp),
    ];
    values.iter().for_each(|&(reg, value)| cpu.set_reg(reg, value));
    cpu.rip = regs.rip;
    cpu.set_flags(regs.eflags);
    (cpu.fs_base, cpu.gs_base) = (regs.fs_base, regs.gs_base);
    stop.call = regs.orig_rax;
    Ok(())
}

/// Where the debug registers are in `struct user`, up to its end.
const DEBUG_REGISTERS: u64 = 848;
const USER_SIZE: u64 = 912;

async fn user_word(cx: &Context<'_>, target: &Thread, write: bool, addr: u64, data: u64) -> SysResult {
    if !addr.is_multiple_of(8) || addr >= USER_SIZE {
        return Err(Errno::EIO);
    }
    if addr >= DEBUG_REGISTERS {
        let number = to_usize((addr - DEBUG_REGISTERS) / 8);
        if write {
            target.set_debug_register(number, data)?;
        } else {
            let word = target.trace.lock().debug.get(number);
            UserPtr::new(data).store(&*cx.space()?, &word).await?;
        }
        return Ok(0);
    }
    let at = to_usize(addr);
    let mut bytes = [0; UserRegs::SIZE];
    with_stop(target, |stop| to_user(stop).store(&mut bytes))?;
    if !write {
        let word = bytes.get(at..at + 8).map_or(0, u64::load);
        UserPtr::new(data).store(&*cx.space()?, &word).await?;
        return Ok(0);
    }
    if let Some(slot) = bytes.get_mut(at..at + 8) {
        data.store(slot);
        with_stop(target, |stop| from_user(stop, &UserRegs::load(&bytes)))??;
    }
    Ok(0)
}

/// One of the sets of registers a tracer sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    General,
    Float,
    /// All that `XSAVE` writes, on a machine with these components.
    Extended(u64),
}

fn set_bytes(target: &Thread, set: Set) -> Result<Vec<u8>, Errno> {
    with_stop(target, |stop| match set {
        Set::General => {
            let mut bytes = alloc::vec![0; UserRegs::SIZE];
            to_user(stop).store(&mut bytes);
            bytes
        }
        Set::Float => stop.cpu.fx.to_bytes().to_vec(),
        Set::Extended(features) => fpstate::regset(&stop.cpu, features),
    })
}

fn set_from(target: &Thread, set: Set, bytes: &[u8]) -> Result<(), Errno> {
    with_stop(target, |stop| match set {
        Set::General => from_user(stop, &UserRegs::load(bytes)),
        Set::Float => {
            let mut all = stop.cpu.fx.to_bytes();
            for (to, from) in all.iter_mut().zip(bytes) {
                *to = *from;
            }
            stop.cpu.fx = FxState::from_bytes(&all);
            Ok(())
        }
        Set::Extended(features) => fpstate::set_regset(&mut stop.cpu, bytes, features),
    })?
}

async fn registers(cx: &Context<'_>, target: &Thread, request: u64, addr: u64, data: u64) -> SysResult {
    let space = cx.space()?;
    let by_note = matches!(request, GETREGSET | SETREGSET);
    let set = match (request, addr) {
        (GETREGS | SETREGS, _) | (GETREGSET | SETREGSET, NT_PRSTATUS) => Set::General,
        (GETFPREGS | SETFPREGS, _) | (GETREGSET | SETREGSET, NT_PRFPREG) => Set::Float,
        (_, NT_X86_XSTATE) => match cx.thread.kernel().machine.extended_features() {
            0 => return Err(Errno::ENODEV),
            features => Set::Extended(features),
        },
        _ => return Err(Errno::EINVAL),
    };
    let mut bytes = set_bytes(target, set)?;
    let (at, len) = if by_note {
        let IoVec { base, len } = UserPtr::<IoVec>::new(data).load(&space).await?;
        if !len.is_multiple_of(8) {
            return Err(Errno::EINVAL);
        }
        (VirtAddr(base), to_usize(len).min(bytes.len()))
    } else {
        (VirtAddr(data), bytes.len())
    };
    let part = bytes.get_mut(..len).unwrap_or_default();
    if matches!(request, GETREGS | GETFPREGS | GETREGSET) {
        space.copy_out(at, part).await?;
    } else {
        space.copy_in(at, part).await?;
        if matches!(set, Set::Extended(_)) && len < bytes.len() {
            return Err(Errno::EFAULT);
        }
        set_from(target, set, &bytes)?;
    }
    if by_note {
        UserPtr::new(data).store(&space, &IoVec { base: at.0, len: len as u64 }).await?;
    }
    Ok(0)
}

async fn signals(cx: &Context<'_>, target: &Arc<Thread>, request: u64, addr: u64, data: u64) -> SysResult {
    let space = cx.space()?;
    match request {
        GETSIGINFO => {
            let raw = with_stop(target, |stop| match stop.kind {
                StopKind::Group if stop.code >> 8 == 0 => Err(Errno::EINVAL),
                _ => Ok(stop.info.to_raw()),
            })??;
            UserPtr::new(data).store(&space, &raw).await?;
        }
        SETSIGINFO => {
            let raw = UserPtr::<RawInfo>::new(data).load(&space).await?;
            let signal = Signal::from_arg(raw.signo)?;
            with_stop(target, |stop| stop.info = SigInfo::from_raw(signal, &raw))?;
        }
        GETSIGMASK | SETSIGMASK if addr != 8 => return Err(Errno::EINVAL),
        GETSIGMASK => UserPtr::new(data).store(&space, &target.mask().0).await?,
        SETSIGMASK => target.set_mask(SignalSet(UserPtr::<u64>::new(data).load(&space).await?)),
        PEEKSIGINFO => return peek_signals(cx, target, addr, data).await,
        GET_SYSCALL_INFO => return call_info(cx, target, addr, data).await,
        _ => return Err(Errno::EIO),
    }
    Ok(0)
}

async fn peek_signals(cx: &Context<'_>, target: &Thread, addr: u64, data: u64) -> SysResult {
    let space = cx.space()?;
    // `struct ptrace_peeksiginfo_args`: offset, flags, count.
    let [offset, both] = UserPtr::<[u64; 2]>::new(addr).load(&space).await?;
    let (flags, count) = (low32(both), low32_signed(both >> 32));
    if flags & !1 != 0 || count < 0 {
        return Err(Errno::EINVAL);
    }
    let queue = if flags & 1 != 0 { &target.process.pending } else { &target.pending };
    let mut done = 0;
    while done < u64::from(count.cast_unsigned()) {
        let Some(info) = queue.peek(to_usize(offset.saturating_add(done))) else { break };
        UserPtr::<RawInfo>::new(data).element(done).store(&space, &info.to_raw()).await?;
        done += 1;
    }
    Ok(done)
}

/// What a stop at a system call is about.
async fn call_info(cx: &Context<'_>, target: &Thread, size: u64, out: u64) -> SysResult {
    let message = target.trace.lock().message;
    let (info, used) = with_stop(target, |stop| {
        let r = |reg| stop.cpu.reg(reg);
        let arguments = [Reg::Rdi, Reg::Rsi, Reg::Rdx, Reg::R10, Reg::R8, Reg::R9].map(r);
        let mut info = SyscallInfo {
            arch: crate::task::seccomp::ARCH,
            instruction_pointer: stop.cpu.rip,
            stack_pointer: r(Reg::Rsp),
            ..SyscallInfo::default()
        };
        let [a, b, c, d, e, f] = arguments;
        let used = match stop.kind {
            // Without PTRACE_O_TRACESYSGOOD a stop at a call cannot be told from others.
            StopKind::Entry if stop.code & 0x80 != 0 => {
                info.op = 1;
                info.data = [stop.call, a, b, c, d, e, f, 0];
                80
            }
            StopKind::Exit if stop.code & 0x80 != 0 => {
                info.op = 2;
                let value = r(Reg::Rax);
                let failed = value.cast_signed() < 0 && value.cast_signed() >= -4095;
                info.data = [value, u64::from(failed), 0, 0, 0, 0, 0, 0];
                33
            }
            StopKind::Event(Event::Seccomp) => {
                info.op = 3;
                info.data = [stop.call, a, b, c, d, e, f, message];
                84
            }
            _ => 24,
        };
        (info, used)
    })?;
    let mut bytes = [0; SyscallInfo::SIZE];
    info.store(&mut bytes);
    let shown = bytes.get(..used.min(to_usize(size))).unwrap_or_default();
    cx.space()?.copy_out(VirtAddr(out), shown).await?;
    Ok(used as u64)
}

pub(super) async fn process_vm_readv(
    cx: &mut Context<'_>,
    pid: Pid,
    local: UserPtr<IoVec>,
    local_count: u64,
    remote: UserPtr<IoVec>,
    remote_count: u64,
    flags: u64,
) -> SysResult {
    between(cx, pid, (local, local_count), (remote, remote_count), flags, false).await
}

pub(super) async fn process_vm_writev(
    cx: &mut Context<'_>,
    pid: Pid,
    local: UserPtr<IoVec>,
    local_count: u64,
    remote: UserPtr<IoVec>,
    remote_count: u64,
    flags: u64,
) -> SysResult {
    between(cx, pid, (local, local_count), (remote, remote_count), flags, true).await
}

/// Copies between this process's memory and another's.
async fn between(
    cx: &Context<'_>,
    pid: Pid,
    local: (UserPtr<IoVec>, u64),
    remote: (UserPtr<IoVec>, u64),
    flags: u64,
    write: bool,
) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let ours = many(cx, local.0, local.1).await?;
    let theirs = many(cx, remote.0, remote.1).await?;
    let target = cx.kernel().processes.thread(pid).ok_or(Errno::ESRCH)?;
    if ours.as_slice().iter().all(|s| s.len == 0) {
        return Ok(0);
    }
    may_look(&cx.thread.process, &target.process)?;
    let (space, other) = (cx.space()?, target.process.space().ok_or(Errno::ESRCH)?);
    let mut chunk = alloc::vec![0; 4096];
    let mut mine = ours.as_slice().iter().copied().filter(|s| s.len > 0);
    let mut here = mine.next();
    let mut total = 0;
    for segment in theirs.as_slice() {
        let mut at = *segment;
        while at.len > 0 {
            let Some(near) = here.as_mut() else { return Ok(total) };
            let run = to_usize(at.len.min(near.len).min(4096));
            let part = chunk.get_mut(..run).unwrap_or_default();
            let moved = move_part(&space, &other, (near.base, at.base), part, write).await;
            if let Err(errno) = moved {
                return if total > 0 { Ok(total) } else { Err(errno) };
            }
            let run = run as u64;
            (at.base, at.len, near.base, near.len) = (at.base + run, at.len - run, near.base + run, near.len - run);
            total += run;
            if near.len == 0 {
                here = mine.next();
            }
        }
    }
    Ok(total)
}

async fn move_part(
    space: &AddressSpace,
    other: &AddressSpace,
    (near, far): (VirtAddr, VirtAddr),
    part: &mut [u8],
    write: bool,
) -> Result<(), Errno> {
    if write {
        space.copy_in(near, part).await?;
        other.copy_out(far, part).await
    } else {
        other.copy_in(far, part).await?;
        space.copy_out(near, part).await
    }
}

const KCMP_FILE: u32 = 0;
const KCMP_VM: u32 = 1;
const KCMP_FILES: u32 = 2;
const KCMP_FS: u32 = 3;
const KCMP_SIGHAND: u32 = 4;
const KCMP_IO: u32 = 5;
const KCMP_SYSVSEM: u32 = 6;

pub(super) fn kcmp(cx: &mut Context<'_>, first: Pid, second: Pid, kind: u32, index1: u64, index2: u64) -> SysResult {
    let table = &cx.kernel().processes;
    let (a, b) = (table.thread(first).ok_or(Errno::ESRCH)?, table.thread(second).ok_or(Errno::ESRCH)?);
    may_look(&cx.thread.process, &a.process)?;
    may_look(&cx.thread.process, &b.process)?;
    let file = |thread: &Thread, fd: u64| Ok(Arc::as_ptr(&thread.files().get(Fd(low32_signed(fd)))?).addr());
    let pair = match kind {
        KCMP_FILE => (file(&a, index1)?, file(&b, index2)?),
        KCMP_VM => {
            let place = |t: &Thread| t.process.space().map_or(0, |s| Arc::as_ptr(&s).addr());
            (place(&a), place(&b))
        }
        KCMP_FILES => (Arc::as_ptr(&a.files()).addr(), Arc::as_ptr(&b.files()).addr()),
        KCMP_FS => (Arc::as_ptr(&a.fs()).addr(), Arc::as_ptr(&b.fs()).addr()),
        KCMP_SIGHAND => {
            let place = |t: &Thread| Arc::as_ptr(&*t.process.actions.lock()).addr();
            (place(&a), place(&b))
        }
        // Nobody shares what there is none of.
        KCMP_IO | KCMP_SYSVSEM => (0, 0),
        _ => return Err(Errno::EINVAL),
    };
    // The order is that of places in memory, each kind's its own: who can compare cannot learn more.
    Ok(u64::from(low8(match pair.0.cmp(&pair.1) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    })))
}
