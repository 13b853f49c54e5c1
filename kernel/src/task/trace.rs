//! Tracing, ptrace(2): stops of a thread that another process looks at and lets go on.
//!
//! A traced thread that stops hands its registers over and waits. Whoever traces it reads and changes them there; when it
//! goes on, it takes them back. The tracer is a process: any thread of it may act.

// The options are named and documented in ptrace(2).
#![allow(missing_docs)]

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;
use core::task::Poll;

use aurora_abi::Errno;
use aurora_machine::{Reg, UserContext};

use crate::security::credentials::CAP_SYS_PTRACE;
use crate::task::debug::{DEBUGGED, DebugRegisters};
use crate::task::frame::Interrupted;
use crate::task::process::WaitStatus;
use crate::task::signal::{SI_USER, SigInfo, flags};
use crate::task::{Process, Signal, Thread};

bitflags::bitflags! {
    /// `PTRACE_O_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[allow(missing_docs)]
    pub struct Options: u32 {
        const SYSGOOD = 1;
        const FORK = 2;
        const VFORK = 4;
        const CLONE = 8;
        const EXEC = 16;
        const VFORK_DONE = 32;
        const EXIT = 64;
        const SECCOMP = 128;
        const EXITKILL = 1 << 20;
    }
}

/// `PTRACE_EVENT_*`; the number is also the bit of its option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Event {
    Fork = 1,
    VFork = 2,
    Clone = 3,
    Exec = 4,
    VForkDone = 5,
    Exit = 6,
    Seccomp = 7,
    Stop = 128,
}

impl Event {
    const fn option(self) -> Options {
        match self {
            Self::Stop => Options::empty(),
            event => Options::from_bits_retain(1 << event as u8),
        }
    }
}

/// How a thread goes on after a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Resume {
    /// Until something happens.
    #[default]
    Run,
    /// Until the next entry to or return from a system call.
    ToCall,
    /// For one instruction.
    Step,
}

/// What kind of stop it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// A signal is about to be delivered.
    Signal,
    /// A system call begins.
    Entry,
    /// A system call ended.
    Exit,
    /// Something that was to be told.
    Event(Event),
    /// The whole process stopped.
    Group,
}

/// A stop a tracer can look at.
pub struct Stop {
    /// What kind.
    pub kind: StopKind,
    /// In `wstatus`, above the 0x7f: the signal, and above it the event.
    pub code: u32,
    /// What `PTRACE_GETSIGINFO` tells.
    pub info: SigInfo,
    /// The registers.
    pub cpu: Box<UserContext>,
    /// The system call it is in; -1 outside.
    pub call: u64,
    /// wait(2) told of it.
    pub told: bool,
}

/// Who traces a thread, and how.
#[derive(Default)]
pub struct Trace {
    tracer: Option<Weak<Process>>,
    /// Attached by `PTRACE_SEIZE`.
    pub seized: bool,
    /// What is told.
    pub options: Options,
    /// How it goes on, or went on last.
    pub resume: Resume,
    /// While it stands.
    pub stop: Option<Stop>,
    /// How it ended, for a tracer that is not its parent.
    pub ended: Option<WaitStatus>,
    /// What `PTRACE_GETEVENTMSG` tells.
    pub message: u64,
    /// It goes on waiting for the end of the stop of its process (`PTRACE_LISTEN`).
    pub listening: bool,
    /// The debug registers.
    pub debug: DebugRegisters,
    /// What a stop gave back: registers, system call and signal.
    resumed: Option<(Box<UserContext>, u64, Option<SigInfo>)>,
}

/// Bits of [`Thread::watched`].
pub const TRACED: u8 = 1;
/// The thread has filters.
pub const FILTERED: u8 = 2;
/// It shall stop (`PTRACE_INTERRUPT`, or a new tracee of a seizing tracer).
pub const INTERRUPT: u8 = 4;

impl Trace {
    /// Who traces it, while that lives.
    pub fn tracer(&self) -> Option<Arc<Process>> {
        self.tracer.as_ref().and_then(Weak::upgrade)
    }
}

impl Thread {
    /// Whether somebody traces it.
    pub fn is_traced(&self) -> bool {
        self.watched.load(Ordering::Relaxed) & TRACED != 0
    }

    /// Lets `tracer` trace it.
    pub fn attach(self: &Arc<Self>, tracer: &Arc<Process>, seized: bool, options: Options) {
        let mut trace = self.trace.lock();
        *trace = Trace { tracer: Some(Arc::downgrade(tracer)), seized, options, ..Trace::default() };
        drop(trace);
        self.watched.fetch_or(TRACED, Ordering::Relaxed);
        tracer.tracees.lock().push(self.clone());
    }

