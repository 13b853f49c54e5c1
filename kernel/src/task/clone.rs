//! fork, vfork, clone and clone3.

// The flags are named and documented in clone(2).
#![allow(missing_docs)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_machine::{Reg, UserContext};

use crate::memory::UserPtr;
use crate::security::credentials::{CAP_SYS_ADMIN, CAP_SYS_RESOURCE};
use crate::security::{Kind, Rights};
use crate::syscall::namespace::new_namespaces;
use crate::task::limits::Resource;
use crate::task::process::{NewProcess, PROCESS_COST, VforkDone};
use crate::task::thread::NewThread;
use crate::task::trace::{Event, FILTERED, event_stop, follow};
use crate::task::{Pid, Process, Thread};

bitflags::bitflags! {
    /// Flags of clone(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CloneFlags: u64 {
        const VM = 0x100;
        const FS = 0x200;
        const FILES = 0x400;
        const SIGHAND = 0x800;
        const PIDFD = 0x1000;
        const PTRACE = 0x2000;
        const VFORK = 0x4000;
        const PARENT = 0x8000;
        const THREAD = 0x10000;
        const NEWNS = 0x20000;
        const SYSVSEM = 0x40000;
        const SETTLS = 0x80000;
        const PARENT_SETTID = 0x100000;
        const CHILD_CLEARTID = 0x200000;
        const DETACHED = 0x400000;
        const UNTRACED = 0x800000;
        const CHILD_SETTID = 0x1000000;
        const NEWUTS = 0x4000000;
        const IO = 0x80000000;
        const CLEAR_SIGHAND = 0x1_0000_0000;
    }
}

/// What to make.
pub struct CloneRequest {
    /// What is shared.
    pub flags: CloneFlags,
    /// Sent to the parent at the end; 0 for none.
    pub exit_signal: u32,
    /// The child's stack pointer; 0 to keep the parent's.
    pub stack: u64,
    /// Where the parent wants the child's number.
    pub parent_tid: UserPtr<i32>,
    /// Where the child wants its number, and zero at its end.
    pub child_tid: UserPtr<i32>,
    /// The child's FS base.
    pub tls: u64,
    /// Where the parent wants a pidfd of the child.
    pub pidfd: UserPtr<i32>,
}

