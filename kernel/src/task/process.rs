//! A process: what its threads share.

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use aurora_machine::Instant;

use crate::memory::AddressSpace;
use crate::memory::account::Charge;
use crate::security::{CapabilityTable, Credentials};
use crate::sync::{Mutex, WaitQueue};
use crate::task::limits::{Limits, Resource, UNLIMITED};
use crate::task::signal::{Actions, PendingSignals};
use crate::task::{SigInfo, Signal, Thread};
use crate::tty::Tty;
use crate::vfs::PathRef;
use crate::{Kernel, kerror};

/// Number of a process, a thread, a process group or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pid(pub i32);

/// How a process ended or stopped, as wait4(2) encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStatus {
    /// Called exit with this status.
    Exited(u8),
    /// Ended by a signal; whether a core would have been dumped.
    Killed(Signal, bool),
    /// Stopped by a signal.
    Stopped(Signal),
    /// Goes on after a stop.
    Continued,
    /// A traced thread stopped: the signal, and above it the event.
    Traced(u32),
}

impl WaitStatus {
    /// The number in `wstatus`.
    pub fn encode(self) -> u32 {
        match self {
            Self::Exited(code) => u32::from(code) << 8,
            Self::Killed(signal, core) => u32::from(signal.number()) | if core { 0x80 } else { 0 },
            Self::Stopped(signal) => u32::from(signal.number()) << 8 | 0x7f,
            Self::Continued => 0xffff,
            Self::Traced(code) => code << 8 | 0x7f,
        }
    }
}

/// A process.
pub struct Process {
    /// Its number: that of its first thread.
    pub pid: Pid,
    /// The system it is in.
    pub kernel: Arc<Kernel>,
    parent: Mutex<Weak<Process>>,
    /// Living and dead ones that were not waited for.
    pub children: Mutex<Vec<Arc<Process>>>,
    /// Living ones.
    pub threads: Mutex<Vec<Arc<Thread>>>,
    /// Woken when a child's state changes, and when a thread of this process ends.
    pub events: WaitQueue,
    group: AtomicI32,
    session: AtomicI32,
    space: Mutex<Option<Arc<AddressSpace>>>,
    /// What signals do; shared by `CLONE_SIGHAND`.
    pub actions: Mutex<Arc<Actions>>,
    /// Signals for no thread in particular.
    pub pending: PendingSignals,
    /// Resource limits.
    pub limits: Limits,
    credentials: Mutex<Arc<Credentials>>,
    /// What it may ask of the kernel.
    pub capabilities: CapabilityTable,
    /// The terminal that controls its session.
    pub terminal: Mutex<Option<Arc<Tty>>>,
    /// For the leader of a session whose terminal was hung up: the group that was in the foreground.
    pub lost_foreground: Mutex<Option<Pid>>,
    /// Where it was found running, if anybody asked.
    pub samples: crate::task::profile::Samples,
    /// The file it executes.
    pub executable: Mutex<Option<PathRef>>,
    /// Sent to the parent at the end; 0 for none.
    pub exit_signal: AtomicU32,
    /// Set once all threads must end: the wait status, and bit 31.
    ending: AtomicU32,
    /// The number of the signal that stopped it; 0 while it goes on.
    stopped: AtomicU8,
    /// Set when the last thread has ended.
    state: Mutex<State>,
    /// Executed a program since it was forked.
    pub has_executed: AtomicBool,
    /// Its program carries the note that opens `INT 0x80`.
    pub opens_aurora_gate: AtomicBool,
    /// Privileges do not grow by execve (prctl `PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: AtomicBool,
    /// Who may look into it: `PR_SET_DUMPABLE`.
    dumpable: AtomicU8,
    /// Orphans below it become its children (`PR_SET_CHILD_SUBREAPER`).
    pub is_subreaper: AtomicBool,
    /// personality(2).
    pub personality: AtomicU32,
    /// How gladly it is killed when memory runs out, -1000 to 1000.
    pub oom_score_adj: AtomicI32,
    /// Threads it traces.
    pub tracees: Mutex<Vec<Arc<Thread>>>,
    /// Bytes and calls of reads and writes, for `/proc/PID/io`.
    pub io: IoCounters,
    /// Processor time in the kernel of threads that ended.
    pub system_before: AtomicU64,
    /// The same of children that were waited for.
    pub system_of_children: AtomicU64,
    /// Page faults of children that were waited for.
    pub faults_of_children: AtomicU64,
    /// Processor time of threads that ended, in nanoseconds.
    pub used_before: AtomicU64,
    /// Processor time of children that were waited for.
    pub used_by_children: AtomicU64,
    /// When it began.
    pub started: Instant,
    /// Told when a vfork child lets its parent go on.
    pub vfork_done: Mutex<Option<Arc<VforkDone>>>,
    /// Page faults resolved.
    pub faults: AtomicU64,
    /// Interval timer: when it fires, and its period, in nanoseconds.
    pub alarm: crate::task::timer::Alarm,
    /// Its other timers.
    pub timers: crate::task::posix_timer::ProcessTimers,
    /// Told when a signal comes.
    pub signal_watchers: crate::ipc::signalfd::SignalWatchers,
    /// Woken when it ends: what its pidfds wait for.
    pub ended: WaitQueue,
    _charge: Charge,
}

