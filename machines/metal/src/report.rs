//! What the machine itself says on the console: the conformance suite's results, and why it stopped.

use alloc::sync::Arc;
use core::fmt::Write;
use core::panic::PanicInfo;

use aurora_machine::{Machine, conformance};

use crate::machine::Metal;
use crate::power;
use crate::serial::Emergency;

/// Runs the conformance suite (command line `conformance`), one line a case, and turns the machine off.
pub(crate) fn conformance(machine: Arc<Metal>) -> ! {
    let machine: Arc<dyn Machine> = machine;
    let (mut passed, mut failed) = (0, 0);
    conformance::run(&machine, &mut |case, result| {
        let line = match result {
            Ok(()) => {
                passed += 1;
                writeln!(Emergency, "ok {case}")
            }
            Err(why) => {
                failed += 1;
                writeln!(Emergency, "FAIL {case}: {why}")
            }
        };
        line.unwrap_or(());
    });
    writeln!(Emergency, "conformance: {passed} passed, {failed} failed").unwrap_or(());
    power::off()
}

/// The kernel refused to start.
pub(crate) fn cannot_start(why: &str) -> ! {
    writeln!(Emergency, "Aurora cannot start: {why}").unwrap_or(());
    power::fail()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    writeln!(Emergency, "\nAurora stopped: {}", info.message()).unwrap_or(());
    if let Some(place) = info.location() {
        writeln!(Emergency, "  at {place}").unwrap_or(());
    }
    power::fail()
}
