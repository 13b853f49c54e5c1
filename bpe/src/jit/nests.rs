//! Loops that begin at the same block, one within the other.
//!
//! A function that became hot in an inner loop is written from there, and then the loops around it begin there too: to the
//! graph they are one loop, and what any of them changes is carried around the innermost. A block with nothing in it, to
//! which the outer ones go back instead, makes them two.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use super::code::{Block, End, Function, Target};
use super::entries::graph_from;
use super::graph::{Graph, NONE};

/// Gives the outer of such loops a header of their own.
pub(crate) fn separate(function: &mut Function) {
    let graph = graph_from(function, &function.entries[..1]);
    let predecessors = graph.predecessors();
    let blocks = function.blocks.len();
    for head in (0..blocks).filter(|&b| graph.header.get(b) == Some(&b)) {
        let inner = inner_latches(function, &graph, &predecessors, head);
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
fn inner_latches(function: &Function, graph: &Graph, predecessors: &[Vec<usize>], head: usize) -> Vec<usize> {
    let blocks = &function.blocks;
    if blocks[head].insns.is_empty() {
        return Vec::new();
    }
    let before = |b: &usize| !blocks[*b].insns.is_empty() && !blocks[*b].of_callee && blocks[*b].at < blocks[head].at;
    let latches = predecessors[head].iter().copied().filter(|&b| is_back(graph, b, head));
    latches.filter(|&latch| !members(predecessors, head, latch).iter().any(before)).collect()
}

/// The blocks from which `latch` is reached without going through `head`.
fn members(predecessors: &[Vec<usize>], head: usize, latch: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([head]);
    let mut open = vec![latch];
    while let Some(block) = open.pop() {
        if found.insert(block) {
            open.extend(&predecessors[block]);
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
pub(super) mod tests {
    use super::super::code::Insn;
    use super::*;

    /// One of an instruction that goes on in one of two blocks.
    pub(in super::super) fn block(at: i64, taken: usize, next: usize) -> Block {
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
    fn one_function_may_have_many_such_nests() {
        const NESTS: usize = 4;
        let mut blocks = Vec::new();
        for n in 0..NESTS {
            let first = 2 * n;
            let at = 100 * first as i64;
            blocks.extend([block(at + 50, first, first + 1), block(at, first, first + 2)]);
        }
        let mut last = block(1000, 0, 0);
        last.end = End::Return;
        blocks.push(last);
        let mut function = Function { blocks, entries: vec![0], roots: 1 };
        separate(&mut function);
        let before = 2 * NESTS + 1;
        assert_eq!(function.blocks.len(), before + NESTS);
        for n in 0..NESTS {
            let new = function.blocks[2 * n + 1].successors()[0];
            assert!(new >= before);
            assert_eq!(function.blocks[new].successors(), [2 * n]);
        }
    }

    #[test]
    fn whatever_the_function_the_ways_through_it_stay() {
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        let mut separated = 0;
        for _ in 0..5000 {
            let count = 1 + random(24);
            let near = |b: usize, r: usize| (b + r).saturating_sub(3).min(count - 1);
            let blocks: Vec<Block> =
                (0..count).map(|b| block(random(100) as i64, near(b, random(5)), near(b, random(7)))).collect();
            let before: Vec<Vec<usize>> = blocks.iter().map(Block::successors).collect();
            let mut function = Function { blocks, entries: vec![random(count)], roots: 1 };
            separate(&mut function);
            separated += function.blocks.len() - count;
            for (was, block) in before.iter().zip(&function.blocks) {
                let through = |&b: &usize| if b < count { b } else { function.blocks[b].successors()[0] };
                assert_eq!(*was, block.successors().iter().map(through).collect::<Vec<_>>());
            }
        }
        assert!(separated > 1000, "{separated}");
    }

    #[test]
    fn a_loop_with_two_ways_back_stays_one() {
        let mut function = function(15);
        separate(&mut function);
        assert_eq!(function.blocks.len(), 3);
        assert_eq!(function.entries, [0]);
    }
}
