//! POSIX message queues, mq_overview(7): messages by priority, under names of their own.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use aurora_abi::types::{Statfs, Timespec};
use aurora_abi::{Errno, abi_struct};

use crate::memory::account::Charge;
use crate::memory::{IoBuf, IoError};
use crate::num::{low32, to_usize};
use crate::sync::{Mutex, WaitQueue};
use crate::task::{Pid, Process, SigInfo, Signal};
use crate::vfs::inode::DeviceId;
use crate::vfs::{AttributeChange, Events, FileKind, FileOps, Inode, Metadata, OpenFile, SetTime};

abi_struct! {
    /// `struct mq_attr`, mq_getattr(3).
    pub struct Attributes(64) { pub flags: i64, pub most: i64, pub size: i64, pub count: i64, pub reserved: [i64; 4], }
}

/// Messages a queue holds if nobody says otherwise, and the most an ordinary user may ask for.
pub const DEFAULT_MESSAGES: i64 = 10;
/// Bytes of a message, likewise.
pub const DEFAULT_SIZE: i64 = 8192;
/// The most the superuser may ask for.
pub const HARD_MESSAGES: i64 = 65536;
/// Likewise.
pub const HARD_SIZE: i64 = 16 * 1024 * 1024;
/// Priorities are below this.
pub const PRIORITIES: u32 = 32768;
/// Kernel heap a queue, and a message besides its bytes, is charged.
pub const COST: u64 = 512;
/// Most queues: `fs.mqueue.queues_max`.
const MAX_QUEUES: usize = 256;
/// The device number of these inodes.
const DEV: u64 = 19;
const SI_MESGQ: i32 = -3;

/// All queues, by name.
#[derive(Default)]
pub struct QueueNames(Mutex<BTreeMap<Vec<u8>, Arc<Queue>>>);

impl QueueNames {
    /// The queue with a name.
    pub fn get(&self, name: &[u8]) -> Option<Arc<Queue>> {
        self.0.lock().get(name).cloned()
    }
    /// Gives a new queue a name nobody has.
    pub fn add(&self, name: &[u8], queue: &Arc<Queue>) -> Result<(), Errno> {
        let mut names = self.0.lock();
        if names.len() >= MAX_QUEUES {
            return Err(Errno::ENOSPC);
        }
        names.insert(name.to_vec(), queue.clone());
        Ok(())
    }
    /// Takes a name away.
    pub fn remove(&self, name: &[u8]) {
        let gone = self.0.lock().remove(name);
        drop(gone);
    }
}

/// A queue: an inode that only these calls lead to.
pub struct Queue {
    number: u64,
    most: usize,
    size: usize,
    attributes: Mutex<(u32, u32, u32, Timespec)>,
    state: Mutex<State>,
    /// Woken when messages come and go.
    pub changed: WaitQueue,
    _charge: Charge,
}

#[derive(Default)]
struct State {
    /// By priority; those of one in order.
    messages: BTreeMap<u32, VecDeque<Message>>,
    count: usize,
    bytes: usize,
    /// Who wait for a message: with any of them, nobody is notified.
    receivers: usize,
    notify: Option<Notify>,
}

/// A message.
pub struct Message {
    /// What is in it.
    pub data: Vec<u8>,
    /// Paid for.
    pub charge: Charge,
}

/// Who is told once when a message comes to the empty queue.
pub struct Notify {
    /// The process.
    pub process: Weak<Process>,
    /// The signal; none to be registered without being told.
    pub signal: Option<Signal>,
    /// For the signal.
    pub value: u64,
}

