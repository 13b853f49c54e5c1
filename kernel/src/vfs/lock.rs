//! Advisory locks: flock(2) on open files, fcntl(2) on ranges of bytes.
//!
//! What always holds: no two locks in a table conflict. A lock that belongs to an open file is gone when that is closed,
//! whoever looks next; closing it wakes those who wait.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use crate::sync::{Mutex, WaitQueue};
use crate::task::Pid;
use crate::vfs::OpenFile;

/// All flock locks of a system. They belong to open file descriptions and end with them.
#[derive(Default)]
pub struct FileLocks {
    held: Mutex<Vec<Held>>,
    /// Woken when a lock is given up.
    pub changed: Arc<WaitQueue>,
}

struct Held {
    file: Weak<OpenFile>,
    inode: (u64, u64),
    pid: Pid,
    exclusive: bool,
}

impl FileLocks {
    /// Tries to lock `file` for `pid`. The lock it has is given up first, even if the new one cannot be had (flock(2):
    /// conversion is not atomic). Returns whether it worked.
    pub fn try_lock(&self, file: &Arc<OpenFile>, pid: Pid, exclusive: bool) -> bool {
        let metadata = file.inode.metadata();
        let inode = (metadata.dev, metadata.ino);
        let mut held = self.held.lock();
        held.retain(|h| h.file.strong_count() > 0);
        let mine = |h: &Held| core::ptr::eq(h.file.as_ptr(), Arc::as_ptr(file));
        if held.iter().any(|h| mine(h) && h.exclusive == exclusive) {
            return true;
        }
        let before = held.len();
        held.retain(|h| !mine(h));
        let gave_up = held.len() != before;
        let conflict = held.iter().any(|h| h.inode == inode && (exclusive || h.exclusive));
        if !conflict {
            held.push(Held { file: Arc::downgrade(file), inode, pid, exclusive });
            *file.on_close.lock() = Some(self.changed.clone());
        }
        drop(held);
        if gave_up {
            self.changed.wake_all();
        }
        !conflict
    }

    /// Gives up the lock of `file`.
    pub fn unlock(&self, file: &Arc<OpenFile>) {
        self.held.lock().retain(|h| !core::ptr::eq(h.file.as_ptr(), Arc::as_ptr(file)));
        self.changed.wake_all();
    }

    /// All locks: inode, who took it, and whether nobody else may have one.
    pub fn all(&self) -> Vec<((u64, u64), Pid, bool)> {
        let held = self.held.lock();
        held.iter().filter(|h| h.file.strong_count() > 0).map(|h| (h.inode, h.pid, h.exclusive)).collect()
    }
}

/// Whose a lock on a range is.
#[derive(Clone, Debug)]
pub enum LockOwner {
    /// A process's (`F_SETLK`).
    Process(Pid),
    /// An open file's (`F_OFD_SETLK`).
    File(Weak<OpenFile>),
}

impl LockOwner {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Process(a), Self::Process(b)) => a == b,
            (Self::File(a), Self::File(b)) => Weak::ptr_eq(a, b),
            _ => false,
        }
    }
    fn is_there(&self) -> bool {
        if let Self::File(file) = self { file.strong_count() > 0 } else { true }
    }
    /// As `l_pid` shows it.
    pub fn pid(&self) -> Pid {
        if let Self::Process(pid) = self { *pid } else { Pid(-1) }
    }
}

/// A lock on a range of bytes.
#[derive(Clone, Debug)]
pub struct RecordLock {
    /// Device and inode number.
    pub inode: (u64, u64),
    /// Whose.
    pub owner: LockOwner,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub last: u64,
    /// Nobody else may have one.
    pub exclusive: bool,
}

impl RecordLock {
    fn overlaps(&self, other: &Self) -> bool {
        self.inode == other.inode && self.start <= other.last && other.start <= self.last
    }
    fn conflicts(&self, other: &Self) -> bool {
        self.overlaps(other) && !self.owner.is(&other.owner) && (self.exclusive || other.exclusive)
    }
    /// Whether both are one lock, written as two.
    fn touches(&self, other: &Self) -> bool {
        let adjoins = self.last.checked_add(1) == Some(other.start) || other.last.checked_add(1) == Some(self.start);
        adjoins && self.inode == other.inode && self.owner.is(&other.owner) && self.exclusive == other.exclusive
    }
}

/// All record locks of a system.
#[derive(Default)]
pub struct RecordLocks {
    held: Mutex<Vec<RecordLock>>,
    /// What processes wait for.
    wanted: Mutex<Vec<RecordLock>>,
    /// Woken when a lock is given up.
    pub changed: Arc<WaitQueue>,
}

/// How far a chain of waiting processes is followed: Linux's `MAX_DEADLK_ITERATIONS`.
const MAX_CHAIN: usize = 10;

impl RecordLocks {
    /// Whether nobody has one.
    pub fn is_empty(&self) -> bool {
        self.held.lock().is_empty()
    }

