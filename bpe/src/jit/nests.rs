//! Loops that begin at the same block, one within the other.
//!
//! A function that became hot in an inner loop is written from there, and then the loops around it begin there too: to the
//! graph they are one loop, and what any of them changes is carried around the innermost. A block with nothing in it, to
//! which the outer ones go back instead, makes them two.

use alloc::vec;
use alloc::vec::Vec;

use super::code::{Block, End, Function, Target};
use super::graph::{Graph, NONE};

/// Gives the outer of such loops a header of their own.
pub(crate) fn separate(function: &mut Function) {
    let mut successors: Vec<Vec<usize>> = function.blocks.iter().map(Block::successors).collect();
    successors.push(vec![function.entries[0]]);
    let mut graph = Graph::new(successors);
    graph.structure();
    let blocks = function.blocks.len();
    for head in (0..blocks).filter(|&b| graph.header.get(b) == Some(&b)) {
        let inner = inner_latches(function, &graph, head);
        let moves: Vec<usize> =
            (0..blocks).filter(|b| graph.successors[*b].contains(&head) && !inner.contains(b)).collect();
        let plain = |b: &usize| matches!(function.blocks[*b].end, End::Jump(_) | End::Branch { .. });
        if inner.is_empty() || !moves.iter().any(|&b| is_back(&graph, b, head)) || !moves.iter().all(plain) {
            continue;
        }
        let new = function.blocks.len();
        let Block { at, of_callee, .. } = function.blocks[head];
        let end = End::Jump(Target::Block(head));
        function.blocks.push(Block { at, insns: Vec::new(), end, of_callee });
        for b in moves {
            lead(&mut function.blocks[b].end, head, new);
        }
        function.entries.iter_mut().filter(|e| **e == head).for_each(|e| *e = new);
    }
}

fn is_back(graph: &Graph, from: usize, to: usize) -> bool {
    graph.order[from] != NONE && graph.order[to] <= graph.order[from]
}

/// The blocks that go back to `head` from loops in which no code is before it; the loops around it have such code.
fn inner_latches(function: &Function, graph: &Graph, head: usize) -> Vec<usize> {
    let blocks = &function.blocks;
    if blocks[head].insns.is_empty() {
        return Vec::new();
    }
    let before = |b: usize| !blocks[b].insns.is_empty() && !blocks[b].of_callee && blocks[b].at < blocks[head].at;
    let latches = (0..blocks.len()).filter(|&b| graph.successors[b].contains(&head) && is_back(graph, b, head));
    latches.filter(|&latch| !members(graph, head, latch).into_iter().any(before)).collect()
}

/// The blocks from which `latch` is reached without going through `head`.
fn members(graph: &Graph, head: usize, latch: usize) -> Vec<usize> {
    let mut found = vec![head];
    let mut open = vec![latch];
    while let Some(block) = open.pop() {
        if !found.contains(&block) {
            found.push(block);
            open.extend((0..graph.root()).filter(|&b| graph.successors[b].contains(&block)));
        }
    }
    found
}

fn lead(end: &mut End, from: usize, to: usize) {
    let change = |target: &mut Target| {
        if *target == Target::Block(from) {
            *target = Target::Block(to);
        }
    };
    match end {
        End::Jump(target) => change(target),
        End::Branch { taken, next } => [taken, next].into_iter().for_each(change),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::code::Insn;
    use super::*;

    fn block(at: i64, taken: usize, next: usize) -> Block {
        let insn = iced_x86::Instruction::default();
        let insn = Insn { insn, reads: 0, kills: 0, writes: 0, may_exit: false, calls_out: false };
        let end = End::Branch { taken: Target::Block(taken), next: Target::Block(next) };
        Block { at, insns: vec![insn], end, of_callee: false }
    }

    /// 0 is the first entry and goes back to itself, or on to 1; that to 0, or to 2.
    fn function(second: i64) -> Function {
        let mut last = block(20, 2, 2);
        last.end = End::Return;
        Function { blocks: vec![block(10, 0, 1), block(second, 0, 2), last], entries: vec![0], roots: 1 }
    }

    #[test]
    fn a_loop_entered_before_the_one_around_it_is_a_loop_of_its_own() {
        let mut function = function(5);
        separate(&mut function);
        assert_eq!(
            function.blocks.iter().map(Block::successors).collect::<Vec<_>>(),
            [vec![0, 1], vec![3, 2], vec![], vec![0]]
        );
        assert_eq!(function.entries, [3]);
        assert_eq!(function.start(), 10);
    }

    #[test]
    fn a_loop_with_two_ways_back_stays_one() {
        let mut function = function(15);
        separate(&mut function);
        assert_eq!(function.blocks.len(), 3);
        assert_eq!(function.entries, [0]);
    }
}
