//! SSE in WebAssembly.

use iced_x86::Instruction;

use super::emit::Emitter;

/// Whether there is a translation.
pub(super) fn is_translated(_: &Instruction) -> bool {
    false
}

/// Whether it may stop for another reason than memory.
pub(super) fn may_exit(_: &Instruction) -> bool {
    false
}

/// Whether what it writes of a vector register is all of it.
pub(super) fn writes_whole(_: &Instruction) -> bool {
    false
}

/// Whether it sets all status flags.
pub(super) fn sets_flags(_: &Instruction) -> bool {
    false
}

impl Emitter<'_> {
    pub(super) fn vector(&mut self, _: &Instruction) {}
}
