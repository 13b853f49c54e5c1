//! Aurora's kernel: Linux's x86-64 system calls over whatever can run user code until it traps.
//!
//! A machine makes a [`Kernel`] and drives it. Inside, the folders are floors and an arrow only runs down: `run` →
//! `syscall` → `task`, `fs`, `ipc`, `tty` → `memory` → `vfs`, `device`; `security` stands on the ground.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod block;
pub mod boot;
pub mod device;
pub mod fs;
pub mod ipc;
mod kept;
pub mod log;
pub mod memory;
pub mod net;
mod num;
#[cfg(test)]
mod orders;
mod real_time;
pub mod run;
pub mod security;
pub mod sync;
pub mod syscall;
pub mod task;
pub mod tty;
mod vdso;
pub mod vfs;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_abi::types::Timespec;
use aurora_machine::{Instant, Machine, Port};

use crate::sync::{Mutex, WaitQueue};
use crate::task::Pid;

/// A running system. A machine makes one with [`Kernel::boot`] and drives it with [`Kernel::run`].
pub struct Kernel {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) memory: Arc<memory::MemoryControl>,
    pub(crate) scheduler: task::scheduler::Scheduler,
    pub(crate) timers: task::timer::Timers,
    pub(crate) processes: Arc<task::table::ProcessTable>,
    pub(crate) ptys: Arc<tty::pty::PtyTable>,
    pub(crate) disks: Arc<block::Disks>,
    /// Those that are on disks.
    pub(crate) file_systems: Mutex<alloc::vec::Vec<alloc::sync::Weak<dyn vfs::FileSystem>>>,
    pub(crate) vfs: vfs::Vfs,
    pub(crate) anonymous: fs::anonymous::AnonymousInodes,
    pub(crate) futexes: ipc::futex::FutexTable,
    pub(crate) network: net::Network,
    pub(crate) system_v: ipc::sysv::SystemV,
    pub(crate) message_queues: ipc::mqueue::QueueNames,
    pub(crate) watches: Arc<ipc::inotify::Watches>,
    pub(crate) locks: vfs::lock::FileLocks,
    pub(crate) record_locks: vfs::lock::RecordLocks,
    pub(crate) ports: device::Ports,
    pub(crate) consoles: tty::Consoles,
    pub(crate) log: log::Log,
    pub(crate) unhandled: task::unhandled::RateLimit,
    pub(crate) shared_memory: Arc<memory::cache::PageQuota>,
    pub(crate) open_device: Arc<fs::tmpfs::OpenDevice>,
    /// Woken whenever a process ends.
    pub(crate) process_ended: WaitQueue,
    /// Processes without a parent whose end somebody waits for.
    awaited: Mutex<BTreeSet<Pid>>,
    pub(crate) max_threads: u64,
    pub(crate) next_dev: core::sync::atomic::AtomicU64,
    /// The first namespace of host names.
    pub(crate) uts: Arc<task::uts::UtsNamespace>,
    /// The file system of memfd_create(2).
    pub(crate) memfds: Arc<dyn vfs::Inode>,
    /// `vm.overcommit_memory` and the like.
    pub(crate) settings: memory::settings::Settings,
    pub(crate) command_line: String,
    /// The thread that is running: process in the high half, thread in the low.
    current: core::sync::atomic::AtomicU64,
    /// Its system call, as [`task::Thread::call`] has it.
    current_call: core::sync::atomic::AtomicU64,
    trace: AtomicBool,
    /// Whether it is counted where programs run.
    pub(crate) profile: bool,
    real_time: real_time::RealTime,
    pub(crate) vdso: vdso::Vdso,
    stop: Mutex<Option<Next>>,
}

/// What a machine should do after [`Kernel::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more to run: call again soon.
    Again,
    /// Nothing to run before `until`, or before a port is ready.
    Idle {
        /// When the next timer is due; [`Instant::NEVER`] when none is.
        until: Instant,
    },
    /// Turn the machine off.
    PowerOff,
    /// Start the machine anew.
    Restart,
}

/// A thread and what it asked the kernel for.
#[derive(Clone, Copy, Debug)]
pub struct Doing {
    thread: Option<(Pid, Pid)>,
    call: Option<&'static str>,
}

impl core::fmt::Display for Doing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.thread {
            None => f.write_str("no thread"),
            Some((process, thread)) => {
                write!(f, "process {}, thread {}, in {}", process.0, thread.0, self.call.unwrap_or("no system call"))
            }
        }
    }
}

/// Why a system could not start.
#[derive(Debug)]
pub struct BootError(
    /// For a person to read.
    pub String,
);

/// Adds a line about what goes on to the kernel's log, and shows it on the console unless that is to be quiet.
#[macro_export]
macro_rules! klog {
    ($kernel:expr, $($arg:tt)*) => { $kernel.log_line($crate::log::Level::Info, format_args!($($arg)*)) };
}

/// Adds a line about what failed to the kernel's log, and shows it on the console.
#[macro_export]
macro_rules! kerror {
    ($kernel:expr, $($arg:tt)*) => { $kernel.log_line($crate::log::Level::Error, format_args!($($arg)*)) };
}

impl Kernel {
    /// Runs threads until none can run or `until` has passed.
    pub fn run(&self, until: Instant) -> Next {
        if self.real_time.follow(&*self.machine) {
            self.real_time_was_set();
        }
        let more = self.scheduler.run(until, &self.timers);
        self.consoles.settle(!more);
        if let Some(next) = *self.stop.lock() {
            return next;
        }
        if more { Next::Again } else { Next::Idle { until: self.timers.next() } }
    }

