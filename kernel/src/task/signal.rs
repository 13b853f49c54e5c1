//! Signals: sending, what is pending, and what they do, signal(7).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_abi::types::{SigAction, SigInfo as RawInfo};

use crate::security::credentials::CAP_KILL;
use crate::security::{Kind, Rights};
use crate::sync::Mutex;
use crate::task::limits::{Resource, UNLIMITED};
use crate::task::process::WaitStatus;
use crate::task::{Pid, Process, Thread};

/// A signal's number, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident = $n:literal),*) => { impl Signal { $(#[allow(missing_docs)] pub const $name: Self = Self($n);)* } };
}
signals! {
    SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9,
    SIGUSR1 = 10, SIGSEGV = 11, SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15, SIGSTKFLT = 16, SIGCHLD = 17,
    SIGCONT = 18, SIGSTOP = 19, SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22, SIGURG = 23, SIGXCPU = 24, SIGXFSZ = 25,
    SIGVTALRM = 26, SIGPROF = 27, SIGWINCH = 28, SIGIO = 29, SIGPWR = 30, SIGSYS = 31
}

impl Signal {
    /// A signal by number; `None` for 0 and above 64.
    pub const fn new(number: u8) -> Option<Self> {
        if number >= 1 && number <= 64 { Some(Self(number)) } else { None }
    }
    /// As an `int` argument gives it; `EINVAL` if there is none.
    pub fn from_arg(number: i32) -> Result<Self, Errno> {
        u8::try_from(number).ok().and_then(Self::new).ok_or(Errno::EINVAL)
    }
    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }
    const fn bit(self) -> u64 {
        1 << (self.0 - 1)
    }
    const fn is_real_time(self) -> bool {
        self.0 >= 32
    }
    /// What it does when the program did not say.
    pub const fn default_action(self) -> DefaultAction {
        match self {
            Self::SIGCHLD | Self::SIGURG | Self::SIGWINCH => DefaultAction::Ignore,
            Self::SIGCONT => DefaultAction::Continue,
            Self::SIGSTOP | Self::SIGTSTP | Self::SIGTTIN | Self::SIGTTOU => DefaultAction::Stop,
            Self::SIGQUIT | Self::SIGILL | Self::SIGTRAP | Self::SIGABRT | Self::SIGBUS | Self::SIGFPE => {
                DefaultAction::Core
            }
            Self::SIGSEGV | Self::SIGXCPU | Self::SIGXFSZ | Self::SIGSYS => DefaultAction::Core,
            _ => DefaultAction::Terminate,
        }
    }
}

/// What a signal does by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// Ends the process.
    Terminate,
    /// Ends the process; Linux may write a core file.
    Core,
    /// Stops the process.
    Stop,
    /// Lets a stopped process go on.
    Continue,
}

/// A set of signals, bit `n - 1` for signal `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// Whether `signal` is in it.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & signal.bit() != 0
    }
    /// With `signal`.
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | signal.bit())
    }
    /// Without SIGKILL and SIGSTOP.
    pub const fn without_unblockable(self) -> Self {
        Self(self.0 & !(Signal::SIGKILL.bit() | Signal::SIGSTOP.bit()))
    }
    /// With everything in `other`.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const STOP_SIGNALS: u64 = Signal::SIGSTOP.bit() | Signal::SIGTSTP.bit() | Signal::SIGTTIN.bit() | Signal::SIGTTOU.bit();
/// Raised by instructions: handled before others.
const SYNCHRONOUS: u64 = Signal::SIGSEGV.bit()
    | Signal::SIGBUS.bit()
    | Signal::SIGILL.bit()
    | Signal::SIGTRAP.bit()
    | Signal::SIGFPE.bit()
    | Signal::SIGSYS.bit();

/// Where a signal comes from: `siginfo_t` without its padding, sigaction(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigInfo {
    /// Which.
    pub signal: Signal,
    /// `si_code`.
    pub code: i32,
    /// The union's words.
    pub fields: [u64; 3],
}

/// `si_code` of kill(2).
pub const SI_USER: i32 = 0;
/// `si_code` of the kernel.
pub const SI_KERNEL: i32 = 0x80;
/// `si_code` of a seccomp filter.
pub const SYS_SECCOMP: i32 = 1;
/// `si_code` of tgkill(2).
pub const SI_TKILL: i32 = -6;

