//! A thread: one program counter, one future.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use core::task::Poll;

use aurora_abi::Errno;
use aurora_abi::types::StackT;

use crate::Kernel;
use crate::memory::AddressSpace;
use crate::sync::Mutex;
use crate::task::rseq::Rseq;
use crate::task::scheduler::Task;
use crate::task::seccomp::Seccomp;
use crate::task::signal::{PendingSignals, SignalSet};
use crate::task::trace::{INTERRUPT, Trace};
use crate::task::uts::UtsNamespace;
use crate::task::{Pid, Process};
use crate::vfs::{Fd, FdTable, FsContext, Lookup, OpenFile, Resolve};

/// How late timers may be at first, in nanoseconds.
pub const DEFAULT_SLACK: u64 = 50_000;

/// A thread of a process.
pub struct Thread {
    tid: AtomicI32,
    /// Its process.
    pub process: Arc<Process>,
    /// Its place in the schedule.
    pub task: Arc<Task>,
    name: Mutex<Vec<u8>>,
    files: Mutex<Option<Arc<FdTable>>>,
    fs: Mutex<Arc<FsContext>>,
    /// Signals for this thread alone.
    pub pending: PendingSignals,
    mask: AtomicU64,
    /// Signals sigtimedwait(2) waits for: let through for that, and blocked in every other respect.
    awaited: AtomicU64,
    /// The mask to restore once a handler has run (`sigsuspend`, `ppoll`).
    saved_mask: Mutex<Option<SignalSet>>,
    has_saved_mask: AtomicBool,
    /// Alternate signal stack.
    pub alternate_stack: Mutex<StackT>,
    /// Zeroed and woken as a futex at the end (`CLONE_CHILD_CLEARTID`).
    pub clear_child_tid: AtomicU64,
    /// Head of the robust futex list.
    pub robust_list: AtomicU64,
    /// Its restartable sequences.
    pub rseq: Rseq,
    /// How an interrupted call goes on.
    pub restart: Mutex<Option<crate::syscall::Restart>>,
    /// The system call it is in, a [`crate::syscall::Call`].
    pub call: AtomicU64,
    /// Must end though the process goes on: it called exit(2), or another thread called execve(2).
    pub must_end: AtomicBool,
    /// What it called exit(2) with.
    pub exit_code: AtomicU8,
    uts: Mutex<Arc<UtsNamespace>>,
    /// Sent to it when the thread that made its process ends (`PR_SET_PDEATHSIG`); 0 for none.
    pub parent_death_signal: AtomicU8,
    /// How late its timers may be, in nanoseconds (`PR_SET_TIMERSLACK`).
    pub timer_slack: AtomicU64,
    /// What it may ask for, and who decides.
    pub seccomp: Mutex<Seccomp>,
    /// Who traces it.
    pub trace: Mutex<Trace>,
    /// Cheap to ask: bits that make calls and signals take the slower way, see [`crate::task::trace`].
    pub watched: AtomicU8,
    /// Processor time in the kernel, in nanoseconds.
    pub system_ns: AtomicU64,
    /// Traps so far, of which some are timed.
    pub traps: AtomicU32,
}

/// What a new thread gets.
pub struct NewThread {
    /// Its number.
    pub tid: Pid,
    /// Its process.
    pub process: Arc<Process>,
    /// Its place in the schedule.
    pub task: Arc<Task>,
    /// Its name.
    pub name: Vec<u8>,
    /// Its descriptors.
    pub files: Arc<FdTable>,
    /// Its paths.
    pub fs: Arc<FsContext>,
    /// Its blocked signals.
    pub mask: SignalSet,
    /// Its names of the host.
    pub uts: Arc<UtsNamespace>,
}

impl Thread {
    /// A thread that does not run yet.
    pub fn new(new: NewThread) -> Arc<Self> {
        let no_stack = StackT { flags: 2, ..StackT::default() };
        Arc::new(Self {
            tid: AtomicI32::new(new.tid.0),
            process: new.process,
            task: new.task,
            name: Mutex::new(new.name),
            files: Mutex::new(Some(new.files)),
            fs: Mutex::new(new.fs),
            pending: PendingSignals::default(),
            mask: AtomicU64::new(new.mask.0),
            awaited: AtomicU64::new(0),
            saved_mask: Mutex::default(),
            has_saved_mask: AtomicBool::new(false),
            alternate_stack: Mutex::new(no_stack),
            clear_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            rseq: Rseq::default(),
            restart: Mutex::default(),
            call: AtomicU64::new(0),
            must_end: AtomicBool::new(false),
            exit_code: AtomicU8::new(0),
            uts: Mutex::new(new.uts),
            parent_death_signal: AtomicU8::new(0),
            timer_slack: AtomicU64::new(DEFAULT_SLACK),
            seccomp: Mutex::default(),
            trace: Mutex::default(),
            watched: AtomicU8::new(0),
            system_ns: AtomicU64::new(0),
            traps: AtomicU32::new(0),
        })
    }

    /// Its number, which only execve(2) changes: whoever calls it goes on as the first thread.
    pub fn tid(&self) -> Pid {
        Pid(self.tid.load(Ordering::Relaxed))
    }

