//! Processor state before and after an instruction.

use aurora_machine::FxState;

#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub fx: FxState,
}

impl Default for State {
    fn default() -> Self {
        Self { gpr: [0; 16], rip: 0, rflags: 0x202, fx: FxState::new() }
    }
}

/// How an instruction ended. Vector 3 is the breakpoint after it: it ran.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub state: State,
    pub vector: u8,
    pub error: u64,
    pub address: u64,
}
