//! Advisory locks on whole open files, flock(2).

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
    pub changed: WaitQueue,
}

struct Held {
    file: Weak<OpenFile>,
    inode: (u64, u64),
    exclusive: bool,
}

impl FileLocks {
    /// Tries to lock `file`, replacing the lock it has. Returns whether it worked.
    pub fn try_lock(&self, file: &Arc<OpenFile>, exclusive: bool) -> bool {
        let metadata = file.inode.metadata();
        let inode = (metadata.dev, metadata.ino);
        let mut held = self.held.lock();
        held.retain(|h| h.file.strong_count() > 0);
        let mine = |h: &Held| core::ptr::eq(h.file.as_ptr(), Arc::as_ptr(file));
        let conflict = held.iter().any(|h| h.inode == inode && !mine(h) && (exclusive || h.exclusive));
        if conflict {
            return false;
        }
        held.retain(|h| !mine(h));
        held.push(Held { file: Arc::downgrade(file), inode, exclusive });
        drop(held);
        self.changed.wake_all();
        true
    }

    /// Gives up the lock of `file`.
    pub fn unlock(&self, file: &Arc<OpenFile>) {
        self.held.lock().retain(|h| !core::ptr::eq(h.file.as_ptr(), Arc::as_ptr(file)));
        self.changed.wake_all();
    }
}

/// A lock on a range of bytes, fcntl(2) `F_SETLK`: it belongs to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLock {
    /// Device and inode number.
    pub inode: (u64, u64),
    /// Whose.
    pub owner: Pid,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub last: u64,
    /// Nobody else may have one.
    pub exclusive: bool,
}

impl RecordLock {
    fn conflicts(&self, other: &Self) -> bool {
        self.inode == other.inode
            && self.owner != other.owner
            && (self.exclusive || other.exclusive)
            && self.start <= other.last
            && other.start <= self.last
    }
}

/// All record locks of a system.
#[derive(Default)]
pub struct RecordLocks {
    held: Mutex<Vec<RecordLock>>,
    /// Woken when a lock is given up.
    pub changed: WaitQueue,
}

impl RecordLocks {
    /// A lock that stands against `wanted`.
    pub fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.held.lock().iter().find(|h| h.conflicts(wanted)).copied()
    }

    /// Tries to take a lock, replacing what its owner has there.
    pub fn try_lock(&self, wanted: &RecordLock) -> bool {
        if self.conflict(wanted).is_some() {
            return false;
        }
        self.cut(wanted);
        self.held.lock().push(*wanted);
        true
    }

    /// Gives up what `range`'s owner has in it.
    pub fn unlock(&self, range: &RecordLock) {
        self.cut(range);
        self.changed.wake_all();
    }

    /// Gives up everything a process has on a file: it closed it.
    pub fn release(&self, owner: Pid, inode: (u64, u64)) {
        let mut held = self.held.lock();
        let before = held.len();
        held.retain(|h| h.owner != owner || h.inode != inode);
        let changed = held.len() != before;
        drop(held);
        if changed {
            self.changed.wake_all();
        }
    }

    /// Gives up everything of a process that ended.
    pub fn release_all(&self, owner: Pid) {
        self.held.lock().retain(|h| h.owner != owner);
        self.changed.wake_all();
    }

    fn cut(&self, range: &RecordLock) {
        let mut held = self.held.lock();
        let mut kept = Vec::new();
        for lock in held.drain(..) {
            let apart = lock.owner != range.owner || lock.inode != range.inode;
            if apart || lock.last < range.start || lock.start > range.last {
                kept.push(lock);
                continue;
            }
            if lock.start < range.start {
                kept.push(RecordLock { last: range.start - 1, ..lock });
            }
            if lock.last > range.last {
                kept.push(RecordLock { start: range.last + 1, ..lock });
            }
        }
        *held = kept;
    }
}
