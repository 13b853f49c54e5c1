//! A port as a blocking byte stream.

use std::io::{self, Read, Write};
use std::sync::Arc;

use aurora_machine::Port;
use aurora_virtual::VirtualMachine;

use crate::host::ProcessHost;

/// One port's two directions. Reading waits for bytes and ends when the machine is off; writing waits for room and fails
/// with `BrokenPipe` when it is off.
#[derive(Clone)]
pub struct PortStream {
    machine: Arc<VirtualMachine<ProcessHost>>,
    port: Port,
}

impl PortStream {
    pub(crate) fn new(machine: Arc<VirtualMachine<ProcessHost>>, port: Port) -> Self {
        Self { machine, port }
    }
}

impl Read for PortStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let host = self.machine.host();
        let taken = host.wait_for(|| match self.machine.pull(self.port, buffer) {
            0 => None,
            n => Some(n),
        });
        // What was taken is room the kernel may be waiting for.
        host.wake_machine();
        Ok(taken.unwrap_or(0))
    }
}

impl Write for PortStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let host = self.machine.host();
        if host.is_off() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let given = host.wait_for(|| match self.machine.push(self.port, bytes) {
            0 => None,
            n => Some(n),
        });
        host.wake_machine();
        given.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
