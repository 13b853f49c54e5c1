//! Signal delivery: frames on the program's stack as Linux lays them out, the way back, and restarting calls.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use aurora_abi::types::{SigAction, SigContext, SigInfo as RawInfo, StackT, UContext};
use aurora_abi::{Abi, Errno};
use aurora_machine::{ExtendedState, FxState, Reg, UserContext, VirtAddr};

use crate::num::to_usize;
use crate::task::fpstate;
use crate::task::process::WaitStatus;
use crate::task::signal::{DEFAULT, DefaultAction, IGNORE, SigInfo, SignalSet, flags};
use crate::task::trace::{INTERRUPT, group_stop, interrupt_stop, signal_stop};
use crate::task::{Signal, Thread};

/// A system call that was interrupted: what it was, and how it wants to go on.
#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    /// RAX before the call.
    pub number: u64,
    /// One of the restart codes.
    pub errno: Errno,
}

/// Whether a thread's life goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Back to the program.
    Goes,
    /// It is over.
    Ends,
}

const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
const SS_ONSTACK: i32 = 1;
const SS_DISABLE: i32 = 2;
const SS_AUTODISARM: i32 = i32::MIN;
/// Bytes below the stack pointer a function may use without moving it (psABI).
const RED_ZONE: u64 = 128;
/// Return address, context, information.
const FRAME_SIZE: u64 = 8 + UContext::SIZE as u64 + RawInfo::SIZE as u64;

/// The most a frame takes with the floating-point state above it and what aligning that to 64 bytes leaves out.
const FRAME_MOST: usize = 8 + UContext::SIZE + RawInfo::SIZE + 64 + 8 + fpstate::MOST;

/// Handles what is pending: stops, ends, and enters handlers.
pub async fn deliver(thread: &Arc<Thread>, cpu: &mut UserContext, mut interrupted: Option<Interrupted>) -> Life {
    loop {
        if thread.must_stop_running() {
            return Life::Ends;
        }
        if let Some(signal) = thread.process.stopped() {
            if thread.is_traced() {
                Box::pin(stop_traced(thread, cpu, signal)).await;
            } else {
                wait_for_continuation(thread).await;
            }
            continue;
        }
        if thread.watched.fetch_and(!INTERRUPT, Ordering::Relaxed) & INTERRUPT != 0 {
            Box::pin(interrupt_stop(thread, cpu)).await;
            continue;
        }
        let Some(info) = thread.next_signal() else { break };
        let info = match thread.is_traced() {
            true => match Box::pin(signal_stop(thread, cpu, info, &mut interrupted)).await {
                Some(info) => info,
                None => continue,
            },
            false => info,
        };
        let actions = thread.process.actions.lock().clone();
        let action = actions.get(info.signal);
        match action.handler {
            IGNORE => {}
            DEFAULT => default_action(thread, info.signal),
            _ => {
                if action.flags & flags::RESETHAND != 0 {
                    actions.set(info.signal, SigAction { handler: DEFAULT, ..action });
                }
                resolve_restart(cpu, interrupted.take(), Some(&action));
                if enter_handler(thread, cpu, &info, &action).await.is_err() {
                    // No room for the frame: the program cannot go on (signal(7)).
                    thread.process.begin_end(WaitStatus::Killed(Signal::SIGSEGV, true));
                }
            }
        }
    }
    resolve_restart(cpu, interrupted, None);
    if let Some(mask) = thread.take_saved_mask() {
        thread.set_mask(mask);
    }
    Life::Goes
}

/// A traced thread of a process that stopped: its tracer decides when it goes on.
async fn stop_traced(thread: &Arc<Thread>, cpu: &mut UserContext, signal: Signal) {
    group_stop(thread, cpu, signal).await;
    let listens = core::mem::take(&mut thread.trace.lock().listening);
    if listens {
        wait_for_continuation(thread).await;
        if !thread.must_stop_running() {
            interrupt_stop(thread, cpu).await;
        }
    } else {
        thread.process.set_stopped(&mut thread.process.state(), None);
    }
}

async fn wait_for_continuation(thread: &Arc<Thread>) {
    core::future::poll_fn(|_| {
        let stopped = thread.process.stopped().is_some() && !thread.must_stop_running();
        // Whoever continues or ends the process wakes its threads.
        if stopped { core::task::Poll::Pending } else { core::task::Poll::Ready(()) }
    })
    .await;
}

