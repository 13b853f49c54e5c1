//! A thread's whole life: run its program until it traps, do what the trap asks, deliver signals, again.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_machine::{Exception, PageFault, Reg, Trap, UserContext};

use crate::memory::fault::FaultError;
use crate::syscall::seccomp::{Ruling, filter_call};
use crate::syscall::{self, Gate};
use crate::task::debug::{self, After, DEBUGGED, TRAP_HWBKPT};
use crate::task::exit::thread_ended;
use crate::task::frame::{Interrupted, Life, deliver};
use crate::task::interval::thread_time;
use crate::task::process::WaitStatus;
use crate::task::profile::Samples;
use crate::task::scheduler::yield_now;
use crate::task::trace::{Event, FILTERED, Resume, StopKind, TRACED, call_stop, event_stop};
use crate::task::{SigInfo, Signal, Thread, rseq, unhandled};

/// Starts a thread with its first registers.
pub fn start(thread: &Arc<Thread>, cpu: UserContext) {
    let scheduler = &thread.kernel().scheduler;
    scheduler.start(&thread.task, run(thread.clone(), cpu));
}

/// A thread's future: its life, noting who runs each time it does.
async fn run(thread: Arc<Thread>, cpu: UserContext) {
    let kernel = thread.kernel().clone();
    let mut life = core::pin::pin!(live(thread.clone(), cpu));
    core::future::poll_fn(|cx| {
        kernel.set_current(Some(&thread));
        life.as_mut().poll(cx)
    })
    .await;
}

/// One trap of so many is timed, to tell time in the kernel from time in the program: a clock costs too much for all. A
/// prime, so that it is not the same call each time of a program that makes a few in turn.
const TIMED: u32 = 17;

/// The loop.
async fn live(thread: Arc<Thread>, mut cpu: UserContext) {
    let mut interrupted = None;
    let mut timed: Option<u64> = None;
    // A thread can be ended before it runs for the first time, and its tracer can want to see its first instruction.
    while !thread.must_stop_running() {
        if thread.is_interrupted() || thread.process.stopped().is_some() || interrupted.is_some() {
            if deliver(&thread, &mut cpu, interrupted.take()).await == Life::Ends {
                break;
            }
        } else if let Some(mask) = thread.take_saved_mask() {
            thread.set_mask(mask);
        }
        let kernel = thread.kernel();
        if thread.rseq.was_away(kernel.scheduler.switches()) {
            // Rare and large: boxed, so that every thread's future stays small. What came meanwhile is looked at first.
            if Box::pin(rseq::interrupt(&thread, &mut cpu)).await.is_err() {
                thread.force(SigInfo::kernel(Signal::SIGSEGV));
            }
            continue;
        }
        let Some(space) = thread.process.space() else { break };
        if let Some(used) = timed.take() {
            let spent = thread_time(&thread).saturating_sub(used) * u64::from(TIMED);
            thread.system_ns.fetch_add(spent, Ordering::Relaxed);
        }
        let mut until = kernel.scheduler.slice_end();
        if kernel.profile {
            until = Samples::next(kernel.machine.now(), until);
        }
        let stepped = (thread.watched.load(Ordering::Relaxed) & DEBUGGED != 0)
            .then(|| Box::new(debug::before(&thread, &space, &mut cpu)));
        let trap = kernel.machine.run(&mut cpu, space.root(), until);
        let met = stepped.map_or(After::Trapped, |before| debug::after(&thread, &space, &mut cpu, &before, trap));
        drop(space);
        if thread.traps.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIMED) {
            timed = Some(thread_time(&thread));
        }
        match trap {
            _ if met == After::Goes => {}
            _ if met == After::Met => raise(&thread, &cpu, SigInfo::fault(Signal::SIGTRAP, TRAP_HWBKPT, cpu.rip)),
            Trap::Syscall | Trap::Int80 => {
                let gate = if trap == Trap::Syscall { Gate::Linux } else { Gate::Aurora };
                // Rare and large: boxed, so that every thread's future stays small.
                if thread.watched.load(Ordering::Relaxed) & (TRACED | FILTERED) != 0 {
                    interrupted = Box::pin(watched_call(&thread, &mut cpu, gate)).await;
                    continue;
                }
                let number = cpu.reg(Reg::Rax);
                let result = match syscall::dispatch_now(&thread, &mut cpu, gate) {
                    Some(result) => result,
                    None => syscall::dispatch(&thread, &mut cpu, gate).await,
                };
                interrupted = finish(&mut cpu, number, result);
            }
            Trap::PageFault(fault) => page_fault(&thread, &cpu, fault).await,
            Trap::Exception(exception) => {
                cpu.settle();
                raise(&thread, &cpu, signal_of(exception, &cpu));
            }
            Trap::Interrupted => {
                if kernel.profile {
                    thread.process.samples.count(cpu.rip);
                }
                thread.process.check_processor_time();
                yield_now().await;
            }
        }
    }
    let own = WaitStatus::Exited(thread.exit_code.load(Ordering::Relaxed));
    if thread.is_traced() {
        let status = thread.process.ending().unwrap_or(own).encode();
        Box::pin(event_stop(&thread, &mut cpu, Event::Exit, u64::from(status), u64::MAX)).await;
    }
    thread_ended(&thread, own).await;
}

/// Puts a call's result where the program finds it.
fn finish(cpu: &mut UserContext, number: u64, result: Result<u64, Errno>) -> Option<Interrupted> {
    match result {
        Ok(value) => cpu.set_reg(Reg::Rax, value),
        Err(errno) if errno.number() >= Errno::ERESTARTSYS.number() => {
            return Some(Interrupted { number, errno });
        }
        Err(errno) => cpu.set_reg(Reg::Rax, errno.to_result()),
    }
    None
}