impl Queue {
    /// An empty queue.
    pub fn new(
        number: u64,
        (mode, uid, gid): (u32, u32, u32),
        now: Timespec,
        most: i64,
        size: i64,
        charge: Charge,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            most: to_usize(most.cast_unsigned()),
            size: to_usize(size.cast_unsigned()),
            attributes: Mutex::new((mode, uid, gid, now)),
            state: Mutex::default(),
            changed: WaitQueue::new(),
            _charge: charge,
        })
    }

    /// Bytes a message may have.
    pub fn size(&self) -> usize {
        self.size
    }

    /// What mq_getattr(3) tells, without the flags.
    pub fn attributes(&self) -> Attributes {
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let count = signed(self.state.lock().count);
        Attributes { flags: 0, most: signed(self.most), size: signed(self.size), count, reserved: [0; 4] }
    }

    /// Sends a message; gives it back when there is no room.
    pub fn send(&self, message: Message, priority: u32, from: (Pid, u32)) -> Option<Message> {
        let mut state = self.state.lock();
        if state.count >= self.most {
            return Some(message);
        }
        let notify = if state.count == 0 && state.receivers == 0 { state.notify.take() } else { None };
        state.count += 1;
        state.bytes += message.data.len();
        state.messages.entry(priority).or_default().push_back(message);
        drop(state);
        self.changed.wake(Events::READABLE);
        if let Some(Notify { process, signal: Some(signal), value }) = notify
            && let Some(process) = process.upgrade()
        {
            let info = SigInfo { code: SI_MESGQ, ..SigInfo::user(signal, 0, from.0, from.1) };
            let [sender, ..] = info.fields;
            let _ = process.send(SigInfo { fields: [sender, value, 0], ..info });
        }
        None
    }

    /// Receives the first message of the highest priority.
    pub fn receive(&self) -> Option<(u32, Message)> {
        let mut state = self.state.lock();
        let mut entry = state.messages.last_entry()?;
        let priority = *entry.key();
        let message = entry.get_mut().pop_front();
        if entry.get().is_empty() {
            entry.remove();
        }
        let message = message?;
        state.count -= 1;
        state.bytes -= message.data.len();
        drop(state);
        self.changed.wake(Events::WRITABLE);
        Some((priority, message))
    }

    /// Counts one more, or one less, who waits for a message.
    pub fn count_receivers(&self, more: bool) {
        let mut state = self.state.lock();
        state.receivers = if more { state.receivers + 1 } else { state.receivers.saturating_sub(1) };
    }

    /// Registers who is told; `EBUSY` if somebody is registered.
    pub fn register(&self, notify: Notify) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.notify.as_ref().is_some_and(|n| n.process.strong_count() > 0) {
            return Err(Errno::EBUSY);
        }
        state.notify = Some(notify);
        Ok(())
    }

    /// Takes a process's registration away, if it has one.
    pub fn unregister(&self, process: &Arc<Process>) {
        let mut state = self.state.lock();
        if state.notify.as_ref().is_some_and(|n| core::ptr::eq(n.process.as_ptr(), Arc::as_ptr(process))) {
            state.notify = None;
        }
    }
}

impl Inode for Queue {
    fn metadata(&self) -> Metadata {
        let (mode, uid, gid, time) = *self.attributes.lock();
        Metadata {
            dev: DEV,
            ino: self.number,
            mode: FileKind::Regular.bits() | mode,
            nlink: 1,
            uid,
            gid,
            rdev: DeviceId::default(),
            size: 80,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn statfs(&self) -> Statfs {
        // MQUEUE_MAGIC.
        Statfs { kind: 0x1980_0202, bsize: 4096, frsize: 4096, namelen: 255, ..Statfs::default() }
    }
    fn change(&self, change: &AttributeChange) -> Result<(), Errno> {
        let mut attributes = self.attributes.lock();
        let (mode, uid, gid, time) = *attributes;
        let mtime = if let SetTime::To(time) = change.mtime { time } else { time };
        *attributes = (change.mode.unwrap_or(mode), change.uid.unwrap_or(uid), change.gid.unwrap_or(gid), mtime);
        Ok(())
    }
}

/// An open queue.
pub struct QueueFile(pub Arc<Queue>);

/// The queue an open file is, if it is one.
pub fn of(file: &OpenFile) -> Option<&Arc<Queue>> {
    file.ops.as_any()?.downcast_ref::<QueueFile>().map(|f| &f.0)
}

impl FileOps for QueueFile {
    fn read_at(&self, _: &OpenFile, offset: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let text = {
            let state = self.0.state.lock();
            let process = state.notify.as_ref().and_then(|n| n.process.upgrade());
            let signal = state.notify.as_ref().and_then(|n| n.signal).map_or(0, Signal::number);
            let pid = process.map_or(0, |p| p.pid.0);
            format!("QSIZE:{:<10} NOTIFY:{:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n", state.bytes, 0)
        };
        let start = out.done();
        let rest = text.as_bytes().get(to_usize(offset)..).unwrap_or_default();
        let want = rest.len().min(out.remaining());
        let moved = out.put(rest.get(..want).unwrap_or_default());
        if moved < want { out.stopped(start) } else { Ok(moved) }
    }
    fn seekable(&self) -> bool {
        true
    }
    fn readiness(&self, _: &OpenFile) -> Events {
        let state = self.0.state.lock();
        let mut events = Events::empty();
        events.set(Events::READABLE, state.count > 0);
        events.set(Events::WRITABLE, state.count < self.0.most);
        events
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.0.changed)
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn fdinfo(&self, _: &OpenFile) -> String {
        format!("qsize:\t{}\n", low32(self.0.state.lock().bytes as u64))
    }
}