    /// Bytes arrived at `port`, or there is room to send again. Not to be called from inside an interrupt handler.
    pub fn port_ready(&self, port: Port) {
        self.ports.queue(port).wake_all();
    }

    /// A disk has answers to requests. Not to be called from inside an interrupt handler.
    pub fn disks_ready(&self) {
        self.disks.ready();
    }

    /// Puts everything that is only in memory on the disks. Errors are for fsync(2) to tell.
    pub(crate) async fn sync_all(&self) {
        let mounted: alloc::vec::Vec<_> =
            self.file_systems.lock().iter().filter_map(alloc::sync::Weak::upgrade).collect();
        for disk in mounted {
            let _ = disk.sync(vfs::inode::SyncOf::All).await;
        }
        for volume in self.disks.volumes() {
            let _ = volume.sync().await;
        }
    }

    /// Has [`Kernel::run`] put everything that is only in memory on the disks, and call `done` when it is there: for a
    /// machine that knows it may be gone soon.
    pub fn sync_soon(self: &Arc<Self>, done: impl FnOnce() + Send + 'static) {
        let kernel = self.clone();
        self.scheduler.spawn(async move {
            kernel.sync_all().await;
            done();
        });
    }

    /// The window of the console port's other side has another size now.
    pub fn resize_console(&self, rows: u16, columns: u16) {
        self.consoles.serial.resize(rows, columns);
    }

    /// See [`klog`] and [`kerror`].
    pub fn log_line(&self, level: log::Level, text: core::fmt::Arguments<'_>) {
        let line = self.log.add(self.machine.now(), level, text);
        if level == log::Level::Error || !self.ports.is_quiet() {
            self.consoles.print_line(&line);
        }
    }

    /// A line of the trace: straight to the console, so that it stands in order with other output there.
    pub(crate) fn trace_line(&self, line: &str) {
        self.consoles.print_line(line);
    }

    pub(crate) fn is_tracing(&self) -> bool {
        self.trace.load(Ordering::Relaxed)
    }

    /// The process and thread that are running now.
    pub(crate) fn current(&self) -> Option<(Pid, Pid)> {
        let both = self.current.load(Ordering::Relaxed);
        let part = |bits: u64| Pid(num::low32_signed(bits));
        (both != 0).then(|| (part(both >> 32), part(both)))
    }

    /// Notes which thread is running, and in which call.
    pub(crate) fn set_current(&self, thread: Option<&task::Thread>) {
        let both = thread.map_or(0, |thread| {
            u64::from(thread.process.pid.0.cast_unsigned()) << 32 | u64::from(thread.tid().0.cast_unsigned())
        });
        self.current.store(both, Ordering::Relaxed);
        self.memory.misses().set_current(both);
        self.current_call.store(thread.map_or(0, |t| t.call.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// Notes that the running thread enters a system call, or leaves it.
    pub(crate) fn set_call(&self, thread: &task::Thread, call: syscall::Call) {
        thread.call.store(call.0, Ordering::Relaxed);
        self.current_call.store(call.0, Ordering::Relaxed);
    }

    /// What the machine was started with.
    pub fn command_line(&self) -> &str {
        &self.command_line
    }

    /// What the kernel is busy with, for a machine that has to say where it stopped: takes no lock.
    pub fn doing(&self) -> Doing {
        let call = syscall::Call(self.current_call.load(Ordering::Relaxed));
        Doing { thread: self.current(), call: call.row().map(|row| row.name) }
    }

    /// Stops the system when everything is on its disks.
    pub(crate) fn go_down(self: &Arc<Self>, next: Next) {
        let kernel = self.clone();
        self.scheduler.spawn(async move {
            let mounted: alloc::vec::Vec<_> =
                kernel.file_systems.lock().iter().filter_map(alloc::sync::Weak::upgrade).collect();
            for file_system in mounted {
                if let Err(errno) = file_system.unmount().await {
                    kerror!(kernel, "unmounting: {}", errno.text());
                }
            }
            kernel.stop(next);
        });
    }

    /// Stops the system: [`Kernel::run`] returns `next` from now on.
    pub(crate) fn stop(&self, next: Next) {
        self.stop.lock().get_or_insert(next);
    }

    /// Nanoseconds since the Unix epoch.
    pub(crate) fn realtime_ns(&self) -> u64 {
        self.real_time.at(self.machine.now())
    }

    /// Sets the real-time clock.
    pub(crate) fn set_realtime_ns(&self, ns: u64) {
        self.real_time.set(self.machine.now(), ns);
        self.real_time_was_set();
    }

    fn real_time_was_set(&self) {
        self.vdso.set_real(self.real_time.ahead());
        self.timers.clock_was_set();
    }

    /// Real time as files carry it: the coarse clock's, so that what changes several times within a tick has nothing new
    /// to write for all but the first.
    pub(crate) fn now(&self) -> Timespec {
        let ns = real_time::coarse(self.realtime_ns());
        Timespec { sec: (ns / 1_000_000_000).cast_signed(), nsec: (ns % 1_000_000_000).cast_signed() }
    }

    pub(crate) async fn sleep_until(&self, at: Instant) {
        self.timers.sleep_until(&*self.machine, at).await;
    }

    pub(crate) fn is_awaited(&self, pid: Pid) -> bool {
        self.awaited.lock().contains(&pid)
    }

    pub(crate) fn set_awaited(&self, pid: Pid, awaited: bool) {
        let mut set = self.awaited.lock();
        if awaited {
            set.insert(pid)
        } else {
            set.remove(&pid)
        };
    }
}
