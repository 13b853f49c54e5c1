//! A switch for looking for mistakes in how the processor keeps code: what is rare in life is made common.
//!
//! Programs are interrupted after a few instructions, become hot after a few executions or many, and what was decoded or
//! translated is dropped at any time. All of that may happen by itself, so nothing a program can see may change by it.

use crate::blocks::PATIENCE;

/// What is to happen next.
pub(crate) struct Stress {
    state: u64,
}

/// What is dropped before a run.
pub(crate) enum Drop {
    Nothing,
    /// Everything decoded.
    Blocks,
    /// Some cluster of translations: the one at this place, counted round and round.
    Cluster(usize),
    /// Everything the TLB has.
    Pages,
}

impl Stress {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(2).wrapping_add(1) }
    }

    /// A number below `n`, by Marsaglia's xorshift.
    fn below(&mut self, n: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % n
    }

    /// A number of bits at random, and those at random: small numbers are as likely as large ones.
    fn up_to_bits(&mut self, bits: u64) -> u64 {
        let bits = self.below(bits + 1);
        self.below(1 << bits)
    }

    /// Instructions until the next interruption.
    pub(crate) fn fuel(&mut self) -> u64 {
        1 + self.up_to_bits(14)
    }

    /// How often a block runs before it counts as hot.
    pub(crate) fn patience(&mut self) -> u32 {
        (self.up_to_bits(9) as u32).min(PATIENCE)
    }

    pub(crate) fn drop(&mut self) -> Drop {
        match self.below(200) {
            0 => Drop::Blocks,
            1..4 => Drop::Pages,
            4..10 => Drop::Cluster(self.below(1 << 16) as usize),
            _ => Drop::Nothing,
        }
    }
}
