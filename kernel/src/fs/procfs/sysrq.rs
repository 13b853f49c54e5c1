//! `/proc/sysrq-trigger`: orders to the kernel itself, as Linux's admin-guide/sysrq.rst has them. The one file through
//! which the superuser can make the kernel panic, which is what it is for.

use alloc::sync::Arc;

use aurora_abi::Errno;

use crate::memory::{IoBuf, IoError};
use crate::security::{Kind, Rights};
use crate::vfs::{FileOps, OpenFile};
use crate::{Kernel, Next, klog};

/// An open `/proc/sysrq-trigger`.
pub(super) struct SysRq {
    pub(super) kernel: Arc<Kernel>,
}

impl SysRq {
    /// Whoever writes needs the right to turn the machine off, whoever opened the file.
    fn check(&self) -> Result<(), Errno> {
        let writer = self.kernel.current().and_then(|(pid, _)| self.kernel.processes.process(pid));
        writer.map_or(Ok(()), |process| process.capabilities.check(Kind::Power, Rights::WRITE))
    }
}

impl FileOps for SysRq {
    fn write_at(&self, _: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        self.check()?;
        let start = input.done();
        let mut order = [0];
        if input.take(&mut order) == 0 {
            return input.stopped(start);
        }
        match &order {
            b"c" => crash(),
            b"b" => self.kernel.stop(Next::Restart),
            b"o" => self.kernel.stop(Next::PowerOff),
            _ => klog!(self.kernel, "sysrq: HELP : crash(c) reboot(b) poweroff(o)"),
        }
        // Only the first byte of a write counts.
        let mut rest = [0; 64];
        while input.take(&mut rest) > 0 {}
        Ok(input.done() - start)
    }
}

#[expect(clippy::panic, reason = "it was asked for")]
fn crash() {
    panic!("sysrq triggered crash");
}
