//! Message queues, msgget(2).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_abi::Errno;

use crate::ipc::sysv::{Object, Permissions};
use crate::memory::account::Charge;
use crate::sync::{Guard, Mutex, WaitQueue};
use crate::vfs::Events;

/// The longest message: `kernel.msgmax`.
pub const MAX_MESSAGE: u64 = 8192;
/// Bytes a queue holds at first: `kernel.msgmnb`.
pub const MAX_BYTES: u64 = 16384;
/// Kernel heap a queue, and a message besides its bytes, is charged.
pub const QUEUE_COST: u64 = 512;

/// A queue.
pub struct MessageQueue {
    permissions: Mutex<Permissions>,
    state: Mutex<QueueState>,
    /// Woken when messages come and go.
    pub changed: WaitQueue,
    removed: AtomicBool,
    _charge: Charge,
}

/// What a queue holds, and when what happened.
#[derive(Default)]
#[allow(missing_docs)]
pub struct QueueState {
    messages: VecDeque<Message>,
    pub bytes: u64,
    pub most_bytes: u64,
    pub sent: i64,
    pub received: i64,
    pub changed: i64,
    pub last_sender: i32,
    pub last_receiver: i32,
}

/// A message.
pub struct Message {
    /// Its type: positive.
    pub kind: i64,
    /// What is in it.
    pub data: Vec<u8>,
    /// Paid for.
    pub charge: Charge,
}

/// Which message to receive.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// 0: the first; positive: the first of this type; negative: of the lowest type up to this.
    pub kind: i64,
    /// Of any other type.
    pub except: bool,
    /// Most bytes; what is longer fails, or is cut.
    pub room: u64,
    /// It is cut.
    pub cut: bool,
}

impl MessageQueue {
    /// An empty queue.
    pub fn new(permissions: Permissions, now: i64, charge: Charge) -> Arc<Self> {
        let state = QueueState { most_bytes: MAX_BYTES, changed: now, ..QueueState::default() };
        Arc::new(Self {
            permissions: Mutex::new(permissions),
            state: Mutex::new(state),
            changed: WaitQueue::new(),
            removed: AtomicBool::new(false),
            _charge: charge,
        })
    }

    /// Its state.
    pub fn state(&self) -> Guard<'_, QueueState> {
        self.state.lock()
    }

    /// It is gone: whoever waits is told.
    pub fn close(&self) {
        self.removed.store(true, Ordering::Release);
        self.changed.wake_all();
    }

    fn check(&self) -> Result<(), Errno> {
        if self.removed.load(Ordering::Acquire) { Err(Errno::EIDRM) } else { Ok(()) }
    }

    /// Sends a message; gives it back when there is no room.
    pub fn send(&self, message: Message, pid: i32, now: i64) -> Result<Option<Message>, Errno> {
        self.check()?;
        let mut state = self.state.lock();
        let size = message.data.len() as u64;
        if state.bytes + size > state.most_bytes || state.messages.len() as u64 + 1 > state.most_bytes {
            return Ok(Some(message));
        }
        state.bytes += size;
        state.sent = now;
        state.last_sender = pid;
        state.messages.push_back(message);
        drop(state);
        self.changed.wake(Events::READABLE);
        Ok(None)
    }

    /// Receives a message; none if there is none of those wanted.
    pub fn receive(&self, wanted: &Wanted, pid: i32, now: i64) -> Result<Option<Message>, Errno> {
        self.check()?;
        let mut state = self.state.lock();
        let Some(at) = state.find(wanted) else { return Ok(None) };
        let size = state.messages.get(at).map_or(0, |m| m.data.len() as u64);
        if size > wanted.room && !wanted.cut {
            return Err(Errno::E2BIG);
        }
        let message = state.messages.remove(at);
        state.bytes -= size;
        state.received = now;
        state.last_receiver = pid;
        drop(state);
        self.changed.wake(Events::WRITABLE);
        Ok(message)
    }
}

impl QueueState {
    /// Messages in it.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    fn find(&self, wanted: &Wanted) -> Option<usize> {
        let position = |fits: &dyn Fn(&Message) -> bool| self.messages.iter().position(fits);
        match wanted.kind {
            0 => position(&|_| true),
            kind @ 1.. if wanted.except => position(&|m| m.kind != kind),
            kind @ 1.. => position(&|m| m.kind == kind),
            kind => {
                let most = kind.checked_neg().unwrap_or(i64::MAX);
                let lowest = self.messages.iter().map(|m| m.kind).filter(|k| *k <= most).min()?;
                position(&|m| m.kind == lowest)
            }
        }
    }
}

impl Object for MessageQueue {
    fn permissions(&self) -> Guard<'_, Permissions> {
        self.permissions.lock()
    }
}
