//! Which registers change between a block and the one that dominates it.

use alloc::vec;
use alloc::vec::Vec;

use super::code::{Block, End, Function, Set, Target};
use super::graph::{Graph, NONE};

/// All general-purpose registers.
pub(super) const ALL: Set = 0xffff;

/// Which registers change on the way to a block.
pub(super) struct Changes<'a> {
    function: &'a Function,
    graph: &'a Graph,
    predecessors: Vec<Vec<usize>>,
    /// What each block changes: all, where nothing is known at its start.
    by: Vec<Set>,
    is_entry: Vec<bool>,
    /// The node each was last seen on the way to.
    seen: Vec<usize>,
}

impl<'a> Changes<'a> {
    pub(super) fn new(function: &'a Function, graph: &'a Graph, entries: &[usize]) -> Self {
        let nodes = graph.successors.len();
        let mut is_entry = vec![false; nodes];
        entries.iter().for_each(|&entry| is_entry[entry] = true);
        let written = |block: &Block| block.insns.iter().fold(0, |all, insn| all | insn.writes & ALL);
        let by = function.blocks.iter().zip(&is_entry).map(|(block, entry)| if *entry { ALL } else { written(block) });
        let by = by.chain([ALL]).collect();
        Self { function, graph, predecessors: graph.predecessors(), by, is_entry, seen: vec![NONE; nodes] }
    }

    /// Registers that change on some way from the end of its dominator to a block.
    pub(super) fn since_dominator(&mut self, node: usize) -> Set {
        let dominator = self.graph.dominator[node];
        if self.is_entry[node] || dominator == self.graph.root() {
            return ALL;
        }
        let mut all = 0;
        let mut work = vec![node];
        while let Some(to) = work.pop() {
            for &from in &self.predecessors[to] {
                all |= self.on_edge(from, to);
                if from != dominator && self.seen[from] != node {
                    self.seen[from] = node;
                    all |= self.by[from];
                    work.push(from);
                }
                if all == ALL {
                    return ALL;
                }
            }
        }
        all
    }

    /// What changes between two blocks: everything, where that is a call.
    fn on_edge(&self, from: usize, to: usize) -> Set {
        match self.function.blocks.get(from).map(|block| &block.end) {
            Some(End::Call { back: Target::Block(back), .. }) if *back == to => ALL,
            Some(End::Enter { likely: Some((_, back)), .. } | End::Rest { back, .. }) if *back == to => ALL,
            _ => 0,
        }
    }
}