/// A call of a thread that is traced, or whose calls are filtered.
async fn watched_call(thread: &Arc<Thread>, cpu: &mut UserContext, gate: Gate) -> Option<Interrupted> {
    let entered = cpu.reg(Reg::Rax);
    let stepped = thread.is_traced() && thread.trace.lock().resume == Resume::Step;
    cpu.set_reg(Reg::Rax, Errno::ENOSYS.to_result());
    let number = call_stop(thread, cpu, StopKind::Entry, entered).await;
    let ruling = match number {
        u64::MAX => Ruling::Instead(cpu.reg(Reg::Rax)),
        _ => filter_call(thread, cpu, gate, number).await,
    };
    let interrupted = match ruling {
        Ruling::Make(number) => {
            cpu.set_reg(Reg::Rax, number);
            let result = syscall::dispatch(thread, cpu, gate).await;
            finish(cpu, number, result)
        }
        Ruling::Instead(value) => {
            cpu.set_reg(Reg::Rax, value);
            None
        }
    };
    if let Some(Interrupted { errno, .. }) = interrupted {
        cpu.set_reg(Reg::Rax, errno.to_result());
    }
    call_stop(thread, cpu, StopKind::Exit, number).await;
    if stepped && cpu.rflags & UserContext::TRAP_FLAG != 0 {
        // The step is the call.
        cpu.rflags &= !UserContext::TRAP_FLAG;
        thread.force(SigInfo::fault(Signal::SIGTRAP, 2, cpu.rip));
    }
    interrupted
}

/// An instruction of the thread's raised a signal.
fn raise(thread: &Arc<Thread>, cpu: &UserContext, info: SigInfo) {
    thread.force(info);
    unhandled::note(thread, cpu, &info);
}

async fn page_fault(thread: &Arc<Thread>, cpu: &UserContext, fault: PageFault) {
    let Ok(space) = thread.space() else { return };
    thread.process.faults.fetch_add(1, Ordering::Relaxed);
    let Err(error) = space.fault(fault.addr, fault.access).await else { return };
    let (signal, code) = match error {
        FaultError::NotMapped => (Signal::SIGSEGV, 1),
        FaultError::NotAllowed => (Signal::SIGSEGV, 2),
        FaultError::PastEnd | FaultError::Failed => (Signal::SIGBUS, 2),
        FaultError::OutOfMemory => return Box::pin(wait_for_memory(thread)).await,
        FaultError::Missing => return,
    };
    let mut info = SigInfo::fault(signal, code, fault.addr.0);
    let [addr, ..] = info.fields;
    info.fields = [addr, 14, error_code(fault, error)];
    raise(thread, cpu, info);
}

/// Nobody ended so fast that there is memory now. Sleeping, not spinning: whoever ends may be waiting for a clock or a
/// disk.
async fn wait_for_memory(thread: &Arc<Thread>) {
    const PAUSE_NS: u64 = 1_000_000;
    let kernel = thread.kernel();
    if kernel.memory.take_no_victim() {
        return thread.process.kill_for_memory();
    }
    kernel.sleep_until(kernel.machine.now() + PAUSE_NS).await;
}

/// The error code as Linux shows it: its tables have no entry where ours may keep one, and what is not user space always
/// looks forbidden, never missing.
fn error_code(fault: PageFault, error: FaultError) -> u64 {
    let protection = !fault.addr.is_user() || fault.protection && error != FaultError::NotMapped;
    PageFault { protection, ..fault }.error_code()
}

/// The signal of an exception, as arch/x86 of Linux gives it.
fn signal_of(exception: Exception, cpu: &UserContext) -> SigInfo {
    let at = cpu.rip;
    let err = if let Exception::GeneralProtection(code) = exception { u64::from(code) } else { 0 };
    let mut info = match exception {
        Exception::DivideError => SigInfo::fault(Signal::SIGFPE, 1, at),
        Exception::Debug => SigInfo::fault(Signal::SIGTRAP, 2, at),
        Exception::Breakpoint => SigInfo::kernel(Signal::SIGTRAP),
        Exception::InvalidOpcode => SigInfo::fault(Signal::SIGILL, 2, at),
        Exception::AlignmentCheck => SigInfo::fault(Signal::SIGBUS, 1, 0),
        Exception::StackFault => SigInfo::kernel(Signal::SIGBUS),
        Exception::X87 => SigInfo::fault(Signal::SIGFPE, float_code(u32::from(cpu.fx.fsw & !cpu.fx.fcw)), at),
        Exception::Simd => SigInfo::fault(Signal::SIGFPE, float_code(cpu.fx.mxcsr & !(cpu.fx.mxcsr >> 7)), at),
        Exception::GeneralProtection(_) | Exception::Overflow | Exception::BoundRange => {
            SigInfo::kernel(Signal::SIGSEGV)
        }
    };
    let [addr, ..] = info.fields;
    info.fields = [addr, u64::from(exception.vector()), err];
    info
}

/// `FPE_*` codes for the first unmasked exception flag.
fn float_code(flags: u32) -> i32 {
    const CODES: [(u32, i32); 6] = [(1, 7), (4, 3), (8, 4), (2, 5), (16, 5), (32, 6)];
    CODES.iter().find(|(bit, _)| flags & bit != 0).map_or(7, |(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function's future takes.
    fn size_of_future<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_threads_future_takes_at_most_16_kib() {
        let size = size_of_future(run);
        assert!(size <= 16 * 1024, "{size} bytes");
    }
}
