//! Processor state before and after an instruction.

use aurora_machine::{ExtendedState, FxState};

#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub fx: FxState,
    /// The upper halves of YMM0 to YMM15.
    pub ymm_high: [u128; 16],
}

impl Default for State {
    fn default() -> Self {
        Self { gpr: [0; 16], rip: 0, rflags: 0x202, fx: FxState::new(), ymm_high: [0; 16] }
    }
}

#[allow(dead_code, reason = "not every test needs all of them")]
impl State {
    /// The upper halves as a context has them: all zero is their initial state.
    pub fn extended(&self) -> ExtendedState {
        let mut extended = ExtendedState::new();
        if self.ymm_high != [0; 16] {
            (extended.header[0], extended.ymm_high) = (ExtendedState::AVX, self.ymm_high);
        }
        extended
    }

    /// Takes the upper halves of a context.
    pub fn set_extended(&mut self, extended: &ExtendedState) {
        let present = extended.header[0] & ExtendedState::AVX != 0;
        self.ymm_high = if present { extended.ymm_high } else { [0; 16] };
    }

    /// A YMM register.
    pub fn ymm(&self, number: usize) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.fx.xmm[number].to_le_bytes());
        bytes[16..].copy_from_slice(&self.ymm_high[number].to_le_bytes());
        bytes
    }

    pub fn set_ymm(&mut self, number: usize, bytes: &[u8; 32]) {
        let half = |at: usize| u128::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        (self.fx.xmm[number], self.ymm_high[number]) = (half(0), half(16));
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
