//! How threads and processes end.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use aurora_machine::VirtAddr;

use crate::task::process::WaitStatus;
use crate::task::signal::{SigInfo, flags};
use crate::task::trace::{tracee_ended, tracer_ended};
use crate::task::{Pid, Process, Signal, Thread, signal};
use crate::tty::job::leave_terminal;

/// Ends a thread whose loop is over; the last one ends the process.
pub async fn thread_ended(thread: &Arc<Thread>, own_status: WaitStatus) {
    let process = &thread.process;
    let kernel = thread.kernel();
    release_mutexes(thread).await;
    release_number(thread).await;
    drop(thread.set_files(None));
    let last = {
        let mut threads = process.threads.lock();
        process.used_before.fetch_add(thread.task.used_ns(), Ordering::Relaxed);
        process.system_before.fetch_add(thread.system_ns.load(Ordering::Relaxed), Ordering::Relaxed);
        threads.retain(|t| !Arc::ptr_eq(t, thread));
        threads.is_empty()
    };
    kernel.processes.remove_thread(thread);
    let status = process.ending().unwrap_or(own_status);
    tracee_ended(thread, status, last);
    if last {
        process_ended(process, status);
    }
    process.events.wake_all();
}

/// Lets others have the mutexes the thread has, which ends or becomes another program.
pub(super) async fn release_mutexes(thread: &Arc<Thread>) {
    let Some(space) = thread.process.space() else { return };
    crate::ipc::futex::release_robust(thread, &space).await;
    crate::ipc::futex_owned::release_owned(thread, &space).await;
}

/// What pthread_join waits for.
async fn release_number(thread: &Arc<Thread>) {
    let Some(space) = thread.process.space() else { return };
    let tid_at = VirtAddr(thread.clear_child_tid.load(Ordering::Relaxed));
    if tid_at.0 != 0 && space.store(tid_at, &0u32).await.is_ok() {
        let _ = crate::ipc::futex::wake_at(thread, tid_at, 1).await;
    }
}

fn process_ended(process: &Arc<Process>, status: WaitStatus) {
    let kernel = &process.kernel;
    crate::task::profile::tell(process);
    drop(process.set_space(None));
    if let Some(done) = process.vfork_done.lock().take() {
        done.signal();
    }
    process.alarm.set(None, 0);
    kernel.system_v.semaphores.process_ended(process.pid);
    process.timers.clear();
    process.timers.stop_processor();
    *process.executable.lock() = None;
    kernel.record_locks.release_all(process.pid);
    leave_terminal(process, true);
    tracer_ended(process);
    let children = core::mem::take(&mut *process.children.lock());
    let heir = heir(process);
    for child in children {
        give_away(&child, heir.as_ref());
        hang_up_orphans(&child, process, None);
    }
    if let Some(parent) = process.parent() {
        hang_up_orphans(process, &parent, Some(process.pid));
    }
    process.state().ended = Some(status);
    process.ended.wake_all();
    report_end(process, status);
    kernel.process_ended.wake_all();
}

/// Who gets the children of a process that ends: the next above it that asked for orphans, or init.
fn heir(process: &Arc<Process>) -> Option<Arc<Process>> {
    let lives = |p: &Arc<Process>| !Arc::ptr_eq(p, process) && !p.is_zombie() && p.ending().is_none();
    let mut above = process.parent();
    while let Some(ancestor) = above {
        if ancestor.is_subreaper.load(Ordering::Relaxed) && lives(&ancestor) {
            return Some(ancestor);
        }
        above = ancestor.parent();
    }
    let init = process.kernel.processes.process(Pid(1));
    init.filter(|init| !Arc::ptr_eq(init, process) && !init.is_zombie())
}

/// Sends the signals threads of a child wanted for this moment (`PR_SET_PDEATHSIG`).
fn tell_of_death(child: &Arc<Process>) {
    let threads = child.threads.lock().clone();
    for thread in threads {
        if let Some(signal) = Signal::new(thread.parent_death_signal.load(Ordering::Relaxed)) {
            let _ = child.send(SigInfo::kernel(signal));
        }
    }
}

/// A child whose parent ended goes to the next who wants it; without one, nobody waits for it.
fn give_away(child: &Arc<Process>, heir: Option<&Arc<Process>>) {
    tell_of_death(child);
    child.set_parent(heir);
    // Whoever inherits it did not ask for another signal.
    child.exit_signal.store(u32::from(Signal::SIGCHLD.number()), Ordering::Relaxed);
    match heir {
        Some(init) => {
            init.children.lock().push(child.clone());
            if child.is_zombie() {
                let _ = init.send(SigInfo::kernel(Signal::SIGCHLD));
                init.events.wake_all();
            }
        }
        None if child.is_zombie() => child.kernel.processes.remove_process(child.pid),
        None => {}
    }
}

/// Where this end leaves `member`'s group without anybody who could continue it, because `parent` did or `leaving` was in
/// it, the group is hung up if something in it is stopped (Linux's `kill_orphaned_pgrp`).
fn hang_up_orphans(member: &Process, parent: &Process, leaving: Option<Pid>) {
    let (table, group) = (&member.kernel.processes, member.group());
    let kept = parent.group() != group && parent.session() == member.session();
    if kept && table.is_orphaned_without(group, leaving) && table.group(group).iter().any(|p| p.stopped().is_some()) {
        for signal in [Signal::SIGHUP, Signal::SIGCONT] {
            table.signal_group(group, SigInfo::kernel(signal));
        }
    }
}

/// Tells the parent; a parent that does not care lets the child vanish at once.
fn report_end(process: &Arc<Process>, status: WaitStatus) {
    let Some(parent) = process.parent() else {
        if !process.kernel.is_awaited(process.pid) {
            process.kernel.processes.remove_process(process.pid);
        }
        return;
    };
    let action = parent.actions.lock().get(Signal::SIGCHLD);
    let exit_signal = Signal::new(crate::num::low8(u64::from(process.exit_signal.load(Ordering::Relaxed))));
    let careless = exit_signal == Some(Signal::SIGCHLD)
        && (action.handler == signal::IGNORE || action.flags & flags::NOCLDWAIT != 0);
    if careless {
        parent.children.lock().retain(|c| !Arc::ptr_eq(c, process));
        parent.used_by_children.fetch_add(process.used_ns(), Ordering::Relaxed);
        parent.system_of_children.fetch_add(process.system_ns(), Ordering::Relaxed);
        process.kernel.processes.remove_process(process.pid);
    }
    if let Some(exit_signal) = exit_signal {
        let (code, value) = child_status(status);
        let uid = process.credentials().uid;
        let _ = parent.send(SigInfo::child(exit_signal, code, process.pid, uid, value));
    }
    parent.events.wake_all();
}

/// `si_code` and `si_status` of an end, waitid(2).
pub fn child_status(status: WaitStatus) -> (i32, i32) {
    match status {
        WaitStatus::Exited(code) => (1, i32::from(code)),
        WaitStatus::Killed(signal, false) => (2, i32::from(signal.number())),
        WaitStatus::Killed(signal, true) => (3, i32::from(signal.number())),
        WaitStatus::Stopped(signal) => (5, i32::from(signal.number())),
        WaitStatus::Continued => (6, i32::from(Signal::SIGCONT.number())),
        WaitStatus::Traced(code) => (4, crate::num::low32_signed(u64::from(code))),
    }
}