fn default_action(thread: &Arc<Thread>, signal: Signal) {
    let process = &thread.process;
    if process.spares(signal) {
        return;
    }
    match signal.default_action() {
        DefaultAction::Ignore | DefaultAction::Continue => {}
        DefaultAction::Terminate => process.begin_end(WaitStatus::Killed(signal, false)),
        // The core bit tells that a core was written; none is, as with a core limit of 0.
        DefaultAction::Core => process.begin_end(WaitStatus::Killed(signal, false)),
        DefaultAction::Stop => {
            let from_terminal = signal != Signal::SIGSTOP;
            if !(from_terminal && process.kernel.processes.is_orphaned(process.group())) {
                process.stop(signal);
            }
        }
    }
}

/// Decides how an interrupted call goes on, signal(7) "Interruption of system calls".
fn resolve_restart(cpu: &mut UserContext, interrupted: Option<Interrupted>, handler: Option<&SigAction>) {
    let Some(Interrupted { number, errno }) = interrupted else { return };
    let restart = match (errno, handler) {
        (Errno::ERESTARTNOINTR, _) | (_, None) => true,
        (Errno::ERESTARTSYS, Some(action)) => action.flags & flags::RESTART != 0,
        _ => false,
    };
    if !restart {
        cpu.set_reg(Reg::Rax, Errno::EINTR.to_result());
        return;
    }
    let by_block = errno == Errno::ERESTARTBLOCK;
    cpu.set_reg(Reg::Rax, if by_block { crate::syscall::RESTART_SYSCALL } else { number });
    // Both SYSCALL and INT 0x80 are two bytes long.
    cpu.rip = cpu.rip.wrapping_sub(2);
}

/// Writes a value to the start of `rest`, which is what follows then.
fn put<T: Abi>(rest: &mut &mut [u8], value: &T) {
    let (slot, tail) = core::mem::take(rest).split_at_mut(T::SIZE);
    value.store(slot);
    *rest = tail;
}

async fn enter_handler(
    thread: &Arc<Thread>,
    cpu: &mut UserContext,
    info: &SigInfo,
    action: &SigAction,
) -> Result<(), Errno> {
    if action.flags & flags::RESTORER == 0 {
        return Err(Errno::EFAULT);
    }
    crate::task::rseq::interrupt(thread, cpu).await?;
    cpu.settle();
    let space = thread.space()?;
    let mut stack = *thread.alternate_stack.lock();
    let on_alternate = is_on(&stack, cpu.reg(Reg::Rsp));
    let usable = stack.flags & SS_DISABLE == 0 && stack.size > 0;
    let top = if action.flags & flags::ONSTACK != 0 && usable && !on_alternate {
        stack.sp.wrapping_add(stack.size)
    } else {
        cpu.reg(Reg::Rsp).wrapping_sub(RED_ZONE)
    };
    let features = thread.kernel().machine.extended_features();
    let fx_at = top.wrapping_sub(fpstate::size(features)) & !63;
    let frame = (fx_at.wrapping_sub(FRAME_SIZE) & !15).wrapping_sub(8);
    stack.flags = shown_flags(&stack, cpu.reg(Reg::Rsp));
    let mask = thread.take_saved_mask().unwrap_or_else(|| thread.mask());
    let context = UContext {
        flags: UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | if features == 0 { 0 } else { UC_FP_XSTATE },
        link: 0,
        stack,
        mcontext: save_registers(cpu, info, fx_at, mask),
        sigmask: mask.0,
    };
    let info_at = frame.wrapping_add(8 + UContext::SIZE as u64);
    let mut bytes = [0; FRAME_MOST];
    let length = {
        let mut rest = bytes.as_mut_slice();
        put(&mut rest, &action.restorer);
        put(&mut rest, &context);
        put(&mut rest, &info.to_raw());
        let gap = to_usize(fx_at.wrapping_sub(frame.wrapping_add(FRAME_SIZE)));
        fpstate::store(rest.get_mut(gap..).unwrap_or_default(), cpu, features);
        to_usize(FRAME_SIZE) + gap + to_usize(fpstate::size(features))
    };
    space.copy_out(VirtAddr(frame), bytes.get(..length).unwrap_or_default()).await?;
    cpu.set_reg(Reg::Rdi, u64::from(info.signal.number()));
    cpu.set_reg(Reg::Rsi, info_at);
    cpu.set_reg(Reg::Rdx, frame.wrapping_add(8));
    cpu.set_reg(Reg::Rax, 0);
    cpu.set_reg(Reg::Rsp, frame);
    cpu.rip = action.handler;
    cpu.rflags &= !(UserContext::TRAP_FLAG | UserContext::DIRECTION_FLAG | 1 << 16);
    cpu.fx.mxcsr = FxState::new().mxcsr;
    cpu.fx.fcw = FxState::new().fcw;
    cpu.extended = ExtendedState::new();
    let mut blocked = thread.mask().union(SignalSet(action.mask));
    if action.flags & flags::NODEFER == 0 {
        blocked = blocked.with(info.signal);
    }
    thread.set_mask(blocked);
    if stack.flags & SS_AUTODISARM != 0 {
        *thread.alternate_stack.lock() = StackT { flags: SS_DISABLE, ..StackT::default() };
    }
    Ok(())
}