impl SigInfo {
    /// From the kernel, without more to say.
    pub const fn kernel(signal: Signal) -> Self {
        Self { signal, code: SI_KERNEL, fields: [0; 3] }
    }
    /// From a process.
    pub fn user(signal: Signal, code: i32, pid: Pid, uid: u32) -> Self {
        let low = u64::from(pid.0.cast_unsigned()) | u64::from(uid) << 32;
        Self { signal, code, fields: [low, 0, 0] }
    }
    /// From an instruction at or touching `addr`.
    pub const fn fault(signal: Signal, code: i32, addr: u64) -> Self {
        Self { signal, code, fields: [addr, 0, 0] }
    }
    /// About a child, `SIGCHLD`.
    pub fn child(signal: Signal, code: i32, pid: Pid, uid: u32, status: i32) -> Self {
        let low = u64::from(pid.0.cast_unsigned()) | u64::from(uid) << 32;
        Self { signal, code, fields: [low, u64::from(status.cast_unsigned()), 0] }
    }
    /// As a program sees it.
    pub fn to_raw(self) -> RawInfo {
        let mut raw = RawInfo { signo: i32::from(self.signal.0), code: self.code, ..RawInfo::default() };
        if self.signal == Signal::SIGSYS && self.code == SYS_SECCOMP {
            let [at, call, data] = self.fields;
            raw.errno = crate::num::low32_signed(data);
            raw.fields = [at, call, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            return raw;
        }
        // For a fault only the address is the program's; the rest is for the signal frame.
        let is_fault = self.code > 0 && self.signal.bit() & SYNCHRONOUS != 0;
        let shown = if is_fault { 1 } else { self.fields.len() };
        for (to, from) in raw.fields.iter_mut().zip(self.fields).take(shown) {
            *to = from;
        }
        raw
    }
    /// As rt_sigqueueinfo(2) gives it.
    pub fn from_raw(signal: Signal, raw: &RawInfo) -> Self {
        let [a, b, c, ..] = raw.fields;
        Self { signal, code: raw.code, fields: [a, b, c] }
    }
}

/// Signals that were sent and not taken yet. Standard signals are there once, real-time signals as often as sent.
#[derive(Default)]
pub struct PendingSignals {
    set: AtomicU64,
    queue: Mutex<VecDeque<SigInfo>>,
}

/// Most queued real-time signals of one kind.
const QUEUE_LIMIT: usize = 1024;

impl PendingSignals {
    /// Which signals are pending.
    pub fn set(&self) -> SignalSet {
        SignalSet(self.set.load(Ordering::Acquire))
    }