    /// Ends tracing; a stopped thread goes on, with a signal if one is given.
    pub fn detach(self: &Arc<Self>, signal: Option<Signal>) {
        let tracer = self.trace.lock().tracer();
        self.resume(Resume::Run, signal);
        self.trace.lock().tracer = None;
        self.watched.fetch_and(!(TRACED | INTERRUPT | DEBUGGED), Ordering::Relaxed);
        if let Some(tracer) = tracer {
            tracer.tracees.lock().retain(|t| !Arc::ptr_eq(t, self));
        }
        self.wake();
    }

    /// Sets a debug register.
    pub fn set_debug_register(&self, number: usize, value: u64) -> Result<(), Errno> {
        let mut trace = self.trace.lock();
        trace.debug.set(number, value)?;
        if trace.debug.any() {
            self.watched.fetch_or(DEBUGGED, Ordering::Relaxed);
        } else {
            self.watched.fetch_and(!DEBUGGED, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Clears the debug registers: they are about another program.
    pub fn forget_debug_registers(&self) {
        self.trace.lock().debug = DebugRegisters::default();
        self.watched.fetch_and(!DEBUGGED, Ordering::Relaxed);
    }

    /// Lets a stopped thread go on, with `signal` delivered if there is one.
    pub fn resume(&self, how: Resume, signal: Option<Signal>) {
        let mut trace = self.trace.lock();
        trace.resume = how;
        let Some(mut stop) = trace.stop.take() else { return };
        let info = signal.map(|signal| match stop.kind {
            StopKind::Signal if stop.info.signal == signal => stop.info,
            _ => {
                let tracer = trace.tracer().map(|t| (t.pid, t.credentials().uid)).unwrap_or_default();
                SigInfo::user(signal, SI_USER, tracer.0, tracer.1)
            }
        });
        if how == Resume::Step {
            stop.cpu.rflags |= UserContext::TRAP_FLAG;
        }
        trace.resumed = Some((stop.cpu, stop.call, info));
        drop(trace);
        self.wake();
    }
}

/// `EPERM` unless `from` may look into `to` (ptrace(2), "Ptrace access mode checking").
pub fn may_look(from: &Process, to: &Process) -> Result<(), Errno> {
    if core::ptr::eq(from, to) {
        return Ok(());
    }
    let (mine, theirs) = (from.credentials(), to.credentials());
    let privileged = mine.is_capable(CAP_SYS_PTRACE);
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|&u| u == mine.uid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|&g| g == mine.gid);
    let contained = theirs.caps.permitted & !mine.caps.permitted == 0;
    if privileged || same && to.dumpable() == 1 && contained { Ok(()) } else { Err(Errno::EPERM) }
}

/// Stops the thread until its tracer lets it go on. Returns the signal to deliver and the system call as the tracer left
/// it.
async fn stop(
    thread: &Arc<Thread>,
    cpu: &mut UserContext,
    kind: StopKind,
    code: u32,
    info: SigInfo,
    call: u64,
) -> (Option<SigInfo>, u64) {
    {
        let mut trace = thread.trace.lock();
        let Some(tracer) = trace.tracer() else { return (Some(info).filter(|_| kind == StopKind::Signal), call) };
        // A step is over whatever ended it.
        cpu.rflags &= !UserContext::TRAP_FLAG;
        trace.resumed = None;
        trace.stop = Some(Stop { kind, code, info, cpu: Box::new(cpu.clone()), call, told: false });
        drop(trace);
        tell(thread, &tracer, code);
    }
    let is_ending = kind == StopKind::Event(Event::Exit);
    let resumed = core::future::poll_fn(|_| {
        let mut trace = thread.trace.lock();
        let killed = match thread.process.ending() {
            Some(WaitStatus::Killed(Signal::SIGKILL, _)) => true,
            Some(_) => !is_ending,
            None => thread.must_stop_running() && !is_ending,
        };
        if killed {
            trace.stop = None;
            return Poll::Ready(None);
        }
        // Whoever lets it go on wakes it.
        if trace.stop.is_some() { Poll::Pending } else { Poll::Ready(trace.resumed.take()) }
    })
    .await;
    let Some((registers, call, signal)) = resumed else { return (None, call) };
    *cpu = *registers;
    (signal, call)
}

/// Tells the tracer of a stop.
fn tell(thread: &Thread, tracer: &Arc<Process>, code: u32) {
    let action = tracer.actions.lock().get(Signal::SIGCHLD);
    if action.flags & flags::NOCLDSTOP == 0 {
        let uid = thread.process.credentials().uid;
        let status = crate::num::low32_signed(u64::from(code & 0x7f));
        let _ = tracer.send(SigInfo::child(Signal::SIGCHLD, 4, thread.tid(), uid, status));
    }
    tracer.events.wake_all();
}

/// A trap as its stop shows it.
fn trap(code: u32) -> SigInfo {
    SigInfo { signal: Signal::SIGTRAP, code: code.cast_signed(), fields: [0; 3] }
}

/// Stops before a signal is delivered; returns what to deliver in its place. An interrupted call the tracer took away is
/// not made again.
pub async fn signal_stop(
    thread: &Arc<Thread>,
    cpu: &mut UserContext,
    info: SigInfo,
    interrupted: &mut Option<Interrupted>,
) -> Option<SigInfo> {
    let code = u32::from(info.signal.number());
    let number = interrupted.map(|i| i.number);
    if let Some(Interrupted { errno, .. }) = interrupted {
        cpu.set_reg(Reg::Rax, errno.to_result());
    }
    let (signal, call) = stop(thread, cpu, StopKind::Signal, code, info, number.unwrap_or(u64::MAX)).await;
    if number.is_some() && call == u64::MAX {
        *interrupted = None;
    }
    signal
}

/// Stops with the whole process; returns when the tracer lets it go on.
pub async fn group_stop(thread: &Arc<Thread>, cpu: &mut UserContext, signal: Signal) {
    let seized = thread.trace.lock().seized;
    let event = if seized { u32::from(Event::Stop as u8) << 8 } else { 0 };
    let code = u32::from(signal.number()) | event;
    stop(thread, cpu, StopKind::Group, code, SigInfo { signal, code: code.cast_signed(), fields: [0; 3] }, u64::MAX)
        .await;
}

/// Stops because the tracer asked for it; returns the signal it wants delivered.
pub async fn interrupt_stop(thread: &Arc<Thread>, cpu: &mut UserContext) {
    let code = u32::from(Signal::SIGTRAP.number()) | u32::from(Event::Stop as u8) << 8;
    stop(thread, cpu, StopKind::Event(Event::Stop), code, trap(code), u64::MAX).await;
}

/// Tells the tracer of something, if it wants to know: the thread stops.
pub async fn event_stop(thread: &Arc<Thread>, cpu: &mut UserContext, event: Event, message: u64, call: u64) -> u64 {
    if !wants(thread, event) {
        return call;
    }
    thread.trace.lock().message = message;
    let code = u32::from(Signal::SIGTRAP.number()) | u32::from(event as u8) << 8;
    stop(thread, cpu, StopKind::Event(event), code, trap(code), call).await.1
}

/// Whether the tracer wants to know of an event.
pub fn wants(thread: &Thread, event: Event) -> bool {
    thread.is_traced() && thread.trace.lock().options.contains(event.option())
}

/// Stops at the entry to or the return from a system call, if the tracer let it go on until then. Returns the call as the
/// tracer left it.
pub async fn call_stop(thread: &Arc<Thread>, cpu: &mut UserContext, kind: StopKind, call: u64) -> u64 {
    let (wanted, good) = {
        let trace = thread.trace.lock();
        (thread.is_traced() && trace.resume == Resume::ToCall, trace.options.contains(Options::SYSGOOD))
    };
    if !wanted {
        return call;
    }
    let code = u32::from(Signal::SIGTRAP.number()) | if good { 0x80 } else { 0 };
    let (signal, call) = stop(thread, cpu, kind, code, trap(code), call).await;
    if let Some(info) = signal {
        let _ = thread.send(info);
    }
    call
}

/// What a new thread or process of a traced one inherits; returns whether the tracer wants to know of it.
pub fn follow(parent: &Arc<Thread>, child: &Arc<Thread>, event: Event) -> bool {
    if !wants(parent, event) {
        return false;
    }
    let (tracer, seized, options) = {
        let trace = parent.trace.lock();
        (trace.tracer(), trace.seized, trace.options)
    };
    let Some(tracer) = tracer else { return false };
    child.attach(&tracer, seized, options);
    if seized {
        child.watched.fetch_or(INTERRUPT, Ordering::Relaxed);
    } else {
        let _ = child.pending.push(SigInfo::user(Signal::SIGSTOP, SI_USER, crate::task::Pid(0), 0));
    }
    true
}

/// What a tracer leaves behind at its end: its tracees run on, or end with it.
pub fn tracer_ended(process: &Process) {
    let tracees = core::mem::take(&mut *process.tracees.lock());
    for thread in tracees {
        if thread.trace.lock().options.contains(Options::EXITKILL) {
            let _ = thread.process.send(SigInfo::kernel(Signal::SIGKILL));
        }
        thread.detach(None);
    }
}

/// Tells a tracer of the end of a thread: of a process's first one its parent learns anyway, if that is the tracer.
pub fn tracee_ended(thread: &Arc<Thread>, status: WaitStatus, is_last: bool) {
    if !thread.is_traced() {
        return;
    }
    let mut trace = thread.trace.lock();
    let Some(tracer) = trace.tracer() else { return };
    let leads = thread.tid() == thread.process.pid;
    let is_child = thread.process.parent().is_some_and(|p| Arc::ptr_eq(&p, &tracer));
    trace.stop = None;
    if leads && (is_child || !is_last) {
        drop(trace);
        if is_child {
            tracer.tracees.lock().retain(|t| !Arc::ptr_eq(t, thread));
        }
    } else {
        trace.ended = Some(status);
        drop(trace);
    }
    tracer.events.wake_all();
}
