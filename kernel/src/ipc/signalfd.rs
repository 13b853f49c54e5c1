//! signalfd(2): a process's blocked signals as records to read.

use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use aurora_abi::{Abi, Errno, abi_struct};

use crate::Kernel;
use crate::memory::{IoBuf, IoError};
use crate::num::{low32, low32_signed};
use crate::sync::{Mutex, WaitQueue};
use crate::task::posix_timer::SI_TIMER;
use crate::task::signal::SignalSet;
use crate::task::{SigInfo, Signal, Thread};
use crate::vfs::{Events, FileOps, OpenFile};

abi_struct! {
    /// `struct signalfd_siginfo`, signalfd(2).
    pub struct Record(128) {
        pub signo: u32, pub errno: i32, pub code: i32, pub pid: u32, pub uid: u32, pub fd: i32, pub tid: u32,
        pub band: u32, pub overrun: u32, pub trapno: u32, pub status: i32, pub int: i32, pub ptr: u64, pub utime: u64,
        pub stime: u64, pub addr: u64, pub pad: [u64; 6],
    }
}

/// Signal queues of a process: the signalfds that were made in it or came to it by fork(2).
#[derive(Default)]
pub struct SignalWatchers(Mutex<Vec<Weak<WaitQueue>>>);

impl SignalWatchers {
    /// A child's.
    pub fn fork(&self) -> Self {
        Self(Mutex::new(self.0.lock().clone()))
    }
    fn add(&self, queue: &Arc<WaitQueue>) {
        let mut queues = self.0.lock();
        queues.retain(|q| q.strong_count() > 0);
        queues.push(Arc::downgrade(queue));
    }
    /// A signal came.
    pub fn wake(&self) {
        let queues: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        queues.iter().for_each(|q| q.wake(Events::READABLE));
    }
}

/// An open signalfd. Whose signals it shows depends on who looks.
pub struct SignalFd {
    kernel: Arc<Kernel>,
    wanted: AtomicU64,
    changed: Arc<WaitQueue>,
}

impl SignalFd {
    /// One for signals of `wanted`, made by `thread`.
    pub fn new(thread: &Thread, wanted: SignalSet) -> Self {
        let changed = Arc::new(WaitQueue::new());
        thread.process.signal_watchers.add(&changed);
        Self { kernel: thread.kernel().clone(), wanted: AtomicU64::new(wanted.0), changed }
    }

    /// Changes which signals.
    pub fn set(&self, wanted: SignalSet) {
        self.wanted.store(wanted.0, Ordering::Release);
        self.changed.wake_all();
    }

    fn wanted(&self) -> SignalSet {
        SignalSet(self.wanted.load(Ordering::Acquire))
    }

    fn reader(&self) -> Option<Arc<Thread>> {
        self.kernel.processes.thread(self.kernel.current()?.1)
    }

    fn has_some(&self, reader: &Thread) -> bool {
        let pending = reader.pending.set().union(reader.process.pending.set());
        pending.0 & self.wanted().0 != 0
    }
}

/// The signalfd an open file is, if it is one.
pub fn of(file: &OpenFile) -> Option<&SignalFd> {
    file.ops.as_any()?.downcast_ref()
}

/// How the kernel tells a signal.
fn record(info: SigInfo) -> Record {
    let [first, second, _] = info.fields;
    let (low, high) = (low32(first), low32(first >> 32));
    let mut record = Record { signo: u32::from(info.signal.number()), code: info.code, ..Record::default() };
    match info.code {
        SI_TIMER => (record.tid, record.overrun, record.ptr, record.int) = (low, high, second, low32_signed(second)),
        code if code < 0 => {
            (record.pid, record.uid, record.ptr, record.int) = (low, high, second, low32_signed(second))
        }
        1.. if info.signal == Signal::SIGCHLD && info.code < 0x80 => {
            (record.pid, record.uid, record.status) = (low, high, low32_signed(second));
        }
        _ => (record.pid, record.uid) = (low, high),
    }
    record
}

impl FileOps for SignalFd {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let whole = out.remaining() / Record::SIZE * Record::SIZE;
        if whole == 0 {
            return Err(Errno::EINVAL.into());
        }
        out.limit(whole);
        let start = out.done();
        let Some(reader) = self.reader() else { return Err(IoError::WouldBlock) };
        while out.remaining() >= Record::SIZE && self.has_some(&reader) {
            // The place is looked at first, so that no signal is taken for a page that is missing.
            let moved = out.put(&[0; Record::SIZE]);
            out.untake(moved);
            if moved < Record::SIZE {
                return out.stopped(start);
            }
            let Some(info) = reader.take_signal(self.wanted()) else { break };
            let mut bytes = [0; Record::SIZE];
            record(info).store(&mut bytes);
            out.put(&bytes);
        }
        if out.done() == start { Err(IoError::WouldBlock) } else { Ok(out.done() - start) }
    }
    fn readiness(&self, _: &OpenFile) -> Events {
        let ready = self.reader().is_some_and(|reader| self.has_some(&reader));
        if ready { Events::IN } else { Events::empty() }
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.changed)
    }
    fn seek_stays(&self) -> bool {
        true
    }
    fn kind(&self) -> Option<&'static str> {
        Some("[signalfd]")
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn fdinfo(&self, _: &OpenFile) -> String {
        format!("sigmask:\t{:016x}\n", self.wanted().0)
    }
}
