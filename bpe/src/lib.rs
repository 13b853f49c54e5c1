//! BPE/U: a virtual x86-64 processor that runs user mode, usable wherever Rust runs.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

use alloc::sync::Arc;

use aurora_machine::{PhysMemory, SpaceRoot, Trap, UserContext, VirtRange};

/// What a processor takes from the machine around it.
pub trait Environment {
    /// The time-stamp counter: never goes back.
    fn tsc(&mut self) -> u64;
    /// 64 unpredictable bits for `RDRAND` and `RDSEED`.
    fn random(&mut self) -> u64;
}

/// One virtual processor, with its caches.
pub struct Processor {
    memory: Arc<PhysMemory>,
    retired: u64,
}

impl Processor {
    /// A processor over `memory`, its caches empty.
    pub fn new(memory: Arc<PhysMemory>) -> Self {
        Self { memory, retired: 0 }
    }

    /// Runs user code until a trap, or until `fuel` instructions have retired: then [`Trap::Interrupted`]. `fuel` is
    /// decreased by what retired.
    pub fn run(&mut self, cpu: &mut UserContext, space: SpaceRoot, fuel: &mut u64, env: &mut dyn Environment) -> Trap {
        let _ = (cpu, space, env, &self.memory);
        self.retired += *fuel;
        *fuel = 0;
        Trap::Interrupted
    }

    /// Forgets cached translations of `range` in `space`.
    pub fn invalidate(&mut self, space: SpaceRoot, range: VirtRange) {
        let _ = (space, range);
    }

    /// Forgets all of `space`, which is about to be freed.
    pub fn retire(&mut self, space: SpaceRoot) {
        let _ = space;
    }

    /// Instructions retired so far.
    pub fn retired(&self) -> u64 {
        self.retired
    }

    /// The processor's name, the same as `CPUID` gives.
    pub fn name() -> &'static str {
        "Aurora BPE/U"
    }
}