    /// How many are queued, of all kinds.
    pub fn len(&self) -> usize {
        self.queue.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queued signals from `from` on, for `PTRACE_PEEKSIGINFO`.
    pub fn peek(&self, from: usize) -> Option<SigInfo> {
        self.queue.lock().get(from).copied()
    }

    /// Adds a signal. `EAGAIN` when too many real-time signals are queued.
    pub fn push(&self, info: SigInfo) -> Result<(), Errno> {
        let mut queue = self.queue.lock();
        let bit = info.signal.bit();
        if self.set.load(Ordering::Acquire) & bit != 0 && !info.signal.is_real_time() {
            return Ok(());
        }
        if queue.len() >= QUEUE_LIMIT && info.signal.is_real_time() {
            return Err(Errno::EAGAIN);
        }
        queue.push_back(info);
        self.set.fetch_or(bit, Ordering::AcqRel);
        Ok(())
    }

    /// Takes the most urgent signal of `wanted`: those instructions raised first, then by number, then by age.
    pub fn take(&self, wanted: SignalSet) -> Option<SigInfo> {
        let ready = self.set.load(Ordering::Acquire) & wanted.0;
        if ready == 0 {
            return None;
        }
        let first = if ready & SYNCHRONOUS != 0 { ready & SYNCHRONOUS } else { ready };
        let signal = Signal(crate::num::low8(u64::from(first.trailing_zeros()) + 1));
        let mut queue = self.queue.lock();
        let at = queue.iter().position(|i| i.signal == signal);
        let info = at.and_then(|at| queue.remove(at));
        if !queue.iter().any(|i| i.signal == signal) {
            self.set.fetch_and(!signal.bit(), Ordering::AcqRel);
        }
        info
    }

    /// Forgets the signals of `set`.
    pub fn discard(&self, set: SignalSet) {
        let mut queue = self.queue.lock();
        queue.retain(|i| !set.contains(i.signal));
        self.set.fetch_and(!set.0, Ordering::AcqRel);
    }
}

/// `SA_*` flags of sigaction(2).
pub mod flags {
    #![allow(missing_docs)]
    pub const NOCLDSTOP: u64 = 1;
    pub const NOCLDWAIT: u64 = 2;
    pub const SIGINFO: u64 = 4;
    pub const RESTORER: u64 = 0x0400_0000;
    pub const ONSTACK: u64 = 0x0800_0000;
    pub const RESTART: u64 = 0x1000_0000;
    pub const NODEFER: u64 = 0x4000_0000;
    pub const RESETHAND: u64 = 0x8000_0000;
}

/// `SIG_DFL`.
pub const DEFAULT: u64 = 0;
/// `SIG_IGN`.
pub const IGNORE: u64 = 1;

/// What a process does on each signal.
pub struct Actions {
    table: Mutex<[SigAction; 64]>,
}

impl Default for Actions {
    fn default() -> Self {
        Self { table: Mutex::new([SigAction::default(); 64]) }
    }
}

impl Actions {
    /// A copy for fork(2).
    pub fn fork(&self) -> Arc<Self> {
        Arc::new(Self { table: Mutex::new(*self.table.lock()) })
    }
    /// What is done on `signal`.
    pub fn get(&self, signal: Signal) -> SigAction {
        self.table.lock().get(usize::from(signal.0) - 1).copied().unwrap_or_default()
    }
    /// Sets what is done; returns what was.
    pub fn set(&self, signal: Signal, action: SigAction) -> SigAction {
        let mut table = self.table.lock();
        let slot = table.get_mut(usize::from(signal.0) - 1);
        slot.map(|s| core::mem::replace(s, action)).unwrap_or_default()
    }
    /// A copy for execve(2): handlers are gone, ignored signals stay ignored.
    pub fn after_exec(&self) -> Arc<Self> {
        let mut table = *self.table.lock();
        for action in &mut table {
            let handler = if action.handler == IGNORE { IGNORE } else { DEFAULT };
            *action = SigAction { handler, ..SigAction::default() };
        }
        Arc::new(Self { table: Mutex::new(table) })
    }
    /// Whether sending `signal` changes nothing.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.get(signal).handler {
            IGNORE => true,
            DEFAULT => signal.default_action() == DefaultAction::Ignore,
            _ => false,
        }
    }
}

impl Process {
    /// Sends a signal to the process: any thread that does not block it takes it.
    pub fn send(self: &Arc<Self>, info: SigInfo) -> Result<(), Errno> {
        if self.prepare(info.signal, None) {
            return Ok(());
        }
        self.check_queue(&info)?;
        self.pending.push(info)?;
        self.signal_watchers.wake();
        let threads = self.threads.lock();
        // Prefer a thread that can take it at once.
        match threads.iter().find(|t| !t.mask().contains(info.signal)) {
            Some(thread) => thread.wake(),
            None => threads.iter().for_each(|t| t.wake()),
        }
        Ok(())
    }

