//! Giving the kernel its turns.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use aurora_kernel::{BootError, Kernel, Next};
use aurora_machine::{BootInfo, Machine, Port, conformance};

use crate::{Host, VirtualMachine};

/// A machine with the system that runs on it.
pub struct Driver<H> {
    machine: Arc<VirtualMachine<H>>,
    /// None on a machine that only told of its conformance.
    kernel: Option<Arc<Kernel>>,
}

impl<H: Host> Driver<H> {
    /// Turns the machine on. With the word `conformance` on the command line it starts no system: it runs the suite
    /// every machine has to pass, says how that went on the console, and is off. With `check` translated code is checked; with `stress=SEED` the
    /// processor makes common what is rare ([`aurora_bpe::Processor::stress`]).
    pub fn boot(machine: Arc<VirtualMachine<H>>, info: BootInfo) -> Result<Self, BootError> {
        if info.command_line.split_whitespace().any(|word| word == "conformance") {
            let report = conform(machine.clone());
            machine.port_write(Port::Console, report.as_bytes());
            return Ok(Self { machine, kernel: None });
        }
        if info.command_line.split_whitespace().any(|word| word == "check") {
            machine.check_translations();
        }
        let seed = info.command_line.split_whitespace().find_map(|word| word.strip_prefix("stress="));
        if let Some(seed) = seed.and_then(|seed| seed.parse().ok()) {
            machine.stress(seed);
        }
        let kernel = Some(Kernel::boot(machine.clone(), info)?);
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
        let Some(kernel) = &self.kernel else { return Next::PowerOff };
        machine.clock.enter(machine.host.clock_ns());
        for port in machine.ports.take_news() {
            kernel.port_ready(port);
        }
        let next = kernel.run(machine.now() + budget_ns);
        match next {
            Next::Idle { until } if !machine.ports.has_news() => machine.idle(until),
            _ => machine.clock.leave(machine.host.clock_ns(), 0),
        }
        next
    }

    /// A disk has answers.
    pub fn disks_ready(&self) {
        if let Some(kernel) = &self.kernel {
            kernel.disks_ready();
        }
    }

    /// Has the kernel put everything on the disks and call `done` when it is there.
    pub fn sync_soon(&self, done: impl FnOnce() + Send + 'static) {
        match &self.kernel {
            Some(kernel) => kernel.sync_soon(done),
            None => done(),
        }
    }

    /// Whether something came through a port since the last turn: then the next one is due at once.
    pub fn has_news(&self) -> bool {
        self.machine.ports.has_news()
    }
}

/// Runs the conformance suite; a line a case, and the sum.
fn conform<H: Host>(machine: Arc<VirtualMachine<H>>) -> String {
    let machine: Arc<dyn Machine> = machine;
    let (mut report, mut passed, mut failed) = (String::new(), 0, 0);
    conformance::run(&machine, &mut |case, result| {
        let line = match result {
            Ok(()) => {
                passed += 1;
                format!("ok {case}\n")
            }
            Err(why) => {
                failed += 1;
                format!("FAIL {case}: {why}\n")
            }
        };
        report.push_str(&line);
    });
    report + &format!("conformance: {passed} passed, {failed} failed\n")
}
