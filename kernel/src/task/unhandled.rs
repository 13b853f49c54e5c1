//! What the log says of a program that an exception ends, in the words Linux's log has for it.

use alloc::format;
use alloc::string::String;

use aurora_machine::{Reg, UserContext, VirtAddr};

use crate::memory::AddressSpace;
use crate::memory::area::Backing;
use crate::sync::Mutex;
use crate::task::signal::DEFAULT;
use crate::task::{SigInfo, Signal, Thread};

/// At most so many lines in [`INTERVAL`], or a loop of dying programs would push everything else out of the log.
const BURST: u32 = 10;
/// In nanoseconds.
const INTERVAL: u64 = 5_000_000_000;

/// Keeps count.
#[derive(Default)]
pub struct RateLimit {
    /// Since when, and how many lines.
    window: Mutex<(u64, u32)>,
}

impl RateLimit {
    fn allows(&self, now: u64) -> bool {
        let mut window = self.window.lock();
        if now >= window.0.saturating_add(INTERVAL) {
            *window = (now, 0);
        }
        window.1 += 1;
        window.1 <= BURST
    }
}

/// Says in the log that this signal, which an exception raised, is about to end the program, if it is.
pub fn note(thread: &Thread, cpu: &UserContext, info: &SigInfo) {
    let is_handled = thread.process.actions.lock().get(info.signal).handler != DEFAULT;
    let kernel = thread.kernel();
    if is_handled || !kernel.unhandled.allows(kernel.machine.now().0) {
        return;
    }
    let [address, trap, error] = info.fields;
    let what = match info.signal {
        Signal::SIGSEGV | Signal::SIGBUS if trap == 14 => format!("segfault at {address:x}"),
        _ => format!("trap {}", name(trap)),
    };
    let name = thread.name();
    let place = thread.space().map(|space| place(&space, VirtAddr(cpu.rip))).unwrap_or_default();
    crate::klog!(
        kernel,
        "{}[{}]: {what} ip {:x} sp {:x} error {error:x}{place}",
        String::from_utf8_lossy(&name),
        thread.tid().0,
        cpu.rip,
        cpu.reg(Reg::Rsp),
    );
}

/// Linux's names of the exceptions that raise signals.
fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 | 3 => "int3",
        6 => "invalid opcode",
        12 => "stack segment",
        13 => "general protection",
        16 => "x87 FPU exception",
        17 => "alignment check",
        19 => "SIMD exception",
        _ => "exception",
    }
}

/// The file that is mapped at an address, and where: ` in ls[401000+5000]`.
fn place(space: &AddressSpace, at: VirtAddr) -> String {
    let mut place = String::new();
    space.for_each_area(|area| {
        if let Backing::Cache { file: Some(file), .. } = &area.backing
            && area.range.contains(at)
        {
            let path = file.path.as_ref().map(|path| path.dentry.name()).unwrap_or_default();
            let name = String::from_utf8_lossy(&path);
            place = format!(" in {name}[{:x}+{:x}]", area.range.start.0, area.range.len());
        }
    });
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_one_more_in_each_interval() {
        let limit = RateLimit::default();
        let allowed = (0..100).filter(|_| limit.allows(1)).count();
        assert_eq!(allowed, BURST as usize);
        assert!(limit.allows(1 + INTERVAL));
    }
}
