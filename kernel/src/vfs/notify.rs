//! Signals about readiness: `O_ASYNC`, `F_SETOWN` and `F_SETSIG` of fcntl(2).

use alloc::sync::{Arc, Weak};
use core::future::poll_fn;
use core::task::Poll;

use crate::Kernel;
use crate::task::{Pid, Process, SigInfo, Signal};
use crate::vfs::{Events, Fd, OpenFile, OpenFlags};

/// What an owner's number names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OwnerKind {
    /// A thread.
    Thread,
    /// A process.
    #[default]
    Process,
    /// A process group.
    Group,
}

/// Who is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner {
    /// What the number names.
    pub kind: OwnerKind,
    /// The number; 0 for nobody.
    pub pid: Pid,
    /// Who set it.
    pub uid: u32,
    /// And as whom.
    pub euid: u32,
    /// The signal; SIGIO if none was set.
    pub signal: Option<Signal>,
}

/// Starts telling the owner of `file`, which was opened as `fd`, until it is closed or its flag is taken away. The job
/// does not keep the file open.
pub fn start(kernel: &Arc<Kernel>, file: &Arc<OpenFile>, fd: Fd) {
    let (weak, system) = (Arc::downgrade(file), Arc::downgrade(kernel));
    let mut before = file.ops.readiness(file);
    kernel.scheduler.spawn(poll_fn(move |cx| {
        let (Some(file), Some(kernel)) = (weak.upgrade(), system.upgrade()) else { return Poll::Ready(()) };
        let Some(queue) = file.ops.wait_queue() else { return Poll::Ready(()) };
        if !file.flags().contains(OpenFlags::ASYNC) {
            return Poll::Ready(());
        }
        queue.listen(Weak::as_ptr(&weak).addr() as u64, cx.waker());
        let now = file.ops.readiness(&file);
        let gained = now - before;
        before = now;
        if !gained.is_empty() {
            tell(&kernel, &file, fd, gained);
        }
        Poll::Pending
    }));
}

/// `si_code` of a signal set by `F_SETSIG`: the first kind of readiness that came.
const CODES: [(Events, i32); 4] = [(Events::IN, 1), (Events::OUT, 2), (Events::ERR, 4), (Events::HUP, 6)];

fn tell(kernel: &Kernel, file: &OpenFile, fd: Fd, gained: Events) {
    let owner = *file.owner.lock();
    let info = match owner.signal {
        None => SigInfo::kernel(Signal::SIGIO),
        Some(signal) => {
            let code = CODES.iter().find(|(event, _)| gained.contains(*event)).map_or(1, |(_, code)| *code);
            let fields = [u64::from(gained.bits()), u64::from(fd.0.cast_unsigned()), 0];
            SigInfo { signal, code, fields }
        }
    };
    let may = |process: &Process| {
        let theirs = process.credentials();
        owner.euid == 0 || [owner.uid, owner.euid].iter().any(|u| *u == theirs.uid || *u == theirs.suid)
    };
    if owner.pid.0 == 0 {
        return;
    }
    match owner.kind {
        OwnerKind::Thread => {
            if let Some(thread) = kernel.processes.thread(owner.pid).filter(|t| may(&t.process)) {
                let _ = thread.send(info);
            }
        }
        OwnerKind::Process => {
            if let Some(process) = kernel.processes.process(owner.pid).filter(|p| may(p)) {
                let _ = process.send(info);
            }
        }
        OwnerKind::Group => {
            for process in kernel.processes.group(owner.pid).iter().filter(|p| may(p)) {
                let _ = process.send(info);
            }
        }
    }
}
