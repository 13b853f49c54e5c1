//! Where registers are kept in locals from block to block, and which hold a value worth having there: the analyses that say
//! what to load at the entries of such regions and what to store at their exits. Regions are loops. Elsewhere most of what
//! is loaded on entering a function, and carried past its calls to be stored at exits, nobody would read: there registers
//! live in memory ([`super::held`]).
//!
//! What always holds: at any instruction of a region's block, the locals of the registers in its `spill` set have the
//! registers' values, and all others that differ from memory are in it. So one exit per block serves all its instructions,
//! but for the flags: until a block sets them they need not be in locals, since nobody would store them.

use alloc::vec;
use alloc::vec::Vec;

use super::code::{Block, End, FLAGS, Insn, Set};
use super::graph::{Graph, NONE};

/// What is known of each block.
pub(crate) struct Flow {
    /// Registers whose values the block, or what follows, needs in locals. Outside regions this and
    /// the next three say nothing of any but the flags.
    pub(crate) live_in: Vec<Set>,
    /// The same after the block.
    pub(crate) live_out: Vec<Set>,
    /// Registers to store when leaving from the end of the block; from inside it [`Self::spill_at`].
    pub(crate) spill: Vec<Set>,
    /// The first instruction of each block before which the flags may differ from memory.
    flags_from: Vec<usize>,
    /// Registers that may differ from memory when the block begins.
    pub(crate) dirty_in: Vec<Set>,
    /// The region each block is in: the header of its outermost loop, or [`NONE`].
    regions: Vec<usize>,
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
    /// Works it out for `blocks`, whose edges are those of `graph`.
    pub(crate) fn new(blocks: &[Block], graph: &Graph, cut: &[(usize, usize)]) -> Self {
        let n = blocks.len();
        // Around calls flags are in memory.
        let fresh = |b: usize| matches!(blocks[b].end, End::Call { .. } | End::Rest { .. });
        let regions = regions(blocks, graph);
        let own = |b: &Block| b.insns.iter().filter(|i| !i.calls_out).fold(0, |all, i| all | i.writes);
        let writes: Vec<Set> = blocks.iter().enumerate().map(|(b, block)| own(block) & tracked(&regions, b)).collect();
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
                    let out = out & passed(&regions, b, s);
                    if dirty_in[s] | out != dirty_in[s] {
                        dirty_in[s] |= out;
                        changed = true;
                    }
                }
            }
        }
        let spill: Vec<Set> = (0..n).map(|b| dirty_in[b] | writes[b]).collect();
        let flags_from = (0..n).map(|b| if dirty_in[b] & FLAGS != 0 { 0 } else { first_flags(&blocks[b]) }).collect();
        // Any block may be one where fuel is looked at.
        let flags_in = flags_in(blocks, &sequence, &successors);
        let (live_in, live_out) = (vec![0; n], vec![0; n]);
        let mut flow = Self { live_in, live_out, spill, flags_from, dirty_in, regions, flags_in, successors };
        let mut changed = true;
        while changed {
            changed = false;
            for &b in sequence.iter().rev() {
                let needs = |all, &s: &usize| all | flow.live_in[s] & passed(&flow.regions, b, s);
                let out = if fresh(b) { 0 } else { flow.successors[b].iter().fold(0, needs) };
                flow.live_out[b] = out;
                let live = flow.before(b, &blocks[b]) & tracked(&flow.regions, b);
                if live != flow.live_in[b] {
                    flow.live_in[b] = live;
                    changed = true;
                }
            }
        }
        flow
    }

    /// Registers to store when the block's instruction of that number stops with nothing done.
    pub(crate) fn spill_at(&self, b: usize, index: usize) -> Set {
        if index < self.flags_from[b] { self.spill[b] & !FLAGS } else { self.spill[b] }
    }

    /// Whether registers are kept in locals in this block, and from block to block.
    pub(crate) fn is_in_region(&self, b: usize) -> bool {
        self.regions[b] != NONE
    }

    /// Whether registers stay where they are on the way from one block to another.
    pub(crate) fn is_same_region(&self, from: usize, to: usize) -> bool {
        self.regions[from] == self.regions[to]
    }

    /// Registers that are in locals when the block of a region ends.
    pub(crate) fn held_after(&self, b: usize) -> Set {
        (self.live_in[b] | self.spill[b]) & !FLAGS
    }

    /// Every block can be left at its end, or polls.
    fn before(&self, b: usize, block: &Block) -> Set {
        let mut live = self.live_out[b] | self.spill[b];
        for (i, insn) in block.insns.iter().enumerate().rev() {
            live = live & !insn.kills | insn.reads;
            if insn.may_exit {
                live |= self.spill_at(b, i);
            }
        }
        live | self.dirty_in[b]
    }
}

/// What of registers is followed through a block: outside regions only flags.
fn tracked(regions: &[usize], b: usize) -> Set {
    if regions[b] == NONE { FLAGS } else { Set::MAX }
}

/// The same from a block to its successor.
fn passed(regions: &[usize], from: usize, to: usize) -> Set {
    if regions[from] == regions[to] { tracked(regions, from) } else { FLAGS }
}

/// The number of the instruction after the first that sets flags.
fn first_flags(block: &Block) -> usize {
    let sets = |insn: &Insn| !insn.calls_out && insn.writes & FLAGS != 0;
    block.insns.iter().position(sets).map_or(usize::MAX, |i| i + 1)
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

/// Most instructions of loops within loops that keep registers in locals.
const MOST_NESTED: usize = 150;

/// For each block the header of the outermost loop around it in which registers are best kept in locals, or [`NONE`]: one
/// without calls and indirect jumps, and small unless nothing loops inside.
fn regions(blocks: &[Block], graph: &Graph) -> Vec<usize> {
    let n = blocks.len();
    let mut members = vec![Vec::new(); n];
    let mut innermost = vec![true; n];
    for &b in graph.sequence.iter().filter(|&&b| b < n) {
        let around = graph.loops_of(b);
        for (i, &head) in around.iter().enumerate().filter(|h| *h.1 < n) {
            members[head].push(b);
            innermost[head] &= i + 1 == around.len();
        }
    }
    let mut from_hub = vec![false; n];
    for block in blocks {
        if let End::Hub(targets) = &block.end {
            targets.iter().for_each(|t| from_hub[t.1] = true);
        }
    }
    let plain = |b: usize| {
        let end = &blocks[b].end;
        let ends = matches!(
            end,
            End::Jump(_) | End::Branch { .. } | End::Enter { likely: None, .. } | End::Back { .. } | End::Leave(_)
        );
        ends && !from_hub[b]
    };
    let mut regions = vec![NONE; n];
    for &head in graph.sequence.iter().filter(|&&b| b < n) {
        let size: usize = members[head].iter().map(|&b| blocks[b].insns.len()).sum();
        let fits = innermost[head] || size <= MOST_NESTED;
        if regions[head] == NONE && fits && members[head].iter().all(|&b| plain(b)) {
            members[head].iter().for_each(|&b| regions[b] = head);
        }
    }
    regions
}
