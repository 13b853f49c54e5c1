//! Which registers hold a value worth having where: the two analyses that say what to load at entries and what to store
//! at exits.
//!
//! What always holds: at any instruction of a block, the locals of the registers in its `spill` set have the registers'
//! values, and all others that differ from memory are in it. So one exit per block serves all its instructions.

use alloc::vec;
use alloc::vec::Vec;

use super::code::{Block, End, FLAGS, Insn, Set};
use super::graph::Graph;

/// What is known of each block.
pub(crate) struct Flow {
    /// Registers whose values the block, or what follows, needs in locals.
    pub(crate) live_in: Vec<Set>,
    /// The same after the block.
    pub(crate) live_out: Vec<Set>,
    /// Registers to store when leaving from inside the block.
    pub(crate) spill: Vec<Set>,
    /// Registers that may differ from memory when the block begins.
    pub(crate) dirty_in: Vec<Set>,
    /// What of the flags set before the block begins.
    flags_in: Vec<Seen>,
    successors: Vec<Vec<usize>>,
}

/// What becomes of flags once they are set: whether anything may see them before they are set anew, and which registers
/// change before something does. Outside the function any register may.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) ever: bool,
    pub(crate) changed: Set,
}

impl Seen {
    /// After the last instruction of a block with these successors.
    fn after(block: &Block, successors: &[usize], flags_in: &[Seen]) -> Self {
        let leaves = match &block.end {
            end @ (End::Jump(_) | End::Branch { .. }) => end.leaves_for_a_place(),
            End::Call { .. } | End::Rest { .. } | End::Indirect(_) | End::Likely(_) => true,
            End::Return | End::Back { .. } | End::Leave(_) => true,
            End::Enter { likely, .. } => likely.is_some(),
            End::Hub(_) => false,
        };
        if leaves {
            return Self { ever: true, changed: Set::MAX };
        }
        let mut seen = Self::default();
        for &s in successors {
            seen.ever |= flags_in[s].ever;
            seen.changed |= flags_in[s].changed;
        }
        seen
    }

    /// Before an instruction, given what is so after it.
    fn before(self, insn: &Insn) -> Self {
        let sees = insn.may_exit || insn.reads & FLAGS != 0;
        if insn.kills & FLAGS != 0 {
            return Self { ever: sees, changed: 0 };
        }
        let changed = if self.ever { insn.writes } else { 0 };
        Self { ever: self.ever || sees, changed: self.changed | changed }
    }
}

impl Flow {
    /// Works it out for `blocks`, whose edges are those of `graph`. `fresh` says of an edge whether registers come from
    /// memory on it, as after a call.
    pub(crate) fn new(blocks: &[Block], graph: &Graph, fresh: &dyn Fn(usize) -> bool, cut: &[(usize, usize)]) -> Self {
        let n = blocks.len();
        let writes: Vec<Set> =
            blocks.iter().map(|b| b.insns.iter().filter(|i| !i.calls_out).fold(0, |all, i| all | i.writes)).collect();
        let successors: Vec<Vec<usize>> = (0..n)
            .map(|b| {
                let mut all = blocks[b].successors();
                all.extend(cut.iter().filter(|c| c.0 == b).map(|c| c.1));
                all
            })
            .collect();
        let sequence: Vec<usize> = graph.sequence.iter().copied().filter(|&b| b < n).collect();
        let mut dirty_in = vec![0; n];
        let mut changed = true;
        while changed {
            changed = false;
            for &b in &sequence {
                let out = if fresh(b) { 0 } else { dirty_in[b] | writes[b] };
                for &s in &successors[b] {
                    if dirty_in[s] | out != dirty_in[s] {
                        dirty_in[s] |= out;
                        changed = true;
                    }
                }
            }
        }
        let spill: Vec<Set> = (0..n).map(|b| dirty_in[b] | writes[b]).collect();
        // Any block may be one where fuel is looked at.
        let flags_in = flags_in(blocks, &sequence, &successors);
        let mut flow = Self { live_in: vec![0; n], live_out: vec![0; n], spill, dirty_in, flags_in, successors };
        let mut changed = true;
        while changed {
            changed = false;
            for &b in sequence.iter().rev() {
                let out = if fresh(b) { 0 } else { flow.successors[b].iter().fold(0, |all, &s| all | flow.live_in[s]) };
                flow.live_out[b] = out;
                let live = flow.before(b, &blocks[b]);
                if live != flow.live_in[b] {
                    flow.live_in[b] = live;
                    changed = true;
                }
            }
        }
        flow
    }

    /// Every block can be left at its end, or polls.
    fn before(&self, b: usize, block: &Block) -> Set {
        let mut live = self.live_out[b] | self.spill[b];
        for insn in block.insns.iter().rev() {
            live = live & !insn.kills | insn.reads;
            if insn.may_exit {
                live |= self.spill[b];
            }
        }
        live | self.dirty_in[b]
    }
}

/// What becomes of the flags each block finds.
fn flags_in(blocks: &[Block], sequence: &[usize], successors: &[Vec<usize>]) -> Vec<Seen> {
    let mut all = vec![Seen::default(); blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for &b in sequence.iter().rev() {
            let mut seen = Seen::after(&blocks[b], &successors[b], &all);
            for insn in blocks[b].insns.iter().rev() {
                seen = seen.before(insn);
            }
            seen.ever = true;
            changed |= seen != all[b];
            all[b] = seen;
        }
    }
    all
}

impl Flow {
    /// For each instruction of a block what becomes of the flags after it.
    pub(crate) fn flags_after(&self, b: usize, block: &Block) -> Vec<Seen> {
        let mut seen = Seen::after(block, &self.successors[b], &self.flags_in);
        let mut all = vec![seen; block.insns.len()];
        for (i, insn) in block.insns.iter().enumerate().rev() {
            all[i] = seen;
            seen = seen.before(insn);
        }
        all
    }
}
