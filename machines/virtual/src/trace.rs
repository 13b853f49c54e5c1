//! A hash over everything programs did: equal hashes mean two runs were the same run.

use aurora_machine::{Instant, Trap, UserContext};

/// FNV-1a over 64-bit words: the point is to notice a difference, not to withstand an adversary.
pub(crate) struct TraceHash(u64);

impl Default for TraceHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl TraceHash {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// Adds one trap: its kind, the registers, the time.
    pub(crate) fn trap(&mut self, trap: Trap, cpu: &UserContext, now: Instant) {
        let (kind, detail) = match trap {
            Trap::Syscall => (1, 0),
            Trap::Int80 => (2, 0),
            Trap::PageFault(fault) => (3, fault.addr.0 ^ fault.error_code()),
            Trap::Exception(exception) => (4, u64::from(exception.vector())),
            Trap::Interrupted => (5, 0),
        };
        for word in [kind, detail, cpu.rip, cpu.rflags, now.0].into_iter().chain(cpu.gpr) {
            self.word(word);
        }
    }

    /// The hash so far.
    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}
