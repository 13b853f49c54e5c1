//! What is known from block to block, and where registers are on the way.
//!
//! What always holds: outside regions ([`Flow`](super::flow::Flow)) a register's value is in the processor's state after each
//! instruction that wrote it, and in its local, too, if it is among those held. So nothing has to be loaded before it is
//! read, nothing is stored at calls and exits, and where ways meet a register may be forgotten. Flags are different: they
//! are in locals everywhere, as registers are in regions.

use alloc::vec;
use alloc::vec::Vec;

use super::clean::Clean;
use super::code::{Block, FLAGS, Set};
use super::emit::Emitter;
use super::function::Shape;
use super::lazy::Kind;

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

/// For each instruction of a block the registers it must store if they are kept in memory: all but those that are written
/// again before anything can look.
pub(super) fn stores(block: &Block) -> Vec<Set> {
    let mut seen = Set::MAX;
    let mut all = vec![seen; block.insns.len()];
    for (i, insn) in block.insns.iter().enumerate().rev() {
        all[i] = seen;
        let looks = insn.may_exit || insn.reads & FLAGS != 0 || insn.writes & !insn.kills & FLAGS != 0;
        seen = if looks { Set::MAX } else { seen & !insn.writes };
    }
    all
}