/// Whether `rsp` is on the alternate stack.
pub fn is_on(stack: &StackT, rsp: u64) -> bool {
    stack.flags & SS_AUTODISARM == 0 && rsp > stack.sp && rsp.wrapping_sub(stack.sp) <= stack.size
}

/// The flags of an alternate stack as sigaltstack(2) tells them.
pub fn shown_flags(stack: &StackT, rsp: u64) -> i32 {
    let state = match () {
        () if stack.size == 0 => SS_DISABLE,
        () if is_on(stack, rsp) => SS_ONSTACK,
        () => 0,
    };
    state | (stack.flags & SS_AUTODISARM)
}

fn save_registers(cpu: &UserContext, info: &SigInfo, fx_at: u64, mask: SignalSet) -> SigContext {
    let [_, _, _, _, _, _, _, _, r8_to_r15 @ ..] = cpu.gpr;
    // For a fault the union's third word carries the trap number and error code, see `run.rs`.
    let [addr, trap, err] = info.fields;
    let fault =
        matches!(info.signal, Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE | Signal::SIGTRAP)
            && info.code > 0;
    SigContext {
        r8_to_r15,
        rdi: cpu.reg(Reg::Rdi),
        rsi: cpu.reg(Reg::Rsi),
        rbp: cpu.reg(Reg::Rbp),
        rbx: cpu.reg(Reg::Rbx),
        rdx: cpu.reg(Reg::Rdx),
        rax: cpu.reg(Reg::Rax),
        rcx: cpu.reg(Reg::Rcx),
        rsp: cpu.reg(Reg::Rsp),
        rip: cpu.rip,
        eflags: cpu.rflags,
        cs: 0x33,
        gs: 0,
        fs: 0,
        ss: 0x2b,
        err: if fault { err } else { 0 },
        trapno: if fault { trap } else { 0 },
        oldmask: mask.0,
        cr2: if fault { addr } else { 0 },
        fpstate: fx_at,
        reserved: [0; 8],
    }
}

/// rt_sigreturn(2): back to where the handler was entered. Returns RAX.
pub async fn sigreturn(thread: &Arc<Thread>, cpu: &mut UserContext) -> Result<u64, Errno> {
    let space = thread.space()?;
    cpu.settle();
    // The handler's `ret` has popped the return address.
    let context: UContext = space.load(VirtAddr(cpu.reg(Reg::Rsp))).await?;
    let registers = context.mcontext;
    if registers.fpstate != 0 {
        fpstate::load(&space, registers.fpstate, cpu, thread.kernel().machine.extended_features()).await?;
    } else {
        (cpu.fx, cpu.extended) = (FxState::new(), ExtendedState::new());
    }
    let SigContext { r8_to_r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, .. } = registers;
    for (slot, value) in cpu.gpr.iter_mut().zip([rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi].into_iter().chain(r8_to_r15)) {
        *slot = value;
    }
    cpu.rip = registers.rip;
    cpu.set_flags(registers.eflags);
    thread.set_mask(SignalSet(context.sigmask));
    // A stack that cannot be set again is left as it is.
    let mut stack = context.stack;
    stack.flags &= SS_DISABLE | SS_AUTODISARM;
    *thread.alternate_stack.lock() = stack;
    Ok(rax)
}