impl CloneRequest {
    fn check(&self) -> Result<(), Errno> {
        let has = |f| self.flags.contains(f);
        let bad = has(CloneFlags::SIGHAND) && !has(CloneFlags::VM)
            || has(CloneFlags::THREAD) && !has(CloneFlags::SIGHAND)
            || has(CloneFlags::PIDFD) && has(CloneFlags::DETACHED)
            || has(CloneFlags::FS | CloneFlags::NEWNS)
            || has(CloneFlags::CLEAR_SIGHAND) && has(CloneFlags::SIGHAND)
            || self.exit_signal > 64
            || self.flags.bits() & !CloneFlags::all().bits() != 0;
        if bad { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

/// Makes a process or a thread and starts it; returns its number in the caller.
pub async fn clone(parent: &Arc<Thread>, cpu: &mut UserContext, request: CloneRequest) -> Result<u64, Errno> {
    request.check()?;
    let kernel = parent.kernel();
    let process = &parent.process;
    let credentials = process.credentials();
    if request.flags.intersects(CloneFlags::NEWNS | CloneFlags::NEWUTS) {
        credentials.require(CAP_SYS_ADMIN)?;
    }
    let limit = process.limits.get(Resource::Processes);
    let exempt = credentials.uid == 0 || credentials.is_capable(CAP_SYS_RESOURCE) || credentials.is_root();
    if !exempt && kernel.processes.count_of_user(credentials.uid) >= limit
        || kernel.processes.thread_count() as u64 >= kernel.max_threads
    {
        return Err(Errno::EAGAIN);
    }
    let flags = request.flags;
    if flags.contains(CloneFlags::THREAD) {
        process.capabilities.check(Kind::ThreadCreate, Rights::READ)?;
    }
    // Paid before anything is made; Linux says EAGAIN or ENOMEM when it cannot.
    let charge = kernel.memory.charge(PROCESS_COST).map_err(|_| Errno::ENOMEM)?;
    let pid = kernel.processes.new_pid()?;
    let child_process =
        if flags.contains(CloneFlags::THREAD) { process.clone() } else { fork_process(parent, &request, pid, charge)? };
    let files = parent.files();
    let fs = parent.fs();
    let child = Thread::new(NewThread {
        tid: pid,
        process: child_process.clone(),
        task: kernel.scheduler.new_task(parent.task.nice()),
        name: parent.name(),
        files: if flags.contains(CloneFlags::FILES) { files } else { files.fork() },
        fs: if flags.contains(CloneFlags::FS) { fs } else { fs.fork() },
        mask: parent.mask(),
        uts: parent.uts(),
    });
    new_namespaces(parent, &child.fs(), &child, flags.bits())?;
    inherit(parent, &child);
    // The alternate stack stays with a copy of the memory, or with vfork.
    if !flags.contains(CloneFlags::VM) || flags.contains(CloneFlags::VFORK) {
        *child.alternate_stack.lock() = *parent.alternate_stack.lock();
    }
    if !flags.contains(CloneFlags::VM) {
        child.rseq.copy_from(&parent.rseq);
    }
    if flags.contains(CloneFlags::PIDFD) {
        let fd = crate::ipc::pidfd::install(parent, &child_process, crate::vfs::OpenFlags::empty())?;
        if let Err(errno) = request.pidfd.store(&*parent.space()?, &fd.0).await {
            drop(parent.files().remove(fd));
            return Err(errno);
        }
    }
    let mut child_cpu = cpu.clone();
    child_cpu.set_reg(Reg::Rax, 0);
    if request.stack != 0 {
        child_cpu.set_reg(Reg::Rsp, request.stack);
    }
    if flags.contains(CloneFlags::SETTLS) {
        child_cpu.fs_base = request.tls;
    }
    if flags.contains(CloneFlags::CHILD_CLEARTID) {
        child.clear_child_tid.store(request.child_tid.addr().0, Ordering::Relaxed);
    }
    // Linux ignores failure of both stores.
    if flags.contains(CloneFlags::CHILD_SETTID)
        && let Some(space) = child_process.space()
    {
        let _ = request.child_tid.store(&space, &pid.0).await;
    }
    if flags.contains(CloneFlags::PARENT_SETTID) {
        let _ = request.parent_tid.store(&*parent.space()?, &pid.0).await;
    }
    let vfork = flags.contains(CloneFlags::VFORK).then(|| Arc::new(VforkDone::default()));
    if !flags.contains(CloneFlags::THREAD) {
        (*child_process.vfork_done.lock()).clone_from(&vfork);
        let father = child_process.parent();
        if let Some(father) = father {
            father.children.lock().push(child_process.clone());
        }
        kernel.processes.add_process(&child_process);
    }
    child_process.threads.lock().push(child.clone());
    kernel.processes.add_thread(&child);
    let event = match () {
        () if flags.contains(CloneFlags::VFORK) => Event::VFork,
        () if request.exit_signal == u32::from(crate::task::Signal::SIGCHLD.number()) => Event::Fork,
        () => Event::Clone,
    };
    let told = parent.is_traced() && !flags.contains(CloneFlags::UNTRACED) && follow(parent, &child, event);
    crate::run::start(&child, child_cpu);
    let number = cpu.reg(Reg::Rax);
    let message = u64::from(pid.0.cast_unsigned());
    if told {
        Box::pin(event_stop(parent, cpu, event, message, number)).await;
    }
    if let Some(done) = vfork {
        // Only death ends this wait: the child is using our memory and stack.
        wait_killable(parent, done.wait()).await;
        Box::pin(event_stop(parent, cpu, Event::VForkDone, message, number)).await;
    }
    Ok(u64::from(pid.0.cast_unsigned()))
}

/// What a new thread has of the one that made it, whatever is shared.
fn inherit(parent: &Thread, child: &Thread) {
    child.task.inherit_policy(&parent.task);
    child.timer_slack.store(parent.timer_slack.load(Ordering::Relaxed), Ordering::Relaxed);
    let seccomp = parent.seccomp.lock().clone();
    if seccomp.mode() != 0 {
        child.watched.fetch_or(FILTERED, Ordering::Relaxed);
    }
    *child.seccomp.lock() = seccomp;
}

async fn wait_killable(thread: &Thread, wait: impl Future<Output = ()>) {
    let mut wait = core::pin::pin!(wait);
    core::future::poll_fn(|cx| {
        let done = wait.as_mut().poll(cx).is_ready() || thread.must_stop_running();
        if done { core::task::Poll::Ready(()) } else { core::task::Poll::Pending }
    })
    .await;
}

fn fork_process(
    parent: &Arc<Thread>,
    request: &CloneRequest,
    pid: Pid,
    charge: crate::memory::account::Charge,
) -> Result<Arc<Process>, Errno> {
    let process = &parent.process;
    let flags = request.flags;
    let space = parent.space()?;
    let actions = process.actions.lock().clone();
    // A sibling's end is told as the caller's own would be: nobody chooses a signal for somebody else's child.
    let (father, exit_signal) = if flags.contains(CloneFlags::PARENT) {
        (process.parent(), process.exit_signal.load(Ordering::Relaxed))
    } else {
        (Some(process.clone()), request.exit_signal)
    };
    let child = Process::new(
        parent.kernel(),
        NewProcess {
            pid,
            parent: father,
            space: if flags.contains(CloneFlags::VM) { space } else { space.fork()? },
            actions: match () {
                () if flags.contains(CloneFlags::SIGHAND) => actions,
                () if flags.contains(CloneFlags::CLEAR_SIGHAND) => actions.after_exec(),
                () => actions.fork(),
            },
            limits: process.limits.fork(),
            credentials: process.credentials(),
            capabilities: process.capabilities.fork(),
            exit_signal,
            charge,
        },
    );
    Ok(child)
}
