//! All processes and threads of a system, by number.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use aurora_abi::Errno;

use crate::sync::Mutex;
use crate::task::{Pid, Process, SigInfo, Thread};

/// Numbers go up to here, then start anew: Linux's `kernel.pid_max`.
pub const PID_MAX: i32 = 32768;

/// The table.
#[derive(Default)]
pub struct ProcessTable {
    inner: Mutex<Inner>,
    /// Processes and threads made so far.
    forks: AtomicU64,
}

#[derive(Default)]
struct Inner {
    processes: BTreeMap<Pid, Arc<Process>>,
    threads: BTreeMap<Pid, Weak<Thread>>,
    last: i32,
}

impl ProcessTable {
    /// A number nobody has.
    pub fn new_pid(&self) -> Result<Pid, Errno> {
        self.forks.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        for _ in 0..PID_MAX {
            inner.last = if inner.last >= PID_MAX - 1 { 2 } else { inner.last + 1 };
            let pid = Pid(inner.last);
            let group_in_use = || inner.processes.values().any(|p| p.group() == pid || p.session() == pid);
            if !inner.processes.contains_key(&pid) && !inner.threads.contains_key(&pid) && !group_in_use() {
                return Ok(pid);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Lets numbering go on after `pid`, so that the kernel's first programs have numbers of their own.
    pub fn reserve_up_to(&self, pid: Pid) {
        let mut inner = self.inner.lock();
        inner.last = inner.last.max(pid.0);
    }

    /// Adds a process.
    pub fn add_process(&self, process: &Arc<Process>) {
        self.inner.lock().processes.insert(process.pid, process.clone());
    }
    /// Adds a thread.
    pub fn add_thread(&self, thread: &Arc<Thread>) {
        self.inner.lock().threads.insert(thread.tid(), Arc::downgrade(thread));
    }
    /// Removes a process.
    pub fn remove_process(&self, pid: Pid) {
        let removed = self.inner.lock().processes.remove(&pid);
        removed.inspect(|process| process.ended.wake_all());
    }
    /// Removes a thread.
    pub fn remove_thread(&self, thread: &Arc<Thread>) {
        let mut inner = self.inner.lock();
        let tid = thread.tid();
        if inner.threads.get(&tid).is_some_and(|known| core::ptr::eq(known.as_ptr(), Arc::as_ptr(thread))) {
            inner.threads.remove(&tid);
        }
    }
    /// Gives a thread another number.
    pub fn renumber(&self, thread: &Arc<Thread>, tid: Pid) {
        let mut inner = self.inner.lock();
        inner.threads.remove(&thread.tid());
        thread.set_tid(tid);
        inner.threads.insert(tid, Arc::downgrade(thread));
    }
    /// A process by number.
    pub fn process(&self, pid: Pid) -> Option<Arc<Process>> {
        self.inner.lock().processes.get(&pid).cloned()
    }
    /// A thread by number.
    pub fn thread(&self, tid: Pid) -> Option<Arc<Thread>> {
        self.inner.lock().threads.get(&tid)?.upgrade()
    }
    /// All processes, by number.
    pub fn processes(&self) -> Vec<Arc<Process>> {
        self.inner.lock().processes.values().cloned().collect()
    }
    /// Processes and threads made so far.
    pub fn forks(&self) -> u64 {
        self.forks.load(Ordering::Relaxed)
    }
    /// Threads alive.
    pub fn thread_count(&self) -> usize {
        self.inner.lock().threads.len()
    }
    /// Processes and threads of a user.
    pub fn count_of_user(&self, uid: u32) -> u64 {
        let processes = self.processes();
        let of_user = processes.iter().filter(|p| p.credentials().uid == uid);
        of_user.map(|p| p.threads.lock().len().max(1) as u64).sum()
    }
    /// Processes of a group, also those that ended and have not been waited for: until then there is a group, and a shell
    /// may make it the foreground after its first program is already over.
    pub fn group(&self, group: Pid) -> Vec<Arc<Process>> {
        self.processes().into_iter().filter(|p| p.group() == group).collect()
    }
    /// Processes of a session, also those that ended.
    pub fn session(&self, session: Pid) -> Vec<Arc<Process>> {
        self.processes().into_iter().filter(|p| p.session() == session).collect()
    }
    /// Sends a signal to every process of a group. Returns whether there is one.
    pub fn signal_group(&self, group: Pid, info: SigInfo) -> bool {
        let members = self.group(group);
        for process in &members {
            let _ = process.send(info);
        }
        !members.is_empty()
    }
    /// Whether the group has no member whose parent is in another group of the same session: nobody could let it go
    /// on again (credentials(7), "orphaned process group"). `leaving`, if given, does not count any more.
    pub fn is_orphaned_without(&self, group: Pid, leaving: Option<Pid>) -> bool {
        let members = self.group(group);
        let members = members.iter().filter(|p| Some(p.pid) != leaving && !p.is_zombie());
        members.filter_map(|p| Some((p, p.parent()?))).all(|(member, parent)| {
            parent.pid == Pid(1) || parent.group() == group || parent.session() != member.session()
        })
    }
    /// Whether the group is orphaned.
    pub fn is_orphaned(&self, group: Pid) -> bool {
        self.is_orphaned_without(group, None)
    }
}
