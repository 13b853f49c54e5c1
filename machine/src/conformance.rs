//! The suite every machine passes: what a kernel may rely on when it runs user code.
//!
//! Portable, and needs nothing but the contract: it builds page tables and runs small programs whose bytes stand here
//! with their assembly beside them. A case's name is a sentence about behaviour; a failure says what was seen instead.

use alloc::string::String;
use alloc::sync::Arc;

use crate::Machine;

macro_rules! check {
    ($condition:expr, $($why:tt)*) => {
        if !$condition {
            return Err(alloc::format!($($why)*));
        }
    };
}

mod code;
mod faults;
mod harness;
mod memory;
mod services;
mod state;
mod time;
mod traps;

type Outcome = Result<(), String>;
type Case = (&'static str, fn(&Arc<dyn Machine>) -> Outcome);

const SUITES: [&[Case]; 7] =
    [traps::CASES, faults::CASES, memory::CASES, code::CASES, state::CASES, time::CASES, services::CASES];

/// Whether the processor is QEMU's own (TCG), which departs from the manual: no #UD for a LOCK that may not stand there,
/// no #SS for a non-canonical stack, no unmasked SSE exceptions, and another error code for gates a program may not use.
/// Measured with QEMU 7.2; every other processor is held to the manual.
fn is_qemu(machine: &Arc<dyn Machine>) -> bool {
    machine.processor_name().contains("QEMU")
}

/// Runs every case on `machine` and tells `report` how each went, in order.
pub fn run(machine: &Arc<dyn Machine>, report: &mut dyn FnMut(&str, Result<(), String>)) {
    for (name, case) in SUITES.into_iter().flatten() {
        let frames = machine.memory().free_frames();
        let outcome = case(machine).and_then(|()| {
            let left = machine.memory().free_frames();
            check!(left == frames, "{frames} frames were free before, {left} are after");
            Ok(())
        });
        report(name, outcome);
    }
}
