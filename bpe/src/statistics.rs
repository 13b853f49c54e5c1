//! How much of a program ran as WebAssembly, and why translated code was left.

use core::fmt;

use crate::jit::{STOP_CODE_WRITE, STOP_FAULT, STOP_FUEL, STOP_INTERPRET, STOP_OP};

/// Counted since the processor was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Instructions that retired.
    pub retired: u64,
    /// Those of them that were translated.
    pub translated: u64,
    /// Modules made.
    pub made: u64,
    /// Modules there are.
    pub modules: usize,
    /// Bytes of these.
    pub bytes: usize,
    /// How often translated code was left because it came to what is not translated.
    pub untranslated: u64,
    /// ... because the fuel was used up.
    pub fuel: u64,
    /// ... to have one instruction interpreted.
    pub interpret: u64,
    /// ... because of a fault.
    pub faults: u64,
    /// ... because it was about to write code.
    pub code_writes: u64,
    /// ... because an instruction that is interpreted in the middle of it wants more.
    pub ops: u64,
}

impl Statistics {
    pub(crate) fn left(&mut self, stop: u32) {
        match stop {
            STOP_FUEL => self.fuel += 1,
            STOP_INTERPRET => self.interpret += 1,
            STOP_FAULT => self.faults += 1,
            STOP_CODE_WRITE => self.code_writes += 1,
            STOP_OP.. => self.ops += 1,
            _ => self.untranslated += 1,
        }
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.translated as f64 / self.retired.max(1) as f64;
        writeln!(f, "{} instructions, {share:.1} % of them translated", self.retired)?;
        let Self { made, modules, bytes, .. } = self;
        writeln!(f, "{made} modules made, {modules} there with {} KiB", bytes / 1024)?;
        let Self { untranslated, fuel, interpret, faults, code_writes, ops, .. } = self;
        write!(
            f,
            "translated code was left {untranslated} times for what is not translated, {fuel} for its time, {interpret} for \
             an instruction, {faults} for a fault, {code_writes} for a write to code, {ops} for an op"
        )
    }
}
