//! Aurora's kernel: Linux's x86-64 system calls over whatever can run user code until it traps.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

use alloc::string::String;
use alloc::sync::Arc;
use aurora_machine::{BootInfo, Instant, Machine, Port};

/// A running system. A machine makes one and drives it.
pub struct Kernel {
    machine: Arc<dyn Machine>,
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

/// Why a system could not start.
#[derive(Debug)]
pub struct BootError(
    /// For a person to read.
    pub String,
);

impl Kernel {
    /// Starts a system: unpacks the initial archive, mounts what the kernel provides, starts init if the command line
    /// names one (`init=/sbin/init`), and the host link if it says `link`.
    pub fn boot(machine: Arc<dyn Machine>, info: BootInfo) -> Result<Arc<Self>, BootError> {
        let _ = info;
        Ok(Arc::new(Self { machine }))
    }

    /// Runs threads until none can run or `until` has passed.
    pub fn run(&self, until: Instant) -> Next {
        let _ = (until, &self.machine);
        Next::PowerOff
    }

    /// Bytes arrived at `port`, or there is room to send again. May be called from wherever the machine notices, but not
    /// from inside an interrupt handler.
    pub fn port_ready(&self, port: Port) {
        let _ = port;
    }
}
