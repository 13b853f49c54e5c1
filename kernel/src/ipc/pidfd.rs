//! pidfd_open(2): a process as a descriptor, readable once it ended.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

use aurora_abi::Errno;

use crate::sync::WaitQueue;
use crate::task::limits::Resource;
use crate::task::{Process, Thread};
use crate::vfs::file::FILE_COST;
use crate::vfs::{Events, Fd, FileOps, OpenFile, OpenFlags};

/// A process somebody has a descriptor of.
pub struct PidFd {
    /// Which.
    pub process: Arc<Process>,
}

impl PidFd {
    fn is_reaped(&self) -> bool {
        let listed = self.process.kernel.processes.process(self.process.pid);
        !listed.is_some_and(|p| Arc::ptr_eq(&p, &self.process))
    }

    /// `ESRCH` once nothing is left of the process.
    pub fn living(&self) -> Result<&Arc<Process>, Errno> {
        if self.is_reaped() { Err(Errno::ESRCH) } else { Ok(&self.process) }
    }
}

/// The process an open file is, if it is one.
pub fn of(file: &OpenFile) -> Option<&PidFd> {
    file.ops.as_any()?.downcast_ref()
}

/// Gives `thread` a descriptor of `process`, closed by execve(2) as all of them are.
pub fn install(thread: &Thread, process: &Arc<Process>, flags: OpenFlags) -> Result<Fd, Errno> {
    let kernel = thread.kernel();
    let charge = kernel.memory.charge(FILE_COST).map_err(|_| Errno::ENFILE)?;
    let inode = kernel.anonymous.unnamed(kernel.now());
    let ops = Arc::new(PidFd { process: process.clone() });
    let file = OpenFile::new(None, inode, ops, flags | OpenFlags::RDWR, charge);
    thread.files().add(file, true, 0, thread.process.limits.get(Resource::Files))
}

impl FileOps for PidFd {
    fn readiness(&self, _: &OpenFile) -> Events {
        match () {
            () if self.is_reaped() => Events::READABLE | Events::HUP,
            () if self.process.is_zombie() => Events::READABLE,
            () => Events::empty(),
        }
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.process.ended)
    }
    fn kind(&self) -> Option<&'static str> {
        Some("[pidfd]")
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn fdinfo(&self, _: &OpenFile) -> String {
        let pid = if self.is_reaped() { -1 } else { self.process.pid.0 };
        format!("Pid:\t{pid}\nNSpid:\t{pid}\n")
    }
}
