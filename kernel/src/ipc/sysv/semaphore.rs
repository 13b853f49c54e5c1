//! Semaphores, semget(2): sets of counters that change together or not at all.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_abi::{Errno, abi_struct};

use crate::ipc::sysv::{Object, Permissions, Registry};
use crate::memory::account::Charge;
use crate::num::to_usize;
use crate::sync::{Guard, Mutex, WaitQueue};
use crate::task::Pid;

/// The most a counter holds.
pub const MAX_VALUE: i32 = 32767;
/// Most counters of a set.
pub const MAX_COUNTERS: u32 = 32000;
/// Most operations of one call.
pub const MAX_OPERATIONS: u64 = 500;

abi_struct! {
    /// `struct sembuf`, semop(2).
    pub struct Operation(6) { pub number: u16, pub change: i16, pub flags: u16, }
}

/// Undone when the process ends.
pub const UNDO: u16 = 0x1000;

/// A set.
pub struct SemaphoreSet {
    permissions: Mutex<Permissions>,
    state: Mutex<SetState>,
    /// Woken when a counter changes.
    pub changed: WaitQueue,
    removed: AtomicBool,
    _charge: Charge,
}

/// What a set holds.
#[derive(Default)]
#[allow(missing_docs)]
pub struct SetState {
    counters: Vec<Counter>,
    pub operated: i64,
    pub changed: i64,
    /// What the end of a process gives back.
    undo: BTreeMap<Pid, Vec<i32>>,
}

/// A counter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    /// Its value.
    pub value: i32,
    /// Who changed it last.
    pub pid: i32,
    /// How many wait for more, and for zero.
    pub waiting: [u32; 2],
}

/// Why operations could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// They fail.
    Errno(Errno),
    /// They wait for a counter: to be zero, or to grow.
    Counter(u16, bool),
}

impl SemaphoreSet {
    /// A set of zeros.
    pub fn new(permissions: Permissions, count: u32, now: i64, charge: Charge) -> Arc<Self> {
        let counters = alloc::vec![Counter::default(); to_usize(u64::from(count))];
        Arc::new(Self {
            permissions: Mutex::new(permissions),
            state: Mutex::new(SetState { counters, changed: now, ..SetState::default() }),
            changed: WaitQueue::new(),
            removed: AtomicBool::new(false),
            _charge: charge,
        })
    }

    /// Its state.
    pub fn state(&self) -> Guard<'_, SetState> {
        self.state.lock()
    }

    /// It is gone: whoever waits is told.
    pub fn close(&self) {
        self.removed.store(true, Ordering::Release);
        self.changed.wake_all();
    }

    /// `EIDRM` once it is gone.
    pub fn check(&self) -> Result<(), Errno> {
        if self.removed.load(Ordering::Acquire) { Err(Errno::EIDRM) } else { Ok(()) }
    }

    /// Does all operations, or none.
    pub fn operate(&self, operations: &[Operation], pid: Pid, now: i64) -> Result<(), Blocked> {
        self.check().map_err(Blocked::Errno)?;
        let mut state = self.state.lock();
        let mut counters = state.counters.clone();
        for operation in operations {
            let counter = counters.get_mut(usize::from(operation.number)).ok_or(Blocked::Errno(Errno::EFBIG))?;
            let change = i32::from(operation.change);
            match counter.value + change {
                _ if change == 0 && counter.value != 0 => return Err(Blocked::Counter(operation.number, true)),
                ..0 => return Err(Blocked::Counter(operation.number, false)),
                value if value > MAX_VALUE => return Err(Blocked::Errno(Errno::ERANGE)),
                value => counter.value = value,
            }
            counter.pid = pid.0;
        }
        let count = counters.len();
        for operation in operations.iter().filter(|o| o.flags & UNDO != 0 && o.change != 0) {
            let undo = state.undo.entry(pid).or_insert_with(|| alloc::vec![0; count]);
            if let Some(slot) = undo.get_mut(usize::from(operation.number)) {
                *slot -= i32::from(operation.change);
            }
        }
        state.counters = counters;
        state.operated = now;
        drop(state);
        self.changed.wake_all();
        Ok(())
    }

    /// Counts one more, or one less, who waits for a counter.
    pub fn count_waiting(&self, number: u16, zero: bool, more: bool) {
        let mut state = self.state.lock();
        let counter = state.counters.get_mut(usize::from(number));
        if let Some(slot) = counter.and_then(|c| c.waiting.get_mut(usize::from(zero))) {
            *slot = if more { *slot + 1 } else { slot.saturating_sub(1) };
        }
    }

    /// Sets counters from `first` on; what was to be undone of them is forgotten.
    pub fn set(&self, first: usize, values: &[i32], pid: i32, now: i64) -> Result<(), Errno> {
        if values.iter().any(|value| !(0..=MAX_VALUE).contains(value)) {
            return Err(Errno::ERANGE);
        }
        let mut state = self.state.lock();
        for (i, value) in values.iter().enumerate() {
            if let Some(counter) = state.counters.get_mut(first + i) {
                (counter.value, counter.pid) = (*value, pid);
            }
            for undo in state.undo.values_mut() {
                if let Some(slot) = undo.get_mut(first + i) {
                    *slot = 0;
                }
            }
        }
        state.changed = now;
        drop(state);
        self.changed.wake_all();
        Ok(())
    }

    fn process_ended(&self, pid: Pid) {
        let mut state = self.state.lock();
        let Some(undo) = state.undo.remove(&pid) else { return };
        for (counter, change) in state.counters.iter_mut().zip(undo).filter(|(_, change)| *change != 0) {
            counter.value = (counter.value + change).clamp(0, MAX_VALUE);
            counter.pid = pid.0;
        }
        drop(state);
        self.changed.wake_all();
    }
}

impl SetState {
    /// Its counters.
    pub fn counters(&self) -> &[Counter] {
        &self.counters
    }
}

impl Object for SemaphoreSet {
    fn permissions(&self) -> Guard<'_, Permissions> {
        self.permissions.lock()
    }
}

impl Registry<SemaphoreSet> {
    /// Undoes what a process wanted undone at its end.
    pub fn process_ended(&self, pid: Pid) {
        self.all().iter().for_each(|(_, set)| set.process_ended(pid));
    }
}
