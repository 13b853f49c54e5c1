//! Waiting for children, wait4(2) and waitid(2).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;

use crate::task::process::WaitStatus;
use crate::task::{Pid, Process, Signal, Thread};

/// Which children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Any.
    Any,
    /// This one.
    Process(Pid),
    /// Those of a group.
    Group(Pid),
}

bitflags::bitflags! {
    /// Options of both calls.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WaitOptions: u32 {
        /// Do not wait.
        const NOHANG = 1;
        /// Stopped children, too (`WUNTRACED`, `WSTOPPED`).
        const STOPPED = 2;
        /// Ended children.
        const EXITED = 4;
        /// Continued children, too.
        const CONTINUED = 8;
        /// Leave the child to be waited for again.
        const NOWAIT = 0x0100_0000;
        /// Children of this thread only; all threads' children are one here.
        const NOTHREAD = 0x2000_0000;
        /// All children, whatever signal they send.
        const ALL = 0x4000_0000;
        /// Only children that do not send SIGCHLD.
        const CLONE = 0x8000_0000;
    }
}

/// What was learned of a child.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Which child.
    pub pid: Pid,
    /// Its user.
    pub uid: u32,
    /// What happened.
    pub status: WaitStatus,
    /// Processor time it and its children used, in nanoseconds.
    pub used: u64,
    /// What of that was in the kernel.
    pub system: u64,
}

/// Waits for a child's change; `None` if there is none yet and the options say not to wait.
pub async fn wait(thread: &Thread, which: Which, options: WaitOptions) -> Result<Option<Report>, Errno> {
    let parent = &thread.process;
    let look = || match look_once(parent, which, options) {
        Ok(None) if options.contains(WaitOptions::NOHANG) => Some(Ok(None)),
        Ok(None) => None,
        result => Some(result),
    };
    thread.interruptible(parent.events.wait(look)).await.unwrap_or(Err(Errno::ERESTARTSYS))
}

fn look_once(parent: &Arc<Process>, which: Which, options: WaitOptions) -> Result<Option<Report>, Errno> {
    let mut any = false;
    if let Some(report) = look_at_tracees(parent, which, options, &mut any) {
        return Ok(Some(report));
    }
    let children = parent.children.lock().clone();
    let matching = |c: &&Arc<Process>| match which {
        Which::Any => true,
        Which::Process(pid) => c.pid == pid,
        Which::Group(group) => c.group() == group,
    };
    // A child whose end another signal tells is waited for only by those who ask for such.
    let chooses_clones = options.contains(WaitOptions::CLONE);
    let of_kind = |c: &&Arc<Process>| {
        let clone = c.exit_signal.load(Ordering::Relaxed) != u32::from(Signal::SIGCHLD.number());
        options.contains(WaitOptions::ALL) || clone == chooses_clones
    };
    for child in children.iter().filter(matching).filter(of_kind) {
        any = true;
        let mut state = child.state();
        let ended = state.ended.filter(|_| options.contains(WaitOptions::EXITED));
        let reported = state.report.filter(|r| match r {
            WaitStatus::Stopped(_) => options.contains(WaitOptions::STOPPED),
            _ => options.contains(WaitOptions::CONTINUED),
        });
        let Some(status) = ended.or(reported) else { continue };
        let keep = options.contains(WaitOptions::NOWAIT);
        if ended.is_none() && !keep {
            state.report = None;
        }
        drop(state);
        let report = report_of(child, child.pid, status);
        if ended.is_some() && !keep {
            reap(parent, child, &report);
        }
        return Ok(Some(report));
    }
    if any { Ok(None) } else { Err(Errno::ECHILD) }
}

fn report_of(process: &Process, pid: Pid, status: WaitStatus) -> Report {
    let used = process.used_ns() + process.used_by_children.load(Ordering::Relaxed);
    let system = process.system_ns() + process.system_of_children.load(Ordering::Relaxed);
    Report { pid, uid: process.credentials().uid, status, used, system }
}

/// Takes a child that ended away: its time becomes its parent's children's.
fn reap(parent: &Arc<Process>, child: &Arc<Process>, report: &Report) {
    parent.used_by_children.fetch_add(report.used, Ordering::Relaxed);
    parent.system_of_children.fetch_add(report.system, Ordering::Relaxed);
    let faults = child.faults.load(Ordering::Relaxed) + child.faults_of_children.load(Ordering::Relaxed);
    parent.faults_of_children.fetch_add(faults, Ordering::Relaxed);
    parent.children.lock().retain(|c| !Arc::ptr_eq(c, child));
    parent.kernel.processes.remove_process(child.pid);
}

/// Stops and ends of threads the process traces.
fn look_at_tracees(parent: &Arc<Process>, which: Which, options: WaitOptions, any: &mut bool) -> Option<Report> {
    let tracees = parent.tracees.lock().clone();
    let matching = |t: &&Arc<Thread>| match which {
        Which::Any => true,
        Which::Process(pid) => t.tid() == pid,
        Which::Group(group) => t.process.group() == group,
    };
    for thread in tracees.iter().filter(matching) {
        *any = true;
        let mut trace = thread.trace.lock();
        let keep = options.contains(WaitOptions::NOWAIT);
        if let Some(stop) = trace.stop.as_mut().filter(|s| !s.told) {
            stop.told = !keep;
            let code = stop.code;
            drop(trace);
            return Some(report_of(&thread.process, thread.tid(), WaitStatus::Traced(code)));
        }
        let Some(status) = trace.ended.filter(|_| options.contains(WaitOptions::EXITED)) else { continue };
        drop(trace);
        if !keep {
            parent.tracees.lock().retain(|t| !Arc::ptr_eq(t, thread));
        }
        return Some(report_of(&thread.process, thread.tid(), status));
    }
    None
}
