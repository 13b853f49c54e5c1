//! Descriptor tables.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::sync::Mutex;
use crate::vfs::OpenFile;

/// A file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fd(pub i32);

/// `AT_FDCWD`: paths start at the working directory.
pub const AT_FDCWD: Fd = Fd(-100);

/// Most descriptors any limit allows.
pub const MAX_FDS: u64 = 1 << 20;

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    close_on_exec: bool,
}

/// A process's descriptors; `CLONE_FILES` shares the table.
#[derive(Default)]
pub struct FdTable {
    slots: Mutex<Vec<Option<Slot>>>,
}

impl FdTable {
    fn index(fd: Fd) -> Result<usize, Errno> {
        usize::try_from(fd.0).map_err(|_| Errno::EBADF)
    }

    /// The file a descriptor refers to.
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        let index = Self::index(fd)?;
        let slots = self.slots.lock();
        slots.get(index).and_then(Option::as_ref).map(|s| s.file.clone()).ok_or(Errno::EBADF)
    }

    /// Gives the lowest free descriptor from `from` on; `EMFILE` at `limit`.
    pub fn add(&self, file: Arc<OpenFile>, close_on_exec: bool, from: u64, limit: u64) -> Result<Fd, Errno> {
        let limit = limit.min(MAX_FDS);
        let mut slots = self.slots.lock();
        let mut index = crate::num::to_usize(from);
        while slots.get(index).is_some_and(Option::is_some) {
            index += 1;
        }
        if index as u64 >= limit {
            return Err(Errno::EMFILE);
        }
        if slots.len() <= index {
            slots.resize(index + 1, None);
        }
        if let Some(slot) = slots.get_mut(index) {
            *slot = Some(Slot { file, close_on_exec });
        }
        i32::try_from(index).map(Fd).map_err(|_| Errno::EMFILE)
    }

    /// Whether a descriptor below `limit` is free.
    pub fn has_room(&self, limit: u64) -> bool {
        let slots = self.slots.lock();
        (slots.len() as u64) < limit.min(MAX_FDS) || slots.iter().take(crate::num::to_usize(limit)).any(Option::is_none)
    }

    /// Makes `fd` refer to `file`; returns what it referred to.
    pub fn replace(
        &self,
        fd: Fd,
        file: Arc<OpenFile>,
        close_on_exec: bool,
        limit: u64,
    ) -> Result<Option<Arc<OpenFile>>, Errno> {
        let index = Self::index(fd)?;
        if index as u64 >= limit.min(MAX_FDS) {
            return Err(Errno::EBADF);
        }
        let mut slots = self.slots.lock();
        if slots.len() <= index {
            slots.resize(index + 1, None);
        }
        let slot = slots.get_mut(index).ok_or(Errno::EBADF)?;
        Ok(slot.replace(Slot { file, close_on_exec }).map(|s| s.file))
    }

    /// Frees a descriptor; returns what it referred to.
    pub fn remove(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        let index = Self::index(fd)?;
        let mut slots = self.slots.lock();
        slots.get_mut(index).and_then(Option::take).map(|s| s.file).ok_or(Errno::EBADF)
    }

    /// Whether execve closes it.
    pub fn close_on_exec(&self, fd: Fd) -> Result<bool, Errno> {
        let index = Self::index(fd)?;
        self.slots.lock().get(index).and_then(Option::as_ref).map(|s| s.close_on_exec).ok_or(Errno::EBADF)
    }

    /// Sets whether execve closes it.
    pub fn set_close_on_exec(&self, fd: Fd, value: bool) -> Result<(), Errno> {
        let index = Self::index(fd)?;
        let mut slots = self.slots.lock();
        slots.get_mut(index).and_then(Option::as_mut).ok_or(Errno::EBADF)?.close_on_exec = value;
        Ok(())
    }

    /// A copy for fork(2), with room for what is open.
    pub fn fork(&self) -> Arc<Self> {
        let mut slots = self.slots.lock().clone();
        slots.truncate(slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        Arc::new(Self { slots: Mutex::new(slots) })
    }

    /// How many descriptors the table has room for. Programs see it: select(2) ignores what is beyond (BUGS in its
    /// manual page) instead of finding it not open. Linux's tables start at 64 and double.
    pub fn room(&self) -> usize {
        self.slots.lock().len().next_power_of_two().max(64)
    }

    /// Takes what `which` picks out; the files are returned so that they are dropped without the lock.
    pub fn take(&self, which: impl Fn(Fd, bool) -> bool) -> Vec<Arc<OpenFile>> {
        let mut slots = self.slots.lock();
        let mut taken = Vec::new();
        for (index, slot) in slots.iter_mut().enumerate() {
            let fd = Fd(i32::try_from(index).unwrap_or(i32::MAX));
            if slot.as_ref().is_some_and(|s| which(fd, s.close_on_exec)) {
                taken.extend(slot.take().map(|s| s.file));
            }
        }
        taken
    }

    /// Sets close-on-exec on a range.
    pub fn mark_close_on_exec(&self, first: u64, last: u64) {
        let mut slots = self.slots.lock();
        for (index, slot) in slots.iter_mut().enumerate() {
            if let (true, Some(slot)) = ((first..=last).contains(&(index as u64)), slot) {
                slot.close_on_exec = true;
            }
        }
    }

    /// All descriptors in use.
    pub fn open_fds(&self) -> Vec<Fd> {
        let slots = self.slots.lock();
        let used = slots.iter().enumerate().filter(|(_, s)| s.is_some());
        used.filter_map(|(i, _)| i32::try_from(i).ok().map(Fd)).collect()
    }
}
