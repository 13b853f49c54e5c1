//! What is known from block to block, and where registers are on the way.
//!
//! What always holds: outside regions ([`Flow`](super::flow::Flow)) a register's value is in the processor's state after the
//! last instruction of a block that wrote it, and in its local, too, if it is among those held. So nothing has to be loaded
//! before it is read, nothing is stored at calls, and where ways meet a register may be forgotten. Between two instructions
//! of a block that write a register it is late: what leaves there, which hardly ever happens, stores it. Flags are
//! different: they are in locals everywhere, as registers are in regions.

use alloc::vec;
use alloc::vec::Vec;

use iced_x86::FlowControl;

use super::clean::Clean;
use super::code::{Block, End, FLAGS, Set};
use super::emit::Emitter;
use super::function::Shape;
use super::lazy::Kind;
use super::stack::RSP;

/// What is known where control flow meets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    kind: Option<Kind>,
    clean: Clean,
    /// Registers in locals.
    held: Set,
}

impl Known {
    pub(super) const NOTHING: Self = Self { kind: None, clean: Clean::NOTHING, held: 0 };

    /// Nothing but that.
    pub(super) fn of_numbers(clean: Clean) -> Self {
        Self { clean, ..Self::NOTHING }
    }

    fn meet(&mut self, other: &Self) {
        if self.kind != other.kind {
            self.kind = None;
        }
        self.held &= other.held;
        self.clean = self.clean.meet(other.clean);
    }
}

impl Emitter<'_> {
    /// What is known here.
    pub(super) fn known(&self) -> Known {
        Known { kind: self.kind, clean: self.clean, held: self.held }
    }

    pub(super) fn set_known(&mut self, known: Known) {
        (self.kind, self.clean, self.held) = (known.kind, known.clean, known.held);
    }

    /// Has registers where the next block expects them: regions keep them in locals, the other blocks in memory.
    pub(super) fn cross(&mut self, from: usize, to: usize) {
        if from == self.graph.root() {
            return;
        }
        let (same, kept) = (self.flow.is_same_region(from, to), self.flow.is_in_region(from));
        if same {
            return;
        }
        if kept {
            self.store_registers(self.flow.spill[from] & !FLAGS);
            self.held = self.flow.held_after(from);
        }
        if self.flow.is_in_region(to) {
            self.hold(self.flow.live_in[to]);
        }
    }

    /// Notes what is known on a way to a node.
    pub(super) fn meet(&self, shape: &mut Shape, to: usize) {
        let here = self.known();
        shape.known[to].get_or_insert(here).meet(&here);
    }
}

/// What of registers an instruction stores if they are kept in memory, and what is late when it begins.
#[derive(Clone, Copy, Default)]
pub(super) struct Stores {
    /// The registers to store after it, among those it writes: all but what is written again before the block ends.
    pub(super) after: Set,
    /// The registers that were not: whoever leaves stores them.
    pub(super) late: Set,
}

/// The same for each of a block's.
pub(super) fn stores(block: &Block) -> Vec<Stores> {
    let mut all = vec![Stores::default(); block.insns.len()];
    let mut wanted = Set::MAX;
    for (i, insn) in block.insns.iter().enumerate().rev() {
        all[i].after = wanted;
        let ends = insn.insn.flow_control() != FlowControl::Next;
        let looks = insn.calls_out || insn.reads & FLAGS != 0 || insn.writes & !insn.kills & FLAGS != 0;
        // Calls and returns are sure to write RSP, and store it.
        let written = match block.end {
            End::Call { .. } | End::Enter { .. } | End::Return | End::Back { .. } if ends => RSP,
            _ if ends => 0,
            _ => insn.writes,
        };
        wanted = if looks { Set::MAX } else { wanted & !written };
    }
    let mut late = 0;
    for (insn, stores) in block.insns.iter().zip(&mut all) {
        stores.late = late & !FLAGS;
        late = late & !insn.writes | insn.writes & !stores.after;
    }
    all
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use iced_x86::{Decoder, DecoderOptions};

    use super::super::code::Insn;
    use super::*;

    const RAX: Set = 1;

    fn insn(bytes: &[u8], reads: Set, writes: Set) -> Insn {
        let insn = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
        Insn { insn, reads, kills: 0, writes, may_exit: true, calls_out: false }
    }

    fn block(middle: Insn) -> Block {
        let push = || insn(&[0x50], RSP | RAX, RSP);
        let insns = vec![push(), middle, push(), insn(&[0xc3], RSP, RSP)];
        Block { at: 0, insns, end: End::Return, of_callee: false }
    }

    #[test]
    fn a_register_is_stored_by_the_last_that_writes_it_and_late_before() {
        let mov = insn(&[0x48, 0x8b, 0x00], RAX, RAX);
        let all = stores(&block(mov));
        assert_eq!(all.iter().map(|s| s.after & RSP != 0).collect::<Vec<_>>(), [false, false, false, true]);
        assert_eq!(all.iter().map(|s| s.late).collect::<Vec<_>>(), [0, RSP, RSP, RSP]);
        assert_ne!(all[1].after & RAX, 0);
    }

    #[test]
    fn what_looks_at_all_registers_finds_them_stored() {
        let mut other = insn(&[0x0f, 0xa2], RAX, RAX);
        other.calls_out = true;
        let all = stores(&block(other));
        assert_ne!(all[0].after & RSP, 0);
        assert_eq!(all[1].late, 0);
    }
}
