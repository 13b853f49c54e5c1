//! Giving the kernel its turns.

use alloc::sync::Arc;

use aurora_kernel::{BootError, Kernel, Next};
use aurora_machine::{BootInfo, Machine};

use crate::{Host, VirtualMachine};

/// A machine with the system that runs on it.
pub struct Driver<H> {
    machine: Arc<VirtualMachine<H>>,
    kernel: Arc<Kernel>,
}

impl<H: Host> Driver<H> {
    /// Turns the machine on.
    pub fn boot(machine: Arc<VirtualMachine<H>>, info: BootInfo) -> Result<Self, BootError> {
        let kernel = Kernel::boot(machine.clone(), info)?;
        Ok(Self { machine, kernel })
    }

    /// The machine.
    pub fn machine(&self) -> &Arc<VirtualMachine<H>> {
        &self.machine
    }

    /// Tells the kernel what came through the ports and lets it run, for about `budget_ns`.
    ///
    /// After [`Next::Idle`] under virtual time the clock already stands at `until`.
    pub fn turn(&self, budget_ns: u64) -> Next {
        let machine = &*self.machine;
        machine.clock.enter(machine.host.clock_ns());
        for port in machine.ports.take_news() {
            self.kernel.port_ready(port);
        }
        let next = self.kernel.run(machine.now() + budget_ns);
        match next {
            Next::Idle { until } if !machine.ports.has_news() => machine.idle(until),
            _ => machine.clock.leave(machine.host.clock_ns(), 0),
        }
        next
    }

    /// Whether something came through a port since the last turn: then the next one is due at once.
    pub fn has_news(&self) -> bool {
        self.machine.ports.has_news()
    }
}