    /// A lock that stands against `wanted`.
    pub fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        let mut held = self.held.lock();
        held.retain(|h| h.owner.is_there());
        held.iter().find(|h| h.conflicts(wanted)).cloned()
    }

    /// The first lock in a range, whoever has it but `wanted`'s owner.
    pub fn any_in(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.conflict(&RecordLock { exclusive: true, ..wanted.clone() })
    }

    /// Tries to take a lock, replacing what its owner has there.
    pub fn try_lock(&self, wanted: &RecordLock) -> bool {
        if self.conflict(wanted).is_some() {
            return false;
        }
        let shrank = self.cut(wanted);
        let mut held = self.held.lock();
        let mut lock = wanted.clone();
        while let Some(at) = held.iter().position(|h| h.touches(&lock)) {
            let other = held.swap_remove(at);
            (lock.start, lock.last) = (lock.start.min(other.start), lock.last.max(other.last));
        }
        held.push(lock);
        drop(held);
        if shrank {
            // A write lock that became a read lock lets others in.
            self.changed.wake_all();
        }
        true
    }

    /// Whether waiting for `wanted` would wait for its own owner: only among processes, as on Linux.
    pub fn would_deadlock(&self, wanted: &RecordLock) -> bool {
        let LockOwner::Process(_) = wanted.owner else { return false };
        let mut blocked = wanted.clone();
        for _ in 0..MAX_CHAIN {
            let Some(holder) = self.conflict(&blocked) else { return false };
            if holder.owner.is(&wanted.owner) {
                return true;
            }
            let next = self.wanted.lock().iter().find(|w| w.owner.is(&holder.owner)).cloned();
            let Some(next) = next else { return false };
            blocked = next;
        }
        false
    }

    /// Notes that somebody waits for a lock, until the result is dropped.
    pub fn wait_for<'a>(&'a self, wanted: &RecordLock) -> Waiting<'a> {
        self.wanted.lock().push(wanted.clone());
        Waiting { locks: self, wanted: wanted.clone() }
    }

    /// Gives up what `range`'s owner has in it.
    pub fn unlock(&self, range: &RecordLock) {
        self.cut(range);
        self.changed.wake_all();
    }

    /// Gives up everything a process has on a file: it closed it.
    pub fn release(&self, owner: Pid, inode: (u64, u64)) {
        self.drop_if(|h| h.owner.is(&LockOwner::Process(owner)) && h.inode == inode);
    }

    /// Gives up everything of a process that ended.
    pub fn release_all(&self, owner: Pid) {
        self.drop_if(|h| h.owner.is(&LockOwner::Process(owner)));
    }

    /// All locks.
    pub fn all(&self) -> Vec<RecordLock> {
        self.held.lock().iter().filter(|h| h.owner.is_there()).cloned().collect()
    }

    fn drop_if(&self, gone: impl Fn(&RecordLock) -> bool) {
        let mut held = self.held.lock();
        let before = held.len();
        held.retain(|h| !gone(h));
        let changed = held.len() != before;
        drop(held);
        if changed {
            self.changed.wake_all();
        }
    }

    /// Takes a range out of its owner's locks; tells whether there was something.
    fn cut(&self, range: &RecordLock) -> bool {
        let mut held = self.held.lock();
        let mut kept = Vec::new();
        let mut changed = false;
        for lock in held.drain(..) {
            if !lock.owner.is(&range.owner) || !lock.overlaps(range) {
                kept.push(lock);
                continue;
            }
            changed = true;
            if lock.start < range.start {
                kept.push(RecordLock { last: range.start - 1, ..lock.clone() });
            }
            if lock.last > range.last {
                kept.push(RecordLock { start: range.last + 1, ..lock });
            }
        }
        *held = kept;
        changed
    }
}

/// Somebody waits for a lock.
pub struct Waiting<'a> {
    locks: &'a RecordLocks,
    wanted: RecordLock,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut wanted = self.locks.wanted.lock();
        let mine = |w: &RecordLock| w.owner.is(&self.wanted.owner) && w.inode == self.wanted.inode;
        if let Some(at) = wanted.iter().position(mine) {
            wanted.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: i32, start: u64, last: u64) -> RecordLock {
        RecordLock { inode: (1, 1), owner: LockOwner::Process(Pid(owner)), start, last, exclusive: true }
    }

    #[test]
    fn a_cut_lock_is_two_and_a_filled_gap_makes_it_one() {
        let locks = RecordLocks::default();
        assert!(locks.try_lock(&lock(1, 0, 99)));
        locks.unlock(&lock(1, 40, 59));
        assert_eq!(locks.all().len(), 2);
        assert!(locks.try_lock(&lock(2, 45, 50)));
        assert!(!locks.try_lock(&lock(1, 40, 59)));
        locks.release_all(Pid(2));
        assert!(locks.try_lock(&lock(1, 40, 59)));
        let all = locks.all();
        assert_eq!(all.iter().map(|l| (l.start, l.last)).collect::<Vec<_>>(), [(0, 99)]);
    }

    #[test]
    fn a_circle_of_three_is_found_and_a_chain_is_not() {
        let locks = RecordLocks::default();
        for owner in 1..=3 {
            assert!(locks.try_lock(&lock(owner, owner as u64, owner as u64)));
        }
        let _first = locks.wait_for(&lock(1, 2, 2));
        assert!(!locks.would_deadlock(&lock(2, 3, 3)));
        let _second = locks.wait_for(&lock(2, 3, 3));
        assert!(locks.would_deadlock(&lock(3, 1, 1)));
    }
}