    /// `EAGAIN` if a signal that carries something would be queued beyond the limit. Others always find room.
    fn check_queue(&self, info: &SigInfo) -> Result<(), Errno> {
        let limit = self.limits.get(Resource::PendingSignals);
        if !info.signal.is_real_time() || info.code >= 0 || limit == UNLIMITED {
            return Ok(());
        }
        let of_threads: usize = self.threads.lock().iter().map(|t| t.pending.len()).sum();
        if (self.pending.len() + of_threads) as u64 >= limit { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// What sending changes before anything is queued. Returns whether that is all.
    fn prepare(self: &Arc<Self>, signal: Signal, thread: Option<&Thread>) -> bool {
        if self.is_zombie() {
            return true;
        }
        let stops = SignalSet(STOP_SIGNALS);
        if signal == Signal::SIGCONT {
            self.pending.discard(stops);
            self.threads.lock().iter().for_each(|t| t.pending.discard(stops));
            self.resume();
        } else if stops.contains(signal) {
            self.pending.discard(SignalSet(Signal::SIGCONT.bit()));
        }
        if signal == Signal::SIGKILL {
            self.set_stopped(&mut self.state(), None);
            self.begin_end(WaitStatus::Killed(signal, false));
            return true;
        }
        let actions = self.actions.lock().clone();
        let protected = actions.get(signal).handler == DEFAULT && self.spares(signal);
        // What is blocked is never ignored: its action may be another by the time it is not.
        let kept = match thread {
            Some(thread) => thread.keeps(signal),
            None => self.threads.lock().iter().any(|t| t.keeps(signal)),
        };
        (protected || actions.ignores(signal)) && !kept
    }

    /// Whether the signal's default action is not for this process: init is not ended by signals it has no handler for.
    pub fn spares(&self, signal: Signal) -> bool {
        self.pid == Pid(1)
            && !matches!(signal.default_action(), DefaultAction::Ignore | DefaultAction::Continue)
            && !SignalSet(SYNCHRONOUS).contains(signal)
    }

    /// Lets a stopped process go on.
    fn resume(self: &Arc<Self>) {
        let was_stopped = {
            let mut state = self.state();
            let was = self.set_stopped(&mut state, None).is_some();
            if was {
                state.report = Some(WaitStatus::Continued);
            }
            was
        };
        if was_stopped {
            self.threads.lock().iter().for_each(|t| t.wake());
            self.tell_parent_of_stop(WaitStatus::Continued);
        }
    }

    /// Stops the process.
    pub fn stop(self: &Arc<Self>, signal: Signal) {
        {
            let mut state = self.state();
            if self.stopped().is_some() {
                return;
            }
            self.set_stopped(&mut state, Some(signal));
            state.report = Some(WaitStatus::Stopped(signal));
        }
        self.threads.lock().iter().for_each(|t| t.wake());
        self.tell_parent_of_stop(WaitStatus::Stopped(signal));
    }

    fn tell_parent_of_stop(self: &Arc<Self>, status: WaitStatus) {
        let Some(parent) = self.parent() else { return };
        let action = parent.actions.lock().get(Signal::SIGCHLD);
        if action.flags & flags::NOCLDSTOP == 0 {
            let (code, value) = match status {
                WaitStatus::Stopped(signal) => (5, i32::from(signal.number())),
                _ => (6, i32::from(Signal::SIGCONT.number())),
            };
            let uid = self.credentials().uid;
            let _ = parent.send(SigInfo::child(Signal::SIGCHLD, code, self.pid, uid, value));
        }
        parent.events.wake_all();
    }
}

impl Thread {
    /// Sends a signal to this thread alone.
    pub fn send(self: &Arc<Self>, info: SigInfo) -> Result<(), Errno> {
        if self.process.prepare(info.signal, Some(self)) {
            return Ok(());
        }
        self.process.check_queue(&info)?;
        self.pending.push(info)?;
        self.process.signal_watchers.wake();
        self.wake();
        Ok(())
    }

    /// A signal an instruction of this thread raised: it cannot be blocked or ignored, or the process ends.
    pub fn force(self: &Arc<Self>, info: SigInfo) {
        let actions = self.process.actions.lock().clone();
        let mut action = actions.get(info.signal);
        if self.mask().contains(info.signal) || action.handler == IGNORE {
            action.handler = DEFAULT;
            actions.set(info.signal, action);
            self.set_mask(SignalSet(self.mask().0 & !info.signal.bit()));
        }
        // The queue never refuses a standard signal.
        let _ = self.pending.push(info);
    }

    /// Takes the next signal to handle.
    pub fn next_signal(&self) -> Option<SigInfo> {
        self.take_signal(SignalSet(!self.mask().0))
    }

    /// Takes the next signal of `wanted`.
    pub fn take_signal(&self, wanted: SignalSet) -> Option<SigInfo> {
        let info = self.pending.take(wanted).or_else(|| self.process.pending.take(wanted))?;
        Some(self.process.timers.note_taken(info))
    }
}

/// `EPERM` unless `from` may send `signal` to `to`: same user, the superuser, or SIGCONT inside a session.
pub fn may_signal(from: &Process, to: &Process, signal: Option<Signal>) -> Result<(), Errno> {
    let (mine, theirs) = (from.credentials(), to.credentials());
    let same_user = [mine.uid, mine.euid].iter().any(|&u| u == theirs.uid || u == theirs.suid);
    let same_session = signal == Some(Signal::SIGCONT) && from.session() == to.session();
    if same_user || same_session {
        return Ok(());
    }
    mine.require(CAP_KILL)?;
    from.capabilities.check(Kind::ProcRead, Rights::WRITE)
}