    /// Gives it another number, which it has to be found by: [`crate::task::table::ProcessTable::renumber`].
    pub(super) fn set_tid(&self, tid: Pid) {
        self.tid.store(tid.0, Ordering::Relaxed);
    }

    /// The system it is in.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.process.kernel
    }

    /// Its memory. `ESRCH` cannot reach a program: only a thread that ended has none.
    pub fn space(&self) -> Result<Arc<AddressSpace>, Errno> {
        self.process.space().ok_or(Errno::ESRCH)
    }

    /// Its name, up to 15 bytes.
    pub fn name(&self) -> Vec<u8> {
        self.name.lock().clone()
    }

    /// Names it; cut to 15 bytes.
    pub fn set_name(&self, name: &[u8]) {
        *self.name.lock() = name.get(..name.len().min(15)).unwrap_or_default().to_vec();
    }

    /// Its descriptors; an empty table once it has ended.
    pub fn files(&self) -> Arc<FdTable> {
        self.files.lock().clone().unwrap_or_default()
    }

    /// Gives up or replaces its descriptors; returns those it had.
    pub fn set_files(&self, files: Option<Arc<FdTable>>) -> Option<Arc<FdTable>> {
        core::mem::replace(&mut *self.files.lock(), files)
    }

    /// The open file of a descriptor, for use. `EBADF` for those opened with `O_PATH`.
    pub fn file(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        let file = self.files().get(fd)?;
        if file.flags().contains(crate::vfs::OpenFlags::PATH) { Err(Errno::EBADF) } else { Ok(file) }
    }

    /// Its names of the host.
    pub fn uts(&self) -> Arc<UtsNamespace> {
        self.uts.lock().clone()
    }

    /// Goes to another namespace of names.
    pub fn set_uts(&self, uts: Arc<UtsNamespace>) {
        *self.uts.lock() = uts;
    }

    /// Its working directory and root.
    pub fn fs(&self) -> Arc<FsContext> {
        self.fs.lock().clone()
    }

    /// Replaces them.
    pub fn set_fs(&self, fs: Arc<FsContext>) {
        *self.fs.lock() = fs;
    }

    /// Blocked signals.
    pub fn mask(&self) -> SignalSet {
        SignalSet(self.mask.load(Ordering::Acquire))
    }

    /// Sets the blocked signals; SIGKILL and SIGSTOP never are.
    pub fn set_mask(&self, mask: SignalSet) {
        self.mask.store(mask.without_unblockable().0, Ordering::Release);
    }

    /// Whether a signal must stay pending for this thread whatever its action: it is blocked, or waited for,
    /// or a tracer wants to see it.
    pub fn keeps(&self, signal: super::Signal) -> bool {
        self.is_traced() || SignalSet(self.mask().0 | self.awaited.load(Ordering::Acquire)).contains(signal)
    }

    /// Says which signals sigtimedwait(2) waits for; none when it is over.
    pub fn set_awaited(&self, signals: SignalSet) {
        self.awaited.store(signals.0, Ordering::Release);
    }

    /// Blocks `mask` until a handler has run or the call returned, then what is blocked now.
    pub fn set_temporary_mask(&self, mask: SignalSet) {
        let old = self.mask();
        self.saved_mask.lock().get_or_insert(old);
        self.has_saved_mask.store(true, Ordering::Relaxed);
        self.set_mask(mask);
    }

    /// The mask a temporary one replaced.
    pub fn take_saved_mask(&self) -> Option<SignalSet> {
        // Asked after every call, and hardly ever there; only the thread itself sets it.
        if !self.has_saved_mask.load(Ordering::Relaxed) {
            return None;
        }
        self.has_saved_mask.store(false, Ordering::Relaxed);
        self.saved_mask.lock().take()
    }

    /// Makes its future look again.
    pub fn wake(&self) {
        self.task.clone().wake();
    }

    /// Whether a wait should end: a signal came that is not blocked, or the thread must end.
    pub fn is_interrupted(&self) -> bool {
        let pending = self.pending.set().0 | self.process.pending.set().0;
        pending & !self.mask.load(Ordering::Acquire) != 0
            || self.must_stop_running()
            || self.watched.load(Ordering::Relaxed) & INTERRUPT != 0
    }

    /// Whether it must end now.
    pub fn must_stop_running(&self) -> bool {
        self.process.ending().is_some() || self.must_end.load(Ordering::Acquire)
    }

    /// Waits for `wait`, which must only wait and change nothing; `None` if a signal came first.
    pub async fn interruptible<F: Future>(&self, wait: F) -> Option<F::Output> {
        let mut wait = pin!(wait);
        poll_fn(|cx| match wait.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if self.is_interrupted() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// A look-up on behalf of this thread, relative paths starting at `start`.
    pub fn lookup_from<'a>(
        &'a self,
        credentials: &'a crate::security::Credentials,
        start: crate::vfs::PathRef,
    ) -> Lookup<'a> {
        Lookup { vfs: &self.kernel().vfs, credentials, root: self.fs().root(), start, resolve: Resolve::empty() }
    }
}