/// What a process read and wrote.
#[derive(Default)]
pub struct IoCounters {
    /// Bytes read.
    pub read: AtomicU64,
    /// Bytes written.
    pub written: AtomicU64,
    /// Calls that read.
    pub reads: AtomicU64,
    /// Calls that wrote.
    pub writes: AtomicU64,
}

impl IoCounters {
    /// Counts a call that moved so many bytes.
    pub fn count(&self, is_read: bool, bytes: u64) {
        let (sum, calls) = if is_read { (&self.read, &self.reads) } else { (&self.written, &self.writes) };
        sum.fetch_add(bytes, Ordering::Relaxed);
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Wakes the parent of a vfork child.
#[derive(Default)]
pub struct VforkDone {
    done: AtomicBool,
    queue: WaitQueue,
}

impl VforkDone {
    /// The child no longer uses its parent's memory.
    pub fn signal(&self) {
        self.done.store(true, Ordering::Release);
        self.queue.wake_all();
    }
    /// Waits for that.
    pub async fn wait(&self) {
        self.queue.wait(|| self.done.load(Ordering::Acquire).then_some(())).await;
    }
}

/// Job control and end of a process.
#[derive(Default)]
pub struct State {
    /// A stop or continuation the parent has not asked for yet.
    pub report: Option<WaitStatus>,
    /// How it ended: it is a zombie.
    pub ended: Option<WaitStatus>,
}

/// Kernel heap a process with its first thread is charged.
pub const PROCESS_COST: u64 = 16 * 1024;

const ENDING: u32 = 1 << 31;

/// What a new process gets.
pub struct NewProcess {
    /// Its number.
    pub pid: Pid,
    /// None for those the kernel starts.
    pub parent: Option<Arc<Process>>,
    /// Its memory.
    pub space: Arc<AddressSpace>,
    /// What signals do.
    pub actions: Arc<Actions>,
    /// Resource limits.
    pub limits: Limits,
    /// Identities.
    pub credentials: Arc<Credentials>,
    /// Capabilities.
    pub capabilities: CapabilityTable,
    /// Sent to the parent at the end.
    pub exit_signal: u32,
    /// Paid.
    pub charge: Charge,
}

impl Process {
    /// A process without threads.
    pub fn new(kernel: &Arc<Kernel>, new: NewProcess) -> Arc<Self> {
        let parent = new.parent.as_ref();
        let inherit = |f: fn(&Process) -> i32| AtomicI32::new(parent.map_or(new.pid.0, |p| f(p)));
        Arc::new(Self {
            group: inherit(|p| p.group().0),
            session: inherit(|p| p.session().0),
            terminal: Mutex::new(parent.and_then(|p| p.terminal.lock().clone())),
            lost_foreground: Mutex::default(),
            samples: crate::task::profile::Samples::default(),
            executable: Mutex::new(parent.and_then(|p| p.executable.lock().clone())),
            opens_aurora_gate: AtomicBool::new(parent.is_some_and(|p| p.opens_aurora_gate.load(Ordering::Relaxed))),
            no_new_privs: AtomicBool::new(parent.is_some_and(|p| p.no_new_privs.load(Ordering::Relaxed))),
            pid: new.pid,
            kernel: kernel.clone(),
            parent: Mutex::new(parent.map_or_else(Weak::new, Arc::downgrade)),
            children: Mutex::default(),
            threads: Mutex::default(),
            events: WaitQueue::new(),
            space: Mutex::new(Some(new.space)),
            actions: Mutex::new(new.actions),
            pending: PendingSignals::default(),
            limits: new.limits,
            credentials: Mutex::new(new.credentials),
            capabilities: new.capabilities,
            exit_signal: AtomicU32::new(new.exit_signal),
            ending: AtomicU32::new(0),
            stopped: AtomicU8::new(0),
            state: Mutex::default(),
            has_executed: AtomicBool::new(false),
            dumpable: AtomicU8::new(parent.map_or(1, |p| p.dumpable())),
            is_subreaper: AtomicBool::new(false),
            personality: AtomicU32::new(parent.map_or(0, |p| p.personality.load(Ordering::Relaxed))),
            oom_score_adj: AtomicI32::new(parent.map_or(0, |p| p.oom_score_adj.load(Ordering::Relaxed))),
            tracees: Mutex::default(),
            io: IoCounters::default(),
            system_before: AtomicU64::new(0),
            system_of_children: AtomicU64::new(0),
            faults_of_children: AtomicU64::new(0),
            used_before: AtomicU64::new(0),
            used_by_children: AtomicU64::new(0),
            started: kernel.machine.now(),
            vfork_done: Mutex::default(),
            faults: AtomicU64::new(0),
            alarm: crate::task::timer::Alarm::default(),
            timers: crate::task::posix_timer::ProcessTimers::default(),
            signal_watchers: parent.map(|p| p.signal_watchers.fork()).unwrap_or_default(),
            ended: WaitQueue::new(),
            _charge: new.charge,
        })
    }

    /// Its parent, while that lives.
    pub fn parent(&self) -> Option<Arc<Process>> {
        self.parent.lock().upgrade()
    }
    /// The parent's number; 0 without one.
    pub fn parent_pid(&self) -> Pid {
        self.parent().map_or(Pid(0), |p| p.pid)
    }
    /// Gives it another parent.
    pub fn set_parent(&self, parent: Option<&Arc<Process>>) {
        *self.parent.lock() = parent.map_or_else(Weak::new, Arc::downgrade);
    }
    /// Its pages as the out-of-memory killer counts them: more or less by a share of all memory, `/proc/PID/oom_score_adj`;
    /// none for a process that shall never be killed.
    pub fn oom_pages(&self) -> Option<i64> {
        let adjustment = i64::from(self.oom_score_adj.load(Ordering::Relaxed));
        let usage = self.space().map(|s| s.usage());
        let pages = i64::try_from(usage.map_or(0, |u| u.resident + u.tables)).unwrap_or(i64::MAX);
        let total = i64::try_from(self.kernel.memory.phys().total_frames()).unwrap_or(i64::MAX);
        (adjustment > -1000).then(|| pages.saturating_add(total / 1000 * adjustment))
    }
    /// Ends it for want of memory.
    pub fn kill_for_memory(self: &Arc<Self>) {
        let name = String::from_utf8_lossy(&self.name()).into_owned();
        kerror!(self.kernel, "out of memory: killed process {} ({name})", self.pid.0);
        let _ = self.send(SigInfo::kernel(Signal::SIGKILL));
    }
    /// Its process group.
    pub fn group(&self) -> Pid {
        Pid(self.group.load(Ordering::Relaxed))
    }
    /// Moves it to a group.
    pub fn set_group(&self, group: Pid) {
        self.group.store(group.0, Ordering::Relaxed);
    }
    /// Its session.
    pub fn session(&self) -> Pid {
        Pid(self.session.load(Ordering::Relaxed))
    }
    /// Makes it the leader of a new session and group, without a terminal.
    pub fn start_session(&self) {
        self.session.store(self.pid.0, Ordering::Relaxed);
        self.set_group(self.pid);
        *self.terminal.lock() = None;
    }
    /// Its identities.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.lock().clone()
    }
    /// Replaces its identities.
    pub fn set_credentials(&self, credentials: Credentials) {
        *self.credentials.lock() = Arc::new(credentials);
    }
    /// Its memory, until it ends.
    pub fn space(&self) -> Option<Arc<AddressSpace>> {
        self.space.lock().clone()
    }
    /// Replaces its memory; returns what it had.
    pub fn set_space(&self, space: Option<Arc<AddressSpace>>) -> Option<Arc<AddressSpace>> {
        self.samples.clear();
        core::mem::replace(&mut *self.space.lock(), space)
    }
    /// Job control state.
    pub fn state(&self) -> crate::sync::Guard<'_, State> {
        self.state.lock()
    }
    /// The signal that stopped it, while stopped.
    pub fn stopped(&self) -> Option<Signal> {
        Signal::new(self.stopped.load(Ordering::Acquire))
    }
    /// Notes that a signal stopped it, or that it goes on; returns what was. To be called with its state locked.
    pub(super) fn set_stopped(&self, _state: &mut State, signal: Option<Signal>) -> Option<Signal> {
        Signal::new(self.stopped.swap(signal.map_or(0, Signal::number), Ordering::AcqRel))
    }
    /// Whether it has ended and only its status is left.
    pub fn is_zombie(&self) -> bool {
        self.state.lock().ended.is_some()
    }
    /// Processor time of all its threads, in nanoseconds.
    pub fn used_ns(&self) -> u64 {
        let living: u64 = self.threads.lock().iter().map(|t| t.task.used_ns()).sum();
        self.used_before.load(Ordering::Relaxed) + living
    }
    /// What of it was in the kernel: never more than there was at all.
    pub fn system_ns(&self) -> u64 {
        let living: u64 = self.threads.lock().iter().map(|t| t.system_ns.load(Ordering::Relaxed)).sum();
        (self.system_before.load(Ordering::Relaxed) + living).min(self.used_ns())
    }
    /// 0 if only the superuser may look into it.
    pub fn dumpable(&self) -> u8 {
        self.dumpable.load(Ordering::Relaxed)
    }
    /// Sets who may look into it.
    pub fn set_dumpable(&self, value: u8) {
        self.dumpable.store(value, Ordering::Relaxed);
    }
    /// Minds the limit of processor time.
    pub fn check_processor_time(self: &Arc<Self>) {
        self.timers.look(self);
        if self.limits.get(Resource::Cpu) != UNLIMITED
            && let Some(signal) = self.limits.signal_for_time(self.used_ns())
        {
            let _ = self.send(SigInfo::kernel(signal));
        }
    }
    /// Makes all threads end with `status`. The first call decides.
    pub fn begin_end(&self, status: WaitStatus) {
        let value = status.encode() | ENDING;
        let first = self.ending.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if first {
            for thread in self.threads.lock().iter() {
                thread.wake();
            }
        }
    }
    /// The status all threads end with, once that is decided.
    pub fn ending(&self) -> Option<WaitStatus> {
        let value = self.ending.load(Ordering::Acquire);
        if value & ENDING == 0 {
            return None;
        }
        let low = crate::num::low8(u64::from(value & 0x7f));
        Some(match Signal::new(low) {
            Some(signal) => WaitStatus::Killed(signal, value & 0x80 != 0),
            None => WaitStatus::Exited(crate::num::low8(u64::from(value >> 8))),
        })
    }
    /// Name of the first thread, as `ps` shows it.
    pub fn name(&self) -> Vec<u8> {
        self.threads.lock().first().map(|t| t.name()).unwrap_or_default()
    }
}
